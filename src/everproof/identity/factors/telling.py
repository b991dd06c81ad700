"""What is told of factors: to their owner, to the ledger, and to the memory that facts are taken from."""

from collections.abc import Iterable
from typing import Any, Final, Protocol

import msgspec

from everproof.identity.factors import store
from everproof.identity.factors.records import Factor, Kind
from everproof.kernel.canonical import encode
from everproof.kernel.ids import new_id
from everproof.kernel.words import Entry, Ref
from everproof.ledger import Ledger
from everproof.storage import Storage, Transaction
from everproof.work.notices import Notice

TOPIC: Final = "identity.factors"
EVENT_KIND: Final = "event"
PAGE: Final = "/factors"

_ASIDE: Final = "If this was not you, open your factors and remove what is not yours, and tell an administrator."


class Notices(Protocol):
    """Sends notices."""

    def send(self, tx: Transaction, notice: Notice) -> tuple[str, ...]:
        """Put a notice on its way within ``tx``; the jobs that deliver it, none where no channel reaches anyone."""
        ...


class _Has(msgspec.Struct, frozen=True):
    """What the feed says: who has which kinds of factors that show something."""

    person: Ref
    kinds: tuple[Kind, ...]


class Telling:
    """Tells, within the commit of what is told."""

    def __init__(self, storage: Storage, ledger: Ledger, notices: Notices) -> None:
        self._ledger = ledger
        self._notices = notices
        self._kinds: dict[Ref, frozenset[Kind]] = {}
        with storage.reading() as connection:
            for person, kind in store.live_kinds(connection):
                self._kinds[person] = self._kinds.get(person, frozenset()) | {kind}
        storage.subscribe(TOPIC, self._hear)

    def kinds(self, person: Ref) -> frozenset[Kind]:
        """Which kinds of factors a person has that show something. From memory."""
        return self._kinds.get(person, frozenset())

    def changed(self, tx: Transaction, person: Ref) -> None:
        """Let memory know what the person has by now."""
        has = {kept.factor.kind for kept in store.of_person(tx.connection, person) if kept.factor.state == "live"}
        tx.publish(TOPIC, person.id, msgspec.msgpack.encode(_Has(person, tuple(sorted(has)))))

    def event(self, tx: Transaction, person: Ref, event: str, **said: Any) -> None:
        """Put on record what no decision stands for."""
        body = msgspec.Raw(encode({"event": event, "person": str(person), **said}))
        self._ledger.append(tx, Entry(id=new_id("ent"), at=tx.now, kind=EVENT_KIND, about=person, body=body))

    def owner(self, tx: Transaction, person: Ref, subject: str, text: str, *, link: str = PAGE) -> bool:
        """Tell the person; whether there is a channel that reaches them."""
        jobs = self._notices.send(tx, Notice(to=(person,), subject=subject, text=f"{text}\n\n{_ASIDE}", link=link))
        return bool(jobs)

    def others(self, tx: Transaction, to: Iterable[Ref], subject: str, text: str, *, link: str = "") -> None:
        """Tell somebody else."""
        self._notices.send(tx, Notice(to=tuple(to), subject=subject, text=text, link=link))

    def enrolled(self, tx: Transaction, factor: Factor) -> None:
        """Tell of a new factor."""
        self.changed(tx, factor.person)
        self.owner(tx, factor.person, "A factor was added to your account", f"{named(factor)} was added.")

    def _hear(self, _key: str, body: bytes) -> None:
        has = msgspec.msgpack.decode(body, type=_Has)
        if has.kinds:
            self._kinds[has.person] = frozenset(has.kinds)
        else:
            self._kinds.pop(has.person, None)


_WORDS: Final[dict[Kind, str]] = {
    "passkey": "The passkey",
    "security-key": "The security key",
    "totp": "The app for one-time passwords",
    "recovery-codes": "The recovery codes",
}


def named(factor: Factor) -> str:
    """A factor in words."""
    return f"{_WORDS[factor.kind]} “{factor.name}”" if factor.kind != "recovery-codes" else _WORDS[factor.kind]
