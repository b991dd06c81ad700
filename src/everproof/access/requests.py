"""Requests and the answers to them: who asks for what, who says yes or no, each in the commit of its decision."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final, TypeAlias

import msgspec

from everproof.access import resources, store
from everproof.access.approval import APPROVE, AUTO, Approval, open_request, require_person
from everproof.access.counterfactual import require_use
from everproof.access.grants import Grants
from everproof.access.notices import Tell, answered, asked, given_back, granted
from everproof.access.plain import plain, plain_ref
from everproof.access.reading import read_grant, read_request, settled, shown
from everproof.access.records import Body, GrantRecord, RequestRecord, State, Wanted
from everproof.access.rules import Rule, Rules
from everproof.authorize import Allowed, Authorizer, Denied
from everproof.kernel.canonical import encode
from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import InputError, NotFoundError, RefusedError
from everproof.kernel.ids import new_id
from everproof.kernel.words import Action, Attributes, Proof, Ref, Resource
from everproof.policy import Request
from everproof.storage import Storage, Transaction

REQUEST: Final = Action("access:request")
READ: Final = Action("access:read")
REVOKE: Final = Action("access:revoke")

MAX_OPEN: Final = 20
"""Requests of one person that wait: more would only hide the others from those who answer."""
MAX_AN_HOUR: Final = 60
"""Requests of one person within an hour, taken back or not: each is told to those who answer."""
MAX_SAID: Final = 16_384
"""Bytes that may be said of a resource."""
AN_HOUR: Final = timedelta(hours=1)
MAX_LISTED: Final = 200
LOOKED_AT: Final = 2_000
"""Requests that one listing looks through for those that the caller may see."""

Requested: TypeAlias = Allowed[Action, Resource, RequestRecord] | Denied
Taken: TypeAlias = Allowed[Action, Resource, GrantRecord] | Denied


class Query(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests: in these states, of one person, of one action; those before an id, the newest first."""

    state: tuple[State, ...] = ()
    requester: str = ""
    action: str = ""
    before: str = ""
    limit: int = 100


EVERYTHING: Final = Query()
Listed: TypeAlias = list[RequestRecord] | Denied
GrantsSeen: TypeAlias = list[GrantRecord] | Denied


