"""Raw git commits and tags, read more strictly than git reads them.

git shows a commit up to its first NUL, takes the last of two authors in one command and the first in another, and joins
the signatures of two headers. What can be read in two ways is read here in none: a reader of the log and a verifier
must never see different commits. The form is that of git's signature-format and object-format documentation.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from everproof.kernel.errors import InputError

MAX_OBJECT: Final = 1024 * 1024
"""Bytes of one commit or tag. The longest honest ones, merges of many signed tags, are a hundredth of it."""

ObjectType = Literal["commit", "tree", "blob", "tag"]
_TYPES: Final[Mapping[str, ObjectType]] = {"commit": "commit", "tree": "tree", "blob": "blob", "tag": "tag"}

OID: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PERSON: Final = re.compile(rb"([^<>\n]*) ?<([^<>\n]*)> (\d{1,12}) ([+-]\d{4})")
_ONCE: Final = frozenset({b"tree", b"author", b"committer", b"encoding", b"gpgsig", b"gpgsig-sha256"})
_ARMOURS: Final[Mapping[bytes, Literal["ssh", "openpgp", "x509"]]] = {
    b"-----BEGIN SSH SIGNATURE-----": "ssh",
    b"-----BEGIN PGP SIGNATURE-----": "openpgp",
    b"-----BEGIN PGP MESSAGE-----": "openpgp",
    b"-----BEGIN SIGNED MESSAGE-----": "x509",
}
_BEGIN: Final = re.compile(rb"^-----BEGIN [A-Z0-9 ]+-----$", re.MULTILINE)
SUBJECT_LENGTH: Final = 60


class ObjectError(InputError):
    """A commit, tag or certificate that two readers could take for two different things."""

    code = "bad-git-object"


class Person(msgspec.Struct, frozen=True):
    """Who a commit or tag says made it, and when it says so; nothing of it is proven."""

    name: str
    email: str
    seconds: int


class Signature(msgspec.Struct, frozen=True):
    """One armoured signature and exactly the bytes that it signs."""

    kind: Literal["ssh", "openpgp", "x509", "unknown"]
    armour: bytes
    payload: bytes


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """A commit as all readers see it."""

    oid: str
    parents: tuple[str, ...]
    author: Person
    committer: Person
    subject: str
    signature: Signature | None


class Tag(msgspec.Struct, frozen=True, kw_only=True):
    """An annotated tag as all readers see it."""

    oid: str
    target: str
    target_type: ObjectType
    name: str
    tagger: Person | None
    subject: str
    signature: Signature | None


def parse_commit(oid: str, raw: bytes) -> Commit:
    """The commit with the name ``oid``.

    Raises:
        ObjectError: the bytes do not have that name, or can be read in more than one way.
    """
    lines, message = _split("commit", oid, raw)
    headers, payload = _headers(oid, lines)
    names = [name for name, _ in headers]
    for name in _ONCE:
        if names.count(name) > 1:
            raise _bad(oid, f"it has {names.count(name)} {name.decode()} headers")
    parents = tuple(value for name, value in headers if name == b"parent")
    expected = [b"tree", *[b"parent"] * len(parents), b"author", b"committer"]
    if names[: len(expected)] != expected:
        raise _bad(oid, "its headers are not tree, parents, author, committer in this order")
    values = dict(headers)
    signature = None
    # The name of the header depends on the hash that the repository uses; the other one is not this commit's.
    ours, other = (b"gpgsig", b"gpgsig-sha256") if len(oid) == 40 else (b"gpgsig-sha256", b"gpgsig")  # noqa: PLR2004
    if other in values:
        raise _bad(oid, f"it has a {other.decode()} header, which belongs to another object format")
    if ours in values:
        signature = _signature(oid, values[ours], payload + b"\n" + message)
    return Commit(
        oid=oid,
        parents=tuple(_oid(oid, parent, len(oid)) for parent in parents),
        author=_person(oid, "author", values[b"author"]),
        committer=_person(oid, "committer", values[b"committer"]),
        subject=_subject(message),
        signature=signature,
    )


def parse_tag(oid: str, raw: bytes) -> Tag:
    """The annotated tag with the name ``oid``; its signature stands at the end of its message.

    Raises:
        ObjectError: the bytes do not have that name, or can be read in more than one way.
    """
    lines, message = _split("tag", oid, raw)
    headers, _ = _headers(oid, lines)
    names = [name for name, _ in headers]
    if names not in ([b"object", b"type", b"tag", b"tagger"], [b"object", b"type", b"tag"]):
        raise _bad(oid, "its headers are not object, type, tag, tagger in this order")
    values = dict(headers)
    target_type = _TYPES.get(values[b"type"].decode("ascii", "replace"))
    if target_type is None:
        raise _bad(oid, "it names a type of object that git does not have")
    signature = None
    begins = [found for found in _BEGIN.finditer(message) if found.group() in _ARMOURS]
    if len(begins) > 1:
        raise _bad(oid, f"it has {len(begins)} signatures")
    if begins:
        start = begins[0].start()
        signature = _signature(oid, message[start:], lines + b"\n\n" + message[:start])
        message = message[:start]
    return Tag(
        oid=oid,
        target=_oid(oid, values[b"object"], len(oid)),
        target_type=target_type,
        name=_text(oid, "tag", values[b"tag"]),
        tagger=_person(oid, "tagger", values[b"tagger"]) if b"tagger" in values else None,
        subject=_subject(message),
        signature=signature,
    )


def object_name(kind: str, raw: bytes, *, digits: int) -> str:
    """The name that git gives to an object of these bytes; ``digits`` is 40 (SHA-1) or 64 (SHA-256)."""
    full = b"%s %d\0%s" % (kind.encode(), len(raw), raw)
    # git itself looks for SHA-1 collisions when it takes an object in; here the hash only ties the bytes to the name.
    if digits == 40:  # noqa: PLR2004
        return hashlib.sha1(full, usedforsecurity=False).hexdigest()
    return hashlib.sha256(full).hexdigest()


def _split(kind: ObjectType, oid: str, raw: bytes) -> tuple[bytes, bytes]:
    if len(raw) > MAX_OBJECT:
        raise _bad(oid, f"it is longer than {MAX_OBJECT} bytes")
    if object_name(kind, raw, digits=len(oid)) != oid:
        raise _bad(oid, f"it is not the {kind} of that name")
    if b"\0" in raw:
        raise _bad(oid, "it has a NUL byte: git shows only what stands before it")
    lines, separator, message = raw.partition(b"\n\n")
    if not separator:
        raise _bad(oid, "its headers do not end")
    return lines, message


def _headers(oid: str, lines: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers with their continuation lines joined, and the header lines that a signature covers."""
    headers: list[tuple[bytes, bytes]] = []
    covered: list[bytes] = []
    for line in lines.split(b"\n"):
        if line.startswith(b" "):
            if not headers:
                raise _bad(oid, "it begins with a continuation line")
            name, value = headers[-1]
            headers[-1] = name, value + b"\n" + line[1:]
        else:
            name, _, value = line.partition(b" ")
            headers.append((name, value))
        if not headers[-1][0].startswith(b"gpgsig"):
            covered.append(line)
        elif headers[-1][0] not in _ONCE:
            raise _bad(oid, "it has a header that only begins like a signature's")
    return headers, b"\n".join(covered) + b"\n"


