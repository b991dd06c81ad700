import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc import jwt
from joserfc.jwk import KeySet

from everproof.identity import jose
from everproof.identity.access_tokens import AccessToken, Grant
from everproof.identity.introspection import INACTIVE, introspect
from everproof.identity.jose import JoseError
from everproof.kernel.canonical import b64url
from everproof.kernel.words import Principal, Ref
from everproof.keys import SigningKeys
from tests.identity.tokens import ISSUER, TokenService, claims_of


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One database: nothing here depends on which."""
    return f"sqlite:///{tmp_path / 'everproof.db'}"


@pytest.fixture
def signing(service: TokenService) -> SigningKeys:
    return service.tokens._signing


def grant(service: TokenService, **changes: Any) -> Grant:
    """What an honest token says."""
    now = service.storage.clock.now()
    made = Grant(
        credential="cred_1", principal=Principal(ref=Ref("Job", "a/1"), attributes={"ref": "main"}), client="job:a/1",
        audience=ISSUER, key="thumb", proven=now, issued=now, expires=now + timedelta(minutes=10),
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def resigned(service: TokenService, signing: SigningKeys, header: dict[str, Any], **claims: Any) -> str:
    """An honest token with other claims, signed with our own key."""
    honest = claims_of(service.tokens.mint(grant(service)))
    key = signing.current("ES256")
    full = {"alg": "ES256", "typ": "at+jwt", "kid": key.kid, **header}
    changed = {name: value for name, value in {**honest, **claims}.items() if value is not None}
    return jose.compact(jose.header_segment(full), changed, "ES256", key.private)


def test_a_token_says_what_it_was_granted(service: TokenService) -> None:
    made = grant(service, scope=("git:fetch",), space="payments", may_act="service:x")
    token = service.tokens.verify(service.tokens.mint(made))
    assert token.proof.principal == made.principal
    assert token.proof.credential == "cred_1"
    assert token.proof.at == made.proven
    assert (token.key, token.scope, token.space, token.may_act) == ("thumb", ("git:fetch",), "payments", "service:x")


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_a_stranger_verifies_a_token_with_our_published_keys(
    service: TokenService, signing: SigningKeys, algorithm: str
) -> None:
    """RFC 9068: with another library and nothing but the key set."""
    audience = "sts.amazonaws.com" if algorithm == "RS256" else "https://elsewhere.example"
    text = service.tokens.mint(grant(service, audience=audience))
    keys = KeySet.import_key_set(json.loads(json.dumps(signing.public_jwks())))
    token = jwt.decode(text, keys, algorithms=[algorithm])
    assert token.header["typ"] == "at+jwt"
    assert {"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} <= token.claims.keys()
    assert token.claims["aud"] == audience
    assert token.claims["cnf"] == {"jkt": "thumb"}


def test_a_token_is_verified_once_and_judged_each_time(service: TokenService, monkeypatch: pytest.MonkeyPatch) -> None:
    text = service.tokens.mint(grant(service))
    first = service.tokens.verify(text)
    monkeypatch.setattr("everproof.identity.access_tokens.verify_signature", lambda *_: pytest.fail("verified again"))
    assert service.tokens.verify(text) is first
    service.clock.advance(timedelta(minutes=10))
    with pytest.raises(JoseError, match="expired"):
        service.tokens.verify(text)


async def test_a_revoked_token_is_refused_at_once(service: TokenService, job_token: str) -> None:
    reply = await service.for_job(service.caller(), job_token)
    service.tokens.verify(reply.access_token)
    await service.revoke(service.issued(reply.credential).parent)
    with pytest.raises(JoseError, match="revoked"):
        service.tokens.verify(reply.access_token)
    assert introspect(service.tokens, reply.access_token) == INACTIVE


async def test_a_key_that_was_withdrawn_takes_its_tokens_along(service: TokenService, signing: SigningKeys) -> None:
    kept, lost = (service.tokens.mint(grant(service)) for _ in range(2))
    service.tokens.verify(kept)
    await service.storage.write(lambda tx: signing.rotate(tx, "ES256"))
    service.tokens.verify(kept)
    service.tokens.verify(lost)
    text = service.tokens.mint(grant(service))
    service.tokens.verify(text)
    await service.storage.write(lambda tx: signing.rotate(tx, "ES256", overlap=False))
    with pytest.raises(JoseError, match="not signed with a key of this server"):
        service.tokens.verify(text)


def test_who_left_a_group_left_it_in_old_tokens_too(service: TokenService) -> None:
    caller = service.caller()
    principal = service.records.enrol(caller, "billing")
    text = service.tokens.mint(grant(service, principal=principal, recorded=True))
    assert service.tokens.verify(text).proof.principal is principal
    now = Principal(ref=principal.ref, parents=())
    service.records.principals[principal.ref] = now
    assert service.tokens.verify(text).proof.principal is now
    assert service.tokens.verify(text).proof.principal is now
    del service.records.principals[principal.ref]
    with pytest.raises(JoseError, match="no more"):
        service.tokens.verify(text)


def test_a_forged_token_is_refused(service: TokenService, signing: SigningKeys) -> None:
    service.tokens.verify(resigned(service, signing, {}))
    mallory = ec.generate_private_key(ec.SECP256R1())
    honest = service.tokens.mint(grant(service))
    header, payload, signature = honest.split(".")
    forged = f"{header}.{payload}"
    bad = [
        f"{forged}.{jose.sign('ES256', mallory, forged.encode())}",
        f"{header}.{b64url(json.dumps({**claims_of(honest), 'sub': 'user:root'}).encode())}.{signature}",
        f"{forged}.{b64url(bytes(64))}",
        f"{forged}.",
        "",
    ]
    for text in bad:
        with pytest.raises(JoseError):
            service.tokens.verify(text)


@pytest.mark.parametrize(
    ("header", "claims", "match"),
    [
        ({"typ": "JWT"}, {}, "not an access token"),
        ({"typ": None}, {}, "must be a string"),
        ({"alg": "RS256"}, {}, "algorithm"),
        ({"alg": "EdDSA"}, {}, "key of this server"),
        ({"kid": "unknown"}, {}, "key of this server"),
        ({}, {"iss": "https://other.example"}, "another issuer"),
        ({}, {"aud": "https://other.example"}, "another audience"),
        ({}, {"aud": [ISSUER]}, "not a token of this server"),
        ({}, {"principal": None}, "not a token of this server"),
        ({}, {"jti": 7}, "not a token of this server"),
        ({}, {"exp": None}, "claims.exp"),
        ({}, {"exp": 1}, "expired"),
    ],
)
def test_what_our_own_key_signed_for_another_purpose_is_refused(
    service: TokenService, signing: SigningKeys, header: dict[str, Any], claims: dict[str, Any], match: str
) -> None:
    with pytest.raises(JoseError, match=match):
        service.tokens.verify(resigned(service, signing, header, **claims))


def test_the_memory_of_tokens_is_bounded(service: TokenService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("everproof.identity.access_tokens.MAX_CACHED", 3)
    for number in range(9):
        service.tokens.verify(service.tokens.mint(grant(service, credential=f"cred_{number}")))
    assert len(service.tokens._cache) == 3


def test_introspection_tells_what_a_good_token_is_worth(service: TokenService) -> None:
    told = introspect(service.tokens, service.tokens.mint(grant(service, audience="git", scope=("git:fetch",))))
    assert told.active
    assert (told.aud, told.sub, told.scope, told.jti) == ("git", "job:a/1", "git:fetch", "cred_1")
    assert told.cnf == {"jkt": "thumb"}


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é", "A" * 20_000])
def test_introspection_tells_nothing_of_what_is_not_ours(service: TokenService, token: str) -> None:
    assert introspect(service.tokens, token) == INACTIVE
    assert msgspec.to_builtins(INACTIVE) == {"active": False}


def test_rs256_is_for_audiences_that_need_it(service: TokenService, signing: SigningKeys) -> None:
    text = service.tokens.mint(grant(service, audience="api://AzureADTokenExchange"))
    assert jose.read_jws(text).header["alg"] == "RS256"
    assert isinstance(signing.current("RS256").private, rsa.RSAPrivateKey)
    token: AccessToken = service.tokens.inspect(text)
    assert token.audience == "api://AzureADTokenExchange"
