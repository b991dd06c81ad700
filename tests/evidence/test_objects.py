import contextlib
import hashlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everproof.evidence import ObjectError, parse_commit, parse_tag
from everproof.evidence.objects import object_name

TREE = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"
PEOPLE = b"author A <a@x.test> 1700000000 +0000\ncommitter B <b@x.test> 1700000001 -0130\n"
ARMOUR = b"gpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n -----END SSH SIGNATURE-----\n"


def commit(raw: bytes) -> object:
    return parse_commit(object_name("commit", raw, digits=40), raw)


def test_commit_is_read_with_exactly_the_bytes_that_were_signed() -> None:
    raw = TREE + b"parent " + b"1" * 40 + b"\n" + PEOPLE + ARMOUR + b"change-id xyz\n\nsubject\n\nbody\n"
    read = parse_commit(object_name("commit", raw, digits=40), raw)
    assert read.parents == ("1" * 40,)
    assert (read.author.email, read.committer.email, read.subject) == ("a@x.test", "b@x.test", "subject")
    assert read.signature is not None
    assert read.signature.payload == raw.replace(ARMOUR, b"")
    assert read.signature.armour.startswith(b"-----BEGIN SSH SIGNATURE-----\nAAAA\n")


def test_sha256_commit_is_read_by_its_own_header() -> None:
    raw = TREE.replace(b"4b82", b"0" * 24 + b"4b82") + PEOPLE + ARMOUR.replace(b"gpgsig", b"gpgsig-sha256") + b"\nx\n"
    read = parse_commit(hashlib.sha256(b"commit %d\0" % len(raw) + raw).hexdigest(), raw)
    assert read.signature is not None


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (TREE + PEOPLE + ARMOUR + ARMOUR + b"\nx\n", "2 gpgsig headers"),
        (TREE + PEOPLE + b"gpgsig-other x\n\nx\n", "only begins like"),
        (TREE + PEOPLE + b"gpgsig-sha256 x\n\nx\n", "another object format"),
        (TREE + TREE + PEOPLE + b"\nx\n", "2 tree headers"),
        (TREE + PEOPLE + PEOPLE + b"\nx\n", "headers"),
        (PEOPLE + TREE + b"\nx\n", "order"),
        (TREE + b"author A <a@x.test> 1 +0000\n\nx\n", "order"),
        (TREE + PEOPLE.replace(b"A <a@x.test>", b"A <a@x.test> <b@x.test>") + b"\nx\n", "author"),
        (TREE + PEOPLE.replace(b"a@x.test", b"a@\xff") + b"\nx\n", "UTF-8"),
        (TREE + PEOPLE + b"\nx\0y\n", "NUL"),
        (TREE + PEOPLE, "do not end"),
        (b" " + TREE + PEOPLE + b"\nx\n", "continuation"),
        (TREE.replace(b"4b", b"4B") + b"parent 12\n" + PEOPLE + b"\nx\n", "names another object"),
        (b"", "do not end"),
    ],
)
def test_commit_that_two_readers_could_read_in_two_ways_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(ObjectError, match=why):
        commit(raw)


def test_bytes_of_another_name_are_refused() -> None:
    with pytest.raises(ObjectError, match="not the commit of that name"):
        parse_commit("1" * 40, TREE + PEOPLE + b"\nx\n")


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_read_or_refused(raw: bytes, whole: bool) -> None:
    raw = TREE + PEOPLE + raw + b"\n\nx" if whole else raw
    for kind, read in (("commit", parse_commit), ("tag", parse_tag)):
        with contextlib.suppress(ObjectError):
            read(object_name(kind, raw, digits=40), raw)


HEADERS = st.lists(
    st.sampled_from(
        [ARMOUR, b"encoding UTF-8\n", b"x-other y\n", b"mergetag object\n gpgsig x\n \n type\n", b"gpgsig x\n"]
    ),
    max_size=4,
)


@given(HEADERS, st.binary(max_size=60).filter(lambda text: b"\0" not in text))
def test_whatever_is_accepted_is_signed_whole(headers: list[bytes], message: bytes) -> None:
    """All but the one signature header is in the payload, byte for byte and in order."""
    raw = TREE + PEOPLE + b"".join(headers) + b"\n" + message
    try:
        read = parse_commit(object_name("commit", raw, digits=40), raw)
    except ObjectError:
        return
    if read.signature is not None:
        found = [header for header in headers if header.startswith(b"gpgsig")]
        assert len(found) == 1
        assert read.signature.payload == raw.replace(b"\n" + found[0], b"\n", 1)


def test_tag_is_read_with_its_signature_at_the_end() -> None:
    head = b"object " + b"1" * 40 + b"\ntype commit\ntag v1\ntagger A <a@x.test> 1 +0000\n\nrelease\n"
    armour = b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"
    read = parse_tag(object_name("tag", head + armour, digits=40), head + armour)
    assert (read.target, read.target_type, read.name, read.subject) == ("1" * 40, "commit", "v1", "release")
    assert read.signature is not None
    assert (read.signature.payload, read.signature.armour) == (head, armour)
    with pytest.raises(ObjectError, match="2 signatures"):
        parse_tag(object_name("tag", head + armour + armour, digits=40), head + armour + armour)
    spoilt = head.replace(b"type commit", b"type thing")
    with pytest.raises(ObjectError, match="type of object"):
        parse_tag(object_name("tag", spoilt, digits=40), spoilt)


def test_own_history_is_read_as_git_reads_it() -> None:
    """Every commit of this repository, if it is one."""
    root = Path(__file__).parents[2]
    listed = subprocess.run(
        ["git", "rev-list", "--max-count=50", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    for oid in listed.stdout.split():
        raw = subprocess.run(["git", "cat-file", "commit", oid], cwd=root, capture_output=True, check=True).stdout
        read = parse_commit(oid, raw)
        shown = subprocess.run(
            ["git", "log", "-1", "--format=%ae%n%ce%n%P", oid], cwd=root, capture_output=True, text=True, check=True
        ).stdout.split("\n")
        assert [read.author.email, read.committer.email, " ".join(read.parents)] == shown[:3]
