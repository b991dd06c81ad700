"""People: sign-on, passkeys, a login at the browser, another tool's sign-in, and access for a while."""

import base64
import re
import secrets
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import KeySet

from demo.company import CALLBACK, Visitor
from demo.house import House
from demo.jobs import OK, Answer
from demo.refusing import not_given
from demo.stage import expect, scene
from demo.world import EVERPROOF, Daemon

PRODUCTION = {"type": "Environment", "id": "production"}
START = "deployment:start"
SECONDS = 60
"""The shortest time that anything is granted for: a later scene shows its end."""
PATIENCE = 20.0

VISITORS: dict[str, Visitor] = {}


def visitor(house: House, name: str) -> Visitor:
    """Somebody's browser, the same in each scene."""
    if name not in VISITORS:
        VISITORS[name] = Visitor(house.world, str(house.ca), name)
    return VISITORS[name]


def answered(answer: httpx.Response) -> Answer:
    """An answer to a browser, in the form that the scenes look at."""
    request = answer.request
    return Answer(f"{request.method} {request.url.raw_path.decode()[:60]}", answer.status_code, answer.content, None)


def why_not(house: House, answer: httpx.Response, why: str) -> str:
    """The sentence by which a browser was refused, which must be like ``why``."""
    found = answered(answer)
    not_given(house, found, "")
    said = [line for text in _texts(found.json) for line in text.splitlines() if re.search(why, line)]
    expect(said, f"refused, but with another reason: {answer.text}")
    return f"refused: {said[0].strip()}"


def _texts(said: Any) -> Iterator[str]:
    """Every text in an answer."""
    if isinstance(said, str):
        if not said.startswith("urn:"):
            yield said
    elif isinstance(said, dict | list):
        parts = [part for name, part in said.items() if name != "title"] if isinstance(said, dict) else said
        for one in parts:
            yield from _texts(one)


def may(who: Visitor, action: str = START) -> httpx.Response:
    """What somebody hears who asks whether they may."""
    resource = {"type": PRODUCTION["type"], "id": PRODUCTION["id"]}
    me = who.get("/v1/identity/me").json()["principal"]["ref"]
    return who.post("/access/v1/evaluation", {"subject": me, "action": {"name": action}, "resource": resource})


@scene("dana signs on at the company's certified OpenID provider")
def sign_on(house: House) -> str:
    dana = visitor(house, "dana")
    came = dana.sign_on(house.company)
    expect(came.headers.get("location") == "/access", came.text)
    expect(dana.me() == "dana", "she is nobody")
    groups = [one["id"] for one in dana.get("/v1/identity/me").json()["principal"]["parents"] if one["type"] == "Group"]
    expect(groups == ["developers"], str(groups))
    return "dana is a developer, as her groups there say; linked by the provider's subject, not by her address"


@scene("mallory has dana's browser take the answer to a sign-on of his", attack=True)
def forged_callback(house: House) -> str:
    mallory, dana = visitor(house, "mallory"), visitor(house, "dana")
    back = house.company.provider.sign_in(mallory.asked(), "mallory")
    said = why_not(house, dana.get(back), "has not begun")
    expect(dana.me() == "dana", "she is mallory now")
    return said


@scene("an answer of the provider is brought a second time", attack=True)
def replayed_code(house: House) -> str:
    mallory = visitor(house, "mallory")
    back = house.company.provider.sign_in(mallory.asked(), "mallory")
    expect(mallory.get(back).is_redirect, "the first time did not go through")
    return why_not(house, mallory.get(back), "has not begun|was used")


@scene("dana adds a passkey, and signs in elsewhere with it alone")
def passkey(house: House) -> str:
    dana = visitor(house, "dana")
    added = dana.add_passkey()
    expect(added.status_code == httpx.codes.CREATED, added.text)
    dana.close_browser()
    entered = dana.sign_in()
    expect(entered.is_success and dana.me() == "dana", entered.text)
    return "no password, no provider: the key, and her finger on it"


@scene("a page that looks like ours has dana show her passkey to it", attack=True)
def phished(house: House) -> str:
    dana = visitor(house, "dana")
    victim = Visitor(house.world, str(house.ca), "dana")
    victim.authenticator = dana.authenticator.clone()
    victim.authenticator.lies.origin = "https://everpr00f.example"
    return why_not(house, victim.sign_in(), "made at")


@scene("dana's command line logs in at her browser")
def loopback(house: House) -> str:
    dana, person = visitor(house, "dana"), house.world.person("dana")
    opened = person.home / "opened"
    browser = person.home / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}.new && mv {opened}.new {opened}\n')
    browser.chmod(0o700)
    command = [EVERPROOF, "login", "--browser", "--server", house.world.url, "--ca", str(house.ca)]
    login = house.world.start(command, "dana-login", {**person.environment, "BROWSER": str(browser)})
    asked = dana.get(_appears(opened, login))
    consent = asked.headers["location"]
    expect(consent.startswith("/consent/"), asked.text)
    onwards = dana.post(f"/v1{consent}", {"answer": "yes"}).json()["location"]
    at = urlsplit(onwards)
    back = onwards if at.hostname == "127.0.0.1" else dana.get(f"{at.path}?{at.query}").headers["location"]
    with httpx.Client(trust_env=False) as same_machine:
        expect(same_machine.get(back).is_success, "the command did not take it")
    expect(login.process.wait(PATIENCE) == 0, login.log.read_text())
    expect('"dana"' in person.everproof("identity", "me", "--json"), "the command line is somebody else's")
    return "she was asked first; what came back is worth nothing without the command's own key"


