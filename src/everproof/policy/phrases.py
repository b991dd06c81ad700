"""What a condition and its actual value come to in words: "mfa_age was 3 h 12 min, the policy allows 15 min"."""

import re
from collections.abc import Callable
from typing import Any, Final

from everproof.kernel.words import Ref
from everproof.policy.balance import Est
from everproof.policy.expressions import Path, literal, path_of, pattern, written
from everproof.policy.sight import Seen, Sight, as_ref

SECONDS: Final = re.compile(r"(.*_)?(age|lifetime|duration|seconds|ttl|expires_in)")
"""Names of attributes that hold a number of seconds."""
MAX_SHOWN: Final = 120
"""Characters of a value; the rest is cut."""

_MIRROR: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_CONTRARY: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def duration(seconds: int) -> str:
    """A number of seconds in its two largest units: ``3 h 12 min``."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    for at, (size, unit) in enumerate(_UNITS):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            text = f"{whole} {unit}"
            if at + 1 < len(_UNITS):
                smaller, name = _UNITS[at + 1]
                text += f" {rest // smaller} {name}" if rest >= smaller else ""
            return text
    return "0 s"


def kind(type_: str) -> str:
    """The name of a type in a sentence: ``CloudRole`` is a cloud role."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type_.rpartition("::")[2]).lower()


def named(ref: Ref) -> str:
    """An entity in a sentence."""
    return f"{kind(ref.type)} {ref.id}"


