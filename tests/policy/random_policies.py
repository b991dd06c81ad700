"""Random bundles and requests, over our schema with nested groups of actions added."""

import random
from typing import Any

import cedarpy

from everproof.kernel.words import Action, Principal, Ref, Resource
from everproof.policy import Request

SCHEMA = """
type Odd = { n?: Long, m?: Long, flag?: Bool, word?: String, words?: Set<String>, owner?: User };
entity Shelf in [Shelf, Space];
entity Book in [Shelf] = { word?: String, pages?: Long, owner?: User };
action outer;
action middle in [outer];
action inner in [middle, read];
action "book:open" in [inner] appliesTo { principal: [User, Service], resource: [Book, Shelf], context: Odd };
action "book:close" in [middle] appliesTo { principal: [User, Service], resource: [Book], context: Odd };
action "book:burn" in [outer, write] appliesTo { principal: [User], resource: [Book, Shelf], context: Odd };
"""

ACTIONS = {
    "book:open": (("User", "Service"), ("Book", "Shelf")),
    "book:close": (("User", "Service"), ("Book",)),
    "book:burn": (("User",), ("Book", "Shelf")),
}
ALL_ACTIONS = [*ACTIONS, "outer", "middle", "inner", "read", "write"]
CONDITIONS = [
    "context has n && context.n > 3",
    "context has n && context.n * 9223372036854775807 > 3",  # errs for most n
    "context has m && context has n && context.m + context.n == 7",
    "context has flag && context.flag",
    'context has word && context.word like "a*"',
    'context has words && context.words.contains("b")',
    "context has owner && context.owner == principal",
    'context has owner && context.owner in Group::"g1"',
    'principal has name && principal.name == "x"',
    'context has owner && !(context.owner in Group::"g2")',
    '!(context has owner) || context.owner == principal || context.owner in Group::"g1"',
    'context has owner && context.owner in User::"u1" && context.owner has name',
    "context has owner",
    "!(context has flag || context has n && context.n * 9223372036854775807 > 3)",
    "!(context has n && context.n * 9223372036854775807 > 3) && !(context has owner)",
    'principal in Group::"g2"',
    'context has word && context.word == "ab"',
    'context has word && "b" == context.word && context has n && context.n * 9223372036854775807 > 3',
    'context has n && context.n * 9223372036854775807 > 3 && context has word && context.word == "zz"',
    'principal has name && context has flag && !context.flag && principal.name == "y"',
    'resource is Book && resource has word && resource.word == "b"',
    'resource in Space::"s1"',
    "context == context && context has n",
    '{"has": 1, ".": context has n}["has"] == 1',
    "if context has flag then context.flag else context has n",
    "resource is Book && resource has pages && resource.pages > 10",
    'resource is Book && resource has owner && resource.owner has name && resource.owner.name == "x"',
    'principal is User && principal has manager && principal.manager in Group::"g1"',
]  # fmt: skip


def principal_scope(rng: random.Random) -> str:
    group = f'Group::"g{rng.randrange(4)}"'
    return rng.choice([
        "principal", "principal", f"principal in {group}", f"principal is User in {group}", "principal is Service",
        f'principal == User::"u{rng.randrange(3)}"', f'principal in User::"u{rng.randrange(3)}"',
        f'principal in Space::"s{rng.randrange(2)}"', f'principal is User in Space::"s{rng.randrange(2)}"',
        "principal is User",
    ])  # fmt: skip


def action_scope(rng: random.Random) -> str:
    some = ", ".join(f'Action::"{name}"' for name in rng.sample(ALL_ACTIONS, 2))
    return rng.choice([
        "action", f'action == Action::"{rng.choice(list(ACTIONS))}"', f'action in Action::"{rng.choice(ALL_ACTIONS)}"',
        f"action in [{some}]",
    ])  # fmt: skip


def resource_scope(rng: random.Random) -> str:
    return rng.choice([
        "resource", "resource", "resource is Book", "resource is Shelf", f'resource in Shelf::"k{rng.randrange(3)}"',
        f'resource is Book in Shelf::"k{rng.randrange(3)}"', f'resource == Book::"b{rng.randrange(3)}"',
        f'resource in Space::"s{rng.randrange(2)}"',
    ])  # fmt: skip


