"""GitLab: does the group require sign-on and two factors, and who comes in without.

docs.gitlab.com: "Groups API", "Group and project members API" (``group_saml_identity``, which owners of a group with
SSO see), "Users API" and "Group enterprise users API" (``two_factor``), "Service accounts API", "Group access tokens
API", "Deploy tokens API", "Deploy keys API". Whether SSO is *enforced* no API says.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import msgspec

from everproof.integrations.organisation_audit import Audit, Check, Seen, about, findings
from everproof.integrations.rest import Rest, UnseenError

OWNER_LEVEL: Final = 50
OWNERS: Final = range(2, 6)
"""As at GitHub."""
GRACE_HOURS: Final = 48
"""How long GitLab lets people go on with one factor, where nobody says otherwise."""
OWNER: Final = "a token with read_api of an owner of the group"
_FORBIDDEN: Final = 403


class _Group(msgspec.Struct, frozen=True):
    id: int
    full_path: str
    require_two_factor_authentication: bool | None = None
    two_factor_grace_period: int | None = None


class _Member(msgspec.Struct, frozen=True):
    id: int
    username: str
    access_level: int
    state: str = "active"
    bot: bool = False
    group_saml_identity: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET


class _User(msgspec.Struct, frozen=True):
    id: int
    username: str


class _Token(msgspec.Struct, frozen=True):
    name: str
    active: bool = True
    revoked: bool = False
    expires_at: str | None = None


class _Project(msgspec.Struct, frozen=True):
    id: int
    path_with_namespace: str


class _DeployKey(msgspec.Struct, frozen=True):
    id: int
    title: str = ""
    can_push: bool = False


class GitLabAudit:
    """One group, by its number or path, looked at with whatever the token may see."""

    def __init__(self, rest: Rest, group: str, now: Callable[[], datetime]) -> None:
        self._rest = rest
        self._path = f"/groups/{quote(group, safe='')}"
        self._now = now

    async def run(self) -> Audit:
        """Look at everything.

        Raises:
            Error: the group cannot be seen at all, the platform cannot be asked, or its limit is reached.
        """
        group = await self._rest.get(self._path, _Group)
        members = await self._rest.pages(f"{self._path}/members/all", _Member)
        people = [one for one in members if not one.bot and one.state == "active"]
        return Audit(
            platform="gitlab", organisation=group.full_path, id=str(group.id), at=self._now(),
            findings=await findings(self._checks(group, people)),
        )  # fmt: skip

    def _checks(self, group: _Group, people: list[_Member]) -> list[Check]:
        async def required() -> Seen:
            return _required(group)

        async def weak() -> Seen:
            return await self._weak(people)

        async def unlinked() -> Seen:
            return _unlinked(people)

        async def enforced() -> Seen:
            return Seen("look", "no API says whether sign-on is enforced")

        async def owners() -> Seen:
            return _owners(people)

        return [
            Check(
                name="two-factor-required", title="Two factors are required", needs=OWNER, look=required,
                todo="Settings, General, Permissions: require two-factor authentication",
            ),
            Check(
                name="members-without-two-factor", title="Every member has two factors", look=weak,
                needs="an administrator's token; on gitlab.com an owner's, and members who are enterprise users",
                todo="have them set up a passkey, or remove them",
            ),
            Check(
                name="sso-identities", title="Every member is linked with an identity", look=unlinked,
                needs=f"{OWNER}, and a group with SAML sign-on: GitLab shows identities to nobody else",
                todo="enforce sign-on for the group, and remove who is not linked",
            ),
            Check(
                name="sso-enforced", title="Sign-on is enforced", needs="a person: no API says it", look=enforced,
                todo="look under Settings, SAML SSO whether sign-on is enforced for web and for git",
            ),
            Check(
                name="owners", title="Few own it, and not one alone", needs="a member's token with read_api",
                look=owners, todo="two to five owners",
            ),
            Check(
                name="service-accounts", title="No service account is forgotten", needs=f"{OWNER}, of a paid tier",
                look=self._service_accounts, todo="they have no factor: end those that nobody needs",
            ),
            Check(
                name="access-tokens", title="No token of the group lives for ever", needs=OWNER, look=self._tokens,
                todo="give each an end, and jobs tokens for one run instead",
            ),
            Check(
                name="deploy-keys", title="No key of a project writes", look=self._deploy_keys,
                needs="a token with read_api of a maintainer of each project",
                todo="a deploy key has no factor: give jobs tokens for one run instead",
            ),
        ]  # fmt: skip

    async def _weak(self, people: list[_Member]) -> Seen:
        try:
            without = await self._rest.pages("/users", _User, query="two_factor=disabled")
            known = {one.id for one in people}
        except UnseenError:
            path = f"{self._path}/enterprise_users"
            without = await self._rest.pages(path, _User, query="two_factor=disabled")
            known = {one.id for one in await self._rest.pages(path, _User)}
        weak = {one.id for one in without}
        who = [one.username for one in people if one.id in weak]
        unseen = [one.username for one in people if one.id not in known]
        if who:
            return Seen("bad", f"{len(who)} members have one factor", tuple(who))
        if unseen:
            return Seen(
                "unseen", f"could not look at {len(unseen)} members, who are no enterprise users", tuple(unseen)
            )
        return Seen("good", "every member has two")

    async def _service_accounts(self) -> Seen:
        found = await self._rest.pages(f"{self._path}/service_accounts", _User)
        return about([one.username for one in found], none="there is none", some="service accounts", state="look")

    async def _tokens(self) -> Seen:
        tokens = [
            *(await self._rest.pages(f"{self._path}/access_tokens", _Token)),
            *(await self._rest.pages(f"{self._path}/deploy_tokens", _Token)),
        ]
        live = [one for one in tokens if one.active and not one.revoked]
        endless = [one.name for one in live if one.expires_at is None]
        if endless:
            return Seen("bad", f"{len(endless)} tokens without an end", tuple(endless))
        names = [one.name for one in live]
        return about(names, none="there is none", some="tokens, each with an end", state="look")

    async def _deploy_keys(self) -> Seen:
        writing, reading, unseen = [], 0, []
        query = "include_subgroups=true&archived=false"
        for one in await self._rest.pages(f"{self._path}/projects", _Project, query=query):
            try:
                keys = await self._rest.pages(f"/projects/{one.id}/deploy_keys", _DeployKey)
            except UnseenError:
                unseen.append(one.path_with_namespace)
                continue
            writing += [f"{one.path_with_namespace}: {key.title or key.id}" for key in keys if key.can_push]
            reading += sum(not key.can_push for key in keys)
        if writing:
            return Seen("bad", f"{len(writing)} deploy keys write", tuple(writing))
        if unseen:
            return Seen("unseen", f"could not look into {len(unseen)} projects", tuple(unseen))
        return Seen("look", f"{reading} deploy keys read") if reading else Seen("good", "there is none")


def _required(group: _Group) -> Seen:
    if group.require_two_factor_authentication is None:
        raise UnseenError("is not said", answered=_FORBIDDEN)
    if not group.require_two_factor_authentication:
        return Seen("bad", "is not required of members")
    grace = group.two_factor_grace_period or 0
    if grace > GRACE_HOURS:
        return Seen("look", f"is required, {grace} hours after somebody came")
    return Seen("good", "is required")


def _unlinked(people: list[_Member]) -> Seen:
    if any(one.group_saml_identity is msgspec.UNSET for one in people):
        raise UnseenError("is not said", answered=_FORBIDDEN)
    who = [one.username for one in people if not one.group_saml_identity]
    return about(who, none="every member is", some="members are not linked, and come in without sign-on")


def _owners(people: list[_Member]) -> Seen:
    found = tuple(one.username for one in people if one.access_level >= OWNER_LEVEL)
    said = f"{len(found)} owner{'' if len(found) == 1 else 's'}"
    return Seen("good" if len(found) in OWNERS else "look", said, found)
