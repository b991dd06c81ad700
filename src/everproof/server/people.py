"""People come, change what they are, and go: looked at before it is done, and done in the commit that decides it."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Annotated, Final, Literal

import msgspec

from everproof.authorize import Authorizer
from everproof.evidence.bundle_commit import read_bundle_commit
from everproof.identity import Identity, people_of, read_people, roster
from everproof.kernel.clock import Clock
from everproof.kernel.errors import InputError, NotFoundError
from everproof.kernel.settings import BundleSource
from everproof.kernel.words import MAIN_SPACE, Action, Attributes, Ref, Resource
from everproof.provisioning import Provisioning
from everproof.provisioning.file_plan import FilePlan, plan_file
from everproof.provisioning.lifecycle import Moved, Outlook
from everproof.provisioning.records import Person, Provisioned
from everproof.server.caller import Callers
from everproof.server.denial import allowed
from everproof.server.http import Call, Route
from everproof.server.resources import ANYONE, members
from everproof.storage import Transaction
from everproof.work import EffectRecord

READ: Final = Action("identity:read")
ENROL: Final = Action("identity:enrol")
ADMINISTER: Final = Action("identity:administer")
EVERYONE: Final = Resource(ref=Ref("Identity", "organisation"), parents=(MAIN_SPACE,))
PERSON: Final = "User"
MAX_FILE: Final = 131_072

Text = Annotated[str, msgspec.Meta(max_length=512)]
Texts = Annotated[tuple[Text, ...], msgspec.Meta(max_length=500)]


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What might happen to a person; ``groups`` are those that they would be in, of a joiner or a mover."""

    kind: Literal["join", "move", "leave"]
    groups: Texts | None = None


class Newcomer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who joins."""

    id: Text
    name: Text = ""
    emails: Texts = ()
    groups: Texts = ()


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The groups that a person is to be in from now on: these, and no others."""

    groups: Texts


class Leaver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why somebody leaves, for the record."""

    reason: Annotated[str, msgspec.Meta(max_length=200)] = ""


class FileAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A people.toml: its text, or that of a commit of the bundle's repository (empty: of the ref in the settings)."""

    text: Annotated[str, msgspec.Meta(max_length=MAX_FILE)] | None = None
    commit: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Done(msgspec.Struct, frozen=True):
    """What was done at once: so many credentials ended; and the effect that does what is outside, if there is any."""

    person: Ref
    ended: int
    effect: EffectRecord | None
    entry: str


class Handing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """To whom a person is handed over, and what they are called there; the id, where nothing else is said."""

    to: Text
    user_name: Text = ""
    external_id: Text = ""


class Kept(msgspec.Struct, frozen=True):
    """A person whom a provisioner keeps, with the id of the resource."""

    id: str
    source: str
    entry: str


