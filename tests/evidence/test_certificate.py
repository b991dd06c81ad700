import contextlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everproof.evidence import ObjectError, RefUpdate, names_repository, nonce_age, parse_certificate, ref_name
from everproof.evidence.certificate import NONCE_LIFE

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
OLD, NEW = "0" * 40, "a" * 40
ARMOUR = b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"
HEAD = b"certificate version 0.1\npusher SHA256:abc  1795249850 +0000\npushee git@h:team/app.git\nnonce 1-2\n"
BODY = f"{OLD} {NEW} refs/heads/main\n".encode()


def test_certificate_is_read() -> None:
    read = parse_certificate(HEAD + b"push-option a b\n\n" + BODY + ARMOUR)
    assert (read.pusher, read.pushee, read.nonce) == ("SHA256:abc", "git@h:team/app.git", "1-2")
    assert read.updates == (RefUpdate("refs/heads/main", OLD, NEW),)
    assert read.options == ("a b",)
    assert read.signature.payload == HEAD + b"push-option a b\n\n" + BODY
    assert read.updates[0].creates
    assert not read.updates[0].deletes


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (HEAD + b"\n" + BODY, "no SSH signature"),
        (HEAD + b"\n" + BODY + ARMOUR + ARMOUR, "more than one"),
        (HEAD.replace(b"0.1", b"0.2") + b"\n" + BODY + ARMOUR, "version"),
        (HEAD + b"nonce 3-4\n\n" + BODY + ARMOUR, "one nonce"),
        (HEAD.replace(b"pushee", b"pushed") + b"\n" + BODY + ARMOUR, "unknown field"),
        (HEAD + b"\n" + BODY + b"\n" + ARMOUR, "ref update"),
        (HEAD + b"\n" + BODY.replace(b"refs/", b"") + ARMOUR, "full name"),
        (HEAD + b"\n" + b"\xff" + BODY + ARMOUR, "UTF-8"),
        (HEAD + BODY + ARMOUR, "not a push certificate|unknown field"),
        (b"x" * 2_000_000, "longer"),
    ],
)
def test_certificate_of_another_form_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(ObjectError, match=why):
        parse_certificate(raw)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    for whole in (raw, HEAD + raw + ARMOUR, HEAD + b"\n" + raw + b"\n" + ARMOUR):
        with contextlib.suppress(ObjectError):
            parse_certificate(whole)


def nonce(at: datetime, *, seed: str = "secret", path: str = "/srv/app.git") -> str:
    seconds = int(at.timestamp())
    return f"{seconds}-{hmac.new(f'{path}:{seconds}'.encode(), seed.encode(), 'sha1').hexdigest()}"


def test_nonce_holds_for_its_repository_and_its_time_only() -> None:
    def age(value: str) -> timedelta | None:
        return nonce_age(value, seed="secret", paths=("/srv/app.git", "."), now=NOW)

    assert age(nonce(NOW)) == timedelta(0)
    assert age(nonce(NOW, path=".")) == timedelta(0)
    assert age(nonce(NOW - NONCE_LIFE)) == NONCE_LIFE
    assert age(nonce(NOW - NONCE_LIFE - timedelta(seconds=1))) is None
    assert age(nonce(NOW + timedelta(seconds=31))) is None
    assert age(nonce(NOW, seed="other")) is None
    assert age(nonce(NOW, path="/srv/web.git")) is None
    assert age("99999999999-" + "0" * 40) is None
    assert age("") is None
    assert nonce_age(nonce(NOW, seed=""), seed="", paths=("/srv/app.git",), now=NOW) is None


@pytest.mark.parametrize(
    ("pushee", "same"),
    [
        ("ssh://git@host:2222/team/app.git", True),
        ("ssh://git@host/team/app", True),
        ("git@host:team/app.git", True),
        ("/srv/team/app.git", True),
        ("https://host/team/app.git/", True),
        ("git@host:other/app.git", False),
        ("git@host:app.git", False),
        ("git@host:xteam/app.git", False),
        ("ssh://team/app.git", False),
        ("", False),
    ],
)
def test_pushee_names_the_repository_by_whole_components(pushee: str, same: bool) -> None:
    assert names_repository(pushee, "team/app") is same


@pytest.mark.parametrize(
    "name",
    ["main", "refs/", "refs/heads/", "refs/heads/a..b", "refs/heads/.a", "refs/heads/a.lock", "refs/heads/a b",
     "refs/heads/a\n", "refs/heads/a~1", "refs/heads/@{x", "refs//heads/x", "HEAD", "refs/heads/x.", "refs/a\\b"],
)  # fmt: skip
def test_ref_name_that_git_would_not_take_is_refused(name: str) -> None:
    with pytest.raises(ObjectError):
        ref_name(name)
