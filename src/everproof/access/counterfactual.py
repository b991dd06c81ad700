"""Whether a grant would change anything: the engine is asked again, as if it were there."""

from typing import Any, Final

from everproof.access.records import Wanted
from everproof.authorize import Authorizer
from everproof.kernel.errors import RefusedError
from everproof.kernel.words import MAIN_SPACE, Action, Attributes, Proof, Ref, Resource
from everproof.policy import Request

OF_GRANTS: Final = frozenset({"granted", "grant_id", "grant_expires_in", "approvals", "approvers", "break_glass"})
_BEST: Final[Attributes] = {
    "mfa_age": 0, "mfa_method": "passkey", "mfa_user_verified": True, "auth_age": 0, "session_age": 0,
}  # fmt: skip
"""What a step-up can do for whoever comes to use a grant."""

Facts = dict[str, Any]


def thing(wanted: Wanted) -> Resource:
    """The resource, as whoever asks describes it; where they do not say what it is in, as far as its name tells."""
    ref, parents = wanted.resource, wanted.parents
    if not parents:
        repository, at, _ = ref.id.partition("@refs/")
        parents = (Ref("Repository", repository), MAIN_SPACE) if ref.type == "Branch" and at else (MAIN_SPACE,)
        if ref == MAIN_SPACE:
            parents = ()
    return Resource(ref=ref, attributes=wanted.attributes, parents=parents)


def require_use(authorizer: Authorizer, proof: Proof, wanted: Wanted, *, needs: int, expires_in: int) -> None:
    """Refuse a request that would change no decision.

    Raises:
        RefusedError: it is allowed already, or no policy honours a grant for it.
    """
    action, resource = Action(wanted.action), thing(wanted)
    if resource.ref.type == "Space":
        return  # what is in it has many types: policy is asked when it comes to be used
    known = {
        name: value for name, value in authorizer.context(proof, action, resource).items() if name not in OF_GRANTS
    }
    if _allows(authorizer, proof, action, resource, known):
        raise RefusedError(
            f"you may do that already, without a grant: {wanted.action} on {wanted.resource}",
            todo="just do it; where it was denied, the denial says why",
        )
    granted: Facts = {
        **known,
        "granted": True,
        "grant_id": "cred_of_this_request",
        "grant_expires_in": expires_in,
        "approvals": needs,
        "approvers": [f"approver-{number}" for number in range(needs)],
    }
    if _allows(authorizer, proof, action, resource, granted):
        return
    stepped = {name: value for name, value in _BEST.items() if name in authorizer.engine.facts}
    if not _allows(authorizer, proof, action, resource, {**granted, **stepped}):
        raise RefusedError(
            f"no policy of this server honours a grant for that: {wanted.action} on {wanted.resource}",
            todo="have a policy permit it when context.granted, or ask for what it takes instead",
        )


def _allows(authorizer: Authorizer, proof: Proof, action: Action, resource: Resource, known: Facts) -> bool:
    return authorizer.engine.decide(Request(proof.principal, action, resource, known)).decision.allowed
