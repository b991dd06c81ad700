"""Who exists, and what was issued: reading and changing it. Each change is done in the commit that decides it."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from everproof.authorize import Authorizer
from everproof.identity import Identity, roster
from everproof.identity.lineage import Lineage, lineage
from everproof.identity.records import Group, KeyRecord, PrincipalRecord, Reason
from everproof.kernel.errors import InputError, NotFoundError
from everproof.kernel.words import MAIN_SPACE, NOTHING, Action, Attributes, Proof, Ref, Resource
from everproof.server.caller import Callers
from everproof.server.denial import allowed
from everproof.server.http import Call, Reply, Route
from everproof.server.resources import ANYONE, credential_resource, members
from everproof.storage import Change, Storage, Transaction

T = TypeVar("T")

READ: Final = Action("identity:read")
ENROL: Final = Action("identity:enrol")
ADMINISTER: Final = Action("identity:administer")
REVOKE: Final = Action("credential:revoke")

EVERYONE: Final = Resource(ref=Ref("Identity", "organisation"), parents=(MAIN_SPACE,))
MAX_LISTED: Final = 1000

Type = Literal["User", "Service", "Machine", "Device"]
Text = Annotated[str, msgspec.Meta(max_length=512)]
Texts = Annotated[tuple[Text, ...], msgspec.Meta(max_length=500)]


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which principals: of one type, else all; those after an id, in the order of their names."""

    type: Type | None = None
    after: Text = ""


class Principals(msgspec.Struct, frozen=True):
    """A page of principals; go on after the last one until none comes."""

    principals: tuple[PrincipalRecord, ...]


class Known(msgspec.Struct, frozen=True):
    """A principal with its keys, dead ones too."""

    principal: PrincipalRecord
    keys: tuple[KeyRecord, ...]


class NewPrincipal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A principal to put on record, with the keys by which it proves itself."""

    type: Type
    id: Text
    name: Text = ""
    emails: Texts = ()
    groups: Texts = ()
    attributes: dict[str, Any] = {}
    ssh_keys: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)] = ()
    jwks: Annotated[tuple[dict[str, Any], ...], msgspec.Meta(max_length=16)] = ()


class Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be different; what is left out stays."""

    name: Text | None = None
    emails: Texts | None = None
    groups: Texts | None = None
    attributes: dict[str, Any] | None = None
    disabled: bool | None = None


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to put on record: the line of an SSH public key, or a public JWK."""

    ssh: Annotated[str, msgspec.Meta(max_length=16_384)] = ""
    jwk: dict[str, Any] | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None


class Revocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to end, a credential or a key, and why."""

    credential: Text = ""
    key: Text = ""
    reason: Reason = "other"


class Ended(msgspec.Struct, frozen=True):
    """The credentials that ended."""

    ended: tuple[str, ...]
    entry: str


class Groups(msgspec.Struct, frozen=True):
    """Every group, with the groups that it is in."""

    groups: tuple[Group, ...]


