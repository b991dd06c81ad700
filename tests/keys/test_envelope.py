import os
import threading

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from everproof.keys import envelope
from everproof.keys.envelope import fresh_nonce, open_with, seal_with

CIPHER = AESGCM(bytes(32))


@given(st.binary(max_size=200), st.binary(max_size=60), st.data())
def test_it_opens_as_sealed_and_with_any_byte_changed_not_at_all(
    plaintext: bytes, context: bytes, data: st.DataObject
) -> None:
    sealed = seal_with(CIPHER, plaintext, context)
    assert open_with(CIPHER, sealed, context) == plaintext
    at = data.draw(st.integers(0, len(sealed) - 1))
    changed = bytearray(sealed)
    changed[at] ^= data.draw(st.integers(1, 255))
    shortened = sealed[:at]
    for other, where in ((bytes(changed), context), (shortened, context), (sealed, context + b"\0")):
        with pytest.raises(InvalidTag):
            open_with(CIPHER, other, where)


def test_the_form_is_as_documented() -> None:
    sealed = seal_with(CIPHER, b"text", b"context")
    assert sealed[0] == 1
    assert CIPHER.decrypt(sealed[1:13], sealed[13:], b"context") == b"text"


def test_threads_never_share_a_nonce() -> None:
    made: list[list[bytes]] = [[] for _ in range(8)]

    def take(into: list[bytes]) -> None:
        into.extend(fresh_nonce() for _ in range(5_000))

    threads = [threading.Thread(target=take, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    nonces = [nonce for into in made for nonce in into]
    assert len(set(nonces)) == len(nonces) == 40_000
    assert {len(nonce) for nonce in nonces} == {12}


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # the child only draws and ends
def test_a_forked_child_never_shares_a_nonce() -> None:
    fresh_nonce()
    assert envelope._nonces
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, b"".join(fresh_nonce() for _ in range(100)))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read, 1200)
    os.close(read)
    os.close(write)
    ours = {fresh_nonce() for _ in range(1000)}
    assert len(theirs) == 1200
    assert ours.isdisjoint(theirs[at : at + 12] for at in range(0, 1200, 12))
