"""Effects: proposed, approved, applied, verified, undone; each step a job, each change of stage one commit with it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Row

from everproof.kernel.canonical import encode
from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import ConflictError, InputError, NotFoundError, RefusedError, UnavailableError
from everproof.kernel.ids import is_id, new_id
from everproof.kernel.words import MAIN_SPACE, Effect, Entry, Ref
from everproof.keys import Keyring
from everproof.ledger import Ledger
from everproof.storage import Change, Storage, Transaction
from everproof.work import effect_store as store
from everproof.work.deeds import Deed, EffectRecord, Plan, Proposal, Rule, Stage, Step
from everproof.work.queue import Queue
from everproof.work.records import Job, Task, Verb

ENTRY_KIND: Final = "effect"
PERSON: Final = "User"
_CONTEXT: Final = "work/effect:"


class NotYetError(UnavailableError):
    """What was applied does not hold, or not yet."""

    code = "not-yet"


class Effects:
    """The effects of one database. ``rules`` is what the organisation says of verbs; it may be set anew."""

    def __init__(
        self,
        storage: Storage,
        keyring: Keyring,
        ledger: Ledger,
        queue: Queue,
        register: Callable[[Verb], None],
    ) -> None:
        self._storage = storage
        self._keyring = keyring
        self._ledger = ledger
        self._queue = queue
        self._register = register
        self._deeds: dict[str, Deed] = {}
        self.rules: Mapping[str, Rule] = {}

    def register(self, deed: Deed) -> None:
        """Let effects of this verb be proposed.

        Raises:
            ConflictError: there is such a verb already.
        """
        for name, run in (("apply", self._apply), ("verify", self._verify), ("undo", self._undo)):
            self._register(
                Verb(
                    name=f"{deed.name}/{name}", run=run, parallel=deed.parallel, attempts=deed.attempts,
                    limit=deed.limit, stuck=self._stuck,
                )
            )  # fmt: skip
        self._deeds[deed.name] = deed

    def deed(self, verb: str) -> Deed:
        """A registered verb.

        Raises:
            NotFoundError: there is none of this name.
        """
        if (deed := self._deeds.get(verb)) is None:
            raise NotFoundError(f"there is no verb {verb}", todo=f"one of: {', '.join(sorted(self._deeds)) or 'none'}")
        return deed

    def plan(self, effect: Effect) -> tuple[Plan, int]:
        """What the effect would do, and how many people would have to approve it: a dry run. Nothing is written."""
        deed = self.deed(effect.verb)
        plan = deed.plan(effect)
        if plan.touches < 0 or max(len(plan.does), len(plan.undoes)) > store.MAX_WORDS:
            raise InputError("a plan that cannot be kept", place=effect.verb)
        rule = self.rules.get(effect.verb)
        needs = [deed.people] if plan.touches > deed.bound or not (plan.undoes and deed.undo) else [0]
        if rule is not None and plan.touches > rule.above:
            needs.append(rule.people)
        return plan, max(needs)

    def propose(self, tx: Transaction, effect: Effect, *, by: Ref, key: str | None = None) -> EffectRecord:
        """Put an effect on record; it is applied once enough people approve, at once where none have to.

        What has the same ``key`` is the same effect, and is not proposed again.

        Raises:
            NotFoundError: no such verb.
            ConflictError: the key is that of an effect of another verb or on another subject.
        """
        id_ = new_id("eff")
        key = key or id_
        if (known := store.find_key(tx.connection, key)) is not None:
            if (known.verb, known.subject_type, known.subject) != (effect.verb, effect.subject.type, effect.subject.id):
                raise ConflictError("the key is that of another effect", place=key)
            return store.effect_of(tx.connection, known)
        plan, needs = self.plan(effect)
        sealed = self._seal(tx, id_, Proposal(arguments=effect.arguments))
        now = milliseconds(tx.now)
        store.insert_effect(
            tx.connection, id=id_, key=key, verb=effect.verb, subject_type=effect.subject.type,
            subject=effect.subject.id, state="proposed", job=None, undo_asked=False, touches=plan.touches,
            does=plan.does, undoes=plan.undoes, needs=needs, by_type=by.type, by=by.id, created=now, changed=now,
            error="", **sealed,
        )  # fmt: skip
        self._record(tx, id_, "proposed", by)
        if needs == 0:
            self._begin(tx, id_, "approved", "apply")
        return self._told(tx, id_)

    def approve(self, tx: Transaction, id_: str, by: Ref) -> EffectRecord:
        """Count ``by`` among those who approve; with the last one needed, the effect is applied.

        For the ``within`` of the decision that lets ``by`` approve: it raises before it writes.

        Raises:
            NotFoundError: there is no such effect.
            RefusedError: who proposed it, who approved already, or what is not a person; or it waits for nobody.
        """
        row = self._find(tx, id_)
        approved = store.approvers(tx.connection, id_)
        if row.state != "proposed":
            raise RefusedError(f"the effect is {row.state} already, and waits for nobody's approval")
        if by.type != PERSON:
            raise RefusedError("only people approve")
        if by == Ref(row.by_type, row.by):
            raise RefusedError("nobody approves what they proposed themselves")
        if by in approved:
            raise RefusedError("nobody approves twice")
        store.add_approval(tx.connection, id_, by, milliseconds(tx.now))
        self._record(tx, id_, "approval", by)
        if len(approved) + 1 >= row.needs:
            self._begin(tx, id_, "approved", "apply")
        return self._told(tx, id_)

    def cancel(self, tx: Transaction, id_: str, by: Ref) -> EffectRecord:
        """Let an effect not be applied. What has begun can only be undone.

        Raises:
            NotFoundError: there is no such effect.
            ConflictError: it is being applied, or was.
        """
        row = self._find(tx, id_)
        if row.state != "proposed":
            raise ConflictError(f"the effect is {row.state}", place=id_, todo=f"undo it: everproof work undo {id_}")
        self._move(tx, id_, "cancelled", job=None)
        self._record(tx, id_, "cancelled", by)
        return self._told(tx, id_)

    def undo(self, tx: Transaction, id_: str, by: Ref) -> EffectRecord:
        """Undo an effect; one that is just being applied is undone right after.

        Raises:
            NotFoundError: there is no such effect.
            ConflictError: it was never applied, or nothing undoes it.
        """
        row = self._find(tx, id_)
        if row.state in {"undoing", "undone"} or row.undo_asked:
            return self._told(tx, id_)
        if row.state in {"proposed", "cancelled"}:
            raise ConflictError("the effect was never applied", place=id_, todo=f"everproof work cancel {id_}")
        if self.deed(row.verb).undo is None:
            raise ConflictError(f"nothing undoes {row.verb}", place=id_)
        self._record(tx, id_, "undo-asked", by)
        if row.state == "approved":  # whether it has begun, nobody can say: so it is let finish, and undone then
            store.change_effect(tx.connection, id_, undo_asked=True, changed=milliseconds(tx.now))
        else:
            if row.state == "applied":
                self._queue.cancel(tx, row.job)
            self._begin(tx, id_, "undoing", "undo")
        return self._told(tx, id_)

    def retry(self, tx: Transaction, id_: str, by: Ref) -> EffectRecord:
        """Take up a failed effect at the step that failed.

        Raises:
            NotFoundError: there is no such effect.
            ConflictError: it has not failed.
        """
        row = self._find(tx, id_)
        if row.state != "failed":
            raise ConflictError(f"the effect is {row.state}, not failed", place=id_)
        job = self._queue.retry(tx, row.job)
        stage: Stage = _STAGES[job.verb.rpartition("/")[2]]
        self._move(tx, id_, stage, error="")
        self._record(tx, id_, "retried", by)
        return self._told(tx, id_)

    def owns(self, job: Job) -> str | None:
        """The effect of which the job is a step, if it is one's."""
        id_, _, step = job.key.rpartition("/")
        verb, _, named = job.verb.rpartition("/")
        return id_ if step == named and verb in self._deeds and is_id(id_, "eff") else None

    def effect(self, id_: str) -> EffectRecord:
        """One effect. A query.

        Raises:
            NotFoundError: there is none.
        """
        with self._storage.reading() as connection:
            row = store.find_effect(connection, id_)
            if row is None:
                raise _unknown(id_)
            return store.effect_of(connection, row)

    def effects(self, *, stages: Sequence[Stage] = (), after: str = "", limit: int = 100) -> list[EffectRecord]:
        """Effects, the oldest first, of any stage where none is named. A query."""
        with self._storage.reading() as connection:
            rows = store.list_effects(connection, stages=stages, after=after, limit=limit)
            return [store.effect_of(connection, row) for row in rows]

    async def _apply(self, task: Task) -> Change[None]:
        deed, step = await self._step(task)
        outcome = await deed.apply(step)

        def applied(tx: Transaction) -> None:
            row = self._require(tx, task, "approved")
            sealed = self._seal(tx, row.id, Proposal(arguments=step.arguments, outcome=outcome))
            self._move(tx, row.id, "applied", job=None, error="", **sealed)
            self._record(tx, row.id, "applied", task=task)
            if row.undo_asked:
                self._begin(tx, row.id, "undoing", "undo")
            elif deed.verify is not None:
                self._begin(tx, row.id, "applied", "verify")
            else:
                self._move(tx, row.id, "verified")

        return applied

    async def _verify(self, task: Task) -> Change[None]:
        deed, step = await self._step(task)
        assert deed.verify is not None
        if not await deed.verify(step):
            raise NotYetError("what was applied does not hold, or not yet")

        def verified(tx: Transaction) -> None:
            row = self._require(tx, task, "applied")
            self._move(tx, row.id, "verified", job=None, error="")
            self._record(tx, row.id, "verified", task=task)

        return verified

    async def _undo(self, task: Task) -> Change[None]:
        deed, step = await self._step(task)
        undo: Callable[[Step], Awaitable[None]] | None = deed.undo
        assert undo is not None
        await undo(step)

        def undone(tx: Transaction) -> None:
            row = self._require(tx, task, "undoing")
            self._move(tx, row.id, "undone", job=None, error="")
            self._record(tx, row.id, "undone", task=task)

        return undone

    async def _step(self, task: Task) -> tuple[Deed, Step]:
        row, proposal = await asyncio.to_thread(self._load, task.payload)
        step = Step(
            effect=row.id, subject=Ref(row.subject_type, row.subject), arguments=proposal.arguments,
            outcome=proposal.outcome, key=task.key, fence=task.fence, attempt=task.attempt,
        )  # fmt: skip
        return self.deed(row.verb), step

    def _load(self, id_: str) -> tuple[Row[Any], Proposal]:
        with self._storage.reading() as connection:
            row = store.find_effect(connection, id_)
        if row is None:
            raise _unknown(id_)
        opened = self._keyring.open(row.key_id, row.sealed, context=(_CONTEXT + id_).encode())
        return row, msgspec.json.decode(opened, type=Proposal)

    def _stuck(self, tx: Transaction, job: Job, id_: Any) -> None:
        row = store.find_effect(tx.connection, id_) if isinstance(id_, str) else None
        if row is None or row.job != job.id:
            return
        self._move(tx, row.id, "failed", error=job.error)
        self._record(tx, row.id, "failed", error=job.error)
        if row.undo_asked and job.verb.endswith("/apply"):
            self._begin(tx, row.id, "undoing", "undo")

    def _require(self, tx: Transaction, task: Task, stage: Stage) -> Row[Any]:
        row = self._find(tx, task.payload)
        if row.state != stage or row.job != task.job:
            raise ConflictError(f"the effect is {row.state} by now", place=row.id)
        return row

    def _begin(self, tx: Transaction, id_: str, stage: Stage, step: str) -> None:
        verb = self._find(tx, id_).verb
        job = self._queue.enqueue(tx, f"{verb}/{step}", id_, key=f"{id_}/{step}")
        self._queue.revive(tx, job)  # one that was given up before is the same job, and begins anew
        self._move(tx, id_, stage, job=job)
        if stage != "applied":
            self._record(tx, id_, stage)

    def _move(self, tx: Transaction, id_: str, stage: Stage, **values: Any) -> None:
        store.change_effect(tx.connection, id_, state=stage, changed=milliseconds(tx.now), **values)

    def _seal(self, tx: Transaction, id_: str, proposal: Proposal) -> dict[str, Any]:
        sealed = self._keyring.seal(tx, MAIN_SPACE, encode(proposal), context=(_CONTEXT + id_).encode())
        return {"key_id": sealed.key_id, "sealed": sealed.data}

    def _record(
        self, tx: Transaction, id_: str, word: str, by: Ref | None = None, *, task: Task | None = None, error: str = ""
    ) -> None:
        row = self._find(tx, id_)
        body: dict[str, Any] = {
            "effect": id_, "stage": word, "verb": row.verb, "subject": str(Ref(row.subject_type, row.subject)),
            "touches": row.touches,
        }  # fmt: skip
        if by is not None:
            body["by"] = str(by)
        if task is not None:
            body |= {"job": task.job, "fence": task.fence, "attempt": task.attempt}
        if error:
            body["error"] = error
        if word == "proposed":
            body |= {"does": row.does, "undoes": row.undoes, "needs": row.needs}
        entry = Entry(id=new_id("ent"), at=tx.now, kind=ENTRY_KIND, about=MAIN_SPACE, body=msgspec.Raw(encode(body)))
        self._ledger.append(tx, entry)

    def _told(self, tx: Transaction, id_: str) -> EffectRecord:
        return store.effect_of(tx.connection, self._find(tx, id_))

    def _find(self, tx: Transaction, id_: str) -> Row[Any]:
        row = store.find_effect(tx.connection, id_)
        if row is None:
            raise _unknown(id_)
        return row


_STAGES: Final[Mapping[str, Stage]] = {"apply": "approved", "verify": "applied", "undo": "undoing"}


def _unknown(id_: str) -> NotFoundError:
    return NotFoundError(f"there is no effect {id_}", todo="everproof work list --effects shows them")
