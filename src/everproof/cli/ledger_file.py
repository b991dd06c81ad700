"""Verifying what is in a file, a proof or a checkpoint, with public keys alone."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from everproof.cli.state import open_ledger
from everproof.cli.terminal import fields, paint, print_json, printable
from everproof.kernel.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from everproof.ledger import Verifier
    from everproof.ledger.checkpoint import Checkpoint
    from everproof.ledger.note import Signed
    from everproof.ledger.tlog_policy import TlogPolicy

_LATEST: Final = 253_402_300_799
"""The last second that can be written as a date; a witness may say anything."""


def verify_file(file: Path, key: str | None, policy: Path | None, state: Path | None, *, as_json: bool) -> None:
    """Verify the proof or the checkpoint in ``file``, and print what it shows.

    Raises:
        Error: it does not hold, or cannot be read.
    """
    from everproof.ledger.cosigning import read_policy
    from everproof.ledger.proof import HEADER, MAX_PROOF_BYTES, verify_proof_by
    from everproof.ledger.tlog_policy import NO_QUORUM, TlogPolicy

    trust = TlogPolicy((), {}, (), NO_QUORUM) if policy is None else read_policy(policy)
    logs = _logs(key, trust, state)
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_PROOF_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", place=str(file)) from error
    if not content.startswith(HEADER.encode()) and content.count(b"\n\n") == 1:
        checkpoint, cosigned = trust.open_checkpoint(content, logs)
        _print_checkpoint(checkpoint, cosigned, as_json=as_json)
        return
    proven = verify_proof_by(content, lambda note: trust.open_checkpoint(note, logs))
    entry = _decoded(proven.entry)
    origin = proven.checkpoint.origin
    if as_json:
        print_json(
            {"holds": True, "origin": origin, "index": proven.index, "size": proven.checkpoint.size,
             "root": proven.checkpoint.root.hex(), "commitment": proven.commitment.hex(), "entry": entry,
             "witnesses": _witnesses(proven.witnesses)}
        )  # fmt: skip
        return
    print(f"{paint('The proof holds', 'good')}: {origin} has this entry at {proven.index}.")
    print(fields([("checkpoint", f"{proven.checkpoint.size} entries"), ("root", proven.checkpoint.root.hex()),
                  ("commitment", proven.commitment.hex()), ("cosigned by", _told(proven.witnesses))]))  # fmt: skip
    if entry is not None:
        import json

        print(printable(json.dumps(entry, indent=2, ensure_ascii=False)))


def _print_checkpoint(checkpoint: "Checkpoint", cosigned: "tuple[Signed, ...]", *, as_json: bool) -> None:
    if as_json:
        print_json(
            {"holds": True, "origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex(),
             "witnesses": _witnesses(cosigned)}
        )  # fmt: skip
        return
    print(f"{paint('The checkpoint holds', 'good')}: {checkpoint.origin} had {checkpoint.size} entries.")
    print(fields([("root", checkpoint.root.hex()), ("cosigned by", _told(cosigned))]))


def _witnesses(cosigned: "tuple[Signed, ...]") -> list[dict[str, Any]]:
    return [{"name": one.by.name, "timestamp": one.timestamp} for one in cosigned]


def _told(cosigned: "tuple[Signed, ...]") -> str | None:
    if not cosigned:
        return None
    times = ((one.by.name, datetime.fromtimestamp(min(one.timestamp or 0, _LATEST), UTC)) for one in cosigned)
    return ", ".join(f"{printable(name)} at {at:%Y-%m-%d %H:%M:%S}" for name, at in times)


def _logs(key: str | None, policy: "TlogPolicy", state: Path | None) -> "tuple[Verifier, ...]":
    """The log that is trusted: as given, in a file or as it is; else those of the policy; else the state folder's."""
    from everproof.ledger import parse_vkey

    if key is not None:
        path = Path(key)
        return (parse_vkey((path.read_text() if "+" not in key and path.is_file() else key).strip()),)
    if policy.logs:
        return policy.logs
    try:
        with open_ledger(state) as ledger:
            return (ledger.log,)
    except NotFoundError as error:
        todo = "give the log's public key with --key: `everproof ledger key` prints it on the server"
        raise InputError("which log is trusted was not said", place="--key", todo=todo) from error


def _decoded(entry: bytes | None) -> Any:
    import json

    return None if entry is None else json.loads(entry)
