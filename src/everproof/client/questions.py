"""The questions of AuthZEN 1.0 and RFC 7662 as conversations: what is sent, and what the answers come to."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from everproof.client.answers import (
    Decided,
    DecidedAll,
    Decision,
    Entity,
    Found,
    Introspection,
    Named,
    Results,
    decision_of,
    entity,
    malformed,
    read,
)
from everproof.client.cache import Cache, Ticket
from everproof.client.flow import Flow
from everproof.client.session import Session
from everproof.kernel.errors import InputError

EVALUATION: Final = "/access/v1/evaluation"
EVALUATIONS: Final = "/access/v1/evaluations"
SEARCH: Final = "/access/v1/search/"
INTROSPECT: Final = "/oauth/introspect"
MAX_BATCH: Final = 500
"""Questions of one batch that the server takes."""
MAX_FOUND: Final = 10_000
"""Results of a search, of all its pages together."""

Semantic: TypeAlias = Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"]

_encode: Final = msgspec.json.Encoder(order="sorted").encode


class Question(msgspec.Struct, frozen=True, omit_defaults=True):
    """May ``subject`` do ``action`` to ``resource``? ``context`` reaches policy as ``context.said``."""

    subject: Named
    action: str
    resource: Named
    context: Mapping[str, Any] = {}


def told(question: Question) -> dict[str, Any]:
    """A question as it is sent.

    Raises:
        InputError: a name in it is none.
    """
    if not question.action:
        raise InputError("there is no action")
    asked: dict[str, Any] = {
        "subject": entity(question.subject),
        "action": {"name": question.action},
        "resource": entity(question.resource),
    }
    if question.context:
        asked["context"] = question.context
    return asked


class Questions:
    """Asks as one client, and remembers what it may."""

    def __init__(self, session: Session, cache: Cache | None) -> None:
        self._session = session
        self._cache = cache

    def known(self, question: Question) -> Decision | None:
        """The answer, where it is remembered and nothing has happened since that could change it."""
        if self._cache is None:
            return None
        return self._cache.decision(_encode(told(question)))

    def evaluate(self, question: Question) -> Flow[Decision]:
        """Ask one question of the server, and remember a yes where that is allowed."""
        asked = told(question)
        key = _encode(asked)
        ticket = self._cache.ticket() if self._cache is not None else None
        body = yield from self._session.ask("POST", EVALUATION, json=asked)
        return self._decided(key, read(body, Decided), entity(question.subject), ticket)

    def evaluations(self, questions: Sequence[Question], semantic: Semantic) -> Flow[list[Decision]]:
        """Ask several at once. The answers are in the order of the questions; fewer where the semantic stops early."""
        if not questions:
            return []
        if len(questions) > MAX_BATCH:
            raise InputError(f"a batch has at most {MAX_BATCH} questions")
        asked = [told(one) for one in questions]
        ticket = self._cache.ticket() if self._cache is not None else None
        sent = {"evaluations": asked, "options": {"evaluations_semantic": semantic}}
        body = yield from self._session.ask("POST", EVALUATIONS, json=sent)
        answers = read(body, DecidedAll).evaluations
        stopped = {"deny_on_first_deny": False, "permit_on_first_permit": True}.get(semantic)
        early = stopped is not None and bool(answers) and answers[-1].decision is stopped
        if not (len(answers) == len(asked) or (early and len(answers) < len(asked))):
            raise malformed(f"{len(answers)} answers to {len(asked)} questions")
        return [
            self._decided(_encode(one), answer, entity(question.subject), ticket)
            for one, answer, question in zip(asked, answers, questions, strict=False)
        ]

    def introspect(self, token: str) -> Flow[Introspection]:
        """What ``token`` is worth now."""
        ticket = self._cache.ticket() if self._cache is not None else None
        body = yield from self._session.ask("POST", INTROSPECT, form={"token": token})
        found = read(body, Introspection)
        if self._cache is not None and ticket is not None and found.active:
            self._cache.keep_token(token, found, ticket)
        return found

    def search(self, what: str, asked: dict[str, Any], limit: int) -> Flow[list[Found]]:
        """All results of a search, from as many pages as it takes, at most ``limit``."""
        limit = min(limit, MAX_FOUND)
        found: list[Found] = []
        token = ""
        while True:
            page: dict[str, Any] = {"limit": min(1000, limit - len(found))}
            if token:
                page["token"] = token
            body = yield from self._session.ask("POST", SEARCH + what, json={**asked, "page": page})
            results = read(body, Results)
            found += results.results
            token = results.page.next_token
            if not token or len(found) >= limit:
                return found[:limit]

    def _decided(self, key: bytes, answer: Decided, subject: Entity, ticket: Ticket | None) -> Decision:
        try:
            decision = decision_of(answer)
        except msgspec.ValidationError as error:
            raise malformed("a receipt that is none") from error
        if self._cache is not None and ticket is not None and decision.allowed:
            self._cache.keep(key, decision, subject, ticket)
        return decision


def sought(**named: Any) -> dict[str, Any]:
    """A search as it is sent: an entity that is given by its type alone is what is searched for."""
    asked: dict[str, Any] = {}
    for name, value in named.items():
        if isinstance(value, Mapping):
            if value:
                asked[name] = value
        elif name == "action":
            asked[name] = {"name": value}
        elif isinstance(value, str) and "::" not in value:
            asked[name] = {"type": value}
        else:
            asked[name] = entity(value)
    return asked
