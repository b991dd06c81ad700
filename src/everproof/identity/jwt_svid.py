"""JWT-SVIDs: tokens in which a trust domain names a workload (SPIFFE JWT-SVID, sections 2 to 4).

They are bearer tokens until their first use here binds them to the caller's key, as a job's token is. The standard lets
``iat`` be absent; without it nobody can tell how old a token is, so it must be there.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from everproof.identity.bindings import TrustDomain
from everproof.identity.certificate_trust import claims_of_svid
from everproof.identity.claims import plain, require_times
from everproof.identity.jose import JoseError, Jws, verify_signature
from everproof.identity.spiffe import SCHEME, SpiffeBundle, SpiffeId, spiffe_id
from everproof.kernel.errors import InputError
from everproof.kernel.words import Proof

KIND: Final = "jwt-svid"
TYPES: Final = frozenset({None, "JWT", "JOSE"})
ALGORITHMS: Final = frozenset({"RS256", "ES256"})
"""Of those that the standard allows, the ones that are verified here."""
MAX_AGE: Final = timedelta(hours=1)


def workload_of(claims: Mapping[str, Any]) -> SpiffeId | None:
    """The workload that a token's ``sub`` names; None where it names something else.

    Raises:
        JoseError: it begins like a workload's name, and is none.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject.startswith(SCHEME):
        return None
    try:
        name = spiffe_id(subject)
    except InputError as error:
        raise JoseError(error.message, place="claims.sub") from error
    if not name.path:
        raise JoseError("the name of a trust domain is no workload's", place="claims.sub")
    return name


def verify_jwt_svid(
    jws: Jws,
    claims: Mapping[str, Any],
    name: SpiffeId,
    domain: TrustDomain,
    *,
    bundle: SpiffeBundle | None,
    now: datetime,
) -> tuple[Proof, bytes, str]:
    """The proof that the token makes, the id under which its first use is kept, and its space.

    Raises:
        JoseError: it does not hold, or no binding fits it.
    """
    algorithm, kid = jws.header["alg"], jws.header.get("kid")
    if jws.header.get("typ") not in TYPES or algorithm not in ALGORITHMS:
        raise JoseError("not a JWT-SVID, or signed in a way that is not verified here", place="header")
    if domain.source.audience is None:
        raise JoseError(
            f"JWT-SVIDs of {name.trust_domain} are not taken here", place="claims.sub",
            todo="name their audience in its file in .everproof/trust/",
        )  # fmt: skip
    key = None if bundle is None or kid is None else bundle.keys.find(kid, algorithm)
    if key is None:
        raise JoseError(f"the bundle of {name.trust_domain} has no such key", place="header.kid")
    verify_signature(key.algorithm, key.public, jws.signing_input, jws.signature)
    issued, expires = require_times(claims, now, max_age=MAX_AGE)
    if claims.get("aud") not in (domain.source.audience, [domain.source.audience]):
        todo = f"fetch one for {domain.source.audience} and nobody else"
        raise JoseError("a token for another audience, or for several", place="claims.aud", todo=todo)
    asked = claims_of_svid(name)
    binding = domain.issuer.bind(asked)
    proof = Proof(
        kind=KIND, principal=binding.principal(asked, domain.issuer.kind.attributes(asked)),
        at=min(issued, now), expires=expires, claims={"binding": binding.name, "token": plain(dict(claims))},
    )  # fmt: skip
    return proof, hashlib.sha256(b"jwt-svid\0" + jws.signing_input).digest(), binding.space
