import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from everproof.ledger.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint
from everproof.ledger.note import (
    COSIGNATURE_V1,
    MAX_NOTE_BYTES,
    NoteError,
    NoteSigner,
    Signature,
    SignatureError,
    Verifier,
    make_verifier,
    parse_note,
    parse_vkey,
    verify_note,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
SIGNER = NoteSigner("log.test/a", KEY)
WITNESS = make_verifier("witness.test", WITNESS_KEY.public_key(), COSIGNATURE_V1)
CHECKPOINT = Checkpoint("log.test/a", 7, bytes(range(32)))
NOTE = SIGNER.sign(CHECKPOINT.text())


def cosigned(note: bytes, timestamp: int = 1_700_000_000, *, text: str | None = None) -> bytes:
    parsed = parse_note(note)
    message = f"cosignature/v1\ntime {timestamp}\n{parsed.text if text is None else text}"
    data = timestamp.to_bytes(8, "big") + WITNESS_KEY.sign(message.encode())
    return note + Signature(WITNESS.name, WITNESS.id, data).line().encode()


def test_the_key_of_another_implementation_has_the_id_that_it_says() -> None:
    # The key of Tessera's own test log.
    vkey = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
    assert str(parse_vkey(vkey)) == vkey


def test_what_was_signed_opens_and_nothing_else() -> None:
    assert open_checkpoint(NOTE, SIGNER.verifier) == (CHECKPOINT, ())
    assert SIGNER.sign(CHECKPOINT.text()) == NOTE
    for at in range(len(NOTE)):
        changed = NOTE[:at] + bytes([NOTE[at] ^ 1]) + NOTE[at + 1 :]
        with pytest.raises((NoteError, SignatureError)):
            open_checkpoint(changed, SIGNER.verifier)


def test_a_cosignature_says_who_saw_it_when() -> None:
    checkpoint, signed = open_checkpoint(cosigned(NOTE), SIGNER.verifier, [WITNESS])
    assert checkpoint == CHECKPOINT
    assert [(one.by, one.timestamp) for one in signed] == [(WITNESS, 1_700_000_000)]


def test_a_signature_of_a_stranger_says_nothing() -> None:
    assert open_checkpoint(cosigned(NOTE), SIGNER.verifier) == (CHECKPOINT, ())


def test_a_broken_cosignature_refuses_the_note() -> None:
    other = Checkpoint("log.test/a", 8, bytes(32)).text()
    with pytest.raises(SignatureError, match=r"witness\.test does not hold"):
        open_checkpoint(cosigned(NOTE, text=other), SIGNER.verifier, [WITNESS])
    with pytest.raises(SignatureError, match="malformed"):
        open_checkpoint(cosigned(NOTE, 1 << 63), SIGNER.verifier, [WITNESS])


def test_a_witness_alone_does_not_speak_for_the_log() -> None:
    text, _, _ = NOTE.decode().partition("\n\n")
    alone = cosigned(NOTE).decode().split("\n\n")[1].split("\n")[1]
    with pytest.raises(SignatureError, match="not signed by"):
        open_checkpoint(f"{text}\n\n{alone}\n".encode(), SIGNER.verifier, [WITNESS])


def test_a_cosignature_key_is_not_a_log_key() -> None:
    same = make_verifier("log.test/a", KEY.public_key(), COSIGNATURE_V1)
    assert same.id != SIGNER.verifier.id
    with pytest.raises(SignatureError):
        verify_note(parse_note(NOTE), [same])


def test_the_checkpoint_of_another_log_with_the_same_key_is_refused() -> None:
    other = SIGNER.sign(Checkpoint("log.test/b", 7, bytes(32)).text())
    with pytest.raises(SignatureError, match=r"of log\.test/b"):
        open_checkpoint(other, SIGNER.verifier)


CHANGES: list[Callable[[str], str]] = [
    lambda note: note[:-1],
    lambda note: note + "\n",
    lambda note: note.replace("\n\n", "\n"),
    lambda note: note.replace("\u2014 ", "- "),
    lambda note: note.replace("log.test/a ", "log.test/a  "),
    lambda note: note.replace("=\n\n", "\n\n"),
    lambda note: note.replace("\n7\n", "\n07\n"),
    lambda note: note.replace("\n7\n", "\n+7\n"),
    lambda note: note.replace("\n7\n", "\n7\r\n"),
    lambda note: note.replace("\n7\n", "\n\u0667\n"),
    lambda note: note.replace("\n7\n", f"\n{1 << 64}\n"),
    lambda note: note.replace("log.test/a\n7", "\n7"),
    lambda note: note + note.rsplit("\n", 2)[1] + "\n" + "x\n",
    lambda note: note + note.rsplit("\n", 2)[1].join([""] + ["\n"] * 65),
    lambda note: note + "\u2014 a+b AAAAAAA=\n",
    lambda note: note + "\u2014 a\u00a0b AAAAAAA=\n",
    lambda note: note + "\u2014 short AAAAAA==\n",
    lambda note: "x" * MAX_NOTE_BYTES + note,
]


@pytest.mark.parametrize("change", range(len(CHANGES)))
def test_a_note_in_any_other_form_is_refused(change: int) -> None:
    changed = CHANGES[change](NOTE.decode())
    assert changed != NOTE.decode()
    with pytest.raises((NoteError, SignatureError)):
        open_checkpoint(changed.encode(), SIGNER.verifier)


def test_bytes_that_are_not_text_are_refused() -> None:
    with pytest.raises(NoteError, match="UTF-8"):
        parse_note(b"\xff\n\n" + NOTE)


def test_a_checkpoint_with_extensions_is_read_and_an_empty_line_is_not() -> None:
    assert parse_checkpoint(CHECKPOINT.text() + "more\n").extensions == ("more",)
    with pytest.raises(NoteError):
        parse_checkpoint(CHECKPOINT.text() + "\nmore\n")
    with pytest.raises(NoteError, match="32 bytes"):
        parse_checkpoint("o\n1\nAAAA\n")


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\tb"])
def test_a_key_without_a_proper_name_is_refused(name: str) -> None:
    with pytest.raises(NoteError):
        NoteSigner(name, KEY)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+00000000+" + base64.b64encode(b"\x01" + bytes(32)).decode(),
        str(SIGNER.verifier)[:-4],
        str(SIGNER.verifier).replace("log", "lag"),
        str(Verifier("log.test/a", bytes(31))),
        str(Verifier("log.test/a", bytes(32), 2)),  # type: ignore[arg-type]
    ],
)
def test_a_vkey_that_was_mistyped_is_refused(vkey: str) -> None:
    with pytest.raises(NoteError):
        parse_vkey(vkey)


def test_no_secret_is_in_what_is_shown() -> None:
    assert KEY.private_bytes_raw().hex() not in repr(SIGNER)
