import importlib
import subprocess
import sys

import pytest

from everproof.cli.main import FAMILIES

HEAVY = ["sqlalchemy", "cryptography", "starlette", "uvicorn", "cedarpy", "httpx", "opentelemetry", "joserfc", "rich"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "everproof.cli.main", *arguments], capture_output=True, text=True, check=False
    )


def test_help_names_every_family_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom everproof.cli.main import main\n"
        "sys.argv = ['everproof', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(f"  {name} " in done.stdout for name in FAMILIES)
    assert "..." not in done.stdout.partition("Commands:")[2], "a line of help is cut off"
    assert "HEAVY []" in done.stdout


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_there_and_explains_itself(family: str) -> None:
    importlib.import_module(f"everproof.cli.{family.replace('-', '_')}")
    done = run(family, "--help")
    assert done.returncode == 0
    assert "Usage: everproof" in done.stdout


def test_a_command_that_does_not_exist_is_a_usage_error() -> None:
    done = run("nonsense")
    assert done.returncode == 2
    assert "nonsense" in done.stderr
