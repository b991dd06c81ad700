"""A whole server in this process with clients of many kinds, people at browsers, and Authlib as a relying party."""

import base64
import hashlib
import json
import secrets
import warnings
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import httpx
from joserfc.jwk import ECKey
from starlette.requests import Request

from everproof.app import Everproof
from everproof.authorize.store import StoredBundle, save_bundle
from everproof.identity import roster
from everproof.identity.sessions import Beginning, Session
from everproof.kernel.settings import Outbound, Settings
from everproof.kernel.words import Ref
from everproof.policy import load_bundle
from everproof.policy.starter import starter_files
from everproof.server.application import application
from everproof.server.browser import Browser
from everproof.storage import Transaction
from tests.conftest import SettableClock
from tests.server.asgi import Answer, call

with warnings.catch_warnings(record=True):
    # It would rather use another HTTP library, and says so by a filter of its own.
    from authlib.integrations.starlette_client import (  # type: ignore[import-untyped]
        OAuth,
        StarletteOAuth2App,
    )

URL = "https://everproof.example"
SECRET = "a" * 64
FORM = "application/x-www-form-urlencoded"
VERIFIER = secrets.token_urlsafe(48)

CLIENTS = """\
[clients.grafana]
title = "Grafana"
redirect_uris = ["https://grafana.example/login/generic_oauth"]
authentication = "client_secret_basic"
secret_sha256 = ["{secret}"]
first_party = true
post_logout_redirect_uris = ["https://grafana.example/login"]
backchannel_logout_uri = "{backchannel}"

[clients.argo-cd]
title = "Argo CD"
redirect_uris = ["https://argo.example/auth/callback", "http://localhost:8085/auth/callback"]
authentication = "none"
algorithm = "ES256"
first_party = true
tells_groups = ["platform"]
device = true

[clients.wiki]
title = "The wiki"
groups = ["everyone"]
redirect_uris = ["https://wiki.example/callback?tenant=1"]
authentication = "private_key_jwt"
keys = [{jwk}]

[clients.vault]
redirect_uris = ["https://vault.example/callback"]
authentication = "client_secret_post"
secret_sha256 = ["{secret}"]
first_party = true
factor_max_age_seconds = 300

[clients.payroll]
redirect_uris = ["https://payroll.example/callback"]
authentication = "client_secret_basic"
secret_sha256 = ["{secret}"]
first_party = true
groups = ["finance"]
"""

CALLBACKS = {
    "grafana": "https://grafana.example/login/generic_oauth",
    "argo-cd": "https://argo.example/auth/callback",
    "wiki": "https://wiki.example/callback?tenant=1",
    "vault": "https://vault.example/callback",
    "payroll": "https://payroll.example/callback",
}


def challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def basic(client: str, secret: str = SECRET) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{quote(client, safe='')}:{secret}".encode()).decode()}


def asks(client: str = "grafana", **changes: str | None) -> dict[str, str]:
    """The parameters of an honest request, with changes; those that are None are left out."""
    fields: dict[str, str | None] = {
        "response_type": "code", "client_id": client, "redirect_uri": CALLBACKS.get(client, ""),
        "scope": "openid profile email groups", "state": "s-1", "nonce": "n-1", "code_challenge": challenge(VERIFIER),
        "code_challenge_method": "S256", **changes,
    }  # fmt: skip
    return {name: value for name, value in fields.items() if value is not None}


def claims(token: str, part: int = 1) -> dict[str, Any]:
    """What a token says, unverified; of ``part`` 0, its header."""
    segment = token.split(".")[part]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return found


def said(answer: Answer) -> dict[str, str]:
    """The parameters of the address that a browser is sent to."""
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


class Person:
    """Somebody at a browser, in a session if they have a cookie."""

    def __init__(self, site: "Site", session: Session | None = None, cookie: str = "") -> None:
        self.site = site
        self.session = session
        self.cookie = cookie

    @property
    def id(self) -> str:
        """Who it is."""
        assert self.session is not None
        return self.session.principal.id

    async def send(
        self, method: str, path: str, body: object = b"", *, query: str = "", headers: Mapping[str, str] | None = None
    ) -> Answer:
        given = {"origin": self.site.url, "sec-fetch-site": "same-origin"} if headers is None else dict(headers)
        if self.cookie:
            given["cookie"] = self.cookie
        answer = await call(self.site.doors, method, path, body, given, query=query)
        if (fresh := answer.headers.get("set-cookie")) is not None:
            self.cookie = fresh.partition(";")[0]
        return answer

    async def follow(self, location: str) -> Answer:
        """Go where a browser is sent, as a link of another site is followed."""
        parts = urlsplit(location.removeprefix(self.site.url))
        followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
        return await self.send("GET", parts.path, query=parts.query, headers=followed)

    async def authorize(self, fields: Mapping[str, str] | None = None, **changes: str | None) -> Answer:
        query = urlencode(asks(**changes) if fields is None else fields)  # type: ignore[arg-type]
        return await self.follow(f"/oauth/authorize?{query}")

    async def consent(self, answer: Answer, reply: str = "yes") -> Answer:
        """Answer the question that the browser is sent to, and follow on."""
        assert answer.headers["location"].startswith("/consent/"), answer.headers
        given = await self.send("POST", "/v1" + answer.headers["location"], {"answer": reply})
        assert given.status == 200, given.body
        location: str = given.json["location"]
        if not location.startswith("/"):
            return Answer(303, {"location": location}, b"")
        return await self.follow(location)

    async def code(self, client: str = "grafana", **changes: str | None) -> str:
        answer = await self.authorize(None, client=client, **changes)
        assert answer.status == 303, answer.body
        if answer.headers["location"].startswith("/consent/"):
            answer = await self.consent(answer)
        return said(answer)["code"]


