"""The token service's reasoning: what a request asks for, whether it may have it, and issuing it (RFC 8693, RFC 6749).

In two steps, with the decision between them: ``prepare`` verifies everything that is presented and says who asks for
what; ``issue`` is done within the commit of the decision that allows it.
"""

from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

import msgspec

from everproof.identity.access_tokens import MAX_LIFETIME, AccessToken, AccessTokens, Binding, Grant, subject
from everproof.identity.certificates import Certified, ClientCertificates, Presented
from everproof.identity.client_assertion import ASSERTION_TYPE, ClientAssertion, ClientAssertions
from everproof.identity.credentials import Credentials, certificate_credential
from everproof.identity.dpop import Dpop, DpopError
from everproof.identity.external import ExternalToken, ExternalTokens
from everproof.identity.jose import JoseError
from everproof.identity.narrowing import common, narrowed, within_stage
from everproof.identity.oauth import (
    InvalidClientError,
    InvalidRequestError,
    InvalidTargetError,
    UnsupportedGrantError,
)
from everproof.identity.records import MAIN, Credential
from everproof.identity.replay_store import bind_first_use, spend
from everproof.identity.token_request import TokenRequest
from everproof.identity.x509 import CertificateError
from everproof.kernel.clock import HighWaterClock
from everproof.kernel.errors import RefusedError
from everproof.kernel.ids import new_id
from everproof.kernel.words import NOTHING, Action, Attributes, Proof, Ref, Resource
from everproof.storage import Transaction

EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
CLIENT_CREDENTIALS: Final = "client_credentials"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name, not a secret
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
ID_TOKEN: Final = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - the same

ACTION: Final = Action("token:exchange")


Source: TypeAlias = ExternalToken | ClientAssertion | Certified | AccessToken
"""What can be presented for a token."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What may be issued if policy allows ``proof`` to do ``action`` to ``resource``. Made by ``prepare`` alone.

    ``source`` is what was presented: it is bound or spent in the commit. ``latest``: no token outlives it.
    """

    proof: Proof
    action: Action = ACTION
    resource: Resource
    context: Attributes
    source: Source | None
    bound_by: Binding = "jkt"
    client: str
    audience: str
    lifetime: timedelta
    latest: datetime | None
    scope: tuple[str, ...]
    space: str
    actor: Attributes = NOTHING
    may_act: str | None = None
    recorded: bool = False
    plain_jwt: bool = False


