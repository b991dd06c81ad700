"""The resources that several doors ask about."""

from typing import Final

from everproof.kernel.words import MAIN_SPACE, Proof, Ref, Resource

LEDGER: Final = Resource(ref=Ref("Ledger", "organisation"), parents=(MAIN_SPACE,))
SERVER: Final = Resource(ref=Ref("Server", "organisation"), parents=(MAIN_SPACE,))


def credential_resource(id_: str, owner: Ref | None, asker: Proof, *, kind: str = "access-token") -> Resource:
    """A credential or key as the object of an action; ``own``: it is the asker's."""
    attributes: dict[str, str | bool] = {"kind": kind, "own": owner == asker.principal.ref}
    if owner is not None:
        attributes |= {"principal_id": owner.id, "principal_type": owner.type}
    return Resource(ref=Ref("Credential", id_), attributes=attributes, parents=(MAIN_SPACE,))
