"""The refusal that docs/git.md shows is one that a push gets."""

import re
from pathlib import Path

from tests.git.conftest import Running

PAGE = Path(__file__).parents[2] / "docs" / "git.md"
CHANGING = re.compile(r"[0-9a-f]{12}(?= \")|SHA256:[A-Za-z0-9+/]{43}|ent_[0-9a-f]{32}|entry \d+")


def lines(text: str) -> list[str]:
    """The lines of a refusal without names that differ each time, and without the policy room's own words."""
    said = [CHANGING.sub("-", line.rstrip()) for line in text.split("\n") if line.startswith("remote:")]
    ours = [number for number, line in enumerate(said) if line.startswith(("remote:   denied", "remote:   recorded"))]
    return said[: ours[0]] + said[ours[1] :]


async def test_refusal_in_the_documentation_is_a_real_one(lab: Running) -> None:
    lab.repository()
    alice = await lab.clone(await lab.enrol(lab.person("alice")))
    await alice.commit("Add the parser")
    assert (await alice.push()).ok
    await alice.commit("Fix the parser", sign=False)
    await alice.commit("Raise the limit", GIT_AUTHOR_NAME="ceo", GIT_AUTHOR_EMAIL="ceo@x.test")
    ran = await alice.push()
    shown = PAGE.read_text().partition("## A refusal")[2]
    assert lines(ran.said) == lines(shown)
