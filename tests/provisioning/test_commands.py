"""The commands, as a person runs them, against a real server; and a directory that speaks to it over TLS."""

import json
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.run import Home
from tests.cli.server import Server

USER = "urn:ietf:params:scim:schemas:core:2.0:User"

PEOPLE = """
[people.dora]
groups = ["developers"]
[groups.developers]
groups = ["staff"]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("p") / "s")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def ada(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Home:
    ada = Home(tmp_path_factory.mktemp("ada"), "ada")
    ada.ssh_key()
    done = ada.everproof("login", "--enrol", server.link)
    assert done.returncode == 0, done.stderr
    return ada


def said(home: Home, *arguments: str) -> str:
    done = home.everproof(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def scim(server: Server, secret: str, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{server.url}/scim/v2{path}", method=method, data=json.dumps(body).encode() if body else None,
        headers={"authorization": f"Bearer {secret}", "content-type": "application/scim+json"},
    )  # fmt: skip
    trusted = ssl.create_default_context(cafile=str(server.state / "ca.pem"))
    with urllib.request.urlopen(request, context=trusted, timeout=30) as answer:
        found: dict[str, Any] = json.loads(answer.read() or b"{}")
    return found


def test_people_come_and_go_by_command(ada: Home) -> None:
    assert "nothing was done" in said(ada, "people", "join", "bob", "--group", "developers", "--dry-run")
    assert "joined: bob" in said(ada, "people", "join", "bob", "--name", "Bob", "--group", "developers")
    assert "bob would be in staff" in said(ada, "people", "move", "bob", "--group", "staff", "--dry-run")
    assert "moved: bob" in said(ada, "people", "move", "bob", "--group", "staff")
    looked = said(ada, "people", "leave", "bob", "--dry-run")
    assert "bob would be nobody at once" in looked
    assert "nothing was done" in looked
    assert "left: bob; 0 credentials ended" in said(ada, "people", "leave", "bob", "--reason", "a new job")
    assert "disabled" in said(ada, "identity", "show", "bob")
    again = ada.everproof("people", "leave", "nobody")
    assert (again.returncode, "not on record" in again.stderr) == (2, True)
    (ada.folder / "people.toml").write_text(PEOPLE)
    plan = said(ada, "people", "plan", "people.toml")
    assert plan.splitlines() == ["+ dora joins, in developers", "  group developers is made: into staff"]


def test_a_directory_of_the_company_keeps_people_over_tls(server: Server, ada: Home) -> None:
    file = ada.folder / "okta.secret"
    made = said(ada, "identity", "provisioner", "add", "okta", "--dialect", "okta", "--secret", str(file))
    assert f"{server.url}/scim/v2" in made
    assert file.stat().st_mode & 0o777 == 0o600
    secret = file.read_text().strip()
    config = scim(server, secret, "GET", "/ServiceProviderConfig")
    assert config["pagination"]["cursor"] is True
    user = scim(server, secret, "POST", "/Users", {"schemas": [USER], "userName": "eve@example.com", "active": True})
    told = json.loads(said(ada, "identity", "show", "eve@example.com", "--json"))
    assert told["principal"]["source"] == "scim:okta"
    assert "joined: carol" in said(ada, "people", "join", "carol")
    handed = said(ada, "people", "hand-over", "carol", "--to", "okta", "--user-name", "carol@example.com")
    assert "carol is kept by okta" in handed
    listed = scim(server, secret, "GET", "/Users?filter=userName%20eq%20%22carol@example.com%22")
    assert listed["totalResults"] == 1
    scim(server, secret, "DELETE", f"/Users/{listed['Resources'][0]['id']}")
    assert "disabled" in said(ada, "identity", "show", "carol")
    renewed: Path = ada.folder / "okta2.secret"
    said(ada, "identity", "provisioner", "renew", "okta", "--secret", str(renewed), "--days", "90")
    again = scim(server, renewed.read_text().strip(), "GET", f"/Users/{user['id']}")
    assert again["userName"] == "eve@example.com"
    assert ada.everproof("identity", "provisioner", "add", "x", "--dialect", "y", "--secret", "z").returncode == 2
