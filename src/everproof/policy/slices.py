"""Slices: of all policies those that a request can match at all.

By action and types first, then by what a request's key answers: which of the entities that scopes name it is in, and
what conditions ask before anything can err. The scope of a policy is evaluated first and cannot err, nor can those
tests, so a slice gives the decision, the reasons and the errors of the whole, in a fraction of the time. A slice also
knows what its policies look at: no other attribute or entity can change what they say, so no other is handed over.
"""

from collections.abc import Iterable
from functools import cached_property
from typing import Final, TypeAlias

from everproof.kernel.words import Principal, Ref, Resource
from everproof.policy.balance import policy_set
from everproof.policy.bundle import Bundle, Policy
from everproof.policy.parts import Parts
from everproof.policy.pins import Answer, Pin, tests_of
from everproof.policy.request import EntityBody, Request, ancestry, closure
from everproof.policy.schema import Schema
from everproof.policy.schema_text import ActionType
from everproof.policy.scopes import asks_who, looks_around, matching, named_entity, reads, settled
from everproof.policy.types import MisfitError, Shape, names_entity

MAX_SLICES: Final = 2_000
"""Slices kept for one kind of request, some 10 kB each; beyond it the kind is evaluated as a whole."""

MAX_OUTSIDE: Final = 20
"""Permits for others that an explanation looks at: whoever is in none of their groups is not helped by more."""

Kind: TypeAlias = tuple[str, str, str]
"""Action, principal type and resource type."""


Key: TypeAlias = tuple[frozenset[Ref], frozenset[Ref], frozenset[str], tuple[Answer, ...]]
"""The entities that scopes name and that principal and resource are or are in, which facts there are, and what the
pins answer."""


class Slice:
    """What some requests of one kind need, ready to be asked. ``matched``: all of them match every scope."""

    def __init__(
        self,
        schema: Schema,
        action: ActionType,
        kind: Kind,
        policies: tuple[Policy, ...],
        read: frozenset[str],
        *,
        matched: bool = False,
    ) -> None:
        self.policies = tuple(policy for policy in policies if not policy.shadow)
        self.shadows = tuple(policy for policy in policies if policy.shadow)
        asked = {policy.id: settled(policy.est) if matched else policy.est for policy in policies}
        self.handle = policy_set((policy.id, asked[policy.id]) for policy in self.policies)
        # As permits, all that apply are named as reasons; a forbid would hide them.
        self.shadow_handle = policy_set((one.id, {**asked[one.id], "effect": "permit"}) for one in self.shadows)
        self.schema = schema.narrowed(action, kind[1], kind[2], read)
        self.context = Shape(action.context, read)
        self._shapes = {one.name: Shape(one.attributes, read) for one in schema.types.entities.values()}
        self._reach = schema.reach
        records = (action.context, *(one.attributes for one in schema.types.entities.values()))
        follows = any(
            names_entity(record.attributes[name].type) for record in records for name in read & record.attributes.keys()
        )
        self._alone = matched and not follows and not looks_around(policies)
        enums = any(schema.types.entities[name].ids for name in kind[1:])
        self.impersonal = self._alone and kind[1] != kind[2] and not enums and not asks_who(policies)
        """Whether all that can make a difference between two requests of the slice is their attributes."""

    @cached_property
    def parts(self) -> Parts:
        """The policies taken apart, for an explanation."""
        return Parts(self.policies)

    def entities(self, request: Request) -> list[EntityBody]:
        """Of the closure of the request what is looked at.

        Raises:
            MisfitError: an entity is not as the schema has it.
        """
        found = []
        for one in closure(request):
            type_ = one.ref.type
            where = "principal" if one is request.principal else "resource" if one is request.resource else str(one.ref)
            shape = self._shapes.get(type_)
            if shape is None:
                raise MisfitError(f"{where}: there is no type {type_} in the schema")
            reach = self._reach(type_)
            for parent in one.parents:
                if parent.type not in reach:
                    raise MisfitError(f"{where}.parents: a {type_} cannot be in a {parent.type}")
            attributes = shape.fit(one.attributes, where)
            if not self._alone:
                found.append(EntityBody(attributes, one.parents, one.ref))
            elif attributes and (one is request.principal or one is request.resource):
                found.append(EntityBody(attributes, (), one.ref))
        return found


