"""What is sent to the token endpoint, read strictly (RFC 6749, section 3.2; RFC 8693, section 2.1)."""

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import msgspec

from everproof.identity.access_tokens import DEFAULT_LIFETIME
from everproof.identity.oauth import InvalidRequestError, InvalidScopeError, InvalidTargetError

MAX_SCOPES: Final = 50
MAX_TARGET: Final = 512

_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}")
_TARGET: Final = re.compile(r"[\x21-\x7e]+")
_SECONDS: Final = re.compile(r"[1-9][0-9]{0,5}")


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A token request. ``target`` is its one audience or resource, None for this server."""

    grant_type: str
    subject_token: str | None = None
    subject_token_type: str | None = None
    actor_token: str | None = None
    actor_token_type: str | None = None
    requested_token_type: str | None = None
    client_id: str | None = None
    client_assertion: str | None = None
    client_assertion_type: str | None = None
    target: str | None = None
    scope: tuple[str, ...] = ()
    lifetime: timedelta = DEFAULT_LIFETIME
    may_act: str | None = None

    def __repr__(self) -> str:
        return f"TokenRequest({self.grant_type}, {self.subject_token_type}, {self.target})"


_PLAIN: Final = frozenset(TokenRequest.__struct_fields__) - {"target", "scope", "lifetime"}


def read_token_request(form: Iterable[tuple[str, str]]) -> TokenRequest:
    """The request in a form's fields. A field without a value counts as left out; unknown fields are ignored.

    Beside the standard ones, ``expires_in`` asks for a lifetime in seconds, and ``may_act`` names who may act for the
    subject with the new token.

    Raises:
        OAuthError: a field is there twice, or not what it should be.
    """
    fields: dict[str, str] = {}
    for name, value in form:
        if name in fields:
            if name in {"audience", "resource"}:
                raise InvalidTargetError("a token has one audience", place=name)
            raise InvalidRequestError("the field is there twice", place=name)
        fields[name] = value
    known = {name: value for name, value in fields.items() if name in _PLAIN and value}
    if "grant_type" not in known:
        raise InvalidRequestError("the field is missing", place="grant_type")
    return TokenRequest(
        **known,
        target=_target(fields),
        scope=_scope(fields.get("scope", "")),
        lifetime=_lifetime(fields.get("expires_in", "")),
    )


def _target(fields: dict[str, str]) -> str | None:
    audience, resource = fields.get("audience") or None, fields.get("resource") or None
    if resource is not None and ("#" in resource or "://" not in resource):
        raise InvalidTargetError("must be an absolute address without fragment (RFC 8707)", place="resource")
    if audience is not None and resource is not None and audience != resource:
        raise InvalidTargetError("a token has one audience", place="resource")
    target = audience or resource
    if target is not None and (len(target) > MAX_TARGET or _TARGET.fullmatch(target) is None):
        raise InvalidTargetError("not a name that a token can be for", place="audience")
    return target


def _scope(text: str) -> tuple[str, ...]:
    scopes = tuple(dict.fromkeys(text.split(" "))) if text else ()
    if len(scopes) > MAX_SCOPES or any(_SCOPE.fullmatch(scope) is None for scope in scopes):
        raise InvalidScopeError(f"must be at most {MAX_SCOPES} names between single spaces", place="scope")
    return scopes


def _lifetime(text: str) -> timedelta:
    if not text:
        return DEFAULT_LIFETIME
    if _SECONDS.fullmatch(text) is None:
        raise InvalidRequestError("must be a whole number of seconds", place="expires_in")
    return timedelta(seconds=int(text))
