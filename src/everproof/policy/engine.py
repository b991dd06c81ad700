"""The engine: decides by one bundle. Deny on doubt: any error, and any request that does not fit the schema, denies."""

import re
from importlib.metadata import version
from typing import Any, Final, Literal

import msgspec
from cedarpy import _internal

from everproof.kernel.canonical import encode
from everproof.kernel.words import Decision
from everproof.policy.bundle import Bundle
from everproof.policy.explain import Explainer, explanation
from everproof.policy.explanation import Audience, Explanation
from everproof.policy.parts import evaluated
from everproof.policy.request import EntityBody, Request, bodies, closure
from everproof.policy.slices import Kind, Slice, Sliced
from everproof.policy.types import MisfitError

CEDAR: Final = f"cedarpy {version('cedarpy')}"
MAX_ANSWERS: Final = 8_000
"""Answers kept, some 500 bytes each; the oldest makes room."""
_POLICY_ERROR: Final = re.compile(r"error while evaluating policy `([^`]*)`: (.*)", re.DOTALL)


class Failure(msgspec.Struct, frozen=True):
    """An error of a decision; ``policy`` is empty where the request itself could not be evaluated."""

    policy: str
    message: str

    def __str__(self) -> str:
        return f"{self.policy}: {self.message}" if self.policy else self.message


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A decision with all that replay needs. ``context`` and ``entities`` are canonical JSON, as they are recorded.

    ``reason`` is one sentence, empty where it is allowed. ``shadow`` names the shadow policies that apply; they bind
    nobody.
    """

    decision: Decision
    context: bytes
    entities: bytes
    reason: str = ""
    failures: tuple[Failure, ...] = ()
    shadow_permits: tuple[str, ...] = ()
    shadow_denies: tuple[str, ...] = ()
    shadow_failures: tuple[Failure, ...] = ()

    @property
    def shadow(self) -> tuple[str, ...]:
        """The ids of the shadow policies that apply or fail, permits before forbids before failures."""
        return (*self.shadow_permits, *self.shadow_denies, *(failure.policy for failure in self.shadow_failures))


class _Diagnostics(msgspec.Struct):
    reason: list[str] = []
    errors: list[str] = []


class _Answer(msgspec.Struct):
    decision: Literal["Allow", "Deny", "NoDecision"]
    diagnostics: _Diagnostics


_read_answer: Final = msgspec.json.Decoder(_Answer).decode
_UNWRITABLE: Final = (TypeError, ValueError, RecursionError, OverflowError)


def _ask(asked: dict[str, Any], policies: Any, entities: str, by: Slice) -> _Answer:
    """One call of the engine, entities parsed under the schema: without it no action would be in any group."""
    try:
        return _read_answer(_internal.is_authorized(asked, policies, entities, by.schema, False))
    except (TypeError, ValueError) as error:
        return _Answer("NoDecision", _Diagnostics(errors=[f"the request cannot be evaluated: {error}"]))


def _question(request: Request, kind: Sliced, by: Slice) -> dict[str, Any]:
    principal, resource = request.principal.ref, request.resource.ref
    return {
        "principal": {"type": principal.type, "id": principal.id},
        "action": kind.uid,
        "resource": {"type": resource.type, "id": resource.id},
        "context": encode(by.context.fit(request.context, "context")).decode(),
    }


class Engine:
    """Decides and explains by one bundle. Safe to share between threads; its slices are made when first asked for."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.version = f"{CEDAR}, schema {bundle.schema.version}"
        self.facts = bundle.schema.facts
        self._kinds: dict[Kind, Sliced] = {}
        self._answers: dict[tuple[Slice, str, bytes], _Answer] = {}
        self._policies = {policy.id: policy for policy in bundle.policies}

    def sliced(self, kind: Kind) -> Sliced:
        """The policies for this kind of request.

        Raises:
            MisfitError: the schema has no such request.
        """
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = Sliced(self.bundle, kind)
        return found

    def looked_at(self, kind: Kind) -> frozenset[str]:
        """The names of all attributes that a policy for this kind of request looks at; none of a kind there is not."""
        try:
            return self.sliced(kind).looked_at
        except MisfitError:
            return frozenset()

    def decide(self, request: Request) -> Verdict:
        """The decision. Never raises for what a request holds: what cannot be decided is denied."""
        principal, resource = request.principal.ref, request.resource.ref
        try:
            context, entities = encode(request.context), encode(bodies(closure(request)))
        except _UNWRITABLE:
            # What cannot be written down cannot be decided either; the entry says so with nothing of it.
            return self._failed("the request holds what JSON has no form for", b"{}", b"[]")
        try:
            kind = self.sliced((request.action.name, principal.type, resource.type))
            found = kind.slice(request)
            asked = _question(request, kind, found)
            given = found.entities(request)
            around = encode(given).decode()
        except MisfitError as error:
            return self._failed(str(error), context, entities)
        answer = self._answer(found, asked, around, given)
        diagnostics = answer.diagnostics
        if answer.decision == "Allow" and not diagnostics.errors:
            decision = Decision(allowed=True, bundle=self.bundle.digest, reasons=tuple(sorted(diagnostics.reason)))
            verdict = Verdict(decision=decision, context=context, entities=entities)
        else:
            verdict = self._denied(answer, context, entities, f"{request.action.name} on {resource}")
        return self._with_shadows(verdict, found, asked, around) if found.shadows else verdict

    def _answer(self, found: Slice, asked: dict[str, Any], around: str, given: list[EntityBody]) -> _Answer:
        """The engine's answer; where only attributes can make a difference, equal ones are not asked about twice."""
        if not found.impersonal:
            return _ask(asked, found.handle, around, found)
        key = (found, asked["context"], encode([(one.uid.type, one.attrs) for one in given]) if given else b"")
        answer = self._answers.get(key)
        if answer is None:
            answer = _ask(asked, found.handle, around, found)
            if not answer.diagnostics.errors:
                if len(self._answers) >= MAX_ANSWERS:
                    del self._answers[next(iter(self._answers))]
                self._answers[key] = answer
        return answer

    def explain(self, request: Request, verdict: Verdict, audience: Audience = "caller") -> Explanation:
        """Why ``verdict`` is as it is: to the caller, what is its own; to an auditor, all."""
        reasons = tuple(self._policies[id_] for id_ in verdict.decision.reasons)
        explainer = self._explainer(request, audience)
        return explanation(
            request,
            explainer,
            audience,
            allowed=verdict.decision.allowed,
            reasons=reasons,
            errors=verdict.decision.errors if audience == "auditor" else tuple(map(_for_caller, verdict.failures)),
        )

    def _explainer(self, request: Request, audience: Audience) -> Explainer | None:
        try:
            kind = (request.action.name, request.principal.ref.type, request.resource.ref.type)
            sliced = self.sliced(kind)
            near = sliced.near(request)
            asked = _question(request, sliced, near)
            around = encode(near.entities(request)).decode()
        except (MisfitError, *_UNWRITABLE):
            return None
        parts = near.parts
        answer = _ask(asked, parts.handle, around, near)
        if answer.decision == "NoDecision":
            return None
        return Explainer(request, parts, evaluated(answer.diagnostics.reason, answer.diagnostics.errors), audience)

    def _denied(self, answer: _Answer, context: bytes, entities: bytes, asked: str) -> Verdict:
        failures = tuple(_failure(text) for text in answer.diagnostics.errors)
        # What is allowed but for an error is denied by the error, not by the permits that it would have been by.
        reasons = tuple(sorted(answer.diagnostics.reason)) if answer.decision == "Deny" else ()
        if answer.decision == "NoDecision" and not failures:
            failures = (Failure("", "the engine came to no decision"),)
        if reasons:
            named = [f"{id_} ({self._policies[id_].title})" for id_ in reasons]
            reason = f"forbidden by {', '.join(named)}"
        elif failures:
            reason = f"it cannot be decided: {failures[0]}"
        else:
            reason = f"no policy permits {asked}"
        decision = Decision(allowed=False, bundle=self.bundle.digest, reasons=reasons, errors=tuple(map(str, failures)))
        return Verdict(decision=decision, context=context, entities=entities, reason=reason, failures=failures)

    def _failed(self, message: str, context: bytes, entities: bytes) -> Verdict:
        failure = Failure("", message)
        decision = Decision(allowed=False, bundle=self.bundle.digest, errors=(message,))
        reason = f"it cannot be decided: {message}"
        return Verdict(decision=decision, context=context, entities=entities, reason=reason, failures=(failure,))

    def _with_shadows(self, verdict: Verdict, found: Slice, asked: dict[str, Any], around: str) -> Verdict:
        answer = _ask(asked, found.shadow_handle, around, found)
        applying = [self._policies[id_] for id_ in sorted(answer.diagnostics.reason)]
        return msgspec.structs.replace(
            verdict,
            shadow_permits=tuple(policy.id for policy in applying if policy.effect == "permit"),
            shadow_denies=tuple(policy.id for policy in applying if policy.effect == "forbid"),
            shadow_failures=tuple(map(_failure, answer.diagnostics.errors)),
        )


def _for_caller(failure: Failure) -> str:
    """An error as a caller may hear it: which policy, or what is wrong with its own request."""
    return f"the policy {failure.policy} could not be evaluated" if failure.policy else failure.message


def _failure(text: str) -> Failure:
    match = _POLICY_ERROR.fullmatch(text)
    return Failure(match[1], match[2]) if match else Failure("", text)
