from typing import Any

import pytest

from everproof.identity.bindings import load_bindings
from everproof.identity.jose import JoseError
from everproof.kernel.errors import InputError
from everproof.kernel.words import Ref
from tests.conftest import SettableClock
from tests.identity.trust import AUDIENCE, GITHUB, KINDS, SHOP, load, trust_file, trusting
from tests.issuer import github_claims

GENERIC = """
[[binding]]
name = "billing"
principal = "Service"
id = "corp/{sub}"
claims.sub = "billing"
"""


def refusal(text: str) -> str:
    with pytest.raises(InputError) as error:
        load(text)
    return str(error.value)


@pytest.fixture
def claims(clock: SettableClock) -> dict[str, Any]:
    return {"iss": GITHUB, **github_claims(clock.now(), audience=AUDIENCE)}


def test_a_binding_makes_a_principal(claims: dict[str, Any]) -> None:
    more = 'space = "payments"\nattributes = { stage = "build", fork = false, run_id = "run-{run_id}" }\n'
    issuer = trusting(GITHUB, SHOP.replace("groups", f"{more}groups")).issuer(GITHUB)
    principal = issuer.bind(claims).principal(claims, issuer.kind.attributes(claims))
    assert principal.ref == Ref("Job", "github/74/acme/shop/.github/workflows/build.yml@refs/heads/main")
    assert principal.parents == (Ref("Group", "builders"), Ref("Space", "payments"))
    assert principal.attributes["platform"] == "github"
    assert principal.attributes["repository_owner_id"] == "65"
    assert principal.attributes["ref_protected"] is True
    assert principal.attributes["fork"] is False
    assert principal.attributes["stage"] == "build"
    assert principal.attributes["run_id"] == "run-9001"


def test_a_service_has_no_attributes_of_a_job(claims: dict[str, Any]) -> None:
    issuer = trusting(GITHUB, SHOP.replace("id =", 'principal = "Service"\nid =', 1)).issuer(GITHUB)
    principal = issuer.bind(claims).principal(claims, issuer.kind.attributes(claims))
    assert principal.attributes == {"issuer": GITHUB, "subject": "repo:acme/shop:ref:refs/heads/main"}


def test_an_unknown_field_is_refused_with_file_and_field() -> None:
    assert "trust/0.toml: issuer" in refusal(trust_file(GITHUB, more="leeway = 60"))
    assert "trust/0.toml: binding" in refusal(
        trust_file(GITHUB, SHOP + "colour = 1").replace("colour", "[binding.x]\ny")
    )
    assert "trust/0.toml" in refusal(trust_file(GITHUB) + "\n[extra]\n")


def test_a_syntax_error_is_refused_with_its_line() -> None:
    assert "line 1" in refusal("[issuer\n")


def test_a_file_that_is_not_text_is_refused() -> None:
    with pytest.raises(InputError, match=r"trust/x\.toml: not UTF-8"):
        load_bindings({"trust/x.toml": b"\xff"}, KINDS)


def test_other_files_of_a_bundle_are_not_trust_files() -> None:
    assert load_bindings({"policies/x.cedar": b"\xff", "everproof.toml": b"("}, KINDS).urls == frozenset()


@pytest.mark.parametrize("missing", ["repository_id", "repository_owner_id"])
def test_a_binding_for_a_shared_issuer_names_its_tenant(missing: str) -> None:
    lines = [line for line in SHOP.splitlines() if f"claims.{missing} " not in line]
    text = refusal(trust_file(GITHUB, "\n".join(lines)))
    assert f"binding shop: claims.{missing}" in text


def test_a_pattern_does_not_name_a_tenant() -> None:
    text = refusal(trust_file(GITHUB, SHOP.replace('repository_id = "74"', 'repository_id = { glob = "7*" }')))
    assert "claims.repository_id" in text


