# ruff: noqa: ARG002 - each route is given the same: the request, the token, and what its path names
"""The part of GitHub's API that is about who is in an organisation, refusing what GitHub refuses.

docs.github.com, REST: "Organization members", "Outside collaborators", "Team members", "Collaborators", "Repository
invitations", "Deploy keys", "Personal access tokens", "GitHub App installations" of an organisation, "Rate limits",
"Using pagination", "Best practices" (ETag); GraphQL: ``Organization.samlIdentityProvider`` and ``domains``. Teams by
number go by ``/organizations/{id}/team/{id}``.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from tests.fakes.https import Asked, Said

PERMISSIONS: Final = ("pull", "triage", "push", "maintain", "admin")
ROLE_NAMES: Final = dict(zip(PERMISSIONS, ("read", "triage", "write", "maintain", "admin"), strict=True))


@dataclass
class Account:
    """Somebody with an account; ``saml`` is the name that the organisation's sign-on has for them."""

    id: int
    login: str
    two_factor: bool = True
    saml: str | None = None
    secure: bool = True


@dataclass
class Team:
    """A team: each member's role."""

    id: int
    slug: str
    members: dict[int, str] = field(default_factory=dict)
    invited: dict[int, str] = field(default_factory=dict)
    synced: bool = False


@dataclass
class Repository:
    """A repository: direct collaborators with their permission, invitations, and deploy keys."""

    id: int
    name: str
    collaborators: dict[int, str] = field(default_factory=dict)
    invited: dict[int, tuple[int, str]] = field(default_factory=dict)
    keys: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Token:
    """Whose token asks, and its scopes; an App's has no account."""

    account: int | None
    scopes: frozenset[str] = frozenset({"admin:org", "repo"})


