"""Ways in which people show who they are: passkeys, security keys, one-time passwords, recovery codes."""

from everproof.identity.factors.passkeys import Enrolling
from everproof.identity.factors.passwords import Codes, Secret, WrongCodeError
from everproof.identity.factors.records import Factor, Kind, Method
from everproof.identity.factors.room import SIGN_IN, CopiedError, Factors, Held, Shown, name_of, step_up_of
from everproof.identity.factors.rules import Rules, rules_of
from everproof.identity.factors.throttle import ThrottledError
from everproof.identity.factors.webauthn import Assertion, NewCredential, RejectedError

__all__ = [
    "SIGN_IN",
    "Assertion",
    "Codes",
    "CopiedError",
    "Enrolling",
    "Factor",
    "Factors",
    "Held",
    "Kind",
    "Method",
    "NewCredential",
    "RejectedError",
    "Rules",
    "Secret",
    "Shown",
    "ThrottledError",
    "WrongCodeError",
    "name_of",
    "rules_of",
    "step_up_of",
]
