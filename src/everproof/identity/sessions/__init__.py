"""Sessions of people, at a browser and at a terminal."""

from everproof.identity.sessions.facts import SessionFacts
from everproof.identity.sessions.limits import Limits
from everproof.identity.sessions.records import SESSION, Beginning, Cookie, Kept, Kind, Session
from everproof.identity.sessions.sessions import SessionOverError, Sessions

__all__ = [
    "SESSION",
    "Beginning",
    "Cookie",
    "Kept",
    "Kind",
    "Limits",
    "Session",
    "SessionFacts",
    "SessionOverError",
    "Sessions",
]
