"""What a client asks when it sends a browser to us: read strictly (OpenID Connect Core 1.0, section 3.1.2.1).

Code flow alone, with PKCE by S256 for every client (RFC 9700, section 2.1.1). Whom to answer is settled first: until
the client and its address are known, nobody is sent anywhere.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Final, TypeAlias
from urllib.parse import quote

import msgspec

from everproof.identity.provider.clients import Client, Clients
from everproof.identity.provider.errors import AuthorizationError, UnknownClientError

PUSHED: Final = "urn:ietf:params:oauth:request_uri:"

MAX_TEXT: Final = 2048
"""Characters of a state or a nonce. What clients send is a tenth of it."""
MAX_AGE_DIGITS: Final = 8

_B64_256: Final = re.compile(r"[A-Za-z0-9_-]{43}")
"""SHA-256 in base64url: an S256 challenge, or the thumbprint of a key."""
_DIGITS: Final = re.compile(rf"[0-9]{{1,{MAX_AGE_DIGITS}}}")
_PROMPTS: Final = frozenset({"none", "login", "consent", "select_account"})
_REFUSED: Final = {
    "request": "request_not_supported",
    "registration": "registration_not_supported",
}

Fields: TypeAlias = Mapping[str, str]


class AuthorizationRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request that can be answered. ``pushed`` is the name it was pushed under, good for one code."""

    client_id: str
    redirect_uri: str
    scope: tuple[str, ...] = ()
    state: str = ""
    nonce: str = ""
    code_challenge: str
    prompt: tuple[str, ...] = ()
    max_age: int | None = None
    acr_values: tuple[str, ...] = ()
    id_token_hint: str = ""
    dpop_jkt: str = ""
    pushed: str = ""

    def __repr__(self) -> str:
        return f"AuthorizationRequest({self.client_id})"

    @property
    def oldest(self) -> timedelta | None:
        """How long ago a person may have shown who they are; None: as long as the session lasts."""
        return None if self.max_age is None else timedelta(seconds=self.max_age)

    def query(self) -> str:
        """The request as the query of an address of ours, to come back to it."""
        if self.pushed:
            return f"client_id={quote(self.client_id, safe='')}&request_uri={quote(PUSHED + self.pushed, safe='')}"
        values = {
            "response_type": "code", "client_id": self.client_id, "redirect_uri": self.redirect_uri,
            "scope": " ".join(self.scope), "state": self.state, "nonce": self.nonce,
            "code_challenge": self.code_challenge, "code_challenge_method": "S256", "prompt": " ".join(self.prompt),
            "max_age": "" if self.max_age is None else str(self.max_age), "acr_values": " ".join(self.acr_values),
            "id_token_hint": self.id_token_hint, "dpop_jkt": self.dpop_jkt,
        }  # fmt: skip
        return "&".join(f"{name}={quote(value, safe='')}" for name, value in values.items() if value)


class Addressed(msgspec.Struct, frozen=True):
    """Whom an answer goes to, and the state that it carries: all that is known before the rest is read."""

    client: Client
    redirect_uri: str
    state: str = ""


def single(pairs: Iterable[tuple[str, str]]) -> tuple[dict[str, str], frozenset[str]]:
    """The parameters that have a value, and the names of those that are there twice (RFC 6749, section 3.1)."""
    fields: dict[str, str] = {}
    doubled = set()
    for name, value in pairs:
        if name in fields:
            doubled.add(name)
        fields[name] = value
    return {name: value for name, value in fields.items() if value}, frozenset(doubled)


def address(clients: Clients, fields: Fields, doubled: frozenset[str] = frozenset()) -> Addressed:
    """Whom to answer.

    Raises:
        UnknownClientError: there is no such client, or the address is not one of its own.
    """
    id_, uri = fields.get("client_id", ""), fields.get("redirect_uri", "")
    todo = "go back to where you came from; its operator has to put this right"
    if doubled & {"client_id", "redirect_uri"}:
        raise UnknownClientError("the request says twice whom to answer", place="redirect_uri", todo=todo)
    client = clients.find(id_)
    if client is None:
        raise UnknownClientError("nobody is known here by that name", place="client_id", todo=todo)
    if not client.takes(uri):
        raise UnknownClientError(
            f"the address to answer to is not one of {client.title}", place="redirect_uri", todo=todo
        )
    return Addressed(client, uri, fields.get("state", "") if "state" not in doubled else "")


