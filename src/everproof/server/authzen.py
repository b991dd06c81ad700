"""OpenID AuthZEN Authorization API 1.0: a policy enforcement point asks, on behalf of a subject it vouches for.

What the caller says of subject and action (``properties``) is recorded and decides nothing: attributes of a principal
are those on record. What it says of the resource reaches policy, and its ``context`` does as ``context.said``, which no
fact of ours is ever taken from; both with the fact who asked.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
from starlette.types import Receive, Scope, Send

from everproof.authorize import Allowed, Denied, Outcome
from everproof.kernel.errors import Error, InputError, RefusedError
from everproof.kernel.words import MAIN_SPACE, NOTHING, Action, Attributes, Mode, Proof, Ref, Resource
from everproof.server.denial import allowed, explained, helps, words
from everproof.server.http import BareRoute, Reply, Route
from everproof.server.http.body import UnsupportedMediaError, json_reader, read_body, require_media
from everproof.server.http.call import JSON, request_id, send_json
from everproof.server.http.route import Declaration

EVALUATION: Final = "/access/v1/evaluation"
EVALUATIONS: Final = "/access/v1/evaluations"
CONFIGURATION: Final = "/.well-known/authzen-configuration"

MAX_ITEMS: Final = 500
"""Evaluations in one batch: each is a decision and a ledger entry of its own."""
TOGETHER: Final = 32
"""Evaluations decided in a row before others get a turn: about 4 ms of this process."""

CACHE_SECONDS: Final = 60
"""The longest that a yes may be remembered by whoever follows the changes (docs/client.md)."""

_LARGEST: Final = 2**53 - 1
"""Beyond it two JSON readers may see two numbers (RFC 8259, section 6)."""

ASK: Final = Action("decision:ask")
ENFORCER: Final = "Service"

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class Subject(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who is to be decided about."""

    type: Name
    id: Name
    properties: dict[str, Any] = {}


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """The action: what the subject wants to do."""

    name: Name
    properties: dict[str, Any] = {}


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """The resource: what the subject wants to do it to."""

    type: Name
    id: Name
    properties: dict[str, Any] = {}


class Evaluation(msgspec.Struct, frozen=True):
    """One question."""

    subject: Subject
    action: Asked
    resource: Target
    context: dict[str, Any] = {}


class Options(msgspec.Struct, frozen=True):
    """How a batch is run."""

    evaluations_semantic: Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"] = "execute_all"


class Evaluations(msgspec.Struct, frozen=True):
    """A batch: defaults, and the questions that complete or override them, each key as a whole."""

    subject: Subject | None = None
    action: Asked | None = None
    resource: Target | None = None
    context: dict[str, Any] | None = None
    evaluations: tuple[msgspec.Raw, ...] = ()
    options: Options = Options()


class Item(msgspec.Struct, frozen=True):
    """One question of a batch, before the defaults fill it."""

    subject: Subject | None = None
    action: Asked | None = None
    resource: Target | None = None
    context: dict[str, Any] | None = None


