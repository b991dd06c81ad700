"""What a service imports to ask Everproof, and to stand behind it: `Client`, `AsyncClient`, and middleware."""

from everproof.client.answers import Decision, DeniedError, Entity, Introspection, Receipt
from everproof.client.asynchronous import AsyncClient
from everproof.client.credentials import ClientKey, HeldToken, JobToken
from everproof.client.questions import Question
from everproof.client.synchronous import Client
from everproof.kernel.errors import Error, InputError, RefusedError, UnauthenticatedError, UnavailableError

__all__ = [
    "AsyncClient",
    "Client",
    "ClientKey",
    "Decision",
    "DeniedError",
    "Entity",
    "Error",
    "HeldToken",
    "InputError",
    "Introspection",
    "JobToken",
    "Question",
    "Receipt",
    "RefusedError",
    "UnauthenticatedError",
    "UnavailableError",
]
