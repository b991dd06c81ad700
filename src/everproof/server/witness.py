"""The door of a witness: other logs have their checkpoints cosigned here (C2SP tlog-witness).

Nobody proves who asks: the checkpoint carries its log's signature, and nothing else is taken for true.
"""

from typing import Final

from starlette.types import Receive, Scope, Send

from everproof.ledger.witness import MAX_REQUEST_BYTES, KnownSizeError, WitnessService
from everproof.server.http import BareRoute, Reply
from everproof.server.http.body import read_body
from everproof.server.http.call import send_reply
from everproof.server.http.route import Declaration

PATH: Final = "/add-checkpoint"
TEXT: Final = "text/plain; charset=utf-8"
SIZE: Final = "text/x.tlog.size"


class WitnessDoor:
    """Takes checkpoints and gives cosignatures."""

    def __init__(self, witness: WitnessService) -> None:
        self._witness = witness

    def routes(self) -> list[BareRoute]:
        """What is served."""
        declaration = Declaration(
            method="POST",
            path=PATH,
            summary="Have a log's checkpoint cosigned",
            description="409 tells, as text/x.tlog.size, the size at which the log was last cosigned.",
            door="witness",
            body=str,
            body_media="text/plain",
            answer_media=TEXT,
            problems=(403, 404, 409, 422),
            needs_proof=False,
        )
        return [BareRoute(self.add_checkpoint, declaration)]

    async def add_checkpoint(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Cosign the checkpoint, if it continues what was cosigned before."""
        body = await read_body(scope, receive, limit=MAX_REQUEST_BYTES)
        try:
            reply = Reply(await self._witness.add_checkpoint(body), media=TEXT)
        except KnownSizeError as error:
            reply = Reply(b"%d\n" % error.size, status=error.status, media=SIZE)
        await send_reply(scope, send, reply)
