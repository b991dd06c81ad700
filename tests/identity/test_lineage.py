import pytest

from everproof.identity import Credentials, draw, lineage
from everproof.identity.lineage import MAX_DESCENDANTS
from everproof.kernel.errors import NotFoundError
from everproof.kernel.ids import new_id
from everproof.kernel.words import Ref
from everproof.storage import Storage, Transaction
from tests.identity.people import SERVER, credential


@pytest.fixture
def credentials(storage: Storage) -> Credentials:
    return Credentials(storage, issuer=SERVER)


async def grow(storage: Storage, credentials: Credentials) -> list[str]:
    """A job's token with two descendants, of which the first has one."""

    def change(tx: Transaction) -> list[str]:
        source = {"issuer": "https://issuer.example", "subject": "repo:acme/shop"}
        job = Ref("Job", "github:acme/shop:1")
        a, b, c, d = (new_id("cred", milliseconds=number) for number in range(4))
        for given in (
            {"id": a, "kind": "github", "source": source, "key": "k" * 43},
            {"id": b, "parent": a, "scope": ("read",)},
            {"id": c, "parent": b, "scope": ("read",), "audience": "vault"},
            {"id": d, "parent": a},
        ):
            credentials.issue(tx, credential(tx, **{"principal": job} | given))
        return [a, b, c, d]

    return await storage.write(change)


async def test_tree_leads_up_to_the_proof_and_down_to_all_that_came_of_it(
    storage: Storage, credentials: Credentials
) -> None:
    root, one, two, three = await grow(storage, credentials)
    found = lineage(storage, one)
    assert [each.id for each in found.ancestors] == [root, one]
    assert [each.id for each in found.descendants] == [two]
    assert {each.id for each in lineage(storage, root).descendants} == {one, two, three}


async def test_drawing(storage: Storage, credentials: Credentials) -> None:
    root, one, two, three = await grow(storage, credentials)
    await storage.write(lambda tx: credentials.revoke(tx, two, "stolen"))
    now = storage.clock.now()
    job = 'Job::"github:acme/shop:1"'
    until = "until 2026-11-21 12:10:00 UTC"
    top = f"github {root}, {job}, for {SERVER}, key {'k' * 43}, issuer https://issuer.example, subject repo:acme/shop"
    first = f"access-token {one}, {job}, for {SERVER}, scope read, {until}"
    second = f"access-token {two}, {job}, for vault, scope read, revoked 2026-11-21 12:00:00 UTC: stolen"
    assert draw(lineage(storage, root), now) == [
        f"{top}, {until}  ←",
        f"├─ {first}",
        f"│  └─ {second}",
        f"└─ access-token {three}, {job}, for {SERVER}, {until}",
    ]
    assert draw(lineage(storage, two), now) == [
        f"{top}, {until}",
        f"└─ {first}",
        f"   └─ {second}  ←",
    ]
    assert draw(lineage(storage, one), now) == [
        f"{top}, {until}",
        f"└─ {first}  ←",
        f"   └─ {second}",
    ]


async def test_name_that_moves_the_cursor_is_not_drawn(storage: Storage, credentials: Credentials) -> None:
    evil = Ref("Job", "\x1b[2Jall is well\r\u202e")
    issued = await storage.write(lambda tx: credentials.issue(tx, credential(tx, principal=evil)))
    [line] = draw(lineage(storage, issued.id), storage.clock.now())
    assert "\x1b" not in line
    assert "\r" not in line
    assert "\u202e" not in line


async def test_what_is_not_there_has_no_lineage(storage: Storage) -> None:
    with pytest.raises(NotFoundError):
        lineage(storage, "cred_nothing")


async def test_huge_and_deep_trees_are_drawn_in_part(storage: Storage, credentials: Credentials) -> None:
    def change(tx: Transaction) -> str:
        root = last = credentials.issue(tx, credential(tx))
        for _ in range(MAX_DESCENDANTS + 10):
            last = credentials.issue(tx, credential(tx, last.id))
        return root.id

    root = await storage.write(change)
    lines = draw(lineage(storage, root), storage.clock.now())
    assert len(lines) == MAX_DESCENDANTS + 2
    assert lines[-1].startswith("(no more")
