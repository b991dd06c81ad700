"""Break-glass: what two people open together when nobody else can be asked, loudly, for an hour, to be reviewed after.

A kit names two people, the actions and the resource that it opens, and for how long. Each of them fetches a half of
their own, which nobody else ever sees, and keeps it sealed; only hashes are kept here. Both halves together open one
session that may do these actions and no others, where policy honours the fact ``break_glass``. It needs no provider of
sign-on. A kit that was used is dead: it waits for its review, by somebody else, and a new one for its place.
"""

import asyncio
import hmac
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, TypeAlias

import msgspec
import structlog
from sqlalchemy import Connection

from everproof.access import kit_store as store
from everproof.access.grants import Grants
from everproof.access.kit_store import Kit
from everproof.access.notices import Tell, broken
from everproof.access.plain import plain, plain_ref
from everproof.access.resources import of_kit, of_person
from everproof.authorize import Allowed, Authorizer, Denied
from everproof.identity import Identity
from everproof.identity.access_tokens import Grant, subject
from everproof.identity.records import MAIN, Credential
from everproof.identity.sealed import KIND, Half, make_half, read_half, sealed_proof
from everproof.identity.standing import standing
from everproof.kernel.canonical import encode
from everproof.kernel.errors import InputError, NotFoundError, RefusedError, UnauthenticatedError
from everproof.kernel.ids import new_id
from everproof.kernel.words import Action, Proof, Ref, Resource
from everproof.storage import Storage, Transaction

TOPIC: Final = "access.kit"
BREAK_GLASS: Final = Action("access:break-glass")
REVIEW: Final = Action("access:review")
READ: Final = Action("access:read")
PEOPLE: Final = 2
MAX_LISTED: Final = 200

_log: Final = structlog.get_logger("everproof.access")


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kit to be made. At most an hour: who needs longer has time to ask."""

    people: tuple[str, ...]
    actions: tuple[str, ...]
    resource: Ref
    seconds: int = 3600


class Fetched(msgspec.Struct, frozen=True):
    """One's own half, shown this once."""

    kit: Kit
    half: str

    def __repr__(self) -> str:
        return f"Fetched({self.kit.id})"


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What two halves opened: a session of the first one's person."""

    kit: Kit
    access_token: str
    expires_in: int
    principal: Ref
    entry: str

    def __repr__(self) -> str:
        return f"Opened({self.kit.id})"


KitOutcome: TypeAlias = Allowed[Action, Resource, Kit] | Denied


