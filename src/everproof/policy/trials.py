"""Tests of policies, beside them in ``policies/NAME.test.toml``: a request and the decision that is expected.

    [[entity]]
    is = 'Job::"build"'
    in = ['Space::"main"']
    attributes = { repository_id = "74" }

    [[test]]
    name = "a job fetches its own source"
    principal = 'Job::"build"'
    action = "git:fetch"
    resource = 'Repository::"shop"'
    context = { key_bound = true }
    expect = "allow"
    by = "jobs/fetch-own-source"

An entity that is not described has no attributes and is in ``Space::"main"``.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, Final, Literal

import msgspec

from everproof.kernel.errors import InputError
from everproof.kernel.toml import parse_toml
from everproof.kernel.words import Action, Attributes, Principal, Ref, Resource
from everproof.policy.errors import BundleError
from everproof.policy.references import read_ref, with_refs
from everproof.policy.request import Request
from everproof.policy.schema import Schema
from everproof.policy.source import Text
from everproof.policy.types import Record

HOME: Final = (Ref("Space", "main"),)

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One test. ``by`` names the policy that must be among those that decide."""

    name: str
    place: str
    request: Request
    allowed: bool
    by: str | None = None


class _Entity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"is_": "is", "in_": "in"}):
    is_: _Text
    in_: tuple[_Text, ...] = ('Space::"main"',)
    attributes: dict[str, Any] = {}


class _Test(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: _Text
    principal: _Text
    action: _Text
    resource: _Text
    expect: Literal["allow", "deny"]
    context: dict[str, Any] = {}
    by: str | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    entity: tuple[_Entity, ...] = ()
    test: tuple[_Test, ...] = ()


def trials_of(text: Text, schema: Schema, policies: AbstractSet[str]) -> list[Trial]:
    """The tests of one file.

    Raises:
        BundleError: the file cannot be read, or a test speaks of what is not there.
    """
    try:
        file = parse_toml(text.text, _File, place=text.path)
    except InputError as error:
        raise BundleError(error.message, place=error.place) from error
    reader = _Reader(text, schema)
    entities = {}
    for entity in file.entity:
        ref = reader.ref(entity.is_, entity.is_)
        attributes = reader.attributes(entity, ref)
        parents = tuple(reader.ref(parent, entity.is_) for parent in entity.in_)
        entities[ref] = Resource(ref=ref, attributes=attributes, parents=parents)
    return [reader.trial(test, entities, policies) for test in file.test]


class _Reader:
    def __init__(self, text: Text, schema: Schema) -> None:
        self._text = text
        self._schema = schema

    def error(self, message: str, near: str) -> BundleError:
        return self._text.error(message, max(self._text.text.find(near), 0))

    def ref(self, text: str, near: str) -> Ref:
        ref = read_ref(text)
        if ref is None:
            raise self.error(f'{text!r} names no entity; one looks like User::"alice"', near)
        if self._schema.entity(ref.type) is None:
            raise self.error(f"there is no type {ref.type} in the schema", near)
        return ref

    def attributes(self, entity: _Entity, ref: Ref) -> Attributes:
        declared = self._schema.entity(ref.type)
        assert declared is not None
        return self._known(entity.attributes, declared.attributes, ref.type, entity.is_)

    def trial(self, test: _Test, entities: Mapping[Ref, Resource], policies: AbstractSet[str]) -> Trial:
        near = test.name
        action = self._schema.action(test.action)
        if action is None:
            raise self.error(f"there is no action {test.action} in the schema", near)
        if test.by is not None and test.by not in policies:
            raise self.error(f"there is no policy {test.by!r}", near)
        principal, resource = self.ref(test.principal, near), self.ref(test.resource, near)
        who = entities.get(principal) or Resource(ref=principal, parents=HOME)
        request = Request(
            principal=Principal(ref=principal, attributes=who.attributes, parents=who.parents),
            action=Action(test.action),
            resource=entities.get(resource) or Resource(ref=resource, parents=HOME),
            context=self._known(test.context, action.context, "the context", near),
            others=tuple(one for ref, one in entities.items() if ref not in (principal, resource)),
        )
        at = max(self._text.text.find(near), 0)
        place = f"{self._text.path}:{self._text.line(at)}"
        return Trial(name=test.name, place=place, request=request, allowed=test.expect == "allow", by=test.by)

    def _known(self, values: dict[str, Any], record: Record, of: str, near: str) -> Attributes:
        unknown = values.keys() - record.attributes.keys()
        if unknown:
            raise self.error(f"{of} has no attribute {min(unknown)} in the schema", near)
        found: Attributes = with_refs(values, record)
        return found