class PeopleDoor:
    """The door of joiners, movers and leavers."""

    def __init__(
        self, provisioning: Provisioning, authorizer: Authorizer, identity: Identity, callers: Callers, *,
        clock: Clock, bundle: BundleSource | None,
    ) -> None:  # fmt: skip
        self._lifecycle = provisioning.lifecycle
        self._people = provisioning.people
        self._authorizer = authorizer
        self._identity = identity
        self._directory = identity.directory
        self._callers = callers
        self._clock = clock
        self._bundle = bundle

    def routes(self) -> list[Route]:
        """What is served."""
        door, found, conflicts = "people", (404,), (404, 409)
        return [
            Route("POST", "/v1/people", self.join, door=door, status=201, problems=(409,)),
            Route("POST", "/v1/people/plan", self.plan_file, door=door, problems=found),
            Route("POST", "/v1/people/{id}/plan", self.plan, door=door, problems=found),
            Route("POST", "/v1/people/{id}/move", self.move, door=door, problems=conflicts),
            Route("POST", "/v1/people/{id}/leave", self.leave, door=door, problems=conflicts),
            Route("POST", "/v1/people/{id}/hand-over", self.hand_over, door=door, problems=conflicts),
        ]

    async def plan(self, call: Call, id: str, body: Wish) -> Outlook:  # noqa: A002 - as it stands in the path
        """Tell what would happen to a person and what it would reach; nothing is done."""
        proof = self._callers.prove(call.scope)
        person = Ref(PERSON, id)
        allowed(await self._authorizer.authorize(proof, READ, self._about(person)))
        movement = await asyncio.to_thread(self._lifecycle.movement, person, body.kind, body.groups)
        return await asyncio.to_thread(self._lifecycle.look, movement)

    async def plan_file(self, call: Call, body: FileAsked) -> FilePlan:
        """Tell whom a people.toml would let join, move and leave, and whose keys it would change."""
        proof = self._callers.prove(call.scope)
        allowed(await self._authorizer.authorize(proof, READ, EVERYONE, detail={"people": body.commit or "given"}))
        if body.text is not None:
            people = read_people(body.text)
        else:
            if self._bundle is None:
                raise NotFoundError(
                    "no repository of the bundle is set", place="server.toml", todo="send the text of a people.toml"
                )
            revision = body.commit or self._bundle.ref
            found = await read_bundle_commit(self._bundle.repository, revision, self._identity, self._clock)
            people = people_of(found.files)
        return plan_file(people, self._directory, self._clock.now())

    async def join(self, call: Call, body: Newcomer) -> Done:
        """Put a person on record, in groups, and give them what these have outside."""
        person = Ref(PERSON, body.id)

        def join(tx: Transaction, by: Ref) -> Moved:
            record = roster.add_principal(tx, person, name=body.name, emails=body.emails)
            return self._lifecycle.move(tx, record, body.groups, by, "join")

        *others, last = members(self._directory, person, body.groups)
        return await self._do(call, ENROL, last, join, also=others, detail={"groups": list(body.groups)})

    async def move(self, call: Call, id: str, body: Change) -> Done:  # noqa: A002 - as above
        """Let a person be in other groups, and have what these have outside."""
        person = Ref(PERSON, id)

        def move(tx: Transaction, by: Ref) -> Moved:
            record = self._directory.record(person)
            if record.source.startswith("scim:"):
                own = f"{record.source.removeprefix('scim:')}/"
                kept = {one for one in record.groups if one.startswith(own)}
                if kept != {one for one in body.groups if one.startswith(own)}:
                    raise InputError(f"groups of {own[:-1]} are changed there", place="groups")
            return self._lifecycle.move(tx, record, body.groups, by, "move")

        about = self._about(person)
        also = members(self._directory, Ref(PERSON, ANYONE), body.groups, attributes=about.attributes)
        return await self._do(
            call, ADMINISTER, about, move, also=also if body.groups else (), detail={"groups": list(body.groups)}
        )

    async def leave(self, call: Call, id: str, body: Leaver) -> Done:  # noqa: A002 - as above
        """Let a person be nobody at once, with every session, token and grant; what is outside ends right after."""
        person = Ref(PERSON, id)
        detail = {"leave": True, "reason": body.reason}
        return await self._do(
            call, ADMINISTER, self._about(person), lambda tx, by: self._lifecycle.leave(tx, person, by), detail=detail
        )

    async def hand_over(self, call: Call, id: str, body: Handing) -> Kept:  # noqa: A002 - as above
        """Let a company's directory keep a person who is on record: from now on it says who they are."""
        proof = self._callers.prove(call.scope)
        person = Ref(PERSON, id)
        record = self._directory.record(person)
        provisioner = self._directory.record(Ref("Service", body.to))
        said = Person(user_name=body.user_name or id, external_id=body.external_id or None, name=record.name)

        def adopt(tx: Transaction) -> Provisioned:
            return self._people.adopt(tx, provisioner.ref.id, person, said)

        given = allowed(
            await self._authorizer.authorize(
                proof, ADMINISTER, self._about(person), within=adopt, detail={"to": str(provisioner.ref)}
            )
        )
        return Kept(given.outcome.id, given.outcome.source, given.receipt.entry_id)

    async def _do(
        self, call: Call, action: Action, about: Resource, change: Callable[[Transaction, Ref], Moved], *,
        also: Iterable[Resource] = (), detail: Attributes,
    ) -> Done:  # fmt: skip
        proof = self._callers.prove(call.scope)
        by = proof.principal.ref
        for one in also:
            allowed(await self._authorizer.authorize(proof, action, one, detail=detail))
        given = allowed(
            await self._authorizer.authorize(proof, action, about, within=lambda tx: change(tx, by), detail=detail)
        )
        return Done(about.ref, len(given.outcome.ended), given.outcome.effect, given.receipt.entry_id)

    def _about(self, person: Ref) -> Resource:
        known = self._directory.principal(person)
        if known is None:
            return Resource(ref=person, parents=(MAIN_SPACE,))
        return Resource(ref=person, attributes=known.attributes, parents=known.parents)
