"""How a person who has lost their factors comes to one again: two other people vouch for them, or time passes.

Whoever asks is given a ticket at once, which is worth nothing until then. The owner hears at once and can stop it, from
any session of theirs; where no channel reaches them, time alone makes nothing good. When it is good, the ticket adds
one factor, in a session of the person's own that is fresh; all others end with it, and so do their other sessions.
"""

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from everproof.identity import held_store
from everproof.identity.factors import recovery_store, store
from everproof.identity.factors.records import STRONG, Factor, Recovery
from everproof.identity.factors.rules import RecoveryRules
from everproof.identity.factors.telling import Telling
from everproof.identity.names import shown_name
from everproof.identity.records import ADMINISTRATORS
from everproof.identity.sessions import Sessions
from everproof.identity.store import find_principal
from everproof.kernel.canonical import b64url, from_b64url
from everproof.kernel.errors import ConflictError, InputError, NotFoundError, RefusedError
from everproof.kernel.ids import new_id
from everproof.kernel.words import Fact, Ref
from everproof.storage import Change, Storage, Transaction
from everproof.work import Task, Work

VERB: Final = "factors.recovery"
LASTS: Final = timedelta(hours=24)
"""How long a recovery that is good waits to be used: a day and a night."""

FACT: Final = "factor_recovery"
PAGE: Final = "/factors"

_TICKET_BYTES: Final = 32


class Begun(msgspec.Struct, frozen=True):
    """A recovery, and its ticket, which is given once and kept nowhere."""

    recovery: Recovery
    ticket: str

    def __repr__(self) -> str:
        return f"Begun({self.recovery.id})"


