"""Devices without a browser (RFC 8628): a code to type at another machine, and what stands against abusing it.

Whoever types it sees which client asks, from which address and since when, and that nobody should type a code that
someone sent. Codes are short, so guessing is bounded for each person who guesses and in all.
"""

import re
import secrets
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

import msgspec
from sqlalchemy import Row

from everproof.identity.provider import store
from everproof.identity.provider.clients import Client
from everproof.identity.provider.codes import hashed, secret
from everproof.identity.provider.errors import DeviceError, InvalidGrantError
from everproof.kernel.canonical import encode
from everproof.kernel.clock import from_milliseconds, milliseconds
from everproof.kernel.errors import Error, NotFoundError, RefusedError, UnavailableError
from everproof.kernel.ids import new_id
from everproof.kernel.words import Ref
from everproof.storage import Transaction

LIFETIME: Final = timedelta(minutes=10)
PACE_SECONDS: Final = 5
"""Between two questions of a device (RFC 8628, section 3.2); each that comes too soon adds as much (section 3.5)."""
LONGEST_PACE: Final = 60

ALPHABET: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, so no words (RFC 8628, section 6.1); no digits, so nothing looks like a letter."""
LENGTH: Final = 8
"""34 bits. Within the bounds below, guessing day and night at a hundred waiting codes finds one in some fifty years."""

MAX_WAITING: Final = 1_000
MAX_WAITING_OF_ADDRESS: Final = 20
"""Requests that wait for their user at a time: nobody has proven anything who makes them."""

MISSES: Final = 5
MISSES_OF_ALL: Final = 100
WITHIN: Final = timedelta(minutes=10)
"""Wrong codes in this time, of one person and of all, after which nobody's guess is looked at."""

State: TypeAlias = Literal["waiting", "approved", "refused", "used"]

_NOT_YET: Final = {
    "refused": ("access_denied", "whoever typed the code has refused"),
    "waiting": ("authorization_pending", "nobody has approved this yet"),
}
_CODE: Final = re.compile(f"[{ALPHABET}]{{{LENGTH}}}")
_TRIES: Final = 5


class TooManyGuessesError(Error):
    """So many wrong codes were typed that this one is not looked at."""

    code = "too-many-guesses"
    status = 429

    def __init__(self) -> None:
        wait = int(WITHIN.total_seconds())
        super().__init__("too many codes that there are not", todo="wait ten minutes, then begin again on the device")
        self.headers = {"retry-after": str(wait)}


class DeviceRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a device asks for, and from where. ``key`` is the thumbprint of the key that it has shown."""

    client: str
    scope: tuple[str, ...] = ()
    key: str = ""
    address: str = ""
    agent: str = ""
    at: datetime


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A device's request as it stands. ``session`` is the browser's in which somebody has approved it."""

    hash: bytes
    request: DeviceRequest
    user_code: str
    state: State
    session: str | None
    expires: datetime


class Codes(msgspec.Struct, frozen=True):
    """What a device is given: its own code, which is a secret, and the one to show."""

    device_code: str
    user_code: str

    def __repr__(self) -> str:
        return f"Codes({self.user_code})"


_read: Final = msgspec.json.Decoder(DeviceRequest).decode


def shown(user_code: str) -> str:
    """A user code as people read it."""
    return f"{user_code[: LENGTH // 2]}-{user_code[LENGTH // 2 :]}"


def typed(text: str) -> str | None:
    """The code that somebody has typed, however it is written; None where it can be none."""
    letters = "".join(text.upper().split()).replace("-", "")
    return letters if _CODE.fullmatch(letters) else None


def begin(tx: Transaction, request: DeviceRequest) -> Codes:
    """Put a device's request on record.

    Raises:
        UnavailableError: too many wait, of all or of this address.
    """
    if (
        store.count_devices(tx.connection, tx.now) >= MAX_WAITING
        or store.count_devices(tx.connection, tx.now, address=request.address) >= MAX_WAITING_OF_ADDRESS
    ):
        raise UnavailableError("too many devices wait for their users", todo="try again in ten minutes")
    device_code = secret()
    for _ in range(_TRIES):
        user_code = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
        if store.insert_device(
            tx, hash=hashed(device_code), user_code=user_code, client=request.client, body=encode(request),
            address=request.address, state="waiting", pace=PACE_SECONDS, polled=0,
            expires=milliseconds(tx.now + LIFETIME),
        ):  # fmt: skip
            return Codes(device_code, shown(user_code))
    raise UnavailableError("no code is free")  # pragma: no cover - one in 2**34, five times


def poll(tx: Transaction, device_code: str, *, client: Client, key: str) -> Waiting | DeviceError | InvalidGrantError:
    """What ``device_code`` stands for, used up by this, once somebody has approved it; else what to tell the device."""
    mark = hashed(device_code)
    row = store.find_device(tx.connection, mark)
    if row is None or row.client != client.id or row.state == "used":
        return InvalidGrantError("the code is not one that this client was given, or was used", place="device_code")
    waiting = _waiting(row)
    if waiting.request.key and waiting.request.key != key:
        return InvalidGrantError("the code was given for another key", place="device_code")
    if tx.now >= waiting.expires:
        return DeviceError("expired_token", "nobody has typed the code in time", todo="begin again")
    soon = milliseconds(tx.now) - row.polled < row.pace * 1000
    pace = min(row.pace + PACE_SECONDS, LONGEST_PACE) if soon else row.pace
    state = "used" if row.state == "approved" and not soon else row.state
    store.change_device(tx, mark, polled=milliseconds(tx.now), pace=pace, state=state)
    if soon:
        return DeviceError("slow_down", f"ask every {pace} seconds")
    return DeviceError(*_NOT_YET[row.state]) if row.state in _NOT_YET else waiting


def answer(tx: Transaction, waiting: Waiting, *, session: str | None) -> None:
    """Let a device have what it asks for, from ``session``; or, without one, not.

    Raises:
        RefusedError: it was answered before, or is too old. Nothing was written.
    """
    row = store.find_device(tx.connection, waiting.hash)
    if row is None or row.state != "waiting" or from_milliseconds(row.expires) <= tx.now:
        raise RefusedError("the code was answered before, or is too old", todo="begin again on the device")
    store.change_device(tx, waiting.hash, state="approved" if session else "refused", session=session)


def guess(tx: Transaction, text: str, who: Ref) -> Waiting | TooManyGuessesError | NotFoundError:
    """The request that waits under the code that ``who`` has typed; what to tell them where there is none.

    It is returned, since a wrong code is written down; and written in the one thread that writes, so that nobody tries
    many at once.
    """
    own = store.count_guesses(tx.connection, tx.now, user=who.id)
    if own >= MISSES or store.count_guesses(tx.connection, tx.now) >= MISSES_OF_ALL:
        return TooManyGuessesError()
    code = typed(text)
    row = None if code is None else store.find_user_code(tx.connection, code)
    if row is None or row.state != "waiting" or from_milliseconds(row.expires) <= tx.now:
        store.insert_guess(tx, id=new_id("evt"), user=who.id, expires=milliseconds(tx.now + WITHIN))
        return NotFoundError("no device waits under this code", todo="look at the device again")
    return _waiting(row)


def _waiting(row: Row[Any]) -> Waiting:
    return Waiting(
        hash=row.hash, request=_read(row.body), user_code=shown(row.user_code), state=row.state, session=row.session,
        expires=from_milliseconds(row.expires),
    )  # fmt: skip