def shown(value: Any, path: Path | None = None) -> str:
    """A value in a sentence; what a path of seconds leads to as a duration."""
    if type(value) is int and path is not None and path.attributes and SECONDS.fullmatch(path.attributes[-1]):
        return duration(value)
    if (ref := as_ref(value)) is not None:
        return named(ref)
    if isinstance(value, str):
        return _cut(value) if value and value.isprintable() else _cut(literal(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | set | frozenset):
        return _cut(", ".join(shown(one) for one in value)) or "empty"
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def subject(path: Path, sight: Sight) -> str:
    """What a path means in a sentence: facts by their own name, attributes by whose they are."""
    if path.root == "context":
        return ".".join(path.attributes) or "the context"
    if not path.attributes:
        return named(sight.ref(path.root))
    return f"the {kind(sight.ref(path.root).type)}'s {'.'.join(path.attributes)}"


def sentence(leaf: Est, sight: Sight, *, wanted: bool, limit: Est | None = None) -> str:
    """What is the matter with ``leaf``, which is not ``wanted``.

    ``limit`` is a later clause about the same attribute, for a leaf that asks whether it is there at all.
    """
    [(operator, inner)] = leaf.items()
    path = path_of(leaf)
    if path is not None:
        return _value(sight.see(path), sight, "true" if wanted else "false")
    if operator == "has":
        return _presence(inner, sight, wanted=wanted, limit=limit)
    if operator in _MIRROR:
        return _comparison(operator, inner, sight, wanted=wanted)
    write = _PHRASES.get(operator)
    found = write(inner, sight, wanted=wanted) if write is not None else None
    return found or _plain(leaf, wanted=wanted)


def _plain(leaf: Est, *, wanted: bool) -> str:
    if "Value" in leaf:
        return f"the policy says {written(leaf)}"
    return f"{written(leaf)} is {'false' if wanted else 'true'}"


def _is(path: Path) -> str:
    timed = path.attributes and SECONDS.fullmatch(path.attributes[-1])
    return "was" if timed else "is"


def _value(seen: Seen, sight: Sight, wants: str) -> str:
    what = subject(seen.path, sight)
    if seen.absent:
        return f"{what} is not known, the policy wants {wants}"
    return f"{what} {_is(seen.path)} {shown(seen.value, seen.path)}, the policy wants {wants}"


def _presence(inner: Est, sight: Sight, *, wanted: bool, limit: Est | None) -> str:
    left = path_of(inner["left"])
    if left is None:
        return f"{written(inner['left'])} has {'no' if wanted else 'a'} {inner['attr']}"
    path = Path(left.root, (*left.attributes, inner["attr"]))
    what = subject(path, sight)
    if not wanted:
        return f"{what} is given, the policy wants it absent"
    wants = _wants(limit, path) if limit is not None else None
    return f"{what} is not known" + (f", the policy {wants}" if wants else "")


def _wants(clause: Est, path: Path) -> str | None:
    """What a clause asks of the attribute at ``path``, if it is a comparison with a literal."""
    [(operator, inner)] = clause.items()
    if path_of(clause) == path:
        return "wants true"
    if operator == "!" and path_of(inner["arg"]) == path:
        return "wants false"
    if operator in _MIRROR:
        for here, there, relation in (("left", "right", operator), ("right", "left", _MIRROR[operator])):
            if path_of(inner[here]) == path and "Value" in inner[there]:
                return _bound(relation, inner[there]["Value"], path)
    return None


def _bound(relation: str, value: Any, path: Path) -> str:
    text = shown(value, path)
    timed = type(value) is int and text != str(value)
    if relation == "==":
        return f"wants {text}"
    if relation == "!=":
        return f"wants anything but {text}"
    if relation in {"<", "<="}:
        return f"allows {text}" if timed else f"allows {'less than' if relation == '<' else 'at most'} {text}"
    return f"wants {'more than' if relation == '>' else 'at least'} {text}"


def _comparison(operator: str, inner: Est, sight: Sight, *, wanted: bool) -> str:
    relation = operator if wanted else _CONTRARY[operator]
    left, right = path_of(inner["left"]), path_of(inner["right"])
    if left is None and right is not None:
        left, right = right, left
        inner = {"left": inner["right"], "right": inner["left"]}
        relation = _MIRROR[relation]
    if left is None:
        return _plain({operator: inner}, wanted=wanted)
    seen = sight.see(left)
    what = subject(left, sight)
    actual = "not known" if seen.absent else shown(seen.value, left) if left.attributes else "itself"
    if right is not None:
        other = sight.see(right)
        against = "not known" if other.absent else shown(other.value, right)
        if relation in {"==", "!="} and not (left.attributes and right.attributes):
            (bare, _), (path, value) = sorted(
                ((left, actual), (right, against)), key=lambda one: len(one[0].attributes)
            )
            held = f" ({value})" if path.attributes else ""
            return f"{subject(path, sight)}{held} is {'not ' if relation == '==' else ''}{subject(bare, sight)}"
        ties = {"==": "the same", "!=": "different ones"}.get(relation, written({relation: inner}))
        return f"{what} is {actual} and {subject(right, sight)} is {against}, the policy wants {ties}"
    if "Value" not in inner["right"]:
        return f"{what} is {actual}, the policy wants {written({relation: inner})}"
    value = inner["right"]["Value"]
    if not left.attributes:
        ref = as_ref(value)
        return f"{what} is {'not ' if relation == '==' else ''}{named(ref) if ref else literal(value)}"
    return f"{what} {_is(left)} {actual}, the policy {_bound(relation, value, left)}"


def _membership(inner: Est, sight: Sight, *, wanted: bool) -> str | None:
    left = path_of(inner["left"])
    if left is None:
        return None
    right = inner["right"]
    targets = right.get("Set", [right])
    refs = [as_ref(target["Value"]) for target in targets if "Value" in target]
    where = " or ".join(named(ref) for ref in refs if ref is not None) or written(right)
    seen = sight.see(left)
    who = subject(left, sight)
    if left.attributes:
        who += " (not known)" if seen.absent else f" ({shown(seen.value)})"
    return f"{who} is {'not ' if wanted else ''}in {where}"


def _type(inner: Est, sight: Sight, *, wanted: bool) -> str | None:
    who = path_of(inner["left"])
    if who is None or "in" in inner:
        return None
    return f"{subject(who, sight)} is {'not ' if wanted else ''}a {kind(inner['entity_type'])}"


def _likeness(inner: Est, sight: Sight, *, wanted: bool) -> str | None:
    text = path_of(inner["left"])
    form = pattern(inner["pattern"])[1:-1]
    return _value(sight.see(text), sight, form if wanted else f"anything but {form}") if text is not None else None


def _containment(inner: Est, sight: Sight, *, wanted: bool) -> str | None:
    asked = path_of(inner["right"])
    if asked is not None and "Set" in inner["left"] and all("Value" in one for one in inner["left"]["Set"]):
        choices = ", ".join(shown(one["Value"]) for one in inner["left"]["Set"])
        return _value(sight.see(asked), sight, f"one of {choices}" if wanted else f"none of {choices}")
    held = path_of(inner["left"])
    if held is not None and "Value" in inner["right"]:
        item = shown(inner["right"]["Value"])
        return _value(sight.see(held), sight, f"{item} {'among them' if wanted else 'not among them'}")
    return None


_PHRASES: Final[dict[str, Callable[..., str | None]]] = {
    "in": _membership,
    "is": _type,
    "like": _likeness,
    "contains": _containment,
}
