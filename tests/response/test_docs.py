"""What docs/response.md shows works."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from everproof.kernel.words import Ref
from everproof.work import Task
from tests.response.conftest import House

PAGE = Path(__file__).parents[2] / "docs" / "response.md"


async def test_example_ends_a_token_at_its_platform(house: House) -> None:
    match = re.search(r"(?ms)^```python\n(.*?)^```", PAGE.read_text())
    assert match is not None
    revoked: list[str] = []

    async def revoke(task: Task) -> None:
        revoked.append(task.payload["token"])

    house.work.register("platform.revoke", revoke)
    async with house.running() as work:
        one = await house.issue()
        held = {one.id: [SimpleNamespace(id="ghs_1", name="the release job's token")]}
        names: dict[str, Any] = {
            "containment": house.containment,
            "tokens_of": lambda _connection, ids: [token for id_ in ids for token in held[id_]],
        }
        exec(match[1], names)
        found = house.containment.look(Ref("Credential", one.id))
        assert [errand.told for errand in found.errands] == ["revoke the release job's token at the platform"]
        await house.storage.write(
            lambda tx: house.containment.begin(tx, found, by=Ref("User", "alice"), reason="stolen")
        )
        await work.idle()
        assert revoked == ["ghs_1"]