class Sliced:
    """The policies of one kind of request, and their slices by the entities that scopes name.

    Raises:
        MisfitError: the schema has no such kind of request.
    """

    def __init__(self, bundle: Bundle, kind: Kind) -> None:
        self._schema = schema = bundle.schema
        name, principal, resource = kind
        action = schema.action(name)
        if action is None:
            raise MisfitError(f"action: there is no {name} in the schema")
        if principal not in action.principals:
            raise MisfitError(f"principal: a {principal} is nobody who can {name}")
        if resource not in action.resources:
            raise MisfitError(f"resource: {name} is not done to a {resource}")
        self._kind = kind
        self._action = action
        self.uid = {"type": "Action", "id": name}
        found = matching(bundle.policies, schema, action, principal, resource)
        self._scoped = [
            (policy, named_entity(policy.est["principal"]), named_entity(policy.est["resource"])) for policy in found
        ]
        self._tests = {policy.id: tests for policy in found if (tests := tests_of(policy))}
        values: dict[Pin, set[str | Ref]] = {}
        for test in (test for tests in self._tests.values() for test in tests):
            values.setdefault(test.pin, set()).update(() if test.value is None else (test.value,))
        self._pins = tuple((pin, frozenset(values[pin])) for pin in sorted(values) if pin.ask != "presence")
        self._optional = frozenset(pin.attribute for pin in values if pin.ask == "presence")
        self._reads = {policy.id: reads(policy, action.context.attributes) for policy in found}
        self._named = frozenset(ref for _, *refs in self._scoped for ref in refs if ref is not None)
        self._slices: dict[Key, Slice] = {}
        self._near: dict[Key, Slice] = {}
        self.policies = found
        self._whole: Slice | None = None

    @property
    def whole(self) -> Slice:
        """All policies of the kind."""
        if self._whole is None:
            self._whole = self._made(self.policies)
        return self._whole

    def could_turn(self, reasons: Iterable[str], facts: frozenset[str]) -> bool:
        """Whether ``facts`` that come, go or change could turn what ``reasons`` allow into what is denied.

        They cannot where no forbid looks at them, nor one permit of those that allow it.
        """
        if not facts.isdisjoint(self._forbids_read):
            return True
        return not any(facts.isdisjoint(self._reads[id_]) for id_ in reasons)

    @cached_property
    def looked_at(self) -> frozenset[str]:
        """The names of all attributes that any of the policies looks at."""
        return frozenset[str]().union(*self._reads.values())

    @cached_property
    def _forbids_read(self) -> frozenset[str]:
        binding = (one.id for one in self.policies if one.effect == "forbid" and not one.shadow)
        return frozenset[str]().union(*(self._reads[id_] for id_ in binding))

    def slice(self, request: Request) -> Slice:
        """The slice for this request."""
        if not (self._named or self._tests):
            return self.whole
        key = self._key(request)
        found = self._slices.get(key)
        if found is None:
            if len(self._slices) >= MAX_SLICES:
                return self.whole
            principals, resources, present, given = key
            answers: dict[Pin, Answer] = {pin: answer for (pin, _), answer in zip(self._pins, given, strict=True)}
            answers |= {Pin("presence", "context", name): name in present for name in self._optional}
            fitting = tuple(
                policy
                for policy, principal, resource in self._scoped
                if (principal is None or principal in principals)
                and (resource is None or resource in resources)
                and not any(test.fails(answers[test.pin]) for test in self._tests.get(policy.id, ()))
            )
            found = self._slices[key] = self._made(fitting, matched=True)
        return found

    def _key(self, request: Request) -> Key:
        """What of the request decides which policies it can match."""
        named = self._named
        return (
            _around(request.principal, request, named),
            _around(request.resource, request, named),
            self._optional.intersection(request.context),
            tuple([pin.answer(request, among) for pin, among in self._pins]),
        )

    def near(self, request: Request) -> Slice:
        """The slice with what else an explanation looks at: pinned policies, and permits whose scope is missed."""
        key = self._key(request)
        found = self._near.get(key)
        if found is None:
            principals, resources, *_ = key
            missed = [
                (
                    int(bool(principal) and principal not in principals)
                    + int(bool(resource) and resource not in resources),
                    at,
                )
                for at, (_, principal, resource) in enumerate(self._scoped)
            ]
            inside = [at for misses, at in missed if misses == 0]
            outside = [at for misses, at in sorted(missed) if misses and self._scoped[at][0].effect == "permit"]
            found = self._made(tuple(self._scoped[at][0] for at in (*inside, *outside[:MAX_OUTSIDE])))
            if len(self._near) < MAX_SLICES:
                self._near[key] = found
        return found

    def _made(self, policies: tuple[Policy, ...], *, matched: bool = False) -> Slice:
        read = frozenset[str]().union(*(self._reads[policy.id] for policy in policies))
        return Slice(self._schema, self._action, self._kind, policies, read, matched=matched)


def _around(one: Principal | Resource, request: Request, named: frozenset[Ref]) -> frozenset[Ref]:
    """Of the entities that scopes name, those that ``one`` is or is in."""
    around = frozenset((one.ref, *one.parents))
    known = (request.principal, request.resource, *request.others)
    if any(other.ref in around and other is not one for other in known):
        around |= ancestry(one.ref, request)
    return named & around
