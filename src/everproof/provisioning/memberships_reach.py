"""A person's movement, as far as it reaches organisations at platforms: one item for each that it touches."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import Connection

from everproof.kernel.errors import InputError
from everproof.provisioning.memberships import Change, Place
from everproof.provisioning.memberships_file import OrganisationLine
from everproof.provisioning.memberships_plan import keep_an_owner, wanted_of
from everproof.provisioning.memberships_room import Memberships
from everproof.provisioning.reach import Item, Movement
from everproof.work import HopelessError

NAME: Final = "membership"

_log: Final = structlog.get_logger("everproof.provisioning")


class _Arguments(msgspec.Struct, frozen=True):
    """What an item has for itself: of a leaver no roles, since whatever the account holds by then is taken from it."""

    organisation: str
    account: str
    person: str
    roles: tuple[tuple[Place, str, str], ...] = ()
    leaves: bool = False


class MembershipsReach:
    """As in ``Reach``, for what memberships.toml says."""

    name = NAME

    def __init__(self, memberships: Memberships) -> None:
        self._memberships = memberships

    def plan(self, connection: Connection, movement: Movement) -> Sequence[Item]:  # noqa: ARG002 - the file says it all
        """As in ``Reach``: from the bundle and the groups alone."""
        items = []
        for name, line in self._memberships.lines.items():
            account = line.account_of(movement.person.id)
            if account is None:
                continue
            if movement.kind == "leave":
                items.append(self._leaving(name, account, movement))
            elif (item := self._moving(name, line, account, movement)) is not None:
                items.append(item)
        return items

    async def apply(self, item: Item, *, key: str) -> Any:  # noqa: ARG002 - what is done twice is done once, by itself
        """As in ``Reach``: what was changed."""
        wanted = _arguments(item)
        line = self._memberships.lines.get(wanted.organisation)
        if line is None:  # not kept any more, by decision
            return []
        host = self._memberships.host(wanted.organisation)
        looked = await host.look(list(line.places()), [wanted.account])
        changes = []
        for place in line.places():
            held = looked.held[place].get(wanted.account)
            now = held.role if held is not None else ""
            after = "" if wanted.leaves else _role(wanted, place)
            if after is not None and after != now:
                changes.append(
                    Change(
                        place=place, account=wanted.account, before=now, after=after, person=wanted.person,
                        login=held.login if held is not None else "", pending=held is not None and held.pending,
                    )
                )  # fmt: skip
        kept = keep_an_owner(changes, looked.held[line.place], line.place, host.roles["organisation"][-1])
        for change in kept:
            if change.withheld:
                todo = "give it another owner, then everproof work retry EFFECT"
                raise HopelessError(f"{wanted.person} is the last owner", place=item.at, todo=todo)
            await host.change(line.place, change)
        return [msgspec.to_builtins(change) for change in kept]

    async def verify(self, item: Item, outcome: Any) -> bool:  # noqa: ARG002 - it is looked at, whatever was done
        """As in ``Reach``."""
        wanted = _arguments(item)
        line = self._memberships.lines.get(wanted.organisation)
        if line is None:
            return True
        held = (await self._memberships.host(wanted.organisation).look(list(line.places()), [wanted.account])).held
        for place in line.places():
            now = held[place].get(wanted.account)
            after = "" if wanted.leaves else _role(wanted, place)
            if after is not None and after != (now.role if now is not None else ""):
                return False
        return True

    async def undo(self, item: Item, outcome: Any, *, key: str) -> None:  # noqa: ARG002 - as `apply`
        """As in ``Reach``; where nobody heard what was done, each role is put back that the plan would have changed."""
        wanted = _arguments(item)
        line = self._memberships.lines.get(wanted.organisation)
        if line is None:
            return
        host = self._memberships.host(wanted.organisation)
        if isinstance(outcome, list):
            done = msgspec.convert(outcome, tuple[Change, ...])
        else:
            done = tuple(
                Change(place=place, account=wanted.account, before=before, after=after, person=wanted.person)
                for place, before, after in wanted.roles
            )
        for change in sorted(done, key=lambda one: one.place.kind != "organisation"):
            await host.change(line.place, change.reversed())

    def _leaving(self, name: str, account: str, movement: Movement) -> Item:
        platform = self._memberships.host(name).platform
        who = f"{movement.person.id} (account {account})"
        return _item(
            name, platform, _Arguments(name, account, movement.person.id, leaves=True),
            does=f"remove {who} from {name} at {platform}, its teams and repositories",
            undoes=f"give {who} the same roles in {name} again, by invitation where the platform wants one",
        )  # fmt: skip

    def _moving(self, name: str, line: OrganisationLine, account: str, movement: Movement) -> Item | None:
        host, person = self._memberships.host(name), movement.person.id
        try:
            before = _roles(wanted_of(line, {person: frozenset(movement.before)}, host.roles), account)
            after = _roles(wanted_of(line, {person: frozenset(movement.after)}, host.roles), account)
        except InputError as error:  # of a file that ruled before the settings named the organisation: looks tell of it
            _log.warning("memberships cannot follow a movement", organisation=name, detail=error.message)
            return None
        roles = tuple(
            (place, before.get(place, ""), after.get(place, ""))
            for place in line.places()
            if before.get(place) != after.get(place)
        )
        if not roles:
            return None
        told = ", ".join(f"{place}: {new or f'no longer {old}'}" for place, old, new in roles)
        back = ", ".join(f"{place}: {old or f'no longer {new}'}" for place, old, new in roles)
        return _item(
            name, host.platform, _Arguments(name, account, person, roles),
            does=f"{person} (account {account}) in {name}: {told}", undoes=f"{person} in {name}: {back}",
        )  # fmt: skip


def _item(name: str, platform: str, arguments: _Arguments, *, does: str, undoes: str) -> Item:
    return Item(reach=NAME, at=f"{platform}:{name}", does=does, undoes=undoes, arguments=msgspec.to_builtins(arguments))


def _arguments(item: Item) -> _Arguments:
    return msgspec.convert(dict(item.arguments), _Arguments)


def _role(wanted: _Arguments, place: Place) -> str | None:
    """The role that the movement ends with in ``place``; None where it is none of its business."""
    return next((after for one, _, after in wanted.roles if one == place), None)


def _roles(wanted: Mapping[Place, Mapping[str, str]], account: str) -> dict[Place, str]:
    return {place: roles[account] for place, roles in wanted.items() if account in roles}
