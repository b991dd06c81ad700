"""The part of GitLab's REST API that makes and revokes project access tokens, refusing what GitLab refuses.

docs.gitlab.com: "Project access tokens API", "REST API authentication"; access levels: "Members API". A token ends with
the beginning of the day, UTC, that its ``expires_at`` names.
"""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qs

from tests.fakes.https import Asked, Said

SCOPES: Final = frozenset(
    {
        "api", "read_api", "read_repository", "write_repository", "read_registry", "write_registry", "create_runner",
        "manage_runner", "ai_features", "k8s_proxy", "self_rotate",
    }
)  # fmt: skip
LEVELS: Final = frozenset({10, 15, 20, 30, 40, 50})
REPORTER, DEVELOPER, MAINTAINER = 20, 30, 40
LONGEST: Final = timedelta(days=365)


@dataclass
class User:
    """Whose personal access token asks: its scopes, and its level in each project."""

    levels: dict[int, int]
    scopes: frozenset[str] = frozenset({"api"})
    bot: bool = False


@dataclass
class Token:
    """A project access token."""

    id: int
    project: int
    name: str
    scopes: list[str]
    level: int
    expires: date
    value: str
    revoked: bool = False


@dataclass
class GitLabApi:
    """One GitLab. ``generous`` changes what the answer says was made, ``down`` says nothing good."""

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    projects: set[int] = field(default_factory=set)
    users: dict[str, User] = field(default_factory=dict)
    tokens: dict[int, Token] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    down: bool = False
    generous: dict[str, Any] = field(default_factory=dict)
    lost: bool = False
    """The token is made, and the answer does not arrive."""

    def answer(self, asked: Asked) -> Said:
        """What GitLab says."""
        if self.down:
            raise Said(503, {"message": "GitLab is not responding"})
        user = self._user(asked)
        if match := re.fullmatch(r"/api/v4/projects/(\d+)/access_tokens(?:/(\d+))?", asked.path):
            project = int(match[1])
            if project not in self.projects or project not in user.levels:
                raise Said(404, {"message": "404 Project Not Found"})
            if asked.method == "POST" and match[2] is None:
                return self._create(asked, user, project)
            if asked.method == "GET" and match[2] is None:
                return self._list(asked, user, project)
            if asked.method == "DELETE" and match[2] is not None:
                return self._revoke(user, project, int(match[2]))
        raise Said(404, {"error": "404 Not Found"})

    def may(self, value: str, project: int, *, write: bool) -> int:
        """What git over HTTPS is answered with this token as its password."""
        for one in self.tokens.values():
            if one.value == value and self._active(one):
                wanted = {"write_repository", "api"} if write else {"read_repository", "write_repository", "api"}
                level = DEVELOPER if write else REPORTER
                allowed = wanted & set(one.scopes) and one.project == project and one.level >= level
                return 200 if allowed else 403
        return 401

    def _user(self, asked: Asked) -> User:
        value = asked.headers.get("private-token") or asked.headers.get("authorization", "").removeprefix("Bearer ")
        user = self.users.get(value)
        if user is None:
            raise Said(401, {"message": "401 Unauthorized"})
        if "api" not in user.scopes:
            raise Said(403, {"error": "insufficient_scope", "scope": "api"})
        return user

    def _create(self, asked: Asked, user: User, project: int) -> Said:
        body = asked.body
        if not isinstance(body, dict) or asked.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise Said(400, {"error": "name is missing, scopes is missing"})
        missing = [name for name in ("name", "scopes") if not body.get(name)]
        if missing:
            raise Said(400, {"error": ", ".join(f"{name} is missing" for name in missing)})
        if not isinstance(body["scopes"], list) or not set(body["scopes"]) <= SCOPES:
            raise Said(400, {"error": "scopes does not have a valid value"})
        level = body.get("access_level", MAINTAINER)
        if level not in LEVELS:
            raise Said(400, {"error": "access_level does not have a valid value"})
        if user.bot or user.levels[project] < MAINTAINER:
            raise Said(400, {"message": "User does not have permission to create project access token"})
        if level > user.levels[project]:
            message = "Access level of the token contains permissions not held by the creating user"
            raise Said(400, {"message": message})
        expires = self._expires(body)
        made = Token(len(self.tokens) + 1, project, body["name"], body["scopes"], level, expires, "")
        made.value = f"glpat-{secrets.token_urlsafe(24)}"
        self.tokens[made.id] = made
        if self.lost:
            raise Said(500, {"message": "500 Internal Server Error"})
        return Said(201, {**self._shown(made), "token": made.value, **self.generous})

    def _expires(self, body: dict[str, Any]) -> date:
        today = self.clock().date()
        try:
            expires = date.fromisoformat(body["expires_at"])
        except (KeyError, TypeError, ValueError) as error:
            raise Said(400, {"error": "expires_at is invalid"}) from error
        if expires < today:
            raise Said(400, {"message": "Expiration date must be a future date"})
        if expires > today + LONGEST:
            raise Said(400, {"message": f"Expiration date must be before {today + LONGEST}"})
        return expires

    def _list(self, asked: Asked, user: User, project: int) -> Said:
        if user.levels[project] < MAINTAINER:
            raise Said(401, {"message": "401 Unauthorized"})
        query = parse_qs(asked.query)
        wanted = query.get("search", [""])[0]
        found = [
            self._shown(one)
            for one in self.tokens.values()
            if one.project == project and wanted in one.name and (query.get("state") != ["active"] or self._active(one))
        ]
        return Said(200, found)

    def _revoke(self, user: User, project: int, id_: int) -> Said:
        found = self.tokens.get(id_)
        if found is None or found.project != project or found.revoked:
            raise Said(404, {"message": "404 project Access Token Not Found"})
        if user.levels[project] < MAINTAINER:
            raise Said(400, {"message": "user cannot delete the token"})
        found.revoked = True
        return Said(204)

    def _active(self, one: Token) -> bool:
        return not one.revoked and one.expires > self.clock().date()

    def _shown(self, one: Token) -> dict[str, Any]:
        return {
            "id": one.id, "name": one.name, "revoked": one.revoked, "scopes": one.scopes, "user_id": 900 + one.id,
            "active": self._active(one), "expires_at": one.expires.isoformat(), "access_level": one.level,
            "created_at": self.clock().isoformat(), "last_used_at": None, "description": None,
        }  # fmt: skip
