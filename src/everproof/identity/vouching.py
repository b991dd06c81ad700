"""A principal that a policy enforcement point vouches for: believed as far as policy believes that point."""

from datetime import datetime

from everproof.identity.directory import Directory
from everproof.kernel.errors import NotFoundError
from everproof.kernel.words import NOTHING, Principal, Proof, Ref


def vouched(directory: Directory, caller: Proof, subject: Ref, at: datetime) -> Proof:
    """The proof that ``caller`` makes for ``subject`` by asking about it.

    Whoever is on record comes with what is on record; anyone else is a bare name, with no attributes and in no group.
    So is whoever is disabled, whose proof says so: nothing is allowed it. It stands and falls with the caller's own
    credential.
    """
    principal = directory.principal(subject)
    disabled = principal is None and _is_on_record(directory, subject)
    return Proof(
        kind="vouched",
        principal=principal or Principal(ref=subject),
        at=at,
        credential=caller.credential,
        expires=caller.expires,
        claims={"disabled": True} if disabled else NOTHING,
        vouched_by=caller.principal.ref,
    )


def _is_on_record(directory: Directory, ref: Ref) -> bool:
    try:
        directory.record(ref)
    except NotFoundError:
        return False
    return True
