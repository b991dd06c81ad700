"""Access tokens: signed by us, bound to a key, short-lived, each the bearer of one credential (RFC 9068, RFC 9449)."""

import hashlib
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec

from everproof.identity.claims import require_times
from everproof.identity.jose import JoseError, compact, header_segment, read_jws, read_object, verify_signature
from everproof.kernel.clock import Clock
from everproof.kernel.words import NOTHING, Attributes, Principal, Proof, Ref
from everproof.keys import SigningKeys, TokenAlgorithm

DEFAULT_LIFETIME: Final = timedelta(minutes=10)
"""Long enough for a job's step, short enough that what leaks is soon worthless."""
MAX_LIFETIME: Final = timedelta(minutes=60)

RS256_AUDIENCES: Final = frozenset({"api://AzureADTokenExchange", "sts.amazonaws.com"})
"""Relying parties that take no ES256, or did not when they were last asked."""

MAX_CACHED: Final = 20_000
"""Verified tokens that are remembered, about 2 kB each."""

_TYPE: Final = "at+jwt"

Binding: TypeAlias = Literal["jkt", "x5t#S256"]
"""What a token's ``key`` names: a key that DPoP proofs show, or the certificate of the connection (RFC 8705)."""


_JKT: Final[Binding] = "jkt"
_X5T: Final[Binding] = "x5t#S256"


class Liveness(Protocol):
    """Knows which credentials have neither expired nor been revoked, in memory."""

    def is_live(self, credential: str) -> bool:
        """Whether ``credential`` is still good."""
        ...


