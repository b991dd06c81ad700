"""Letting another bundle rule: only one that comes after the one that rules, and only so far as it locks nobody out.

The bundle is replayed over what was decided lately, in processes of their own, while this one goes on answering. Who
applies it is told how far that is, and at the end what it would have denied. What is told in spite of a warning is a
fact of the decision, so that policy may forbid it.
"""

import asyncio
import secrets
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

import msgspec

from everproof.authorize import Authorizer, Denied
from everproof.authorize.bundles import BUNDLE, POLICY_CHANGE, Bundles
from everproof.authorize.replaying import Replay, replay_ledger
from everproof.evidence.bundle_commit import BundleCommit, read_bundle_commit
from everproof.evidence.descent import descends
from everproof.identity import Identity
from everproof.kernel.clock import Clock
from everproof.kernel.errors import ConflictError, NotFoundError, RefusedError
from everproof.kernel.settings import BundleSource, Settings
from everproof.kernel.words import Action, Fact, Proof, Ref
from everproof.ledger import LedgerView
from everproof.policy import Bundle
from everproof.policy.replay_bound import Bound, bound_of
from everproof.server.caller import Callers
from everproof.server.denial import DeniedError, allowed, denial
from everproof.server.http import Call, Route
from everproof.server.resources import LEDGER
from everproof.storage import Transaction

PATIENCE_SECONDS: Final = 8.0
"""How long one request waits for the replay's end before it says how far it is."""

SOURCE: Final = "replay"
READ_LEDGER: Final = Action("ledger:read")


class Revision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A commit of the bundle's repository; empty for the ref that the settings name.

    ``at_most`` is how much of what was allowed it may deny, in place of the setting; ``despite``: as much as it does.
    ``downgrade``: though it does not come after the one that rules.
    """

    commit: Annotated[str, msgspec.Meta(max_length=200)] = ""
    at_most: int | str | None = None
    despite: bool = False
    downgrade: bool = False


class Applied(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The bundle that rules from now on, who signed its commit, and which entry records it.

    While it is being replayed, how far that is, and the ``ticket`` to ask again with.
    """

    state: Literal["applied", "replaying"]
    digest: str = ""
    commit: str = ""
    signer: str = ""
    entry: str = ""
    ticket: str = ""
    done: int = 0
    of: int = 0
    replay: Replay | None = None


class NotAppliedError(DeniedError):
    """The bundle does not come to rule, whatever policy says; ``extra`` has what its replay found."""

    code = "not-applied"

    def __init__(self, denied: Denied, todo: str | None, replay: Replay | None) -> None:
        super().__init__(denied)
        self.todo = todo
        if replay is not None:
            self.extra["replay"] = msgspec.to_builtins(replay)


class _Run:
    """One bundle on its way."""

    def __init__(self, principal: Ref) -> None:
        self.ticket = secrets.token_urlsafe(16)
        self.principal = principal
        self.done = self.of = 0
        self.task: asyncio.Task[Applied] | None = None

    def progress(self, done: int, of: int) -> None:
        self.done, self.of = done, of

    async def wait(self) -> Applied:
        assert self.task is not None
        await asyncio.wait({self.task}, timeout=PATIENCE_SECONDS)
        if self.task.done():
            return self.task.result()
        return Applied(state="replaying", ticket=self.ticket, done=self.done, of=self.of)