@pytest.mark.parametrize(
    ("url", "claims", "wanted"),
    [
        ("https://app.terraform.io", 'claims.sub = "x"', "terraform_organization_id"),
        ("https://oidc.vercel.com", 'claims.sub = "x"', "owner_id"),
        ("https://accounts.google.com", 'claims.email = "a@b.example"', "sub"),
    ],
)
def test_a_known_shared_issuer_asks_for_its_ids(url: str, claims: str, wanted: str) -> None:
    binding = f'[[binding]]\nname = "x"\nid = "x/{{sub}}"\n{claims}\n'
    assert f"claims.{wanted}" in refusal(trust_file(url, binding, kind="oidc"))


def test_a_file_can_say_that_its_issuer_is_shared() -> None:
    text = trust_file("https://ci.example", GENERIC, kind="oidc", more='tenant_claims = ["org"]')
    assert "claims.org" in refusal(text)
    load(text + '\nclaims.org = "1"')


def test_a_binding_without_conditions_is_refused() -> None:
    for claims in ("claims = {}", "claims.x = { absent = true }"):
        text = refusal(trust_file("https://ci.example", GENERIC.replace('claims.sub = "billing"', claims), kind="oidc"))
        assert "would trust every token" in text


@pytest.mark.parametrize("name", ["aud", "iss", "exp", "jti"])
def test_what_is_checked_anyway_is_no_condition(name: str) -> None:
    text = refusal(trust_file("https://ci.example", GENERIC.replace("claims.sub", f"claims.{name}"), kind="oidc"))
    assert f"claims.{name}" in text


@pytest.mark.parametrize("value", ['""', "[]", '[""]', '{ glob = "*" }', '{ glob = "**" }', "{}", '"acme-*"', "1.5"])
def test_a_condition_that_asks_nothing_is_refused(value: str) -> None:
    binding = GENERIC.replace('claims.sub = "billing"', f"claims.sub = {value}")
    assert "claims" in refusal(trust_file("https://ci.example", binding, kind="oidc"))


def test_a_claim_that_github_does_not_send_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(InputError) as error:
        load(trust_file(GITHUB, SHOP + 'claims.repositry = "acme/shop"'))
    assert error.value.todo == "did you mean repository?"
    assert "{repositroy_id}" in refusal(trust_file(GITHUB, SHOP.replace("{repository_id}", "{repositroy_id}")))


@pytest.mark.parametrize(
    ("claims", "place"),
    [
        ('claims.sub = { glob = "repo:acme/*" }', "claims.sub"),
        ('claims.event_name = { glob = "p*" }', "claims.event_name"),
        ('claims.workflow_ref = "acme/shop/.github/workflows/x.yml@refs/heads/main"', "claims.workflow_ref"),
        ('claims.job_workflow_ref = "acme/shop/.github/workflows/x.yml"', "claims.job_workflow_ref"),
        ('claims.job_workflow_ref = { glob = "acme/shop/.github/workflows/*" }', "claims.job_workflow_ref"),
    ],
)
def test_a_condition_that_does_not_mean_what_it_seems_to_is_refused(claims: str, place: str) -> None:
    assert place in refusal(trust_file(GITHUB, SHOP + claims))


@pytest.mark.parametrize(
    "audience", ["sts.amazonaws.com", "api://AzureADTokenExchange", "sigstore", "https://github.com/acme"]
)
def test_an_audience_of_others_is_refused(audience: str) -> None:
    assert "issuer.audience" in refusal(trust_file(GITHUB, audience=audience))


@pytest.mark.parametrize(
    "url",
    [
        "http://token.actions.githubusercontent.com",
        "https://token.actions.githubusercontent.com.evil.example",
        "https://evil.example/token.actions.githubusercontent.com",
        "https://token.actions.githubusercontent.com/a/b",
        "https://user@token.actions.githubusercontent.com",
        "https://token.actions.githubusercontent.com?x",
        "file:///etc/passwd",
        "https://",
        "https://host:0/_services/token",
        "https://host:port/_services/token",
    ],
)
def test_only_githubs_own_addresses_are_github(url: str) -> None:
    assert "issuer.url" in refusal(trust_file(url))


