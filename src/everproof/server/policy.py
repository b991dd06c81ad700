"""Policy for those who may read it: which bundle rules, what it would say, and why."""

from typing import Any, Final

import msgspec

from everproof.authorize import Authorizer
from everproof.authorize.bundles import BUNDLE, Bundles
from everproof.identity import Identity
from everproof.kernel.words import MAIN_SPACE, Action, Principal, Ref, Resource
from everproof.policy import Request
from everproof.server.authzen import Asked, Subject, Target, cedar_record
from everproof.server.caller import Callers
from everproof.server.denial import allowed
from everproof.server.http import Call, Route

READ: Final = Action("policy:read")


class RulingPolicy(msgspec.Struct, frozen=True):
    """One policy of the ruling bundle."""

    id: str
    title: str
    advice: str
    effect: str
    shadow: bool
    place: str


class Ruling(msgspec.Struct, frozen=True):
    """The bundle that rules. ``digest`` is over all its files; ``commit`` is empty for the built-in one."""

    digest: str
    commit: str
    policies: tuple[RulingPolicy, ...]


class Supposed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question to think through: with ``facts`` as they would be, or are not known to be."""

    subject: Subject
    action: Asked
    resource: Target
    facts: dict[str, Any] = {}


class Thought(msgspec.Struct, frozen=True):
    """What the ruling bundle would say, and why, as an auditor sees it. Nothing was decided."""

    allowed: bool
    reasons: tuple[str, ...]
    errors: tuple[str, ...]
    text: str
    explanation: dict[str, Any]


class PolicyDoor:
    """The ruling bundle's door."""

    def __init__(
        self,
        *,
        authorizer: Authorizer,
        bundles: Bundles,
        identity: Identity,
        callers: Callers,
    ) -> None:
        self._authorizer = authorizer
        self._bundles = bundles
        self._identity = identity
        self._callers = callers

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route("GET", "/v1/policy", self.ruling, door="policy"),
            Route("POST", "/v1/policy/explain", self.explain, door="policy"),
        ]

    async def ruling(self, call: Call) -> Ruling:
        """Tell which bundle rules, and its policies."""
        allowed(await self._authorizer.authorize(self._callers.prove(call.scope), READ, BUNDLE))
        bundle = self._bundles.current
        told = [
            RulingPolicy(one.id, one.title, one.advice, one.effect, one.shadow, one.place) for one in bundle.policies
        ]
        return Ruling(bundle.digest, bundle.commit, tuple(told))

    async def explain(self, call: Call, body: Supposed) -> Thought:
        """Think a question through, without deciding it: a principal on record comes with what is on record."""
        allowed(await self._authorizer.authorize(self._callers.prove(call.scope), READ, BUNDLE))
        ref = Ref(body.subject.type, body.subject.id)
        supposed = Principal(ref=ref, attributes=cedar_record(body.subject.properties), parents=(MAIN_SPACE,))
        request = Request(
            self._identity.directory.principal(ref) or supposed,
            Action(body.action.name),
            Resource(
                ref=Ref(body.resource.type, body.resource.id),
                attributes=cedar_record(body.resource.properties),
                parents=(MAIN_SPACE,),
            ),
            cedar_record(body.facts),
        )
        engine = self._authorizer.engine
        verdict = engine.decide(request)
        explanation = engine.explain(request, verdict, "auditor")
        return Thought(
            allowed=verdict.decision.allowed,
            reasons=verdict.decision.reasons,
            errors=verdict.decision.errors,
            text=explanation.text(),
            explanation=msgspec.to_builtins(explanation),
        )
