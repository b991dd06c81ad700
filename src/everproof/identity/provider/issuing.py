"""What a sign-in becomes, within the commit that allows it: tokens for a client, or a session of the command line."""

from datetime import timedelta
from typing import Final, Literal

import msgspec

from everproof.identity.access_tokens import Grant
from everproof.identity.credentials import Credentials
from everproof.identity.exchange import Exchange, Plan, TokenReply
from everproof.identity.provider import assurance, renewals
from everproof.identity.provider.clients import CLI, Client
from everproof.identity.provider.sign_ins import SignIns
from everproof.identity.provider.tokens import ProviderTokens, Told, seconds
from everproof.identity.records import Credential
from everproof.identity.sessions import SESSION, Beginning, Session, Sessions
from everproof.identity.token_request import TokenRequest
from everproof.kernel.ids import new_id
from everproof.kernel.words import Principal, Proof
from everproof.storage import Transaction
from everproof.work.notices import Notice, Notices

USERINFO_LIFETIME: Final = timedelta(minutes=10)
"""A client asks for userinfo at once, or never."""
CLI_LIFETIME: Final = timedelta(minutes=60)
"""As long as any token lives; the command line renews it with its key."""


class SignedIn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the token endpoint answers to a code (OpenID Connect Core 1.0, section 3.1.3.3). Times are in seconds.

    ``session`` and ``refresh_token`` are the command line's alone.
    """

    access_token: str
    token_type: Literal["DPoP", "Bearer", "N_A"]
    expires_in: int
    id_token: str = ""
    refresh_token: str = ""
    scope: str = ""
    session: str = ""

    def __repr__(self) -> str:
        return f"SignedIn({self.token_type})"


class Given(msgspec.Struct, frozen=True):
    """The answer, and what would be taken back: a credential, and what the client knows as a session."""

    reply: SignedIn
    credential: str
    sign_in: str | None = None


class Issuing:
    """Issues what was allowed."""

    def __init__(
        self,
        *,
        tokens: ProviderTokens,
        credentials: Credentials,
        exchange: Exchange,
        sessions: Sessions,
        sign_ins: SignIns,
        notices: Notices,
    ) -> None:
        self._tokens = tokens
        self._credentials = credentials
        self._exchange = exchange
        self._sessions = sessions
        self._sign_ins = sign_ins
        self._notices = notices

    def for_client(
        self,
        tx: Transaction,
        client: Client,
        session: Session,
        principal: Principal,
        *,
        scope: tuple[str, ...],
        nonce: str = "",
        key: str | None = None,
    ) -> Given:
        """An id_token, and a token for userinfo that ends with the session.

        Raises:
            RefusedError: the session has ended. Nothing was written.
        """
        issued = self._credentials.issue(
            tx,
            Credential(
                id=new_id("cred"), parent=session.id, kind="access-token", principal=principal.ref, key=key,
                issued=tx.now, expires=tx.now + USERINFO_LIFETIME, audience=self._tokens.userinfo, scope=scope,
            ),
        )  # fmt: skip
        at = assurance.auth_time(session)
        access_token = self._tokens.access_token(
            Grant(
                credential=issued.id, principal=principal, client=client.id, audience=self._tokens.userinfo, key=key,
                proven=at, issued=tx.now, expires=issued.expires, scope=scope, recorded=True, session=session.id,
            )
        )  # fmt: skip
        sid = self._sign_ins.note(tx, session, client.id)
        told = Told(
            nonce=nonce, auth_time=seconds(at), acr=assurance.level(session), amr=tuple(assurance.methods(session)),
            sid=sid,
        )  # fmt: skip
        reply = SignedIn(
            access_token=access_token,
            token_type="Bearer" if key is None else "DPoP",
            expires_in=int((issued.expires - tx.now).total_seconds()),
            id_token=self._tokens.id_token(client, principal, told, scope, access_token),
            scope=" ".join(scope),
        )
        return Given(reply, issued.id, sid)

    def for_cli(
        self, tx: Transaction, session: Session, principal: Principal, *, key: str, address: str, agent: str
    ) -> Given:
        """A session of the command line, and a token for this server in it.

        It is as well proven as the browser's ``session`` that let it begin, and comes from what that one came from; so
        it ends with the person, and with the provider's session, and not when the browser lies idle or is signed out.
        Its person is told of it.

        Raises:
            RefusedError: the person is nobody any more. Nothing was written.
        """
        said = {name: getattr(session, name) for name in Beginning.__struct_fields__}
        made = self._sessions.begin(
            tx, Beginning(**{**said, "kind": "cli", "key": key, "address": address, "agent": agent})
        )
        for method, strength in session.strength.items():
            if method in session.factors:
                made = self._sessions.show_factor(tx, made.id, method, session.factors[method], strength)
        reply = self.token(tx, made, principal)
        self._notices.send(tx, _signed_in(made))
        signed_in = SignedIn(
            access_token=reply.access_token, token_type=reply.token_type, expires_in=reply.expires_in,
            refresh_token=renewals.first_token(tx, made, CLI), session=made.id,
        )  # fmt: skip
        return Given(signed_in, made.id)

    def token(self, tx: Transaction, session: Session, principal: Principal) -> TokenReply:
        """A token for this server in a session of the command line, bound to its key."""
        proof = Proof(
            kind=SESSION, principal=principal, at=session.authenticated, credential=session.id, key=session.key,
            expires=session.expires, claims={"session": session.id},
        )  # fmt: skip
        return self._exchange.issue(tx, self.renewal(proof))

    def renewal(self, proof: Proof) -> Plan:
        """What a session of the command line asks for: a token for this server, which ends with it."""
        request = TokenRequest(grant_type="login", lifetime=CLI_LIFETIME)
        return self._exchange.plan(request, proof, source=None, client=CLI, latest=None, recorded=True)


def _signed_in(session: Session) -> Notice:
    where = session.address or "an address that is not known"
    return Notice(
        to=(session.principal,),
        subject="You are signed in at a terminal",
        text=f"A terminal was signed in as you, from {where}. If you did not begin this, end its session now.",
        link="/sessions",
        key=f"provider/{session.id}",
    )
