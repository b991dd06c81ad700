"""Whom a provider means, and what becomes of it in the commits that let them in.

A subject is a person's by the file (``[people]``), by provisioning (its ``externalId``), or by a link that was made
when they took up an invitation or first signed on. Never by an address of e-mail: addresses are given to others, and at
many a provider one may claim whatever one likes.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec
from sqlalchemy import Connection

from everproof.identity import roster
from everproof.identity.claims import plain
from everproof.identity.directory import principal_of
from everproof.identity.enrolment import newcomer
from everproof.identity.jose import JoseError
from everproof.identity.names import email_address, principal_id, shown_name
from everproof.identity.records import Group, PrincipalRecord, Ticket
from everproof.identity.sessions import Beginning
from everproof.identity.sign_on import store
from everproof.identity.sign_on.attempts import Attempt
from everproof.identity.sign_on.errors import NotLinkedError, SignOnError
from everproof.identity.sign_on.id_token import Assertion
from everproof.identity.sign_on.logout import names_of
from everproof.identity.sign_on.store import Link
from everproof.identity.store import email_owner, find_principal
from everproof.identity.tickets import use_ticket
from everproof.kernel.clock import MAX_SKEW
from everproof.kernel.errors import InputError, RefusedError
from everproof.kernel.words import Fact, Principal, Proof, Ref, Resource
from everproof.storage import Transaction

KIND: Final = "sign-on"
"""Of the proof that a provider's word makes."""
FACTOR: Final = "provider"
"""What a second factor is called that was shown to the provider."""
UNKNOWN: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When somebody was authenticated whose provider does not say: longer ago than any policy takes for recent."""

How: TypeAlias = Literal["file", "scim", "link", "invitation", "first"]

ProvisionedAs: TypeAlias = Callable[[Connection, str, str], Ref | None]
"""Whom a provisioner (its id) knows by an ``externalId``."""

_KEPT: Final = ("sub", "aud", "iat", "exp", "auth_time", "acr", "amr", "sid", "tid", "hd")


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody a provider has vouched for. ``record`` is what is on record of them, or what would be.

    ``is_new``: nobody is linked yet, and the file or an invitation lets them in; `enrol` puts them on record.
    """

    assertion: Assertion
    attempt: Attempt
    how: How
    record: PrincipalRecord
    is_new: bool
    at: datetime
    groups: Mapping[str, Group]
    ticket: Ticket | None = None

    @property
    def user(self) -> Ref:
        """Who it is."""
        return self.record.ref

    @property
    def principal(self) -> Principal:
        """Who it is, in the groups that the provider says at this moment."""
        return principal_of(self.record, self.groups)

    @property
    def proof(self) -> Proof:
        """The proof that the provider's word makes."""
        said = self.assertion
        token = plain({name: said.claims[name] for name in _KEPT if name in said.claims})
        link = {} if self.ticket is None else {"link": self.ticket.id}
        return Proof(
            kind=KIND, principal=self.principal, at=said.authenticated or UNKNOWN,
            claims={"provider": said.provider.name, "issuer": said.provider.issuer, "subject": said.subject,
                    "linked_by": self.how, "token": token, **link},
        )  # fmt: skip

    @property
    def facts(self) -> list[Fact]:
        """What is known of the sign-on; what the provider does not say is absent."""
        said, source = self.assertion, KIND
        facts = [Fact("provider", said.provider.name, said.issued, source)]
        if said.authenticated is not None:
            facts.append(Fact("auth_age", _age(said.authenticated, self.at), self.at, source))
        if said.acr:
            facts.append(Fact("acr", said.acr, said.issued, source))
        if said.amr:
            facts.append(Fact("amr", list(said.amr), said.issued, source))
        if (shown := said.second_factor) is not None:
            facts.append(Fact("mfa_age", _age(shown, self.at), self.at, source))
            facts.append(Fact("mfa_method", FACTOR, shown, source))
        return facts

    @property
    def newcomer(self) -> Resource:
        """Who would be put on record, as what is asked for."""
        record = self.record
        ticket = Ticket(id="", purpose="enrol", groups=record.groups, space=record.space, expires=self.at)
        return newcomer(record.ref, ticket, name=record.name)

    def enrol(self, tx: Transaction) -> PrincipalRecord:
        """Put the newcomer on record, linked.

        Raises:
            RefusedError: the name or an address is somebody's, or the invitation was used. Nothing was written.
        """
        record, said = self.record, self.assertion
        if find_principal(tx.connection, record.ref) is not None:
            raise RefusedError(
                f"{record.ref} is on record already, and not linked with this account at {said.provider.title}",
                todo="ask an administrator to link the two",
            )
        for email in record.emails:
            if email_owner(tx.connection, email) is not None:
                raise RefusedError(
                    f"the address {email} is another person's here", todo="ask an administrator whose address it is"
                )
        link = store.find_link(tx.connection, said.provider.issuer, said.subject)
        if link is not None and (self.ticket is None or link.proves):
            raise RefusedError("this account has been linked meanwhile", todo="sign on again")
        if self.ticket is not None:
            use_ticket(tx, self.attempt.link, "enrol")
        made = roster.add_principal(
            tx, record.ref, name=record.name, emails=record.emails, groups=record.groups, space=record.space
        )
        link = Link(issuer=said.provider.issuer, subject=said.subject, user=record.ref, how=self.how, at=tx.now)
        store.put_link(tx, link)
        return made

    def begin(self, tx: Transaction, *, address: str = "", agent: str = "") -> Beginning:
        """Say the person's groups anew, and how the session begins that is to begin in this commit.

        Raises:
            RefusedError: somebody ended it before it began. Nothing was written.
        """
        self._require_current(tx)
        said = self.assertion
        self._restate_groups(tx)
        if self.how != "link":
            issuer, subject = said.provider.issuer, said.subject
            store.put_link(tx, Link(issuer=issuer, subject=subject, user=self.user, how=self.how, at=tx.now))
        return Beginning(
            principal=self.user, kind="browser", provider=said.provider.name,
            authenticated=said.authenticated or UNKNOWN, acr=said.acr, amr=said.amr,
            factors={} if said.second_factor is None else {FACTOR: said.second_factor},
            provider_subject=said.sub, provider_session=said.sid, address=address, agent=agent,
        )  # fmt: skip

    def shown(self, tx: Transaction) -> datetime:
        """When the factor was shown that the session of the attempt waits for.

        Raises:
            RefusedError: as `begin`.
        """
        self._require_current(tx)
        if (at := self.assertion.second_factor) is None:
            raise RefusedError(f"{self.assertion.provider.title} does not say that a second factor was shown")
        return at

    def _require_current(self, tx: Transaction) -> None:
        said = self.assertion
        record = find_principal(tx.connection, self.user)
        if record is None or record.disabled is not None:
            raise RefusedError(f"{self.user} is disabled", todo="ask an administrator")
        link = _live_link(tx.connection, said)
        if link is None if self.how == "link" else link is not None and link.user != self.user:
            raise RefusedError("whom this account is linked with has changed meanwhile", todo="sign on again")
        names = names_of(said.provider.issuer, sub=said.sub, sid=said.sid)
        if store.signed_out_since(tx.connection, names, said.issued - MAX_SKEW):
            raise RefusedError(f"{said.provider.title} has ended this sign-on meanwhile", todo="sign on again")

    def _restate_groups(self, tx: Transaction) -> None:
        record = find_principal(tx.connection, self.user)
        assert record is not None
        groups = restated(record.groups, self.assertion)
        if groups != record.groups:
            roster.set_groups(tx, self.user, groups)


