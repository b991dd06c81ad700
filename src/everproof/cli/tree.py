"""The lineage of a credential, drawn as a tree."""

from typing import Any

from everproof.cli.terminal import paint, printable
from everproof.cli.values import name_of


def draw(answer: dict[str, Any], wanted: str) -> str:
    """The tree of a lineage."""
    ancestors, descendants = answer["ancestors"], answer["descendants"]
    lines = [f"{'   ' * depth}{'└─ ' if depth else ''}{_line(one, wanted)}" for depth, one in enumerate(ancestors)]

    children: dict[str, list[Any]] = {}
    for one in descendants:
        children.setdefault(one["parent"], []).append(one)
    # By hand rather than by recursion: how deep a tree is, those decide who issue themselves one token after another.
    waiting = [("   " * len(ancestors), children.get(wanted, []))]
    while waiting:
        indent, line = waiting.pop()
        if not line:
            continue
        one, *rest = line
        waiting.append((indent, rest))
        lines.append(f"{indent}{'├─ ' if rest else '└─ '}{_line(one, wanted)}")
        waiting.append((indent + ("│  " if rest else "   "), children.get(one["id"], [])))
    return "\n".join(lines)


def _line(one: dict[str, Any], wanted: str) -> str:
    name = paint(one["id"], "strong") if one["id"] == wanted else printable(one["id"])
    dead = paint(f"  revoked: {printable(one['revoked_reason'])}", "bad") if one.get("revoked_at") else ""
    for_whom = f" for {one['audience']}" if one.get("audience") else ""
    return f"{name}  {printable(one['kind'])} of {printable(name_of(one['principal']))}{printable(for_whom)}{dead}"
