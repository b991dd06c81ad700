"""What stands in ci/: read as the platforms read it, and its shell run as they would run it."""

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml  # type: ignore[import-untyped]

from tests.delivery.site import Site
from tests.issuer import _tls

CI = Path(__file__).parents[2] / "ci"
ACTION = yaml.safe_load((CI / "github" / "action.yml").read_text())
SPEC, COMPONENT = yaml.safe_load_all((CI / "gitlab" / "templates" / "step.yml").read_text())
JENKINS = (CI / "jenkins" / "vars" / "everproofRun.groovy").read_text()

HOSTILE = 'printf "%s|" "$ONE" two; echo $(id -u) `echo ticks`; : "; exit 9" \'$0\' ${STEP_STAGE:-unset}'
"""What would be run twice, or as another command, if any shell expanded it on its way."""


def shell_of_jenkins() -> str:
    match = re.search(r"script: '''\n(.*?)'''", JENKINS, re.DOTALL)
    assert match is not None
    return match[1]


def environment(site: Site, **words: str) -> dict[str, str]:
    given = {"STEP_STAGE": "build", "STEP_RUN": HOSTILE, "STEP_ENV": "ONE=a  b * $HOME\nGREETING", "GREETING": "hi"}
    empty = {"STEP_ON": "", "STEP_LIFETIME": "", "STEP_GRACE": "", "STEP_TIMEOUT": ""}
    return {**site.runner(), **empty, **given, **words}


def expected() -> str:
    return f"a  b * $HOME|two|{os.getuid()} ticks\n"


@pytest.mark.parametrize("shell", ["step.sh", "gitlab", "jenkins"])
def test_what_was_given_reaches_the_command_as_it_is(site: Site, shell: str) -> None:
    script = {
        "step.sh": (CI / "step.sh").read_text(),
        "gitlab": COMPONENT["$[[ inputs.job ]]"]["script"][0],
        "jenkins": shell_of_jenkins(),
    }[shell]
    done = subprocess.run(
        ["sh", "-c", script], env=environment(site), capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout) == (0, expected()), done.stderr


def test_a_stage_that_is_an_option_is_no_stage(site: Site) -> None:
    words = {"STEP_STAGE": "--proof=session", "STEP_RUN": "echo ran"}
    done = subprocess.run(
        ["sh", str(CI / "step.sh")],
        env=environment(site, **words),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 2
    assert "ran" not in done.stdout


def test_the_action_takes_inputs_as_variables_alone() -> None:
    [step] = ACTION["runs"]["steps"]
    assert "${{" not in step["run"]
    used = {name for text in step["env"].values() for name in re.findall(r"inputs\.([\w-]+)", text)}
    assert used | {"working-directory"} == set(ACTION["inputs"])


def test_the_action_runs_with_a_token_that_it_asks_the_runner_for(site: Site) -> None:
    [step] = ACTION["runs"]["steps"]
    inputs = {name: one.get("default", "") for name, one in ACTION["inputs"].items()}
    inputs |= {"stage": "build", "run": HOSTILE, "server": site.url, "ca": str(site.ca), "env": "ONE=a  b * $HOME"}
    filled = {
        name: re.sub(
            r"\$\{\{ (?:inputs\.([\w-]+)|github\.action_path) \}\}",
            lambda match: inputs[match[1]] if match[1] else str(CI / "github"),
            text,
        )
        for name, text in step["env"].items()
    }
    with runners_tokens(site) as (url, ca, asked):
        runner = {name: value for name, value in site.runner().items() if name != "EVERPROOF_ID_TOKEN"}
        runner |= {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "leak-bearer"}
        runner |= {"SSL_CERT_FILE": str(ca), **filled}
        script = site.folder / "composite.sh"
        script.write_text(step["run"])
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)], env=runner,
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, expected()), done.stderr
    assert asked == [("bearer leak-bearer", site.url)]


def test_the_component_takes_inputs_as_variables_alone() -> None:
    job = COMPONENT["$[[ inputs.job ]]"]
    assert all("$[[" not in line for line in job["script"])
    assert all(one["expand"] is False for one in job["variables"].values())
    assert job["id_tokens"]["EVERPROOF_ID_TOKEN"]["aud"] == "$[[ inputs.server ]]"
    used = set(re.findall(r"\$\[\[ inputs\.([\w-]+) \]\]", json.dumps(COMPONENT)))
    assert used == set(SPEC["spec"]["inputs"])


def test_the_library_never_puts_what_was_given_into_the_script() -> None:
    assert "sh label: 'everproof run', script: '''" in JENKINS
    assert '"""' not in JENKINS
    stack: list[str] = []
    bare = re.sub(r"'''.*?'''|'[^'\n]*'|\"[^\"\n]*\"|//[^\n]*", "", JENKINS, flags=re.DOTALL)
    pairs = {")": "(", "]": "[", "}": "{"}
    for char in bare:
        if char in "([{":
            stack.append(char)
        elif char in pairs:
            assert stack.pop() == pairs[char]
    assert stack == []


@contextmanager
def runners_tokens(site: Site) -> Iterator[tuple[str, Path, list[tuple[str, str]]]]:
    """GitHub's token endpoint, as a runner has it."""
    asked: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            [audience] = parse_qs(urlsplit(self.path).query)["audience"]
            asked.append((self.headers["authorization"], audience))
            body = json.dumps({"count": 1, "value": site.token()}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

    folder = site.folder / "runner"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = _tls(folder, folder / "ca.pem").wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}/token?api-version=2.0", folder / "ca.pem", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
