import re
from datetime import timedelta
from pathlib import Path

import pytest

from everproof.identity import Credentials, Directory, apply_people, read_people, roster
from everproof.identity.ssh_keys import read_blob
from everproof.kernel.errors import ConflictError, InputError
from everproof.kernel.words import Ref
from everproof.storage import Storage
from tests.identity.people import ALICE, BOB, SERVER, credential, enrolled, keys


def test_people_file_of_the_documentation_loads() -> None:
    page = (Path(__file__).parents[2] / "docs" / "identity.md").read_text()
    [text] = re.findall(r"```toml\n(\[people.*?)```", page, re.DOTALL)
    people = read_people(text)
    assert list(people.people) == ["alice"]
    assert list(people.groups) == ["developers"]


@pytest.fixture
def directory(storage: Storage) -> Directory:
    return Directory(storage)


def file(*people: str, extra: str = "") -> str:
    return "\n".join(people) + extra


def person(name: str, *lines: str, email: str | None = None, groups: str = '["developers"]') -> str:
    listed = ", ".join(f'{{public = "{line}"}}' if "=" not in line.split()[0] else f"{{{line}}}" for line in lines)
    return (
        f'[people.{name}]\nname = "{name.title()}"\nemails = ["{email or name + "@x.test"}"]\n'
        f"groups = {groups}\nkeys = [{listed}]\n"
    )


async def apply(storage: Storage, text: str) -> tuple[str, ...]:
    people = read_people(text)
    return await storage.write(lambda tx: apply_people(tx, people))


async def test_people_groups_and_keys_are_as_the_file_says(
    storage: Storage, directory: Directory, tmp_path: Path
) -> None:
    [key] = keys(tmp_path, "one")
    await apply(
        storage, file(person("alice", key.line), '[groups.developers]\nname = "Developers"\ngroups = ["staff"]')
    )
    principal = directory.principal(ALICE)
    assert principal is not None
    assert [ref.id for ref in principal.parents] == ["developers", "staff", "main"]
    found = directory.ssh_key(read_blob(key.blob).fingerprint)
    assert found is not None
    assert found.principal == ALICE


async def test_the_same_file_again_changes_nothing(storage: Storage, tmp_path: Path) -> None:
    [key] = keys(tmp_path, "one")
    text = file(person("alice", key.line))
    await apply(storage, text)
    told: list[str] = []
    for topic in ("identity.principal", "identity.key", "identity.revoked"):
        storage.subscribe(topic, lambda name, _: told.append(name))
    assert await apply(storage, text) == ()
    assert told == []


async def test_who_leaves_the_file_is_disabled_and_may_come_back(
    storage: Storage, directory: Directory, tmp_path: Path
) -> None:
    credentials = Credentials(storage, issuer=SERVER)
    [key] = keys(tmp_path, "one")
    text = file(person("alice", key.line))
    await apply(storage, text)
    token = await storage.write(lambda tx: credentials.issue(tx, credential(tx)))
    assert token.id in await apply(storage, person("bob"))
    assert directory.principal(ALICE) is None
    assert not credentials.is_live(token.id)
    await apply(storage, file(text, person("bob")))
    assert directory.principal(ALICE) is not None


async def test_whom_an_administrator_disabled_the_file_does_not_bring_back(
    storage: Storage, directory: Directory
) -> None:
    await apply(storage, person("alice"))
    await storage.write(lambda tx: roster.disable(tx, ALICE, "incident 7"))
    await apply(storage, person("alice"))
    assert directory.principal(ALICE) is None
    await apply(storage, "")
    await apply(storage, person("alice"))
    assert directory.principal(ALICE) is None


async def test_key_that_leaves_the_file_is_superseded_and_one_marked_compromised_is_that(
    storage: Storage, directory: Directory, tmp_path: Path
) -> None:
    one, two = keys(tmp_path, "one", "two")
    await apply(storage, person("alice", one.line, two.line))
    await apply(
        storage, person("alice", f'public = "{two.line}", revoked = "compromised"'.replace("public =", "public="))
    )
    reasons = [directory.ssh_key(read_blob(key.blob).fingerprint) for key in (one, two)]
    assert [key and key.revoked_reason for key in reasons] == ["superseded", "compromised"]