class Site:
    """The server, its doors, and the clock."""

    def __init__(self, app: Everproof, clock: SettableClock, wiki: ECKey) -> None:
        self.app = app
        self.clock = clock
        self.wiki = wiki
        self.doors = application(app)
        key = app.signing.derived("everproof/sessions/v1")
        self.url = app.settings.issuer
        self.browser = Browser(app.identity.sessions, clock, issuer=self.url, key=key)

    async def enrol(self, id_: str, *groups: str) -> Ref:
        ref = Ref("User", id_)
        await self.app.storage.write(
            lambda tx: roster.add_principal(tx, ref, name=id_.title(), emails=(f"{id_}@example.org",), groups=groups)
        )
        return ref

    async def enter(
        self, id_: str, *, ago: timedelta = timedelta(), instead_of: Session | None = None, **more: Any
    ) -> Person:
        """Somebody who has signed in at a browser, so long ago."""
        at = self.clock.now() - ago
        beginning = Beginning(
            principal=Ref("User", id_), kind="browser", provider="okta", authenticated=at, address="192.0.2.7", **more
        )
        session, cookie = await self.app.storage.write(
            lambda tx: self.browser.begin(tx, beginning, instead_of=instead_of)
        )
        return Person(self, session, cookie.partition(";")[0])

    def nobody(self) -> Person:
        return Person(self)

    async def show(self, person: Person, method: str, at: datetime | None = None) -> None:
        """Let a factor have been shown in a session."""
        assert person.session is not None
        id_ = person.session.id
        await self.app.storage.write(
            lambda tx: self.app.identity.sessions.show_factor(tx, id_, method, at or tx.now, {"user_verified": True})
        )

    async def token(self, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Answer:
        given = {"content-type": FORM, **(basic("grafana") if headers is None else headers)}
        return await call(self.doors, "POST", "/oauth/token", urlencode(fields).encode(), given)

    async def redeem(
        self, code: str, client: str = "grafana", headers: Mapping[str, str] | None = None, **changes: str
    ) -> Answer:
        fields = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACKS[client],
            "code_verifier": VERIFIER, **changes,
        }  # fmt: skip
        return await self.token(fields, basic(client) if headers is None else headers)

    async def userinfo(self, token: str) -> Answer:
        return await call(self.doors, "GET", "/oauth/userinfo", headers={"authorization": f"Bearer {token}"})

    async def settled(self) -> None:
        """Wait until every durable job that is due has been done."""
        await self.app.storage.write(lambda _tx: None)
        self.app.work.wake()
        await self.app.work.idle()

    def relying_party(self, client: str, **more: Any) -> "RelyingParty":
        return RelyingParty(self, client, **more)


class RelyingParty:
    """A web application whose sign-in is Authlib's, from discovery to the checked id_token."""

    def __init__(self, site: Site, client: str, *, secret: str | None = SECRET, **more: Any) -> None:
        self.client = client
        self.callback = CALLBACKS[client]
        self.session: dict[str, Any] = {}
        method = "client_secret_basic" if secret else "none"
        self.app: StarletteOAuth2App = OAuth().register(
            name=client,
            client_id=client,
            client_secret=secret,
            server_metadata_url=f"{URL}/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid profile email groups",
                "code_challenge_method": "S256",
                "token_endpoint_auth_method": method,
                "transport": httpx.ASGITransport(app=site.doors),
                **more,
            },
        )

    async def begin(self, **parameters: Any) -> str:
        """Where it sends the browser of somebody who wants to sign in."""
        answer = await self.app.authorize_redirect(self._request(""), self.callback, **parameters)
        return str(answer.headers["location"])

    async def end(self, location: str) -> dict[str, Any]:
        """What it makes of the browser's coming back: tokens, with the claims that it believes as ``userinfo``."""
        assert location.startswith(self.callback)
        found: dict[str, Any] = await self.app.authorize_access_token(self._request(urlsplit(location).query))
        return found

    async def sign_in(self, person: Person, **parameters: Any) -> dict[str, Any]:
        answer = await person.follow(await self.begin(**parameters))
        if answer.headers.get("location", "").startswith("/consent/"):
            answer = await person.consent(answer)
        return await self.end(answer.headers["location"])

    def _request(self, query: str) -> Request:
        return Request({
            "type": "http", "method": "GET", "path": "/", "headers": [], "query_string": query.encode(),
            "session": self.session,
        })  # fmt: skip


def opened(
    folder: Path,
    clock: SettableClock,
    *,
    database: str = "",
    backchannel: str = "",
    ca_file: Path | None = None,
    url: str = URL,
) -> Site:
    """A server that is not started yet."""
    wiki = ECKey.generate_key("P-256")
    public = wiki.as_dict(private=False)
    jwk = "{ " + ", ".join(f'{name} = "{public[name]}"' for name in ("kty", "crv", "x", "y")) + " }"
    secret = hashlib.sha256(SECRET.encode()).hexdigest()
    files = dict(starter_files())
    text = CLIENTS.replace("{secret}", secret).replace("{jwk}", jwk).replace("{backchannel}", backchannel)
    files["clients.toml"] = text.encode()
    outbound = Outbound(ca_file=ca_file, private_hosts=("127.0.0.1",))
    app = Everproof(Settings(state=folder, database=database, url=url, outbound=outbound), clock=clock)

    def rule(tx: Transaction) -> None:
        save_bundle(tx, StoredBundle(load_bundle(files).digest, "", files))

    app.storage.write_now(rule)
    return Site(app, clock, wiki)
