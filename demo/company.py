"""What the company of the story has for its people: a provider to sign on at, a wiki, an organisation at GitHub."""

import hashlib
import secrets
import ssl
from typing import Any, Final

import httpx
from tests.fakes import openid
from tests.fakes.authenticator import Authenticator
from tests.fakes.github_org import GitHubOrg, Team, Token
from tests.fakes.https import serving

from demo.world import World

CALLBACK: Final = "https://wiki.example/callback"

SIGN_ON: Final = """\
provider = "oidc"
title = "Shop"
issuer = "{issuer}"
client_id = "{client}"
scopes = ["groups"]

[groups.map]
"Engineering" = "developers"
"Release" = "release"

[first_sign_on]
id = "{{preferred_username}}"
email_domains = ["shop.example"]
"""
CLIENTS: Final = """\
[clients.wiki]
title = "The wiki"
redirect_uris = ["{callback}"]
authentication = "client_secret_basic"
secret_sha256 = ["{secret}"]
first_party = true
factor_max_age_seconds = 300
"""
ACCESS: Final = """\
[[rule]]
actions = ["deployment:*"]
resources = ['Environment::"production"']
owners = ['Group::"release"']
longest = "1h"
"""
POLICY: Final = """\
@id("shop/developers-build")
@title("Developers build on their own machines")
permit (
    principal is User in Group::"developers",
    action == Action::"stage:build",
    resource is Repository
);
"""
MEMBERSHIPS: Final = """\
[organisations.acme]
id = 9919
roles = { owner = ["administrators"], member = ["developers"] }
accounts = { alice = 1, bob = 11, carol = 12, dana = 13 }

[[organisations.acme.teams]]
id = 42
roles = { member = ["developers"] }
"""
SETTINGS: Final = """\
[sign_on.shop]
issuer = "{issuer}"
secret = "file:{secret}"
[organisations.acme]
platform = "github"
login = "acme"
api = "{api}"
secret = "file:{token}"
"""


class Company:
    """It runs as long as the world does."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.provider = world.enter(openid.running(world.made("openid")))
        self.client = self.provider.register([f"{world.url}/login/callback/shop"])
        for name, groups in (("dana", ["Engineering"]), ("erin", ["Engineering", "Release"]), ("mallory", [])):
            self.provider.account(
                name, preferred_username=name, name=name.title(), email=f"{name}@shop.example", email_verified=True,
                groups=groups,
            )  # fmt: skip
        self.wiki_secret = secrets.token_urlsafe(48)
        self.organisation = GitHubOrg(tokens={"ghs_app": Token(None, frozenset({"members:write", "repo"}))})
        for id_, login, role in ((1, "alice", "admin"), (2, "rita", "admin"), (11, "bob", "member")):
            self.organisation.add(id_, login, role, saml=f"{login}@shop.example")
        self.organisation.add(12, "carol", "member", saml="carol@shop.example")
        self.organisation.add(13, "dana", "member", two_factor=False)
        self.organisation.teams[42] = Team(42, "developers", {11: "member", 12: "member", 13: "member"})
        self.api = world.enter(serving(self.organisation, world.made("github-organisation")))
        self.organisation.url = self.api.url

    @property
    def authorities(self) -> bytes:
        """Who certifies them."""
        return self.provider.ca_file.read_bytes() + self.api.ca_file.read_bytes()

    def settings(self) -> str:
        """What ``server.toml`` says of them."""
        files = {"sign-on.secret": self.client.secret, "github-organisation.token": "ghs_app"}
        for name, text in files.items():
            (self._world.folder / name).touch(0o600)
            (self._world.folder / name).write_text(text)
        return SETTINGS.format(
            issuer=self.provider.issuer,
            secret=self._world.folder / "sign-on.secret",
            api=self.api.url,
            token=self._world.folder / "github-organisation.token",
        )

    def files(self) -> dict[str, str]:
        """What the policy says of them."""
        hashed = hashlib.sha256(self.wiki_secret.encode()).hexdigest()
        return {
            "sign-on/shop.toml": SIGN_ON.format(issuer=self.provider.issuer, client=self.client.id),
            "clients.toml": CLIENTS.format(callback=CALLBACK, secret=hashed),
            "access.toml": ACCESS,
            "memberships.toml": MEMBERSHIPS,
            "policies/shop.cedar": POLICY,
        }


class Visitor:
    """Somebody at a browser, with an authenticator in their hand."""

    def __init__(self, world: World, authority: str, name: str) -> None:
        self.name = name
        self.url = world.url
        self.authenticator = Authenticator(origin=world.url)
        self._tls = ssl.create_default_context(cafile=authority)
        self.browser = self._fresh()

    def close_browser(self) -> None:
        """Forget every cookie, as another browser has none of them."""
        self.browser = self._fresh()

    def get(self, path: str) -> httpx.Response:
        """What a page of the server's gets."""
        return self.browser.get(path)

    def post(self, path: str, body: Any = None) -> httpx.Response:
        """What a page of the server's is answered."""
        return self.browser.post(path, json={} if body is None else body)

    def delete(self, path: str) -> httpx.Response:
        """The same, of a DELETE."""
        return self.browser.delete(path)

    def me(self) -> str:
        """Whom the server takes this browser for; empty: nobody."""
        answer = self.get("/v1/identity/me")
        return str(answer.json()["principal"]["ref"]["id"]) if answer.is_success else ""

    def asked(self) -> str:
        """The provider's address that this browser is sent to."""
        return self.get("/login/shop?next=/access").headers["location"]

    def sign_on(self, company: Company) -> httpx.Response:
        """Go to the provider, sign in there, and come back."""
        return self.get(company.provider.sign_in(self.asked(), self.name))

    def add_passkey(self) -> httpx.Response:
        """Have the authenticator make a passkey."""
        options = self.post("/v1/factors/passkeys/options").json()["options"]
        made = self.authenticator.create(options)
        return self.post("/v1/factors/passkeys", {"credential": made, "name": f"{self.name}'s key"})

    def sign_in(self) -> httpx.Response:
        """Sign in by the passkey alone."""
        options = self.post("/v1/login/passkey/options").json()["options"]
        return self.post("/v1/login/passkey", {"credential": self.authenticator.get(options)})

    def step_up(self) -> httpx.Response:
        """Show the passkey in the session that there is."""
        options = self.post("/v1/step-up/options").json()["options"]
        return self.post("/v1/step-up", {"method": "passkey", "credential": self.authenticator.get(options)})

    def _fresh(self) -> httpx.Client:
        headers = {"origin": self.url, "sec-fetch-site": "same-origin", "accept": "application/json"}
        return httpx.Client(base_url=self.url, verify=self._tls, timeout=20, trust_env=False, headers=headers)
