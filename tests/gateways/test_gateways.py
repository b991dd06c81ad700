from joserfc import jwt
from joserfc.jwk import KeySet

from tests.gateways.caller import send
from tests.gateways.conftest import Door

HOME = "/projects/everproof/pages/home"


def test_a_request_goes_on_with_who_makes_it(door: Door) -> None:
    answer, [seen] = door.ask(HOME + "?x=1%2F2")
    assert (answer.status, answer.body) == (200, b"the service")
    assert seen.target == HOME + "?x=1%2F2"
    assert seen.header("host") == door.host
    assert seen.header("x-everproof-principal") == "service:crawler"
    assert seen.header("x-everproof-groups") == "customers,readers"
    assert seen.header("x-everproof-entry").startswith("ent_")
    keys = send(door.site.port, "GET", "/jwks.json", "localhost", {}).json
    token = jwt.decode(seen.header("x-everproof-assertion"), KeySet.import_key_set(keys), algorithms=["ES256"])
    assert token.claims["aud"] == f"https://{door.host}"
    for name in ("authorization", "dpop", "x-everproof-gateway"):
        assert seen.header(name) == ""
