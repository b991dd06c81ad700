import base64
import hashlib
import os
import threading
from pathlib import Path

import pytest

from everproof.kernel.errors import InputError
from everproof.keys import Keyring, RootKeyError, open_root_key
from everproof.keys.root import LocalRootKey
from everproof.storage import Storage

SECRET = bytes(range(32))
LINE = base64.b64encode(SECRET).decode()


def write(path: Path, text: str = LINE + "\n", mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_file_is_made_by_the_first_wrap_for_us_alone(tmp_path: Path) -> None:
    root = open_root_key("", tmp_path / "state")
    assert not (tmp_path / "state").exists()
    wrapped = root.wrap(SECRET, context=b"here")
    file = tmp_path / "state" / "root.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["root.key"]
    assert len(base64.b64decode(file.read_text())) == 32
    again = open_root_key(f"file:{file}", tmp_path)
    assert again.id == root.id
    assert again.unwrap(wrapped, context=b"here") == SECRET


def test_two_first_starts_agree_on_one_key(tmp_path: Path) -> None:
    roots = [open_root_key("", tmp_path) for _ in range(8)]
    threads = [threading.Thread(target=root.wrap, args=(SECRET,), kwargs={"context": b""}) for root in roots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({root.id for root in roots}) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["root.key"]


def test_a_crash_while_it_is_made_leaves_no_half_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", crash)
        with pytest.raises(RootKeyError, match="No space left"):
            open_root_key("", tmp_path).wrap(SECRET, context=b"")
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_durable_before_anything_is_wrapped_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    sync, link = os.fsync, os.link

    def watched_sync(descriptor: int) -> None:
        steps.append("sync folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "sync file")
        sync(descriptor)

    def watched_link(source: Path, target: Path) -> None:
        steps.append("link")
        link(source, target)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(os, "link", watched_link)
    open_root_key("", tmp_path).wrap(SECRET, context=b"")
    assert steps == ["sync file", "link", "sync folder"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o700, 0o4600])
def test_a_wider_mode_is_refused(tmp_path: Path, mode: int) -> None:
    file = write(tmp_path / "key", mode=mode)
    with pytest.raises(RootKeyError, match=f"mode {mode:04o}") as caught:
        open_root_key(f"file:{file}", tmp_path)
    assert f"chmod 600 {file}" in (caught.value.todo or "")


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_strict_mode_is_taken(tmp_path: Path, mode: int) -> None:
    file = write(tmp_path / "key", mode=mode)
    assert open_root_key(f"file:{file}", tmp_path).id == LocalRootKey(SECRET).id


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "key")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(RootKeyError, match="belongs to user"):
        open_root_key(f"file:{file}", tmp_path)


def test_what_is_not_a_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(RootKeyError, match=r"regular file|cannot be read"):
            open_root_key(f"file:{path}", tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "secret-but-not-base64",
        LINE[:-4],
        LINE + LINE,
        LINE.replace("A", "é"),
        LINE * 100,
        LINE[:20] + " " + LINE[20:],
    ],
)
def test_a_malformed_key_is_refused_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    file = write(tmp_path / "key", text)
    monkeypatch.setenv("ROOT_FOR_TEST", text)
    for spec in (f"file:{file}", "env:ROOT_FOR_TEST"):
        with pytest.raises(RootKeyError) as caught:
            open_root_key(spec, tmp_path)
        shown = f"{caught.value!r} {caught.value} {caught.value.todo}"
        assert not text.strip() or text.strip()[:12] not in shown


def test_the_environment_holds_the_same_key_as_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOT_FOR_TEST", LINE)
    assert (
        open_root_key("env:ROOT_FOR_TEST", tmp_path).id == open_root_key(f"file:{write(tmp_path / 'k')}", tmp_path).id
    )
    monkeypatch.delenv("ROOT_FOR_TEST")
    with pytest.raises(RootKeyError, match="not set") as caught:
        open_root_key("env:ROOT_FOR_TEST", tmp_path)
    assert caught.value.place == "environment: ROOT_FOR_TEST"


@pytest.mark.parametrize("spec", ["file:", "env:", "kms", "/etc/root.key", "vault:x"])
def test_another_form_is_refused(tmp_path: Path, spec: str) -> None:
    with pytest.raises(InputError, match="form of a root key"):
        open_root_key(spec, tmp_path)


def test_neither_repr_nor_attributes_tell_the_key(tmp_path: Path) -> None:
    root = open_root_key(f"file:{write(tmp_path / 'key')}", tmp_path)
    shown = (
        f"{root!r} {root} {vars(root)} {[vars(value) for value in vars(root).values() if hasattr(value, '__dict__')]}"
    )
    for form in (LINE, SECRET.hex(), repr(SECRET), hashlib.sha256(SECRET).hexdigest()):
        assert form not in shown


def test_a_lost_root_key_is_an_error_and_not_a_new_key(database_url: str, tmp_path: Path) -> None:
    storage = Storage.open(database_url)
    Keyring(storage, open_root_key("", tmp_path))
    (tmp_path / "root.key").unlink()
    with pytest.raises(RootKeyError, match="missing") as caught:
        Keyring(storage, open_root_key("", tmp_path))
    storage.close()
    assert caught.value.place == str(tmp_path / "root.key")
    assert "backup" in (caught.value.todo or "")
    assert not (tmp_path / "root.key").exists()
