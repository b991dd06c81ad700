"""The server under test, and people at browsers before it."""

import asyncio
import html
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from everproof.app import Everproof
from everproof.identity.sessions import Session
from everproof.identity.sign_on import read_sign_on
from everproof.integrations.sign_on import provider_kinds, sign_on_secrets
from everproof.kernel.words import Ref
from everproof.server.http import Application
from everproof.storage import Transaction
from tests.fakes import openid
from tests.fakes.lying_provider import LyingProvider

URL = "https://everproof.example"


class Site:
    """The server, in this process."""

    def __init__(self, app: Everproof, doors: Application, clock: Any, files: Mapping[str, bytes]) -> None:
        self.app, self.doors, self.clock, self.files = app, doors, clock, files
        self._from = 0

    async def begin(self) -> None:
        """Begin a test: nobody is signed in, and `entries` are those from now on."""
        sessions = self.app.identity.sessions

        def end(tx: Transaction) -> None:
            for session in list(sessions.all()):
                sessions.end(tx, session.id, "the test is over")

        await self.app.storage.write(end)
        sign_on = self.app.identity.sign_on
        sign_on.trust({})
        sign_on.trust(read_sign_on(self.files, provider_kinds()))
        sign_on.use_secrets(sign_on_secrets(self.app.settings.sign_on))
        sign_on.use_provisioned(self.app.provisioning.known_as)
        await self.entries()
        self._from = self.app.ledger.size

    def trust(self, secret: str = "", **files: str) -> None:
        """Have these sign-on files rule for the rest of the test, and no others; ``secret`` is the client's."""
        said = {f"sign-on/{name}.toml": text.encode() for name, text in files.items()}
        sign_on = self.app.identity.sign_on
        sign_on.trust({})  # so that nothing is known of any
        sign_on.trust(read_sign_on(said, provider_kinds()))
        if secret:
            sign_on.use_secrets(lambda _provider: secret)

    def visitor(self) -> "Visitor":
        """Somebody with a browser of their own."""
        return Visitor(self)

    def sessions(self, user: str) -> list[Session]:
        """The sessions of a user."""
        return self.app.identity.sessions.of(Ref("User", user))

    async def entries(self) -> list[dict[str, Any]]:
        """What the ledger has recorded, the oldest first."""
        self.app.attempts.close()
        await asyncio.gather(*self.app.attempts._recording)
        ledger = self.app.ledger
        return [json.loads(bytes(ledger.read(index).body)) for index in range(self._from, ledger.size)]


class Visitor:
    """A browser before the server: it keeps cookies and follows nothing by itself."""

    def __init__(self, site: Site) -> None:
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(site.doors), base_url=URL)

    @property
    def cookies(self) -> httpx.Cookies:
        return self._client.cookies

    async def get(self, address: str, **headers: str) -> httpx.Response:
        sent = {"accept": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self._client.get(address, headers=sent)

    async def post(self, path: str, form: Mapping[str, str], **headers: str) -> httpx.Response:
        sent = {
            "sec-fetch-site": "same-origin",
            "origin": URL,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        sent["content-type"] = "application/x-www-form-urlencoded"
        return await self._client.post(path, content=urlencode(form), headers=sent)

    async def ask(self, provider: str = "example", **query: str) -> str:
        """The provider's address that the server sends the browser to; for a step-up, by the link of its page."""
        if "step_up" in query:
            shown = await self.get(f"/step-up?session={query['step_up']}", sec_fetch_site="same-origin")
            query["mark"] = re.findall(r"[?;]mark=([\w-]+)", shown.text)[0]
        answer = await self.get(f"/login/{provider}?{urlencode(query)}", sec_fetch_site="same-origin")
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def sign_on(
        self,
        at: openid.Provider,
        account: str,
        provider: str = "example",
        browser: httpx.Client | None = None,
        **query: str,
    ) -> httpx.Response:
        """Go to the provider, sign in there, and come back: what the server then says."""
        return await self.get(at.sign_in(await self.ask(provider, **query), account, browser))

    async def me(self) -> str:
        """Who the server takes the browser for; empty: nobody."""
        answer = await self.get("/v1/identity/me")
        return answer.json()["principal"]["ref"]["id"] if answer.status_code == 200 else ""


async def answered(visitor: Visitor, liar: LyingProvider, **more: str) -> httpx.Response:
    """What the server says to an answer of the lying provider's."""
    asked = parts(await visitor.ask("liar"))
    liar.nonce = asked["nonce"]
    back = {"code": f"code-{uuid.uuid4()}", "state": asked["state"], **more}
    return await visitor.get(changed(f"{URL}/login/callback/liar", **back))


def onward(answer: httpx.Response) -> str:
    """Where a page leads that a browser leaves by itself."""
    assert answer.status_code == 200, answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self';" in policy
    return html.unescape(answer.text.partition('content="0;url=')[2].partition('"')[0])


def parts(address: str) -> dict[str, str]:
    """The query of an address."""
    return dict(parse_qsl(urlsplit(address).query))


def changed(address: str, **changes: str | None) -> str:
    """An address with other values in its query; None: without."""
    left = {name: value for name, value in (parts(address) | changes).items() if value is not None}
    return f"{address.partition('?')[0]}?{urlencode(left)}"
