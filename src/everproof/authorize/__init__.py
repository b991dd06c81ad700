"""The one call that every door leads to."""

from everproof.authorize.authorizer import Authorizer
from everproof.authorize.facts import FactSource
from everproof.authorize.outcome import Allowed, Denied, Outcome
from everproof.authorize.record import DecisionRecord
from everproof.authorize.remedy import AccessRequestHint, Remedy, StepUp

__all__ = [
    "AccessRequestHint",
    "Allowed",
    "Authorizer",
    "DecisionRecord",
    "Denied",
    "FactSource",
    "Outcome",
    "Remedy",
    "StepUp",
]
