"""What docs/work.md shows works."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from everproof.storage import Transaction
from tests.work.conftest import House

PAGE = Path(__file__).parents[2] / "docs" / "work.md"


class Platform:
    """Answers in turn."""

    def __init__(self) -> None:
        self.answers = ["slow down", "revoked"]
        self.keys: list[str] = []

    async def revoke(self, token: str, *, idempotency_key: str) -> str:
        assert token == "ghs_1"
        self.keys.append(idempotency_key)
        return self.answers.pop(0)


async def test_example_revokes_a_token_an_hour_later(house: House) -> None:
    match = re.search(r"(?ms)^```python\n(.*?)^```", PAGE.read_text())
    assert match is not None
    names: dict[str, Any] = {}
    exec(match[1], names)
    platform = Platform()
    names["register"](house.work, platform)
    async with house.running() as work:

        def issue(tx: Transaction) -> None:
            names["issued"](work, tx, "ghs_1")

        await house.storage.write(issue)
        await work.idle()
        assert platform.keys == []
        for _ in range(2):
            house.clock.advance(timedelta(hours=1))
            work.wake()
            await work.idle()
        assert platform.keys == ["platform/ghs_1"] * 2
        assert [job.state for job in work.jobs(verb="platform.revoke")] == ["done"]
