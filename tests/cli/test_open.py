"""`everproof open`, against a real server: a link that signs a browser in, once, and nobody unseen."""

import json
import ssl
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.cli.run import Home
from tests.cli.server import Server

TAKE = "/v1/login/handover/take"
LOOK = "/v1/login/handover/look"


def browser(server: Server) -> httpx.Client:
    """A browser at a page of the server."""
    context = ssl.create_default_context(cafile=str(server.state / "ca.pem"))
    return httpx.Client(base_url=server.url, verify=context, headers={"origin": server.url})


def link(ada: Home, *arguments: str) -> str:
    return str(json.loads(ada.everproof("open", "--json", *arguments).stdout)["link"])


def code(address: str) -> dict[str, Any]:
    return {"code": urlsplit(address).fragment}


def test_a_link_signs_a_browser_in_once(server: Server, ada: Home) -> None:
    address = link(ada, "/factors")
    assert address.startswith(f"{server.url}/from-terminal?next=%2Ffactors#cred_")
    with browser(server) as page, browser(server) as thief:
        assert page.get("/access").headers["location"] == "/login"
        assert page.post(LOOK, json=code(address)).json()["principal"] == {"type": "User", "id": "ada"}
        assert page.post(TAKE, json=code(address)).status_code == 200
        mine = page.get("/v1/sessions").json()["sessions"]
        assert [one["kind"] for one in mine if one["current"]] == ["browser"]
        assert thief.post(TAKE, json=code(address)).status_code == 403
        assert thief.get("/v1/sessions").status_code == 401


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ""])
def test_a_link_that_another_site_takes_up_signs_nobody_in(server: Server, ada: Home, origin: str) -> None:
    with browser(server) as page:
        for path in (LOOK, TAKE):
            answer = page.post(path, json=code(link(ada)), headers={"origin": origin})
            assert answer.status_code == 403
            assert "set-cookie" not in answer.headers


def test_a_link_of_one_session_is_no_link_of_another(server: Server, ada: Home) -> None:
    mine = urlsplit(link(ada)).fragment
    id_, _, challenge = mine.partition(".")
    with browser(server) as page:
        for forged in (f"cred_{'0' * 32}.{challenge}", f"{id_}.{challenge[:-2]}AA", id_, "", "." * 200):
            assert page.post(TAKE, json={"code": forged}).status_code == 401


def test_a_browser_hands_over_to_no_further_one(server: Server, ada: Home) -> None:
    with browser(server) as page:
        page.post(TAKE, json=code(link(ada)))
        answer = page.post("/v1/login/handover", headers={"sec-fetch-site": "same-origin"})
        assert answer.status_code == 403, answer.text


def test_the_browser_is_out_when_the_terminal_is(server: Server, ada: Home) -> None:
    with browser(server) as page:
        page.post(TAKE, json=code(link(ada)))
        late = code(link(ada))
        sessions = page.get("/v1/sessions").json()["sessions"]
        terminal = late["code"].partition(".")[0]
        assert terminal in {one["id"] for one in sessions}
        assert page.delete(f"/v1/sessions/{terminal}", headers={"sec-fetch-site": "same-origin"}).status_code == 200
        assert page.get("/v1/sessions").status_code == 401
        assert page.post(TAKE, json=late).status_code == 401