@scene("dana reads the team's wiki: we are its OpenID provider")
def wiki(house: House) -> str:
    dana, verifier, nonce = visitor(house, "dana"), secrets.token_urlsafe(48), secrets.token_urlsafe(8)
    asked = {
        "response_type": "code", "client_id": "wiki", "redirect_uri": CALLBACK, "scope": "openid groups",
        "state": "s", "nonce": nonce, "code_challenge_method": "S256",
        "code_challenge": base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
    }  # fmt: skip
    back = dana.get(f"/oauth/authorize?{urlencode(asked)}").headers["location"]
    expect(back.startswith(CALLBACK), back)
    code = parse_qs(urlsplit(back).query)["code"][0]
    token = _token(house, code, verifier)
    expect(token.status_code == OK, token.text)
    keys = KeySet.import_key_set(dana.get("/jwks.json").json())
    claims = jwt.decode(token.json()["id_token"], keys, algorithms=["RS256"]).claims
    expect((claims["aud"], claims["nonce"]) == ("wiki", nonce), str(claims))
    again = _token(house, code, verifier)
    expect(again.status_code != OK, "the code was good twice")
    told = f"{claims['sub']}, of {', '.join(claims['groups'])}"
    return f"the wiki is told {told}; the same code again: {again.json()['error']}"


def _token(house: House, code: str, verifier: str) -> httpx.Response:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": verifier}
    somebody = Visitor(house.world, str(house.ca), "wiki")
    return somebody.browser.post("/oauth/token", data=form, auth=("wiki", house.company.wiki_secret))


def _appears(file: Path, maker: Daemon) -> str:
    deadline = time.monotonic() + PATIENCE
    while not file.exists():
        expect(maker.process.poll() is None, maker.log.read_text(errors="replace"))
        expect(time.monotonic() < deadline, f"nothing in {file.name}")
        time.sleep(0.02)
    return file.read_text()


@scene("dana is denied; the denial names the request that would help")
def request(house: House) -> str:
    dana = visitor(house, "dana")
    denied = may(dana)
    expect(denied.json()["decision"] is False, "she may without asking")
    expect(f"everproof request {START}" in denied.text, denied.text)
    wanted = {"action": START, "resource": PRODUCTION, "seconds": SECONDS, "reason": "hotfix for the checkout"}
    made = dana.post("/v1/access/requests", wanted)
    expect(made.status_code == httpx.codes.CREATED, made.text)
    house.world.kept["request"] = made.json()["id"]
    house.world.kept["digest"] = made.json()["digest"]
    return f"{made.json()['id'][:12]}…: {SECONDS} s, for “{made.json()['reason']}”; the group release is told"


def approve(house: House, who: Visitor) -> httpx.Response:
    """Approve dana's request."""
    kept = house.world.kept
    return who.post(f"/v1/access/requests/{kept['request']}/approve", {"digest": kept["digest"]})


@scene("an approver approves their own request", attack=True)
def own_request(house: House) -> str:
    erin = visitor(house, "erin")
    erin.sign_on(house.company)
    expect(erin.add_passkey().status_code == httpx.codes.CREATED, "no passkey")
    wanted = {"action": START, "resource": PRODUCTION, "seconds": SECONDS, "reason": "for myself"}
    own = erin.post("/v1/access/requests", wanted).json()
    answer = erin.post(f"/v1/access/requests/{own['id']}/approve", {"digest": own["digest"]})
    return why_not(house, answer, "own request")


@scene("erin approves dana's request without a fresh factor", attack=True)
def fresh_factor(house: House) -> str:
    erin = visitor(house, "erin")
    erin.close_browser()
    erin.sign_on(house.company)
    answer = approve(house, erin)
    asked = answer.headers.get("www-authenticate", "")
    expect("insufficient_user_authentication" in asked, f"{answer.status_code} {asked} {answer.text}")
    return why_not(house, answer, "five minutes")


@scene("erin shows her passkey, goes on, and approves: dana may deploy")
def approved(house: House) -> str:
    erin, dana = visitor(house, "erin"), visitor(house, "dana")
    shown = erin.step_up()
    expect(shown.is_success, shown.text)
    given = approve(house, erin)
    expect(given.json().get("state") == "granted", given.text)
    house.world.kept["granted"] = str(time.monotonic())
    expect(may(dana).json()["decision"] is True, "she may not")
    expect(may(dana, "deployment:rollback").json()["decision"] is False, "she may more than was granted")
    grants = dana.get("/v1/access/grants").json()["grants"]
    expect([one["actions"] for one in grants] == [[START]], str(grants))
    return f"granted for {SECONDS} s: deployment:start, and nothing else"