class Requests:
    """The requests of one server."""

    def __init__(
        self,
        storage: Storage,
        authorizer: Authorizer,
        approval: Approval,
        grants: Grants,
        *,
        rules: Callable[[], Rules],
        tell: Tell,
    ) -> None:
        self._storage = storage
        self._authorizer = authorizer
        self._approval = approval
        self._grants = grants
        self._rules = rules
        self._tell = tell

    async def request(self, proof: Proof, wanted: Wanted) -> Requested:
        """Ask for access, for oneself. Where policy grants it at once, it is granted when this returns.

        Raises:
            InputError: a text or name that could hide something, or an action that there is not.
        """
        reason = plain(wanted.reason, place="reason")
        plain_ref(wanted.resource, place="resource")
        if len(encode((wanted.attributes, wanted.parents))) > MAX_SAID:
            raise InputError(f"more than {MAX_SAID} bytes of attributes and parents", place="attributes")
        if self._authorizer.engine.bundle.schema.action(wanted.action) is None:
            raise InputError(f"there is no action {wanted.action}", place="action")
        rule = self._rules().rule(proof.principal, wanted.action, wanted.resource)
        body = self._body(proof.principal.ref, wanted, reason, rule or Rule())
        detail = {
            "action": body.action, "resource": str(body.resource), "seconds": body.seconds, "reason": reason,
            "digest": body.digest,
        }  # fmt: skip
        outcome = await self._authorizer.authorize(
            proof,
            REQUEST,
            resources.of_request(body, ()),
            within=lambda tx: self._begin(tx, proof, wanted, body, rule),
            detail=detail,
        )
        if isinstance(outcome, Allowed) and rule is not None and rule.automatic:
            await self._at_once(proof, body)
        return outcome

    async def approve(self, proof: Proof, id_: str, *, digest: str, message: str = "") -> Requested:
        """Approve exactly the request that ``digest`` names; with the last approval that it takes, it is granted.

        Raises:
            NotFoundError: there is no such request.
            ClockBehindError: nothing is issued while the clock is behind.
        """
        self._storage.clock.issuing_time()
        said = plain(message, place="message")
        about = await self._about(id_)
        answer = self._approval.answer(proof, about, digest, said)

        def give(tx: Transaction) -> RequestRecord:
            grant = self._approval.approve(tx, proof, id_, answer)
            now = read_request(tx.connection, id_, tx.now)
            if grant is not None:
                self._tell(tx, granted(now, grant))
            return now

        return await self._authorizer.authorize(
            proof, APPROVE, about, within=give, detail={"answer": "approve", "digest": digest, "message": said}
        )

    async def refuse(self, proof: Proof, id_: str, *, reason: str) -> Requested:
        """Refuse a request, for good.

        Raises:
            NotFoundError: there is no such request.
            InputError: no reason is given.
        """
        said = plain(reason, place="reason")
        if not said:
            raise InputError("whoever asked is told why", place="reason", todo="give a reason")
        about = await self._about(id_)
        by = proof.principal.ref
        method = self._approval.answer(proof, about, "", said).method

        def end(tx: Transaction) -> RequestRecord:
            require_person(proof)
            kept = open_request(tx, id_)
            if kept.body.requester == by:
                raise RefusedError("nobody decides upon their own request", todo="take it back instead")
            store.close(tx, id_, "refused", by=by, method=method, message=said)
            self._grants.record(tx, "refused", kept.body.requester, request=id_, by=str(by), reason=said)
            now = read_request(tx.connection, id_, tx.now)
            self._tell(tx, answered(now))
            return now

        return await self._authorizer.authorize(
            proof, APPROVE, about, within=end, detail={"answer": "refuse", "message": said}
        )

    async def cancel(self, proof: Proof, id_: str) -> Requested:
        """Take one's own request back, before it is answered.

        Raises:
            NotFoundError: there is no such request.
        """
        by = proof.principal.ref

        def end(tx: Transaction) -> RequestRecord:
            kept = open_request(tx, id_)
            if kept.body.requester != by:
                raise RefusedError("only who made a request takes it back", todo="refuse it instead")
            store.close(tx, id_, "cancelled", by=by)
            self._grants.record(tx, "cancelled", by, request=id_)
            return read_request(tx.connection, id_, tx.now)

        return await self._authorizer.authorize(
            proof, REQUEST, await self._about(id_), within=end, detail={"answer": "cancel"}
        )

    async def revoke(self, proof: Proof, id_: str, *, reason: str = "") -> Taken:
        """Take a grant back: from this commit on it opens nothing.

        Raises:
            NotFoundError: there is no such grant.
        """
        said = plain(reason, place="reason")
        by = proof.principal.ref

        def end(tx: Transaction) -> GrantRecord:
            ended = self._grants.revoke(tx, id_, by=by, reason=said)
            if ended.principal != by:
                self._tell(tx, given_back(ended))
            return ended

        about = await asyncio.to_thread(self._about_grant, id_)
        return await self._authorizer.authorize(proof, REVOKE, about, within=end, detail={"reason": said})

    async def show(self, proof: Proof, id_: str) -> Requested:
        """One request, at whatever stage, for whoever may see it.

        Raises:
            NotFoundError: there is no such request.
        """
        about = await self._about(id_)
        return await self._authorizer.authorize(
            proof, READ, about, within=lambda tx: read_request(tx.connection, id_, tx.now)
        )

    async def find(self, proof: Proof, query: Query = EVERYTHING) -> Listed:
        """The requests that the caller may see, the newest first, at whatever stage."""
        about = resources.of_person(proof.principal.ref)
        outcome = await self._authorizer.authorize(proof, READ, about)
        if isinstance(outcome, Denied):
            return outcome
        known = self._authorizer.context(proof, READ, about)
        return await asyncio.to_thread(self._seen, proof, query, known)

    async def grants(self, proof: Proof, *, principal: str = "", over: bool = False) -> GrantsSeen:
        """The grants that the caller may see, the newest first; ``over``: those that have ended too."""
        about = resources.of_person(proof.principal.ref)
        outcome = await self._authorizer.authorize(proof, READ, about)
        if isinstance(outcome, Denied):
            return outcome
        known = self._authorizer.context(proof, READ, about)
        return await asyncio.to_thread(self._grants_seen, proof, principal, over, known)

    def may_answer(self, proof: Proof, request: RequestRecord) -> bool:
        """Whether the caller may approve or refuse it once they have shown a factor: for what a page offers."""
        mine = any(one.by == proof.principal.ref for one in request.approvals)
        if not request.is_open or mine or request.requester == proof.principal.ref:
            return False
        with self._storage.reading() as connection:
            kept = store.find_request(connection, request.id)
        if kept is None:
            return False
        about = resources.of_request(kept.body, kept.answers)
        known = {**self._authorizer.context(proof, APPROVE, about), "mfa_age": 0}
        return self._decides(proof, APPROVE, about, known)

    def _seen(self, proof: Proof, query: Query, known: Attributes) -> list[RequestRecord]:
        limit = max(1, min(query.limit, MAX_LISTED))
        now = self._storage.clock.now()
        with self._storage.reading() as connection:
            found = store.list_requests(
                connection, before=query.before, requester=query.requester, action=query.action, limit=LOOKED_AT
            )
            seen = [one for one in found if self._decides(proof, READ, _about(one), known)]
            told = [one for one in shown(connection, seen, now) if not query.state or one.state in query.state]
        return told[:limit]

    def _grants_seen(self, proof: Proof, principal: str, over: bool, known: Attributes) -> list[GrantRecord]:
        now = self._storage.clock.now()
        with self._storage.reading() as connection:
            if over:
                found = store.list_grants(connection, principal=principal, limit=LOOKED_AT)
            else:
                found = [one for one in store.open_grants(connection) if principal in {"", one.principal.id}]
            seen = []
            for one in settled(connection, found):
                if not over and one.state(now) != "granted":
                    continue
                kept = store.find_request(connection, one.request)
                if self._decides(proof, READ, resources.of_grant(one, kept.body if kept else None), known):
                    seen.append(one)
        return seen[:MAX_LISTED]

    def _decides(self, proof: Proof, action: Action, about: Resource, known: Attributes) -> bool:
        return self._authorizer.engine.decide(Request(proof.principal, action, about, known)).decision.allowed

    def _begin(self, tx: Transaction, proof: Proof, wanted: Wanted, body: Body, rule: Rule | None) -> RequestRecord:
        """Put a request on record.

        Raises:
            RefusedError: it could not be granted, or would change nothing. Nothing was written.
        """
        require_person(proof)
        if rule is None:
            raise RefusedError(
                f"access.toml lets nobody like you request {body.action} on {body.resource}",
                todo="have a rule added to .everproof/access.toml",
            )
        if body.seconds > rule.longest.total_seconds():
            longest = rule.longest
            raise RefusedError(f"access.toml lets it last {longest} (h:mm:ss) at most", todo="ask for less")
        if rule.reason and not body.reason:
            raise RefusedError("a reason is asked for", todo="say in a sentence what it is for: --reason")
        connection, by = tx.connection, body.requester.id
        if same := store.find_same(connection, by, body.action, body.resource, tx.now):
            raise RefusedError(f"you have asked for that: {same} waits for an answer")
        if store.count_open(connection, by, tx.now) >= MAX_OPEN:
            raise RefusedError(f"{MAX_OPEN} requests of yours wait for answers", todo="take some back")
        if store.count_since(connection, by, tx.now - AN_HOUR) >= MAX_AN_HOUR:
            raise RefusedError(f"you have asked {MAX_AN_HOUR} times within an hour", todo="wait, or talk to them")
        require_use(self._authorizer, proof, wanted, needs=body.needs, expires_in=body.seconds)
        store.insert_request(tx, body)
        self._grants.record(
            tx, "requested", body.requester, request=body.id, action=body.action, resource=str(body.resource),
            seconds=body.seconds, reason=body.reason, needs=body.needs, digest=body.digest,
        )  # fmt: skip
        made = read_request(connection, body.id, tx.now)
        if not rule.automatic:
            self._tell(tx, asked(made, rule.notify))
        return made

    async def _at_once(self, proof: Proof, body: Body) -> None:
        """Have a request granted by policy, if it would; else let people hear of it."""
        about = resources.of_request(body, ())
        if not self._authorizer.suppose(proof, AUTO, about):
            await self._storage.write(lambda tx: self._ask(tx, body))
            return

        def give(tx: Transaction) -> None:
            known = self._authorizer.context(proof, AUTO, about)
            verdict = self._authorizer.engine.decide(Request(proof.principal, AUTO, about, known))
            if not verdict.decision.allowed:
                raise RefusedError("policy has it wait for people by now")
            grant = self._approval.at_once(tx, body, verdict)
            self._tell(tx, granted(read_request(tx.connection, body.id, tx.now), grant))

        if isinstance(await self._authorizer.authorize(proof, AUTO, about, within=give), Denied):
            await self._storage.write(lambda tx: self._ask(tx, body))

    def _ask(self, tx: Transaction, body: Body) -> None:
        made = read_request(tx.connection, body.id, tx.now)
        if made.is_open:
            self._tell(tx, asked(made, body.notify))

    def _body(self, by: Ref, wanted: Wanted, reason: str, rule: Rule) -> Body:
        now = self._storage.clock.now()
        return Body(
            id=new_id("req"), requester=by, action=wanted.action, resource=wanted.resource, seconds=wanted.seconds,
            reason=reason, needs=rule.people, owners=rule.owners, notify=rule.notify, created=milliseconds(now),
            answer_by=milliseconds(now + rule.answer_within),
        )  # fmt: skip

    async def _about(self, id_: str) -> Resource:
        return await asyncio.to_thread(self._about_now, id_)

    def _about_now(self, id_: str) -> Resource:
        with self._storage.reading() as connection:
            kept = store.find_request(connection, id_)
        if kept is None:
            raise NotFoundError(f"there is no request {id_}", todo="everproof requests list shows them")
        return _about(kept)

    def _about_grant(self, id_: str) -> Resource:
        with self._storage.reading() as connection:
            grant = read_grant(connection, id_)
            kept = store.find_request(connection, grant.request)
        return resources.of_grant(grant, kept.body if kept is not None else None)


def _about(kept: store.Kept) -> Resource:
    return resources.of_request(kept.body, kept.answers)
