"""How often codes may be tried: after three in vain, each takes longer, and after a hundred the factor is suspended.

It is counted before it is looked whether a code holds, in the database: so nobody gains by trying at many servers at
once, or by ending one. A person's other ways in are not slower for it.
"""

from datetime import timedelta
from typing import Final

from everproof.identity.factors import store
from everproof.identity.factors.records import Attempts, Method
from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import Error
from everproof.kernel.words import Ref
from everproof.storage import Transaction

FREE: Final = 3
"""Typing errors."""
FIRST_WAIT: Final = timedelta(seconds=2)
LONGEST_WAIT: Final = timedelta(minutes=15)
MAX_FAILURES: Final = 100
"""NIST SP 800-63B-4, section 3.2.2. With three codes in a million good at a time, they succeed one time in 3,000."""


class ThrottledError(Error):
    """Too many codes in vain: none is looked at for a while."""

    code = "throttled"
    status = 429

    def __init__(self, wait: timedelta) -> None:
        seconds = max(1, -(-wait // timedelta(seconds=1)))
        super().__init__(
            f"too many wrong codes; the next one is looked at in {seconds} seconds",
            todo="wait, or use another factor",
        )
        self.headers = {"retry-after": str(seconds)}
        self.extra = {"retry_after_seconds": seconds}


def wait_after(failures: int) -> timedelta:
    """How long nothing is looked at after so many in vain."""
    if failures < FREE:
        return timedelta()
    # The exponent is bounded, so that the number is: 2 s, 4 s, ... 15 min.
    return min(FIRST_WAIT * (1 << min(failures - FREE, 16)), LONGEST_WAIT)


def count(tx: Transaction, person: Ref, method: Method) -> Attempts:
    """Count an attempt as one in vain, until it is known to be none.

    Raises:
        ThrottledError: it comes too early. Nothing was written.
    """
    before = store.attempts_of(tx.connection, person, method)
    if before.until is not None and milliseconds(tx.now) < milliseconds(before.until):
        raise ThrottledError(before.until - tx.now)
    failures = before.failures + 1
    until = tx.now + wait_after(failures)
    store.put_attempts(tx, person, method, failures, until)
    return Attempts(failures, until)
