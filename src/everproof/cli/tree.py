"""The lineage of a credential, drawn as a tree."""

from typing import Any

from everproof.cli.terminal import paint, printable
from everproof.cli.values import name_of


def draw(answer: dict[str, Any], wanted: str) -> str:
    """The tree of a lineage."""
    ancestors, descendants = answer["ancestors"], answer["descendants"]
    lines = [f"{'   ' * depth}{'└─ ' if depth else ''}{_line(one, wanted)}" for depth, one in enumerate(ancestors)]

    def below(parent: str, indent: str) -> None:
        children = [one for one in descendants if one["parent"] == parent]
        for number, one in enumerate(children):
            last = number == len(children) - 1
            lines.append(f"{indent}{'└─ ' if last else '├─ '}{_line(one, wanted)}")
            below(one["id"], f"{indent}{'   ' if last else '│  '}")

    below(wanted, "   " * len(ancestors))
    return "\n".join(lines)


def _line(one: dict[str, Any], wanted: str) -> str:
    name = paint(one["id"], "strong") if one["id"] == wanted else printable(one["id"])
    dead = paint(f"  revoked: {printable(one['revoked_reason'])}", "bad") if one.get("revoked_at") else ""
    for_whom = f" for {one['audience']}" if one.get("audience") else ""
    return f"{name}  {printable(one['kind'])} of {printable(name_of(one['principal']))}{printable(for_whom)}{dead}"
