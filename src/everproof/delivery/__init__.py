"""Delivery: the steps of pipelines, each with a credential for its stage alone, and what came of them."""

from everproof.delivery.records import STAGES, Command, Result, Run, Stage
from everproof.delivery.runs import Begun, Runs

__all__ = ["STAGES", "Begun", "Command", "Result", "Run", "Runs", "Stage"]
