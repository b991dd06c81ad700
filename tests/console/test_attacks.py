"""What others try by way of the pages: each is refused, and nothing happens."""

import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import pytest_asyncio

from everproof.access import Wanted
from everproof.identity.sessions import Session
from everproof.kernel.errors import InputError
from everproof.kernel.words import Ref
from everproof.server.browser import NAME
from everproof.server.console.page import WAYS
from everproof.server.console.paths import HOME, ours
from everproof.server.http import Application
from tests.console.site import Site
from tests.console.world import newcomer, signed_on
from tests.server.asgi import Answer, call

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("pages")]

FORM = "application/x-www-form-urlencoded"
INJECTED = """<script>alert(1)</script><img src=x onerror=alert(2)>"'{{7*7}}"""

ELSEWHERE = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https://evil.example/",
    "https:evil.example",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "/\t/evil.example",
    "/\n/evil.example",
    " //evil.example",
    "evil.example",
    "@evil.example",
    "/%0d%0aset-cookie:a=b\r\nset-cookie:a=b",
    "/ä",
    "/" + "a" * 5000,
]


class Page(HTMLParser):
    """What of a page could run, or look like something else."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.forms: list[str] = []
        self.fields: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self._script = False
        self.feed(body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._script = tag == "script"
        if tag in {"style", "iframe", "object", "embed", "base", "img"}:
            self.inline.append(tag)
        if tag == "script" and not (given.get("src") or "").startswith("/assets/"):
            self.inline.append("script")
        self.inline += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        if tag == "form" and given.get("method") == "post":
            self.forms.append(given["action"] or "")
        if tag in {"a", "form"}:
            self.links.append(given.get("href") or given.get("action") or "")

    def handle_data(self, data: str) -> None:
        if self._script and data.strip():
            self.inline.append(f"script: {data}")


class Reader:
    """Somebody at a browser, as the server sees it."""

    def __init__(self, site: Site, session: Session, cookie: str) -> None:
        self.site = site
        self.session = session
        self.cookie = cookie

    async def get(self, path: str, **headers: str) -> Answer:
        address, _, query = path.partition("?")
        given = {"accept": "text/html", "cookie": self.cookie, **_headers(headers)}
        return await call(self.site.doors, "GET", address, headers=given, query=query)

    async def post(self, path: str, fields: dict[str, str] | None = None, **headers: str) -> Answer:
        own = {"origin": self.site.url, "sec-fetch-site": "same-origin", "content-type": FORM, "cookie": self.cookie}
        given = {name: value for name, value in {**own, **_headers(headers)}.items() if value}
        return await call(self.site.doors, "POST", path, urlencode(fields or {}).encode(), given)


def _headers(given: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in given.items()}


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def mallory(site: Site) -> Reader:
    """Somebody who has shown a factor a moment ago, and whose words are all injected."""
    await newcomer(site, "mallory", "developers")
    session, cookie = await signed_on(
        site, "mallory", factors={"passkey": site.app.storage.clock.now()}, agent=INJECTED, address=INJECTED
    )
    reader = Reader(site, session, f"{NAME}={cookie['value']}")
    await reader.post("/factors/totp", {"name": "x"})
    asked = await reader.post(
        "/requests", {"action": "identity:sign-in", "resource": 'Client::"deploys"', "reason": INJECTED}
    )
    assert asked.status == 303, asked.body
    return reader


async def test_words_of_others_are_text_and_nothing_else(site: Site, mallory: Reader) -> None:
    for path in ("/requests", "/access", "/sessions", "/factors", f"/requests/new?{urlencode({'reason': INJECTED})}"):
        answer = await mallory.get(path)
        assert answer.status == 200
        assert b"<script>alert" not in answer.body
        assert b"onerror=alert(2)>" not in answer.body
        assert b"49" not in re.sub(rb"[0-9]{3,}", b"", answer.body) or path != "/requests"
        assert Page(answer.body).inline == []
    assert b"&lt;script&gt;alert(1)&lt;/script&gt;" in (await mallory.get("/requests")).body
    assert b"&lt;script&gt;" in (await mallory.get("/sessions")).body


@pytest.mark.parametrize(
    "path",
    [
        "/requests/" + INJECTED.replace("/", "|"),
        f"/login?{urlencode({'next': INJECTED})}",
        f"/device?{urlencode({'user_code': INJECTED[:60]})}",
        f"/requests/new?{urlencode({'action': INJECTED, 'type': INJECTED, 'id': INJECTED, 'for': INJECTED})}",
        f"/factors?{urlencode({'said': INJECTED})}",
        f"/oauth/authorize?{urlencode({'client_id': INJECTED, 'redirect_uri': INJECTED})}",
        "/nothing" + INJECTED.replace("/", "|"),
    ],
)
async def test_markup_in_an_error_is_text(mallory: Reader, path: str) -> None:
    answer = await mallory.get(path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert Page(answer.body).inline == []
    assert b"<img" not in answer.body


async def test_markup_in_what_a_form_says_is_text(mallory: Reader) -> None:
    answer = await mallory.post("/requests", {"action": INJECTED, "resource": INJECTED, "reason": INJECTED})
    assert answer.status == 400
    assert Page(answer.body).inline == []


@pytest.mark.parametrize("path", ELSEWHERE)
async def test_no_page_leads_to_another_site(mallory: Reader, path: str) -> None:
    with pytest.raises(InputError):
        ours(path)
    for page in ("/login", "/step-up", "/continue", "/resume", "/requests/new"):
        answer = await mallory.get(f"{page}?{urlencode({'next': path})}")
        assert answer.status == 400
        assert "evil" not in answer.headers.get("location", "")
        assert all(one.startswith("/") for one in Page(answer.body).links if one != "#main")
    for page in ("/step-up", "/requests"):
        answer = await mallory.post(page, {"next": path, "method": "totp", "code": "000000"})
        assert answer.status == 400


@pytest.mark.parametrize("path", ["/access", "/oauth/authorize?client_id=a&x=%2F%2Fb", "/requests?state=refused", "/"])
async def test_a_path_of_ours_is_where_it_goes_on(path: str) -> None:
    assert ours(path) == path
    assert ours("") == HOME


PAGES = [*(path for path, _ in WAYS), "/login", "/enrol", "/step-up", "/device", "/requests/new", "/continue",
         "/resume", "/nothing/there", "/consent/none", "/oauth/authorize"]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
async def test_no_page_is_framed_kept_or_run_by_others(mallory: Reader, path: str) -> None:
    for reader in (mallory, Reader(mallory.site, mallory.session, "")):
        answer = await reader.get(path)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        if answer.status == 303:
            continue
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        for part in ("frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for 'script'"):
            assert part in policy
        assert "unsafe" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert Page(answer.body).inline == []


def forms(site: Site) -> list[str]:
    """The path of every form that the pages send."""
    doors: Any = site.doors
    assert isinstance(doors, Application)
    exact = [path for method, path in doors._exact if method == "POST"]
    patterns = [route.declaration.path for method, route in doors._patterns if method == "POST"]
    own = ("/factors", "/requests", "/sessions", "/access", "/consent", "/device", "/step-up", "/logout")
    return [path for path in (*exact, *patterns) if path.startswith(own) and "backchannel" not in path]


async def test_no_form_is_taken_from_another_site(site: Site, mallory: Reader) -> None:
    found = forms(site)
    assert len(found) >= 15, found
    before = len(list(site.app.identity.sessions.of(Ref("User", "mallory"))))
    foreign: list[dict[str, str]] = [
        {"origin": "https://evil.example", "sec_fetch_site": "cross-site"},
        {"origin": "https://evil.example", "sec_fetch_site": ""},
        {"origin": "null", "sec_fetch_site": "cross-site"},
        {"origin": "", "sec_fetch_site": ""},
        {"origin": site.url, "sec_fetch_site": "same-site"},
        {"origin": site.url + ".evil.example", "sec_fetch_site": ""},
    ]
    for path in found:
        filled = path.replace("{id}", mallory.session.id).replace("{provider}", "okta")
        for headers in foreign:
            answer = await mallory.post(filled, {"answer": "yes", "name": "x"}, **headers)
            assert answer.status == 403, (filled, headers, answer.body)
    assert len(list(site.app.identity.sessions.of(Ref("User", "mallory")))) == before


async def test_no_form_is_taken_from_nobody(site: Site) -> None:
    nobody = Reader(site, None, "")  # type: ignore[arg-type]
    for path in forms(site):
        if path == "/logout":
            continue
        answer = await nobody.post(path.replace("{id}", "x"), {"answer": "yes", "method": "totp", "code": "1"})
        assert answer.status in {401, 403}, (path, answer.status)


async def test_no_page_is_looked_at_in_a_frame_of_another_site(mallory: Reader) -> None:
    framed = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"}
    answer = await mallory.get("/access", **framed)
    assert answer.status == 403
    assert b"mallory" not in answer.body


async def test_nobody_answers_for_another_by_a_page(site: Site, mallory: Reader) -> None:
    await newcomer(site, "oscar", "developers")
    _, cookie = await signed_on(site, "oscar", factors={"passkey": site.app.storage.clock.now()})
    oscar = Reader(site, mallory.session, f"{NAME}={cookie['value']}")
    proof = site.app.identity.sessions.proof(mallory.session.id)
    [mine] = (await site.app.access.requests.find(proof))[:1]  # type: ignore[index]
    for answer in ("approve", "refuse", "cancel"):
        given = {"answer": answer, "digest": mine.digest, "message": "yes"}
        assert (await oscar.post(f"/requests/{mine.id}", given)).status == 403
    assert (await mallory.post(f"/requests/{mine.id}", {"answer": "approve", "digest": mine.digest})).status == 403
    assert (await oscar.get(f"/requests/{mine.id}")).status == 403
    assert (await oscar.post(f"/sessions/{mallory.session.id}/end")).status == 403
    assert site.app.identity.sessions.is_live(mallory.session.id)


async def test_an_approval_is_of_what_was_seen(site: Site) -> None:
    await newcomer(site, "paula", "developers")
    await newcomer(site, "rupert", "release")
    asker = site.app.identity.sessions.proof((await signed_on(site, "paula"))[0].id)
    wanted = Wanted(action="identity:sign-in", resource=Ref("Client", "deploys"), seconds=3600, reason="x")
    record = (await site.app.access.requests.request(asker, wanted)).outcome  # type: ignore[union-attr]
    session, cookie = await signed_on(site, "rupert", factors={"passkey": site.app.storage.clock.now()})
    rupert = Reader(site, session, f"{NAME}={cookie['value']}")
    for digest in ("", "x", "0" * 64):
        answer = await rupert.post(f"/requests/{record.id}", {"answer": "approve", "digest": digest})
        assert answer.status in {400, 403}
    good = await rupert.post(f"/requests/{record.id}", {"answer": "approve", "digest": record.digest})
    assert good.headers["location"] == f"/requests/{record.id}?said=approve"


async def test_links_of_another_site_with_wrong_codes_lock_nobody_out(site: Site) -> None:
    await newcomer(site, "victim2", "developers")
    session, cookie = await signed_on(site, "victim2")
    victim = Reader(site, session, f"{NAME}={cookie['value']}")
    followed = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    for _ in range(8):
        shown = await victim.get("/device?user_code=BBBB-BBBB", **followed)
        assert shown.status == 200
        assert b'value="BBBB-BBBB"' in shown.body
        assert (await victim.get("/v1/device/BBBB-BBBB", **followed)).status == 403
    assert (await victim.get("/device?user_code=BBBB-BBBB", sec_fetch_site="same-origin")).status == 404


async def test_a_link_to_show_a_factor_to_a_session_that_was_stolen(site: Site) -> None:
    """Whoever sent it hopes for a touch: the page says which session asks, and from where."""
    await newcomer(site, "victim", "developers")
    stolen, _ = await signed_on(site, "victim", address="198.51.100.66", agent="curl/8.5 <b>")
    session, cookie = await signed_on(site, "victim", address="192.0.2.7")
    victim = Reader(site, session, f"{NAME}={cookie['value']}")
    shown = (await victim.get(f"/step-up?session={stolen.id}")).body.decode()
    assert "198.51.100.66" in shown
    assert "in another browser" in shown
    assert "in a terminal" not in shown
    assert "<b>" not in shown
    assert "198.51.100.66" not in (await victim.get("/step-up")).body.decode()


async def test_no_secret_stands_in_an_address(mallory: Reader) -> None:
    made = await mallory.post("/factors/totp", {"name": "app"})
    assert made.status == 200
    assert b"otpauth" not in made.body
    wrong = await mallory.post("/step-up", {"method": "totp", "code": "123456", "next": "/access"})
    assert b"123456" not in wrong.body
    page = Page(made.body)
    assert all("secret" not in link and not parse_qsl(urlsplit(link).query) for link in page.links)


@pytest.mark.parametrize("name", ["../page.py", "..%2fpage.py", "page.py", "", "tokens.css/../../page.py"])
async def test_nothing_but_the_pages_own_files_is_served(site: Site, name: str) -> None:
    answer = await call(site.doors, "GET", f"/assets/0000000000000000/{name}")
    assert answer.status == 404


async def test_programs_are_answered_as_before(site: Site) -> None:
    for path in ("/nothing", "/v1/nothing"):
        answer = await call(site.doors, "GET", path, headers={"accept": "application/json"})
        assert answer.headers["content-type"] == "application/problem+json"
    answer = await call(site.doors, "GET", "/v1/access/grants", headers={"accept": "text/html"})
    assert answer.headers["content-type"] == "application/problem+json"
