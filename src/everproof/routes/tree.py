"""Path templates, and which of them a path is: one, or it is refused.

Every template that a path fits is found in one walk, linear in the path. Of several the one counts that is at least as
particular at every segment; where two are each more particular at one, servers differ, and the path is refused. So is
one that a service would take for another template if it looked neither at case nor at a slash at the end.
"""

import re
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

import msgspec

from everproof.kernel.errors import InputError, RefusedError
from everproof.routes.paths import AmbiguousPathError, loosened, read_target

T = TypeVar("T")

MAX_TEMPLATE: Final = 1024
_PARAMETER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.-]{0,63}?)(\.\.\.)?\}")
_LITERAL, _NAMED, _REST = "0", "1", "2"
"""Of a segment: how particular a template is about it."""


class NoRouteError(RefusedError):
    """The request is in no route map."""

    code = "no-route"


class AmbiguousRouteError(RefusedError):
    """The request fits two routes, and servers differ in which of them it is."""

    code = "ambiguous-route"


class Part(msgspec.Struct, frozen=True):
    """One segment of a template: a text, a parameter, or with ``rest`` a parameter for all that follows."""

    text: str
    parameter: bool = False
    rest: bool = False


class Template(msgspec.Struct, frozen=True):
    """A path template, such as ``/projects/{project}/pages/{page...}``."""

    text: str
    parts: tuple[Part, ...]

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of its parameters, in order."""
        return tuple(part.text for part in self.parts if part.parameter)

    @property
    def rest(self) -> str | None:
        """The name of the parameter that takes all that follows."""
        return self.parts[-1].text if self.parts[-1].rest else None

    @property
    def loosened(self) -> tuple[str, ...]:
        """What it is to a server that looks neither at case nor at a slash at the end."""
        parts = self.parts[:-1] if self.parts[-1].text == "" else self.parts
        return tuple(
            f"{{{'...' if part.rest else ''}}}" if part.parameter else f"/{loosened(part.text)}" for part in parts
        )

    def values(self, segments: tuple[str, ...]) -> dict[str, str]:
        """What its parameters are in a path that fits it."""
        found = {}
        for at, part in enumerate(self.parts):
            if part.parameter:
                found[part.text] = "/".join(segments[at:]) if part.rest else segments[at]
        return found


def read_template(text: str) -> Template:
    """The template that ``text`` is. A literal is written as a request has it, escapes included.

    Raises:
        InputError: it is none, or a request for one of its literals would be refused.
    """
    if not text.startswith("/") or "?" in text or len(text) > MAX_TEMPLATE:
        raise InputError(f"a path begins with /, has no query, and at most {MAX_TEMPLATE} characters")
    parts: list[Part] = []
    for raw in text[1:].split("/"):
        if parts and parts[-1].rest:
            raise InputError("a parameter with ... takes all that follows, so it comes last")
        match = _PARAMETER.fullmatch(raw)
        if match is not None:
            parts.append(Part(match[1], parameter=True, rest=match[2] is not None))
        elif "{" in raw or "}" in raw:
            raise InputError(f"{raw!r} is neither a text nor a parameter: a parameter is a whole segment, {{name}}")
        else:
            parts.append(Part(raw))
    plain = "/".join("x" if part.parameter else part.text for part in parts)
    try:
        segments = read_target(f"/{plain}").segments
    except AmbiguousPathError as error:
        raise InputError(f"no request for it would be let through: {error.message}") from error
    parts = [part if part.parameter else Part(segment) for part, segment in zip(parts, segments, strict=True)]
    names = [part.text for part in parts if part.parameter]
    if len(set(names)) != len(names):
        raise InputError("a parameter is there twice")
    return Template(text, tuple(parts))


class _Node(Generic[T]):
    __slots__ = ("here", "literals", "named", "rest")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[T]] = {}
        self.named: _Node[T] | None = None
        self.here: list[tuple[Template, T]] = []
        self.rest: list[tuple[Template, T]] = []


class Tree(Generic[T]):
    """Templates, each with what it stands for."""

    def __init__(self) -> None:
        self._exact: _Node[T] = _Node()
        self._loose: _Node[T] = _Node()

    def add(self, template: Template, value: T) -> None:
        """Add a template.

        Raises:
            InputError: there is one already that fits the very same paths.
        """
        home = self._place(self._exact, template.parts, loose=False)
        if home:
            raise InputError(f"{home[0][0].text} is the same path")
        home.append((template, value))
        parts = template.parts[:-1] if template.parts[-1].text == "" else template.parts
        self._place(self._loose, parts, loose=True).append((template, value))

    def find(self, segments: tuple[str, ...]) -> tuple[Template, T]:
        """The one template that a path fits.

        Raises:
            NoRouteError: it fits none.
            AmbiguousRouteError: servers differ in which it fits.
        """
        found = _most_particular(_walk(self._exact, segments))
        if not found:
            raise NoRouteError("no route has this path", place="path")
        if len(found) > 1:
            names = " and ".join(sorted(template.text for template, _ in found))
            raise AmbiguousRouteError(f"the path is both {names}", place="path")
        [(template, value)] = found
        bare = segments[:-1] if segments[-1] == "" else segments
        for other, _ in _most_particular(_walk(self._loose, tuple(map(loosened, bare)), ending=True)):
            if other is not template and other.loosened != template.loosened:
                raise AmbiguousRouteError(
                    f"a server that is not strict about case, or about what ends a path, takes it for {other.text}",
                    place="path",
                    todo="ask for the path exactly as the service names it",
                )
        return template, value

    @staticmethod
    def _place(node: _Node[T], parts: tuple[Part, ...], *, loose: bool) -> list[tuple[Template, T]]:
        for part in parts:
            if part.rest:
                return node.rest
            if part.parameter:
                node.named = node.named or _Node()
                node = node.named
            else:
                node = node.literals.setdefault(loosened(part.text) if loose else part.text, _Node())
        return node.here


def _walk(
    root: _Node[T], segments: tuple[str, ...], *, ending: bool = False
) -> Iterator[tuple[str, list[tuple[Template, T]]]]:
    """Every template that fits, each with how particular it is; ``ending``: a rest may also be of nothing."""
    nodes = [("", root)]
    for segment in segments:
        following: list[tuple[str, _Node[T]]] = []
        for kinds, node in nodes:
            if node.rest:
                yield kinds + _REST, node.rest
            if (literal := node.literals.get(segment)) is not None:
                following.append((kinds + _LITERAL, literal))
            if node.named is not None and segment:
                following.append((kinds + _NAMED, node.named))
        nodes = following
    for kinds, node in nodes:
        if node.here:
            yield kinds, node.here
        if ending and node.rest:
            yield kinds + _REST, node.rest


def _most_particular(found: Iterator[tuple[str, list[tuple[Template, T]]]]) -> list[tuple[Template, T]]:
    fitting = list(found)
    return [
        one
        for kinds, here in fitting
        if not any(other != kinds and _at_least_as_particular(other, kinds) for other, _ in fitting)
        for one in here
    ]


def _at_least_as_particular(one: str, other: str) -> bool:
    """Whether ``one`` is at least as particular as ``other`` at every segment; past its end, a rest stands for all."""
    length = max(len(one), len(other))
    filled = (kinds.ljust(length, kinds[-1:] or _LITERAL) for kinds in (one, other))
    return all(a <= b for a, b in zip(*filled, strict=True))
