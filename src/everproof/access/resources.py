"""Requests and grants as what policy is asked about: resources of the type Grant."""

from collections.abc import Iterable
from typing import Any

from everproof.access.kit_store import Kit
from everproof.access.records import Answer, Body, GrantRecord
from everproof.authorize.facts import entity
from everproof.kernel.words import MAIN_SPACE, Ref, Resource


def of_request(body: Body, answers: Iterable[Answer]) -> Resource:
    """A request; ``owners`` and ``owner_groups`` are whom the bundle's rules name for it."""
    attributes = {
        "requester": _entity(body.requester),
        "action": body.action,
        "duration": body.seconds,
        "resource_type": body.resource.type,
        "resource_id": body.resource.id,
        "reason": bool(body.reason),
        "needs": body.needs,
        "owners": _entities(body.owners, "User"),
        "owner_groups": _entities(body.owners, "Group"),
        "approved_by": _entities((one.by for one in answers), "User"),
    }
    return Resource(ref=Ref("Grant", body.id), attributes=attributes, parents=(MAIN_SPACE,))


def of_grant(grant: GrantRecord, body: Body | None) -> Resource:
    """A grant that was given, with what its request said."""
    attributes: dict[str, Any] = {
        "requester": _entity(grant.principal),
        "action": " ".join(grant.actions),
        "duration": int((grant.expires - grant.began).total_seconds()),
        "resource_type": grant.resource.type,
        "resource_id": grant.resource.id,
        "approved_by": _entities(grant.approvers, "User"),
        "break_glass": grant.break_glass,
    }
    if body is not None:
        attributes |= {"owners": _entities(body.owners, "User"), "owner_groups": _entities(body.owners, "Group")}
    return Resource(ref=Ref("Grant", grant.id), attributes=attributes, parents=(MAIN_SPACE,))


def of_kit(kit: Kit, *, named: bool = True) -> Resource:
    """A kit of break-glass. Where it is made or withdrawn nobody is its owner: being named for one makes none."""
    attributes = {
        "action": " ".join(kit.actions),
        "duration": kit.seconds,
        "resource_type": kit.resource.type,
        "resource_id": kit.resource.id,
        "break_glass": True,
        "owners": _entities(kit.people, "User") if named else [],
    }
    return Resource(ref=Ref("Grant", kit.id), attributes=attributes, parents=(MAIN_SPACE,))


def of_person(asker: Ref) -> Resource:
    """What concerns whoever asks: their own list."""
    return Resource(ref=Ref("Grant", "requests"), attributes={"requester": _entity(asker)}, parents=(MAIN_SPACE,))


def _entity(ref: Ref) -> dict[str, dict[str, str]]:
    return entity(ref.type, ref.id)


def _entities(refs: Iterable[Ref], type_: str) -> list[dict[str, dict[str, str]]]:
    return [_entity(one) for one in refs if one.type == type_]
