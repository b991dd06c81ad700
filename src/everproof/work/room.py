"""The room put together: durable jobs and schedules, for every room above."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import ConflictError, NotFoundError
from everproof.kernel.words import MAIN_SPACE, Ref
from everproof.keys import Keyring
from everproof.ledger import Ledger
from everproof.storage import Storage, Transaction
from everproof.work import store
from everproof.work.backoff import CHANCE, Chance
from everproof.work.effects import Effects
from everproof.work.queue import Queue
from everproof.work.records import Errand, Job, Run, State, Task, Verb
from everproof.work.runner import Runner

FORGET: Final = "work.forget"
KEPT: Final = timedelta(days=30)
"""How long a job that has ended can be looked at, and its key keeps the same job from being done again."""


class Work:
    """What must still be done and will be. Rooms register their verbs before ``start``.

    ``alone``: no other process runs jobs of this database, so what ran when this one last ended runs again at once
    rather than when its lease ends.
    """

    def __init__(
        self, storage: Storage, keyring: Keyring, ledger: Ledger, *, alone: bool = True, chance: Chance = CHANCE
    ) -> None:
        self._storage = storage
        self._alone = alone
        self._verbs: dict[str, Verb] = {}
        self._queue = Queue(keyring, ledger, self._verbs, chance=chance)
        self._runner = Runner(storage, self._queue, self._verbs)
        self.effects = Effects(storage, keyring, ledger, self._queue, self.register)
        self.register(FORGET, self._forget)

    def register(self, verb: str | Verb, run: Run | None = None) -> None:
        """Let ``run`` do the jobs of ``verb``; give a `Verb` to say how many at once, how often, and how long.

        Raises:
            ConflictError: the verb has a runner already.
        """
        if isinstance(verb, str):
            assert run is not None, "a verb is registered with what runs it"
            verb = Verb(name=verb, run=run)
        if verb.name in self._verbs:
            raise ConflictError(f"the verb {verb.name} has a runner already")
        self._verbs[verb.name] = verb
        self._runner.wake()

    def enqueue(
        self,
        tx: Transaction,
        verb: str,
        payload: Any,
        *,
        key: str | None = None,
        after: timedelta | datetime = timedelta(),
        every: timedelta | None = None,
        about: Ref = MAIN_SPACE,
        recorded: bool = False,
    ) -> str:
        """Put a job on record within ``tx``, so that it and what caused it are one commit; its id.

        As `Queue.enqueue`, which says what may be given.
        """
        return self._queue.enqueue(tx, verb, payload, key=key, after=after, every=every, about=about, recorded=recorded)

    def send(self, tx: Transaction, errand: Errand) -> str:
        """Put on record what another room asked for; its end is recorded. The job's id."""
        return self.enqueue(tx, errand.verb, errand.payload, key=errand.key, recorded=True)

    def cancel(self, tx: Transaction, job: str) -> Job:
        """Let a job not be done, or not any more; as `Queue.cancel`, and not for a step of an effect."""
        self._require_own(tx, job)
        return self._queue.cancel(tx, job)

    def retry(self, tx: Transaction, job: str) -> Job:
        """Try a stuck, cancelled or waiting job now; as `Queue.retry`, and not for a step of an effect."""
        self._require_own(tx, job)
        return self._queue.retry(tx, job)

    def job(self, id_: str) -> Job:
        """One job. A query.

        Raises:
            NotFoundError: there is none.
        """
        with self._storage.reading() as connection:
            row = store.find_job(connection, id_)
        if row is None:
            raise NotFoundError(f"there is no job {id_}", todo="everproof work list shows them")
        return store.job_of(row)

    def jobs(
        self, *, states: Sequence[State] = (), verb: str | None = None, after: str = "", limit: int = 100
    ) -> list[Job]:
        """Jobs, the oldest first, of any state where none is named. A query."""
        with self._storage.reading() as connection:
            rows = store.list_jobs(connection, states=states, verb=verb, after=after, limit=limit)
        return [store.job_of(row) for row in rows]

    async def start(self) -> None:
        """Begin to run what is due."""

        def prepare(tx: Transaction) -> None:
            if self._alone:
                store.free_leases(tx.connection, milliseconds(tx.now))
            self.enqueue(tx, FORGET, None, key=FORGET, every=timedelta(days=1))

        await self._storage.write(prepare)
        self._runner.start()

    async def stop(self) -> None:
        """Stop; what was begun is given back."""
        await self._runner.stop()

    def wake(self) -> None:
        """Look now whether something is due, as when a clock was set forward."""
        self._runner.wake()

    async def idle(self) -> None:
        """Wait until nothing runs and nothing is due now."""
        await self._runner.idle()

    def _require_own(self, tx: Transaction, id_: str) -> None:
        """A step's job is cancelled and retried with its effect, which would know nothing of it otherwise."""
        row = store.find_job(tx.connection, id_)
        effect = None if row is None else self.effects.owns(store.job_of(row))
        if effect is not None:
            raise ConflictError(f"the job is a step of {effect}", place=id_, todo=f"name the effect: {effect}")

    async def _forget(self, _task: Task) -> None:
        def forget(tx: Transaction) -> None:
            store.forget_jobs(tx.connection, milliseconds(tx.now - KEPT))

        await asyncio.shield(self._storage.write(forget))
