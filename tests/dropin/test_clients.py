"""Programs and libraries that know nothing of tines, on tines."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile

import pytest

import tines
from both import Both

METHODS = tines.get_all_start_methods()


def square(number: int) -> int:
    return number * number


def worker_name(_: object) -> str:
    return tines.current_process().name


def fail_at_three(number: int) -> int:
    if number == 3:
        raise KeyError(number)
    return number


def die_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


class TestAsyncio:
    @pytest.mark.parametrize("method", METHODS)
    def test_run_in_executor(self, method: str) -> None:
        async def main() -> list[int]:
            loop = asyncio.get_running_loop()
            context = tines.get_context(method)
            with tines.executor.ProcessPoolExecutor(2, context) as executor:
                calls = [loop.run_in_executor(executor, square, n) for n in range(20)]
                return await asyncio.gather(*calls)

        import tines.executor

        assert asyncio.run(main()) == [n * n for n in range(20)]

    def test_a_dead_worker_fails_one_call(self) -> None:
        from tines.executor import ProcessPoolExecutor

        async def main() -> list[object]:
            loop = asyncio.get_running_loop()
            with ProcessPoolExecutor(2) as executor:
                calls = [loop.run_in_executor(executor, die_at_three, n) for n in range(6)]
                return await asyncio.gather(*calls, return_exceptions=True)

        outcomes = asyncio.run(main())
        assert isinstance(outcomes.pop(3), tines.WorkerLostError)
        assert outcomes == [0, 1, 2, 4, 5]


class TestJoblib:
    @pytest.fixture(autouse=True)
    def backend(self) -> None:
        pytest.importorskip("joblib", reason="joblib is not installed")
        from tines.joblib_backend import register

        register()

    @pytest.mark.parametrize("method", METHODS)
    def test_parallel(self, method: str) -> None:
        import joblib

        with joblib.parallel_config("tines", n_jobs=2, context=method):
            parallel = joblib.Parallel()
            squares = parallel(joblib.delayed(square)(n) for n in range(500))
            names = parallel(joblib.delayed(worker_name)(n) for n in range(4))
            lazy = joblib.Parallel(return_as="generator")
            assert list(lazy(joblib.delayed(lambda n: n + 1)(n) for n in range(5))) == [
                1,
                2,
                3,
                4,
                5,
            ]
        assert squares == [n * n for n in range(500)]
        kinds = {"fork": "ForkProcess", "spawn": "SpawnProcess", "forkserver": "ForkServerProcess"}
        assert all(name.startswith(kinds[method]) for name in names)

    def test_errors_come_back_and_the_backend_goes_on(self) -> None:
        import joblib

        with joblib.parallel_config("tines", n_jobs=2), joblib.Parallel() as parallel:
            with pytest.raises(KeyError):
                parallel(joblib.delayed(fail_at_three)(n) for n in range(10))
            with pytest.raises(tines.WorkerLostError):
                parallel(joblib.delayed(die_at_three)(n) for n in range(10))
            assert parallel(joblib.delayed(square)(n) for n in range(3)) == [0, 1, 4]

    def test_nothing_of_a_call_that_failed_is_in_the_results_of_the_next(self) -> None:
        import joblib

        # The first batch has one item, and then each is cut with the one after it: that waits.
        with (
            joblib.parallel_config("tines", n_jobs=2),
            joblib.Parallel(pre_dispatch=1, batch_size=2) as parallel,
        ):
            with pytest.raises(KeyError):
                parallel(joblib.delayed(fail_at_three)(n) for n in range(2, 12))
            assert parallel(joblib.delayed(square)(n) for n in range(3)) == [0, 1, 4]

    def test_options_reach_the_pool(self, tmp_path) -> None:
        import joblib

        def once(path: str) -> str:
            if not os.path.exists(path):
                open(path, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
            return "survived"

        with joblib.parallel_config("tines", n_jobs=2, retries=1, inner_max_num_threads=1):
            tasks = [joblib.delayed(once)(str(tmp_path / "mark")) for _ in range(1)]
            assert joblib.Parallel()(tasks) == ["survived"]
            threads = joblib.Parallel()([joblib.delayed(os.getenv)("OMP_NUM_THREADS")] * 2)
        assert threads == ["1", "1"]

    def test_scikit_learn(self) -> None:
        pytest.importorskip("sklearn", reason="scikit-learn is not installed")
        import joblib
        from sklearn.datasets import make_classification
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.model_selection import GridSearchCV

        data, labels = make_classification(200, random_state=0)
        forest = RandomForestClassifier(10, random_state=0)

        def best() -> float:
            search = GridSearchCV(forest, {"max_depth": [2, 4]}, cv=3, n_jobs=2)
            return float(search.fit(data, labels).best_score_)

        with joblib.parallel_config("sequential"):
            wanted = best()
        with joblib.parallel_config("tines", n_jobs=2):
            assert best() == wanted


@pytest.mark.slow
class TestTorch:
    @pytest.mark.watchdog(120)
    @pytest.mark.parametrize("method", METHODS)
    def test_data_loader(self, both: Both, method: str, monkeypatch) -> None:
        pytest.importorskip("torch", reason="torch is not installed")
        # Its workers leave directories behind, with the standard library as well.
        directory = tempfile.TemporaryDirectory()
        monkeypatch.setenv("TMPDIR", directory.name)
        both.write(
            "program.py",
            """
            import sys
            import torch
            from torch.utils.data import DataLoader, Dataset
            import tines

            class Squares(Dataset):
                def __len__(self):
                    return 64

                def __getitem__(self, index):
                    return torch.full((3, 32), float(index)), index * index

            if __name__ == "__main__":
                context = tines.get_context(sys.argv[1])
                for persistent in (False, True):
                    loader = DataLoader(
                        Squares(), batch_size=8, num_workers=2,
                        multiprocessing_context=context, persistent_workers=persistent,
                    )
                    for _ in range(2):
                        seen = [(rows[:, 0, 0], labels) for rows, labels in loader]
                        rows = torch.cat([row for row, _ in seen])
                        assert rows.tolist() == list(range(64)), rows
                        assert torch.cat([l for _, l in seen]).tolist() == [n * n for n in range(64)]
                print("done")
            """,
        )
        ended = both.plain("program.py", method)
        assert (ended.code, ended.out) == (0, "done\n"), ended.err
        directory.cleanup()


class TestRunner:
    """Unmodified programs through ``python -m tines``."""

    @pytest.mark.parametrize("method", METHODS)
    def test_tqdm(self, both: Both, method: str) -> None:
        pytest.importorskip("tqdm", reason="tqdm is not installed")
        both.write(
            "program.py",
            """
            import multiprocessing, sys
            from tqdm.contrib.concurrent import process_map

            def square(number):
                return number * number

            def module_of_executor(_):
                from concurrent.futures import ProcessPoolExecutor
                return ProcessPoolExecutor.__module__

            if __name__ == "__main__":
                multiprocessing.set_start_method(sys.argv[1])
                assert process_map(square, range(50), max_workers=2, chunksize=5) == [
                    n * n for n in range(50)
                ]
                print(set(process_map(module_of_executor, range(3), max_workers=2, disable=True)))
            """,
        )
        ended = both.run("program.py", method)
        assert (ended.code, ended.out) == (0, "{'tines.executor'}\n"), ended.err
        assert "/50 [" in ended.err

    def test_joblib_with_its_own_backend(self, both: Both) -> None:
        """loky derives from private parts of the standard library's queues, and keeps them."""
        pytest.importorskip("joblib", reason="joblib is not installed")
        both.write(
            "program.py",
            """
            import joblib, multiprocessing

            def square(number):
                return number * number

            if __name__ == "__main__":
                tasks = [joblib.delayed(square)(n) for n in range(10)]
                for backend in ("loky", "multiprocessing", "threading"):
                    print(joblib.Parallel(2, backend=backend)(tasks))
                print(multiprocessing.Queue.__module__)
            """,
        )
        ended = both.run("program.py")
        squares = f"{[n * n for n in range(10)]}\n"
        assert (ended.code, ended.out) == (0, squares * 3 + "tines.queues\n"), ended.err

    def test_asyncio(self, both: Both) -> None:
        both.write(
            "program.py",
            """
            import asyncio
            from concurrent.futures import ProcessPoolExecutor

            async def main():
                loop = asyncio.get_running_loop()
                with ProcessPoolExecutor(2) as executor:
                    print(await loop.run_in_executor(executor, pow, 2, 10))
                print(type(executor).__module__)

            if __name__ == "__main__":
                asyncio.run(main())
            """,
        )
        assert both.run("program.py").out == "1024\ntines.executor\n"

    def test_statistics(self, both: Both) -> None:
        both.write(
            "program.py",
            """
            import multiprocessing

            if __name__ == "__main__":
                queue = multiprocessing.Queue()
                for number in range(3):
                    queue.put(number)
                queue.get()
                queue.close()
                with multiprocessing.Pool(2) as pool:
                    for number in range(5):
                        pool.apply(abs, (number,))
            """,
        )
        ended = both.run("--stats", "program.py")
        assert (ended.code, ended.out) == (0, "")
        assert "Queue 1: 3 sent, 1 received, 2 depth" in ended.err
        assert "Pool 1: 2 processes, 5 done, 0 raised, 0 lost" in ended.err
        assert both.run("--stats", "-c", "pass").err == "tines: no pools and no queues\n"

    def test_pytest_and_coverage(self, both: Both) -> None:
        pytest.importorskip("coverage", reason="coverage is not installed")
        both.write("setup.cfg", "[coverage:run]\nconcurrency = multiprocessing\nparallel = true\n")
        both.write(
            "program.py",
            """
            import multiprocessing

            def only_in_the_child():
                return sum(range(3))

            if __name__ == "__main__":
                process = multiprocessing.Process(target=only_in_the_child)
                process.start()
                process.join()
            """,
        )
        assert both.run("-m", "coverage", "run", "program.py").code == 0
        assert both.plain("-m", "coverage", "combine").code == 0
        assert "100%" in both.plain("-m", "coverage", "report", "--include=program.py").out
