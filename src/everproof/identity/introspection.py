"""What a token is worth now, for those who were given one (RFC 7662), and which credential to revoke (RFC 7009)."""

from typing import Literal

import msgspec

from everproof.identity.access_tokens import AccessToken, AccessTokens, subject
from everproof.identity.jose import JoseError
from everproof.kernel.words import NOTHING, Attributes


class Introspection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is told of a token. Of one that is not good, that alone: not why, and not whether it ever was."""

    active: bool
    scope: str = ""
    client_id: str = ""
    token_type: Literal["DPoP", "Bearer", ""] = ""
    exp: int = 0
    iat: int = 0
    sub: str = ""
    aud: str = ""
    iss: str = ""
    jti: str = ""
    space: str = ""
    cnf: Attributes = NOTHING
    act: Attributes = NOTHING


INACTIVE = Introspection(active=False)


def find_token(tokens: AccessTokens, token: str) -> AccessToken | None:
    """Our own good token, for whatever audience; None for everything else."""
    try:
        return tokens.inspect(token)
    except JoseError:
        return None


def introspect(tokens: AccessTokens, token: str) -> Introspection:
    """What ``token`` is worth now."""
    found = find_token(tokens, token)
    if found is None:
        return INACTIVE
    return Introspection(
        active=True,
        scope=" ".join(found.scope),
        client_id=found.client,
        token_type="" if not found.key else "DPoP" if found.bound_by == "jkt" else "Bearer",
        exp=int(found.expires.timestamp()),
        iat=int(found.issued.timestamp()),
        sub=subject(found.proof.principal.ref),
        aud=found.audience,
        iss=tokens.issuer,
        jti=found.credential,
        space=found.space,
        cnf={found.bound_by: found.key} if found.key else NOTHING,
        act=found.actor,
    )
