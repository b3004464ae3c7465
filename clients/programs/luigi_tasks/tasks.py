"""Tasks that depend on each other, one of which fails."""

from __future__ import annotations

import luigi


class Part(luigi.Task):
    number = luigi.IntParameter()

    def output(self):
        return luigi.LocalTarget(f"out/part-{self.number}.txt")

    def run(self):
        if self.number == 7:
            raise ValueError("this part is missing")
        with self.output().open("w") as file:
            file.write(str(sum(i * i for i in range(self.number * 1000))))


class Some(luigi.Task):
    first = luigi.IntParameter()

    def requires(self):
        return [Part(number=n) for n in range(self.first, self.first + 3)]

    def output(self):
        return luigi.LocalTarget(f"out/some-{self.first}.txt")

    def run(self):
        with self.output().open("w") as file:
            for part in self.input():
                with part.open() as source:
                    file.write(source.read() + "\n")


class All(luigi.WrapperTask):
    def requires(self):
        return [Some(first=n) for n in (0, 3, 6)]
