"""The resources that several doors ask about."""

from collections.abc import Iterable
from typing import Final

from everproof.identity import Directory
from everproof.kernel.words import MAIN_SPACE, NOTHING, Attributes, Proof, Ref, Resource

LEDGER: Final = Resource(ref=Ref("Ledger", "organisation"), parents=(MAIN_SPACE,))
SERVER: Final = Resource(ref=Ref("Server", "organisation"), parents=(MAIN_SPACE,))

ANYONE: Final = "*"
"""Stands for a principal that nobody has named, and is no principal's id."""


def credential_resource(id_: str, owner: Ref | None, asker: Proof, *, kind: str = "access-token") -> Resource:
    """A credential or key as the object of an action; ``own``: it is the asker's."""
    attributes: dict[str, str | bool] = {"kind": kind, "own": owner == asker.principal.ref}
    if owner is not None:
        attributes |= {"principal_id": owner.id, "principal_type": owner.type}
    return Resource(ref=Ref("Credential", id_), attributes=attributes, parents=(MAIN_SPACE,))


def members(
    directory: Directory, ref: Ref, groups: Iterable[str], *, attributes: Attributes = NOTHING
) -> list[Resource]:
    """Who is to be in ``groups``, once for each group, and once where there is none.

    Each is to be decided for itself: of someone in two groups at once, a policy about one of them would hold, and let
    its holder give away the other.
    """
    alone = [()] if not (given := tuple(groups)) else [directory.ancestors((group,)) for group in given]
    return [
        Resource(ref=ref, attributes=attributes, parents=(*(Ref("Group", one) for one in above), MAIN_SPACE))
        for above in alone
    ]