class Directory(Protocol):
    """Knows the principals on record, in memory."""

    def principal(self, ref: Ref) -> Principal | None:
        """The principal as it is now, or None if it is not on record."""
        ...


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says. ``recorded``: the principal is in the directory, so the token carries its name alone.

    ``stage`` is the one stage of a pipeline that the token is good for, and all that descends from it. ``session``
    is that of the person who got it.
    """

    credential: str
    principal: Principal
    client: str
    audience: str
    key: str | None
    bound_by: Binding = "jkt"
    proven: datetime
    issued: datetime
    expires: datetime
    scope: tuple[str, ...] = ()
    space: str = "main"
    actor: Attributes = NOTHING
    may_act: str | None = None
    recorded: bool = False
    stage: str = ""
    session: str = ""


class AccessToken(msgspec.Struct, frozen=True, kw_only=True):
    """A verified token. ``lineage`` are the credentials it stands and falls with: its own, and those of its actors."""

    proof: Proof
    credential: str
    key: str | None
    bound_by: Binding
    client: str
    audience: str
    issued: datetime
    expires: datetime
    scope: tuple[str, ...]
    space: str
    actor: Attributes
    may_act: str | None
    recorded: bool
    lineage: tuple[str, ...]
    session: str = ""


class _Claims(msgspec.Struct, frozen=True):
    """What we wrote ourselves, read back strictly."""

    iss: str
    sub: str
    aud: str
    jti: str
    iat: int
    exp: int
    auth_time: int
    client_id: str
    space: str
    principal: "_Named"
    scope: str = ""
    cnf: dict[str, str] = {}
    act: dict[str, Any] = {}
    may_act: dict[str, str] = {}
    stage: str = ""
    sid: str = ""


class _Named(msgspec.Struct, frozen=True, omit_defaults=True):
    type: str
    id: str
    attributes: dict[str, Any] | None = None
    parents: tuple[tuple[str, str], ...] = ()


class AccessTokens:
    """Mints and verifies our own tokens."""

    def __init__(
        self,
        signing: SigningKeys,
        clock: Clock,
        *,
        issuer: str,
        live: Liveness,
        directory: Directory,
        sessions: Liveness | None = None,
        rs256_audiences: frozenset[str] = RS256_AUDIENCES,
    ) -> None:
        self._signing = signing
        self._clock = clock
        self.issuer = issuer
        self._live = live
        self._directory = directory
        self._sessions = sessions
        self._rs256 = rs256_audiences
        self._headers: dict[tuple[str, str], str] = {}
        self._cache: dict[bytes, tuple[str, AccessToken]] = {}
        self._read = msgspec.json.Decoder(_Claims).decode

    def mint(self, grant: Grant, *, plain_jwt: bool = False) -> str:
        """A signed token. ``plain_jwt`` is for relying parties that know no access tokens of ours."""
        ref = grant.principal.ref
        named: dict[str, Any] = {"type": ref.type, "id": ref.id}
        if not grant.recorded:
            named["attributes"] = grant.principal.attributes
            named["parents"] = [(parent.type, parent.id) for parent in grant.principal.parents]
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": subject(ref),
            "aud": grant.audience,
            "jti": grant.credential,
            "iat": int(grant.issued.timestamp()),
            "exp": int(grant.expires.timestamp()),
            "auth_time": int(grant.proven.timestamp()),
            "client_id": grant.client,
            "space": grant.space,
            "principal": named,
        }
        if grant.scope:
            claims["scope"] = " ".join(grant.scope)
        if grant.key is not None:
            claims["cnf"] = {grant.bound_by: grant.key}
        if grant.actor:
            claims["act"] = grant.actor
        if grant.may_act is not None:
            claims["may_act"] = {"sub": grant.may_act}
        if grant.stage:
            claims["stage"] = grant.stage
        if grant.session:
            claims["sid"] = grant.session
        algorithm: TokenAlgorithm = "RS256" if grant.audience in self._rs256 else "ES256"
        key = self._signing.current(algorithm)
        return compact(self._header("JWT" if plain_jwt else _TYPE, key.kid, algorithm), claims, algorithm, key.private)

    def verify(self, token: str) -> AccessToken:
        """The token, if it is ours, for this server, alive and not revoked.

        Whoever presents it must still show the key that it is bound to.

        Raises:
            JoseError: it is not.
        """
        found = self.inspect(token)
        if found.audience != self.issuer:
            raise JoseError("the token is for another audience", place="claims.aud")
        return found

    def inspect(self, token: str) -> AccessToken:
        """The token, if it is ours, for whomever, alive and not revoked.

        Raises:
            JoseError: it is not.
        """
        mark = hashlib.sha256(token.encode()).digest()
        kept = self._cache.get(mark)
        if kept is None or self._signing.verification_key(kept[0]) is None:  # a key may be withdrawn at once
            kept = self._verify(token)
            if len(self._cache) >= MAX_CACHED:
                del self._cache[next(iter(self._cache))]
            self._cache[mark] = kept
        kid, found = kept
        if self._clock.now() >= found.expires:
            self._cache.pop(mark, None)
            raise JoseError("the token has expired", todo="get a new one")
        if not all(map(self._live.is_live, found.lineage)):
            raise JoseError("the token was revoked", todo="ask who revoked it before you get a new one")
        if found.session and (self._sessions is None or not self._sessions.is_live(found.session)):
            raise JoseError("the session that the token was made in is over", todo="log in again")
        if found.recorded:
            return self._as_recorded_now(mark, kid, found)
        return found

    def _verify(self, token: str) -> tuple[str, AccessToken]:
        jws = read_jws(token)
        if jws.header.get("typ") != _TYPE:
            raise JoseError("not an access token", place="header.typ")
        algorithm, kid = jws.header["alg"], jws.header.get("kid", "")
        key = self._signing.verification_key(kid)
        if key is None or (algorithm != "ES256" and algorithm != "RS256"):  # noqa: PLR1714 - narrows the type
            raise JoseError("not signed with a key of this server", place="header.kid")
        verify_signature(algorithm, key, jws.signing_input, jws.signature)
        issued, expires = require_times(read_object(jws.payload, "claims"), self._clock.now(), max_age=MAX_LIFETIME)
        try:
            claims = self._read(jws.payload)
        except msgspec.DecodeError as error:
            raise JoseError("not a token of this server", place="claims") from error
        if claims.iss != self.issuer:
            raise JoseError("the token is of another issuer", place="claims.iss")
        return kid, self._token(claims, issued, expires)

    def _token(self, claims: _Claims, issued: datetime, expires: datetime) -> AccessToken:
        named = claims.principal
        principal = Principal(
            ref=Ref(named.type, named.id),
            attributes=named.attributes or NOTHING,
            parents=tuple(Ref(*parent) for parent in named.parents),
        )
        scope = tuple(claims.scope.split())
        if len(claims.cnf) > 1:
            raise JoseError("bound in two ways", place="claims.cnf")
        key, bound_by = claims.cnf.get("jkt"), _JKT
        if key is None:
            key, bound_by = claims.cnf.get("x5t#S256"), _X5T
        said = {
            "client": claims.client_id, "scope": list(scope), "act": claims.act, "space": claims.space,
            "stage": claims.stage, "session": claims.sid,
        }  # fmt: skip
        return AccessToken(
            proof=Proof(
                kind="access-token",
                principal=principal,
                at=datetime.fromtimestamp(claims.auth_time, issued.tzinfo),
                credential=claims.jti,
                key=key,
                expires=expires,
                claims={name: value for name, value in said.items() if value},
            ),
            credential=claims.jti,
            key=key,
            bound_by=bound_by,
            client=claims.client_id,
            audience=claims.aud,
            issued=issued,
            expires=expires,
            scope=scope,
            space=claims.space,
            actor=claims.act,
            may_act=claims.may_act.get("sub"),
            recorded=named.attributes is None,
            lineage=(claims.jti, *_actors(claims.act)),
            session=claims.sid,
        )

    def _as_recorded_now(self, mark: bytes, kid: str, token: AccessToken) -> AccessToken:
        """The token with its principal as the directory has it now: who left a group left it in old tokens too."""
        now = self._directory.principal(token.proof.principal.ref)
        if now is None:
            raise JoseError("its principal is no more", todo="enrol again")
        if now is token.proof.principal:
            return token
        proof = msgspec.structs.replace(token.proof, principal=now)
        fresh = msgspec.structs.replace(token, proof=proof)
        self._cache[mark] = kid, fresh
        return fresh

    def _header(self, type_: str, kid: str, algorithm: str) -> str:
        header = self._headers.get((type_, kid))
        if header is None:
            header = header_segment({"alg": algorithm, "typ": type_, "kid": kid})
            self._headers[type_, kid] = header
        return header


def _actors(act: Attributes) -> list[str]:
    found = []
    while act:
        found.append(str(act.get("credential")))
        act = act.get("act", NOTHING)
    return found


def subject(ref: Ref) -> str:
    """How a principal is named in ``sub``: the type stands in it, since a user and a service may share a name."""
    return f"{ref.type.lower()}:{ref.id}"
