"""An App of GitHub: the short JWT by which it proves itself, and the tokens of its installations.

docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App", "Create an installation access token for an app".
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from everproof.identity.outbound import Outbound, OutboundError
from everproof.integrations.answers import AnsweredError
from everproof.integrations.secret_source import SecretError, SecretSource
from everproof.kernel.canonical import b64url

API: Final = "https://api.github.com"
VERSION: Final = "2022-11-28"
BEHIND: Final = timedelta(seconds=60)
"""``iat`` lies so far back, as GitHub advises, for clocks that run ahead of its own."""
AHEAD: Final = timedelta(minutes=9)
"""``exp``: GitHub refuses more than ten."""
MARGIN: Final = timedelta(minutes=5)
"""An installation's token is not used in its last minutes: what begins with it shall end with it."""
_CREATED: Final = 201


class _Made(msgspec.Struct, frozen=True):
    token: str
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)]

    def __repr__(self) -> str:
        return "_Made()"


class AppKey:
    """An App by its private key, read at each use. ``app`` is its client id."""

    def __init__(self, key: SecretSource, app: str, *, now: Callable[[], datetime], place: str) -> None:
        self._key = key
        self._app = app
        self._now = now
        self._place = place
        self._last: tuple[bytes, rsa.RSAPrivateKey] | None = None

    def assertion(self) -> str:
        """The App's own JWT (RS256).

        Raises:
            SecretError: there is no key, or it is none.
        """
        key = self._parsed(self._key.read())
        now = self._now()
        claims = {
            "iat": int((now - BEHIND).timestamp()), "exp": int((now + AHEAD).timestamp()), "iss": self._app,
        }  # fmt: skip
        signed = ".".join(b64url(msgspec.json.encode(part)) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
        return f"{signed}.{b64url(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def _parsed(self, pem: bytes) -> rsa.RSAPrivateKey:
        """The key in ``pem``; taking one apart is slow, so the last one is kept."""
        if self._last is None or self._last[0] != pem:
            try:
                key = load_pem_private_key(pem, password=None)
            except (ValueError, TypeError) as error:
                raise SecretError("is no private key in PEM", place=self._place) from error
            if not isinstance(key, rsa.RSAPrivateKey):
                raise SecretError("is no RSA key", place=self._place)
            self._last = pem, key
        return self._last[1]


class InstallationToken:
    """The headers of an installation: its token is asked for with these permissions alone, and again before it ends."""

    def __init__(
        self, key: AppKey, outbound: Outbound, api: str, installation: int, permissions: Mapping[str, str], *,
        now: Callable[[], datetime], place: str,
    ) -> None:  # fmt: skip
        self._key = key
        self._outbound = outbound
        self._url = f"{api}/app/installations/{installation}/access_tokens"
        self._wanted = msgspec.json.encode({"permissions": dict(permissions)})
        self._now = now
        self._place = place
        self._made: _Made | None = None

    async def headers(self) -> Mapping[str, str]:
        """What a request of the installation goes with.

        Raises:
            AnsweredError: GitHub made no token.
        """
        if self._made is None or self._now() + MARGIN >= self._made.expires_at:
            self._made = await self._make()
        return headers_of(self._made.token)

    async def _make(self) -> _Made:
        try:
            answer = await self._outbound.ask(
                "POST", self._url, headers=headers_of(self._key.assertion()), body=self._wanted
            )
        except OutboundError as error:
            raise AnsweredError("GitHub cannot be reached", place=self._place) from error
        if answer.status != _CREATED:
            raise AnsweredError(f"GitHub answered {answer.status} to its App", place=self._place)
        try:
            return msgspec.json.decode(answer.body, type=_Made)
        except msgspec.DecodeError as error:
            raise AnsweredError("GitHub's answer cannot be read", place=self._place) from error


def headers_of(bearer: str) -> dict[str, str]:
    """What every request to GitHub goes with."""
    return {
        "accept": "application/vnd.github+json",
        "authorization": f"Bearer {bearer}",
        "x-github-api-version": VERSION,
    }