def arrival(
    connection: Connection,
    assertion: Assertion,
    attempt: Attempt,
    *,
    ticket: Ticket | None,
    provisioned: ProvisionedAs,
    at: datetime,
    groups: Mapping[str, Group],
) -> Arrival:
    """Who has come.

    Raises:
        NotLinkedError: nobody that is known here, and nobody who is let in for the first time.
        SignOnError: two people, or one whose name or groups cannot be told.
    """
    _require_groups(assertion)
    found = _known(connection, assertion, provisioned)
    if len({ref for _, ref in found}) > 1:
        who = " and ".join(f"{ref} by {how}" for how, ref in found)
        raise SignOnError(f"the provider's account is linked with two: {who}", todo="ask an administrator")
    if found:
        how, ref = found[0]
        if (record := find_principal(connection, ref)) is None:
            raise NotLinkedError(f"{ref}, whom this account is linked with, is not on record", todo=_ask(assertion))
        restating = msgspec.structs.replace(record, groups=restated(record.groups, assertion))
        return Arrival(
            assertion=assertion, attempt=attempt, how=how, record=restating, is_new=False, at=at, groups=groups
        )
    before = store.find_link(connection, assertion.provider.issuer, assertion.subject)
    if ticket is None and (assertion.provider.new_id is None or before is not None):
        who = "nobody here is" if before is None else "whoever was here has left who was"
        raise NotLinkedError(f"{who} linked with this account at {assertion.provider.title}", todo=_ask(assertion))
    return Arrival(
        assertion=assertion, attempt=attempt, how="first" if ticket is None else "invitation",
        record=_stranger(assertion, ticket, at), is_new=True, at=at, groups=groups, ticket=ticket,
    )  # fmt: skip


