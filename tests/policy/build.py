"""Short ways to make requests and bundles."""

from typing import Any

from everproof.kernel.words import Action, Principal, Ref, Resource
from everproof.policy import Bundle, Engine, Request, Verdict, load_bundle

MAIN = (Ref("Space", "main"),)


def ref(text: str) -> Ref:
    type_, _, id_ = text.partition(":")
    return Ref(type_, id_)


def who(name: str, /, *parents: str, **attributes: Any) -> Principal:
    return Principal(ref=ref(name), attributes=attributes, parents=tuple(map(ref, parents)))


def what(name: str, /, *parents: str, **attributes: Any) -> Resource:
    return Resource(ref=ref(name), attributes=attributes, parents=tuple(map(ref, parents)) or MAIN)


def asks(principal: Principal, action: str, resource: Resource, *others: Resource, **context: Any) -> Request:
    return Request(principal, Action(action), resource, context, others)


def bundle(*policies: str, **files: str) -> Bundle:
    """Policies named a, b, c, ... unless they name themselves; other files by name, __ for a slash, _ for a dot."""
    named = [one if "@id" in one else f'@id("{chr(97 + at)}") {one}' for at, one in enumerate(policies)]
    more = {name.replace("__", "/").replace("_", "."): text.encode() for name, text in files.items()}
    return load_bundle({"policies/test.cedar": "\n".join(named).encode(), **more})


def decide(request: Request, *policies: str, **files: str) -> Verdict:
    return Engine(bundle(*policies, **files)).decide(request)
