"""What must still be done and will be: durable jobs, schedules, and effects in steps with approval and undo."""

from everproof.work.deeds import Deed, EffectRecord, Plan, Rule, Stage, Step
from everproof.work.effects import Effects
from everproof.work.records import Errand, HopelessError, Job, PostponedError, Run, StaleError, State, Task, Verb
from everproof.work.room import Work

__all__ = [
    "Deed",
    "EffectRecord",
    "Effects",
    "Errand",
    "HopelessError",
    "Job",
    "Plan",
    "PostponedError",
    "Rule",
    "Run",
    "Stage",
    "StaleError",
    "State",
    "Step",
    "Task",
    "Verb",
    "Work",
]
