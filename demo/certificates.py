"""Certificates: a service of a partner's SPIFFE trust domain, and those who would like to be it."""

import http.client
import json
import ssl
from typing import Final
from urllib.parse import quote

from tests.pki import Leaf, TrustDomain

from demo.house import House
from demo.jobs import OK, Answer
from demo.refusing import not_given
from demo.stage import expect, scene
from demo.world import EVERPROOF

DOMAIN: Final = TrustDomain("partner.example")
TRUST: Final = f"""\
[spiffe]
trust_domain = "{DOMAIN.domain}"
bundle = "trust/partner.json"

[[binding]]
name = "partner-billing"
id = "partner/{{path}}"
groups = ["partners"]
claims.path = "billing"
"""
POLICY: Final = """\
@id("partners/orders")
@title("Our partners read the orders")
permit (principal in Group::"partners", action == Action::"api:call", resource == Route::"orders");
"""
QUESTION: Final = {
    "subject": {"type": "Service", "id": "partner/billing"},
    "action": {"name": "api:call"},
    "resource": {"type": "Route", "id": "orders"},
}


class Service:
    """A process with a certificate, or without one, on one connection."""

    def __init__(self, house: House, leaf: Leaf | None, **headers: str) -> None:
        self._headers = headers
        context = ssl.create_default_context(cafile=str(house.ca))
        if leaf is not None:
            context.load_cert_chain(leaf.write(house.world.folder, "svid"))
        self._connection = http.client.HTTPSConnection("localhost", house.world.port, context=context, timeout=20)

    def call(self, method: str, path: str, content: str = "", **headers: str) -> Answer:
        """One request."""
        self._connection.request(method, path, content, {**self._headers, **headers})
        response = self._connection.getresponse()
        return Answer(f"{method} {path}", response.status, response.read(), None)

    def ask(self) -> Answer:
        """Whether it may read the orders."""
        return self.call("POST", "/access/v1/evaluation", json.dumps(QUESTION), **{"content-type": "application/json"})

    def who(self, **headers: str) -> Answer:
        """Who the server takes it for."""
        return self.call("GET", "/v1/identity/me", **headers)

    def token(self) -> str:
        """A token that is bound to its certificate."""
        kind = {"content-type": "application/x-www-form-urlencoded"}
        answer = self.call("POST", "/oauth/token", "grant_type=client_credentials", **kind)
        expect(answer.status == OK, f"status {answer.status}: {answer.json}")
        return str(answer.json["access_token"])


def trust_partner(house: House) -> None:
    """Alice lets a trust domain's services in, by a signed commit."""
    alice = house.world.person("alice")
    folder = house.policy / ".everproof"
    (folder / "trust" / "partner.toml").write_text(TRUST)
    (folder / "trust" / "partner.json").write_bytes(DOMAIN.bundle())
    (folder / "policies" / "partners.cedar").write_text(POLICY)
    house.commit_policy(alice, "Our partner's services")
    alice.run(EVERPROOF, "policy", "apply", "HEAD", at=house.policy)


@scene("a service asks with an SVID of a partner's SPIFFE trust domain")
def foreign_svid(house: House) -> str:
    trust_partner(house)
    answer = Service(house, DOMAIN.svid("billing")).ask()
    expect(answer.json.get("decision") is True, f"status {answer.status}: {answer.json}")
    return 'it is Service::"partner/billing", and may read the orders'


@scene("another authority signs an SVID of the partner's", attack=True)
def forged_svid(house: House) -> str:
    try:
        answer = Service(house, TrustDomain(DOMAIN.domain).svid("billing")).ask()
    except (ssl.SSLError, ConnectionError, http.client.HTTPException) as error:
        return f"refused: the handshake fails ({type(error).__name__})"
    expect(condition=False, otherwise=f"it was answered {answer.status}")
    return ""


@scene("a client writes X-Forwarded-Client-Cert itself", attack=True)
def forged_header(house: House) -> str:
    victim = DOMAIN.svid("billing")
    answer = Service(house, None, **{"x-forwarded-client-cert": f'Cert="{quote(victim.pem, safe="")}"'}).who()
    return not_given(house, answer, "may not say with which certificate")


@scene("a token bound to a certificate is stolen, by a service with a certificate", attack=True)
def stolen_token(house: House) -> str:
    token = Service(house, DOMAIN.svid("billing")).token()
    answer = Service(house, DOMAIN.svid("billing")).who(authorization=f"Bearer {token}")
    return not_given(house, answer, "another certificate")
