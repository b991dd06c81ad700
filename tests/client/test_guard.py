"""Attacks on the guard before a service that no request of the middleware can show alone."""

import os

import pytest

from everproof.client.guard import Guard, NotProvenError
from everproof.client.keys import Key

SERVICE = "https://shop.example"
TOKEN = "a-token"


def test_a_proof_is_not_replayed_to_another_worker_forked_from_the_same_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guard, key = Guard(SERVICE, server="https://everproof.example"), Key.new()

    def show(nonce: str) -> None:
        proof = key.dpop("GET", SERVICE + "/", token=TOKEN, nonce=nonce)
        guard.shown([("Authorization", f"DPoP {TOKEN}"), ("DPoP", proof)], method="GET", path="/")

    with pytest.raises(NotProvenError) as wanted:
        show("")
    nonce = wanted.value.headers["dpop-nonce"]
    show(nonce)
    here = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: here + 1)  # the guard was made before its server forked
    with pytest.raises(NotProvenError):
        show(nonce)
