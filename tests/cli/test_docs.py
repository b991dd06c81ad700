"""What docs/ says of the commands is what the commands are."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from scripts import docs
from typer.core import TyperGroup

from everproof.cli.main import FAMILIES
from everproof.cli.main import app as everproof

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", docs.PAGES)
def test_no_generated_page_is_stale(name: str) -> None:
    assert (ROOT / name).read_text() == docs.page(name), "run make docs"


def test_every_command_that_a_page_names_is_there() -> None:
    root = typer.main.get_command(everproof)
    assert isinstance(root, TyperGroup)
    context = root.make_context("everproof", [], resilient_parsing=True)
    for page in (ROOT / "docs").glob("*.md"):
        text = page.read_text()
        scripts = "\n".join(re.findall(r"(?ms)^```sh[^\n]*\n(.*?)^```$", text))
        typed = re.findall(r"(?m)^everproof ((?:[a-z-]+ ?)+)", scripts)
        typed += re.findall(r"(?m)^\$ everproof ((?:[a-z-]+ ?)+)", text)
        for line in typed:
            words = shlex.split(line)
            assert words[0] in FAMILIES, f"{page.name}: everproof {line}"
            command = root.get_command(context, words[0])
            if isinstance(command, TyperGroup):
                assert len(words) == 1 or words[1] in command.list_commands(context), f"{page.name}: everproof {line}"


def test_no_line_of_help_is_cut_off() -> None:
    root = typer.main.get_command(everproof)
    assert isinstance(root, TyperGroup)
    context = root.make_context("everproof", [], resilient_parsing=True)
    for name in FAMILIES:
        command = root.get_command(context, name)
        if isinstance(command, TyperGroup):
            with typer.Context(command, info_name=name) as inner:
                assert "..." not in command.get_help(inner).partition("Commands:")[2], name
