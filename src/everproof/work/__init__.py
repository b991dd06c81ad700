"""What must still be done and will be: durable jobs, schedules, and effects in steps with approval and undo."""

from everproof.work.records import Errand, HopelessError, Job, PostponedError, Run, StaleError, State, Task, Verb
from everproof.work.room import Work

__all__ = [
    "Errand",
    "HopelessError",
    "Job",
    "PostponedError",
    "Run",
    "StaleError",
    "State",
    "Task",
    "Verb",
    "Work",
]