def _signature(oid: str, armour: bytes, payload: bytes) -> Signature:
    begins = _BEGIN.findall(armour)
    if len(begins) > 1:
        raise _bad(oid, f"it has {len(begins)} signatures in one header")
    first, _, _ = armour.partition(b"\n")
    return Signature(_ARMOURS.get(first, "unknown"), armour, payload)


def _person(oid: str, header: str, value: bytes) -> Person:
    found = _PERSON.fullmatch(value)
    if found is None:
        raise _bad(oid, f"its {header} is not in git's form: Name <e-mail> seconds zone")
    name, email, seconds, _ = found.groups()
    return Person(_text(oid, header, name).strip(), _text(oid, header, email), int(seconds))


def _oid(oid: str, value: bytes, digits: int) -> str:
    text = value.decode("ascii", "replace")
    if len(text) != digits or OID.fullmatch(text) is None:
        raise _bad(oid, "it names another object in a form that git does not have")
    return text


def _text(oid: str, header: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        # Other encodings of one name would be other people to a comparison, so they are not guessed.
        raise _bad(oid, f"its {header} is not UTF-8") from None


def _subject(message: bytes) -> str:
    first, _, _ = message.lstrip(b"\n").partition(b"\n")
    return first[: 4 * SUBJECT_LENGTH].decode("utf-8", "replace")[:SUBJECT_LENGTH]


def _bad(oid: str, what: str) -> ObjectError:
    return ObjectError(what, place=oid[:12])
