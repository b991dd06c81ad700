"""The git door's addresses. They answer on the unix socket alone: anyone else is refused by `GitDoor` itself."""

from typing import Final

import msgspec
from starlette.types import Receive, Scope, Send

from everproof.kernel.errors import InputError
from everproof.server.git.door import GitDoor
from everproof.server.git.wire import (
    MAX_BODY,
    KeyAnswer,
    KeyQuestion,
    Push,
    PushAnswer,
    SessionAnswer,
    SessionQuestion,
)
from everproof.server.http.body import read_body, require_media
from everproof.server.http.call import JSON, Call, send_json
from everproof.server.http.route import BareRoute, Declaration, Route

DOOR: Final = "git"

_DECODER: Final = msgspec.json.Decoder(Push, strict=True)
_ENCODER: Final = msgspec.json.Encoder()


def routes(door: GitDoor) -> tuple[Route | BareRoute, ...]:
    """The routes to mount for ``door``."""

    async def key(call: Call, body: KeyQuestion) -> KeyAnswer:
        """Whether sshd may let this key in. On the unix socket, for git's account."""
        return await door.key(call.peer, body)

    async def session(call: Call, body: SessionQuestion) -> SessionAnswer:
        """Whether a key may fetch from, or begin to push into, a repository. On the unix socket, for git's account."""
        return await door.session(call.peer, body)

    async def push(scope: Scope, receive: Receive, send: Send) -> None:
        peer = Call(scope).peer
        door.admit(peer)  # before a byte of a large body is read
        require_media(scope, JSON)
        body = await read_body(scope, receive, limit=MAX_BODY)
        try:
            question = _DECODER.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InputError(f"not a push: {error}", place="body") from error
        await send_json(scope, send, _ENCODER.encode(await door.push(peer, question)))

    declaration = Declaration(
        method="POST",
        path="/git/push",
        summary="Whether a push may be taken, all of it. On the unix socket, for git's account",
        door=DOOR,
        body=Push,
        answers=(PushAnswer,),
        problems=(400, 403, 413, 415),
        needs_proof=False,
    )
    return (
        Route("POST", "/git/key", key, door=DOOR, needs_proof=False, problems=(400, 403)),
        Route("POST", "/git/session", session, door=DOOR, needs_proof=False, problems=(400, 403)),
        BareRoute(push, declaration),
    )
