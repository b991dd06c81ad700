"""Memberships kept as our groups say: looked at, planned, decided, applied as an effect, and looked at again.

Nothing is changed by itself: a look that finds a difference records it and tells people, and the change is an effect
that somebody is allowed to propose. What it changes is what was planned *and* is still to be changed when it comes to
it: whoever came back meanwhile is not removed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from everproof.identity import Directory
from everproof.kernel.canonical import encode
from everproof.kernel.clock import from_milliseconds, milliseconds
from everproof.kernel.errors import NotFoundError, RefusedError
from everproof.kernel.ids import new_id
from everproof.kernel.words import MAIN_SPACE, Effect, Entry, Ref
from everproof.keys import Keyring
from everproof.ledger import Ledger
from everproof.provisioning import memberships_store as store
from everproof.provisioning.memberships import Change, Organisation, Place, digest_of
from everproof.provisioning.memberships_file import FILE_NAME, OrganisationLine, memberships_of
from everproof.provisioning.memberships_plan import Groups, allowed_at_once, plan, wanted_of
from everproof.storage import Change as Within
from everproof.storage import Storage, Transaction
from everproof.work import Deed, EffectRecord, Plan, Step, Task, Verb, Work
from everproof.work.notices import GROUP, Notice, Notices

LOOK: Final = "membership.look"
APPLY: Final = "membership.apply"
ACTION: Final = "membership:change"
ENTRY_KIND: Final = "membership"
ORGANISATION: Final = "Organisation"
EVERY: Final = timedelta(hours=1)
"""How often organisations are looked at by themselves."""
LIMIT: Final = timedelta(minutes=10)
MAX_TOLD: Final = 10
"""Changes that a notice names."""
_CONTEXT: Final = "provisioning/organisation:"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of an organisation at one time. ``unknown``: who is invited whom no account is known of."""

    organisation: str
    platform: str
    id: str
    looked: datetime
    digest: str
    changes: tuple[Change, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def to_make(self) -> tuple[Change, ...]:
        """The changes that would be made: those that nothing withholds."""
        return tuple(one for one in self.changes if not one.withheld)


class Memberships:
    """The organisations of one server: ``hosts`` as the settings name them, ``lines`` as the bundle does."""

    def __init__(
        self,
        storage: Storage,
        *,
        keyring: Keyring,
        ledger: Ledger,
        work: Work,
        notices: Notices,
        directory: Directory,
        hosts: Mapping[str, Organisation],
    ) -> None:
        self._storage = storage
        self._keyring = keyring
        self._ledger = ledger
        self._work = work
        self._notices = notices
        self._directory = directory
        self._hosts = hosts
        self._lines: Mapping[str, OrganisationLine] = {}
        work.register(Verb(name=LOOK, run=self._run, limit=LIMIT, parallel=1))
        work.effects.register(
            Deed(
                name=APPLY, action=ACTION, plan=_planned, apply=self._apply, verify=self._verify, undo=self._undo,
                parallel=1, limit=LIMIT,
            )
        )  # fmt: skip

    def follow(self, files: Mapping[str, bytes]) -> None:
        """Go by what these files of a bundle say from now on."""
        self._lines = memberships_of(files)

    def check(self, files: Mapping[str, bytes]) -> None:
        """Whether these files of a bundle can be gone by.

        Raises:
            InputError: as `memberships_of`; or a platform has no such role.
        """
        for name, line in memberships_of(files).items():
            if name in self._hosts:
                wanted_of(line, {}, self._hosts[name].roles)

    @property
    def lines(self) -> Mapping[str, OrganisationLine]:
        """What the ruling bundle says, of the organisations that the settings name too."""
        return {name: line for name, line in self._lines.items() if name in self._hosts}

    def host(self, name: str) -> Organisation:
        """The platform's API of the organisation called ``name``.

        Raises:
            NotFoundError: the settings or the bundle name none.
        """
        found = self._hosts.get(name)
        if found is None or name not in self._lines:
            known = ", ".join(sorted(self.lines)) or "none"
            raise NotFoundError(
                f"no organisation is called {name!r}; known are: {known}",
                todo=f"name it in server.toml under [organisations], and in {FILE_NAME}",
            )
        return found

    async def look(self, name: str) -> Report:
        """Ask the platform, and say what would have to be changed.

        Raises:
            NotFoundError: there is no such organisation.
            Error: the platform cannot be asked, or does not show it.
        """
        host = self.host(name)
        line = self._lines[name]
        wanted = wanted_of(line, self.people(), host.roles)
        looked = await host.look(list(line.places()), [str(one) for one in line.accounts.values()])
        changes = plan(line, wanted, looked, host.roles)
        return Report(
            organisation=name, platform=host.platform, id=str(line.id), looked=self._storage.clock.now(),
            digest=digest_of(changes), changes=changes, unknown=looked.unknown,
        )  # fmt: skip

    def last(self, name: str) -> Report | None:
        """What the last look found; None where there was none. A query."""
        self.host(name)
        with self._storage.reading() as connection:
            row = store.find_organisation(connection, name)
        if row is None:
            return None
        opened = self._keyring.open(row.key_id, row.sealed, context=(_CONTEXT + name).encode())
        return msgspec.structs.replace(msgspec.json.decode(opened, type=Report), looked=from_milliseconds(row.looked))

    def propose(self, tx: Transaction, report: Report, by: Ref) -> EffectRecord:
        """Have what a look found put right: the ``within`` of the decision that lets ``by``.

        Raises:
            RefusedError: there is nothing to change, or it would take away from too many at once.
        """
        if not report.to_make:
            raise RefusedError("there is nothing to change")
        allowed_at_once(self._lines[report.organisation], report.to_make)
        arguments = {"changes": msgspec.to_builtins(report.to_make)}
        subject = Ref(ORGANISATION, report.organisation)
        return self._work.effects.propose(tx, Effect(verb=APPLY, subject=subject, arguments=arguments), by=by)

    async def start(self) -> None:
        """Begin to look by itself, at what the settings name."""

        def schedule(tx: Transaction) -> None:
            for name in self._hosts:
                self._work.enqueue(tx, LOOK, name, key=f"{LOOK}/{name}", every=EVERY, after=timedelta(minutes=1))

        await self._storage.write(schedule)

    def people(self) -> Groups:
        """Everyone who is active, with all their groups."""
        return {
            one.ref.id: frozenset(self._directory.ancestors(one.groups))
            for one in self._directory.records()
            if one.ref.type == "User" and one.disabled is None
        }

    def keep(self, tx: Transaction, report: Report) -> None:
        """Put on record what a look found; where it is not what the last one found, say so and tell people."""
        before = store.find_organisation(tx.connection, report.organisation)
        sealed = self._keyring.seal(tx, MAIN_SPACE, encode(report), context=(_CONTEXT + report.organisation).encode())
        store.put_organisation(
            tx.connection, report.organisation, looked=milliseconds(report.looked), digest=report.digest,
            key_id=sealed.key_id, sealed=sealed.data,
        )  # fmt: skip
        known = digest_of(()) if before is None else before.digest
        if known == report.digest:
            return
        event = "drift" if report.changes else "as-it-should-be"
        said = {
            "event": event, "organisation": report.organisation, "platform": report.platform, "id": report.id,
            "digest": report.digest, "changes": len(report.to_make),
            "withheld": len(report.changes) - len(report.to_make), "unknown": len(report.unknown),
        }  # fmt: skip
        body = msgspec.Raw(encode(said))
        self._ledger.append(tx, Entry(id=new_id("ent"), at=tx.now, kind=ENTRY_KIND, about=MAIN_SPACE, body=body))
        if report.changes:
            self._tell(tx, report)

    def _tell(self, tx: Transaction, report: Report) -> None:
        line = self._lines.get(report.organisation)
        if line is None:
            return
        lines = [f"- {one}" + (f" (withheld: {one.withheld})" if one.withheld else "") for one in report.changes]
        more = len(lines) - MAX_TOLD
        text = "\n".join([*lines[:MAX_TOLD], *([f"and {more} more"] if more > 0 else [])])
        self._notices.send(
            tx,
            Notice(
                to=tuple(Ref(GROUP, one) for one in line.notify),
                subject=f"{report.organisation} at {report.platform} is not as {FILE_NAME} says",
                text=f"To be as it should, it would have to be changed:\n\n{text}\n\n"
                f"See it: everproof memberships plan {report.organisation}",
                key=f"{report.organisation} {report.digest} {milliseconds(report.looked)}",
            ),
        )

    async def _run(self, task: Task) -> Within[None] | None:
        if task.payload not in self.lines:  # it may come to rule later
            return None
        report = await self.look(task.payload)
        return lambda tx: self.keep(tx, report)

    async def _apply(self, step: Step) -> Any:
        made = []
        for change in await self._still(step):
            await self._hosts[step.subject.id].change(self._place(step), change)
            made.append(msgspec.to_builtins(change))
        return made

    async def _verify(self, step: Step) -> bool:
        report = await self.look(step.subject.id)
        await asyncio.shield(self._storage.write(lambda tx: self.keep(tx, report)))
        return not _common(_changes(step), report.to_make)

    async def _undo(self, step: Step) -> None:
        active = self.people()
        for change in reversed(_changes(step)):
            if change.before and change.person not in active:
                continue  # a role is given back to those who are here: whoever has left since stays out
            await self._hosts[step.subject.id].change(self._place(step), change.reversed())

    async def _still(self, step: Step) -> Sequence[Change]:
        """What was proposed and would still be changed."""
        return _common(_changes(step), (await self.look(step.subject.id)).to_make)

    def _place(self, step: Step) -> Place:
        self.host(step.subject.id)
        return self._lines[step.subject.id].place


def _changes(step: Step) -> tuple[Change, ...]:
    return msgspec.convert(step.arguments["changes"], tuple[Change, ...])


def _common(proposed: Sequence[Change], now: Sequence[Change]) -> list[Change]:
    wanted = {(one.place, one.account, one.after) for one in proposed}
    return [one for one in now if (one.place, one.account, one.after) in wanted]


def _planned(effect: Effect) -> Plan:
    changes = msgspec.convert(effect.arguments["changes"], tuple[Change, ...])
    removed = sum(one.removes for one in changes)
    does = f"{effect.subject.id}: {len(changes) - removed} roles given or changed, {removed} taken away"
    return Plan(does=does, touches=len(changes), undoes="gives each account the role that it had before")
