"""How machines come in: a join token, good once, binds a key that the machine made; the token is worthless after.

From then on the key proves the machine, by a signed assertion (RFC 7523), as it does a service.
"""

from datetime import timedelta
from typing import Any, Final

import msgspec

from everproof.identity import roster
from everproof.identity.enrolment import newcomer
from everproof.identity.jose import JoseError
from everproof.identity.jwk import read_published_key
from everproof.identity.names import principal_id
from everproof.identity.records import MAIN, PrincipalRecord, Ticket
from everproof.identity.tickets import Issued, issue_ticket, look_up_ticket, use_ticket
from everproof.kernel.errors import InputError, UnauthenticatedError
from everproof.kernel.words import Action, Principal, Proof, Ref, Resource
from everproof.keys import thumbprint
from everproof.storage import Storage, Transaction

ACTION: Final = Action("identity:enrol")
KIND: Final = "join-token"
JOIN_LIFETIME: Final = timedelta(hours=1)
"""A machine joins when it is first started, and that is when its token is made."""


def join_token(
    tx: Transaction,
    *,
    groups: tuple[str, ...] = (),
    machine: str = "",
    space: str = MAIN,
    by: Ref | None = None,
    lifetime: timedelta = JOIN_LIFETIME,
) -> Issued:
    """A token for one machine, in these groups; ``machine`` fixes its name, else it chooses.

    Raises:
        InputError: a name that is not accepted, or a lifetime beyond a week.
    """
    return issue_ticket(tx, "join", lifetime=lifetime, name=machine, groups=groups, space=space, by=by)


class JoinRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a machine sends to join: the token, its name and its public key."""

    token: str
    machine: str
    jwk: dict[str, Any]
    name: str = ""

    def __repr__(self) -> str:
        return f"JoinRequest({self.machine!a})"


class Joining(msgspec.Struct, frozen=True, kw_only=True):
    """A machine whose token and key hold, not yet on record: for `authorize`, with ``settle`` within its commit."""

    proof: Proof
    resource: Resource
    request: JoinRequest
    ticket: Ticket

    def settle(self, tx: Transaction) -> PrincipalRecord:
        """Use the token up, and put the machine on record with its key.

        Raises:
            RefusedError: the token was used meanwhile. Nothing was written.
            ConflictError: the name or the key is taken; the token stays good.
        """
        use_ticket(tx, self.request.token, "join")
        by = {"by": str(self.ticket.by)} if self.ticket.by is not None else {}
        return roster.register_client(
            tx, Ref("Machine", self.request.machine), [self.request.jwk], name=self.request.name,
            groups=self.ticket.groups, space=self.ticket.space, source={"join": self.ticket.id, **by},
        )  # fmt: skip


class Machines:
    """Verifies machines that want to join."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def verify(self, request: JoinRequest, *, shown: str) -> Joining:
        """Check the token and the key; ``shown`` is the thumbprint of the key that made the machine's DPoP proof.

        Raises:
            UnauthenticatedError: the token does not hold, or another key was shown.
            InputError: a name or a key that is not accepted.
        """
        ticket = look_up_ticket(self._storage, request.token, "join")
        principal_id(request.machine, place="machine")
        if ticket.name not in {"", request.machine}:
            raise UnauthenticatedError("the join token is for another machine", place="machine")
        try:
            read_published_key(request.jwk)
        except JoseError as error:
            raise InputError(error.message, place=error.place, todo=error.todo) from error
        if thumbprint(request.jwk) != shown:
            raise UnauthenticatedError("the machine has not shown that it holds this key", place="jwk")
        ref = Ref("Machine", request.machine)
        principal = Principal(ref=ref, parents=(Ref("Space", ticket.space),))
        return Joining(
            proof=Proof(
                kind=KIND, principal=principal, at=self._storage.clock.now(), key=shown,
                claims={"join": ticket.id, "groups": list(ticket.groups)},
            ),
            resource=newcomer(ref, ticket, name=request.name),
            request=request,
            ticket=ticket,
        )  # fmt: skip
