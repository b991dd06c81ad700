import contextlib
import sys
from typing import Any

import pytest
import typer

from everproof.cli.run import app
from everproof.cli.step.environment import scrubbed
from everproof.cli.step.options import Options, read
from everproof.kernel.errors import InputError

LOADED_LATE = ["typer", "httpx", "msgspec", "pathlib", "subprocess", "http", "urllib", "argparse", "inspect", "joserfc"]


def the_long_way(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> Options | None:
    """What the command line's own library makes of ``words``."""
    found: list[Options] = []

    def run(options: Options) -> int:
        found.append(options)
        return 0

    monkeypatch.setattr("everproof.cli.step.step.run", run)
    command: Any = typer.main.get_command(app)
    with contextlib.suppress(SystemExit):
        command.main(args=list(words), prog_name="everproof run", standalone_mode=True)
    return found[0] if found else None


@pytest.mark.parametrize(
    "line",
    [
        "--stage build -- make",
        "--stage=deploy --on=Repository::acme/shop --env A --env=B=c=d -- ./deploy --stage test -- x",
        "--timeout 5 --grace 0 --lifetime 60 --record-arguments --stage test --proof env:TOKEN -- make test",
        "--server https://e.example --ca /ca.pem --audience x --stage publish -- true",
    ],
)
def test_both_ways_read_the_same(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    words = line.split()
    assert read(words) is not None
    assert read(words) == the_long_way(monkeypatch, words)


@pytest.mark.parametrize(
    "line",
    [
        "", "--help", "--stage build", "--stage build --", "--stage release -- make", "-- make", "--stage build make",
        "--stage build --timeout x -- make", "--stage build --stage test -- make", "--stage --proof -- make",
        "--stage build --nothing -- make", "--timeout ٣ --stage build -- make",
        "--record-arguments=no --stage build -- x",
    ],
)  # fmt: skip
def test_what_is_not_well_formed_is_left_to_the_long_way(line: str) -> None:
    assert read(line.split()) is None


def test_nothing_heavy_is_loaded_before_a_step() -> None:
    import subprocess

    code = "import sys, everproof.cli.main, everproof.cli.step.step; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(LOADED_LATE) & {name.partition(".")[0] for name in done.stdout.split()}


def test_what_proves_the_job_is_never_given_on() -> None:
    inherited = {"PATH": "/bin", "MY_TOKEN": "x", "OIDC": "x", "NAME": "value", "OTHER": "x"}
    assert scrubbed(inherited, ["NAME", "NEW=a=b", "ABSENT"]) == {"PATH": "/bin", "NAME": "value", "NEW": "a=b"}
    for name in (
        "MY_TOKEN", "my_token", "MY_TOKEN=x", "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_RUNTIME_TOKEN", "CI_JOB_JWT_V2",
        "CI_JOB_TOKEN", "CI_REGISTRY_PASSWORD", "GITHUB_TOKEN", "EVERPROOF_ID_TOKEN", "EVERPROOF_SESSION=/x",
        "LD_PRELOAD=x", "SSH_AUTH_SOCK", "CIRCLE_OIDC_TOKEN_V2", "OIDC", "", "=x",
    ):  # fmt: skip
        with pytest.raises(InputError):
            scrubbed(inherited, [name], proof="OIDC")