def policy(rng: random.Random, id_: str, schema: Any) -> str:
    """A policy that some request can match: the schema's validator refuses others."""
    while True:
        effect = "forbid" if rng.random() < 0.25 else "permit"
        clauses = "".join(
            f"\n{rng.choice(['when', 'when', 'unless'])} {{ {rng.choice(CONDITIONS)} }}"
            for _ in range(rng.randrange(3))
        )
        text = f'@id("{id_}") {effect} ({principal_scope(rng)}, {action_scope(rng)}, {resource_scope(rng)}){clauses};'
        if cedarpy.validate_policies(text, schema).validation_passed:
            return text


TEMPLATES = [
    '@id("t0") permit (principal in ?principal, action in Action::"middle", resource);',
    '@id("t1") permit (principal, action, resource in ?resource) when { context has flag && context.flag };',
    '@id("t2") forbid (principal == ?principal, action == Action::"book:open", resource is Book in ?resource);',
    '@id("t3") permit (principal is User in ?principal, action, resource == ?resource);',
]
LINKS = {
    "t0": ("principal = 'Group::\"g{n}\"'",),
    "t1": ("resource = 'Shelf::\"k{n}\"'",),
    "t2": ("principal = 'User::\"u{n}\"'", "resource = 'Shelf::\"k{n}\"'"),
    "t3": ("principal = 'Group::\"g{n}\"'", "resource = 'Book::\"b{n}\"'"),
}


def links(rng: random.Random) -> str:
    made = []
    for at in range(6):
        name = rng.choice(list(LINKS))
        slots = "\n".join(line.format(n=rng.randrange(3)) for line in LINKS[name])
        made.append(f'[[link]]\nid = "l{at}"\ntemplate = "{name}"\n{slots}\n')
    return "\n".join(made)


def some(rng: random.Random, **values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if rng.random() < 0.6}


def request(rng: random.Random) -> Request:
    action = rng.choice(list(ACTIONS))
    principals, resources = ACTIONS[action]
    groups = [Ref("Group", f"g{at}") for at in range(4)]
    nested = Resource(ref=groups[0], parents=tuple(rng.sample(groups[1:], rng.randrange(2))))
    user = Resource(
        ref=Ref("User", f"u{rng.randrange(3)}"),
        attributes=some(rng, name=rng.choice("xy")),
        parents=tuple(rng.sample(groups, rng.randrange(3))),
    )
    type_ = rng.choice(principals)
    attributes = some(rng, name=rng.choice("xy"), **({"manager": Ref("User", "u1")} if type_ == "User" else {}))
    who = Principal(
        ref=Ref(type_, f"{type_[0].lower()}{rng.randrange(3)}"),
        attributes=attributes,
        parents=(*rng.sample(groups, rng.randrange(3)), Ref("Space", f"s{rng.randrange(2)}")),
    )
    shelves = [Ref("Shelf", f"k{at}") for at in range(3)]
    shelf = Resource(ref=shelves[0], parents=(Ref("Space", f"s{rng.randrange(2)}"),))
    if rng.choice(resources) == "Book":
        what = Resource(
            ref=Ref("Book", f"b{rng.randrange(3)}"),
            attributes=some(rng, word="a", pages=rng.randrange(20), owner=Ref("User", f"u{rng.randrange(3)}")),
            parents=tuple(rng.sample(shelves, rng.randrange(3))),
        )
    else:
        what = Resource(ref=rng.choice(shelves), parents=(Ref("Space", f"s{rng.randrange(2)}"),))
    context = some(
        rng, n=rng.choice([0, 1, 4, 2**62]), m=rng.randrange(8), flag=rng.random() < 0.5, word=rng.choice(["ab", "b"]),
        words=rng.choice([["a"], ["b", "c"], []]), owner=Ref("User", f"u{rng.randrange(3)}"),
    )  # fmt: skip
    others = tuple(one for one in (nested, user, shelf) if rng.random() < 0.7)
    return Request(who, Action(action), what, context, others)