def restated(before: tuple[str, ...], said: Assertion) -> tuple[str, ...]:
    """``before`` with the groups that the provider says, out of those that it alone says."""
    table = said.provider.table.groups
    if table is None or said.groups is None:
        return before
    mapped = {table.map[one] for one in said.groups if one in table.map}
    return tuple(sorted((set(before) - said.provider.own_groups) | mapped))


def _known(connection: Connection, said: Assertion, provisioned: ProvisionedAs) -> list[tuple[How, Ref]]:
    provider = said.provider
    found: list[tuple[How, Ref]] = []
    if (user := provider.table.people.get(said.subject)) is not None:
        found.append(("file", Ref("User", user)))
    if provider.table.provisioner:
        ref = provisioned(connection, provider.table.provisioner, said.subject)
        found += [] if ref is None else [("scim", ref)]
    link = _live_link(connection, said)
    return found if link is None else [*found, ("link", link.user)]


def _live_link(connection: Connection, said: Assertion) -> Link | None:
    link = store.find_link(connection, said.provider.issuer, said.subject)
    return link if link is not None and link.proves else None


def _require_groups(said: Assertion) -> None:
    table = said.provider.table.groups
    if table is not None and said.groups is None and table.unknown == "refuse":
        raise SignOnError(
            f"{said.provider.title} does not say which groups you are in, or has left some out", place="claims.groups",
            todo=f"ask an administrator to set up the groups claim, or unknown in sign-on/{said.provider.name}.toml",
        )  # fmt: skip


def _stranger(said: Assertion, ticket: Ticket | None, at: datetime) -> PrincipalRecord:
    first = said.provider.table.first_sign_on
    groups: tuple[str, ...] = ticket.groups if ticket is not None else first.groups if first is not None else ()
    space = ticket.space if ticket is not None else first.space if first is not None else ""
    return PrincipalRecord(
        ref=Ref("User", _new_id(said, ticket)), name=_shown_name(said.claims),
        emails=ticket.emails if ticket is not None else _verified_email(said),
        groups=restated(tuple(sorted(set(groups))), said), space=space, enrolled=at,
    )  # fmt: skip


def _new_id(said: Assertion, ticket: Ticket | None) -> str:
    """The name of a newcomer: plain lower-case ASCII, so that nobody comes in who looks like somebody else."""
    if ticket is not None and ticket.name:
        return ticket.name
    if said.provider.new_id is None:
        raise NotLinkedError("the invitation does not say who it is for", todo="ask for one that names you")
    if "email" in said.provider.new_id.claims and said.claims.get("email_verified") is not True:
        # Else whoever claims somebody's address before they come has the name that policy knows them by.
        raise SignOnError(
            f"{said.provider.title} has not verified the address that your name here is made of",
            place="claims.email_verified", todo=_ask(said),
        )  # fmt: skip
    try:
        name = said.provider.new_id.fill(said.claims)
        return principal_id(name.lower() if name.isascii() else name, place="first_sign_on.id")
    except (JoseError, InputError) as error:
        raise SignOnError(
            f"what {said.provider.title} says makes no name that is taken here: {error.message}",
            place=error.place, todo=_ask(said),
        ) from error  # fmt: skip


def _shown_name(claims: Mapping[str, Any]) -> str:
    name = claims.get("name", "")
    try:
        return shown_name(name) if type(name) is str else ""
    except InputError:  # it is only shown; who has none is shown by their id
        return ""


def _verified_email(said: Assertion) -> tuple[str, ...]:
    """The address that a newcomer may commit as: verified by the provider, in a domain that the file names."""
    first = said.provider.table.first_sign_on
    email = said.claims.get("email")
    if first is None or type(email) is not str or said.claims.get("email_verified") is not True:
        return ()
    if email.rpartition("@")[2].lower() not in first.email_domains:
        return ()
    try:
        return (email_address(email),)
    except InputError:
        return ()


def _ask(said: Assertion) -> str:
    return f"ask an administrator for an invitation, or to link your account at {said.provider.title}: {said.subject}"


def _age(since: datetime, at: datetime) -> int:
    return max(0, int((at - since).total_seconds()))
