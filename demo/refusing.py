"""What is refused, and why: taken down for docs/denials.md."""

import json
import re
from pathlib import Path

from demo.house import House
from demo.jobs import Answer
from demo.stage import expect
from demo.world import Failed, Person


def refused(house: House, person: Person, *command: str, why: str, at: Path | None = None) -> str:
    """What a command that must fail said, which must have ``why`` in it."""
    try:
        said = person.run(*command, at=at)
    except Failed as failure:
        house.refusals.append((" ".join([Path(command[0]).name, *command[1:]]), failure.output))
        expect(re.search(why, failure.output), f"refused, but with another reason: {failure.output}")
        lines = [line.removeprefix("remote:").strip() for line in failure.output.splitlines() if re.search(why, line)]
        return f"refused: {lines[0]}"
    expect(condition=False, otherwise=f"it went through: {said}")
    return ""


def not_given(house: House, answer: Answer, why: str) -> str:
    """Why the server did not give what was asked for."""
    house.refusals.append(
        (f"{answer.asked}    # {answer.status}", json.dumps(answer.json, indent=2, ensure_ascii=False))
    )
    expect(answer.status in {400, 401, 403}, f"status {answer.status}: {answer.json}")
    expect(re.search(why, answer.reason), f"refused, but with another reason: {answer.reason}")
    return f"refused: {answer.reason.splitlines()[0]}"
