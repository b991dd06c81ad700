"""Slices: of all policies those that a request can match at all.

By action and types first, then by the entities that scopes name and by the texts that policies are pinned to. The scope
of a policy is evaluated first and cannot err, nor can what is pinned, so a slice gives the decision, the reasons and
the errors of the whole, in a fraction of the time. A slice also knows which attributes its policies read: no other
attribute can change what they say, so no other is handed over.
"""

from functools import cached_property
from typing import Final, TypeAlias

from everproof.kernel.words import Principal, Ref, Resource
from everproof.policy.balance import policy_set
from everproof.policy.bundle import Bundle, Policy
from everproof.policy.parts import Parts
from everproof.policy.pins import Pin, pin_of
from everproof.policy.request import EntityBody, Request, closure
from everproof.policy.schema import Schema
from everproof.policy.schema_text import ActionType
from everproof.policy.scopes import matching, named_entity, reads
from everproof.policy.types import MisfitError, Shape

MAX_SLICES: Final = 2_000
"""Slices kept for one kind of request, some 10 kB each; beyond it the kind is evaluated as a whole."""

MAX_OUTSIDE: Final = 20
"""Permits for others that an explanation looks at: whoever is in none of their groups is not helped by more."""

Kind: TypeAlias = tuple[str, str, str]
"""Action, principal type and resource type."""


Key: TypeAlias = tuple[frozenset[Ref], frozenset[Ref], tuple[str | None, ...]]
"""The entities and texts that scopes and pins name and that a request has."""


class Slice:
    """What some requests of one kind need, ready to be asked."""

    def __init__(
        self, schema: Schema, action: ActionType, kind: Kind, policies: tuple[Policy, ...], read: frozenset[str]
    ) -> None:
        self.policies = tuple(policy for policy in policies if not policy.shadow)
        self.shadows = tuple(policy for policy in policies if policy.shadow)
        self.handle = policy_set((policy.id, policy.est) for policy in self.policies)
        # As permits, all that apply are named as reasons; a forbid would hide them.
        self.shadow_handle = policy_set((policy.id, {**policy.est, "effect": "permit"}) for policy in self.shadows)
        self.schema = schema.narrowed(action, kind[1], kind[2], read)
        self.context = Shape(action.context, read)
        self._shapes = {one.name: Shape(one.attributes, read) for one in schema.types.entities.values()}
        self._reach = schema.reach

    @cached_property
    def parts(self) -> Parts:
        """The policies taken apart, for an explanation."""
        return Parts(self.policies)

    def entities(self, request: Request) -> list[EntityBody]:
        """The closure of the request, with the attributes that are read.

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
            found.append(EntityBody(shape.fit(one.attributes, where), one.parents, one.ref))
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
        self._pinned = {policy.id: pinned for policy in found if (pinned := pin_of(policy)) is not None}
        texts: dict[Pin, set[str]] = {}
        for found_pin, text in self._pinned.values():
            texts.setdefault(found_pin, set()).add(text)
        self._pins = tuple((pin, frozenset(texts[pin])) for pin in sorted(texts))
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

    def slice(self, request: Request) -> Slice:
        """The slice for this request."""
        if not (self._named or self._pins):
            return self.whole
        key = self._key(request)
        found = self._slices.get(key)
        if found is None:
            if len(self._slices) >= MAX_SLICES:
                return self.whole
            principals, resources, texts = key
            pins = {pin: text for (pin, _), text in zip(self._pins, texts, strict=True)}
            fitting = tuple(
                policy
                for policy, principal, resource in self._scoped
                if (principal is None or principal in principals)
                and (resource is None or resource in resources)
                and (policy.id not in self._pinned or pins[self._pinned[policy.id][0]] == self._pinned[policy.id][1])
            )
            found = self._slices[key] = self._made(fitting)
        return found

    def _key(self, request: Request) -> Key:
        """What of the request decides which policies it can match."""
        named = self._named
        texts = []
        for pin, among in self._pins:
            value = pin.value(request)
            texts.append(value if type(value) is str and value in among else None)
        return (
            _around(request.principal, request, named),
            _around(request.resource, request, named),
            tuple(texts),
        )

    def near(self, request: Request) -> Slice:
        """The slice with what else an explanation looks at: pinned policies, and permits whose scope is missed."""
        key = self._key(request)
        found = self._near.get(key)
        if found is None:
            principals, resources, _ = key
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

    def _made(self, policies: tuple[Policy, ...]) -> Slice:
        read = frozenset[str]().union(*(self._reads[policy.id] for policy in policies))
        return Slice(self._schema, self._action, self._kind, policies, read)


def _around(one: Principal | Resource, request: Request, named: frozenset[Ref]) -> frozenset[Ref]:
    """Of the entities that scopes name, those that ``one`` is or is in."""
    around = {one.ref, *one.parents}
    if request.others or request.principal.ref == request.resource.ref:
        above = {known.ref: known.parents for known in closure(request)}
        todo = [one.ref, *one.parents]
        while todo:
            new = set(above.get(todo.pop(), ())) - around
            around |= new
            todo += new
    return named.intersection(around)