class TokenReply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the token endpoint answers (RFC 6749, section 5.1; RFC 8693, section 2.2.1). Times are in seconds."""

    access_token: str
    token_type: Literal["DPoP", "Bearer", "N_A"]
    expires_in: int
    issued_token_type: str = ""
    scope: str = ""
    credential: str = ""

    def __repr__(self) -> str:
        return f"TokenReply({self.credential})"


class Exchange:
    """The token service, without its door."""

    def __init__(
        self,
        *,
        clock: HighWaterClock,
        tokens: AccessTokens,
        external: ExternalTokens,
        assertions: ClientAssertions,
        certificates: ClientCertificates,
        dpop: Dpop,
        credentials: Credentials,
        token_endpoint: str,
    ) -> None:
        self._clock = clock
        self._tokens = tokens
        self._external = external
        self._assertions = assertions
        self._certificates = certificates
        self._dpop = dpop
        self._credentials = credentials
        self._endpoint = token_endpoint

    async def prepare(self, request: TokenRequest, *, dpop: str | None, shown: Presented | None = None) -> Plan:
        """Verify all that ``request`` presents; ``dpop`` is the proof of the key that the token will belong to.

        Without it, the token will belong to ``shown``, the certificate that the client came with (RFC 8705).

        Raises:
            OAuthError: the request cannot be answered.
            DpopError: no key was shown.
            OutboundError: an issuer's keys cannot be had.
            ClockBehindError: nothing is issued now.
        """
        self._clock.issuing_time()
        if request.grant_type == CLIENT_CREDENTIALS:
            return self._for_client(request, dpop, shown)
        if request.grant_type != EXCHANGE:
            raise UnsupportedGrantError("there is no such grant here", place="grant_type", todo=f"use {EXCHANGE}")
        if request.client_assertion is not None:
            raise InvalidRequestError("an exchange is proven by its tokens alone", place="client_assertion")
        if not request.subject_token:
            raise InvalidRequestError("there is no token to exchange", place="subject_token")
        if request.subject_token_type in {JWT, ID_TOKEN}:
            if request.actor_token is not None:
                raise InvalidRequestError("only our own tokens are delegated", place="actor_token")
            return await self._for_external(request, dpop, shown)
        if request.subject_token_type == ACCESS_TOKEN:
            return self._for_own(request, dpop, shown)
        todo = f"use {JWT} or {ACCESS_TOKEN}"
        raise InvalidRequestError("a kind of token that is not exchanged", place="subject_token_type", todo=todo)

    def plan(
        self,
        request: TokenRequest,
        proof: Proof,
        *,
        source: Source | None,
        bound_by: Binding = "jkt",
        client: str,
        latest: datetime | None = None,
        within: tuple[str, ...] = (),
        space: str = MAIN,
        actor: Attributes = NOTHING,
        recorded: bool = False,
    ) -> Plan:
        """What ``proof`` asks for. ``within`` is the scope that it must not leave, if there is any.

        Raises:
            OAuthError: wider than what it comes from, or not something that is issued.
        """
        scope = narrowed(request.scope, within)
        audience = request.target or self._tokens.issuer
        plain_jwt = _is_plain(request.requested_token_type)
        if plain_jwt and audience == self._tokens.issuer:
            raise InvalidTargetError("tokens for this server are bound to a key", place="requested_token_type")
        lifetime = min(request.lifetime, MAX_LIFETIME)
        return Plan(
            proof=proof,
            resource=Resource(
                ref=Ref("Audience", audience),
                attributes={"own": audience == self._tokens.issuer},
                parents=(Ref("Space", space),),
            ),
            context={"scope": list(scope), "lifetime": int(lifetime.total_seconds()), "key_bound": not plain_jwt},
            source=source,
            bound_by=bound_by,
            client=client,
            audience=audience,
            lifetime=lifetime,
            latest=latest,
            scope=scope,
            space=space,
            actor=actor,
            may_act=request.may_act,
            recorded=recorded,
            plain_jwt=plain_jwt,
        )

    def issue(self, tx: Transaction, plan: Plan) -> TokenReply:
        """Bind or spend what was presented, put the credential on record, and sign its token.

        Raises:
            ReplayedError: what was presented is another's, or was used. Nothing was written.
            RefusedError: what it comes from was revoked or is over. Nothing was written.
        """
        expires = tx.now + plan.lifetime
        if plan.latest is not None:
            expires = min(expires, plan.latest)
        if expires <= tx.now:
            raise RefusedError(
                "what was presented has expired meanwhile", todo="send the request again with a new token"
            )
        proof, key = plan.proof, None if plan.plain_jwt else plan.proof.key
        issued = self._credentials.issue(
            tx,
            Credential(
                id=new_id("cred"), parent=self._parent(tx, plan), kind="access-token", principal=proof.principal.ref,
                key=key, issued=tx.now, expires=expires, audience=plan.audience, scope=plan.scope,
            ),
        )  # fmt: skip
        grant = Grant(
            credential=issued.id, principal=proof.principal, client=plan.client, audience=plan.audience, key=key,
            bound_by=plan.bound_by, proven=proof.at, issued=tx.now, expires=issued.expires, scope=plan.scope,
            space=plan.space, actor=plan.actor, may_act=plan.may_act, recorded=plan.recorded,
            stage=proof.claims.get("stage", ""), session=proof.claims.get("session", ""),
        )  # fmt: skip
        return TokenReply(
            access_token=self._tokens.mint(grant, plain_jwt=plan.plain_jwt),
            token_type="N_A" if plan.plain_jwt else "DPoP" if plan.bound_by == "jkt" else "Bearer",
            expires_in=int((issued.expires - tx.now).total_seconds()),
            issued_token_type=JWT if plan.plain_jwt else ACCESS_TOKEN,
            scope=" ".join(plan.scope),
            credential=issued.id,
        )

    def _parent(self, tx: Transaction, plan: Plan) -> str | None:
        """The credential that the new one descends from; the replay of what was presented is decided here."""
        source, proof = plan.source, plan.proof
        if isinstance(source, ExternalToken):
            return self._root(tx, source.id, self._credential(plan, new_id("cred"), source.expires, _summary(source)))
        if isinstance(source, Certified):
            credential = certificate_credential(source.name)
            root = self._credential(plan, credential, source.expires, source.proof.claims)
            return self._root(tx, source.mark, msgspec.structs.replace(root, key=source.name))
        if isinstance(source, ClientAssertion):
            spend(tx, source.id, source.expires)
        if proof.credential is not None and not self._credentials.is_live(proof.credential):
            raise RefusedError("the credential that this comes from was revoked")
        return proof.credential

    def _credential(self, plan: Plan, id_: str, expires: datetime, source: Attributes) -> Credential:
        proof = plan.proof
        assert proof.key is not None
        return Credential(
            id=id_, parent=None, kind=proof.kind, principal=proof.principal.ref, key=proof.key, issued=proof.at,
            expires=expires, audience=self._tokens.issuer, scope=(), source=source, proven=proof.principal,
        )  # fmt: skip

    def _root(self, tx: Transaction, mark: bytes, root: Credential) -> str:
        """The credential that what was presented is: ``root`` at its first use, and the same from then on."""
        assert root.key is not None
        use = bind_first_use(tx, mark, root.key, root.expires, root.id)
        if use.new:
            self._credentials.issue(tx, root)
        elif not use.recent and not self._credentials.is_live(use.credential):
            raise RefusedError("what this token stands for was revoked")
        return use.credential

    async def _for_external(self, request: TokenRequest, dpop: str | None, shown: Presented | None) -> Plan:
        assert request.subject_token is not None
        try:
            token = await self._external.verify(request.subject_token)
        except JoseError as error:
            raise _bad_token(error, "subject_token") from error
        key, bound_by = self._key(dpop, shown)
        proof = msgspec.structs.replace(token.proof, key=key)
        client = subject(proof.principal.ref)
        return self.plan(
            request, proof, source=token, bound_by=bound_by, client=client, latest=token.expires, space=token.space
        )

    def _for_client(self, request: TokenRequest, dpop: str | None, shown: Presented | None) -> Plan:
        if request.client_assertion is None and shown is not None:
            return self._for_holder(request, dpop, shown)
        if request.client_assertion_type != ASSERTION_TYPE or not request.client_assertion:
            todo = f"send a client_assertion of type {ASSERTION_TYPE}"
            raise InvalidClientError(
                "clients prove themselves with a signed assertion", place="client_assertion", todo=todo
            )
        assertion = self._assertions.verify(request.client_assertion, client_id=request.client_id)
        key, bound_by = self._key(dpop, shown)
        proof = msgspec.structs.replace(assertion.proof, key=key)
        return self.plan(request, proof, source=assertion, bound_by=bound_by, client=assertion.client, recorded=True)

    def _for_holder(self, request: TokenRequest, dpop: str | None, shown: Presented) -> Plan:
        """A client that the certificate of its connection proves (RFC 8705, section 2.1)."""
        try:
            certified = self._certificates.certify(shown)
        except CertificateError as error:
            raise InvalidClientError(error.message, place=error.place, todo=error.todo) from error
        client = subject(certified.proof.principal.ref)
        if request.client_id not in {None, client}:
            raise InvalidClientError(f"the certificate is that of {client}", place="client_id")
        key, bound_by = self._key(dpop, shown)
        proof = msgspec.structs.replace(certified.proof, key=key)
        return self.plan(
            request, proof, source=certified, bound_by=bound_by, client=client, latest=certified.expires,
            space=certified.space,
        )  # fmt: skip

    def _for_own(self, request: TokenRequest, dpop: str | None, shown: Presented | None) -> Plan:
        assert request.subject_token is not None
        token = self._own(request.subject_token, "subject_token")
        proof, key, bound_by, actor = token.proof, token.key, token.bound_by, token.actor
        latest, within = token.expires, token.scope
        if request.actor_token is not None:
            if request.actor_token_type != ACCESS_TOKEN:
                raise InvalidRequestError("an actor shows an access token", place="actor_token_type")
            acting = self._own(request.actor_token, "actor_token")
            name = subject(acting.proof.principal.ref)
            if token.may_act != name:
                raise InvalidRequestError(
                    f"the token does not let {name} act for its subject", place="subject_token.may_act"
                )
            key, bound_by, latest = acting.key, acting.bound_by, min(latest, acting.expires)
            within = common(within, acting.scope)
            actor = {"sub": name, "credential": acting.credential, **({"act": actor} if actor else {})}
            said = within_stage(proof.claims, acting.proof.claims)
            # Whoever acts for a person has not shown that person's factors, and is not in the session.
            said = {name: value for name, value in said.items() if name != "session"}
            proof = msgspec.structs.replace(proof, key=key, vouched_by=acting.proof.principal.ref, claims=said)
        if key is None:
            raise InvalidRequestError("the token is bound to no key", place="subject_token")
        # Its scope bounds what comes out (``within``), and does not have to name the exchange itself.
        claims = {name: value for name, value in proof.claims.items() if name != "scope"}
        proof = msgspec.structs.replace(proof, claims={**claims, "narrowed_from": list(token.scope)})
        if bound_by == "jkt":
            self._key(dpop, None, key)
        else:
            self._require_certificate(dpop, shown, key)
        return self.plan(
            request, proof, source=token, bound_by=bound_by, client=token.client, latest=latest, within=within,
            space=token.space, actor=actor, recorded=token.recorded,
        )  # fmt: skip

    def _own(self, token: str, place: str) -> AccessToken:
        try:
            return self._tokens.verify(token)
        except JoseError as error:
            raise _bad_token(error, place) from error

    def _key(self, dpop: str | None, shown: Presented | None, key: str | None = None) -> tuple[str, Binding]:
        """Last of all checks: a proof is used up by being verified, and only good tokens may use memory for it."""
        if dpop is not None:
            return self._dpop.verify(dpop, method="POST", url=self._endpoint, key=key), "jkt"
        if shown is None:
            raise DpopError("no key was shown", todo="send a DPoP proof: every token is bound to a key")
        self._certificates.certify(shown)
        return shown.name, "x5t#S256"

    def _require_certificate(self, dpop: str | None, shown: Presented | None, name: str) -> None:
        """A token that is bound to a certificate begets only such that are bound to the same."""
        if shown is None or shown.name != name:
            raise InvalidRequestError("the token is bound to another certificate than was shown", place="subject_token")
        if dpop is not None:
            raise InvalidRequestError("the token is bound to a certificate, and stays so", place="header dpop")
        self._certificates.certify(shown)


def in_session(plan: Plan, session: str) -> Plan:
    """``plan`` for somebody who has just begun a session: what is issued descends from it, and names it."""
    claims = {**plan.proof.claims, "session": session}
    return msgspec.structs.replace(plan, proof=msgspec.structs.replace(plan.proof, credential=session, claims=claims))


def _summary(token: ExternalToken) -> Attributes:
    """What lineage tells of a token that is not ours: whose word it was, about whom, and which token, by its hash."""
    subject_ = token.proof.claims["token"].get("sub", "")
    return {"issuer": token.issuer, "subject": subject_, "token": token.id.hex()}


def _bad_token(error: JoseError, place: str) -> InvalidRequestError:
    return InvalidRequestError(
        error.message, place=f"{place}: {error.place}" if error.place else place, todo=error.todo
    )


def _is_plain(requested: str | None) -> bool:
    if requested not in {None, ACCESS_TOKEN, JWT}:
        raise InvalidRequestError("a kind of token that is not issued", place="requested_token_type")
    return requested == JWT
