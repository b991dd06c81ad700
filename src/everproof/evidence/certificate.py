"""Push certificates: a signed statement of which refs of which repository go from what to what (git push --signed).

git's own verdicts about one reach a hook in environment variables; nothing here reads them. The signature, the nonce
and the ref lines are judged from the certificate itself. The form is that of git's pack-protocol documentation,
"push-cert".
"""

import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from everproof.evidence.objects import OID, ObjectError, Signature
from everproof.kernel.clock import MAX_SKEW

MAX_CERTIFICATE: Final = 1024 * 1024
"""Bytes: five thousand refs of a usual length."""

NONCE_LIFE: Final = timedelta(minutes=15)
"""From the repository's greeting to its hook: a touch on a hardware key, and a large pack over a slow line."""

_BEGIN: Final = b"-----BEGIN SSH SIGNATURE-----\n"
_PUSHER: Final = re.compile(r"(.+?) +(\d{1,12}) ([+-]\d{4})")
_NONCE: Final = re.compile(r"(\d{1,11})-([0-9a-f]{40}|[0-9a-f]{64})")
_REF: Final = re.compile(r"refs/[^\x00-\x20\x7f~^:?*\[\\]+")


class RefUpdate(msgspec.Struct, frozen=True, order=True):
    """One ref's way from ``old`` to ``new``; a name of zeros stands for nothing."""

    ref: str
    old: str
    new: str

    @property
    def creates(self) -> bool:
        """There was no such ref."""
        return not self.old.strip("0")

    @property
    def deletes(self) -> bool:
        """There will be no such ref."""
        return not self.new.strip("0")


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """A push certificate as it was signed."""

    pusher: str
    pushee: str
    nonce: str
    updates: tuple[RefUpdate, ...]
    options: tuple[str, ...]
    signature: Signature


def parse_certificate(raw: bytes) -> Certificate:
    """The certificate in the blob that ``GIT_PUSH_CERT`` names.

    Raises:
        ObjectError: too long, unsigned, signed otherwise than by SSH, or not of the one form.
    """
    signature = _signature(raw)
    try:
        head, separator, body = signature.payload.decode().partition("\n\n")
    except UnicodeDecodeError:
        raise _bad("it is not UTF-8") from None
    lines = head.split("\n")
    if not separator or not body.endswith("\n") or lines[0] != "certificate version 0.1":
        raise _bad("it is not a push certificate of version 0.1")
    fields: dict[str, list[str]] = {"pusher": [], "pushee": [], "nonce": [], "push-option": []}
    for line in lines[1:]:
        name, _, value = line.partition(" ")
        if name not in fields:
            raise _bad(f"it has an unknown field {name!r}")
        fields[name].append(value)
    for name in ("pusher", "pushee", "nonce"):
        if len(fields[name]) != 1:
            raise _bad(f"it must name one {name}")
    pusher = _PUSHER.fullmatch(fields["pusher"][0])
    if pusher is None:
        raise _bad("its pusher is not in git's form")
    return Certificate(
        pusher=pusher.group(1),
        pushee=fields["pushee"][0],
        nonce=fields["nonce"][0],
        updates=tuple(parse_update(line) for line in body.removesuffix("\n").split("\n")),
        options=tuple(fields["push-option"]),
        signature=signature,
    )


def parse_update(line: str) -> RefUpdate:
    """A line ``OLD NEW REF``, as hooks and certificates have it.

    Raises:
        ObjectError: it has another form.
    """
    parts = line.split(" ")
    if len(parts) != 3 or not all(OID.fullmatch(part) for part in parts[:2]) or len(parts[0]) != len(parts[1]):  # noqa: PLR2004
        raise ObjectError("not a ref update of the form OLD NEW REF")
    return RefUpdate(ref=ref_name(parts[2]), old=parts[0], new=parts[1])


def ref_name(name: str) -> str:
    """``name``, if it is a full ref name by the rules of git-check-ref-format.

    Raises:
        ObjectError: it is not.
    """
    components = name.split("/")
    if (
        _REF.fullmatch(name) is None
        or ".." in name
        or "@{" in name
        or name.endswith(".")
        or any(not part or part.startswith(".") or part.endswith(".lock") for part in components)
    ):
        raise ObjectError("not the full name of a ref, such as refs/heads/main")
    return name


def nonce_age(nonce: str, *, seed: str, paths: tuple[str, ...], now: datetime) -> timedelta | None:
    """How long ago the repository gave ``nonce``; None where it never did, or too long ago to count.

    git makes it as an HMAC by the hash of the repository's object format, where the key is PATH ":" SECONDS and the
    message is the seed (measured on git 2.39). PATH is what receive-pack was given as its argument: one of ``paths``.
    """
    found = _NONCE.fullmatch(nonce)
    if found is None or not seed:
        return None
    seconds, mac = found.groups()
    algorithm = "sha1" if len(mac) == 40 else "sha256"  # noqa: PLR2004 - a SHA-1 repository; HMAC-SHA-1 still holds
    known = False
    for path in paths:
        expected = hmac.new(f"{path}:{seconds}".encode(), seed.encode(), getattr(hashlib, algorithm)).hexdigest()
        known |= hmac.compare_digest(expected, mac)
    age = now - datetime.fromtimestamp(int(seconds), UTC)
    return age if known and -MAX_SKEW <= age <= NONCE_LIFE else None


def names_repository(pushee: str, repository: str) -> bool:
    """Whether the address ``pushee`` ends in the name of the repository (``team/app``), component by component.

    The host is not looked at: a server has many names; the nonce already ties the certificate to this one.
    """
    # scp's form has no //: user@host:path.
    address = pushee.partition("://")[2].partition("/")[2] if "://" in pushee else pushee.rpartition(":")[2]
    parts = [part for part in address.split("/") if part]
    wanted = repository.split("/")
    if not parts:
        return False
    parts[-1] = parts[-1].removesuffix(".git")
    return parts[-len(wanted) :] == wanted


def _signature(raw: bytes) -> Signature:
    if len(raw) > MAX_CERTIFICATE:
        raise _bad(f"it is longer than {MAX_CERTIFICATE} bytes")
    payload, begin, armour = raw.partition(_BEGIN)
    if not begin:
        raise _bad("it has no SSH signature")
    if b"-----BEGIN " in armour or b"-----BEGIN " in payload:
        raise _bad("it has more than one signature")
    return Signature("ssh", begin + armour, payload)


def _bad(what: str) -> ObjectError:
    return ObjectError(what, place="push certificate")
