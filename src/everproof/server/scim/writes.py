"""Changing what a provisioner keeps here: each change is a decision, and done in the commit that records it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast

import msgspec
from scim2_models import Context

from everproof.authorize import Authorizer
from everproof.identity import Directory
from everproof.kernel.clock import Clock
from everproof.kernel.words import MAIN_SPACE, NOTHING, Action, Attributes, Fact, Ref, Resource
from everproof.provisioning import Provisioning
from everproof.provisioning.records import OutdatedError, Person, Provisioned, Team, What
from everproof.server.denial import allowed
from everproof.server.scim.asked import Asked
from everproof.server.scim.discovery import USER
from everproof.server.scim.errors import BadSyntaxError
from everproof.server.scim.models import Group, User
from everproof.server.scim.patches import Membership, operations_of, patched, policy_of, split_members
from everproof.server.scim.reads import Reads
from everproof.server.scim.translation import person_of, team_of
from everproof.storage import Change

T = TypeVar("T")

READ: Final = Action("identity:read")
PROVISION: Final = Action("identity:provision")
SOURCE: Final = "scim"
FACT: Final = "provisions"
"""What is being done to a person or group: create, change, suspend, restore, delete, join, part."""
ATTEMPTS: Final = 5
"""How often a change is made anew because another one came between its reading and its commit."""
MAX_SHOWN: Final = 20
"""Members that an entry names; of more, it says how many."""


class Writes:
    """The changes."""

    def __init__(
        self, authorizer: Authorizer, directory: Directory, provisioning: Provisioning, reads: Reads, *, clock: Clock
    ) -> None:
        self._authorizer = authorizer
        self._directory = directory
        self._people = provisioning.people
        self._teams = provisioning.teams
        self._reads = reads
        self._clock = clock

    async def may_read(self, asked: Asked) -> None:
        """Require that the provisioner may look at what it keeps.

        Raises:
            DeniedError: it may not.
        """
        about = Resource(
            ref=Ref("Identity", f"scim/{asked.provisioner}"), attributes={"kind": "provisioner"}, parents=(MAIN_SPACE,)
        )
        allowed(await self._authorizer.authorize(asked.proof, READ, about, request=asked.request))

    async def create(self, asked: Asked, what: What) -> Provisioned:
        """Make a person or a group of the body."""
        model = USER if what == "User" else Group
        said = await asyncio.to_thread(_validated, model, asked, what, Context.RESOURCE_CREATION_REQUEST)
        by = asked.provisioner
        if what == "User":
            person = person_of(said)
            about = Resource(ref=Ref("User", person.user_name.lower()), parents=(MAIN_SPACE,))
            detail = {"user_name": person.user_name, "active": person.active}
            return await self._do(asked, about, "create", lambda tx: self._people.add(tx, by, person), detail)
        team = team_of(said)
        about = Resource(ref=Ref("Identity", f"{by}/{team.name}"), attributes={"kind": "Group"}, parents=(MAIN_SPACE,))
        detail = {"group": team.name, **_named("joins", team.members or ())}
        return await self._do(asked, about, "create", lambda tx: self._teams.add(tx, by, team), detail)

    async def replace(self, asked: Asked, what: What, id_: str) -> None:
        """Say all of a person or a group anew."""
        model = USER if what == "User" else Group
        said = await asyncio.to_thread(_validated, model, asked, what, Context.RESOURCE_REPLACEMENT_REQUEST)
        if what == "User":
            await self._person(asked, id_, lambda _told, active: person_of(said, active=active))
        else:
            await self._team(asked, id_, lambda _told: team_of(said))

    async def patch(self, asked: Asked, what: What, id_: str) -> None:
        """Change parts of a person or a group."""
        if not isinstance(asked.body, dict):
            raise BadSyntaxError("the body is not an object")
        operations = await asyncio.to_thread(operations_of, asked.body, what, asked.dialect)
        if what == "User":

            def person(told: dict[str, Any], active: bool) -> Person:
                return person_of(patched(USER, told, operations, asked.dialect), active=active)

            await self._person(asked, id_, person)
            return
        rest, membership = await asyncio.to_thread(split_members, operations, asked.dialect)

        def team(told: dict[str, Any]) -> Team:
            before = {name: value for name, value in told.items() if name != "members"}
            return _with(team_of(patched(Group, before, rest, asked.dialect), members=False), membership, told)

        await self._team(asked, id_, team, members=membership is not None)

    async def remove(self, asked: Asked, what: What, id_: str) -> None:
        """Let a person have left, or a group be no more."""

        async def once() -> None:
            found, told = await asyncio.to_thread(self._reads.one, asked.provisioner, what, id_, members=False)
            asked.require_match(told["meta"]["version"])
            remove = self._people.remove if what == "User" else self._teams.remove
            await self._do(asked, self._about(found), "delete", lambda tx: remove(tx, found), {"id": id_})

        await _again(once)

    async def _person(self, asked: Asked, id_: str, wanted: Callable[[dict[str, Any], bool], Person]) -> None:
        async def once() -> None:
            found, told = await asyncio.to_thread(self._reads.one, asked.provisioner, "User", id_)
            asked.require_match(told["meta"]["version"])
            active = self._directory.record(found.ref).disabled is None
            after = await asyncio.to_thread(wanted, told, active)
            before = person_of(cast("User", USER.model_validate(told)), active=active)
            if before.active and not after.active:
                # First of all and by itself: whoever may not change the rest of somebody may still end all they have.
                gone = msgspec.structs.replace(before, active=False, document={**before.document, "active": False})
                found = await self._change(asked, found, "suspend", gone)
                before = gone
            elif after == before:
                await self.may_read(asked)  # nothing is done, and yet it is told what there is
            if after != before:
                kind = "restore" if after.active and not before.active else "change"
                await self._change(asked, found, kind, after)

        await _again(once)

    async def _change(self, asked: Asked, found: Provisioned, kind: str, person: Person) -> Provisioned:
        return await self._do(
            asked, self._about(found), kind, lambda tx: self._people.change(tx, found, person), {"id": found.id}
        )

    async def _team(
        self, asked: Asked, id_: str, wanted: Callable[[dict[str, Any]], Team], *, members: bool = True
    ) -> None:
        async def once() -> None:
            found, told = await asyncio.to_thread(self._reads.one, asked.provisioner, "Group", id_, members=members)
            asked.require_match(told["meta"]["version"])
            team = await asyncio.to_thread(wanted, told)
            before = {one["value"] for one in told.get("members", ())}
            after = before if team.members is None else set(team.members)
            joins, parts = sorted(after - before), sorted(before - after)
            kind = "join" if joins else "part" if parts and _says_same(told, team) else "change"
            detail = {"id": id_, **_named("joins", joins), **_named("parts", parts)}
            await self._do(asked, self._about(found), kind, lambda tx: self._teams.change(tx, found, team), detail)

        await _again(once)

    async def _do(self, asked: Asked, about: Resource, kind: str, within: Change[T], detail: Attributes = NOTHING) -> T:
        outcome = await self._authorizer.authorize(
            asked.proof,
            PROVISION,
            about,
            facts=[Fact(FACT, kind, self._clock.now(), SOURCE)],
            within=within,
            detail=detail,
            request=asked.request,
        )
        return allowed(outcome).outcome

    def _about(self, found: Provisioned) -> Resource:
        """A person or group as the object of an action, with every group that whoever is in it is in."""
        attributes: dict[str, Any]
        if found.what == "User":
            record = self._directory.record(found.ref)
            ref, groups, attributes = found.ref, record.groups, {"active": record.disabled is None}
        else:
            ref, groups, attributes = Ref("Identity", found.ref.id), (found.ref.id,), {"kind": "Group"}
        above = (Ref("Group", one) for one in self._directory.ancestors(groups))
        return Resource(ref=ref, attributes=attributes, parents=(*above, MAIN_SPACE))


async def _again(once: Callable[[], Awaitable[None]]) -> None:
    """Do ``once``, and anew where another change came between: then a client's version is not the one that it knows."""
    for attempt in range(ATTEMPTS):
        try:
            await once()
        except OutdatedError:
            if attempt == ATTEMPTS - 1:
                raise
        else:
            return


def _validated(model: Any, asked: Asked, what: What, context: Context) -> Any:
    if not isinstance(asked.body, dict):
        raise BadSyntaxError("the body is not an object")
    with policy_of(asked.dialect):
        return model.model_validate(asked.dialect.resource(what, asked.body), scim_ctx=context)


def _with(team: Team, membership: Membership | None, told: dict[str, Any]) -> Team:
    if membership is None:
        return team
    return msgspec.structs.replace(team, members=membership.of(told.get("members", ())))


def _says_same(told: dict[str, Any], team: Team) -> bool:
    return bool(told["displayName"] == team.name and told.get("externalId") == team.external_id)


def _named(word: str, ids: Any) -> dict[str, Any]:
    listed = list(ids)
    if not listed:
        return {}
    return {word: listed} if len(listed) <= MAX_SHOWN else {word: listed[:MAX_SHOWN], f"{word}_count": len(listed)}
