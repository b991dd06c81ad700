"""Containment: all that descends from a credential or a principal ends, everywhere.

What was found is refused from the first commit on, for memory hears all of it then; a principal is held besides. What
takes longer, a receipt for each and whatever has to be ended outside, is a job that bounds what it does in each commit,
and that is taken up where it was left if the server dies. It is finished when there is nothing left to find.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Final, TypeAlias

import msgspec
from sqlalchemy import Connection

from everproof.identity import credential_store
from everproof.identity.credentials import Credentials, tell_ended
from everproof.identity.holding import hold, release
from everproof.identity.records import KEY_KINDS, Credential
from everproof.kernel.canonical import encode
from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import ConflictError, NotFoundError, RefusedError
from everproof.kernel.ids import new_id
from everproof.kernel.words import MAIN_SPACE, Entry, Ref
from everproof.ledger import Ledger
from everproof.response import store
from everproof.response.records import ContainmentRecord, Ended
from everproof.storage import Change, Storage, Transaction
from everproof.work import Errand, Task, Verb, Work

VERB: Final = "response.contain"
TOPIC: Final = "response.contained"
ENTRY_KIND: Final = "contained"
CREDENTIAL: Final = "Credential"
PERSON: Final = "User"

AT_ONCE: Final = 250
"""Credentials in one commit: some 15 ms of the writer, which other decisions wait for. With 100, all of it together
costs a third more."""

MAX_TOLD: Final = 50_000
"""Credentials that the first commit tells of, 2 MB. The tokens of any beyond are refused by the ancestors that they
name, and the rest ends with its receipts."""

LIMIT: Final = timedelta(minutes=10)

Reach: TypeAlias = Callable[[Connection, Sequence[str]], Iterable[Errand]]
"""What another room has to end because these credentials have, at most ``AT_ONCE`` of them: asked in the commit that
ends them, and for a dry run."""


class Found(msgspec.Struct, frozen=True):
    """What containment would end: the credentials that live, each with its end, and what is asked of other rooms."""

    target: Ref
    live: Mapping[str, int]
    errands: tuple[Errand, ...]


class Containment:
    """Ends what descends. ``target`` is always a principal, or a ``Credential`` by its id."""

    def __init__(self, storage: Storage, ledger: Ledger, work: Work, credentials: Credentials) -> None:
        self._storage = storage
        self._ledger = ledger
        self._work = work
        self._credentials = credentials
        self._reaches: list[Reach] = []
        self._waiting: dict[str, asyncio.Event] = {}
        work.register(Verb(name=VERB, run=self._run, limit=LIMIT))
        storage.subscribe(TOPIC, self._hear, decides=False)
        with storage.reading() as connection:
            for one in store.list_open(connection):
                credentials.refuse(_live(connection, one.target))

    def register(self, reach: Reach) -> None:
        """Let ``reach`` say from now on what else has to be ended, as jobs of verbs that its room has registered."""
        self._reaches.append(reach)

    def look(self, target: Ref) -> Found:
        """What would end now: a dry run. A query.

        Raises:
            NotFoundError: there is no such credential.
        """
        with self._storage.reading() as connection:
            if target.type == CREDENTIAL and credential_store.find_credential(connection, target.id) is None:
                raise NotFoundError(f"there is no credential {target.id}")
            live = _live(connection, target)
            return Found(target, live, tuple(self._errands(connection, list(live))))

    def begin(self, tx: Transaction, found: Found, *, by: Ref, reason: str) -> ContainmentRecord:
        """Contain what was found, and whatever else there is by now: the ``within`` of the decision that lets ``by``.

        From this commit on all that was found is refused; `finished` says when all the rest is done. A target that is
        being contained is not contained twice.

        Raises:
            RefusedError: ``by`` would contain themselves, and who would release them then?
        """
        target = found.target
        if target == by:
            raise RefusedError("nobody contains themselves", todo="log out, or revoke your own credentials")
        if target.type != CREDENTIAL:
            hold(tx, target, reason)
        if found.live:
            tell_ended(tx, dict(islice(found.live.items(), MAX_TOLD)))
        made = store.find_open(tx.connection, target)
        if made is None:
            made = store.insert_containment(tx, new_id("cont"), target, by=by, reason=reason)
            self._work.enqueue(tx, VERB, made.id, key=made.id)
        if target.type == CREDENTIAL:
            self._end(tx, made, [target.id])  # so that from now on nothing comes from it, whoever has not heard yet
        return made

    def release(self, tx: Transaction, target: Ref) -> None:
        """Let a contained principal prove itself again. Nothing that ended comes back.

        Raises:
            NotFoundError: it is not contained.
            ConflictError: it is still being contained.
        """
        if store.find_open(tx.connection, target) is not None:
            raise ConflictError(f"{target} is still being contained", todo="wait until that is finished")
        release(tx, target)

    def record(self, id_: str) -> ContainmentRecord:
        """A containment as it stands. A query.

        Raises:
            NotFoundError: there is none.
        """
        with self._storage.reading() as connection:
            found = store.find_containment(connection, id_)
        if found is None:
            raise NotFoundError(f"there is no containment {id_}")
        return found

    async def finished(self, id_: str, *, within: timedelta) -> ContainmentRecord:
        """The containment once it is finished, or as it stands after so long."""
        told = self._waiting.setdefault(id_, asyncio.Event())
        try:
            async with asyncio.timeout(within.total_seconds()):
                while (found := await asyncio.to_thread(self.record, id_)).finished is None:
                    await told.wait()
        except TimeoutError:
            return await asyncio.to_thread(self.record, id_)
        return found

    async def _run(self, task: Task) -> Change[None]:
        """End what is left, a bounded number at a time, until a look finds nothing any more."""
        containment = await asyncio.to_thread(self.record, task.payload)
        while left := list(await asyncio.to_thread(self._left, containment.target)):
            for at in range(0, len(left), AT_ONCE):
                part = left[at : at + AT_ONCE]
                await self._storage.write(lambda tx, part=part: self._end(tx, containment, part))

        def finish(tx: Transaction) -> None:
            store.finish(tx.connection, containment.id, milliseconds(tx.now))
            tx.publish(TOPIC, containment.id)

        return finish

    def _left(self, target: Ref) -> Mapping[str, int]:
        with self._storage.reading() as connection:
            return _live(connection, target)

    def _end(self, tx: Transaction, containment: ContainmentRecord, ids: Sequence[str]) -> None:
        """Mark, record, and ask other rooms: for those of ``ids`` for which that was not done."""
        found = credential_store.find_live(tx.connection, ids)
        if not found:
            return
        alive = [one.id for one in found]
        credential_store.mark_revoked(tx, alive, containment.reason)
        if late := {one.id: milliseconds(one.expires) for one in found if self._credentials.is_live(one.id)}:
            tell_ended(tx, late)
        for one in found:
            self._record(tx, containment, one)
        errands = [self._work.send(tx, errand) for errand in self._errands(tx.connection, alive)]
        store.count_more(tx.connection, containment.id, credentials=len(found), errands=len(errands))

    def _errands(self, connection: Connection, ids: Sequence[str]) -> Iterable[Errand]:
        for at in range(0, len(ids), AT_ONCE):
            for reach in self._reaches:
                yield from reach(connection, ids[at : at + AT_ONCE])

    def _record(self, tx: Transaction, containment: ContainmentRecord, one: Credential) -> None:
        said = Ended(
            containment.id, one.id, one.kind, one.principal, one.parent, one.expires, containment.by,
            containment.reason,
        )  # fmt: skip
        about = one.principal if one.principal.type == PERSON else MAIN_SPACE
        body = msgspec.Raw(encode(said))
        self._ledger.append(tx, Entry(id=new_id("ent"), at=tx.now, kind=ENTRY_KIND, about=about, body=body))

    def _hear(self, id_: str, _body: bytes) -> None:
        if (told := self._waiting.pop(id_, None)) is not None:
            told.set()


def _live(connection: Connection, target: Ref) -> dict[str, int]:
    """What lives of a target, with when it would end; a principal's keys stay its own."""
    if target.type == CREDENTIAL:
        return credential_store.live_subtrees(connection, [target.id], but=())
    roots = credential_store.ids_of_principal(connection, target, but=KEY_KINDS)
    return credential_store.live_subtrees(connection, roots, but=KEY_KINDS)
