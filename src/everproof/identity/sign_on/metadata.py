"""What a provider says of itself (OpenID Connect Discovery 1.0), asked for when it is needed and kept for a while."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from everproof.identity.jose import JoseError, read_object
from everproof.identity.jwks import DISCOVERY, Fetch
from everproof.identity.outbound import OutboundError, https_url
from everproof.identity.sign_on.files import Provider
from everproof.kernel.clock import Clock
from everproof.kernel.errors import InputError

FRESH: Final = timedelta(minutes=10)
"""How long it is used without asking again."""
PKCE: Final = "S256"


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What is used of a provider's discovery document."""

    authorization_endpoint: str
    token_endpoint: str
    pushed_endpoint: str = ""
    userinfo_endpoint: str = ""
    end_session_endpoint: str = ""
    names_itself: bool = False
    """Whether every response has ``iss`` (RFC 9207)."""
    client_methods: tuple[str, ...] = ("client_secret_basic",)
    assertion_algorithms: tuple[str, ...] = ()


class Discovery:
    """The metadata of the providers, in memory."""

    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._known: dict[str, tuple[datetime, Metadata]] = {}

    async def of(self, provider: Provider) -> Metadata:
        """The provider's metadata. A provider that is not there now signs nobody on, so nothing old is used.

        Raises:
            OutboundError: it cannot be asked, or says what is not safe.
        """
        known = self._known.get(provider.issuer)
        if known is not None and timedelta(0) <= self._clock.now() - known[0] < FRESH:
            return known[1]
        url = provider.issuer.rstrip("/") + DISCOVERY
        try:
            found = read_metadata(read_object(await self._fetch.get(url), url), provider.issuer, place=url)
        except (JoseError, InputError) as error:
            raise OutboundError(f"its discovery document cannot be used: {error.message}", place=url) from error
        self._known[provider.issuer] = (self._clock.now(), found)
        return found

    def forget(self, kept: frozenset[str]) -> None:
        """Forget every issuer but ``kept``."""
        for issuer in self._known.keys() - kept:
            del self._known[issuer]


def read_metadata(document: Mapping[str, Any], issuer: str, *, place: str) -> Metadata:
    """What is used of ``document``.

    Raises:
        InputError: it is another issuer's, or the provider does what is not safe or not what is needed.
    """
    if document.get("issuer") != issuer:
        raise InputError("it is that of another issuer", place=f"{place}: issuer")
    methods = _texts(document, "code_challenge_methods_supported", place)
    if methods is not None and PKCE not in methods:
        raise InputError("the provider takes no PKCE with S256", place=f"{place}: code_challenge_methods_supported")
    kinds = _texts(document, "response_types_supported", place)
    if kinds is not None and "code" not in kinds:
        raise InputError("the provider has no code flow", place=f"{place}: response_types_supported")
    names_itself = document.get("authorization_response_iss_parameter_supported", False)
    if type(names_itself) is not bool:
        raise InputError("must be true or false", place=f"{place}: authorization_response_iss_parameter_supported")
    return Metadata(
        authorization_endpoint=_address(document, "authorization_endpoint", place, needed=True),
        token_endpoint=_address(document, "token_endpoint", place, needed=True),
        pushed_endpoint=_address(document, "pushed_authorization_request_endpoint", place),
        userinfo_endpoint=_address(document, "userinfo_endpoint", place),
        end_session_endpoint=_address(document, "end_session_endpoint", place),
        names_itself=names_itself,
        client_methods=_texts(document, "token_endpoint_auth_methods_supported", place) or ("client_secret_basic",),
        assertion_algorithms=_texts(document, "token_endpoint_auth_signing_alg_values_supported", place) or (),
    )


def _address(document: Mapping[str, Any], name: str, place: str, *, needed: bool = False) -> str:
    value = document.get(name)
    if value is None and not needed:
        return ""
    if type(value) is not str:
        raise InputError("must be an https address", place=f"{place}: {name}")
    https_url(value, place=f"{place}: {name}")
    return value


def _texts(document: Mapping[str, Any], name: str, place: str) -> tuple[str, ...] | None:
    value = document.get(name)
    if value is None:
        return None
    if type(value) is not list or not all(type(one) is str for one in value):
        raise InputError("must be a list of words", place=f"{place}: {name}")
    return tuple(value)
