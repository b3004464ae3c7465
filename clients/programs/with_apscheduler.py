"""APScheduler: jobs in an executor of processes, started from its own threads."""

from __future__ import annotations

import threading

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED
from apscheduler.executors.pool import ProcessPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler


def square(n):
    return n * n


def fail():
    raise ValueError("a job that fails")


if __name__ == "__main__":
    seen, enough = [], threading.Event()

    def note(event):
        seen.append(str(event.exception or event.retval))
        if len(seen) == 6:
            enough.set()

    scheduler = BackgroundScheduler(executors={"default": ProcessPoolExecutor(2)})
    scheduler.add_listener(note, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
    scheduler.start()
    for n in range(5):
        scheduler.add_job(square, args=[n])
    scheduler.add_job(fail)
    print(enough.wait(60), sorted(seen))
    scheduler.shutdown()