@dataclass
class GitHubOrg:
    """One organisation, the accounts around it, and who asks."""

    id: int = 9919
    login: str = "acme"
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    accounts: dict[int, Account] = field(default_factory=dict)
    members: dict[int, str] = field(default_factory=dict)
    invitations: dict[int, tuple[int, str]] = field(default_factory=dict)
    teams: dict[int, Team] = field(default_factory=dict)
    repositories: dict[int, Repository] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=lambda: {"ghp_owner": Token(1)})
    settings: dict[str, Any] = field(default_factory=lambda: {"two_factor_requirement_enabled": True})
    saml: bool = True
    domains: dict[str, bool] = field(default_factory=lambda: {"acme.example": True})
    installations: list[dict[str, Any]] = field(default_factory=list)
    pats: list[dict[str, Any]] = field(default_factory=list)
    left: int = 5_000
    reset: int = 0
    says: list[Said] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    next_id: int = 7_000
    url: str = ""

    def add(self, id_: int, login: str, role: str = "", **more: Any) -> Account:
        """An account, and its role in the organisation; none where it is empty."""
        found = self.accounts[id_] = Account(id_, login, **more)
        if role:
            self.members[id_] = role
        return found

    def answer(self, asked: Asked) -> Said:
        """What GitHub says."""
        if self.says:
            raise self.says.pop(0)
        token = self.tokens.get(asked.headers.get("authorization", "").removeprefix("Bearer "))
        if token is None:
            raise Said(401, {"message": "Bad credentials"})
        if not asked.headers.get("user-agent"):
            raise Said(403, {"message": "Request forbidden by administrative rules."})
        if self.left <= 0:
            limits = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(self.reset)}
            raise Said(403, {"message": "API rate limit exceeded for user."}, limits)
        said = self._said(asked, token)
        etag = f'W/"{hashlib.sha256(json.dumps(said.body).encode()).hexdigest()}"'
        if asked.method == "GET" and said.status == 200:
            if asked.headers.get("if-none-match") == etag:
                raise Said(304, None, {"etag": etag})
            said.headers["etag"] = etag
        self.left -= 1
        said.headers["x-ratelimit-remaining"] = str(self.left)
        return said

    def _said(self, asked: Asked, token: Token) -> Said:
        if asked.path == "/graphql":
            return self._graphql(asked, token)
        for form, method, name in _ROUTES:
            if asked.method == method and (match := re.fullmatch(form, asked.path)):
                return getattr(self, name)(asked, token, *match.groups())  # type: ignore[no-any-return]
        raise Said(404, {"message": "Not Found"})

    def _is_owner(self, token: Token) -> bool:
        if token.account is None:
            return "members:write" in token.scopes
        return self.members.get(token.account) == "admin" and "admin:org" in token.scopes

    def _require_owner(self, token: Token) -> None:
        """Whoever may not do it hears 403 as a member, and 404 otherwise."""
        if not self._is_owner(token):
            known = token.account in self.members
            raise Said(403 if known else 404, {"message": "You must be an admin" if known else "Not Found"})

    def _require_org(self, org: str) -> None:
        if org.lower() != self.login.lower():
            raise Said(404, {"message": "Not Found"})

    def _of_login(self, login: str) -> Account:
        for one in self.accounts.values():
            if one.login.lower() == login.lower():
                return one
        raise Said(404, {"message": "Not Found"})

    def _user(self, id_: int) -> dict[str, Any]:
        return {"id": id_, "login": self.accounts[id_].login, "type": "User", "site_admin": False}

    def _page(self, asked: Asked, found: list[Any]) -> Said:
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        size, page = min(int(query.get("per_page", "30")), 100), int(query.get("page", "1"))
        part = found[(page - 1) * size : page * size]
        headers = {}
        if page * size < len(found):
            following = urlencode({**query, "page": page + 1})
            last = -(-len(found) // size)
            headers["link"] = (
                f'<{self.url}{asked.path}?{following}>; rel="next", '
                f'<{self.url}{asked.path}?{urlencode({**query, "page": last})}>; rel="last"'
            )
        return Said(200, part, headers)

    def org(self, asked: Asked, token: Token, org: str) -> Said:
        self._require_org(org)
        found: dict[str, Any] = {"id": self.id, "login": self.login, "is_verified": any(self.domains.values())}
        if self._is_owner(token):
            found |= {"default_repository_permission": "read", "members_can_create_public_repositories": False}
            found |= self.settings
        return Said(200, found)

    def list_members(self, asked: Asked, token: Token, org: str) -> Said:
        self._require_org(org)
        query = parse_qs(asked.query)
        role, wanted = query.get("role", ["all"])[0], query.get("filter", ["all"])[0]
        if wanted != "all" and not self._is_owner(token):
            raise Said(422, {"message": "Only owners can use this filter."})
        found = [one for one, held in self.members.items() if role in {"all", held} and self._passes(one, wanted)]
        return self._page(asked, [self._user(one) for one in sorted(found)])

    def _passes(self, account: int, wanted: str) -> bool:
        one = self.accounts[account]
        return {"2fa_disabled": not one.two_factor, "2fa_insecure": one.two_factor and not one.secure}.get(wanted, True)

    def user(self, asked: Asked, token: Token, id_: str) -> Said:
        if int(id_) not in self.accounts:
            raise Said(404, {"message": "Not Found"})
        return Said(200, self._user(int(id_)))

    def membership(self, asked: Asked, token: Token, org: str, login: str) -> Said:
        self._require_org(org)
        account = self._of_login(login).id
        for held, role in self.invitations.values():
            if held == account:
                return Said(200, {"state": "pending", "role": role})
        if account not in self.members:
            raise Said(404, {"message": "Not Found"})
        return Said(200, {"state": "active", "role": self.members[account]})

    def put_membership(self, asked: Asked, token: Token, org: str, login: str) -> Said:
        self._require_org(org)
        self._require_owner(token)
        account, role = self._of_login(login).id, (asked.body or {}).get("role", "member")
        if role not in {"admin", "member"}:
            raise Said(422, {"message": "Validation Failed"})
        if account not in self.members:
            self._invite(account, role)
            return Said(200, {"state": "pending", "role": role})
        if role == "member" and self._owners() == [account]:
            raise Said(403, {"message": "You can't demote the last admin"})
        self.members[account] = role
        return Said(200, {"state": "active", "role": role})

    def delete_membership(self, asked: Asked, token: Token, org: str, login: str) -> Said:
        self._require_org(org)
        self._require_owner(token)
        account = self._of_login(login).id
        if account not in self.members:
            raise Said(404, {"message": "Not Found"})
        if self._owners() == [account]:
            raise Said(403, {"message": "Cannot remove the last owner"})
        del self.members[account]
        for team in self.teams.values():
            team.members.pop(account, None)
        return Said(204)

    def _owners(self) -> list[int]:
        return [one for one, role in self.members.items() if role == "admin"]

    def _invite(self, account: int, role: str) -> None:
        if all(held != account for held, _ in self.invitations.values()):
            self.next_id += 1
            self.invitations[self.next_id] = (account, role)

    def list_invitations(self, asked: Asked, token: Token, org: str) -> Said:
        self._require_org(org)
        self._require_owner(token)
        found = [
            {"id": id_, "login": self.accounts[one].login, "email": None, "role": _invited(role)}
            for id_, (one, role) in self.invitations.items()
        ]
        return self._page(asked, found)

    def invite(self, asked: Asked, token: Token, org: str) -> Said:
        self._require_org(org)
        self._require_owner(token)
        account, role = asked.body.get("invitee_id"), asked.body.get("role", "direct_member")
        if account not in self.accounts or role not in {"admin", "direct_member", "billing_manager"}:
            raise Said(422, {"message": "Validation Failed"})
        if account in self.members or any(held == account for held, _ in self.invitations.values()):
            raise Said(422, {"message": "Invitee is already a part of this organization"})
        self._invite(account, "admin" if role == "admin" else "member")
        return Said(201, {"id": self.next_id})

    def withdraw(self, asked: Asked, token: Token, org: str, id_: str) -> Said:
        self._require_org(org)
        self._require_owner(token)
        if self.invitations.pop(int(id_), None) is None:
            raise Said(404, {"message": "Not Found"})
        return Said(204)

    def _team(self, org: str, id_: str) -> Team:
        if int(org) != self.id or int(id_) not in self.teams:
            raise Said(404, {"message": "Not Found"})
        return self.teams[int(id_)]

    def team(self, asked: Asked, token: Token, org: str, id_: str) -> Said:
        team = self._team(org, id_)
        return Said(200, {"id": team.id, "slug": team.slug, "name": team.slug})

    def list_team(self, asked: Asked, token: Token, org: str, id_: str) -> Said:
        role = parse_qs(asked.query).get("role", ["all"])[0]
        held = self._team(org, id_).members
        # An owner of the organisation is listed as a maintainer of each team that they are in.
        roles = {one: "maintainer" if self.members.get(one) == "admin" else as_ for one, as_ in held.items()}
        return self._page(asked, [self._user(one) for one in sorted(roles) if role in {"all", roles[one]}])

    def list_team_invitations(self, asked: Asked, token: Token, org: str, id_: str) -> Said:
        self._require_owner(token)
        found = [
            {"id": one, "login": self.accounts[one].login, "role": "direct_member"}
            for one in self._team(org, id_).invited
        ]
        return self._page(asked, found)

    def team_membership(self, asked: Asked, token: Token, org: str, id_: str, login: str) -> Said:
        team, account = self._team(org, id_), self._of_login(login).id
        if account in team.members:
            return Said(200, {"state": "active", "role": team.members[account]})
        if account in team.invited:
            return Said(200, {"state": "pending", "role": team.invited[account]})
        raise Said(404, {"message": "Not Found"})

    def put_team_membership(self, asked: Asked, token: Token, org: str, id_: str, login: str) -> Said:
        self._require_owner(token)
        team, account = self._team(org, id_), self._of_login(login).id
        if team.synced:
            raise Said(403, {"message": "Team membership is managed by an identity provider"})
        role = asked.body.get("role", "member")
        if role not in {"member", "maintainer"}:
            raise Said(422, {"message": "Validation Failed"})
        if account in self.members:
            team.members[account] = role
            return Said(200, {"state": "active", "role": role})
        self._invite(account, "member")
        team.invited[account] = role
        return Said(200, {"state": "pending", "role": role})

    def delete_team_membership(self, asked: Asked, token: Token, org: str, id_: str, login: str) -> Said:
        self._require_owner(token)
        team, account = self._team(org, id_), self._of_login(login).id
        if team.synced:
            raise Said(403, {"message": "Team membership is managed by an identity provider"})
        if team.members.pop(account, None) is None and team.invited.pop(account, None) is None:
            raise Said(404, {"message": "Not Found"})
        return Said(204)

    def _repository(self, owner: str, name: str) -> Repository:
        self._require_org(owner)
        for one in self.repositories.values():
            if one.name.lower() == name.lower():
                return one
        raise Said(404, {"message": "Not Found"})

    def list_repositories(self, asked: Asked, token: Token, org: str) -> Said:
        self._require_org(org)
        found = [
            {"id": one.id, "name": one.name, "full_name": f"{self.login}/{one.name}", "archived": False}
            for one in self.repositories.values()
        ]
        return self._page(asked, found)

    def repository(self, asked: Asked, token: Token, owner: str, name: str) -> Said:
        one = self._repository(owner, name)
        return Said(200, {"id": one.id, "full_name": f"{self.login}/{one.name}"})

    def collaborators(self, asked: Asked, token: Token, owner: str, name: str) -> Said:
        one = self._repository(owner, name)
        if parse_qs(asked.query).get("affiliation") != ["direct"]:
            raise Said(422, {"message": "this fake lists direct collaborators alone"})
        found = [
            {**self._user(id_), "permissions": {}, "role_name": ROLE_NAMES[permission]}
            for id_, permission in one.collaborators.items()
        ]
        return self._page(asked, found)

    def put_collaborator(self, asked: Asked, token: Token, owner: str, name: str, login: str) -> Said:
        self._require_owner(token)
        one, account = self._repository(owner, name), self._of_login(login).id
        permission = (asked.body or {}).get("permission", "push")
        if permission not in PERMISSIONS:
            raise Said(422, {"message": "Validation Failed"})
        if account in self.members or account in one.collaborators:
            one.collaborators[account] = permission
            return Said(204)
        self.next_id += 1
        one.invited[self.next_id] = (account, permission)
        return Said(201, {"id": self.next_id, "invitee": self._user(account), "permissions": ROLE_NAMES[permission]})

    def delete_collaborator(self, asked: Asked, token: Token, owner: str, name: str, login: str) -> Said:
        self._require_owner(token)
        self._repository(owner, name).collaborators.pop(self._of_login(login).id, None)
        return Said(204)

    def repository_invitations(self, asked: Asked, token: Token, owner: str, name: str) -> Said:
        self._require_owner(token)
        found = [
            {"id": id_, "invitee": self._user(one), "permissions": ROLE_NAMES[permission]}
            for id_, (one, permission) in self._repository(owner, name).invited.items()
        ]
        return self._page(asked, found)

    def withdraw_from_repository(self, asked: Asked, token: Token, owner: str, name: str, id_: str) -> Said:
        self._require_owner(token)
        if self._repository(owner, name).invited.pop(int(id_), None) is None:
            raise Said(404, {"message": "Not Found"})
        return Said(204)

    def deploy_keys(self, asked: Asked, token: Token, owner: str, name: str) -> Said:
        if "repo" not in token.scopes:
            raise Said(404, {"message": "Not Found"})
        return self._page(asked, self._repository(owner, name).keys)

    def outside_collaborators(self, asked: Asked, token: Token, org: str) -> Said:
        self._require_org(org)
        self._require_owner(token)
        wanted = parse_qs(asked.query).get("filter", ["all"])[0]
        found = {id_ for one in self.repositories.values() for id_ in one.collaborators} - self.members.keys()
        return self._page(asked, [self._user(one) for one in sorted(found) if self._passes(one, wanted)])

    def app_installations(self, asked: Asked, token: Token, org: str) -> Said:
        self._require_org(org)
        self._require_owner(token)
        said = self._page(asked, self.installations)
        said.body = {"total_count": len(self.installations), "installations": said.body}
        return said

    def personal_access_tokens(self, asked: Asked, token: Token, org: str) -> Said:
        self._require_org(org)
        if token.account is not None:
            raise Said(403, {"message": "Resource not accessible by personal access token"})
        return self._page(asked, self.pats)

    def _graphql(self, asked: Asked, token: Token) -> Said:
        query, variables = asked.body["query"], asked.body.get("variables", {})
        self._require_org(variables["login"])
        if not self._is_owner(token):
            error = {
                "type": "FORBIDDEN",
                "path": ["organization"],
                "message": "Must have admin rights to Organization.",
            }
            return Said(200, {"data": {"organization": None}, "errors": [error]})
        found: dict[str, Any] = {}
        if "samlIdentityProvider" in query:
            assert "pageInfo" in query
            found["samlIdentityProvider"] = self._identities(variables.get("after")) if self.saml else None
        if "domains" in query:
            nodes = [{"domain": name, "isVerified": verified} for name, verified in self.domains.items()]
            found["domains"] = {"nodes": nodes, "pageInfo": {"hasNextPage": False, "endCursor": None}}
        return Said(200, {"data": {"organization": found}})

    def _identities(self, after: str | None) -> dict[str, Any]:
        linked = sorted(one.id for one in self.accounts.values() if one.saml and one.id in self.members)
        start = int(after or 0)
        part = linked[start : start + 2]
        nodes = [
            {
                "samlIdentity": {"nameId": self.accounts[one].saml},
                "user": {"databaseId": one, "login": self.accounts[one].login},
            }
            for one in part
        ]
        more = start + 2 < len(linked)
        page = {"hasNextPage": more, "endCursor": str(start + 2) if more else None}
        return {"ssoUrl": "https://idp.example/sso", "externalIdentities": {"nodes": nodes, "pageInfo": page}}


def _invited(role: str) -> str:
    return "admin" if role == "admin" else "direct_member"


_ORG, _TEAM, _REPO = r"/orgs/([^/]+)", r"/organizations/(\d+)/team/(\d+)", r"/repos/([^/]+)/([^/]+)"
_ROUTES: Final = (
    (_ORG, "GET", "org"),
    (rf"{_ORG}/members", "GET", "list_members"),
    (rf"{_ORG}/memberships/([^/]+)", "GET", "membership"),
    (rf"{_ORG}/memberships/([^/]+)", "PUT", "put_membership"),
    (rf"{_ORG}/memberships/([^/]+)", "DELETE", "delete_membership"),
    (rf"{_ORG}/invitations", "GET", "list_invitations"),
    (rf"{_ORG}/invitations", "POST", "invite"),
    (rf"{_ORG}/invitations/(\d+)", "DELETE", "withdraw"),
    (rf"{_ORG}/repos", "GET", "list_repositories"),
    (rf"{_ORG}/outside_collaborators", "GET", "outside_collaborators"),
    (rf"{_ORG}/installations", "GET", "app_installations"),
    (rf"{_ORG}/personal-access-tokens", "GET", "personal_access_tokens"),
    (r"/user/(\d+)", "GET", "user"),
    (_TEAM, "GET", "team"),
    (rf"{_TEAM}/members", "GET", "list_team"),
    (rf"{_TEAM}/invitations", "GET", "list_team_invitations"),
    (rf"{_TEAM}/memberships/([^/]+)", "GET", "team_membership"),
    (rf"{_TEAM}/memberships/([^/]+)", "PUT", "put_team_membership"),
    (rf"{_TEAM}/memberships/([^/]+)", "DELETE", "delete_team_membership"),
    (_REPO, "GET", "repository"),
    (rf"{_REPO}/collaborators", "GET", "collaborators"),
    (rf"{_REPO}/collaborators/([^/]+)", "PUT", "put_collaborator"),
    (rf"{_REPO}/collaborators/([^/]+)", "DELETE", "delete_collaborator"),
    (rf"{_REPO}/invitations", "GET", "repository_invitations"),
    (rf"{_REPO}/invitations/(\d+)", "DELETE", "withdraw_from_repository"),
    (rf"{_REPO}/keys", "GET", "deploy_keys"),
)