class Decided(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer. ``context.id`` names the ledger entry; a denial says there why, to the user and to an operator."""

    decision: bool
    context: dict[str, Any] = {}


class Batch(msgspec.Struct, frozen=True):
    """The answers, in the order of the questions."""

    evaluations: tuple[Decided, ...]


class Configuration(msgspec.Struct, frozen=True, omit_defaults=True):
    """What this policy decision point implements."""

    policy_decision_point: str
    access_evaluation_endpoint: str
    access_evaluations_endpoint: str
    search_subject_endpoint: str = ""
    search_resource_endpoint: str = ""
    search_action_endpoint: str = ""


class Authorizes(Protocol):
    """The one call, as this door makes it."""

    def is_timeless(self, allowed: Allowed[Any, Any, Any]) -> bool:
        """Whether no fact could turn it into a denial that changes without a change here."""
        ...

    async def authorize(
        self,
        proof: Proof,
        action: Action,
        resource: Resource,
        *,
        context: Attributes = NOTHING,
        detail: Attributes = NOTHING,
        mode: Mode = "enforce",
        request: str | None = None,
    ) -> Outcome:
        """Decide, record, answer."""
        ...


Prove = Callable[[Scope], Proof]
Vouch = Callable[[Proof, Ref], Proof]


class AuthZEN:
    """The two evaluation endpoints and their metadata."""

    def __init__(
        self,
        authorizer: Authorizes,
        *,
        prove: Prove,
        vouch: Vouch,
        issuer: str,
        mode: Callable[[], Mode] = lambda: "enforce",
        searches: Mapping[str, str] = NOTHING,
    ) -> None:
        """``searches`` are the addresses of the searches that are served beside, by what is searched for."""
        self._authorizer = authorizer
        self._prove = prove
        self._vouch = vouch
        self._issuer = issuer
        self._searches = searches
        self._mode = mode
        self._read_evaluation = json_reader(Evaluation)
        self._read_evaluations = json_reader(Evaluations)
        self._read_item = json_reader(Item)
        self._encode = msgspec.json.Encoder().encode

    def routes(self) -> list[Route | BareRoute]:
        """What is served."""
        return [
            BareRoute(
                self.evaluation,
                Declaration(
                    method="POST",
                    path=EVALUATION,
                    summary="Decide one question",
                    door="authzen",
                    body=Evaluation,
                    answers=(Decided,),
                ),
            ),
            BareRoute(
                self.evaluations,
                Declaration(
                    method="POST",
                    path=EVALUATIONS,
                    summary="Decide a batch of questions",
                    description="Without `evaluations`, answers one question as the other endpoint does.",
                    door="authzen",
                    body=Evaluations,
                    answers=(Batch, Decided),
                ),
            ),
            Route("GET", CONFIGURATION, self.configuration, door="authzen", needs_proof=False),
        ]

    async def evaluation(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Decide one question."""
        proof = self._prove(scope)
        question = self._read_evaluation(await json_body(scope, receive))
        await send_json(scope, send, self._encode(await self._decide(proof, question, request_id(scope))))

    async def evaluations(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Decide a batch, by the semantics it asks for."""
        proof = self._prove(scope)
        batch = self._read_evaluations(await json_body(scope, receive))
        echo = request_id(scope)
        if not batch.evaluations:
            question = _complete(Item(), batch)
            await send_json(scope, send, self._encode(await self._decide(proof, question, echo)))
            return
        if len(batch.evaluations) > MAX_ITEMS:
            raise InputError(f"a batch has at most {MAX_ITEMS} evaluations", place="body: evaluations")
        answers: list[Decided] = []
        stop_at = {"deny_on_first_deny": False, "permit_on_first_permit": True}.get(batch.options.evaluations_semantic)
        step = TOGETHER if stop_at is None else 1
        for start in range(0, len(batch.evaluations), step):
            some = batch.evaluations[start : start + step]
            answers += await asyncio.gather(*[self._decide_item(proof, raw, batch, echo) for raw in some])
            if stop_at is not None and answers[-1].decision is stop_at:
                break
        await send_json(scope, send, self._encode(Batch(tuple(answers))))

    async def configuration(self) -> Configuration:
        """Name what is implemented."""
        searches = {f"search_{what}_endpoint": self._issuer + path for what, path in self._searches.items()}
        return Configuration(self._issuer, self._issuer + EVALUATION, self._issuer + EVALUATIONS, **searches)

    async def _decide_item(self, proof: Proof, raw: msgspec.Raw, batch: Evaluations, echo: bytes | None) -> Decided:
        try:
            return await self._decide(proof, _complete(self._read_item(bytes(raw)), batch), echo)
        except Error as error:
            return Decided(False, {"error": {"status": error.status, "message": str(error)}})

    async def _decide(self, caller: Proof, question: Evaluation, echo: bytes | None) -> Decided:
        subject, action, resource = question.subject, question.action, question.resource
        try:
            proof = await self._subject(caller, Ref(subject.type, subject.id))
        except RefusedError as error:
            return Decided(False, {"reason_admin": {"403": str(error)}, "reason_user": {"403": str(error)}})
        # Always: an entry with it is an answer to a question, one without it the doing itself.
        detail: dict[str, Any] = {"asked_by": str(caller.principal.ref)}
        if subject.properties:
            detail["subject"] = cedar_record(subject.properties)
        if action.properties:
            detail["action"] = cedar_record(action.properties)
        outcome = await self._authorizer.authorize(
            proof,
            Action(action.name),
            Resource(
                ref=Ref(resource.type, resource.id),
                attributes=cedar_record(resource.properties) if resource.properties else NOTHING,
                parents=(MAIN_SPACE,),
            ),
            context=cedar_record(question.context) if question.context else NOTHING,
            detail=detail,
            mode=self._mode(),
            request=echo.decode() if echo is not None else None,
        )
        if isinstance(outcome, Denied):
            told = _denial(outcome)
            return Decided(True, {**told, "would_deny": True}) if outcome.lets_pass else Decided(False, told)
        receipt = outcome.receipt
        told = {"id": receipt.entry_id, "index": receipt.index}
        if self._authorizer.is_timeless(outcome):
            told["cache_seconds"] = CACHE_SECONDS
        return Decided(True, told)

    async def _subject(self, caller: Proof, subject: Ref) -> Proof:
        """The caller itself, or whom it vouches for. A service's word is weighed within the decision, by `asked_by`.

        Others are no enforcement points: whether they may know what someone else could do is a question of its own.
        """
        if subject == caller.principal.ref:
            return caller
        proof = self._vouch(caller, subject)
        enforcer = caller.principal.ref.type == ENFORCER
        # What a token was narrowed to binds its own principal alone, so whether that includes asking is asked here.
        if not enforcer or "scope" in caller.claims:
            allowed(await self._authorizer.authorize(caller, ASK, Resource(ref=subject, parents=(MAIN_SPACE,))))
        return proof if enforcer else msgspec.structs.replace(proof, vouched_by=None)


async def json_body(scope: Scope, receive: Receive) -> bytes:
    """The body of a request of this API.

    Raises:
        InputError: it is of another content type, which this API has no status of its own for.
    """
    try:
        require_media(scope, JSON)
    except UnsupportedMediaError as error:
        raise InputError(error.message, place=error.place, todo=error.todo) from error
    return await read_body(scope, receive)


def cedar_record(values: dict[str, Any]) -> dict[str, Any]:
    """``values`` as a record of values that Cedar knows.

    A number that is not a safe integer becomes its text; a null is as good as absent; a key that is not ASCII, which
    no policy can name, is left out.
    """
    return {key: _cedar(value) for key, value in values.items() if value is not None and key.isascii()}


def _cedar(value: Any) -> Any:
    if isinstance(value, dict):
        return cedar_record(value)
    if isinstance(value, list):
        return [_cedar(one) for one in value if one is not None]
    if isinstance(value, float) or (type(value) is int and abs(value) > _LARGEST):
        return repr(value)
    return value


def _complete(item: Item, batch: Evaluations) -> Evaluation:
    subject = item.subject or batch.subject
    action = item.action or batch.action
    resource = item.resource or batch.resource
    if subject is None or action is None or resource is None:
        missing = "subject" if subject is None else "action" if action is None else "resource"
        raise InputError(f"there is no {missing}", place="body", todo="give it in the item or beside `evaluations`")
    context = item.context if item.context is not None else batch.context
    return Evaluation(subject, action, resource, context or {})


def _denial(denied: Denied) -> dict[str, Any]:
    return {
        "id": denied.receipt.entry_id,
        "index": denied.receipt.index,
        "reason_admin": {"403": denied.reason},
        "reason_user": {"403": words(denied)},
        "explanation": explained(denied),
        **helps(denied),
    }


def error_form(path: str, error: Error) -> Reply | None:
    """An error as this API says it: a message string, and only the status codes it knows."""
    if not path.startswith("/access/v1/"):
        return None
    headers = getattr(error, "headers", {})
    text = f"{error}\n{error.todo}\n" if error.todo else f"{error}\n"
    return Reply(text.encode(), status=error.status, media="text/plain; charset=utf-8", headers=headers)
