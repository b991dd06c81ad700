"""The hook starts at once: it imports the standard library and nothing else."""

import subprocess
import sys
import time

import pytest

MODULES = ["everproof.cli.git.guard", "everproof.cli.git.serve", "everproof.cli.git.keys"]
HEAVY = {"msgspec", "typer", "rich", "httpx", "sqlalchemy", "cryptography", "asyncio", "everproof.kernel"}


@pytest.mark.parametrize("module", MODULES)
def test_hook_and_ssh_command_import_the_standard_library_alone(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    assert not HEAVY & set(said.split())


def test_hook_starts_in_less_than_150_ms() -> None:
    def start() -> float:
        before = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-c", "import everproof.cli.git.guard"], check=True)
        return time.perf_counter() - before

    # The best of many: what the machine is busy with besides is not the hook's.
    assert min(start() for _ in range(10)) < 0.150
