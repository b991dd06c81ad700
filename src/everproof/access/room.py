"""The room put together: requests, grants, incidents, break-glass; and what it does by itself when a time has come."""

import asyncio
from datetime import timedelta
from typing import Final

import msgspec
import structlog

from everproof.access import store
from everproof.access.approval import Approval
from everproof.access.break_glass import BreakGlass
from everproof.access.facts import AccessFacts
from everproof.access.grants import Grants
from everproof.access.incidents import Incidents
from everproof.access.notices import Tell, answered, given_back
from everproof.access.reading import read_request
from everproof.access.records import RequestRecord
from everproof.access.requests import Requests
from everproof.access.rules import Rules, access_rules
from everproof.authorize import Authorizer
from everproof.identity import Identity
from everproof.identity.credentials import TOPIC as REVOKED
from everproof.identity.credentials import Revoked
from everproof.kernel.errors import UnavailableError
from everproof.ledger import Ledger
from everproof.policy import Bundle
from everproof.storage import Change, Storage, Transaction
from everproof.work import Task, Work

SWEEP: Final = "access.sweep"
SWEEP_EVERY: Final = timedelta(minutes=1)
"""What is over is over by itself; that it is on record, and its people hear of it, comes at most so much later."""
AT_ONCE: Final = 200

_log: Final = structlog.get_logger("everproof.access")


class Access:
    """Access for a while. The rules are those of the bundle that was given last to ``follow``."""

    def __init__(
        self,
        storage: Storage,
        *,
        authorizer: Authorizer,
        identity: Identity,
        ledger: Ledger,
        work: Work,
        bundle: Bundle,
        issuer: str,
        tell: Tell,
    ) -> None:
        self._storage = storage
        self._work = work
        self._tell = tell
        self._rules = access_rules(bundle)
        self.grants = Grants(storage, ledger, identity.credentials)
        self.incidents = Incidents(storage, authorizer)
        approval = Approval(storage, authorizer, identity.credentials, self.grants, lambda: self._rules)
        self.requests = Requests(
            storage, authorizer, approval, self.grants, rules=lambda: self._rules, tell=tell
        )  # fmt: skip
        self.break_glass = BreakGlass(storage, authorizer, identity, self.grants, issuer=issuer, tell=tell)
        authorizer.register(AccessFacts(self.grants, self.incidents, lambda: self._rules))
        work.register(SWEEP, self._sweep)
        storage.subscribe(REVOKED, self._hear, decides=False)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def rules(self) -> Rules:
        """The rules of the bundle that rules."""
        return self._rules

    def read(self, id_: str) -> RequestRecord:
        """A request as it stands; whoever asks has been let to see it. A query.

        Raises:
            NotFoundError: there is none.
        """
        with self._storage.reading() as connection:
            return read_request(connection, id_, self._storage.clock.now())

    def follow(self, bundle: Bundle) -> None:
        """Go by the rules of ``bundle`` from now on. They have been read before it came to rule."""
        self._rules = access_rules(bundle)

    async def start(self) -> None:
        """Begin to put on record what is over."""

        def prepare(tx: Transaction) -> None:
            self._work.enqueue(tx, SWEEP, None, key=SWEEP, every=SWEEP_EVERY)

        await self._storage.write(prepare)

    async def stop(self) -> None:
        """Wait for what was heard last."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def settle(self, tx: Transaction) -> int:
        """Put on record what is over by now, and tell whom it was for; how much it was."""
        count = 0
        for kept in store.unanswered(tx.connection, tx.now, AT_ONCE):
            if store.close(tx, kept.body.id, "lapsed", by=None):
                self.grants.record(tx, "lapsed", kept.body.requester, request=kept.body.id)
                self._tell(tx, answered(read_request(tx.connection, kept.body.id, tx.now)))
                count += 1
        for id_ in self.grants.over(tx.now)[:AT_ONCE]:
            if (ended := self.grants.settle(tx, id_)) is not None:
                self._tell(tx, given_back(ended))
                count += 1
        return count

    async def _sweep(self, _task: Task) -> Change[None]:
        def settle(tx: Transaction) -> None:
            self.settle(tx)

        return settle

    def _hear(self, _key: str, body: bytes) -> None:
        told = msgspec.msgpack.decode(body, type=Revoked)
        if not self.grants.holds(id_ for id_, _ in told.credentials):
            return
        try:
            task = asyncio.get_running_loop().create_task(self._hasten())
        except RuntimeError:  # before the server runs: its first sweep finds them
            return
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hasten(self) -> None:
        try:
            await self._storage.write(self.settle)
        except UnavailableError:
            _log.warning("grants that have ended are put on record later")
