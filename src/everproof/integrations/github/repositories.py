"""GitHub: tokens of an App's installation, narrowed to one repository and to the permissions that were asked for.

docs.github.com, "Create an installation access token for an app", "Revoke an installation access token".
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec

from everproof.identity.outbound import Answer, Outbound
from everproof.integrations.github.app import API, BEHIND, AppKey, headers_of
from everproof.integrations.immutable_ids import NUMBER
from everproof.integrations.secret_source import SecretSource
from everproof.kernel.errors import InputError
from everproof.secrets import Access, HostError, Minted, NotMadeError, TokenText

ISSUER: Final = "https://token.actions.githubusercontent.com"

LIFETIME: Final = timedelta(hours=1)
"""Of every installation token: GitHub lets nobody choose."""
ALWAYS: Final = {"metadata": "read"}
"""What every token may do besides, asked for or not."""

_PERMISSION: Final = re.compile(r"[a-z][a-z_]{1,40}")
_CREATED, _NO_CONTENT, _UNAUTHENTICATED = 201, 204, 401
_REFUSALS: Final = range(400, 500)


class _Repository(msgspec.Struct, frozen=True):
    id: int


class _Made(msgspec.Struct, frozen=True):
    token: TokenText
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)]
    permissions: dict[str, str] = {}
    repository_selection: str = "all"
    repositories: tuple[_Repository, ...] = ()

    def __repr__(self) -> str:
        return "_Made()"


class GitHubRepositories:
    """One installation of an App: as in ``RepositoryHost``."""

    username = "x-access-token"

    def __init__(
        self,
        name: str,
        outbound: Outbound,
        *,
        key: SecretSource,
        app: str,
        installation: int,
        now: Callable[[], datetime],
        api: str = "",
        issuer: str = "",
    ) -> None:
        """``key`` is the App's private key (PEM), ``app`` its client id.

        Raises:
            InputError: there is no App.
        """
        if not app:
            raise InputError("names no App", place=f"repositories.{name}.app", todo="give the App's client id")
        self.name = name
        self.issuer = issuer or ISSUER
        self._outbound = outbound
        self._key = AppKey(key, app, now=now, place=f"repositories.{name}.secret")
        self._api = (api or API).rstrip("/")
        self._installation = installation
        self._now = now

    def check(self, access: Access) -> None:
        """As in ``RepositoryHost``: any permission of an App; the installation's own bound them."""
        if NUMBER.fullmatch(access.repository) is None:
            raise InputError("must be the repository's number: names can change hands", place="repository")
        for permission in access.permissions:
            if _PERMISSION.fullmatch(permission) is None:
                raise InputError("GitHub has no permission of such a name", place=f"permissions.{permission}")

    def last_end(self, ends: datetime) -> datetime:  # noqa: ARG002 - GitHub lets nobody choose
        """As in ``RepositoryHost``."""
        return self._now() + LIFETIME + BEHIND

    async def mint(self, access: Access, *, name: str, ends: datetime) -> Minted:  # noqa: ARG002 - GitHub calls tokens nothing
        """As in ``RepositoryHost``."""
        wanted = {"repository_ids": [int(access.repository)], "permissions": dict(access.permissions)}
        answer = await self._ask(
            "POST",
            f"/app/installations/{self._installation}/access_tokens",
            bearer=self._key.assertion(),
            body=msgspec.json.encode(wanted),
        )
        if answer.status != _CREATED:
            raise (NotMadeError if answer.status in _REFUSALS else HostError)(
                f"GitHub answered {answer.status}: {_message(answer)}", place=self.name
            )
        try:
            made = msgspec.json.decode(answer.body, type=_Made)
        except msgspec.DecodeError as error:
            raise HostError("GitHub's answer cannot be read", place=self.name) from error
        # Whatever is said, it is not taken for dead before it could be.
        dies = max(made.expires_at, self.last_end(ends))
        return Minted(token=made.token, dies=dies, excess=_excess(made, access, self._now()))

    async def revoke(self, access: Access, *, name: str, id: str, token: str) -> bool:  # noqa: A002, ARG002 - the interface's
        """As in ``RepositoryHost``: a token ends itself, so without it none is ended."""
        if not token:
            return False
        answer = await self._ask("DELETE", "/installation/token", bearer=token)
        if answer.status not in {_NO_CONTENT, _UNAUTHENTICATED}:
            raise HostError(f"GitHub answered {answer.status} to the end of a token", place=self.name)
        return True

    async def _ask(self, method: str, path: str, *, bearer: str, body: bytes | None = None) -> Answer:
        return await self._outbound.ask(method, f"{self._api}{path}", headers=headers_of(bearer), body=body)


def _excess(made: _Made, access: Access, now: datetime) -> str:
    """What the token may do that was not asked for; empty: nothing."""
    granted = {**ALWAYS, **access.permissions}
    more = sorted(
        f"{name}:{level}"
        for name, level in made.permissions.items()
        if level not in {granted.get(name), "read" if granted.get(name) == "write" else None}
    )
    if more:
        return f"permissions {', '.join(more)}"
    if made.repository_selection != "selected" or [str(one.id) for one in made.repositories] != [access.repository]:
        return "other repositories"
    return "" if made.expires_at <= now + LIFETIME + BEHIND else "a longer life"


def _message(answer: Answer) -> str:
    """What GitHub says of an error. It never repeats a secret; what is not plain text is left out."""
    try:
        said: Any = msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        return "nothing that can be read"
    text = said.get("message") if isinstance(said, dict) else None
    return text[:200] if isinstance(text, str) and text.isprintable() else "nothing that can be read"