class _Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller wants to rule, and in spite of what."""

    proof: Proof
    source: BundleSource
    revision: str
    bound: Bound
    unbounded: bool
    despite: bool
    downgrade: bool


class ApplyDoor:
    """Where a signed commit of the bundle's repository comes to rule."""

    def __init__(
        self,
        *,
        authorizer: Authorizer,
        bundles: Bundles,
        identity: Identity,
        callers: Callers,
        clock: Clock,
        ledger: LedgerView,
        settings: Settings,
    ) -> None:
        self._authorizer = authorizer
        self._bundles = bundles
        self._identity = identity
        self._callers = callers
        self._clock = clock
        self._ledger = ledger
        self._settings = settings
        self._run: _Run | None = None

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route("POST", "/v1/policy/apply", self.apply, door="policy", problems=(404, 409)),
            Route("GET", "/v1/policy/apply/{ticket}", self.applying, door="policy", problems=(404, 409)),
        ]

    async def apply(self, call: Call, body: Revision) -> Applied:
        """Let the bundle of a commit rule: the caller and the commit's signer must both be allowed to change policy.

        The caller too, since everyone can fetch an old commit that was once signed. It is replayed first; where that
        takes longer than a few seconds, the answer says how far it is, and the ticket tells the rest.
        """
        proof = self._callers.prove(call.scope)
        source = self._settings.bundle
        if source is None:
            raise NotFoundError(
                "no repository of the bundle is set", place="server.toml", todo="name it in [bundle] repository = …"
            )
        usual = bound_of(source.at_most, place="server.toml: bundle.at_most")
        bound = usual if body.at_most is None else bound_of(body.at_most, place="body: at_most")
        despite = body.despite or not bound.within(usual)
        told = [name for name, said in (("despite", despite), ("downgrade", body.downgrade)) if said]
        revision = body.commit or source.ref
        facts = [Fact(name, value=True, at=self._clock.now(), source="caller") for name in told]
        allowed(
            await self._authorizer.authorize(proof, POLICY_CHANGE, BUNDLE, facts=facts, detail={"revision": revision})
        )
        if self._run is not None and self._run.task is not None and not self._run.task.done():
            raise ConflictError("another bundle is being replayed to rule", todo="wait until that is done")
        run = self._run = _Run(proof.principal.ref)
        wish = _Wish(
            proof=proof,
            source=source,
            revision=revision,
            bound=bound,
            unbounded=body.despite,
            despite=despite,
            downgrade=body.downgrade,
        )
        run.task = asyncio.create_task(self._apply(wish, run))
        run.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await run.wait()

    async def applying(self, call: Call, ticket: str) -> Applied:
        """How far the bundle is that the caller applied, or what came of it."""
        proof = self._callers.prove(call.scope)
        run = self._run
        if run is None or run.principal != proof.principal.ref or not secrets.compare_digest(run.ticket, ticket):
            raise NotFoundError("no bundle was applied with this ticket", todo="apply it: everproof policy apply")
        return await run.wait()

    async def _apply(self, wish: _Wish, run: _Run) -> Applied:
        replaces = self._bundles.current
        found = await read_bundle_commit(wish.source.repository, wish.revision, self._identity, self._clock)
        older = replaces.commit != "" and not await descends(wish.source.repository, found.commit, replaces.commit)
        facts: dict[str, bool | int] = {"downgrade": True} if older else {}
        if wish.despite:
            facts["despite"] = True
        if older and not wish.downgrade:
            refusal = RefusedError(
                f"it does not come after {replaces.commit[:12]}, which rules: it is older, or of another line",
                todo="sign a commit on top of that one; or let it rule all the same with --downgrade",
            )
            await self._refuse(found, refusal, facts, None, wish.proof)
        replay = await self._replay(found, replaces, wish.source, run)
        if replay is not None:
            facts |= {
                "replay_denies": replay.findings.denied,
                "replay_allows": replay.findings.allowed,
                "replay_complete": replay.complete,
            }
            if not wish.unbounded and (why := _too_much(replay, wish.bound, wish.source)):
                refusal = RefusedError(why, todo="look at whom it locks out; --at-most N, or --despite, lets it rule")
                await self._refuse(found, refusal, facts, replay, wish.proof)
        stated = self._facts(facts)
        # Again, and with what is known by now: a replay takes its time, and policy may have something to say to it.
        allowed(
            await self._authorizer.authorize(
                wish.proof, POLICY_CHANGE, BUNDLE, facts=stated, detail={"revision": wish.revision}
            )
        )
        given = allowed(
            await self._bundles.load(found.proof, found.files, found.commit, replaces=replaces, facts=stated)
        )
        return Applied(
            state="applied",
            digest=self._bundles.current.digest,
            commit=found.commit,
            signer=str(found.proof.principal.ref),
            entry=given.receipt.entry_id,
            replay=await self._shown(replay, wish.proof),
        )

    async def _replay(self, found: BundleCommit, replaces: Bundle, source: BundleSource, run: _Run) -> Replay | None:
        if source.replay_days == 0 or found.files == dict(replaces.files):
            return None
        return await replay_ledger(
            self._ledger,
            self._settings,
            found.files,
            since=self._clock.now() - timedelta(days=source.replay_days),
            commit=found.commit,
            seconds=source.replay_seconds,
            ruling=replaces.files,
            bounded=True,
            progress=run.progress,
        )

    async def _refuse(
        self, found: BundleCommit, refusal: RefusedError, facts: dict[str, Any], replay: Replay | None, caller: Proof
    ) -> None:
        """Record that it does not rule, and say so."""

        def refuse(_tx: Transaction) -> None:
            raise refusal

        outcome = await self._authorizer.authorize(
            found.proof,
            POLICY_CHANGE,
            BUNDLE,
            facts=self._facts(facts),
            detail={"commit": found.commit},
            within=refuse,
        )
        assert isinstance(outcome, Denied)
        if not outcome.decision.allowed:
            raise denial(outcome)
        raise NotAppliedError(outcome, refusal.todo, await self._shown(replay, caller))

    async def _shown(self, replay: Replay | None, caller: Proof) -> Replay | None:
        """What the caller may see of it: who did what is in the ledger, and is for those who may read that."""
        if replay is None or not (replay.findings.groups or replay.findings.rest):
            return replay
        read = await self._authorizer.authorize(caller, READ_LEDGER, LEDGER, detail={"replay": replay.digest})
        if not isinstance(read, Denied):
            return replay
        findings = msgspec.structs.replace(replay.findings, groups=(), rest=(), shares=(), differing_at=())
        return msgspec.structs.replace(replay, findings=findings)

    def _facts(self, values: dict[str, Any]) -> list[Fact]:
        return [Fact(name, value, self._clock.now(), SOURCE) for name, value in values.items()]


def _too_much(replay: Replay, bound: Bound, source: BundleSource) -> str:
    """Why the replay speaks against the bundle; empty where it does not. What is not known is not taken for good."""
    found = replay.findings
    if why := bound.exceeded(found):
        return why
    if not replay.complete:
        return (
            f"only the newest {found.entries} of the {replay.of} entries of the last {source.replay_days} d could be"
            f" replayed within {source.replay_seconds} s, so whom it would lock out is not known"
        )
    if found.changed:
        return f"{found.changed} of the entries cannot be read, and were changed: everproof ledger verify"
    return ""
