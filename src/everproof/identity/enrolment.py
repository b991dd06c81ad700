"""How people come in: by a link that is good once, with the key that they show possession of.

The first link makes the first administrator and is printed at the first start; an administrator makes the others.
"""

from datetime import timedelta
from typing import Final

import msgspec

from everproof.identity import roster, sshsig
from everproof.identity.challenges import ENROL_NAMESPACE, Challenge, Challenges, enrolment_message
from everproof.identity.directory import Directory
from everproof.identity.names import email_address, principal_id, shown_name
from everproof.identity.records import ADMINISTRATORS, MAIN, PrincipalRecord, Ticket
from everproof.identity.replay_store import spend
from everproof.identity.ssh_keys import read_line
from everproof.identity.ssh_login import claims_of
from everproof.identity.sshsig import SshSignatureError
from everproof.identity.store import email_owner, withdraw_tickets
from everproof.identity.tickets import Issued, issue_ticket, look_up_ticket, use_ticket
from everproof.kernel.errors import ConflictError, RefusedError, UnauthenticatedError
from everproof.kernel.words import Action, Principal, Proof, Ref, Resource
from everproof.storage import Storage, Transaction

ACTION: Final = Action("identity:enrol")
KIND: Final = "enrolment-link"
LINK_LIFETIME: Final = timedelta(hours=24)
"""A working day and a night: who starts a server reads its first lines."""


def invite(
    tx: Transaction,
    *,
    groups: tuple[str, ...] = (),
    user: str = "",
    emails: tuple[str, ...] = (),
    space: str = MAIN,
    by: Ref | None = None,
    lifetime: timedelta = LINK_LIFETIME,
) -> Issued:
    """A link for one person, in these groups; ``user`` fixes the id, else the person chooses.

    ``emails`` are the addresses that they may commit as: nobody who comes in chooses whom to speak for.

    Raises:
        InputError: a name or address that is not accepted, or a lifetime beyond a week.
        ConflictError: an address is somebody's already.
    """
    for email in emails:
        if (owner := email_owner(tx.connection, email)) is not None:
            raise ConflictError(f"{email} is the address of {owner}", place="emails")
    return issue_ticket(tx, "enrol", lifetime=lifetime, name=user, emails=emails, groups=groups, space=space, by=by)


def invite_first_administrator(storage: Storage, directory: Directory) -> Issued | None:
    """The link of the first start, or none where there is an administrator. Any such link before it ends.

    For the start, before the storage takes changes of others.
    """
    if any(_administers(directory, record) for record in directory.records()):
        return None

    def change(tx: Transaction) -> Issued:
        withdraw_tickets(tx, "first")
        return issue_ticket(tx, "first", lifetime=LINK_LIFETIME, groups=(ADMINISTRATORS,))

    return storage.write_now(change)


def link(server: str, secret: str) -> str:
    """The link to give a person. The secret stands behind the ``#``, which browsers send to nobody."""
    return f"{server}/enrol#{secret}"


class EnrolmentRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person sends to enrol: the link's secret, who they are, their public key's line, and its signature.

    ``emails`` are heard from the first administrator alone; for others the invitation says them. ``signature`` is over
    `challenges.enrolment_message`, in namespace ``enrol@everproof``.
    """

    secret: str
    user: str
    public_key: str
    challenge: str
    signature: str
    name: str = ""
    emails: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"EnrolmentRequest({self.user!a})"


class Enrolling(msgspec.Struct, frozen=True, kw_only=True):
    """A person whose link and key hold, not yet on record: for `authorize`, with ``settle`` within its commit."""

    proof: Proof
    resource: Resource
    request: EnrolmentRequest
    ticket: Ticket
    challenge: Challenge

    @property
    def emails(self) -> tuple[str, ...]:
        """The addresses that the person may commit as from now on."""
        return self.request.emails if self.ticket.purpose == "first" else self.ticket.emails

    def settle(self, tx: Transaction) -> PrincipalRecord:
        """Use the link and the challenge up, and put the person on record with their key.

        Raises:
            RefusedError: the link was used meanwhile. Nothing was written.
            ConflictError: the id, an address or the key is taken; the link stays good.
        """
        use_ticket(tx, self.request.secret, "first", "enrol")
        try:
            spend(tx, self.challenge.id, self.challenge.expires)
        except RefusedError as error:
            raise ConflictError(error.message, todo=error.todo) from error
        record = roster.add_principal(
            tx, Ref("User", self.request.user), name=self.request.name, emails=self.emails,
            groups=self.ticket.groups, space=self.ticket.space,
        )  # fmt: skip
        by = {"by": str(self.ticket.by)} if self.ticket.by is not None else {}
        source = {"link": self.ticket.id, **by}
        roster.add_ssh_key(tx, record.ref, self.request.public_key, source=source)
        return record


class Enrolment:
    """Verifies enrolments at this server."""

    def __init__(self, storage: Storage, challenges: Challenges) -> None:
        self._storage = storage
        self._challenges = challenges

    def challenge(self) -> Challenge:
        """What to sign over next."""
        return self._challenges.new()

    def verify(self, request: EnrolmentRequest) -> Enrolling:
        """Check the link, the names and the signature. One query.

        Raises:
            UnauthenticatedError: the link, the challenge or the signature does not hold.
            InputError: a name, an address or a key that is not accepted.
        """
        challenge = self._challenges.read(request.challenge)
        ticket = look_up_ticket(self._storage, request.secret, "first", "enrol")
        principal_id(request.user, place="user")
        shown_name(request.name)
        for email in request.emails:
            email_address(email, place="emails")
        if ticket.name not in {"", request.user}:
            raise UnauthenticatedError("the link is for somebody else", place="user")
        key = read_line(request.public_key)
        message = enrolment_message(
            server=self._challenges.server, challenge=request.challenge, at=challenge.at, user=request.user
        )
        try:
            signed = sshsig.verify(request.signature.encode(), message, ENROL_NAMESPACE)
        except SshSignatureError as error:
            todo = error.todo or f"enrol at {self._challenges.server}, exactly by this name"
            raise UnauthenticatedError(error.message, place="signature", todo=todo) from error
        if signed.fingerprint != key.fingerprint:
            raise UnauthenticatedError("signed with another key than the one to be enrolled", place="signature")
        space = Ref("Space", ticket.space)
        ref = Ref("User", request.user)
        return Enrolling(
            proof=Proof(
                kind=KIND, principal=Principal(ref=ref, parents=(space,)), at=self._storage.clock.now(),
                key=key.fingerprint, claims={"link": ticket.id, "groups": list(ticket.groups), **claims_of(signed)},
            ),
            resource=newcomer(ref, ticket, name=request.name),
            request=request,
            ticket=ticket,
            challenge=challenge,
        )  # fmt: skip


def newcomer(ref: Ref, ticket: Ticket, *, name: str) -> Resource:
    """A principal that is to be enrolled, as what is asked for: in the groups that it would be in."""
    groups = (Ref("Group", group) for group in ticket.groups)
    attributes = {"name": name} if name else {}
    return Resource(ref=ref, attributes=attributes, parents=(*groups, Ref("Space", ticket.space)))


def _administers(directory: Directory, record: PrincipalRecord) -> bool:
    return (
        record.ref.type == "User" and record.disabled is None and ADMINISTRATORS in directory.ancestors(record.groups)
    )
