"""Each gateway before a service, as docs/gateways.md has it: what goes on, what is refused, and what is said of it."""

from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.gateways.caller import send
from tests.gateways.conftest import GATEWAYS, Door, require
from tests.gateways.gateway import SHOP_HOST, WIKI
from tests.gateways.site import Site
from tests.routes.test_paths import TRICKS

HOME = "/projects/everproof/pages/home"
UNDER = "/projects/everproof/pages"


def test_a_request_goes_on_with_who_makes_it(door: Door) -> None:
    answer, [seen] = door.ask(HOME + "?x=1%2F2")
    assert (answer.status, answer.body) == (200, b"the service")
    assert seen.target == HOME + "?x=1%2F2"
    assert seen.header("host") == WIKI
    assert seen.header("x-everproof-principal") == "service:crawler"
    assert seen.header("x-everproof-groups") == "customers,readers"
    assert seen.header("x-everproof-entry").startswith("ent_")
    keys = send(door.site.port, "GET", "/jwks.json", "localhost", {}).json
    token = jwt.decode(seen.header("x-everproof-assertion"), KeySet.import_key_set(keys), algorithms=["ES256"])
    assert token.claims["aud"] == f"https://{WIKI}"
    for name in ("authorization", "dpop", "x-everproof-gateway"):
        assert seen.header(name) == ""


def test_a_path_reaches_the_service_as_it_came(door: Door) -> None:
    for page in ("a%20b", "caf%C3%A9", "me%40x", "a/", "~x,(y)", "a:b=c&d+e", "a%26b"):
        answer, seen = door.ask(f"{UNDER}/{page}")
        assert (answer.status, [one.target for one in seen]) == (200, [f"{UNDER}/{page}"])


def test_a_body_reaches_the_service_and_not_everproof(door: Door) -> None:
    answer, [seen] = door.ask(HOME, method="POST", body=b"x" * 300_000)
    assert answer.status == 200
    assert seen.header("content-length") == "300000"