@pytest.mark.parametrize(
    "url",
    [
        GITHUB,
        f"{GITHUB}/acme-corp",
        "https://token.actions.acme.ghe.com",
        "https://github.acme.example/_services/token",
    ],
)
def test_all_of_githubs_addresses_are_known(url: str) -> None:
    assert trusting(url).urls == {url}


def test_github_needs_its_own_kind() -> None:
    assert "issuer.type" in refusal(trust_file(GITHUB, GENERIC, kind="oidc"))


def test_a_door_to_every_tenant_is_no_issuer() -> None:
    assert "issuer.url" in refusal(trust_file("https://login.microsoftonline.com/common/v2.0", GENERIC, kind="oidc"))


def test_an_unknown_kind_is_refused() -> None:
    known = "known are: azure, bitbucket, buildkite, circleci, github, gitlab, jenkins, oidc"
    assert known in refusal(trust_file(GITHUB, kind="gitlib"))


def test_one_issuer_has_one_file() -> None:
    with pytest.raises(InputError, match="another file has this issuer"):
        load(trust_file(GITHUB), trust_file(GITHUB))


def test_a_binding_has_a_name_of_its_own() -> None:
    with pytest.raises(InputError, match="a binding of this name"):
        load(trust_file(GITHUB), trust_file("https://h.example/_services/token"))


def test_two_issuers_do_not_name_one_principal() -> None:
    other = GENERIC.replace("corp/{sub}", "github/{sub}")
    with pytest.raises(InputError, match="begins like the principals of"):
        load(trust_file(GITHUB), trust_file("https://ci.example", other, kind="oidc"))


@pytest.mark.parametrize("id_", ["fixed", "{sub}", "corp/{sub", "corp/{sub}{aud}", "corp/}", ""])
def test_an_id_that_does_not_tell_principals_apart_is_refused(id_: str) -> None:
    assert "id" in refusal(trust_file("https://ci.example", GENERIC.replace("corp/{sub}", id_), kind="oidc"))


def test_two_bindings_that_both_fit_are_a_refusal(claims: dict[str, Any]) -> None:
    issuer = trusting(GITHUB, SHOP + SHOP.replace('"shop"', '"shop-2"')).issuer(GITHUB)
    with pytest.raises(JoseError, match="'shop' and 'shop-2' both fit"):
        issuer.bind(claims)


def test_the_right_one_of_many_bindings_is_found(claims: dict[str, Any]) -> None:
    many = "".join(SHOP.replace('"74"', f'"{number}"').replace('"shop"', f'"shop-{number}"') for number in range(200))
    issuer = trusting(GITHUB, many).issuer(GITHUB)
    assert issuer.bind({**claims, "repository_id": "151"}).name == "shop-151"


def test_ids_may_be_numbers_and_booleans_bare(claims: dict[str, Any]) -> None:
    binding = SHOP.replace('"74"', "74").replace('"65"', '["x", 65]') + "claims.ref_protected = true"
    issuer = trusting(GITHUB, binding).issuer(GITHUB)
    assert issuer.bind(claims).name == "shop"
    assert issuer.bind({**claims, "ref_protected": True, "repository_id": 74}).name == "shop"


def test_names_that_github_folds_are_folded(claims: dict[str, Any]) -> None:
    issuer = trusting(GITHUB, SHOP + 'claims.repository = "Acme/Shop"').issuer(GITHUB)
    assert issuer.bind({**claims, "repository": "aCME/shop"}).name == "shop"


def test_an_email_counts_where_it_was_verified() -> None:
    binding = GENERIC.replace('claims.sub = "billing"', 'claims.email = "a@b.example"')
    issuer = trusting("https://ci.example", binding, kind="oidc").issuer("https://ci.example")
    issuer.bind({"sub": "1", "email": "a@b.example", "email_verified": True})
    with pytest.raises(JoseError):
        issuer.bind({"sub": "1", "email": "a@b.example", "email_verified": False})
    with pytest.raises(JoseError):
        issuer.bind({"sub": "1", "email": "a@b.example"})
