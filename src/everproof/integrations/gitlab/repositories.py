"""GitLab: project access tokens, with one scope and the lowest role that can use it.

docs.gitlab.com, "Project access tokens API". GitLab counts their lives in days, so what ends them is the job that
revokes them; their name says whose they are, so that one whose answer was lost is found again.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from everproof.identity.outbound import Answer, Outbound
from everproof.identity.records import FOREVER
from everproof.integrations.gitlab.ci import GITLAB_COM
from everproof.integrations.immutable_ids import NUMBER
from everproof.integrations.secret_source import SecretSource
from everproof.kernel.errors import InputError
from everproof.secrets import Access, HostError, Minted, NotMadeError, TokenText

REPORTER: Final = 20
DEVELOPER: Final = 30

_OK, _CREATED, _NO_CONTENT, _NOT_FOUND = 200, 201, 204, 404
_REFUSALS: Final = range(400, 500)
_PAGE: Final = 20


class _Grant(NamedTuple):
    """What GitLab calls a permission: the scope, and the lowest role that it can be used with."""

    scope: str
    role: int


GRANTS: Final = {
    "contents:read": _Grant("read_repository", REPORTER),
    "contents:write": _Grant("write_repository", DEVELOPER),
    "registry:read": _Grant("read_registry", REPORTER),
    "registry:write": _Grant("write_registry", DEVELOPER),
}
"""Not among them: ``api``, which is everything."""


class _Token(msgspec.Struct, frozen=True):
    id: int
    name: str = ""
    scopes: tuple[str, ...] = ()
    access_level: int = 0
    expires_at: date | None = None
    token: TokenText | None = None

    def __repr__(self) -> str:
        return f"_Token({self.id})"


class GitLabRepositories:
    """One GitLab: as in ``RepositoryHost``."""

    username = "oauth2"

    def __init__(
        self,
        name: str,
        outbound: Outbound,
        *,
        token: SecretSource,
        now: Callable[[], datetime],
        api: str = "",
        issuer: str = "",
    ) -> None:
        """``token`` is a personal access token with the scope ``api``, of a user who maintains the projects."""
        self.name = name
        self._api = (api or GITLAB_COM).rstrip("/")
        self.issuer = issuer or self._api
        self._outbound = outbound
        self._token = token
        self._now = now

    def check(self, access: Access) -> None:
        """As in ``RepositoryHost``."""
        if NUMBER.fullmatch(access.repository) is None:
            raise InputError("must be the project's number: paths can change hands", place="repository")
        for word in access.words:
            if word not in GRANTS:
                known = ", ".join(GRANTS)
                raise InputError(f"there is no such permission here; known are: {known}", place=f"permissions.{word}")

    def last_end(self, ends: datetime) -> datetime:
        """As in ``RepositoryHost``: the beginning of the second day after, as GitLab counts."""
        return datetime.combine(_last_day(ends), time(), UTC)

    async def mint(self, access: Access, *, name: str, ends: datetime) -> Minted:
        """As in ``RepositoryHost``."""
        grants = [GRANTS[word] for word in access.words]
        role, day = max(one.role for one in grants), _last_day(ends)
        scopes = sorted(one.scope for one in grants)
        wanted = {"name": name, "scopes": scopes, "access_level": role, "expires_at": day.isoformat()}
        answer = await self._ask("POST", self._tokens(access), body=msgspec.json.encode(wanted))
        if answer.status != _CREATED:
            raise (NotMadeError if answer.status in _REFUSALS else HostError)(
                f"GitLab answered {answer.status}: {_message(answer)}", place=self.name
            )
        made = _read(answer, _Token, self.name)
        if not made.token:
            raise HostError("GitLab's answer has no token in it", place=self.name)
        # Whatever is said, it is not taken for dead before it could be.
        last = FOREVER if made.expires_at is None else datetime.combine(made.expires_at, time(), UTC)
        dies = max(last, self.last_end(ends))
        return Minted(token=made.token, id=str(made.id), dies=dies, excess=_excess(made, scopes, role, day))

    async def revoke(self, access: Access, *, name: str, id: str, token: str) -> bool:  # noqa: A002, ARG002 - the interface's
        """As in ``RepositoryHost``: by its id, or by its name where that was never heard."""
        for one in [id] if id else await self._called(access, name):
            answer = await self._ask("DELETE", f"{self._tokens(access)}/{one}")
            # 404 is also what GitLab says of a project that we may not see any more: then it says so of the list, too.
            gone = answer.status == _NOT_FOUND and one not in await self._called(access, name)
            if answer.status != _NO_CONTENT and not gone:
                raise HostError(f"GitLab answered {answer.status} to the end of a token", place=self.name)
        return True

    async def _called(self, access: Access, name: str) -> list[str]:
        """The ids of the tokens of this name that live."""
        query = f"state=active&per_page={_PAGE}&search={quote(name, safe='')}"
        answer = await self._ask("GET", self._tokens(access), query=query)
        if answer.status != _OK:
            raise HostError(f"GitLab answered {answer.status} to what tokens there are", place=self.name)
        return [str(one.id) for one in _read(answer, list[_Token], self.name) if one.name == name]

    def _tokens(self, access: Access) -> str:
        return f"/api/v4/projects/{access.repository}/access_tokens"

    async def _ask(self, method: str, path: str, *, query: str = "", body: bytes | None = None) -> Answer:
        headers = {"accept": "application/json", "private-token": self._token.read().decode("ascii", "replace")}
        return await self._outbound.ask(method, f"{self._api}{path}", headers=headers, query=query, body=body)


def _last_day(ends: datetime) -> date:
    """A token lives until this day begins, UTC; the day after ``ends`` would begin before it, if clocks disagree."""
    return (ends.astimezone(UTC) + timedelta(days=1, hours=1)).date()


def _excess(made: _Token, scopes: list[str], role: int, day: date) -> str:
    if not set(made.scopes) <= set(scopes):
        return f"scopes {', '.join(sorted(set(made.scopes) - set(scopes)))}"
    if made.access_level > role:
        return f"access level {made.access_level}"
    return "" if made.expires_at is not None and made.expires_at <= day else "a longer life"


def _read(answer: Answer, type_: Any, place: str) -> Any:
    try:
        return msgspec.json.decode(answer.body, type=type_)
    except msgspec.DecodeError as error:
        raise HostError("GitLab's answer cannot be read", place=place) from error


def _message(answer: Answer) -> str:
    """What GitLab says of an error. It never repeats a secret; what is not plain text is left out."""
    try:
        said: Any = msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        return "nothing that can be read"
    text = (said.get("message") or said.get("error")) if isinstance(said, dict) else None
    return text[:200] if isinstance(text, str) and text.isprintable() else "nothing that can be read"
