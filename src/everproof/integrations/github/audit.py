"""GitHub: does the organisation require sign-on and two factors, and who comes in without.

docs.github.com, REST: "Organizations", "Organization members" (``filter``), "Outside collaborators", "Deploy keys",
"Personal access tokens", "GitHub App installations" of an organisation; GraphQL: ``Organization.samlIdentityProvider``
and ``Organization.domains``. Whether SAML is *enforced* no API says.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from everproof.integrations.github.organisation import Account
from everproof.integrations.organisation_audit import Audit, Check, Seen, about, findings
from everproof.integrations.rest import PER_PAGE, Rest, UnseenError

OWNERS: Final = range(2, 6)
"""With one, nobody can help when they are ill; of many, each is a way in to everything."""
MAX_IDENTITIES: Final = 500
"""Pages of linked identities."""
OWNER: Final = "an owner's token with admin:org"
_FORBIDDEN: Final = 403

_IDENTITIES: Final = """query($login: String!, $after: String) { organization(login: $login) { samlIdentityProvider {
ssoUrl externalIdentities(first: 100, after: $after) { nodes { user { databaseId } }
pageInfo { hasNextPage endCursor } } } } }"""
_DOMAINS: Final = """query($login: String!) { organization(login: $login) {
domains(first: 100) { nodes { domain isVerified } pageInfo { hasNextPage endCursor } } } }"""


class _Organization(msgspec.Struct, frozen=True):
    id: int
    login: str
    two_factor_requirement_enabled: bool | None = None


class _Repository(msgspec.Struct, frozen=True):
    full_name: str
    archived: bool = False


class _DeployKey(msgspec.Struct, frozen=True):
    id: int
    title: str = ""
    read_only: bool = True


class _Owner(msgspec.Struct, frozen=True):
    login: str


class _Token(msgspec.Struct, frozen=True):
    owner: _Owner
    token_expires_at: str | None = None
    token_expired: bool = False


class _Installation(msgspec.Struct, frozen=True):
    app_slug: str
    repository_selection: str = "all"
    permissions: dict[str, str] = {}


class _Installations(msgspec.Struct, frozen=True):
    installations: tuple[_Installation, ...]
    total_count: int = 0


class _Saml(msgspec.Struct, frozen=True):
    """The organisation's sign-on: where it is, and the accounts that are linked with an identity there."""

    url: str
    linked: frozenset[int]


