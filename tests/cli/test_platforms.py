from pathlib import Path

import pytest

from everproof.cli.platforms import PLATFORMS, Platform, Remote, found_platforms, given_ids, read_remote, trust_file
from everproof.identity.bindings import load_bindings
from everproof.integrations.issuers import issuer_kinds
from everproof.kernel.errors import InputError

UUID = "aaaaaaaa-1111-4111-8111-111111111111"
IDS = {
    "namespace_id": "72", "project_id": "20", "sub": "https://jenkins.acme.example/job/shop/job/main/",
    "oidc.circleci.com/org-id": UUID, "oidc.circleci.com/project-id": UUID, "organization_id": UUID,
    "pipeline_id": UUID, "workspaceUuid": f"{{{UUID}}}", "repositoryUuid": f"{{{UUID}}}", "org_id": UUID,
    "prj_id": UUID, "def_id": "17",
}  # fmt: skip
HOME = Remote("code.acme.example", "acme/shop")
AUDIENCE = "https://everproof.example"


@pytest.fixture(autouse=True)
def outside_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in PLATFORMS:
        for each in one.ids:
            monkeypatch.delenv(each.variable, raising=False)


@pytest.mark.parametrize("one", PLATFORMS, ids=lambda one: one.name)
def test_what_is_written_is_trust_that_a_server_takes(one: Platform) -> None:
    name, text = trust_file(one, HOME, AUDIENCE, IDS)
    assert name == f"trust/{one.name}.toml"
    assert len(load_bindings({name: text.encode()}, issuer_kinds()).urls) == 1


@pytest.mark.parametrize("one", PLATFORMS, ids=lambda one: one.name)
def test_what_lacks_an_id_trusts_nobody_even_by_another_name(one: Platform) -> None:
    name, text = trust_file(one, HOME, AUDIENCE, {})
    assert name == f"trust/{one.name}.toml.example"
    for each in one.ids:
        assert each.variable in text
    assert load_bindings({name: text.encode()}, issuer_kinds()).urls == frozenset()
    with pytest.raises(InputError):
        load_bindings({f"trust/{one.name}.toml": text.encode()}, issuer_kinds())


@pytest.mark.parametrize("one", PLATFORMS, ids=lambda one: one.name)
def test_in_a_job_the_ids_are_known(one: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in one.ids:
        monkeypatch.setenv(each.variable, IDS[each.claim])
    assert trust_file(one, HOME, AUDIENCE, {})[0] == f"trust/{one.name}.toml"


def test_a_name_is_no_id_and_a_quote_ends_nothing() -> None:
    gitlab, jenkins = PLATFORMS[:2]
    with pytest.raises(InputError, match="must be an id"):
        trust_file(gitlab, HOME, AUDIENCE, {**IDS, "project_id": "shop"})
    with pytest.raises(InputError, match="characters"):
        trust_file(jenkins, HOME, AUDIENCE, {"sub": 'https://x/job/a"/'})
    with pytest.raises(InputError, match="CLAIM=VALUE"):
        given_ids(["project=20"])


def test_a_gitlab_is_not_guessed_where_there_is_none() -> None:
    name, text = trust_file(PLATFORMS[0], Remote("github.com", "acme/shop"), AUDIENCE, IDS)
    assert name.endswith(".example")
    assert "https://HOST" in text


@pytest.mark.parametrize(
    ("url", "remote"),
    [
        ("git@gitlab.com:acme/web/shop.git", Remote("gitlab.com", "acme/web/shop")),
        ("https://gitlab.com/acme/shop.git", Remote("gitlab.com", "acme/shop")),
        ("https://alice@bitbucket.org/acme/shop", Remote("bitbucket.org", "acme/shop")),
        ("ssh://git@code.acme.example:2222/acme/shop.git", Remote("code.acme.example", "acme/shop")),
        ("https://github.com/acme/shop/", Remote("github.com", "acme/shop")),
        ("/srv/git/shop.git", None),
        ('git@gitlab.com:acme/sh"op', None),
    ],
)
def test_remotes_are_read(url: str, remote: Remote | None) -> None:
    assert read_remote(url) == remote


def test_platforms_are_recognised_by_their_files(tmp_path: Path) -> None:
    assert found_platforms(tmp_path, None) == []
    assert [one.name for one in found_platforms(tmp_path, Remote("gitlab.com", "acme/shop"))] == ["gitlab"]
    for one in PLATFORMS:
        (tmp_path / one.marks[0]).parent.mkdir(exist_ok=True)
        (tmp_path / one.marks[0]).touch()
    assert found_platforms(tmp_path, None) == list(PLATFORMS)
