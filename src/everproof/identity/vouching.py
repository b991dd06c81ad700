"""A principal that a policy enforcement point vouches for: believed as far as policy believes that point."""

from datetime import datetime

from everproof.identity.directory import Directory
from everproof.kernel.errors import NotFoundError, RefusedError
from everproof.kernel.words import Principal, Proof, Ref


def vouched(directory: Directory, caller: Proof, subject: Ref, at: datetime) -> Proof:
    """The proof that ``caller`` makes for ``subject`` by asking about it.

    Whoever is on record comes with what is on record; anyone else is a bare name, with no attributes and in no group.
    It stands and falls with the caller's own credential.

    Raises:
        RefusedError: the subject is disabled, so nobody can vouch for it.
    """
    principal = directory.principal(subject)
    if principal is None:
        if _is_on_record(directory, subject):
            raise RefusedError(f"{subject} is disabled", todo="ask an administrator")
        principal = Principal(ref=subject)
    return Proof(
        kind="vouched",
        principal=principal,
        at=at,
        credential=caller.credential,
        expires=caller.expires,
        vouched_by=caller.principal.ref,
    )


def _is_on_record(directory: Directory, ref: Ref) -> bool:
    try:
        directory.record(ref)
    except NotFoundError:
        return False
    return True
