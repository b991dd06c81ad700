"""A whole server in this process, with people at browsers, and what they carry."""

import itertools
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from everproof.app import Everproof
from everproof.identity import roster
from everproof.identity.factors import totp
from everproof.identity.sessions import Beginning, Session
from everproof.kernel.settings import Settings
from everproof.kernel.words import Action, Ref, Resource
from everproof.server.application import application
from everproof.server.browser import Browser
from everproof.storage import Transaction
from tests.conftest import SettableClock
from tests.fakes.authenticator import Authenticator
from tests.server.asgi import Answer, call

URL = "https://everproof.example"


class Person:
    """Somebody at a browser, in a session if they have a cookie."""

    def __init__(self, house: "House", ref: Ref, session: str, cookie: str) -> None:
        self.house = house
        self.ref = ref
        self.session = session
        self.cookie = cookie
        self.secret = ""

    async def send(
        self, method: str, path: str, body: object = b"", *, query: str = "", headers: dict[str, str] | None = None
    ) -> Answer:
        given = {"origin": URL, "sec-fetch-site": "same-origin"} if headers is None else dict(headers)
        if self.cookie:
            given["cookie"] = self.cookie
        answer = await call(self.house.doors, method, path, body, given, query=query)
        if (fresh := answer.headers.get("set-cookie")) is not None:
            self.cookie = fresh.partition(";")[0]
        return answer

    async def post(self, path: str, **body: Any) -> Answer:
        return await self.send("POST", path, body)

    # ── what people do ─────────────────────────────────────────────────────────────────────────────────────────────

    async def add_passkey(self, key: Authenticator, name: str = "my key", kind: str = "passkey") -> Answer:
        asked = await self.post("/v1/factors/passkeys/options", kind=kind)
        assert asked.status == 200, asked.body
        credential = key.create(asked.json["options"])
        return await self.post("/v1/factors/passkeys", kind=kind, name=name, credential=credential)

    async def show_passkey(self, key: Authenticator, session: str = "") -> Answer:
        asked = await self.post("/v1/step-up/options", session=session)
        assert asked.status == 200, asked.body
        credential = key.get(asked.json["options"])
        return await self.post("/v1/step-up", session=session, method="passkey", credential=credential)

    async def enter(self, key: Authenticator) -> Answer:
        asked = await self.post("/v1/login/passkey/options")
        assert asked.status == 200, asked.body
        return await self.post("/v1/login/passkey", credential=key.get(asked.json["options"]))

    async def add_totp(self) -> Answer:
        begun = await self.post("/v1/factors/totp", name="phone")
        if begun.status != 201:
            return begun
        self.secret = begun.json["secret"]
        return await self.post("/v1/factors/totp/confirm", id=begun.json["id"], code=self.code())

    def code(self, steps: int = 0) -> str:
        """What the app shows now, or so many steps from now."""
        from base64 import b32decode

        secret = b32decode(self.secret + "=" * (-len(self.secret) % 8))
        return totp.code_at(secret, totp.step_of(self.house.clock.now()) + steps)

    async def show_code(self, code: str, method: str = "totp") -> Answer:
        return await self.post("/v1/step-up", method=method, code=code)

    @property
    def here(self) -> Session:
        found = self.house.app.identity.sessions.find(self.session)
        assert found is not None
        return found


class House:
    """The server and its clock."""

    def __init__(self, app: Everproof, clock: SettableClock) -> None:
        self.app = app
        self.clock = clock
        self.doors = application(app)
        self._numbers = itertools.count(1)
        self.browser = Browser(
            app.identity.sessions, app.storage.clock, issuer=URL, key=app.signing.derived("everproof/sessions/v1")
        )

    async def enrolled(self, name: str, *groups: str) -> Ref:
        """Somebody on record, who is nobody of another test."""
        ref = Ref("User", f"{name}-{next(self._numbers)}")
        await self.app.storage.write(
            lambda tx: roster.add_principal(tx, ref, name=name.title(), emails=[f"{ref.id}@x.test"], groups=groups)
        )
        return ref

    async def signed_in(self, ref: Ref, *, provider: str = "okta", at: datetime | None = None) -> Person:
        """The person at a browser, signed in by a provider just now, without a second factor."""
        beginning = Beginning(
            principal=ref, kind="browser", provider=provider, authenticated=at or self.clock.now(), factors={}
        )
        session, cookie = await self.app.storage.write(lambda tx: self.browser.begin(tx, beginning))
        return Person(self, ref, session.id, cookie.partition(";")[0])

    async def person(self, name: str, *groups: str) -> Person:
        return await self.signed_in(await self.enrolled(name, *groups))

    def stranger(self) -> Person:
        return Person(self, Ref("User", ""), "", "")

    def key(self, **how: Any) -> Authenticator:
        return Authenticator(**{"origin": URL, **how})

    def facts(self, person: Person) -> dict[str, Any]:
        """What the room says of somebody's request."""
        proof = self.app.identity.sessions.proof(person.session)
        about = Resource(ref=Ref("Ledger", "organisation"))
        found = self.app.factors.facts(proof, Action("ledger:read"), about, self.clock.now())
        return {fact.name: fact.value for fact in found}

    def notices(self, person: Ref) -> list[str]:
        """The subjects of what was sent to a person, the oldest first."""
        return [notice.subject for notice in self.sent if person in notice.to]

    @property
    def sent(self) -> list[Any]:
        telling: Any = self.app.factors.telling._notices
        return list(telling.sent)

    def events(self, person: Ref) -> list[dict[str, Any]]:
        """What was recorded of a person beside decisions, the oldest first."""
        found = [self.app.ledger.read(index) for index in range(self.app.ledger.size)]
        return [msgspec.json.decode(entry.body) for entry in found if entry.kind == "event" and entry.about == person]


class Heard:
    """Takes notices, and remembers them."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.reaches = True

    def send(self, _tx: Transaction, notice: Any) -> tuple[str, ...]:
        self.sent.append(notice)
        return ("job_x",) if self.reaches else ()


def opened(folder: Path, clock: SettableClock, *, database: str = "") -> House:
    """A server that is not started yet."""
    return House(Everproof(Settings(state=folder / "state", database=database, url=URL), clock=clock), clock)
