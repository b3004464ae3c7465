"""What the state machine says, done: tasks sent again and failed, workers retired, channels shut."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tines.pool.jobs.failures import described, exception_for
from tines.pool.runtime.dispatcher import CHANNEL_ENDED
from tines.pool.scheduler.commands import (
    Break,
    Fail,
    Instruction,
    Retire,
    Send,
    Shutdown,
    StartWorker,
    StopWorker,
)
from tines.pool.scheduler.state import PoolState
from tines.wire import messages

if TYPE_CHECKING:
    from tines.pool.ports import Cancels, Waits
    from tines.pool.runtime.dispatcher import Dispatcher
    from tines.pool.runtime.machine import Machine
    from tines.pool.runtime.supervisor import Supervisor
    from tines.pool.runtime.tally import Tally
    from tines.pool.scheduler.task import Task
    from tines.pool.worker.functions import Functions
    from tines.transport.contract import Channel

__all__ = ["Effects"]


class Effects:
    """See the module; :class:`tines.pool.runtime.machine.Effects` says who calls what.

    Args:
        machine: Whose answers these are.
        tasks: The tasks channel.
        functions: What failed tasks are described with.
        dispatcher: Sends again.
        cancelling: Cancels what of a job was sent again just after the job was cancelled.
        collector: Is told of what was settled here.
        supervisor: Starts and stops workers.
        tally: Counts failures.
    """

    def __init__(
        self,
        machine: Machine,
        tasks: Channel,
        functions: Functions,
        dispatcher: Dispatcher,
        cancelling: Cancels,
        collector: Waits,
        supervisor: Supervisor,
        tally: Tally,
    ) -> None:
        self._machine = machine
        self._tasks = tasks
        self._functions = functions
        self._dispatcher = dispatcher
        self._cancelling = cancelling
        self._collector = collector
        self._supervisor = supervisor
        self._tally = tally

    def order(self, instruction: StartWorker | StopWorker) -> None:
        """See the protocol."""
        self._supervisor.order(instruction)

    def remind(self, deadline: float | None) -> None:
        """See the protocol."""
        self._supervisor.remind(deadline)

    def carry_out(self, instructions: Iterable[Instruction]) -> None:
        """See the protocol."""
        failed = False
        for instruction in instructions:
            if isinstance(instruction, Send):
                self._send_again(instruction.task)
            elif isinstance(instruction, Fail):
                failed = True
                self._fail(instruction)
            elif isinstance(instruction, Retire):
                for _ in range(instruction.count):
                    self._tasks.send(b"", (), messages.RETIRE)
            elif isinstance(instruction, Shutdown):
                self._tasks.shutdown()
                self._supervisor.wake()
            elif isinstance(instruction, Break):
                self.end_jobs()
        if failed:
            self._collector.nudge()

    def _send_again(self, task: Task) -> None:
        try:
            self._dispatcher.send_again(task)
            if task.job is not None and task.job.withdrawn:
                self._cancelling.cancel([task])
        finally:
            self._machine.event(PoolState.put_down)

    def _fail(self, instruction: Fail) -> None:
        task = instruction.task
        item = None if task.job is None else task.start
        error = exception_for(described(task), instruction.failure, self._functions, item)
        self._tally.has_failed(instruction.failure, error)
        task.settle_error(error)

    def end_jobs(self) -> None:
        """See the protocol."""
        try:
            self._tasks.shutdown(immediate=True)
        except CHANNEL_ENDED:
            pass
        for job in self._machine.state.open_jobs():
            self._machine.state.input_ended(job)
            job.abandon(self._machine.end_error())
        self._supervisor.wake()

    def await_end(self) -> None:
        """See the protocol."""
        if not self._collector.is_current:
            self._supervisor.join()
