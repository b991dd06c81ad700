"""A browser as the server sees one: a cookie, the headers that browsers add, and the key that a page makes."""

from collections.abc import Mapping
from typing import Any

from everproof.identity.sessions import Beginning, Session
from everproof.kernel.words import Ref
from everproof.server.browser import NAME, Browser
from tests.server.asgi import Answer, call
from tests.server.client import Client
from tests.server.conftest import URL, Site

SAME_SITE = {"origin": URL, "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}


def browser_of(site: Site) -> Browser:
    """What the doors of ``site`` know browsers by: made anew, as another process of the server would."""
    app = site.app
    key = app.signing.derived("everproof/sessions/v1")
    return Browser(app.identity.sessions, app.storage.clock, issuer=URL, key=key)


class Visitor:
    """Somebody at a browser."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.page = Client(site.doors, URL, site.clock)
        self.cookie = ""
        self.session: Session

    async def sign_in(self, user: str, *, instead_of: Session | None = None, **changes: Any) -> "Visitor":
        beginning = Beginning(
            **{
                "principal": Ref("User", user),
                "kind": "browser",
                "provider": "passkey",
                "authenticated": self.site.clock.now(),
                **changes,
            }
        )
        browser = browser_of(self.site)
        begun = await self.site.app.storage.write(lambda tx: browser.begin(tx, beginning, instead_of=instead_of))
        self.session = begun[0]
        self.keep(begun[1])
        return self

    def keep(self, set_cookie: str) -> None:
        """Do as browsers do with a ``Set-Cookie`` header."""
        pair, _, attributes = set_cookie.partition(";")
        assert [part.strip() for part in attributes.split(";")][:4] == ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"]
        self.cookie = "" if "Max-Age=0" in attributes else pair

    async def send(
        self, method: str, path: str, body: object = b"", headers: Mapping[str, str | None] = {}, *, query: str = ""
    ) -> Answer:
        """A request by a page of the server, unless ``headers`` say otherwise; without those that are None."""
        given: dict[str, str | None] = {**SAME_SITE, "cookie": self.cookie or None, **headers}
        kept = {name: value for name, value in given.items() if value is not None}
        answer = await call(self.site.doors, method, path, body, kept, query=query)
        if (set_cookie := answer.headers.get("set-cookie")) is not None:
            self.keep(set_cookie)
        return answer

    async def show_key(self, path: str) -> Answer:
        """Show the page's key at ``path``, with the server's nonce."""
        answer = await self.send("POST", path, headers={"dpop": self.page.proof("POST", path)})
        if answer.status == 401 and (nonce := answer.headers.get("dpop-nonce")):
            self.page.nonce = nonce
            answer = await self.send("POST", path, headers={"dpop": self.page.proof("POST", path)})
        return answer

    @property
    def secret(self) -> str:
        """The value of the cookie."""
        return self.cookie.removeprefix(f"{NAME}=")
