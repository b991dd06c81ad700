"""The schema: ours, and what a bundle adds to it in ``schema/*.cedarschema``."""

import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Final

from cedarpy import Schema as Handle

from everproof.policy.errors import BundleError
from everproof.policy.schema_text import ActionType, Entity, read_types
from everproof.policy.source import Statement, Text, plainly
from everproof.policy.types import Record, declared

FOLDER: Final = "schema/"
SUFFIX: Final = ".cedarschema"
OURS: Final = resources.files("everproof.policy").joinpath("schema.cedarschema").read_text(encoding="utf-8")
SAID: Final = "said"
"""The one attribute of the context that Everproof does not speak for."""

_SAID_TYPE: Final = "type Said = {};"
ACTION: Final = "Action"


class Schema:
    """A schema that the engine has accepted."""

    def __init__(self, text: str) -> None:
        self.handle = Handle.from_str(text)
        self.types = read_types(str(self.handle))
        self.version = hashlib.sha256(text.encode()).hexdigest()[:12]
        self._groups: dict[str, frozenset[str]] = {}
        self._reach: dict[str, frozenset[str]] = {}
        self._narrowed: dict[tuple[str, str, str, frozenset[str]], Handle] = {}

    @property
    def facts(self) -> frozenset[str]:
        """The names in the context that Everproof speaks for: what a caller says under one of them is no fact."""
        facts = self.types.common.get("Facts")
        return frozenset(facts.attributes) - {SAID} if isinstance(facts, Record) else frozenset()

    def action(self, name: str) -> ActionType | None:
        """The action of this name."""
        return self.types.actions.get((ACTION, name))

    def entity(self, type_: str) -> Entity | None:
        """The entity type of this name."""
        return self.types.entities.get(type_)

    def groups(self, action: str) -> frozenset[str]:
        """The action and every group that it is in, through groups of groups."""
        found = self._groups.get(action)
        if found is None:
            seen = {action}
            todo = [action]
            while todo:
                declaration = self.action(todo.pop())
                new = {name for type_, name in declaration.parents if type_ == ACTION} - seen if declaration else set()
                seen |= new
                todo += new
            found = self._groups[action] = frozenset(seen)
        return found

    def reach(self, type_: str) -> frozenset[str]:
        """The types of which an entity of ``type_`` may be a descendant, its own included: it may be that entity."""
        found = self._reach.get(type_)
        if found is None:
            seen = {type_}
            todo = [type_]
            while todo:
                declaration = self.entity(todo.pop())
                new = declaration.parents - seen if declaration else frozenset()
                seen |= new
                todo += new
            found = self._reach[type_] = frozenset(seen)
        return found

    def narrowed(self, action: ActionType, principal: str, resource: str, reads: frozenset[str]) -> Handle:
        """The schema for one kind of request: one action with its groups, and of all attributes those in ``reads``.

        The engine's work for a request grows with the schema's actions and with the attributes that are declared and
        given; a slice of policies looks at few of either.
        """
        key = (action.name, principal, resource, reads)
        found = self._narrowed.get(key)
        if found is None:
            found = self._narrowed[key] = self._narrow(action, principal, resource, reads)
        return found

    def _narrow(self, action: ActionType, principal: str, resource: str, reads: frozenset[str]) -> Handle:
        if any("::" in name for name in (*self.types.entities, *(type_ for type_, _ in action.parents))):
            return self.handle
        lines = []
        for entity in self.types.entities.values():
            parents = f" in [{', '.join(sorted(entity.parents))}]" if entity.parents else ""
            if entity.ids:
                quoted = ", ".join(_quoted(one) for one in entity.ids)
                lines.append(f"entity {entity.name} enum [{quoted}];")
            else:
                lines.append(f"entity {entity.name}{parents} = {_kept(entity.attributes, reads)};")
        for name in self.groups(action.name):
            group = self.types.actions[ACTION, name]
            parents = ", ".join(_quoted(parent) for _, parent in group.parents)
            applies = ""
            if name == action.name:
                context = _kept(action.context, reads)
                applies = f" appliesTo {{ principal: [{principal}], resource: [{resource}], context: {context} }}"
            lines.append(f"action {_quoted(name)}{f' in [{parents}]' if parents else ''}{applies};")
        return Handle.from_str("\n".join(lines))


def _kept(record: Record, reads: frozenset[str]) -> str:
    kept = (declared(name, attribute) for name, attribute in record.attributes.items() if name in reads)
    return f"{{{', '.join(kept)}}}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def schema_of(files: Mapping[str, bytes]) -> Schema:
    """Our schema with the additions of a bundle.

    Raises:
        BundleError: an addition cannot be read, or declares what there is already; with its place.
    """
    added = [
        Text(path, decoded(path, files[path]))
        for path in sorted(files)
        if path.startswith(FOLDER) and path.endswith(SUFFIX)
    ]
    texts = []
    ours = OURS
    for text in added:
        statement = _words(text)
        if statement is None:
            continue
        texts.append(text.text)
        if statement.find("type", "Said") is not None:
            ours = ours.replace(_SAID_TYPE, "")
        try:
            Handle.from_str(text.text)
        except ValueError as error:
            if "unexpected" in str(error):
                raise statement.syntax_error(str(error), Handle.from_str) from error
    try:
        return Schema("\n".join((ours, *texts)))
    except ValueError as error:
        raise _conflict(str(error), added) from error


def _conflict(message: str, added: list[Text]) -> BundleError:
    for text in reversed(added):
        statement = _words(text)
        offset = statement.named(message) if statement is not None else None
        if offset is not None:
            return text.error(plainly(message), offset)
    return BundleError(plainly(message), place=", ".join(text.path for text in added))


def _words(text: Text) -> Statement | None:
    tokens = text.tokens()
    return Statement(text, tuple(tokens)) if tokens else None


def decoded(path: str, content: bytes) -> str:
    """The text of a file of the bundle.

    Raises:
        BundleError: it is not UTF-8.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BundleError("not UTF-8", place=path) from error