class BreakGlass:
    """The kits of one server."""

    def __init__(
        self, storage: Storage, authorizer: Authorizer, identity: Identity, grants: Grants, *, issuer: str, tell: Tell
    ) -> None:
        self._storage = storage
        self._authorizer = authorizer
        self._identity = identity
        self._grants = grants
        self._issuer = issuer
        self._tell = tell
        with storage.reading() as connection:
            self._kits = {one.id: one for one in store.list_kits(connection, MAX_LISTED)}
        storage.subscribe(TOPIC, self._hear, decides=False)

    async def prepare(self, proof: Proof, plan: Plan) -> KitOutcome:
        """Make a kit for two people, who then fetch their halves.

        Raises:
            InputError: not two people, no action that there is, or longer than an hour.
        """
        people = tuple(dict.fromkeys(Ref("User", one) for one in plan.people))
        known = self._authorizer.engine.bundle.schema
        if len(people) != PEOPLE:
            raise InputError("a kit is for two people, and not twice for one", place="people")
        if not plan.actions or any(known.action(one) is None for one in plan.actions):
            raise InputError("name the actions that it opens, as policies name them", place="actions")
        if not 60 <= plan.seconds <= 3600:  # noqa: PLR2004 - see `Plan`
            raise InputError("between a minute and an hour", place="seconds")
        kit = Kit(
            id=new_id("kit"), people=people, actions=plan.actions, resource=plain_ref(plan.resource, place="resource"),
            seconds=plan.seconds, made=self._storage.clock.now(), by=proof.principal.ref,
        )  # fmt: skip

        def make(tx: Transaction) -> Kit:
            for one in people:
                if standing(tx.connection, one) is None:
                    raise RefusedError(f"{one} is not on record, or is disabled")
            return self._keep(tx, kit, "prepared", proof, new=True)

        return await self._authorizer.authorize(
            proof, BREAK_GLASS, of_kit(kit, named=False), within=make, detail={"break_glass": "prepare"}
        )

    async def fetch(self, proof: Proof, id_: str) -> Allowed[Action, Resource, Fetched] | Denied:
        """Give a person their own half, once.

        Raises:
            NotFoundError: there is no such kit.
        """
        text, half = make_half(id_, proof.principal.ref)

        def give(tx: Transaction) -> Fetched:
            kit = _find(tx, id_)
            by = proof.principal.ref
            if by not in kit.people or proof.vouched_by is not None:
                raise RefusedError("each fetches their own half, and nobody else's")
            if kit.state != "incomplete" or by in kit.fetched:
                raise RefusedError("this half was fetched already", todo="if it is lost, have a new kit prepared")
            store.put_half(tx, id_, by, half.hash)
            fetched = (*kit.fetched, by)
            state: store.KitState = "ready" if len(fetched) == PEOPLE else "incomplete"
            later = msgspec.structs.replace(kit, fetched=fetched, state=state)
            return Fetched(self._keep(tx, later, "fetched", proof), text)

        about = await self._about(id_)
        return await self._authorizer.authorize(proof, BREAK_GLASS, about, within=give, detail={"break_glass": "fetch"})

    async def open(self, halves: Sequence[str], *, key: str, reason: str) -> Opened | Denied:
        """Open what a kit was made for, by its two halves, for the holder of ``key``.

        Raises:
            UnauthenticatedError: they are not the two halves of one kit that was never used.
            InputError: no reason is given.
            ClockBehindError: nothing is issued while the clock is behind.
        """
        self._storage.clock.issuing_time()
        said = plain(reason, place="reason")
        if not said:
            raise InputError("those who review it read what it was for", place="reason", todo="give a reason")
        shown = [read_half(one) for one in halves]
        kit = await asyncio.to_thread(self._matched, shown)
        proof = sealed_proof(self._identity.directory, shown[0], at=self._storage.clock.now(), key=key)

        def begin(tx: Transaction) -> tuple[Kit, Credential]:
            return self._begin(tx, proof, shown, said)

        outcome = await self._authorizer.authorize(
            proof, BREAK_GLASS, of_kit(kit), within=begin, detail={"break_glass": "open", "reason": said}
        )
        if isinstance(outcome, Denied):
            return outcome
        used, issued = outcome.outcome
        _log.critical("break-glass was opened", kit=used.id, by=[one.id for one in used.people])
        token = self._identity.tokens.mint(
            Grant(
                credential=issued.id, principal=proof.principal, client=subject(proof.principal.ref),
                audience=self._issuer, key=key, proven=proof.at, issued=issued.issued, expires=issued.expires,
                scope=issued.scope, space=MAIN, recorded=True,
            )
        )  # fmt: skip
        lasting = int((issued.expires - issued.issued).total_seconds())
        entry = outcome.receipt.entry_id
        return Opened(kit=used, access_token=token, expires_in=lasting, principal=proof.principal.ref, entry=entry)

    async def withdraw(self, proof: Proof, id_: str) -> KitOutcome:
        """Let a kit that was not used be of no use any more.

        Raises:
            NotFoundError: there is no such kit.
        """

        def end(tx: Transaction) -> Kit:
            kit = _find(tx, id_)
            if kit.state not in {"incomplete", "ready"}:
                raise RefusedError(f"the kit is {kit.state} already")
            store.drop_halves(tx, id_)
            return self._keep(tx, msgspec.structs.replace(kit, state="withdrawn"), "withdrawn", proof)

        kit = await asyncio.to_thread(self._read, id_)
        return await self._authorizer.authorize(
            proof, BREAK_GLASS, of_kit(kit, named=False), within=end, detail={"break_glass": "withdraw"}
        )

    async def review(self, proof: Proof, id_: str, *, report: str) -> KitOutcome:
        """Say what a use was for and whether it was right, as somebody who had no part in it.

        Raises:
            NotFoundError: there is no such kit.
            InputError: nothing is said.
        """
        said = plain(report, place="report")
        if not said:
            raise InputError("a review says what was found", place="report")

        def end(tx: Transaction) -> Kit:
            kit = _find(tx, id_)
            by = proof.principal.ref
            if kit.state != "used":
                raise RefusedError("there is nothing to review: it was not used, or was reviewed already")
            if by in kit.people or by.type != "User" or proof.vouched_by is not None:
                raise RefusedError("nobody reviews what they opened themselves", todo="have somebody else review it")
            later = msgspec.structs.replace(kit, state="reviewed", reviewed=tx.now, reviewer=by, report=said)
            return self._keep(tx, later, "reviewed", proof, report=said)

        return await self._authorizer.authorize(
            proof, REVIEW, await self._about(id_), within=end, detail={"report": said}
        )

    async def find(self, proof: Proof) -> list[Kit] | Denied:
        """The kits, the newest first, for whoever may see access at all: nothing of them opens anything."""
        outcome = await self._authorizer.authorize(proof, READ, of_person(proof.principal.ref))
        if isinstance(outcome, Denied):
            return outcome
        return sorted(self._kits.values(), key=lambda one: one.id, reverse=True)

    def left(self) -> list[str]:
        """What is left to be done about break-glass, in words: from memory."""
        kits = list(self._kits.values())
        left = [
            f"break-glass {one.id} was used by {' and '.join(by.id for by in one.people)} on "
            f"{one.used:%Y-%m-%d %H:%M} UTC, and nobody has reviewed it: everproof break-glass review {one.id}"
            for one in kits
            if one.state == "used"
        ]
        if any(one.state in {"used", "reviewed"} for one in kits) and not any(one.state == "ready" for one in kits):
            left.append("break-glass was used, and no kit is ready since: everproof break-glass prepare")
        return left

    def warning(self) -> str | None:
        """As `left`, for an operator; None where nothing is."""
        return "; ".join(self.left()) or None

    def _begin(self, tx: Transaction, proof: Proof, shown: Sequence[Half], reason: str) -> tuple[Kit, Credential]:
        kit = self._match(tx.connection, shown)
        for one in kit.people:
            if standing(tx.connection, one) is None:
                raise RefusedError(f"{one} is disabled or contained: their half opens nothing")
        opener = proof.principal.ref
        issued = self._identity.credentials.issue(
            tx,
            Credential(
                id=new_id("cred"), parent=None, kind=KIND, principal=opener, key=proof.key, issued=tx.now,
                expires=tx.now + timedelta(seconds=kit.seconds), audience=self._issuer, scope=kit.actions,
                source={"kit": kit.id, "people": " ".join(one.id for one in kit.people), "reason": reason},
            ),
        )  # fmt: skip
        self._grants.keep(tx, issued, kit.actions, kit.resource, request=kit.id, approvers=kit.people, break_glass=True)
        store.drop_halves(tx, kit.id)
        used = msgspec.structs.replace(kit, state="used", used=tx.now, opener=opener, reason=reason, grant=issued.id)
        self._keep(tx, used, "opened", proof, reason=reason, grant=issued.id)
        self._tell(tx, broken(used, issued.expires))
        return used, issued

    def _matched(self, shown: Sequence[Half]) -> Kit:
        with self._storage.reading() as connection:
            return self._match(connection, shown)

    def _match(self, connection: Connection, shown: Sequence[Half]) -> Kit:
        """The kit whose two halves these are. What exactly is wrong with them is not told."""
        kit = store.find_kit(connection, shown[0].kit) if shown else None
        people = {one.person for one in shown}
        good = (
            kit is not None
            and kit.state == "ready"
            and len(shown) == PEOPLE
            and all(one.kit == kit.id for one in shown)
            and people == set(kit.people)
        )
        for one in shown:
            known = store.find_half(connection, one.kit, one.person)
            good = hmac.compare_digest(known or b"", one.hash) and good
        if kit is None or not good:
            raise UnauthenticatedError(
                "these are not the two halves of one kit that was never used",
                todo="type both as they stand, one of each person; a kit opens once",
            )
        return kit

    def _keep(self, tx: Transaction, kit: Kit, event: str, proof: Proof, *, new: bool = False, **said: str) -> Kit:
        store.put_kit(tx, kit, new=new)
        tx.publish(TOPIC, kit.id, encode(kit))
        by = proof.principal.ref
        people = [one.id for one in kit.people]
        self._grants.record(tx, f"break-glass-{event}", by, kit=kit.id, by=str(by), people=people, **said)
        return kit

    async def _about(self, id_: str) -> Resource:
        return of_kit(await asyncio.to_thread(self._read, id_))

    def _read(self, id_: str) -> Kit:
        with self._storage.reading() as connection:
            kit = store.find_kit(connection, id_)
        if kit is None:
            raise NotFoundError(f"there is no kit {id_}", todo="everproof break-glass list shows them")
        return kit

    def _hear(self, key: str, body: bytes) -> None:
        self._kits[key] = msgspec.json.decode(body, type=Kit)


def _find(tx: Transaction, id_: str) -> Kit:
    kit = store.find_kit(tx.connection, id_)
    if kit is None:
        raise NotFoundError(f"there is no kit {id_}", todo="everproof break-glass list shows them")
    return kit
