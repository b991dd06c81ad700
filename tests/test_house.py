"""The house looks as docs/house.md draws it."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "everproof"
MODULES = sorted(SOURCE.rglob("*.py"))
LONGEST = 400


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_module_is_longer_than_what_says_one_thing(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= LONGEST


def test_only_authorize_knows_what_makes_an_allowed() -> None:
    knowing = {
        module.relative_to(SOURCE).parts[0]
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Name | ast.alias | ast.Attribute)
        and "_SEAL" in (getattr(node, "id", ""), getattr(node, "name", ""), getattr(node, "attr", ""))
    }
    assert knowing == {"authorize"}


def test_only_stores_speak_sql() -> None:
    """In a room, `store.py` (or a store of one thing, `…_store.py`) is the one module that speaks to the tables."""
    speaking = {
        module.relative_to(SOURCE)
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ImportFrom)
        and node.module == "sqlalchemy"
        and {"select", "insert", "update", "delete", "Table"} & {alias.name for alias in node.names}
    }
    outside = {path for path in speaking if path.parts[0] != "storage" and not path.stem.endswith("store")}
    assert outside == set()