class GitHubAudit:
    """One organisation, by its login, looked at with whatever the token may see."""

    def __init__(self, rest: Rest, login: str, now: Callable[[], datetime]) -> None:
        self._rest = rest
        self._login = login
        self._path = f"/orgs/{quote(login, safe='')}"
        self._now = now
        self._saml: _Saml | None = None

    async def run(self) -> Audit:
        """Look at everything.

        Raises:
            Error: the organisation cannot be seen at all, the platform cannot be asked, or its limit is reached.
        """
        found = await self._rest.get(self._path, _Organization)
        return Audit(
            platform="github", organisation=found.login, id=str(found.id), at=self._now(),
            findings=await findings(self._checks(found)),
        )  # fmt: skip

    def _checks(self, organization: _Organization) -> list[Check]:
        async def required() -> Seen:
            wanted = organization.two_factor_requirement_enabled
            if wanted is None:
                raise UnseenError("is not said", answered=_FORBIDDEN)
            return Seen("good", "is required") if wanted else Seen("bad", "is not required of members")

        return [
            Check(
                name="two-factor-required", title="Two factors are required", needs=OWNER, look=required,
                todo="Settings, Authentication security: require two-factor authentication",
            ),
            Check(
                name="members-without-two-factor", title="Every member has two factors", needs=OWNER,
                look=self._filtered("members", "2fa_disabled", "members have one factor", "every member has two"),
                todo="have them set up a passkey, or remove them",
            ),
            Check(
                name="insecure-two-factor", title="No member's second factor is a text message", needs=OWNER,
                look=self._filtered("members", "2fa_insecure", "members have one by SMS", "none is by SMS"),
                todo="allow only secure methods under Authentication security",
            ),
            Check(
                name="sso", title="Sign-on at a provider is set up", needs=f"{OWNER}; SAML needs an enterprise",
                look=self._sso, todo="set up SAML single sign-on; what is not enterprise has none",
            ),
            Check(
                name="sso-identities", title="Every member is linked with an identity", needs=OWNER,
                look=self._unlinked, todo="require SAML: who has no linked identity is removed then",
            ),
            Check(
                name="sso-enforced", title="Sign-on is enforced", needs="a person: no API says it", look=self._enforced,
                todo="look under Authentication security whether “Require SAML SSO” is ticked",
            ),
            Check(
                name="outside-collaborators", title="Nobody works from outside", needs=OWNER, look=self._outside,
                todo="sign-on is not asked of them: make them members, or take them out",
            ),
            Check(
                name="owners", title="Few own it, and not one alone", needs="a member's token with read:org",
                look=self._owners, todo="two to five owners",
            ),
            Check(
                name="deploy-keys", title="No key of a repository writes", needs="an administrator's token with repo",
                look=self._deploy_keys, todo="a deploy key has no factor: give jobs tokens for one run instead",
            ),
            Check(
                name="personal-access-tokens", title="No personal token lives for ever",
                look=self._tokens,
                needs="a GitHub App with “Personal access tokens: read” of the organisation",
                todo="Settings, Personal access tokens: set a longest lifetime, and restrict classic ones",
            ),
            Check(
                name="machine-accounts", title="No App writes everywhere", needs=OWNER, look=self._apps,
                todo="install each App for the repositories that it needs",
            ),
            Check(
                name="domains", title="Its domains are verified", needs=OWNER, look=self._domains,
                todo="verify them, and send notifications to verified addresses alone",
            ),
        ]  # fmt: skip

    def _filtered(self, where: str, word: str, some: str, none: str) -> Callable[[], Any]:
        async def look() -> Seen:
            found = await self._rest.pages(f"{self._path}/{where}", Account, query=f"filter={word}")
            return about([one.login for one in found], none=none, some=some)

        return look

    async def _sso(self) -> Seen:
        saml = await self._identities()
        if saml is None:
            return Seen(
                "bad", "the organisation has no SAML identity provider of its own; an enterprise's is not seen here"
            )
        return Seen("good", f"is set up, at {urlsplit(saml.url).hostname or 'an address that cannot be read'}")

    async def _unlinked(self) -> Seen:
        saml = await self._identities()
        if saml is None:
            return Seen("bad", "there is no identity provider to be linked with")
        members = await self._rest.pages(f"{self._path}/members", Account)
        who = [one.login for one in members if one.id not in saml.linked]
        return about(who, none="every member is", some="members are not linked, and come in without sign-on")

    async def _enforced(self) -> Seen:
        if await self._identities() is None:
            return Seen("bad", "there is nothing to enforce")
        return Seen("look", "no API says whether SAML is required; where it is, nobody is unlinked")

    async def _outside(self) -> Seen:
        path = f"{self._path}/outside_collaborators"
        everyone = await self._rest.pages(path, Account)
        weak = {one.id for one in await self._rest.pages(path, Account, query="filter=2fa_disabled")}
        if weak:
            who = tuple(f"{one.login}{' (one factor)' if one.id in weak else ''}" for one in everyone)
            return Seen("bad", f"{len(everyone)} outside collaborators, {len(weak)} of them with one factor", who)
        return about(
            [one.login for one in everyone], none="there is no outside collaborator",
            some="outside collaborators, of whom sign-on is not asked", state="look",
        )  # fmt: skip

    async def _owners(self) -> Seen:
        found = await self._rest.pages(f"{self._path}/members", Account, query="role=admin")
        state = "good" if len(found) in OWNERS else "look"
        return Seen(state, f"{len(found)} owner{'' if len(found) == 1 else 's'}", tuple(one.login for one in found))  # type: ignore[arg-type]

    async def _deploy_keys(self) -> Seen:
        writing, reading, unseen = [], 0, []
        for one in await self._rest.pages(f"{self._path}/repos", _Repository):
            if one.archived:
                continue
            try:
                keys = await self._rest.pages(f"/repos/{quote(one.full_name, safe='/')}/keys", _DeployKey)
            except UnseenError:
                unseen.append(one.full_name)
                continue
            writing += [f"{one.full_name}: {key.title or key.id}" for key in keys if not key.read_only]
            reading += sum(key.read_only for key in keys)
        if writing:
            return Seen("bad", f"{len(writing)} deploy keys write", tuple(writing))
        if unseen:
            return Seen("unseen", f"could not look into {len(unseen)} repositories", tuple(unseen))
        return Seen("look", f"{reading} deploy keys read") if reading else Seen("good", "there is none")

    async def _tokens(self) -> Seen:
        found = await self._rest.pages(f"{self._path}/personal-access-tokens", _Token)
        who = [one.owner.login for one in found if one.token_expires_at is None and not one.token_expired]
        return about(who, none=f"{len(found)} fine-grained tokens, each with an end", some="tokens without an end")

    async def _apps(self) -> Seen:
        found = await self._rest.get(f"{self._path}/installations", _Installations, query=f"per_page={PER_PAGE}")
        if found.total_count > len(found.installations):
            return Seen("unseen", f"{found.total_count} Apps, more than are looked at")
        who = [
            one.app_slug
            for one in found.installations
            if one.repository_selection == "all" and {"write", "admin"} & set(one.permissions.values())
        ]
        return about(who, none="no App writes in all repositories", some="Apps write in all repositories", state="look")

    async def _domains(self) -> Seen:
        found = (await self._graphql(_DOMAINS)).get("domains")
        if not isinstance(found, dict):
            raise UnseenError("is not said", answered=_FORBIDDEN)
        nodes = found["nodes"]
        if not nodes:
            return Seen("look", "no domain is claimed")
        return about(
            [str(one["domain"]) for one in nodes if not one["isVerified"]],
            none=f"{len(nodes)} verified", some="domains are claimed and not verified",
        )  # fmt: skip

    async def _identities(self) -> _Saml | None:
        """The sign-on, asked for once; None where there is none."""
        if self._saml is not None:
            return self._saml
        linked: set[int] = set()
        after = None
        for _ in range(MAX_IDENTITIES):
            provider = (await self._graphql(_IDENTITIES, after=after)).get("samlIdentityProvider")
            if provider is None:
                return None
            identities = provider["externalIdentities"]
            linked |= {one["user"]["databaseId"] for one in identities["nodes"] if one.get("user")}
            if not identities["pageInfo"]["hasNextPage"]:
                self._saml = _Saml(str(provider["ssoUrl"]), frozenset(linked))
                return self._saml
            after = identities["pageInfo"]["endCursor"]
        raise UnseenError("more identities than are looked at", answered=_FORBIDDEN)

    async def _graphql(self, query: str, **more: Any) -> dict[str, Any]:
        """The organisation, as GraphQL has it; whatever it refuses to say, it may not be seen."""
        body = {"query": query, "variables": {"login": self._login, **more}}
        said = await self._rest.post("/graphql", dict[str, Any], body)
        organization = (said.get("data") or {}).get("organization")
        if said.get("errors") or not isinstance(organization, dict):
            raise UnseenError("GraphQL does not say", answered=_FORBIDDEN)
        return organization
