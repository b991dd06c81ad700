from typing import Any

from everproof.cli.tree import draw


def one(number: int, parent: int | None) -> dict[str, Any]:
    principal = {"type": "User", "id": "ada"}
    named = None if parent is None else f"cred_{parent}"
    return {"id": f"cred_{number}", "parent": named, "kind": "access-token", "principal": principal}


def test_tree_is_drawn_with_its_branches() -> None:
    answer = {"ancestors": [one(0, None), one(1, 0)], "descendants": [one(2, 1), one(3, 1), one(4, 2)]}
    lines = draw(answer, "cred_1").splitlines()
    assert [line.partition("cred_")[0] for line in lines] == ["", "   └─ ", "      ├─ ", "      │  └─ ", "      └─ "]


def test_chain_as_deep_as_its_maker_likes_is_drawn() -> None:
    """A drawing that recursed would end with an error, and hide what was to be seen."""
    answer = {"ancestors": [one(0, None)], "descendants": [one(number + 1, number) for number in range(2_000)]}
    assert len(draw(answer, "cred_0").splitlines()) == 2_001
