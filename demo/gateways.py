"""A legacy web tool behind nginx and an API behind Envoy: neither knows of Everproof, and each request is decided."""

import json
import re
import ssl
from collections.abc import Mapping
from typing import Final, Self

from joserfc.jwk import ECKey
from tests.gateways.caller import Answer, Caller, send
from tests.gateways.gateway import SHOP_HOST, WIKI, Gateways, binary, snippets
from tests.gateways.service import Seen, Service
from tests.gateways.site import SHOP

from demo.house import House
from demo.stage import Skipped, expect, scene
from demo.world import EVERPROOF

FORBIDDEN: Final = 403
OK: Final = 200
PAGE: Final = "/projects/shop/pages/opening-hours"


class Street:
    """The service and the gateways before it."""

    def __init__(self, house: House, secret: str) -> None:
        for name in ("nginx", "envoy"):
            if binary(name) is None:
                raise Skipped(f"{name} is not installed")
        self.house = house
        self.service = Service()
        self.gateways = Gateways(
            house.world.made("gateways"),
            everproof=house.world.port,
            service=self.service.port,
            secret=secret,
            ca=house.ca,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.gateways.stop()
        self.service.stop()

    def ask(
        self, who: str, gateway: str, host: str, target: str, headers: Mapping[str, str] | None = None
    ) -> tuple[Answer, list[Seen]]:
        """What somebody with a session is answered, and what the service saw of it."""
        session = json.loads((self.house.world.person(who).home / "session.json").read_text())
        port = self.gateways.port(gateway)
        caller = Caller(who, self.house.world.url, self.house.world.port, ssl.create_default_context())
        caller.key, caller.token = ECKey.import_key(session["key"]), session["token"]
        caller.jwk = caller.key.as_dict(private=False)  # type: ignore[assignment]
        caller.nonce = send(port, "GET", target, host, {}).headers["dpop-nonce"]
        before = len(self.service.seen)
        return caller.ask(port, "GET", target, host, headers), self.service.seen[before:]


STREETS: Final[list[Street]] = []


def street() -> Street:
    """The one that the first scene has laid out."""
    if not STREETS:
        raise Skipped("there is no gateway")
    return STREETS[0]


def told(house: House, asked: str, answer: Answer) -> str:
    """Why a gateway's caller was refused."""
    house.refusals.append((f"{asked}    # {answer.status}", json.dumps(answer.json, indent=2, ensure_ascii=False)))
    expect(answer.status == FORBIDDEN, f"status {answer.status}: {answer.body!r}")
    return str(answer.json["detail"]).splitlines()[0]


@scene("a wiki behind nginx and an API behind Envoy get routes, as code")
def routes(house: House) -> str:
    world, alice = house.world, house.world.person("alice")
    secret = world.folder / "edge.secret"
    alice.everproof("identity", "gateway", "add", "edge", "--secret", str(secret))
    STREETS.append(world.enter(Street(house, secret.read_text().strip())))
    found = {name: text for name, text in snippets().items() if "/" in name}
    for name, text in {**found, "routes/shop.json": json.dumps(SHOP, indent=1)}.items():
        file = house.policy / ".everproof" / name
        file.parent.mkdir(exist_ok=True)
        # Who reads the wiki and who uses the API are the developers here, whom there are already.
        file.write_text(text.replace('"readers"', '"developers"').replace('"customers"', '"developers"'))
    house.commit_policy(alice, "Routes of the wiki and the API")
    alice.run(EVERPROOF, "policy", "apply", "HEAD", at=house.policy)
    return "they rule; nginx and Envoy run with the configurations of docs/gateways.md"


@scene("carol reads a page of the legacy wiki behind nginx")
def read(_house: House) -> str:
    answer, seen = street().ask("carol", "nginx", WIKI, PAGE)
    expect(answer.status == OK and len(seen) == 1, str(answer))
    expect(seen[0].header("x-everproof-principal") == "user:carol", str(seen))
    return f"the wiki was told {seen[0].header('x-everproof-principal')}, and has no token of hers"


@scene("carol opens the wiki's administration in her browser", attack=True)
def administer(_house: House) -> str:
    answer, seen = street().ask("carol", "nginx", WIKI, "/admin", {"accept": "text/html"})
    expect(answer.status == FORBIDDEN and not seen, str(answer))
    page = answer.body.decode()
    expect("<script" not in page and "Not allowed" in page, page)
    entry = re.search(r"Recorded as</dt><dd>(\S+), number (\d+)", page)
    expect(entry, page)
    assert entry is not None
    return f"refused: a page says why; it is entry {entry[2]} of the ledger"


@scene("carol says in a header that she is alice, and hides a path", attack=True)
def forge(house: House) -> str:
    answer, seen = street().ask("carol", "nginx", WIKI, PAGE, {"X-Everproof-Principal": "user:alice"})
    expect(answer.status == OK and "alice" not in str(seen), str(seen))
    answer, seen = street().ask("carol", "nginx", WIKI, "/projects/shop/pages/..%2f..%2f..%2fadmin")
    expect(not seen, str(seen))
    return f"the wiki is told user:carol; refused: {told(house, 'GET wiki.example/…/..%2f..%2fadmin', answer)}"


@scene("carol calls the API behind Envoy")
def call(_house: House) -> str:
    answer, seen = street().ask("carol", "envoy", SHOP_HOST, "/v1/orders/7")
    expect(answer.status == OK and len(seen) == 1, str(answer))
    return f"the operation getOrder, for {seen[0].header('x-everproof-principal')}"


@scene("carol calls a route of the API that is not in its document", attack=True)
def undocumented(house: House) -> str:
    answer, seen = street().ask("carol", "envoy", SHOP_HOST, "/v1/internal/metrics")
    expect(not seen, str(seen))
    return f"refused: {told(house, 'GET api.example/v1/internal/metrics', answer)}"
