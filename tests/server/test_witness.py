"""Witnesses over HTTPS: honest ones, and such as lie, stall or talk nonsense."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.types import Receive, Scope, Send

from everproof.identity.outbound import Outbound
from everproof.kernel.ids import new_id
from everproof.kernel.settings import Settings
from everproof.kernel.words import Entry, Ref
from everproof.keys import Keyring, SigningKey, open_root_key
from everproof.ledger import Ledger, RollbackError, verify_proof
from everproof.ledger.checkpoint import Checkpoint, open_checkpoint
from everproof.ledger.cosigning import MAX_ANSWER_BYTES, SplitViewError, Witnesses
from everproof.ledger.note import Cosigner, NoteSigner, parse_note, parse_vkey
from everproof.ledger.tlog_policy import QuorumError, parse_policy
from everproof.ledger.witness import make_witness, parse_submission
from everproof.server.http import Application, BareRoute, Reply
from everproof.server.http.body import read_body
from everproof.server.http.call import send_reply
from everproof.server.http.route import Declaration
from everproof.server.listener import Listener
from everproof.server.tls import Certificates
from everproof.server.witness import WitnessDoor
from everproof.storage import Storage
from tests.conftest import SettableClock

ORIGIN = "log.example"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VKEY = str(NoteSigner(ORIGIN, KEY).verifier)
SIGNING = SigningKey(kid="test", algorithm="Ed25519", private=KEY, since=datetime(2026, 1, 1, tzinfo=UTC))
ROGUE = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
Rogue = Callable[[bytes], Awaitable[Reply]]


class Town:
    """Witnesses on this machine, and ledgers that ask them. All certificates are of one folder's CA."""

    def __init__(self, folder: Path, clock: SettableClock, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._clock = clock
        self._stack = stack
        settings = Settings(state=folder / "tls", url="https://localhost")
        settings.state.mkdir()
        self.certificates = Certificates(settings, clock)

    async def serve(self, *routes: BareRoute) -> str:
        listener = Listener(Application(routes, title="witness", version="1"))
        port = await listener.listen("127.0.0.1", 0, self.certificates.context)
        self._stack.push_async_callback(listener.stop)
        return f"https://localhost:{port}"

    async def honest(self, name: str) -> tuple[str, str]:
        """The vkey and the address of a witness of this town's log."""
        storage = Storage.open(f"sqlite:///{self._folder / name}.db", clock=self._clock)
        await storage.start()
        self._stack.push_async_callback(storage.stop)
        service = make_witness(storage, KEY, f"witness.example/{name}", [VKEY])
        return service.vkey, await self.serve(*WitnessDoor(service).routes())

    async def rogue(self, behave: Rogue) -> tuple[str, str]:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            await send_reply(scope, send, await behave(await read_body(scope, receive)))

        declaration = Declaration(method="POST", path="/add-checkpoint", summary="Anything", body=str)
        return str(Cosigner("rogue.example", ROGUE).verifier), await self.serve(BareRoute(answer, declaration))

    def witnesses(self, quorum: int, *asked: tuple[str, str]) -> Witnesses:
        lines = [f"witness w{number} {key} {url}/" for number, (key, url) in enumerate(asked)]
        names = " ".join(f"w{number}" for number in range(len(asked)))
        policy = parse_policy("\n".join([*lines, f"group enough {quorum} {names}", "quorum enough"]).encode())
        outbound = Outbound(
            ca_file=self.certificates.ca_file, private_hosts=["localhost"], timeout_seconds=0.3,
            max_bytes=MAX_ANSWER_BYTES,
        )  # fmt: skip
        return Witnesses(policy, outbound.post, self._clock)

    @asynccontextmanager
    async def log(self, witnesses: Witnesses | None, name: str = "log") -> AsyncIterator[Ledger]:
        storage = Storage.open(f"sqlite:///{self.file(name)}", clock=self._clock)
        keyring = Keyring(storage, open_root_key("", self._folder))
        await storage.start()
        try:
            yield Ledger(storage, keyring, SIGNING, origin=ORIGIN, witnesses=witnesses)
        finally:
            await storage.stop()

    def file(self, name: str = "log") -> Path:
        return self._folder / f"{name}.db"

    async def grow(self, ledger: Ledger, count: int = 1) -> None:
        for _ in range(count):
            body = msgspec.Raw(b"{}")
            await ledger.record(
                Entry(id=new_id("ent"), at=self._clock.now(), kind="test", about=Ref("U", "a"), body=body)
            )


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    clock = SettableClock()
    clock.time = datetime.now(UTC)
    async with AsyncExitStack() as stack:
        yield Town(tmp_path, clock, stack)


def cosigners(ledger: Ledger, witnesses: Witnesses) -> tuple[int, set[str]]:
    """The size of the checkpoint that is published, and who cosigned it."""
    checkpoint, signed = open_checkpoint(ledger.checkpoint(), parse_vkey(VKEY), witnesses.policy.verifiers())
    return checkpoint.size, {one.by.name for one in signed}


async def test_what_is_published_and_proven_has_its_quorum(town: Town) -> None:
    witnesses = town.witnesses(2, await town.honest("a"), await town.honest("b"))
    async with town.log(witnesses) as ledger:
        await ledger.start()
        for count in (1, 1, 300):
            await town.grow(ledger, count)
            await ledger.publish()
        assert cosigners(ledger, witnesses) == (302, {"witness.example/a", "witness.example/b"})
        await town.grow(ledger)
        proof = await ledger.prove(302)
        assert len(verify_proof(proof, parse_vkey(VKEY), witnesses.policy.verifiers(), quorum=2).witnesses) == 2
        assert (ledger.trouble(), ledger.warning()) == (None, None)
        await ledger.stop()
    async with town.log(None) as unwitnessed:  # what was cosigned stays published where nothing was added
        assert cosigners(unwitnessed, witnesses)[0] == 303


async def test_witnesses_that_are_away_are_passed_over_down_to_the_quorum(town: Town) -> None:
    gone = (str(Cosigner("gone.example", ROGUE).verifier), "https://localhost:1")
    honest = await town.honest("a")
    witnesses = town.witnesses(1, honest, gone)
    async with town.log(witnesses) as ledger:
        await town.grow(ledger)
        await ledger.publish()
        assert cosigners(ledger, witnesses) == (1, {"witness.example/a"})
        assert "cannot be reached" in (ledger.warning() or "")
    all_of_them = town.witnesses(2, honest, gone)
    async with town.log(all_of_them) as ledger:
        await ledger.start()
        await town.grow(ledger)
        with pytest.raises(QuorumError, match="too few witnesses"):
            await ledger.publish()
        with pytest.raises(QuorumError):
            await ledger.prove(1)
        assert cosigners(ledger, witnesses)[0] == 1  # still what was published before
        assert ledger.trouble() is None  # entries are recorded all the same
        assert "cannot be reached" in (ledger.warning() or "")
        await ledger.stop()


async def answers(reply: Reply) -> Reply:
    return reply


def size_reply(size: object) -> Reply:
    return Reply(f"{size}\n".encode(), status=409, media="text/x.tlog.size")


def line(body: bytes, *, text: str = "", timestamp: int = 1_700_000_000, name: str = "rogue.example") -> bytes:
    asked = parse_submission(body).note.text
    return Cosigner(name, ROGUE).cosign(text or asked, timestamp=timestamp).line().encode()


async def slow(_body: bytes) -> Reply:
    await asyncio.sleep(5)
    return Reply()


ROGUES: dict[str, Rogue] = {
    "nothing": lambda _: answers(Reply()),
    "garbage": lambda _: answers(Reply(bytes(range(256)))),
    "a megabyte": lambda _: answers(Reply(b"\xe2\x80\x94 x " * 150_000)),
    "never": slow,
    "an error": lambda _: answers(Reply(status=500)),
    "elsewhere": lambda _: answers(Reply(status=307, headers={"location": "https://localhost/add-checkpoint"})),
    "no size": lambda _: answers(Reply(b"many\n", status=409, media="text/x.tlog.size")),
    "a size of another kind": lambda _: answers(Reply(b"0\n", status=409)),
    "always 0": lambda _: answers(size_reply(0)),
    "unproven nothing": lambda _: answers(Reply(status=422)),
    "another's cosignature": lambda body: answers(Reply(line(body, name="other.example"))),
    "a forged cosignature": lambda body: answers(Reply(line(body, text="log.example\n9\n"))),
    "a cosignature of the future": lambda body: answers(Reply(line(body, timestamp=1 << 40))),
    "the log's own line": lambda body: answers(Reply(body.rpartition(b"\n\n")[2])),
    "another text": lambda body: answers(Reply(b"\n\n" + line(body))),
}


@pytest.mark.parametrize("behaviour", ROGUES)
async def test_a_witness_that_talks_nonsense_counts_for_nothing_and_stops_nothing(town: Town, behaviour: str) -> None:
    witnesses = town.witnesses(1, await town.honest("a"), await town.rogue(ROGUES[behaviour]))
    async with town.log(witnesses) as ledger:
        await town.grow(ledger, 3)
        await ledger.publish()
        assert cosigners(ledger, witnesses) == (3, {"witness.example/a"})
        assert (ledger.warning() or "").startswith("w1: ")
        assert ledger.refusal is None


async def test_a_cosignature_counts_beside_lines_of_unknown_keys(town: Town) -> None:
    async def chatty(body: bytes) -> Reply:
        return Reply(line(body, name="other.example") + line(body))

    witnesses = town.witnesses(1, await town.rogue(chatty))
    async with town.log(witnesses) as ledger:
        await town.grow(ledger)
        await ledger.publish()
        assert cosigners(ledger, witnesses) == (1, {"rogue.example"})
        assert len(parse_note(ledger.checkpoint()).signatures) == 2


async def test_a_database_that_was_put_back_is_found_by_a_witness_before_anything_is_recorded(town: Town) -> None:
    honest = await town.honest("a")
    async with town.log(town.witnesses(1, honest)) as ledger:
        await town.grow(ledger, 3)
        await ledger.publish()
    old = town.file().read_bytes()
    async with town.log(town.witnesses(1, honest)) as ledger:
        await town.grow(ledger, 2)
        await ledger.publish()
    town.file().write_bytes(old)
    async with town.log(town.witnesses(1, honest)) as ledger:
        await ledger.start()
        assert "has cosigned 5 entries, more than we have" in (ledger.trouble() or "")
        with pytest.raises(SplitViewError):
            await town.grow(ledger)
        with pytest.raises(SplitViewError):
            await ledger.publish()
        await ledger.stop()


@pytest.mark.parametrize("grown", [2, 4])
async def test_a_second_log_under_the_same_name_is_found(town: Town, grown: int) -> None:
    honest = await town.honest("a")
    async with town.log(town.witnesses(1, honest)) as ledger:
        await town.grow(ledger, 2)
        await ledger.publish()
    async with town.log(town.witnesses(1, honest), "another") as forked:
        await town.grow(forked, grown)
        with pytest.raises(SplitViewError, match="another tree of 2 entries"):
            await forked.publish()
        assert forked.refusal is not None
        with pytest.raises(RollbackError):
            await town.grow(forked)


async def test_one_checkpoint_behind_another_server_of_the_same_log_is_no_split(town: Town) -> None:
    """Of two servers on one database, one may ask about an older tree just after the other did about a newer."""
    ahead = size_reply(2)
    witnesses = town.witnesses(1, await town.rogue(lambda _: answers(ahead)))
    async with town.log(witnesses) as ledger:
        await town.grow(ledger, 2)
        checkpoint = Checkpoint(ORIGIN, 1, bytes(32))
        note = NoteSigner(ORIGIN, KEY).sign(checkpoint.text())
        asked = await witnesses.cosign(checkpoint, note, prove=lambda _: [], length=lambda: ledger.size)
        assert not asked.enough
        assert "another of our servers" in asked.missing[0]


async def test_the_door_answers_as_the_specification_says(town: Town) -> None:
    _, url = await town.honest("a")
    log = NoteSigner(ORIGIN, KEY)
    note = log.sign(Checkpoint(ORIGIN, 3, bytes(32)).text())
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=town.certificates.ca_file)) as http:

        async def post(body: bytes) -> tuple[int, str, bytes]:
            answer = await http.post(f"{url}/add-checkpoint", content=body)
            return answer.status_code, answer.headers.get("content-type", ""), answer.content

        status, media, body = await post(b"old 0\n\n" + note)
        assert (status, media) == (200, "text/plain; charset=utf-8")
        assert body.startswith("\u2014 witness.example/a ".encode())
        assert body.endswith(b"\n")
        assert await post(b"old 1\n\n" + note) == (409, "text/x.tlog.size", b"3\n")
        assert (await post(b"old 3\n\n" + log.sign(Checkpoint(ORIGIN, 3, bytes([1]) * 32).text())))[0] == 409
        assert (await post(b"old 3\n\n" + log.sign(Checkpoint(ORIGIN, 4, bytes(32)).text())))[0] == 422
        assert (await post(b"old 4\n\n" + note))[0] == 400
        assert (await post(b"old 0\n\n" + NoteSigner("other", KEY).sign("other\n0\n" + "A" * 43 + "=\n")))[0] == 404
        assert (await post(b"old 0\n\n" + NoteSigner(ORIGIN, ROGUE).sign(Checkpoint(ORIGIN, 3, bytes(32)).text())))[
            0
        ] == 403
        assert (await post(b"x" * 70_000))[0] == 413
        assert (await http.get(f"{url}/add-checkpoint")).status_code == 405
