"""A person who is disabled is out: whatever they held, and whatever waited for them or came from them."""

import pytest
from benchmarks._site import Key
from benchmarks.leaver import GRANTS, ME, TOKENS, Leaver, Leavers

from everproof.identity import invite, roster
from everproof.identity.tickets import look_up_ticket, use_ticket
from everproof.kernel.errors import RefusedError
from everproof.kernel.words import Ref
from everproof.storage import Transaction
from tests.server.asgi import call
from tests.server.conftest import URL, Site
from tests.server.visitor import SAME_SITE


class Held:
    """What of all that somebody holds still opens something."""

    def __init__(self, site: Site, key: Key, nonce: str) -> None:
        self._site = site
        self._key = key
        self._nonce = nonce

    async def opens(self, person: Leaver) -> tuple[int, int, int]:
        """How many cookies, tokens and grants."""
        cookies = [await call(self._site.doors, "GET", ME, headers={**SAME_SITE, "cookie": c}) for c in person.cookies]
        tokens = [await call(self._site.doors, "GET", ME, headers=self._shown(token)) for token in person.tokens]
        answers = [answer.status for answer in (*cookies, *tokens)]
        assert set(answers) <= {200, 401}
        grants = self._site.app.access.grants.of(person.ref, self._site.clock.now())
        return answers[: len(cookies)].count(200), answers[len(cookies) :].count(200), len(grants)

    def _shown(self, token: str) -> dict[str, str]:
        return {"authorization": f"DPoP {token}", "dpop": self._key.proof("GET", URL + ME, self._nonce, token)}


async def test_a_leaver_is_out_with_every_session_token_and_grant(site: Site) -> None:
    app, key = site.app, Key()
    leavers = Leavers(2, key)
    leaver, other = leavers.people

    def enrol(tx: Transaction) -> None:
        for person in leavers.people:
            roster.add_principal(tx, person.ref, groups=["developers"])

    await app.storage.write(enrol)
    await app.storage.write(lambda tx: leavers.seed(app, tx))
    link = await app.storage.write(lambda tx: invite(tx, groups=(), by=leaver.ref))
    held = Held(site, key, app.identity.dpop.nonce)
    assert await held.opens(leaver) == (10, TOKENS, GRANTS)

    admin = await site.enrolled("Service", "boss", "administrators")
    answer = await admin.send("POST", f"/v1/identity/principals/User/{leaver.id}", {"disabled": True})
    assert answer.status == 200, answer.body
    assert await held.opens(leaver) == (0, 0, 0)
    assert app.identity.sessions.of(leaver.ref) == []
    ticket = look_up_ticket(app.storage, link.secret, "enrol")
    assert ticket.by == leaver.ref
    with pytest.raises(RefusedError, match="disabled"):
        await app.storage.write(lambda tx: use_ticket(tx, link.secret, "enrol"))

    back = await admin.send("POST", f"/v1/identity/principals/User/{leaver.id}", {"disabled": False})
    assert back.status == 200
    assert await held.opens(leaver) == (0, 0, 0)  # whoever comes back begins anew
    assert await held.opens(other) == (10, TOKENS, GRANTS)
    assert app.identity.directory.principal(Ref("User", leaver.id)) is not None
