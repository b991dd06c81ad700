"""Jobs on record: put there with what caused them, leased to a runner, and ended. All within a transaction."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Row

from everproof.kernel.canonical import encode
from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import ConflictError, Error, InputError, NotFoundError
from everproof.kernel.ids import new_id
from everproof.kernel.words import MAIN_SPACE, Entry, Ref
from everproof.keys import Keyring
from everproof.ledger import Ledger
from everproof.storage import Transaction
from everproof.work import store
from everproof.work.backoff import CHANCE, Chance, next_time, spread, wait_before
from everproof.work.records import HopelessError, Job, PostponedError, StaleError, Task, Verb

TOPIC: Final = "work"
"""The feed's topic: something is to be looked at. The key of a row is a job that was cancelled, or empty."""

ENTRY_KIND: Final = "work"

MAX_PAYLOAD: Final = 64 * 1024
"""Bytes. What is larger is kept by the room that knows it, and named."""

MARGIN: Final = timedelta(seconds=10)
"""A lease outlives the limit of an attempt by this, so that only a runner that is gone loses it."""

_CONTEXT: Final = "work/payload:"


class Claimed(msgspec.Struct, frozen=True):
    """A job that this runner now has. ``task`` is None where its payload cannot be read."""

    job: Job
    task: Task | None