class Recoveries:
    """Recoveries at this server."""

    def __init__(
        self,
        storage: Storage,
        work: Work,
        telling: Telling,
        sessions: Sessions,
        end: Callable[[Transaction, Factor], None],
    ) -> None:
        """``end`` ends the sessions that a factor began."""
        self._storage = storage
        self._work = work
        self._telling = telling
        self._sessions = sessions
        self._end = end
        self.rules = RecoveryRules()
        work.register(VERB, self._waited)

    # ── changes, each within the commit of a decision ──────────────────────────────────────────────────────────────

    def begin(self, tx: Transaction, person: Ref, by: Ref, reason: str) -> Begun:
        """Begin a recovery.

        Raises:
            NotFoundError: there is no such person.
            ConflictError: there is one already, or nothing that could have been lost. Nothing was written.
        """
        record = find_principal(tx.connection, person)
        if record is None or record.disabled is not None:
            raise NotFoundError(f"{person} is not on record, or is disabled")
        if not any(kept.factor.kind in STRONG for kept in store.of_person(tx.connection, person)):
            raise ConflictError(f"{person} has no factor that could be lost", todo="sign in, and add the first one")
        running = recovery_store.open_of(tx.connection, person)
        if running is not None and tx.now < running.ends:
            raise ConflictError(
                f"a recovery of {person} was begun already: {running.id}", todo="use it, or stop it and begin anew"
            )
        if running is not None:
            recovery_store.put(tx, msgspec.structs.replace(running, state="cancelled"))
        ticket = secrets.token_bytes(_TICKET_BYTES)
        good_from = tx.now + timedelta(hours=self.rules.wait_hours)
        id_ = new_id("rcv")
        told = self._tell_begun(tx, id_, person, by, good_from)
        job = ""
        if told:
            job = self._work.enqueue(tx, VERB, {"recovery": id_}, key=f"{VERB}.{id_}", after=good_from, about=person)
        recovery = Recovery(
            id=id_, person=person, state="asked", asked_by=by, asked=tx.now, good_from=good_from,
            ends=good_from + LASTS, reason=shown_name(reason.strip()[:200], place="reason"), job=job, told=told,
        )  # fmt: skip
        recovery_store.add(tx, recovery, _hash(ticket))
        self._telling.others(
            tx, [Ref("Group", ADMINISTRATORS)], f"{person} asks for a recovery",
            f"{by} says that {person} has lost their factors. If you know that it is they who ask, and have spoken to "
            f"them: everproof factors vouch {id_}",
        )  # fmt: skip
        self._telling.event(tx, person, "recovery-begun", recovery=id_, by=str(by))
        return Begun(recovery, b64url(ticket))

    def _tell_begun(self, tx: Transaction, id_: str, person: Ref, by: Ref, good_from: datetime) -> bool:
        """Tell the person, who may know nothing of it; whether there is a channel that reaches them."""
        who = "Somebody who was signed in as you" if by == person else str(by)
        return self._telling.owner(
            tx, person, "A recovery of your account was begun",
            f"{who} says that you have lost your factors. Unless it is stopped, a new one can be added from "
            f"{good_from:%Y-%m-%d %H:%M} UTC on, or as soon as {self.rules.people} people vouch for you.\n"
            f"To stop it: everproof factors stop {id_}",
            link=PAGE,
        )  # fmt: skip

    def vouch(self, tx: Transaction, id_: str, by: Ref) -> Recovery:
        """Vouch for whoever asked; with enough who do, the recovery is good.

        Raises:
            NotFoundError: there is no such recovery.
            RefusedError: by the person themselves. Nothing was written.
            ConflictError: it is over, or good already, or they have vouched before. Nothing was written.
        """
        recovery = self._find(tx, id_)
        if by == recovery.person:
            raise RefusedError("nobody vouches for themselves", todo="ask two colleagues who know you")
        if recovery.state != "asked" or tx.now >= recovery.ends:
            raise ConflictError(f"this recovery is {_state(recovery)}", place=id_)
        before = recovery_store.vouched_by(tx.connection, id_)
        if by in before:
            raise ConflictError("you have vouched already", place=id_, todo="somebody else has to, too")
        recovery_store.vouch(tx, id_, by)
        still = tuple(one for one in (*before, by) if not _is_out(tx, one))
        good = len(still) >= self.rules.people
        recovery = msgspec.structs.replace(recovery, vouched_by=(*before, by), state="good" if good else "asked")
        if good:
            recovery = msgspec.structs.replace(recovery, ends=tx.now + LASTS)
            self._stop_waiting(tx, recovery)
        recovery_store.put(tx, recovery)
        self._telling.event(tx, recovery.person, "recovery-vouched", recovery=id_, by=str(by), good=good)
        said = "It can be used now." if good else f"{self.rules.people - len(still)} more, and it can be used."
        self._telling.owner(tx, recovery.person, "Somebody vouched for you", f"{by} vouches for your recovery. {said}")
        return recovery

    def stop(self, tx: Transaction, id_: str, by: Ref) -> Recovery:
        """Stop a recovery.

        Raises:
            NotFoundError: there is no such recovery.
            ConflictError: it was used, or stopped. Nothing was written.
        """
        recovery = self._find(tx, id_)
        if recovery.state not in {"asked", "good"}:
            raise ConflictError(f"this recovery is {_state(recovery)}", place=id_)
        stopped = msgspec.structs.replace(recovery, state="cancelled")
        recovery_store.put(tx, stopped)
        self._stop_waiting(tx, recovery)
        self._telling.event(tx, recovery.person, "recovery-stopped", recovery=id_, by=str(by))
        self._telling.owner(tx, recovery.person, "A recovery of your account was stopped", f"It was stopped by {by}.")
        return stopped

    # ── using it ───────────────────────────────────────────────────────────────────────────────────────────────────

    def facts(self, person: Ref, ticket: str) -> Iterable[Fact]:
        """That the ticket lets its person add a factor now, if it does. A query."""
        if not ticket:
            return ()
        with self._storage.reading() as connection:
            found = recovery_store.find_ticket(connection, _hash(_bytes(ticket)))
        now = self._storage.clock.now()
        if found is None or found.person != person or not found.is_good(now):
            return ()
        return (Fact(FACT, True, now, "factors"),)

    def require(self, tx: Transaction, person: Ref, ticket: str) -> Recovery | None:
        """The recovery of a ticket that is good now; None where there is no ticket.

        Raises:
            RefusedError: it is not good. Nothing was written.
        """
        if not ticket:
            return None
        found = recovery_store.find_ticket(tx.connection, _hash(_bytes(ticket)))
        if found is None or found.person != person or not found.is_good(tx.now):
            raise RefusedError("this ticket is not good, or not yet", place="recovery")
        vouch = [one for one in found.vouched_by if not _is_out(tx, one)]
        # Made good by people who are out since then, it is worth what the time that has passed is worth.
        if len(vouch) < self.rules.people and (tx.now < found.good_from or not found.told):
            raise RefusedError("somebody who vouched is disabled or contained since", place="recovery")
        return found

    def use(self, tx: Transaction, recovery: Recovery, new: Factor, session: str) -> None:
        """Use a recovery up: ``new`` is what the person has from now on, ``session`` is where they are."""
        recovery_store.put(tx, msgspec.structs.replace(recovery, state="used"))
        self._stop_waiting(tx, recovery)
        lost = [kept.factor for kept in store.of_person(tx.connection, recovery.person) if kept.factor.id != new.id]
        store.remove(tx, [factor.id for factor in lost])
        for factor in lost:
            self._end(tx, factor)
        self._sessions.end_others(tx, recovery.person, session, "factors recovered")
        self._telling.changed(tx, recovery.person)
        self._telling.event(
            tx, recovery.person, "recovery-used", recovery=recovery.id, factor=new.id, removed=[one.id for one in lost]
        )
        text = f"“{new.name}” is your factor from now on; all others were removed, and your other sessions have ended."
        self._telling.owner(tx, recovery.person, "Your account was recovered", text)

    # ── questions ──────────────────────────────────────────────────────────────────────────────────────────────────

    def find(self, id_: str) -> Recovery:
        """One recovery. A query.

        Raises:
            NotFoundError: there is none.
        """
        with self._storage.reading() as connection:
            return _found(recovery_store.find(connection, id_), id_)

    def open(self, person: Ref | None = None) -> tuple[Recovery, ...]:
        """Recoveries that are not over, of one person or of all. A query."""
        with self._storage.reading() as connection:
            found = recovery_store.all_open(connection)
        now = self._storage.clock.now()
        return tuple(one for one in found if now < one.ends and person in {None, one.person})

    async def _waited(self, task: Task) -> Change[None]:
        id_ = str(task.payload["recovery"])

        def settle(tx: Transaction) -> None:
            recovery = recovery_store.find(tx.connection, id_)
            if recovery is None or recovery.state != "asked" or tx.now < recovery.good_from:
                return
            recovery_store.put(tx, msgspec.structs.replace(recovery, state="good"))
            self._telling.event(tx, recovery.person, "recovery-waited", recovery=id_)
            text = f"Nobody stopped it. It can be used until {recovery.ends:%Y-%m-%d %H:%M} UTC."
            self._telling.owner(tx, recovery.person, "A recovery of your account can be used now", text)

        return settle

    def _find(self, tx: Transaction, id_: str) -> Recovery:
        return _found(recovery_store.find(tx.connection, id_), id_)

    def _stop_waiting(self, tx: Transaction, recovery: Recovery) -> None:
        if recovery.job and tx.now < recovery.good_from:
            with contextlib.suppress(
                ConflictError, NotFoundError
            ):  # it runs, and will find that there is nothing to do
                self._work.cancel(tx, recovery.job)


def _found(recovery: Recovery | None, id_: str) -> Recovery:
    if recovery is None:
        raise NotFoundError(f"there is no recovery {id_[:64]}")
    return recovery


def _is_out(tx: Transaction, ref: Ref) -> bool:
    record = find_principal(tx.connection, ref)
    return record is None or record.disabled is not None or held_store.is_held(tx.connection, ref)


def _state(recovery: Recovery) -> str:
    words = {"asked": "over", "good": "good already", "used": "used", "cancelled": "stopped"}
    return words[recovery.state]


def _bytes(ticket: str) -> bytes:
    try:
        return from_b64url(ticket)
    except InputError as error:
        raise InputError("not a recovery's ticket", place="recovery") from error


def _hash(ticket: bytes) -> bytes:
    # No salt and no stretching: 256 random bits cannot be guessed.
    return hashlib.sha256(b"everproof recovery ticket\0" + ticket).digest()
