"""What makes an approval count, and a request granted: all of it judged within the commit that it is done in.

By the database, the bundle that rules then, and the very bytes of the request: what memory has heard by now, and what
was true when an earlier approver said yes, is not enough to give anybody anything.
"""

import hmac
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import msgspec

from everproof.access import resources, store
from everproof.access.grants import Grants
from everproof.access.records import Answer, Body, GrantRecord
from everproof.access.rules import Rule, Rules
from everproof.authorize import Authorizer
from everproof.authorize.store import ruling_digest
from everproof.identity import credential_store
from everproof.identity.credentials import Credentials
from everproof.identity.standing import standing
from everproof.kernel.canonical import encode
from everproof.kernel.errors import NotFoundError, RefusedError
from everproof.kernel.words import Action, Principal, Proof, Ref, Resource
from everproof.policy import Request, Verdict
from everproof.storage import Storage, Transaction

APPROVE: Final = Action("access:approve")
AUTO: Final = Action("access:auto")
PERSON: Final = "User"


class Approval:
    """Judges approvals, and grants."""

    def __init__(
        self,
        storage: Storage,
        authorizer: Authorizer,
        credentials: Credentials,
        grants: Grants,
        rules: Callable[[], Rules],
    ) -> None:
        self._storage = storage
        self._authorizer = authorizer
        self._credentials = credentials
        self._grants = grants
        self._rules = rules

    def answer(self, proof: Proof, about: Resource, digest: str, message: str) -> Answer:
        """What a person says, with what is known of them now."""
        known = self._authorizer.context(proof, APPROVE, about)
        age = known.get("mfa_age")
        return Answer(
            by=proof.principal.ref,
            at=self._storage.clock.now(),
            digest=digest,
            method=str(known.get("mfa_method", "")),
            factor_age=age if isinstance(age, int) else None,
            message=message,
            credential=proof.credential,
            context=encode(known),
        )

    def approve(self, tx: Transaction, proof: Proof, id_: str, answer: Answer) -> GrantRecord | None:
        """Take an approval, and grant with the last that it takes.

        Raises:
            RefusedError: it does not count, or nothing can be granted any more. Nothing was written.
        """
        kept = open_request(tx, id_)
        require_person(proof)
        if answer.by == kept.body.requester:
            raise RefusedError("nobody approves their own request", todo="ask somebody else who may")
        if not hmac.compare_digest(answer.digest.encode(), kept.digest.encode()):
            raise RefusedError("this approval is of another request than this one", todo="look at it again")
        rule = self._rule(tx, kept.body)
        before = [one for one in kept.answers if self._counts(tx, one, kept, rule)]
        if any(one.by == answer.by for one in before):
            raise RefusedError("you have approved this already", todo="somebody else has to approve it too")
        if not self._counts(tx, answer, kept, rule):
            raise RefusedError("you may not approve this by now", todo="look at it again")
        counting = (*before, answer)
        granted = None
        if len(counting) >= max(kept.body.needs, rule.people):
            granted = self._grant(tx, kept.body, rule, approvers=tuple(one.by for one in counting), by=answer)
        store.put_answer(tx, id_, answer)
        self._grants.record(
            tx, "approved", kept.body.requester, request=id_, by=str(answer.by), digest=kept.digest,
            method=answer.method, factor_age=answer.factor_age, approvals=len(counting), message=answer.message,
        )  # fmt: skip
        return granted

    def at_once(self, tx: Transaction, body: Body, verdict: Verdict) -> GrantRecord:
        """Grant a request that policy lets nobody wait for.

        Raises:
            RefusedError: it was answered meanwhile, or its rule does not have it so any more. Nothing was written.
        """
        kept = open_request(tx, body.id)
        rule = self._rule(tx, kept.body)
        if not rule.automatic:
            raise RefusedError("access.toml has this approved by people")
        return self._grant(tx, kept.body, rule, policies=verdict.decision.reasons)

    def _grant(
        self,
        tx: Transaction,
        body: Body,
        rule: Rule,
        *,
        approvers: tuple[Ref, ...] = (),
        policies: tuple[str, ...] = (),
        by: Answer | None = None,
    ) -> GrantRecord:
        lasting = min(timedelta(seconds=body.seconds), rule.longest)
        grant = self._grants.give(
            tx, body.requester, (body.action,), body.resource, request=body.id, lasting=lasting,
            approvers=approvers, policies=policies,
        )  # fmt: skip
        store.close(
            tx, body.id, "granted", by=by.by if by is not None else None,
            method=by.method if by is not None else "", message=by.message if by is not None else "", grant=grant.id,
        )  # fmt: skip
        return grant

    def _rule(self, tx: Transaction, body: Body) -> Rule:
        """The rule that this is granted by now, for whom it is granted to now.

        Raises:
            RefusedError: they are nobody any more, another bundle rules than is known here, or it has no such rule.
        """
        rules, ruling = self._rules(), ruling_digest(tx.connection)
        if ruling not in {None, rules.digest} or rules.digest != self._authorizer.engine.bundle.digest:
            raise RefusedError("another bundle has come to rule meanwhile", todo="ask again")
        requester = standing(tx.connection, body.requester)
        if requester is None:
            raise RefusedError(f"{body.requester} is disabled or contained, and gets nothing")
        rule = rules.rule(requester, body.action, body.resource)
        if rule is None:
            raise RefusedError("access.toml lets this be requested no more")
        return rule

    def _counts(self, tx: Transaction, answer: Answer, kept: store.Kept, rule: Rule) -> bool:
        """Whether an approval counts: of this very request, by someone who may still give it.

        Theirs is judged with what was known of them when they gave it, such as how fresh their factor was, and with
        who they are and whom the rule names now. Whose session was ended since, by whomever, has to say so again.
        """
        if answer.digest != kept.digest or answer.by == kept.body.requester:
            return False
        principal = standing(tx.connection, answer.by)
        if principal is None or principal.ref.type != PERSON:
            return False
        if answer.credential is not None and not self._is_live(tx, answer.credential):
            return False
        others = [one for one in kept.answers if one.by != answer.by]
        about = resources.of_request(msgspec.structs.replace(kept.body, owners=rule.owners), others)
        return self._decides(principal, about, msgspec.json.decode(answer.context))

    def _is_live(self, tx: Transaction, credential: str) -> bool:
        if not self._credentials.is_live(credential):
            return False
        found = credential_store.find_credential(tx.connection, credential)
        return found is None or found.revoked_at is None

    def _decides(self, principal: Principal, about: Resource, known: dict[str, Any]) -> bool:
        asked = Request(principal, APPROVE, about, known)
        return self._authorizer.engine.decide(asked).decision.allowed


def open_request(tx: Transaction, id_: str) -> store.Kept:
    """A request that waits for answers, and is what it was when it was made.

    Raises:
        NotFoundError: there is none.
        RefusedError: it was answered, taken back, or not answered in time; or it was changed.
    """
    kept = store.find_request(tx.connection, id_)
    if kept is None:
        raise NotFoundError(f"there is no request {id_}", todo="everproof requests list shows them")
    if kept.state != "requested":
        raise RefusedError(f"the request was {kept.state} already")
    if kept.body.answer_by <= round(tx.now.timestamp() * 1000):
        raise RefusedError("the request has lapsed: nobody answered it in time", todo="ask again")
    if not kept.is_intact or kept.body.id != id_:
        raise RefusedError("the request is not what it was when it was made", todo="ask anew, and look for who did it")
    return kept


def require_person(proof: Proof) -> None:
    """Refuse whoever is no person, or is only vouched for: an approval is a person's own.

    Raises:
        RefusedError: it is not.
    """
    if proof.principal.ref.type != PERSON or proof.vouched_by is not None:
        raise RefusedError("requests are answered by people, each for themselves", todo="log in as yourself")
