"""Sign-on files are read strictly, and what is wrong is said with its place."""

import pytest

from everproof.authorize.replay_entries import notes
from everproof.cli.bundles import check
from everproof.identity.sign_on import Provider, read_sign_on
from everproof.integrations.sign_on import provider_kinds, sign_on_secrets
from everproof.kernel.errors import InputError, UnavailableError
from everproof.kernel.settings import SignOnClient
from everproof.policy.starter import starter_files

OKTA = 'provider = "okta"\nissuer = "https://acme.okta.com"\nclient_id = "0oa1"\n'
TENANT = "6f1c2d3e-4a5b-4c6d-8e7f-901234567890"
ENTRA = f'provider = "entra"\nclient_id = "c"\ntenant = "{TENANT}"\n'
GOOGLE = 'provider = "google"\nclient_id = "c"\nhosted_domains = ["example.com"]\n'
KEYCLOAK = 'provider = "keycloak"\nissuer = "https://sso.example.com/realms/acme"\nclient_id = "c"\n'
FIRST = '[first_sign_on]\nid = "{preferred_username}"\n'


def read(text: str, name: str = "okta") -> Provider:
    return read_sign_on({f"sign-on/{name}.toml": text.encode()}, provider_kinds())[name]


def test_a_file_of_each_kind() -> None:
    assert read(OKTA).title == "Okta"
    assert read(OKTA.replace("okta.com", "okta.com/oauth2/default")).issuer == "https://acme.okta.com/oauth2/default"
    assert read(ENTRA, "entra").issuer == f"https://login.microsoftonline.com/{TENANT}/v2.0"
    assert read(GOOGLE, "google").issuer == "https://accounts.google.com"
    assert read(KEYCLOAK, "keycloak").issuer == "https://sso.example.com/realms/acme"
    assert (
        read('provider = "oidc"\nissuer = "https://id.example.com"\nclient_id = "c"\ntitle = "Acme"\n', "acme").title
        == "Acme"
    )


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("okta", "provider", "sign-on/okta.toml"),
        ("okta", OKTA + 'secret = "s3cret"', "sign-on/okta.toml"),
        ("okta", OKTA + 'client_secret = "s3cret"', "sign-on/okta.toml"),
        ("okta", OKTA.replace('"okta"', '"octa"'), "provider"),
        ("okta", OKTA.replace("https:", "http:"), "issuer"),
        ("okta", OKTA.replace("acme.okta", "acme-admin.okta"), "issuer"),
        ("okta", OKTA.replace("okta.com", "okta.com/"), "issuer"),
        ("okta", OKTA.replace("okta.com", "okta.com?x=1"), "issuer"),
        ("okta", OKTA.replace("https://acme", "https://x:y@acme"), "issuer"),
        ("okta", OKTA + f'tenant = "{TENANT}"', "tenant"),
        ("okta", OKTA + 'algorithms = ["none"]', "algorithms"),
        ("okta", OKTA + "algorithms = []", "algorithms"),
        ("okta", OKTA + 'algorithms = ["HS256"]', "algorithms"),
        ("okta", OKTA + 'scopes = ["offline_access"]', "scopes"),
        ("okta", OKTA + 'scopes = ["groups openid"]', "scopes"),
        ("okta", OKTA + "max_age_seconds = 0", "max_age_seconds"),
        ("okta", OKTA + "[groups.map]\n", "groups.map"),
        ("okta", OKTA + '[groups.map]\n"Admins" = "Administrators"', "groups.map"),
        ("okta", OKTA + '[groups]\nunknown = "none"\n[groups.map]\n"a" = "b"', "unknown"),
        ("okta", OKTA + '[first_sign_on]\nid = "everybody"', "first_sign_on.id"),
        ("okta", OKTA + '[first_sign_on]\nid = "{a}{b}"', "first_sign_on.id"),
        ("okta", OKTA + FIRST + 'email_domains = ["*"]', "email_domains"),
        ("okta", OKTA + FIRST + 'groups = ["Staff"]', "groups"),
        ("okta", OKTA + FIRST + 'groups = ["dev"]\n[groups.map]\n"Dev" = "dev"', "first_sign_on.groups"),
        ("okta", OKTA + '[people]\n"00u1" = "Ada"', "people"),
        ("okta", OKTA + '[people]\n"00u1" = "ada"\n"00u2" = "ada"', "people"),
        ("okta", OKTA + 'title = "Ok\\u202eta"', "title"),
        ("callback", OKTA, "sign-on/callback.toml"),
        ("passkey", OKTA, "sign-on/passkey.toml"),
        ("Okta", OKTA, "sign-on/Okta.toml"),
        ("a/b", OKTA, "sign-on/a/b.toml"),
        ("entra", ENTRA.replace(TENANT, "common"), "tenant"),
        ("entra", ENTRA.replace(TENANT, "9188040d-6c67-4c5b-b112-36a304b66dad"), "tenant"),
        ("entra", 'provider = "entra"\nclient_id = "c"\n', "tenant"),
        ("entra", ENTRA + 'issuer = "https://login.microsoftonline.com/common/v2.0"', "issuer"),
        ("entra", ENTRA + f'issuer = "https://sts.windows.net/{TENANT}/"', "issuer"),
        ("google", 'provider = "google"\nclient_id = "c"\n', "hosted_domains"),
        ("google", GOOGLE.replace("example.com", "*"), "hosted_domains"),
        ("google", GOOGLE + '[groups.map]\n"a" = "b"', "groups"),
        ("keycloak", KEYCLOAK.replace("acme", "master"), "issuer"),
        ("keycloak", KEYCLOAK.replace("/realms/acme", ""), "issuer"),
        ("acme", 'provider = "oidc"\nissuer = "https://acme.okta.com"\nclient_id = "c"\n', "provider"),
        ("acme", 'provider = "oidc"\nissuer = "https://accounts.google.com"\nclient_id = "c"\n', "provider"),
        (
            "acme",
            'provider = "oidc"\nissuer = "https://login.microsoftonline.com/x/v2.0"\nclient_id = "c"\n',
            "provider",
        ),
        ("acme", 'provider = "oidc"\nclient_id = "c"\n', "issuer"),
    ],
)
def test_a_file_that_would_not_be_safe(name: str, text: str, place: str) -> None:
    with pytest.raises(InputError) as caught:
        read(text, name)
    assert place in str(caught.value.place)
    assert str(caught.value.place).startswith(f"sign-on/{name}.toml")
    assert "s3cret" not in str(caught.value)


