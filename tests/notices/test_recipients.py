"""Whom a notice to a group reaches."""

from everproof.identity import Directory, roster
from everproof.identity.recipients import recipients
from everproof.kernel.words import Ref
from everproof.storage import Storage, Transaction
from tests.conftest import SettableClock


def test_a_group_is_its_active_members_by_whatever_way(tmp_path: object, clock: SettableClock) -> None:
    storage = Storage.open(f"sqlite:///{tmp_path}/everproof.db", clock=clock)
    directory = Directory(storage)

    def fill(tx: Transaction) -> None:
        roster.put_group(tx, "engineering")
        roster.put_group(tx, "platform", groups=["engineering"])
        for name, group in (("alice", "engineering"), ("bob", "platform"), ("carol", "sales"), ("dave", "platform")):
            roster.add_principal(tx, Ref("User", name), emails=[f"{name}@shop.example"], groups=[group])
        roster.register_client(tx, Ref("Service", "robot"), [], groups=["engineering"])
        roster.disable(tx, Ref("User", "dave"), "left")

    storage.write_now(fill)
    found = {one.ref.id: one.addresses for one in recipients(directory, Ref("Group", "engineering"))}
    assert found == {"alice": ("alice@shop.example",), "bob": ("bob@shop.example",)}
    assert [one.ref.id for one in recipients(directory, Ref("User", "carol"))] == ["carol"]
    assert list(recipients(directory, Ref("User", "dave"))) == []
    assert list(recipients(directory, Ref("User", "nobody"))) == []
    assert list(recipients(directory, Ref("Service", "robot"))) == []
    storage.close()
