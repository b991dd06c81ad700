"""What has changed, as server-sent events: for enforcement points that remember an answer until it may be another.

Each event has its position as id, and its data is a `Change`. A heartbeat comes every second, and says how many
milliseconds after this answer began it was certain that nothing more had changed: a reader that knows when it asked
knows by its own clock how old its news are, however long they were on their way.
"""

import asyncio
import contextlib
import time
from typing import Annotated, Final

import msgspec
from starlette.types import Message, Receive, Scope, Send

from everproof.authorize import Authorizer
from everproof.authorize.authorizer import Liveness
from everproof.authorize.changes import Change, Changes, Subscriber
from everproof.kernel.clock import Clock
from everproof.kernel.errors import UnavailableError
from everproof.kernel.words import MAIN_SPACE, Proof, Ref, Resource
from everproof.server.authzen import ASK
from everproof.server.caller import Callers
from everproof.server.denial import allowed
from everproof.server.http import BareRoute
from everproof.server.http.body import form_reader
from everproof.server.http.call import SECURITY_HEADERS, request_id
from everproof.server.http.route import Declaration
from everproof.server.resources import ANYONE

CHANGES: Final = "/v1/changes"

HEARTBEAT_SECONDS: Final = 1.0
STREAM_SECONDS: Final = 25.0
"""How long one answer goes on, within what a request may take here; the reader comes back for more."""
MAX_STREAMS: Final = 256
"""At the same time; each holds a connection and at most a thousand changes."""

_EVERYONE: Final = Resource(ref=Ref("Identity", ANYONE), parents=(MAIN_SPACE,))
_EVENT: Final = b"event: change\nid: %s\ndata: %s\n\n"
_HEARTBEAT: Final = b'event: heartbeat\ndata: {"milliseconds":%d}\n\n'


class After(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to go on: the last position that was read."""

    after: Annotated[str, msgspec.Meta(max_length=64)] = ""


class ChangesDoor:
    """Tells of changes to whoever may ask about everybody."""

    def __init__(
        self, changes: Changes, authorizer: Authorizer, callers: Callers, clock: Clock, live: Liveness
    ) -> None:
        self._changes = changes
        self._authorizer = authorizer
        self._callers = callers
        self._clock = clock
        self._live = live
        self._open = 0
        self._read = form_reader(After)
        self._encode = msgspec.json.Encoder().encode

    def routes(self) -> list[BareRoute]:
        """What is served."""
        return [
            BareRoute(
                self.stream,
                Declaration(
                    method="GET",
                    path=CHANGES,
                    summary="Follow what can change an answer",
                    description="Server-sent events: `change`, `heartbeat`. For whoever may ask about everybody.",
                    door="changes",
                    query=After,
                    answers=(Change,),
                    answer_media="text/event-stream",
                ),
            )
        ]

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell of changes until the stream's time is over, or its reader may not know them any more."""
        began = time.monotonic()
        proof = self._callers.prove(scope)
        query = self._read(scope["query_string"])
        echo = request_id(scope)
        request = None if echo is None else echo.decode()
        if self._open >= MAX_STREAMS:
            raise UnavailableError("too many follow the changes already", todo="try again in a while")
        self._open += 1
        # Before the decision: what changes while it is made is told too.
        subscriber = self._changes.subscribe(query.after)
        leaving = asyncio.create_task(_left(receive, subscriber))
        try:
            allowed(await self._authorizer.authorize(proof, ASK, _EVERYONE, request=request))
            headers = [
                (b"content-type", b"text/event-stream"),
                *SECURITY_HEADERS,
                (b"cache-control", b"no-store"),
                (b"x-accel-buffering", b"no"),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            with contextlib.suppress(UnavailableError):  # nothing can be said for certain: the reader hears no more
                await self._tell(proof, subscriber, send, began)
            await send({"type": "http.response.body", "body": b""})
        finally:
            leaving.cancel()
            self._changes.leave(subscriber)
            self._open -= 1

    async def _tell(self, proof: Proof, subscriber: Subscriber, send: Send, began: float) -> None:
        while not subscriber.cut:
            stale, elapsed = self._changes.stale_for, time.monotonic() - began
            news = subscriber.take()
            told = [_EVENT % (one.position.encode(), self._encode(_as_told(one, proof))) for one in news]
            told.append(_HEARTBEAT % max(0, (elapsed - stale) * 1000))
            message: Message = {"type": "http.response.body", "body": b"".join(told), "more_body": True}
            await send(message)
            if elapsed >= STREAM_SECONDS or any(_concerns(one, proof) for one in news) or not self._lives(proof):
                return  # whoever may still know comes back, and is decided upon anew
            if not subscriber.waiting:
                await subscriber.wait(HEARTBEAT_SECONDS)

    def _lives(self, proof: Proof) -> bool:
        expired = proof.expires is not None and proof.expires <= self._clock.now()
        return not expired and (proof.credential is None or self._live(proof.credential))


async def _left(receive: Receive, subscriber: Subscriber) -> None:
    """Cut off a reader that has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    subscriber.end()


def _concerns(change: Change, proof: Proof) -> bool:
    """Whether the reader itself may be somebody else now, or may do something else."""
    own = proof.principal.ref
    if change.kind in {"group", "bundle"}:
        return True
    return proof.credential in change.credentials or (own.type, own.id) in change.principals


def _as_told(change: Change, proof: Proof) -> Change:
    """What concerns the reader itself concerns every answer that it was given."""
    return Change("reset", change.position) if _concerns(change, proof) else change
