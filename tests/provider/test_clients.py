"""The file of clients: read strictly, with the place in every error, and checked before it rules."""

from pathlib import Path

import pytest

from everproof.identity.provider import CLI, SIGN_IN_HERE, clients_of
from everproof.identity.provider.clients import SELF, Clients
from everproof.kernel.errors import InputError
from everproof.policy import load_bundle
from everproof.policy.starter import starter_files

SHA = "0" * 64
GOOD = f"""\
[clients.grafana]
redirect_uris = ["https://grafana.example/login"]
authentication = "client_secret_basic"
secret_sha256 = ["{SHA}"]
"""
PUBLIC = """\
[clients.app]
redirect_uris = ["https://app.example/callback"]
authentication = "none"
"""


def read(text: str) -> None:
    clients_of({"clients.toml": text.encode()})


def test_a_bundle_without_the_file_has_what_is_built_in() -> None:
    found = clients_of({})
    assert set(found) == {SELF, CLI}
    assert SIGN_IN_HERE.attributes["own"] is True


def test_a_client_as_policy_sees_it() -> None:
    found = clients_of({"clients.toml": (GOOD + 'groups = ["ops"]\nfactor_max_age_seconds = 300\n').encode()})[
        "grafana"
    ]
    assert found.resource.attributes == {
        "name": "grafana", "own": False, "first_party": False, "public": False, "factor_max_age": 300,
        "groups": [{"__entity": {"type": "Group", "id": "ops"}}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[clients.x\n", "clients.toml"),
        (GOOD + "colour = 1\n", "clients.grafana"),
        (GOOD.replace("grafana]", "Grafana]"), "clients.Grafana"),
        (GOOD.replace("clients.grafana]", 'clients."gra fana"]'), "gra fana"),
        (GOOD.replace("grafana]", "everproof]"), "clients.everproof"),
        (GOOD.replace("grafana]", "everproof-cli]"), "clients.everproof-cli"),
        (GOOD.replace("https://grafana.example/login", "https://grafana.example/*"), "redirect_uris[0]"),
        (GOOD.replace("https://grafana.example/login", "http://grafana.example/login"), "redirect_uris[0]"),
        (GOOD.replace("https://grafana.example/login", "https://a@grafana.example/"), "redirect_uris[0]"),
        (GOOD.replace("https://grafana.example/login", "https://grafana.example/#x"), "redirect_uris[0]"),
        (GOOD.replace("https://grafana.example/login", "javascript:alert(1)"), "redirect_uris[0]"),
        (GOOD.replace("https://grafana.example/login", "https://grafana.example/\\\\evil"), "redirect_uris[0]"),
        (GOOD.replace("https://grafana.example/login", "https://grafana.example:0/"), "redirect_uris[0]"),
        (GOOD.replace('["https://grafana.example/login"]', "[]"), "redirect_uris"),
        (GOOD.replace(f'["{SHA}"]', "[]"), "secret_sha256"),
        (GOOD.replace(SHA, "secret"), "secret_sha256"),
        (PUBLIC + f'secret_sha256 = ["{SHA}"]\n', "secret_sha256"),
        (PUBLIC.replace('"none"', '"private_key_jwt"'), "keys"),
        (PUBLIC.replace('"none"', '"private_key_jwt"') + 'keys = [{ kty = "oct", k = "AAAA" }]\n', "keys[0]"),
        (PUBLIC + 'backchannel_logout_uri = "http://app.example/"\n', "backchannel_logout_uri"),
        (PUBLIC + 'post_logout_redirect_uris = ["http://app.example/"]\n', "post_logout_redirect_uris[0]"),
        (PUBLIC + 'algorithm = "none"\n', "algorithm"),
        (PUBLIC + 'algorithm = "HS256"\n', "algorithm"),
        (PUBLIC + 'scopes = ["profile"]\n', "scopes"),
        (PUBLIC + 'groups = ["Not A Group"]\n', "groups"),
        (PUBLIC + "id_token_seconds = 7200\n", "id_token_seconds"),
        (PUBLIC + 'title = "\u202eevil"\n', "title"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, place: str) -> None:
    with pytest.raises(InputError) as told:
        read(text)
    assert place in str(told.value)


def test_the_private_half_of_a_key_is_refused_and_not_repeated() -> None:
    keys = 'keys = [{ kty = "EC", crv = "P-256", x = "AA", y = "AA", d = "SECRET" }]\n'
    with pytest.raises(InputError) as told:
        read(PUBLIC.replace('"none"', '"private_key_jwt"') + keys)
    assert "SECRET" not in str(told.value)


def test_nobody_asks_who_somebody_is_by_the_name_of_this_server() -> None:
    clients = Clients()
    assert clients.find(SELF) is None
    assert clients.find(CLI) is not None


def test_the_file_in_the_documentation_is_good() -> None:
    page = (Path(__file__).parents[2] / "docs" / "provider.md").read_text()
    example = page.split("```toml\n", 1)[1].split("```", 1)[0]
    found = clients_of({"clients.toml": example.encode()})
    assert {"grafana", "jenkins", "gitlab", "argo-cd"} < set(found)
    assert found["jenkins"].takes("https://jenkins.example.com/securityRealm/finishLogin")


def test_the_policies_in_the_documentation_are_good() -> None:
    page = (Path(__file__).parents[2] / "docs" / "provider.md").read_text()
    example = page.split("```cedar\n", 1)[1].split("```", 1)[0]
    bundle = load_bundle(starter_files() | {"policies/house.cedar": example.encode()})
    assert {"house/auditors-read-grafana", "house/jenkins-phishing-resistant"} <= {one.id for one in bundle.policies}
