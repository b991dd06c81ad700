"""How a client proves itself: by its key, by its CI job, or by a token that somebody else got for it."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

import msgspec

from everproof.client.answers import malformed, read
from everproof.client.flow import Answer, Flow, Request
from everproof.client.keys import Key
from everproof.kernel.errors import InputError, UnauthenticatedError, UnavailableError

EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

GITHUB_URL: Final = "ACTIONS_ID_TOKEN_REQUEST_URL"
GITHUB_TOKEN: Final = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"  # noqa: S105 - a name, not a secret
VARIABLE: Final = "EVERPROOF_ID_TOKEN"
"""Where GitLab (`id_tokens`), and whoever else has no address to ask, puts a job's token."""


class Credentials(Protocol):
    """What a token is got for. ``key`` is the one that tokens are bound to."""

    key: Key

    def form(self, server: str) -> Flow[dict[str, str] | None]:
        """The fields of a token request that has not been sent before; None: a token is held already."""
        ...


class ClientKey:
    """A service or machine on record, with its private key (RFC 7523). Tokens are bound to a fresh key in memory."""

    def __init__(self, client: str, key: Key | Path | str | bytes) -> None:
        """``client`` is ``service:NAME``; ``key`` a PEM file (a path) or its text.

        Raises:
            InputError: the name is none, or the key cannot be read.
        """
        if ":" not in client.strip(":"):
            raise InputError(f"{client!r} is no client", todo="write service:NAME or machine:NAME")
        self._client = client
        self._proves = Key.load(key)
        self.key = Key.new()

    def __repr__(self) -> str:
        return f"ClientKey({self._client})"

    def form(self, server: str) -> Flow[dict[str, str] | None]:
        """A fresh assertion: each is good once."""
        yield from ()
        return {
            "grant_type": "client_credentials",
            "client_id": self._client,
            "client_assertion_type": ASSERTION,
            "client_assertion": self._proves.assertion(self._client, server),
        }


class JobToken:
    """A job of GitHub, GitLab or another trusted CI system, by its OIDC token (RFC 8693)."""

    def __init__(
        self,
        fetch: Callable[[], str] | None = None,
        *,
        audience: str = "",
        environment: Mapping[str, str] = os.environ,
        variable: str = VARIABLE,
    ) -> None:
        """``fetch`` gives a token; else ``variable`` holds one, or GitHub's runner is asked for one for ``audience``.

        ``audience`` is the server's address unless it is given.
        """
        self._fetch = fetch
        self._audience = audience
        self._environment = environment
        self._variable = variable
        self.key = Key.new()

    def __repr__(self) -> str:
        return "JobToken()"

    def form(self, server: str) -> Flow[dict[str, str] | None]:
        """The job's token, from where its platform gives it."""
        if self._fetch is not None:
            token = self._fetch()
        elif self._environment.get(self._variable):
            token = self._environment[self._variable]
        else:
            token = yield from self._github(server)
        return {"grant_type": EXCHANGE, "subject_token": token.strip(), "subject_token_type": JWT}

    def _github(self, server: str) -> Flow[str]:
        url, bearer = self._environment.get(GITHUB_URL, ""), self._environment.get(GITHUB_TOKEN, "")
        if not url or not bearer:
            raise UnauthenticatedError(
                "this is no job that has a token",
                todo=f"set {self._variable} (GitLab: id_tokens), or on GitHub: permissions: id-token: write",
            )
        if not url.startswith("https://"):
            raise InputError("the address for tokens is not https", place=GITHUB_URL)
        asked = f"{url}{'&' if '?' in url else '?'}audience={quote(self._audience or server, safe='')}"
        answer = yield Request(method="GET", url=asked, headers={"authorization": f"Bearer {bearer}"})
        assert isinstance(answer, Answer)
        if answer.status != 200:  # noqa: PLR2004
            raise UnavailableError(f"GitHub gave no token, but {answer.status}", place=GITHUB_URL)
        given = read(answer.body, _Given).value
        if not given:
            raise malformed("no token")
        return given


class HeldToken:
    """A token that was got elsewhere, with the key it is bound to. When it is over, so is the client."""

    def __init__(self, token: str, key: Key | Path | str | bytes, *, expires: float | None = None) -> None:
        """``expires`` is in Unix seconds; None: whenever the server says so."""
        self.token = token
        self.key = Key.load(key)
        self.expires = expires if expires is not None else time.time() + _LONG

    def __repr__(self) -> str:
        return "HeldToken()"

    def form(self, server: str) -> Flow[dict[str, str] | None]:  # noqa: ARG002 - as the others
        """Nothing to ask with."""
        yield from ()
        return None


_LONG: Final = 3600.0
"""Seconds: no token of the server lives longer."""


class _Given(msgspec.Struct, frozen=True):
    value: str = ""

    def __repr__(self) -> str:
        return "_Given()"
