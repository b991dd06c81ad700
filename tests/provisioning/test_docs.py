"""What docs/provisioning.md shows works."""

import re
from pathlib import Path
from typing import Any

from everproof.identity import roster
from everproof.kernel.words import Ref
from tests.scim.conftest import Site

PAGE = Path(__file__).parents[2] / "docs" / "provisioning.md"


class Api:
    """A wiki's."""

    def __init__(self) -> None:
        self.closed: dict[str, str] = {}

    async def close(self, at: str, *, idempotency_key: str) -> str:
        self.closed[at] = idempotency_key
        return at

    async def open(self, at: str, *, idempotency_key: str) -> None:
        assert idempotency_key
        del self.closed[at]

    async def is_closed(self, at: str) -> bool:
        return at in self.closed


async def test_example_closes_the_pages_of_a_leaver(quick: Site) -> None:
    match = re.search(r"(?ms)^```python\n(.*?)^```", PAGE.read_text())
    assert match is not None
    names: dict[str, Any] = {}
    exec(match[1], names)
    api, lifecycle, person = Api(), quick.app.provisioning.lifecycle, Ref("User", "alice")
    names["register"](lifecycle, api)
    await quick.app.storage.write(lambda tx: roster.add_principal(tx, person, groups=["writers"]))
    left = await quick.app.storage.write(lambda tx: lifecycle.leave(tx, person, Ref("User", "ada")))
    await quick.app.work.idle()
    assert left.effect is not None
    assert quick.app.work.effects.effect(left.effect.id).stage == "verified"
    assert list(api.closed) == ["wiki:alice"]