async def test_window_of_a_key_follows_the_file(storage: Storage, directory: Directory, tmp_path: Path) -> None:
    [key] = keys(tmp_path, "one")
    name = read_blob(key.blob).fingerprint
    line = f'public="{key.line}", valid_until = 2026-12-01T00:00:00Z'
    await apply(storage, person("alice", line))
    await apply(storage, person("alice", line.replace("2026-12-01", "2026-12-24")))
    found = directory.ssh_key(name)
    assert found is not None
    assert found.valid_until is not None
    assert found.valid_until.day == 24
    assert found.valid_from == storage.clock.now()
    credentials = Credentials(storage, issuer=SERVER)
    assert found.credential is not None
    root = credentials.live(found.credential)
    assert root is not None
    assert root.expires == found.valid_until


async def test_address_goes_from_one_person_to_another(storage: Storage, directory: Directory) -> None:
    await apply(storage, file(person("alice", email="shared@x.test"), person("bob")))
    await apply(storage, file(person("bob", email="shared@x.test"), person("alice")))
    assert directory.of_email("shared@x.test") == BOB
    assert directory.of_email("alice@x.test") == ALICE
    assert directory.of_email("bob@x.test") is None


async def test_file_does_not_take_over_who_was_enrolled_by_a_link(storage: Storage, directory: Directory) -> None:
    await enrolled(storage, ALICE)
    with pytest.raises(ConflictError, match="not by this file"):
        await apply(storage, person("alice", groups='["administrators"]'))
    principal = directory.principal(ALICE)
    assert principal is not None
    assert Ref("Group", "administrators") not in principal.parents


async def test_file_leaves_others_alone(storage: Storage, directory: Directory) -> None:
    await enrolled(storage, ALICE)
    await apply(storage, person("bob"))
    await apply(storage, "")
    assert directory.principal(ALICE) is not None
    assert directory.principal(BOB) is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[people.alice", "people.toml"),
        ("[people.alice]\nshoe_size = 42", "people.toml: people"),
        ("[people.Alice]", "people.toml: people.Alice"),
        ('[people."b\u043eb"]', "people.toml: people."),
        ('[people.a]\nname = "\\u202e"', "people.toml: people.a.name"),
        ('[people.a]\nemails = ["nobody"]', "people.toml: people.a.emails"),
        ('[people.a]\ngroups = ["x y"]', "people.toml: people.a.groups"),
        ('[people.a]\nemails = ["x@y.test"]\n[people.b]\nemails = ["X@y.test"]', "people.toml: people.b.emails"),
        ('[people.a]\nkeys = [{public = "ssh-rsa x"}]', "people.toml: people.a.keys[0].public"),
        ("[people.a]\nkeys = [{}]", "people.toml: people"),
        ('[people.a]\nkeys = [{public = "x", valid_from = 2026-01-01}]', "people.toml: people"),
        ("[groups.A]", "people.toml: groups.A"),
        ('[groups.a]\ngroups = ["B"]', "people.toml: groups.a.groups"),
    ],
)
def test_mistake_is_told_with_its_place(text: str, place: str) -> None:
    with pytest.raises(InputError) as caught:
        read_people(text)
    assert str(caught.value.place).startswith(place)


def test_one_key_for_two_people_is_told_with_its_place(tmp_path: Path) -> None:
    [key] = keys(tmp_path, "one")
    with pytest.raises(InputError) as caught:
        read_people(file(person("alice", key.line), person("bob", key.line)))
    assert caught.value.place == "people.toml: people.bob.keys[0]"


async def test_key_whose_time_is_over_is_not_enrolled(storage: Storage, directory: Directory, tmp_path: Path) -> None:
    [key] = keys(tmp_path, "one")
    over = storage.clock.now() - timedelta(days=1)
    await apply(storage, person("alice", f'public="{key.line}", valid_until = {over:%Y-%m-%dT%H:%M:%SZ}'))
    assert directory.ssh_key(read_blob(key.blob).fingerprint) is None
