"""The part of GitLab's API that is about who is in a group, refusing what GitLab refuses.

docs.gitlab.com: "Groups API", "Group and project members API" (``group_saml_identity`` for owners alone), "Service
accounts API", "Group access tokens API", "Deploy tokens API", "Group enterprise users API", "Users API" (``two_factor``
for administrators), "Pagination" (Link), "Rate limits" (429 with Retry-After).
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from tests.fakes.https import Asked, Said

LEVELS: Final = frozenset({5, 10, 15, 20, 30, 40, 50})
OWNER, MAINTAINER = 50, 40


@dataclass
class Account:
    """Somebody with an account."""

    id: int
    username: str
    two_factor: bool = True
    saml: str | None = None
    bot: bool = False
    enterprise: bool = False


@dataclass
class Space:
    """A group or project: each direct member's level."""

    id: int
    path: str
    members: dict[int, int] = field(default_factory=dict)
    deploy_keys: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class GitLabGroup:
    """One top-level group (``group``), its subgroups and projects, and who asks."""

    accounts: dict[int, Account] = field(default_factory=dict)
    groups: dict[int, Space] = field(default_factory=lambda: {100: Space(100, "acme")})
    projects: dict[int, Space] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=lambda: {"glpat-owner": 1})
    administrators: set[int] = field(default_factory=set)
    settings: dict[str, Any] = field(default_factory=dict)
    premium: bool = True
    sso: bool = True
    service_accounts: list[int] = field(default_factory=list)
    access_tokens: list[dict[str, Any]] = field(default_factory=list)
    deploy_tokens: list[dict[str, Any]] = field(default_factory=list)
    says: list[Said] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def add(self, id_: int, username: str, level: int = 0, **more: Any) -> Account:
        """An account, and its level in the group; none where it is 0."""
        found = self.accounts[id_] = Account(id_, username, **more)
        if level:
            self.groups[100].members[id_] = level
        return found

    def answer(self, asked: Asked) -> Said:
        """What GitLab says."""
        if self.says:
            raise self.says.pop(0)
        account = self.tokens.get(asked.headers.get("private-token", ""))
        if account is None:
            raise Said(401, {"message": "401 Unauthorized"})
        if asked.path == "/api/v4/users":
            if account not in self.administrators:
                raise Said(403, {"message": "403 Forbidden"})
            off = parse_qs(asked.query).get("two_factor") == ["disabled"]
            return self._page(
                asked, [self._shown(one) for one in self.accounts.values() if not (off and one.two_factor)]
            )
        match = re.fullmatch(r"/api/v4/(groups|projects)/(\d+)(?:/(.+))?", asked.path)
        if match is None:
            raise Said(404, {"error": "404 Not Found"})
        space = (self.groups if match[1] == "groups" else self.projects).get(int(match[2]))
        level = 0 if space is None else self._level(space, account)
        if space is None or not level:
            raise Said(404, {"message": f"404 {match[1][:-1].title()} Not Found"})
        rest = match[3] or ""
        if member := re.fullmatch(r"members(?:/(\d+|all))?", rest):
            return self._members(asked, space, level, member[1])
        if match[1] == "projects":
            return self._project(asked, space, level, rest)
        return self._group(asked, space, level, rest)

    def _level(self, space: Space, account: int) -> int:
        if account in self.administrators:
            return OWNER
        return max(space.members.get(account, 0), self.groups[100].members.get(account, 0))

    def _page(self, asked: Asked, found: list[Any]) -> Said:
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        size, page = min(int(query.get("per_page", "20")), 100), int(query.get("page", "1"))
        headers = {"x-total": str(len(found)), "ratelimit-remaining": "1999"}
        if page * size < len(found):
            headers["link"] = f'<{self.url}{asked.path}?{urlencode({**query, "page": page + 1})}>; rel="next"'
        return Said(200, found[(page - 1) * size : page * size], headers)

    def _shown(self, one: Account) -> dict[str, Any]:
        return {"id": one.id, "username": one.username, "name": one.username.title(), "state": "active", "bot": one.bot}

    def _members(self, asked: Asked, space: Space, level: int, which: str | None) -> Said:
        if asked.method == "GET":
            held = {**self.groups[100].members, **space.members} if which == "all" else space.members
            if which not in {None, "all"}:
                if int(which or 0) not in held:
                    raise Said(404, {"message": "404 Not found"})
                return Said(200, self._member(int(which or 0), held, level))
            return self._page(asked, [self._member(one, held, level) for one in sorted(held)])
        if level < OWNER and not (level == MAINTAINER and space.id in self.projects):
            raise Said(403, {"message": "403 Forbidden"})
        if asked.method == "POST" and which is None:
            return self._add(asked, space)
        return self._change(asked, space, level, int(which or 0))

    def _change(self, asked: Asked, space: Space, level: int, account: int) -> Said:
        if account not in space.members:
            raise Said(404, {"message": "404 Not found"})
        owners = [one for one, held in space.members.items() if held == OWNER]
        if asked.method == "PUT":
            if asked.body.get("access_level") not in LEVELS:
                raise Said(400, {"error": "access_level does not have a valid value"})
            if owners == [account] and asked.body["access_level"] < OWNER and space.id in self.groups:
                raise Said(403, {"message": "403 Forbidden - You cannot change the last owner"})
            space.members[account] = asked.body["access_level"]
            return Said(200, self._member(account, space.members, level))
        if owners == [account] and space.id in self.groups:
            raise Said(403, {"message": "403 Forbidden"})
        del space.members[account]
        if space.id == 100:
            for other in (*self.groups.values(), *self.projects.values()):
                other.members.pop(account, None)
        return Said(204)

    def _add(self, asked: Asked, space: Space) -> Said:
        account, level = asked.body.get("user_id"), asked.body.get("access_level")
        if not account or level not in LEVELS:
            raise Said(400, {"error": "user_id is missing, access_level is missing"})
        if account not in self.accounts:
            raise Said(404, {"message": "404 User Not Found"})
        if account in space.members:
            raise Said(409, {"message": "Member already exists"})
        space.members[account] = level
        return Said(201, self._member(account, space.members, OWNER))

    def _member(self, account: int, held: dict[int, int], asker: int) -> dict[str, Any]:
        one = self.accounts[account]
        found = {**self._shown(one), "access_level": held[account], "expires_at": None, "membership_state": "active"}
        if asker == OWNER and self.sso:
            found["group_saml_identity"] = (
                {"extern_uid": one.saml, "provider": "group_saml", "saml_provider_id": 10} if one.saml else None
            )
        return found

    def _project(self, asked: Asked, space: Space, level: int, rest: str) -> Said:
        if rest == "":
            return Said(200, {"id": space.id, "path_with_namespace": space.path})
        if rest == "deploy_keys" and level >= MAINTAINER:
            return self._page(asked, space.deploy_keys)
        raise Said(404, {"error": "404 Not Found"})

    def _group(self, asked: Asked, space: Space, level: int, rest: str) -> Said:
        if rest == "":
            found: dict[str, Any] = {"id": space.id, "full_path": space.path}
            if level == OWNER:
                found |= {"require_two_factor_authentication": True, "two_factor_grace_period": 0}
                found |= self.settings
            return Said(200, found)
        if rest == "projects":
            return self._page(
                asked, [{"id": one.id, "path_with_namespace": one.path} for one in self.projects.values()]
            )
        if level < OWNER:
            raise Said(403, {"message": "403 Forbidden"})
        if rest == "access_tokens":
            return self._page(asked, self.access_tokens)
        if rest == "deploy_tokens":
            return self._page(asked, self.deploy_tokens)
        if not self.premium:
            raise Said(404, {"error": "404 Not Found"})
        if rest == "service_accounts":
            return self._page(asked, [self._shown(self.accounts[one]) for one in self.service_accounts])
        if rest == "enterprise_users":
            off = parse_qs(asked.query).get("two_factor") == ["disabled"]
            found_users = [one for one in self.accounts.values() if one.enterprise and not (off and one.two_factor)]
            return self._page(asked, [self._shown(one) for one in found_users])
        raise Said(404, {"error": "404 Not Found"})
