from datetime import datetime, timedelta

import pytest

from everproof.evidence import first_received, record_receipt, use_certificate
from everproof.evidence.certificate import NONCE_LIFE
from everproof.kernel.errors import RefusedError
from everproof.storage import Storage
from tests.conftest import SettableClock


def received(storage: Storage, *oids: str) -> dict[str, datetime]:
    with storage.reading() as connection:
        return first_received(connection, oids)


async def test_first_receipt_of_a_commit_stays(storage: Storage, clock: SettableClock) -> None:
    many = [f"{number:040x}" for number in range(1_200)]
    first = clock.now()
    await storage.write(lambda tx: record_receipt(tx, many[:700]))
    clock.advance(timedelta(days=1))
    await storage.write(lambda tx: record_receipt(tx, [*many, many[0]]))
    found = received(storage, *many, "f" * 40)
    assert len(found) == 1_200
    assert {found[oid] for oid in many[:700]} == {first}
    assert {found[oid] for oid in many[700:]} == {clock.now()}


async def test_certificate_is_used_once_for_each_ref(storage: Storage, clock: SettableClock) -> None:
    for ref in ("refs/heads/main", "refs/heads/" + "x" * 1_000):
        await storage.write(lambda tx, ref=ref: use_certificate(tx, "a" * 64, ref))
    clock.advance(NONCE_LIFE)
    with pytest.raises(RefusedError, match="used before"):
        await storage.write(lambda tx: use_certificate(tx, "a" * 64, "refs/heads/main"))
    await storage.write(lambda tx: use_certificate(tx, "b" * 64, "refs/heads/main"))
