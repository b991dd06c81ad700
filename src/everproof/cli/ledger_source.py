"""Where the ledger is read: the state folder where there is one, else the server that this machine is logged in to."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from everproof.cli.state import LedgerFolder, has_database, open_ledger
from everproof.kernel.errors import NotFoundError

if TYPE_CHECKING:
    from everproof.cli.client import Client
    from everproof.ledger import Recorded

PAGE: Final = 1000
"""As many entries as the server gives at once."""


class LedgerSource(Protocol):
    """Reads entries and proofs."""

    def key(self) -> str:
        """The log's public key, whose name stands before its first ``+``."""
        ...

    def witness(self) -> str | None:
        """The public key that other logs are cosigned with here, where any are."""
        ...

    def tail(self, after: int | None, limit: int, *, kind: str | None = None) -> "list[Recorded]":
        """Up to ``limit`` entries after an index, else the last ones; oldest first."""
        ...

    def prove(self, entry: str, *, disclose: bool) -> bytes:
        """A tlog-proof of the entry of this index or id."""
        ...

    def size(self) -> int:
        """How many entries can be exported."""
        ...

    def export(self, first: int, end: int, *, disclose: bool) -> Iterator[bytes]:
        """Lines of JSON, each an entry with its proof."""
        ...


@contextmanager
def open_source(state: Path | None) -> Iterator[LedgerSource]:
    """The ledger of the state folder; where there is none and somebody is logged in, that of the server.

    Raises:
        NotFoundError: neither.
    """
    from everproof.cli import session
    from everproof.cli.client import connect
    from everproof.kernel.settings import load_settings

    if state is None and not has_database(load_settings(None)) and session.file().exists():
        yield ServedLedger(connect())
        return
    with open_ledger(state) as ledger:
        yield FolderLedger(ledger)


class FolderLedger:
    """The ledger in a state folder, beside a server that may run."""

    def __init__(self, ledger: LedgerFolder) -> None:
        self._ledger = ledger
        self._view = ledger.view

    def key(self) -> str:
        """As in ``LedgerSource``."""
        return str(self._ledger.log)

    def witness(self) -> str | None:
        """As in ``LedgerSource``."""
        return None if self._ledger.witness is None else str(self._ledger.witness)

    def tail(self, after: int | None, limit: int, *, kind: str | None = None) -> "list[Recorded]":
        """As in ``LedgerSource``."""
        return self._view.tail(after, limit, kind=kind)

    def prove(self, entry: str, *, disclose: bool) -> bytes:
        """As in ``LedgerSource``. Where the last checkpoint does not reach the entry, a running server signs another.

        It does so for anyone who asks for a proof that discloses nothing. Where none runs, nothing can be signed, and
        the proof itself says so.
        """
        import httpx

        index = int(entry) if entry.isdecimal() else self._view.find(entry)
        if index >= self.size():
            transport = httpx.HTTPTransport(uds=str(self._ledger.settings.socket))
            with contextlib.suppress(httpx.TransportError), httpx.Client(transport=transport) as client:
                client.get(f"http://localhost/v1/ledger/entries/{index}/proof")
        return self._view.proof(index, disclose=disclose)

    def size(self) -> int:
        """As in ``LedgerSource``."""
        from everproof.ledger.checkpoint import open_checkpoint

        try:
            return open_checkpoint(self._view.checkpoint(), self._ledger.log)[0].size
        except NotFoundError:
            return 0

    def export(self, first: int, end: int, *, disclose: bool) -> Iterator[bytes]:
        """As in ``LedgerSource``."""
        return self._view.export(first, end, disclose=disclose)


class ServedLedger:
    """The ledger as a server gives it to who may read it. Each read is decided and recorded."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def key(self) -> str:
        """As in ``LedgerSource``."""
        return str(self._client.request("GET", "/v1/ledger", proven=False)["vkey"])

    def witness(self) -> str | None:
        """As in ``LedgerSource``."""
        found: str | None = self._client.request("GET", "/v1/ledger", proven=False)["witness"]
        return found

    def tail(self, after: int | None, limit: int, *, kind: str | None = None) -> "list[Recorded]":
        """As in ``LedgerSource``."""
        import msgspec

        from everproof.ledger import Recorded

        asked = {"after": after, "limit": min(limit, PAGE), "kind": kind}
        query = {name: value for name, value in asked.items() if value is not None}
        answer: dict[str, Any] = self._client.request("GET", "/v1/ledger/entries", query=query)
        # A body is kept as it stands in JSON, which only a decoder of JSON can do.
        return msgspec.json.decode(msgspec.json.encode(answer["entries"]), type=list[Recorded])

    def prove(self, entry: str, *, disclose: bool) -> bytes:
        """As in ``LedgerSource``."""
        from urllib.parse import quote

        path = f"/v1/ledger/entries/{quote(entry, safe='')}/proof"
        query = {"disclose": "true"} if disclose else None
        text: bytes = self._client.request("GET", path, query=query, proven=disclose)
        return text

    def size(self) -> int:
        """As in ``LedgerSource``."""
        return int(self._client.request("GET", "/v1/ledger", proven=False)["size"])

    def export(self, first: int, end: int, *, disclose: bool) -> Iterator[bytes]:
        """As in ``LedgerSource``."""
        while first < end:
            query = {"first": first, "limit": min(PAGE, end - first), "disclose": "true" if disclose else "false"}
            page: bytes = self._client.request("GET", "/v1/ledger/export", query=query)
            lines = page.splitlines(keepends=True)
            if not lines:
                return
            yield from lines
            first += len(lines)