class Queue:
    """The jobs of one database. ``verbs`` is what can be run here."""

    def __init__(self, keyring: Keyring, ledger: Ledger, verbs: Mapping[str, Verb], *, chance: Chance = CHANCE) -> None:
        self._keyring = keyring
        self._ledger = ledger
        self._verbs = verbs
        self._chance = chance

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
        """Put a job on record within ``tx``; its id. What has the same ``key`` is the same job, and is not put again.

        ``payload`` is anything that JSON can say, sealed under the key of ``about``. ``after`` is when, or how much
        later, it is to be done. ``every`` makes it a schedule, whose period follows what is asked for last.
        ``recorded``: the ledger has an entry when it is done; when it is stuck it has one anyway.

        Raises:
            InputError: a key or a payload that is too long, or a period that is none.
            ConflictError: the key is that of a job of another verb.
        """
        id_ = new_id("job")
        key = key or id_
        if len(key) > store.MAX_KEY or "\0" in key:
            raise InputError(f"a key of more than {store.MAX_KEY} characters", place="key")
        period = None if every is None else round(every.total_seconds() * 1000)
        if period is not None and period < 1:
            raise InputError("a schedule's period is longer than nothing", place="every")
        if (known := store.find_key(tx.connection, key)) is not None:
            return self._again(tx, known, verb, period)
        body = encode(payload)
        if len(body) > MAX_PAYLOAD:
            raise InputError(f"a payload of more than {MAX_PAYLOAD} bytes", place="payload")
        sealed = self._keyring.seal(tx, about, body, context=(_CONTEXT + id_).encode())
        now = milliseconds(tx.now)
        due = milliseconds(after if isinstance(after, datetime) else tx.now + after)
        store.insert_job(
            tx.connection, id=id_, key=key, verb=verb, state="waiting", due=due, planned=due, every=period,
            occurrence=1, attempt=0, fence=0, recorded=recorded, created=now, error="", key_id=sealed.key_id,
            payload=sealed.data,
        )  # fmt: skip
        wake(tx)
        return id_

    def claim(self, tx: Transaction, wanted: Mapping[str, int], *, but: Iterable[str]) -> list[Claimed]:
        """Lease what is due, up to so many jobs of each verb. What nobody brought back too often is stuck."""
        now = milliseconds(tx.now)
        excluded = list(but)
        # First of all, since this is what another process waits for that claims at the same time: what it looks for
        # afterwards is what this one has left.
        fence = store.take_fences(tx.connection, sum(wanted.values()))
        rows = [
            (self._verbs[verb], row)
            for verb, limit in wanted.items()
            for row in store.due_jobs(tx.connection, verb, now, but=excluded, limit=limit)
        ]
        claimed = []
        for verb, row in rows:
            if row.attempt >= verb.attempts:
                self._give_up(tx, verb, row, "its runner did not come back")
                continue
            attempt = row.attempt + 1
            due = now + round((verb.limit + MARGIN).total_seconds() * 1000)
            store.change_job(tx.connection, row.id, state="running", due=due, attempt=attempt, fence=fence)
            claimed.append(self._claimed(row, attempt, fence))
            fence += 1
        return claimed

    def finish(self, tx: Transaction, job: Job) -> None:
        """End a job well, or let a schedule wait for its next time.

        Raises:
            StaleError: it is not this lease's any more.
        """
        row = self._held(tx, job)
        if row.every is not None:
            self._next(tx, row, error="")
        else:
            store.change_job(tx.connection, row.id, state="done", ended=milliseconds(tx.now), error="")
        if row.recorded:
            self._record(tx, row, "done")

    def fail(self, tx: Transaction, job: Job, error: str, *, cause: BaseException) -> None:
        """Let a job be tried again later, or give it up.

        Raises:
            StaleError: it is not this lease's any more.
        """
        row = self._held(tx, job)
        verb = self._verbs[row.verb]
        if isinstance(cause, HopelessError) or row.attempt >= verb.attempts:
            self._give_up(tx, verb, row, error)
            return
        wait = wait_before(row.attempt, first=verb.first_wait, longest=verb.longest_wait, chance=self._chance)
        if isinstance(cause, PostponedError):
            wait += cause.after
        due = milliseconds(tx.now + wait)
        store.change_job(tx.connection, row.id, state="waiting", due=due, error=error[: store.MAX_ERROR])

    def release(self, tx: Transaction, job: Job) -> None:
        """Give a job back that was begun and not brought to its end, as when the server stops: it is tried anew."""
        row = store.find_job(tx.connection, job.id)
        if row is not None and row.state == "running" and row.fence == job.fence:
            attempt = max(0, row.attempt - 1)  # nobody's fault, so it does not count
            store.change_job(tx.connection, row.id, state="waiting", due=milliseconds(tx.now), attempt=attempt)

    def cancel(self, tx: Transaction, id_: str) -> Job:
        """Let a job not be done, or not any more. What it has begun stays as it is.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: it has ended.
        """
        row = self._find(tx, id_)
        if row.state in {"done", "cancelled"}:
            raise ConflictError(f"the job is {row.state} already", place=id_)
        store.change_job(tx.connection, id_, state="cancelled", ended=milliseconds(tx.now))
        tx.publish(TOPIC, id_)
        return store.job_of(self._find(tx, id_))

    def retry(self, tx: Transaction, id_: str) -> Job:
        """Try a job now that is stuck, was cancelled, or waits; it has all its attempts again.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: it runs, or is done.
        """
        row = self._find(tx, id_)
        if row.state in {"done", "running"}:
            raise ConflictError(f"the job is {row.state}", place=id_)
        store.change_job(tx.connection, id_, state="waiting", due=milliseconds(tx.now), attempt=0, ended=None)
        wake(tx)
        return store.job_of(self._find(tx, id_))

    def revive(self, tx: Transaction, id_: str) -> None:
        """As `retry`, of a job that was given up or cancelled; any other stays as it is."""
        if self._find(tx, id_).state in {"stuck", "cancelled"}:
            self.retry(tx, id_)

    def _again(self, tx: Transaction, row: Row[Any], verb: str, period: int | None) -> str:
        if row.verb != verb or (row.every is None) != (period is None):
            raise ConflictError(f"the key is that of another job, of the verb {row.verb}", place=row.key)
        if row.every != period and period is not None:
            now = milliseconds(tx.now)
            due = min(row.due, now + period) if row.state == "waiting" else row.due
            store.change_job(tx.connection, row.id, every=period, due=due)
            wake(tx)
        id_: str = row.id
        return id_

    def _claimed(self, row: Row[Any], attempt: int, fence: int) -> Claimed:
        job = msgspec.structs.replace(store.job_of(row), state="running", attempt=attempt, fence=fence)
        try:
            payload = self._payload(row)
        except Error:  # erased, changed, or under a key that is gone
            return Claimed(job, None)
        key = row.key if row.every is None else f"{row.key}#{row.occurrence}"
        return Claimed(job, Task(job=row.id, verb=row.verb, key=key, payload=payload, fence=fence, attempt=attempt))

    def _payload(self, row: Row[Any]) -> Any:
        return msgspec.json.decode(self._keyring.open(row.key_id, row.payload, context=(_CONTEXT + row.id).encode()))

    def _held(self, tx: Transaction, job: Job) -> Row[Any]:
        row = store.find_job(tx.connection, job.id)
        if row is None or row.state != "running" or row.fence != job.fence:
            raise StaleError("the job is somebody else's since, or was cancelled", place=job.id)
        return row

    def _give_up(self, tx: Transaction, verb: Verb, row: Row[Any], error: str) -> None:
        error = error[: store.MAX_ERROR]
        if row.every is not None:  # one that fails today may do its work tomorrow
            self._next(tx, row, error=error)
        else:
            store.change_job(tx.connection, row.id, state="stuck", ended=milliseconds(tx.now), error=error)
        self._record(tx, row, "stuck", error)
        if verb.stuck is not None and row.every is None:
            try:
                payload = self._payload(row)
            except Error:  # erased, changed, or under a key that is gone
                payload = None
            verb.stuck(tx, store.job_of(self._find(tx, row.id)), payload)

    def _next(self, tx: Transaction, row: Row[Any], *, error: str) -> None:
        now = milliseconds(tx.now)
        planned = next_time(row.planned, row.every, now)
        store.change_job(
            tx.connection, row.id, state="waiting", planned=planned, due=planned + spread(row.every, self._chance),
            occurrence=row.occurrence + 1, attempt=0, error=error,
        )  # fmt: skip
        wake(tx)

    def _record(self, tx: Transaction, row: Row[Any], word: str, error: str = "") -> None:
        body = {"event": f"work-{word}", "job": row.id, "key": row.key, "verb": row.verb, "attempts": row.attempt}
        said = msgspec.Raw(encode({**body, "error": error} if error else body))
        self._ledger.append(tx, Entry(id=new_id("ent"), at=tx.now, kind=ENTRY_KIND, about=MAIN_SPACE, body=said))

    def _find(self, tx: Transaction, id_: str) -> Row[Any]:
        row = store.find_job(tx.connection, id_)
        if row is None:
            raise NotFoundError(f"there is no job {id_}", todo="everproof work list shows them")
        return row


def wake(tx: Transaction) -> None:
    """Let runners look, once this is durable; once a batch is enough."""
    told: list[bool] = tx.staged(TOPIC, list)
    if not told:
        told.append(True)
        tx.publish(TOPIC, "")