def read_request(
    to: Addressed, fields: Fields, doubled: frozenset[str] = frozenset(), *, pushed: str = ""
) -> AuthorizationRequest:
    """The request whose answer goes to ``to``.

    Raises:
        AuthorizationError: it is malformed, or asks for what there is not.
    """
    if doubled:
        raise AuthorizationError("invalid_request", "a parameter is there twice", place=min(doubled))
    for name, error in _REFUSED.items():
        if name in fields:
            raise AuthorizationError(error, "requests are sent as parameters, or pushed", place=name)
    if fields.get("response_type") != "code":
        raise AuthorizationError("unsupported_response_type", "the code flow is the only one", place="response_type")
    if fields.get("response_mode", "query") != "query":
        raise AuthorizationError("invalid_request", "answers are sent in the query", place="response_mode")
    for name in ("state", "nonce", "id_token_hint"):
        if len(fields.get(name, "")) > (MAX_TEXT if name != "id_token_hint" else 4 * MAX_TEXT):
            raise AuthorizationError("invalid_request", "longer than anything honest of its kind", place=name)
    return AuthorizationRequest(
        client_id=to.client.id,
        redirect_uri=to.redirect_uri,
        scope=_scope(to.client, fields.get("scope", "")),
        state=to.state,
        nonce=fields.get("nonce", ""),
        code_challenge=_challenge(fields),
        prompt=_prompt(fields.get("prompt", "")),
        max_age=_max_age(fields.get("max_age")),
        acr_values=tuple(fields.get("acr_values", "").split()),
        id_token_hint=fields.get("id_token_hint", ""),
        dpop_jkt=_key(to.client, fields.get("dpop_jkt", "")),
        pushed=pushed,
    )


def _scope(client: Client, text: str) -> tuple[str, ...]:
    asked = dict.fromkeys(text.split())
    if client.own:
        return ()
    if "openid" not in asked:
        raise AuthorizationError("invalid_scope", "the scope must have openid", place="scope")
    # What is not known here is left out, as OpenID Connect Core asks in section 5.4.
    return tuple(one for one in asked if one in client.line.scopes)


def _challenge(fields: Fields) -> str:
    method, challenge = fields.get("code_challenge_method"), fields.get("code_challenge", "")
    if not challenge:
        raise AuthorizationError("invalid_request", "a code challenge is required", place="code_challenge")
    if method != "S256":  # left out, it would be plain (RFC 7636, section 4.3)
        raise AuthorizationError("invalid_request", "must be S256", place="code_challenge_method")
    if _B64_256.fullmatch(challenge) is None:
        raise AuthorizationError("invalid_request", "must be SHA-256 in base64url", place="code_challenge")
    return challenge


def _prompt(text: str) -> tuple[str, ...]:
    asked = tuple(dict.fromkeys(text.split()))
    if not _PROMPTS.issuperset(asked):
        raise AuthorizationError("invalid_request", "a prompt that there is not", place="prompt")
    if "none" in asked and len(asked) > 1:
        raise AuthorizationError("invalid_request", "none stands alone", place="prompt")
    return asked


def _max_age(text: str | None) -> int | None:
    if text is None:
        return None
    if _DIGITS.fullmatch(text) is None:
        raise AuthorizationError("invalid_request", "must be a number of seconds", place="max_age")
    return int(text)


def _key(client: Client, text: str) -> str:
    if client.own and not text:
        raise AuthorizationError("invalid_request", "the code is for a key (RFC 9449, section 10)", place="dpop_jkt")
    if text and _B64_256.fullmatch(text) is None:
        raise AuthorizationError("invalid_request", "must be the thumbprint of a key", place="dpop_jkt")
    return text