def test_two_files_are_not_for_one_client() -> None:
    files = {f"sign-on/{name}.toml": OKTA.encode() for name in ("one", "two")}
    with pytest.raises(InputError, match="sign-on/one"):
        read_sign_on(files, provider_kinds())


def test_a_file_that_is_no_text() -> None:
    for files in ({"sign-on/okta.toml": b"\xff"}, {"sign-on/readme.md": b""}):
        with pytest.raises(InputError, match="sign-on/"):
            read_sign_on(files, provider_kinds())


def test_what_is_for_others_is_left_alone() -> None:
    assert read_sign_on({"policies/x.cedar": b"", "people.toml": b""}, provider_kinds()) == {}


def test_a_secret_that_is_not_there_is_said_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError) as caught:
        sign_on_secrets({"okta": SignOnClient(issuer="https://acme.okta.com", secret="the-secret-itself")})
    assert "the-secret-itself" not in str(caught.value)
    reading = sign_on_secrets({"okta": SignOnClient(issuer="https://acme.okta.com", secret="env:SECRET_OF_OKTA")})
    with pytest.raises(UnavailableError, match="empty"):
        reading(read(OKTA))
    monkeypatch.setenv("SECRET_OF_OKTA", "shh")
    assert reading(read(OKTA)) == "shh"
    with pytest.raises(UnavailableError, match="no secret"):
        reading(read(KEYCLOAK, "keycloak"))
    with pytest.raises(UnavailableError, match="another issuer"):
        reading(read(OKTA.replace("acme", "evil")))


def test_a_bundle_is_checked_without_a_server_too_and_a_change_is_told() -> None:
    files = starter_files() | {"sign-on/okta.toml": OKTA.encode()}
    check(files)
    with pytest.raises(InputError, match="issuer"):
        check(files | {"sign-on/okta.toml": OKTA.replace("https:", "http:").encode()})
    assert notes(starter_files(), files) == (
        "sign-on/ changes: who signs on as whom, and in which groups, is not decided again",
    )
    assert notes(files, files) == ()