def test_who_is_not_proven_is_told_how(door: Door) -> None:
    before = len(door.site.service.seen)
    answer = send(door.port, "GET", HOME, WIKI, {"accept": "application/json"})
    assert (answer.status, answer.json["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("DPoP")
    assert answer.headers["dpop-nonce"] == door.site.callers["crawler"].nonce
    assert len(door.site.service.seen) == before


def test_the_reason_reaches_a_program(door: Door) -> None:
    answer, seen = door.ask("/admin", headers={"accept": "application/json"})
    assert (answer.status, seen) == (403, [])
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["code"] == "denied"
    assert answer.json["extra"]["receipt"]["entry_id"].startswith("ent_")
    assert answer.json["extra"]["reason"]


def test_the_reason_reaches_a_person(door: Door) -> None:
    answer, seen = door.ask("/admin", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (answer.status, seen) == (403, [])
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert b"Not allowed" in answer.body
    assert b"GET wiki.example/admin" in answer.body
    assert b"<script" not in answer.body


def test_what_is_in_no_route_is_refused_even_to_an_owner(door: Door) -> None:
    for method, target in (("GET", "/else"), ("DELETE", "/admin"), ("PUT", HOME), ("OPTIONS", "/"), ("PROPFIND", "/")):
        answer, seen = door.ask(target, method=method, who="root")
        assert (answer.status, seen) == (403, []), (method, target)
    assert door.ask("/admin", who="root")[0].status == 200


@pytest.mark.parametrize("trick", TRICKS)
def test_attack_a_path_with_two_readings_reaches_no_service(door: Door, trick: str) -> None:
    for target in TRICKS[trick]:
        if not {" ", "\t", "\n"}.isdisjoint(target):
            continue  # that would be another request line
        asked = UNDER + target if target.startswith("/") else target
        answer, seen = door.ask(asked, who="root")
        assert seen == [], (asked, seen)
        assert answer.body != b"the service"
        assert answer.status == 0 or answer.status >= 300 or door.name == "caddy", (asked, answer)


def test_attack_a_client_says_who_it_is(door: Door) -> None:
    names = (
        "X-Everproof-Principal",
        "x-everproof-principal",
        "X-EVERPROOF-GROUPS",
        "X-Everproof-Assertion",
        "X-Everproof-Entry",
    )
    for name in names:
        answer, [seen] = door.ask(HOME, headers={name: "admin"})
        assert answer.status == 200
        assert "admin" not in str(seen.headers)
        assert seen.header("x-everproof-principal") == "service:crawler"


def test_attack_a_client_without_groups_says_which_it_is_in(door: Door) -> None:
    """What is empty must take the place of what a client says all the same."""
    answer, [seen] = door.ask(HOME, who="loner", headers={"X-Everproof-Groups": "owners"})
    assert answer.status == 200
    assert seen.header("x-everproof-groups") == ""
    assert seen.header("x-everproof-principal") == "service:loner"


def test_attack_a_client_says_who_it_is_with_underscores(door: Door) -> None:
    """Behind CGI and WSGI, `X_Everproof_Principal` and `X-Everproof-Principal` are one variable."""
    for name in ("X_Everproof_Principal", "X-Everproof_Principal", "x_everproof_groups", "X_EVERPROOF_ASSERTION"):
        answer, seen = door.ask(HOME, headers={name: "admin"})
        assert all("admin" not in str(one.headers) for one in seen)
        assert answer.status >= 400 or seen


def test_attack_a_client_says_that_it_is_the_gateway(door: Door) -> None:
    _, seen = door.ask(HOME, headers={"X-Everproof-Gateway": "egw_" + "A" * 43})
    assert all(one.header("x-everproof-gateway") == "" for one in seen)
    answer, seen = door.ask("/admin", headers={"X-Everproof-Gateway": door.site.secret})
    assert (answer.status, seen) == (403, [])


def test_attack_a_client_says_that_it_asks_for_something_else(door: Door) -> None:
    lies = {
        "X-Forwarded-Uri": HOME, "X-Forwarded-Method": "GET", "X-Forwarded-Host": WIKI, "X-Original-URI": HOME,
        "X-Original-Method": "GET", "X-Original-Host": WIKI, "X-Envoy-Original-Path": HOME, "X-Forwarded-Prefix": HOME,
    }  # fmt: skip
    for headers in (lies, *({name: value} for name, value in lies.items())):
        answer, seen = door.ask("/admin", headers=headers)
        assert (answer.status, seen) == (403, []), headers
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        answer, seen = door.ask(HOME, headers={name: "DELETE"})
        assert (answer.status, seen) == (403, []), name
    for name in ("X-Original-URL", "X-Rewrite-URL"):
        answer, seen = door.ask(HOME, headers={name: "/admin"})
        assert (answer.status, seen) == (403, []), name


def test_attack_another_host(door: Door) -> None:
    for host in ("WIKI.example", "wiki.example.", f"wiki.example:{door.port}", "evil.example", "wiki.example@evil", ""):
        answer, seen = door.ask("/admin", who="root", host=host)
        assert seen == [], host
        assert answer.body != b"the service"  # Caddy answers nothing, with 200, where no site has the name
    for target in ("http://evil.example/admin", "https://wiki.example/admin", "http://evil.example" + HOME):
        _, seen = door.ask(target)
        assert all((one.target, one.header("host")) == (HOME, WIKI) for one in seen), (target, seen)


def test_attack_a_second_host(door: Door) -> None:
    for other in ("evil.example", SHOP_HOST, WIKI):
        _, seen = door.ask(HOME, headers={"Host": other})
        assert all((one.target, one.header("host")) == (HOME, WIKI) for one in seen), (other, seen)


def test_attack_a_client_has_the_gateway_drop_what_is_ours(door: Door) -> None:
    """What `Connection` names is for one hop alone, and is dropped by proxies before they pass a request on."""
    for name in ("X-Everproof-Principal", "x-everproof-groups", "X-Everproof-Assertion", "X-Everproof-Entry", "Host"):
        for value in (name, f"close, {name}", f"keep-alive,{name}"):
            _, seen = door.ask(HOME, headers={"Connection": value})
            for one in seen:
                assert one.header("x-everproof-principal") == "service:crawler", (value, one)
                assert one.header("x-everproof-assertion"), (value, one)
                assert one.header("x-everproof-entry"), (value, one)
    for name in ("X-Everproof-Gateway", "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Host", "DPoP"):
        answer, seen = door.ask("/admin", headers={"Connection": f"close, {name}"})
        assert (answer.status >= 400, seen) == (True, []), name


def test_attack_a_connection_that_becomes_another_protocols(door: Door) -> None:
    """After `Upgrade: h2c` the gateway would pass bytes on, and a service that takes it would see requests in them."""
    for value in ("h2c", "H2C", "websocket, h2c", "h2c,websocket", "tls/1.0, h2c"):
        headers = {
            "Connection": "Upgrade, HTTP2-Settings",
            "Upgrade": value,
            "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA",
        }
        _, seen = door.ask(HOME, headers=headers)
        assert all("h2c" not in one.header("upgrade").lower() for one in seen), (value, seen)
    before = len(door.site.service.seen)
    send(door.port, "PRI", "*", WIKI, {}, b"SM\r\n\r\n")
    assert len(door.site.service.seen) == before


def test_attack_a_proof_is_shown_again(door: Door) -> None:
    caller = door.site.callers["crawler"]
    proof = caller.proof("GET", f"https://{WIKI}{HOME}", caller.token)
    assert door.ask(HOME, headers={})[0].status == 200
    headers = {"authorization": f"DPoP {caller.token}", "dpop": proof}
    assert send(door.port, "GET", HOME, WIKI, headers).status == 200
    assert send(door.port, "GET", HOME, WIKI, headers).status == 401
    assert send(door.port, "POST", HOME, WIKI, headers).status == 401
    assert send(door.port, "GET", HOME + "2", WIKI, headers).status == 401


def test_attack_two_requests_in_one(door: Door) -> None:
    """What the gateway takes for one request's body, the service may not take for a request."""
    inner = b"GET /admin HTTP/1.1\r\nHost: wiki.example\r\n\r\n"
    for headers in (
        {"Transfer-Encoding": "chunked"},
        {"Transfer-Encoding": "xchunked"},
        {"Transfer-Encoding ": "chunked"},
        {"Transfer-Encoding": "identity, chunked"},
        {"Content-length": "0"},
        {"Content-Length": "+5"},
    ):
        _, seen = door.ask(HOME, method="POST", headers=headers, body=b"0\r\n\r\n" + inner)
        assert all(one.target == HOME for one in seen), (headers, seen)
        assert len(seen) <= 1


def test_attack_a_header_of_a_megabyte(door: Door) -> None:
    for name in ("X-Large", "Cookie"):
        answer, seen = door.ask(HOME, headers={name: "a" * 1_000_000})
        assert seen == []
        assert answer.status == 0 or answer.status >= 400
    assert door.ask(HOME)[0].status == 200


def test_attack_a_token_in_a_query_or_another_scheme(door: Door) -> None:
    token = door.site.callers["crawler"].token
    for headers in (
        {"authorization": f"Bearer {token}"},
        {"cookie": f"token={token}"},
        {"authorization": "Basic YTpi"},
    ):
        assert send(door.port, "GET", f"{HOME}?access_token={token}", WIKI, headers).status == 401


def test_connections_to_everproof_are_kept(door: Door) -> None:
    door.ask(HOME)
    before = _connections(door.site.port)
    for _ in range(12):
        assert door.ask(HOME)[0].status == 200
    assert len(_connections(door.site.port) - before) <= 2


def test_what_is_not_in_the_document_does_not_reach_the_api(site: Site) -> None:
    require("envoy")
    door = Door("envoy", site.gateway("envoy"), site)
    answer, [seen] = door.ask("/v1/orders/7", host=SHOP_HOST)
    assert (answer.status, seen.target) == (200, "/v1/orders/7")
    for method, target in (
        ("GET", "/v1/internal/metrics"),
        ("DELETE", "/v1/orders/7"),
        ("GET", "/orders"),
        ("GET", "/"),
    ):
        answer, more = door.ask(target, method=method, host=SHOP_HOST, who="root", headers={"accept": "*/*"})
        assert (answer.status, answer.json["code"], more) == (403, "no-route", []), target
    answer, more = door.ask("/v1/orders", method="POST", host=SHOP_HOST)
    assert (answer.status, more) == (403, [])


def test_with_everproof_stopped_everything_is_refused_and_all_that_passed_was_recorded(site: Site) -> None:
    for name in GATEWAYS:
        require(name)
    doors = [Door(name, site.gateway(name), site) for name in GATEWAYS]
    assert all(door.ask(HOME)[0].status == 200 for door in doors)
    site.everproof.stop()
    try:
        for door in doors:
            for target in (HOME, "/", "/admin", "/else", "/v1/gateway/refusal", "/everproof"):
                answer, seen = door.ask(target, who="root")
                assert seen == [], door.name
                assert answer.status >= 400, door.name
        entries = {entry["id"]: entry for entry in site.entries() if entry.get("action") == "api:call"}
        passed = [(seen.header("x-everproof-entry"), seen) for seen in site.service.seen]
        assert len({entry for entry, _ in passed}) == len(passed) > 20
        for id_, one in passed:
            assert entries[id_]["decision"] == "allow"
            assert entries[id_]["detail"]["path"] == one.target.partition("?")[0]
            assert entries[id_]["detail"]["method"] == one.line.split(" ")[0]
            assert entries[id_]["detail"]["host"] == one.header("host")
    finally:
        site.everproof.start()
        site.everproof.wait(site.port)
        for caller in site.callers.values():
            caller.nonce = ""
            caller.log_in()


def _connections(port: int) -> set[str]:
    """The local ends of connections to a port of this machine, those just closed too (proc(5), net/tcp)."""
    remote = f"0100007F:{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[2] == remote}