class Membership(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a group is called, and which groups it is in."""

    name: Text = ""
    groups: Texts = ()


DISABLED: Final = "disabled"
"""Why somebody is nobody whom an administrator has disabled."""
Leave = Callable[[Transaction, Ref, Ref, str], object]
"""Lets a person be nobody, by someone, for a reason."""


class IdentityDoor:
    """Administration of identities."""

    def __init__(
        self, authorizer: Authorizer, identity: Identity, callers: Callers, storage: Storage, *, leave: Leave
    ) -> None:
        """``leave`` is how a person is disabled: what waits for them and what is outside ends by it too."""
        self._authorizer = authorizer
        self._leave = leave
        self._directory = identity.directory
        self._credentials = identity.credentials
        self._callers = callers
        self._storage = storage

    def routes(self) -> list[Route]:
        """What is served."""
        one = "/v1/identity/principals/{type}/{id}"
        door, found, conflicts = "identity", (404,), (404, 409)
        return [
            Route("GET", "/v1/identity/me", self.me, door=door),
            Route("GET", "/v1/identity/principals", self.principals, door=door),
            Route("POST", "/v1/identity/principals", self.add, door=door, status=201, problems=(409,)),
            Route("GET", one, self.principal, door=door, problems=found),
            Route("POST", one, self.change, door=door, problems=conflicts),
            Route("POST", f"{one}/keys", self.add_key, door=door, status=201, problems=conflicts),
            Route("GET", "/v1/identity/groups", self.groups, door=door),
            Route("POST", "/v1/identity/groups/{id}", self.put_group, door=door),
            Route("GET", "/v1/identity/credentials/{id}/lineage", self.lineage, door=door, problems=found),
            Route("POST", "/v1/identity/revoke", self.revoke, door=door, problems=found),
        ]

    async def me(self, call: Call) -> Reply:
        """Tell the caller who it is taken for."""
        proof = self._callers.prove(call.scope)
        return Reply.of(
            {
                "principal": proof.principal,
                "proof": proof.kind,
                "credential": proof.credential,
                "key": proof.key,
                "expires": proof.expires,
            }
        )

    async def principals(self, call: Call, query: Listing) -> Principals:
        """List principals."""
        await self._may(call, READ, EVERYONE)
        records = [one for one in self._directory.records() if query.type in {None, one.ref.type}]
        records.sort(key=lambda one: (one.ref.id, one.ref.type))
        return Principals(tuple(one for one in records if one.ref.id > query.after)[:MAX_LISTED])

    async def principal(self, call: Call, type: str, id: str) -> Known:  # noqa: A002 - as they stand in the path
        """Tell what is on record of a principal."""
        ref = Ref(type, id)
        await self._may(call, READ, self._identity(ref))
        return Known(self._directory.record(ref), self._directory.keys_of(ref))

    async def add(self, call: Call, body: NewPrincipal) -> Known:
        """Put a principal on record, with its keys."""
        ref = Ref(body.type, body.id)

        def enrol(tx: Transaction) -> Known:
            record = roster.add_principal(
                tx,
                ref,
                name=body.name,
                emails=body.emails,
                groups=body.groups,
                attributes=body.attributes,
            )
            keys = [roster.add_ssh_key(tx, ref, line) for line in body.ssh_keys]
            keys += [roster.add_client_key(tx, ref, jwk) for jwk in body.jwks]
            return Known(record, tuple(keys))

        if body.type == "User" and body.jwks:
            raise InputError("people prove themselves with SSH keys", place="body: jwks")
        *others, last = members(self._directory, ref, body.groups)
        return await self._do(call, ENROL, last, enrol, also=others)

    async def change(self, call: Call, type: str, id: str, body: Changes) -> Known:  # noqa: A002 - as above
        """Change what is on record of a principal; disabling ends all that was issued to it."""
        ref = Ref(type, id)
        proof = self._callers.prove(call.scope)

        def change(tx: Transaction) -> PrincipalRecord:
            record = roster.change_principal(tx, ref, name=body.name, emails=body.emails, attributes=body.attributes)
            if body.groups is not None:
                record = roster.set_groups(tx, ref, body.groups)
            if body.disabled and ref.type == "User":
                self._leave(tx, ref, proof.principal.ref, DISABLED)
            elif body.disabled:
                roster.disable(tx, ref, DISABLED)
            elif body.disabled is False:
                roster.enable(tx, ref)
            return record

        changed = {name: value for name, value in msgspec.to_builtins(body).items() if value is not None}
        about = self._identity(ref)
        # Of anyone like it: who changes their own record is what is on record, and in no group that is still to come.
        anyone = Ref(type, ANYONE)
        also = members(self._directory, anyone, body.groups, attributes=about.attributes) if body.groups else ()
        await self._do(call, ADMINISTER, about, change, {"changed": sorted(changed)}, also=also, proof=proof)
        return Known(self._directory.record(ref), self._directory.keys_of(ref))

    async def add_key(self, call: Call, type: str, id: str, body: NewKey) -> KeyRecord:  # noqa: A002 - as above
        """Put a key of a principal on record."""
        ref = Ref(type, id)
        if bool(body.ssh) == (body.jwk is not None):
            raise InputError("give either ssh or jwk", place="body")

        def add(tx: Transaction) -> KeyRecord:
            since, until = body.valid_from, body.valid_until
            if body.jwk is not None:
                return roster.add_client_key(tx, ref, body.jwk, valid_from=since, valid_until=until)
            return roster.add_ssh_key(tx, ref, body.ssh, valid_from=since, valid_until=until)

        return await self._do(call, ADMINISTER, self._identity(ref), add)

    async def groups(self, call: Call) -> Groups:
        """List groups."""
        await self._may(call, READ, EVERYONE)
        return Groups(tuple(self._directory.groups()))

    async def put_group(self, call: Call, id: str, body: Membership) -> Group:  # noqa: A002 - as above
        """Make a group, or change what it is in."""
        return await self._do(
            call,
            ADMINISTER,
            EVERYONE,
            lambda tx: roster.put_group(tx, id, name=body.name, groups=body.groups),
            {"group": id, "in": list(body.groups)},
        )

    async def lineage(self, call: Call, id: str) -> Lineage:  # noqa: A002 - as above
        """Tell what a credential came from and what came from it."""
        proof = self._callers.prove(call.scope)
        found = await asyncio.to_thread(lineage, self._storage, id)
        itself = found.ancestors[-1]
        about = credential_resource(id, itself.principal, proof, kind=itself.kind)
        allowed(await self._authorizer.authorize(proof, READ, about))
        return found

    async def revoke(self, call: Call, body: Revocation) -> Ended:
        """End a credential or a key, and all that descends from it."""
        if bool(body.credential) == bool(body.key):
            raise InputError("give either credential or key", place="body")
        proof = self._callers.prove(call.scope)
        if body.credential:
            owner, kind = await asyncio.to_thread(self._owner, body.credential)
            about = credential_resource(body.credential, owner, proof, kind=kind)
            reason = f"{body.reason}, by {proof.principal.ref}"
            outcome = await self._authorizer.authorize(
                proof, REVOKE, about, within=lambda tx: self._credentials.revoke(tx, body.credential, reason)
            )
        else:
            held = self._directory.key(body.key)
            about = credential_resource(body.key, held.principal if held else None, proof, kind="key")
            outcome = await self._authorizer.authorize(
                proof, REVOKE, about, within=lambda tx: roster.revoke_key(tx, body.key, body.reason)
            )
        given = allowed(outcome)
        return Ended(given.outcome, given.receipt.entry_id)

    async def _may(self, call: Call, action: Action, about: Resource) -> None:
        """Require that the caller may look."""
        allowed(await self._authorizer.authorize(self._callers.prove(call.scope), action, about))

    async def _do(
        self,
        call: Call,
        action: Action,
        about: Resource,
        within: Change[T],
        detail: Attributes = NOTHING,
        *,
        also: Iterable[Resource] = (),
        proof: Proof | None = None,
    ) -> T:
        """Do what ``within`` does, if the caller may, to ``also`` too, in the commit that records it."""
        proof = proof or self._callers.prove(call.scope)
        for one in also:
            allowed(await self._authorizer.authorize(proof, action, one, detail=detail))
        outcome = await self._authorizer.authorize(proof, action, about, within=within, detail=detail)
        return allowed(outcome).outcome

    def _identity(self, ref: Ref) -> Resource:
        """A principal as the object of an action."""
        known = self._directory.principal(ref)
        if known is None:
            return Resource(ref=ref, parents=(MAIN_SPACE,))
        return Resource(ref=ref, attributes=known.attributes, parents=known.parents)

    def _owner(self, credential: str) -> tuple[Ref, str]:
        found = self._credentials.live(credential)
        if found is None:
            raise NotFoundError("there is no such credential, or it has ended")
        return found.principal, found.kind
