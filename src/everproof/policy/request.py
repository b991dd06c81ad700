"""What is asked of the engine: a request with the closure of entities around it, and how that becomes bytes."""

from typing import Any

import msgspec

from everproof.kernel.words import NOTHING, Action, Attributes, Principal, Ref, Resource


class Request(msgspec.Struct, frozen=True):
    """One question. ``context`` holds the facts by name.

    ``others`` are further entities that policies may look at: groups with groups of their own, whom the context names,
    what an attribute of the resource names. Whatever is not among them has no attributes and no parents.
    """

    principal: Principal
    action: Action
    resource: Resource
    context: Attributes = NOTHING
    others: tuple[Principal | Resource, ...] = ()


class EntityBody(msgspec.Struct, frozen=True):
    """An entity in the engine's JSON form."""

    attrs: Attributes
    parents: tuple[Ref, ...]
    uid: Ref


def closure(request: Request) -> list[Principal | Resource]:
    """The entities of a request, each once. Of what is named twice, the principal counts first, then the resource."""
    principal, resource = request.principal, request.resource
    found: list[Principal | Resource] = [principal] if principal.ref == resource.ref else [principal, resource]
    if request.others:
        seen = {one.ref for one in found}
        for one in request.others:
            if one.ref not in seen:
                seen.add(one.ref)
                found.append(one)
    return found


def ancestry(ref: Ref, request: Request) -> frozenset[Ref]:
    """``ref`` and all that it is in, as far as the request tells."""
    known = closure(request)
    found = {ref}
    todo = [ref]
    while todo:
        at = todo.pop()
        for one in known:
            if one.ref == at:
                todo += [parent for parent in one.parents if parent not in found]
                found.update(one.parents)
    return frozenset(found)


def bodies(entities: list[Principal | Resource]) -> list[Any]:
    """The entities as they are recorded, with every attribute that was given."""
    return [EntityBody(one.attributes, one.parents, one.ref) for one in entities]
