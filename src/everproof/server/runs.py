"""Steps of pipelines (`everproof run`): begin one, go on with it, be told when it must stop, and say how it ended."""

import asyncio
from typing import Annotated, Final

import msgspec

from everproof.authorize import Authorizer
from everproof.delivery import Begun, Command, Result, Run, Runs, Stage
from everproof.identity.dpop import Dpop
from everproof.kernel.errors import InputError, NotFoundError
from everproof.kernel.ids import new_id
from everproof.kernel.words import MAIN_SPACE, Action, Attributes, Fact, Proof, Ref, Resource
from everproof.server.caller import Callers
from everproof.server.denial import allowed
from everproof.server.http import Call, Route
from everproof.server.resources import LEDGER, credential_resource

RUNS: Final = "/v1/runs"
MAX_LISTED: Final = 200
MAX_WAIT_SECONDS: Final = 15
"""Within what an answer may take here, and what proxies wait for one."""

_READ: Final = Action("ledger:read")
_REVOKE: Final = Action("credential:revoke")
_PLATFORM_IDS: Final = ("repository_id", "repository_owner_id", "visibility")

Text = Annotated[str, msgspec.Meta(max_length=512)]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=3600)]


class On(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a stage is done to."""

    type: Annotated[str, msgspec.Meta(pattern="^(Repository|Pipeline|Environment)$")]
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class Begin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A step to begin. ``key_proof`` is a DPoP proof for this request and its token, made with the stage's own key.

    ``on`` is the job's own repository unless it is given. ``lifetime_seconds`` is bounded by the stage.
    """

    stage: Stage
    key_proof: Annotated[str, msgspec.Meta(max_length=8192)]
    command: Command
    on: On | None = None
    lifetime_seconds: Seconds | None = None


class Renewal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much longer a step goes on, if it may."""

    lifetime_seconds: Seconds | None = None


class Waiting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long to wait for something to tell."""

    seconds: Annotated[int, msgspec.Meta(ge=0, le=MAX_WAIT_SECONDS)] = 0


class Watched(msgspec.Struct, frozen=True):
    """Whether the step may go on."""

    live: bool


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which runs: the newest, or those before an id; of a stage or of a principal's id, where these are given."""

    before: Text = ""
    stage: Text = ""
    principal: Text = ""


class Page(msgspec.Struct, frozen=True):
    """Runs, the newest first; go on before the last one until none comes."""

    runs: tuple[Run, ...]


class RunEnded(msgspec.Struct, frozen=True):
    """The credentials that ended with a run, and the entry that records it."""

    ended: tuple[str, ...]
    entry: str


class RunsDoor:
    """The door of `everproof run`."""

    def __init__(self, authorizer: Authorizer, runs: Runs, callers: Callers, dpop: Dpop, *, issuer: str) -> None:
        self._authorizer = authorizer
        self._runs = runs
        self._callers = callers
        self._dpop = dpop
        self._url = issuer + RUNS

    def routes(self) -> list[Route]:
        """What is served."""
        found = (404,)
        return [
            Route("POST", RUNS, self.begin, door="runs", status=201),
            Route("GET", RUNS, self.list, door="runs"),
            Route("GET", f"{RUNS}/{{id}}", self.run, door="runs", problems=found),
            Route("POST", f"{RUNS}/{{id}}/renew", self.renew, door="runs", problems=found),
            Route("POST", f"{RUNS}/{{id}}/end", self.end, door="runs", problems=found),
            Route("GET", f"{RUNS}/{{id}}/watch", self.watch, door="runs", problems=found),
        ]

    async def begin(self, call: Call, body: Begin) -> Begun:
        """Begin a step: its stage is decided, and its credential issued in the commit of that decision."""
        proof = self._callers.prove(call.scope)
        resource = _resource(proof, body.on)
        key = self._dpop.verify(body.key_proof, method="POST", url=self._url, token=_token(call))
        run, lifetime = new_id("run"), self._runs.lifetime(body.stage, body.lifetime_seconds)
        outcome = await self._authorizer.authorize(
            proof,
            Action(f"stage:{body.stage}"),
            resource,
            facts=[Fact("lifetime", int(lifetime.total_seconds()), proof.at, "run-request")],
            within=lambda tx: self._runs.begin(
                tx, run, body.stage, resource.ref, body.command, proof=proof, key=key, lifetime=lifetime
            ),
            detail={"run": run, "command": _said(body.command)},
        )
        begun: Begun = allowed(outcome).outcome
        return begun

    async def renew(self, call: Call, id: str, body: Renewal) -> Begun:  # noqa: A002 - as it stands in the path
        """Go on with a step: its stage is decided again, by what is known now."""
        proof = self._callers.prove(call.scope)
        run = await asyncio.to_thread(self._runs.find, id)
        lifetime = self._runs.lifetime(run.stage, body.lifetime_seconds)
        outcome = await self._authorizer.authorize(
            proof,
            Action(f"stage:{run.stage}"),
            _resource(proof, On(run.resource.type, run.resource.id)),
            facts=[Fact("lifetime", int(lifetime.total_seconds()), proof.at, "run-request")],
            within=lambda tx: self._runs.renew(tx, id, proof=proof, lifetime=lifetime),
            detail={"run": id, "renewed": True},
        )
        begun: Begun = allowed(outcome).outcome
        return begun

    async def end(self, call: Call, id: str, body: Result) -> RunEnded:  # noqa: A002 - as above
        """Say how a step ended; its credentials end in the same commit."""
        proof = self._callers.prove(call.scope)
        run = await asyncio.to_thread(self._runs.find, id)
        about = credential_resource(run.credentials[-1], run.principal, proof, kind="stage")
        outcome = await self._authorizer.authorize(
            proof,
            _REVOKE,
            about,
            within=lambda tx: self._runs.end(tx, id, body, proof=proof),
            detail={"run": id, "stage": run.stage, "result": msgspec.to_builtins(body)},
        )
        given = allowed(outcome)
        return RunEnded(given.outcome, given.receipt.entry_id)

    async def watch(self, call: Call, id: str, query: Waiting) -> Watched:  # noqa: A002 - as above
        """Wait until this step must stop; asked with its own credential, of which alone it tells."""
        proof = self._callers.prove(call.scope)
        run = await asyncio.to_thread(self._runs.find, id)
        if proof.credential not in run.credentials:
            raise NotFoundError("this is not the credential of that run")
        return Watched(run.ended is None and not await self._runs.until_revoked(run, query.seconds))

    async def run(self, call: Call, id: str) -> Run:  # noqa: A002 - as above
        """Tell what ran, in which stage, and how it ended."""
        proof = self._callers.prove(call.scope)
        run = await asyncio.to_thread(self._runs.find, id)
        about = credential_resource(run.credentials[-1], run.principal, proof, kind="stage")
        allowed(await self._authorizer.authorize(proof, Action("identity:read"), about))
        return run

    async def list(self, call: Call, query: Listing) -> Page:
        """List steps."""
        allowed(await self._authorizer.authorize(self._callers.prove(call.scope), _READ, LEDGER))
        found = await asyncio.to_thread(
            lambda: self._runs.list(before=query.before, stage=query.stage, principal=query.principal, limit=MAX_LISTED)
        )
        return Page(tuple(found))


def _token(call: Call) -> str:
    """The access token of a request whose caller was proven by one."""
    _, _, token = (call.header(b"authorization") or "").partition(" ")
    return token


def _resource(proof: Proof, on: On | None) -> Resource:
    """What a stage is done to. Of its own repository a job has proven the platform's ids; of others it knows a name."""
    known = proof.principal.attributes
    own = known.get("repository")
    if on is None:
        if not isinstance(own, str):
            raise InputError("say what the stage is done to", place="body: on", todo="add --on Repository::NAME")
        on = On("Repository", own)
    attributes: Attributes = {"name": on.id}
    space = MAIN_SPACE
    if on.type == "Repository" and on.id == own:
        attributes = {**attributes, **{name: known[name] for name in _PLATFORM_IDS if name in known}}
        space = Ref("Space", proof.claims.get("space", MAIN_SPACE.id))
    return Resource(ref=Ref(on.type, on.id), attributes=attributes, parents=(space,))


def _said(command: Command) -> Attributes:
    """What the ledger keeps of a command."""
    said: Attributes = msgspec.to_builtins(command)
    return said
