"""The one call that every door leads to."""

from everproof.authorize.authorizer import Authorizer
from everproof.authorize.facts import FactSource
from everproof.authorize.outcome import Allowed, Denied, Outcome
from everproof.authorize.record import DecisionRecord

__all__ = ["Allowed", "Authorizer", "DecisionRecord", "Denied", "FactSource", "Outcome"]
