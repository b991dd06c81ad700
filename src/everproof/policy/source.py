"""Cedar text with its places: tokens, statements, and where in them an error of the engine belongs.

The engine names errors without a place. Its parser reads from left to right, so a word that it did not expect is the
first such word that already ends a beginning of the text with the same error; other errors name what they are about.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from everproof.policy.errors import BundleError

_TOKEN: Final = re.compile(
    r"""
    (?P<space>[ \t\r\n\f\v]+|//[^\n]*)
  | (?P<string>"(?:[^"\\]|\\.)*")
  | (?P<name>[?]?[A-Za-z_][A-Za-z0-9_]*)
  | (?P<number>[0-9]+)
  | (?P<sign>::|==|!=|<=|>=|&&|\|\||[()\[\]{}<>=!&|+*/%.,:;@?-])
    """,
    re.VERBOSE | re.DOTALL,
)
_QUOTED: Final = re.compile(r"`([^`]+)`")
_BARE: Final = re.compile(r"[?][a-z]+|(?<=@)[a-z]+|[A-Za-z_]+$")
MAX_DEPTH: Final = 100
"""Brackets within brackets. With 1,000 the engine's parser runs out of stack and takes the process with it."""

_DEEPER: Final = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
MAX_LINE: Final = 160
"""Characters of a line that are shown with an error in it."""

_TOO_SHORT: Final = "unexpected end of input"
_CARET: Final = "^"


class Token(msgspec.Struct, frozen=True):
    """One word of the text, from ``start`` to ``end``."""

    text: str
    start: int
    end: int


class Text(msgspec.Struct, frozen=True):
    """A file of Cedar."""

    path: str
    text: str

    def place(self, offset: int) -> str:
        """``file:line:column`` of an offset, both counted from 1."""
        before = self.text[:offset]
        return f"{self.path}:{before.count(chr(10)) + 1}:{offset - before.rfind(chr(10))}"

    def line(self, offset: int) -> int:
        """The number of the line, counted from 1."""
        return self.text.count("\n", 0, offset) + 1

    def error(self, message: str, offset: int, *, todo: str | None = None) -> BundleError:
        """An error at ``offset``, with its line and a mark under it."""
        start = self.text.rfind("\n", 0, offset) + 1
        end = self.text.find("\n", offset)
        line = self.text[start : end if end >= 0 else len(self.text)].rstrip("\r")
        column = offset - start
        if len(line) > MAX_LINE:
            cut = max(0, column - MAX_LINE // 2)
            line = ("…" if cut else "") + line[cut : cut + MAX_LINE]
            column -= cut - bool(cut)
        number = str(self.line(offset))
        # Tabs stay tabs in the second line, so that the mark stands under what it marks.
        indent = "".join("\t" if char == "\t" else " " for char in line[:column])
        excerpt = f"  {number} | {line}\n  {' ' * len(number)} | {indent}{_CARET}"
        return BundleError(message, place=self.place(offset), todo=todo, excerpt=excerpt)

    def tokens(self) -> list[Token]:
        """The words of the text, without blanks and comments.

        Raises:
            BundleError: a character that no Cedar has, or a string without an end.
        """
        found: list[Token] = []
        at = depth = 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                what = f"{self.text[at]!r} has no place in Cedar" if self.text[at] != '"' else "the string has no end"
                raise self.error(what, at)
            if match.lastgroup != "space":
                found.append(Token(match.group(), at, match.end()))
                depth += _DEEPER.get(match.group(), 0)
                if depth > MAX_DEPTH:
                    raise self.error("nested too deeply", at, todo="write it as several conditions or policies")
            at = match.end()
        return found


class Statement(msgspec.Struct, frozen=True):
    """One policy or template of a file, from its first annotation to its semicolon."""

    source: Text
    tokens: tuple[Token, ...]

    @property
    def start(self) -> int:
        """Where it begins."""
        return self.tokens[0].start

    @property
    def text(self) -> str:
        """Its text."""
        return self.source.text[self.start : self.tokens[-1].end]

    def find(self, *words: str) -> int | None:
        """Where these words stand one after the other: the offset of the last of them."""
        texts = [token.text for token in self.tokens]
        for at in range(len(texts) - len(words) + 1):
            if tuple(texts[at : at + len(words)]) == words:
                return self.tokens[at + len(words) - 1].start
        return None

    def syntax_error(self, message: str, parse: Callable[[str], object]) -> BundleError:
        """The error that the engine found in this text, at its place."""
        last = self.tokens[-1]
        if _TOO_SHORT in message:
            return self.source.error("the policy has no end", last.end - 1, todo="end it with a semicolon")
        for name in _QUOTED.findall(message):
            for token in self.tokens:
                beginning = self.source.text[self.start : token.end]
                if token.text == name and _error(beginning, parse) == message:
                    return self.source.error(plainly(message), token.start)
        offset = self.named(message)
        return self.source.error(plainly(message), self.start if offset is None else offset)

    def named(self, message: str) -> int | None:
        """Where the first thing that ``message`` names stands in this text."""
        for name in [*_QUOTED.findall(message), *re.findall(r"'([^']+)'", message), *_BARE.findall(message)]:
            inner = re.fullmatch(r'.*::("(?:[^"\\]|\\.)*")', name)
            for words in ((".", name), ("has", name), (inner[1],) if inner else (name,), (f'"{name}"',)):
                offset = self.find(*words)
                if offset is not None:
                    return offset
        return None


def statements(source: Text) -> list[Statement]:
    """The policies of a file; what follows the last semicolon is one too, for the engine to complain of."""
    found: list[Statement] = []
    current: list[Token] = []
    for token in source.tokens():
        current.append(token)
        if token.text == ";":
            found.append(Statement(source, tuple(current)))
            current = []
    if current:
        found.append(Statement(source, tuple(current)))
    return found


def _error(text: str, parse: Callable[[str], object]) -> str | None:
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return None


def plainly(message: str) -> str:
    """The engine's message as one line, without the words in front that say where it comes from."""
    for prefix in ("error parsing schema: ", "failed to parse policies: ", "Failed to parse policies: "):
        message = message.removeprefix(prefix)
    return " ".join(message.split())


def plain_messages(policy: str, messages: Iterable[str]) -> list[str]:
    """Messages of the validator, each once, without the policy's name in front."""
    return list(dict.fromkeys(plainly(one.removeprefix(f"for policy `{policy}`, ")) for one in messages))
