"""One-time passwords (RFC 6238), as the apps make them: SHA-1, six digits, thirty seconds.

A code of the step before or after is accepted too (section 5.2). Each step is good once, so who looks over a shoulder
sees nothing that is still worth anything.
"""

import base64
import hmac
import os
import re
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlencode

import msgspec
import segno
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.twofactor.totp import TOTP

STEP_SECONDS: Final = 30
DIGITS: Final = 6
SKEW_STEPS: Final = 1
SECRET_BYTES: Final = 20
"""As long as the hash (RFC 4226, section 4)."""

_CODE: Final = re.compile(r"[0-9]{6}")
MAX_LABEL: Final = 64


class Drawn(msgspec.Struct, frozen=True):
    """A QR code: ``size`` modules each way, with its margin; ``path`` draws the dark ones; ``svg`` is the whole."""

    size: int
    path: str
    svg: str

    def __repr__(self) -> str:
        return "Drawn(…)"


def new_secret() -> bytes:
    """A fresh secret."""
    return os.urandom(SECRET_BYTES)


def step_of(at: datetime) -> int:
    """The step that ``at`` is in."""
    return int(at.timestamp()) // STEP_SECONDS


def code_at(secret: bytes, step: int) -> str:
    """The code of a step."""
    # SHA-1 as an HMAC is sound, and apps know nothing else.
    made = TOTP(secret, DIGITS, hashes.SHA1(), STEP_SECONDS)  # noqa: S303 - as above
    return made.generate(step * STEP_SECONDS).decode()


def step_shown(secret: bytes, code: str, at: datetime) -> int | None:
    """The step that ``code`` is of, if it is one that is accepted at ``at``."""
    given = code.replace(" ", "")
    if _CODE.fullmatch(given) is None:
        return None
    now = step_of(at)
    found = None
    for step in range(now - SKEW_STEPS, now + SKEW_STEPS + 1):
        if hmac.compare_digest(code_at(secret, step), given):
            found = step
    return found


def written(secret: bytes) -> str:
    """The secret as people type it into an app."""
    return base64.b32encode(secret).decode().rstrip("=")


def address(secret: bytes, *, server: str, person: str) -> str:
    """The ``otpauth:`` address that an app reads from a QR code."""
    label = f"{quote(server[:MAX_LABEL], safe='')}:{quote(person[:MAX_LABEL], safe='')}"
    given = {
        "secret": written(secret),
        "issuer": server[:MAX_LABEL],
        "algorithm": "SHA1",
        "digits": DIGITS,
        "period": STEP_SECONDS,
    }
    return f"otpauth://totp/{label}?{urlencode(given, quote_via=quote)}"


def drawn(text: str) -> Drawn:
    """``text`` as a QR code. It holds what the text holds: a secret stays one."""
    code = segno.make_qr(text, error="m")
    margin = code.default_border_size
    dark = [
        f"M{x + margin} {y + margin}h1v1h-1z"
        for y, row in enumerate(code.matrix)
        for x, module in enumerate(row)
        if module & 1
    ]
    size = len(code.matrix) + 2 * margin
    path = "".join(dark)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" role="img" aria-label="QR code">'
        f'<path fill="#fff" d="M0 0h{size}v{size}H0z"/><path d="{path}"/></svg>'
    )
    return Drawn(size, path, svg)
