"""What would have to change for an organisation to be as our groups say. Pure: it asks nobody, and changes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from everproof.kernel.errors import InputError, RefusedError
from everproof.provisioning.memberships import Change, Held, Kind, Looked, Place
from everproof.provisioning.memberships_file import FILE_NAME, OrganisationLine

LAST_OWNER: Final = "somebody has to own it: it would have no owner left who is there"
STRANGER: Final = "nobody here has this account, and strangers are reported only"

Groups = Mapping[str, frozenset[str]]
"""The people who are active, each with all groups that they are in, by whatever way."""
Ranks = Mapping[Kind, Sequence[str]]
Wanted = Mapping[Place, Mapping[str, str]]


def wanted_of(line: OrganisationLine, people: Groups, ranks: Ranks) -> Wanted:
    """Who should be where with which role: of several roles in one place the strongest.

    Raises:
        InputError: the platform has no such role.
    """
    found: dict[Place, dict[str, str]] = {}
    for place, roles in line.places().items():
        known = ranks[place.kind]
        for role in roles:
            if role not in known:
                raise InputError(
                    f"there is no role {role} in a {place.kind} there", place=FILE_NAME, todo=f"use {', '.join(known)}"
                )
        here = found[place] = {}
        for role in sorted(roles, key=known.index):
            for person, groups in people.items():
                account = line.account_of(person)
                if account is not None and groups.intersection(roles[role]):
                    here[account] = role
    return found


def plan(line: OrganisationLine, wanted: Wanted, looked: Looked, ranks: Ranks) -> tuple[Change, ...]:
    """The changes, what is added before what is taken away; withheld ones are among them."""
    persons = {str(account): person for person, account in line.accounts.items()}
    keep = {str(one) for one in line.keep}
    owner = ranks["organisation"][-1]
    changes: list[Change] = []
    for place in line.places():
        held = looked.held.get(place, {})
        for account in sorted({*wanted[place], *held} - keep):
            change = _change(place, account, held.get(account), wanted[place].get(account, ""), persons)
            if change is not None:
                changes.append(change)
    changes = _without_implied(changes, looked, line.place, owner, ranks)
    changes = [_held_back(one, line) for one in changes]
    changes = keep_an_owner(changes, looked.held.get(line.place, {}), line.place, owner)
    return tuple(sorted(changes, key=lambda one: (one.removes, one.place.kind != "organisation")))


def allowed_at_once(line: OrganisationLine, changes: Iterable[Change]) -> None:
    """Refuse what would take away from more people than may be at once.

    Raises:
        RefusedError: it would.
    """
    removed = {one.account for one in changes if one.removes and not one.withheld}
    if len(removed) > line.at_most:
        raise RefusedError(
            f"{len(removed)} accounts would lose a place, and {line.at_most} may at once",
            todo=f"look at the plan; if it is meant, raise at_most in {FILE_NAME}",
        )


def _change(place: Place, account: str, held: Held | None, after: str, persons: Mapping[str, str]) -> Change | None:
    before = "" if held is None else held.role
    if before == after:
        return None
    return Change(
        place=place, account=account, before=before, after=after, login="" if held is None else held.login,
        person=persons.get(account, ""), pending=held is not None and held.pending,
    )  # fmt: skip


def _without_implied(
    changes: list[Change], looked: Looked, organisation: Place, owner: str, ranks: Ranks
) -> list[Change]:
    """Without what another change brings with it, or what an owner is by being one."""
    leaving = {one.account for one in changes if one.place == organisation and one.removes and one.person}
    owners = {account for account, one in looked.held.get(organisation, {}).items() if one.role == owner}
    return [
        one
        for one in changes
        if not (one.place.kind == "team" and one.account in leaving and one.removes)
        and not (one.place.kind == "team" and one.account in owners and one.before == ranks["team"][-1] and one.after)
    ]


def _held_back(change: Change, line: OrganisationLine) -> Change:
    if change.person or line.strangers == "remove":
        return change
    return msgspec.structs.replace(change, withheld=STRANGER)


def keep_an_owner(changes: Sequence[Change], held: Mapping[str, Held], place: Place, owner: str) -> list[Change]:
    """``changes``, those withheld after which nobody would own the organisation. Who is invited to does not yet."""
    there = {account for account, one in held.items() if one.role == owner and not one.pending}
    losing = {
        one.account: at
        for at, one in enumerate(changes)
        if one.place == place and one.account in there and one.after != owner and not one.withheld
    }
    if there - losing.keys():
        return list(changes)
    return [
        msgspec.structs.replace(one, withheld=LAST_OWNER) if at in losing.values() else one
        for at, one in enumerate(changes)
    ]
