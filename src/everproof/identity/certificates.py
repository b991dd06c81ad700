"""Who holds a client's certificate: judged once, and then asked at each request whether it still holds.

A certificate that names a workload is an SVID: the bundle of its own trust domain must vouch for it, whoever else does.
Any other is a certificate of an organisation's authority. Either makes a principal by a trust binding.
"""

import hashlib
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import Store

from everproof.identity.bindings import NOBODY, TrustBindings, TrustedIssuer
from everproof.identity.certificate_trust import claims_of_holder, claims_of_svid
from everproof.identity.credentials import certificate_credential
from everproof.identity.jose import JoseError
from everproof.identity.spiffe import claims_spiffe, svid
from everproof.identity.spiffe_bundles import SpiffeBundles
from everproof.identity.x509 import (
    MAX_INTERMEDIATES,
    CertificateError,
    Path,
    fingerprint,
    read_certificate,
    verify_path,
)
from everproof.kernel.clock import Clock
from everproof.kernel.words import Principal, Proof, Ref

SVID: Final = "x509-svid"
CERTIFICATE: Final = "x509-certificate"
FORWARDED: Final = "forwarded-certificate"
"""The kinds of these proofs; the last one's possession was shown to a proxy, which says so."""

MAX_KNOWN: Final = 10_000
"""Certificates that are remembered, about 4 kB each."""


class Liveness(Protocol):
    """Knows what was revoked and who is contained, in memory."""

    @property
    def held(self) -> Container[Ref]:
        """Principals that are contained."""
        ...

    def is_live(self, credential: str) -> bool:
        """Whether a credential was not revoked."""
        ...

    def is_key_live(self, name: str) -> bool:
        """Whether a key, or a certificate, was never revoked."""
        ...


class Presented(msgspec.Struct, frozen=True):
    """A certificate whose key was shown at ``at``: its chain in DER, leaf first, and its name (``x5t#S256``)."""

    chain: tuple[bytes, ...]
    name: str
    at: datetime
    by: Ref | None = None
    """The proxy to whom it was shown; None: it was shown to us."""


class Certified(msgspec.Struct, frozen=True):
    """Whom a certificate proves, until when, and in which space."""

    name: str
    proof: Proof
    space: str
    expires: datetime

    @property
    def mark(self) -> bytes:
        """Under what its first use for a token is kept."""
        return hashlib.sha256(b"certificate\0" + self.name.encode()).digest()


def presented(chain: Sequence[bytes], at: datetime, *, by: Ref | None = None) -> Presented:
    """``chain`` as it was presented, leaf first."""
    return Presented(tuple(chain), fingerprint(chain[0]), at, by)


class ClientCertificates:
    """Says whom certificates prove, by the authorities and bindings that rule now."""

    def __init__(self, bundles: SpiffeBundles, clock: Clock, live: Liveness) -> None:
        self._bundles = bundles
        self._clock = clock
        self._live = live
        self._bindings: TrustBindings = NOBODY
        self._stores: dict[str, Store] = {}
        self._known: dict[str, Certified] = {}
        self._principals: dict[Ref, Principal] = {}
        self._anchors: tuple[bytes, ...] = ()
        self._changed: list[Callable[[], None]] = []
        bundles.on_change(self._judge_anew)

    @property
    def anchors(self) -> tuple[bytes, ...]:
        """Every authority that is trusted for somebody, in DER: what a handshake goes by."""
        return self._anchors

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` now, and whenever ``anchors`` may have changed."""
        self._changed.append(changed)
        changed()

    def trust(self, bindings: TrustBindings) -> None:
        """Go by ``bindings`` from now on."""
        self._bindings = bindings
        self._bundles.trust({name: one.source for name, one in bindings.domains.items()})

    def certify(self, shown: Presented) -> Certified:
        """Whom the certificate proves.

        Raises:
            CertificateError: nobody, or nobody any more; why.
        """
        known = self._known.get(shown.name)
        if known is None:
            known = self._judge(shown)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
                self._principals.clear()
            self._known[shown.name] = known
            self._principals[known.proof.principal.ref] = known.proof.principal
        if self._clock.now() > known.expires:
            del self._known[shown.name]
            raise CertificateError("the certificate has expired", place="certificate", todo="get a new one")
        if not (self._live.is_key_live(shown.name) and self._live.is_live(certificate_credential(shown.name))):
            raise CertificateError("the certificate was revoked here", place="certificate")
        kind = known.proof.kind if shown.by is None else FORWARDED
        proof = msgspec.structs.replace(known.proof, kind=kind, at=shown.at, vouched_by=shown.by)
        return msgspec.structs.replace(known, proof=proof)

    def principal(self, ref: Ref) -> Principal | None:
        """The principal that a certificate proved lately: of a proxy that vouches, policy may ask who that is."""
        return self._principals.get(ref)

    def is_held(self, ref: Ref) -> bool:
        """Whether a principal is contained: then it vouches for nobody either."""
        return ref in self._live.held

    def forwarded(self, chain: Sequence[bytes], *, by: Ref) -> Presented:
        """A chain that a proxy says was presented to it, just now."""
        return presented(chain, self._clock.now(), by=by)

    def _judge_anew(self) -> None:
        """Trust has changed: nothing that was judged before counts."""
        authorities: dict[str, Sequence[x509.Certificate]] = {
            one.issuer.url: one.authorities for one in self._bindings.authorities
        }
        for name, domain in self._bindings.domains.items():
            bundle = self._bundles.current(name)
            if bundle is not None and bundle.authorities:
                authorities[domain.issuer.url] = bundle.authorities
        self._stores = {url: Store(list(found)) for url, found in authorities.items()}
        ders = (one.public_bytes(Encoding.DER) for found in authorities.values() for one in found)
        self._anchors = tuple(dict.fromkeys(ders))
        self._known.clear()
        self._principals.clear()
        for changed in self._changed:
            changed()

    def _judge(self, shown: Presented) -> Certified:
        if len(shown.chain) > 1 + MAX_INTERMEDIATES:
            raise CertificateError(f"the chain has more than {MAX_INTERMEDIATES} intermediates", place="certificate")
        leaf, *intermediates = (read_certificate(der) for der in shown.chain)
        if claims_spiffe(leaf):
            kind, path, issuer, claims = SVID, *self._workload(leaf, intermediates)
        else:
            kind, path, issuer, claims = CERTIFICATE, *self._holder(leaf, intermediates)
        try:
            binding = issuer.bind(claims)
            principal = binding.principal(claims, issuer.kind.attributes(claims))
        except JoseError as error:
            raise CertificateError(
                error.message.replace("this token", "this certificate"), place=error.place, todo=error.todo
            ) from error
        told = {**claims, "serial": f"{leaf.serial_number:x}", "until": f"{path.expires:%Y-%m-%dT%H:%M:%SZ}"}
        proof = Proof(
            kind=kind, principal=principal, at=shown.at, credential=certificate_credential(shown.name), key=shown.name,
            expires=path.expires, claims={"binding": binding.name, "certificate": told},
        )  # fmt: skip
        return Certified(shown.name, proof, binding.space, path.expires)

    def _workload(
        self, leaf: x509.Certificate, intermediates: Sequence[x509.Certificate]
    ) -> tuple[Path, TrustedIssuer, Mapping[str, Any]]:
        name = svid(leaf)
        domain = self._bindings.domains.get(name.trust_domain)
        store = None if domain is None else self._stores.get(domain.issuer.url)
        if domain is None or store is None:
            todo = "add a [spiffe] file for it to .everproof/trust/" if domain is None else "look at its bundle"
            raise CertificateError(
                f"the trust domain {name.trust_domain} is not trusted here", place="certificate", todo=todo
            )
        return verify_path(leaf, intermediates, store, self._clock.now()), domain.issuer, claims_of_svid(name)

    def _holder(
        self, leaf: x509.Certificate, intermediates: Sequence[x509.Certificate]
    ) -> tuple[Path, TrustedIssuer, Mapping[str, Any]]:
        reason = CertificateError(
            "no authority is trusted here for such a certificate", place="certificate",
            todo="add an [x509] file for it to .everproof/trust/",
        )  # fmt: skip
        for authority in self._bindings.authorities:
            try:
                path = verify_path(leaf, intermediates, self._stores[authority.issuer.url], self._clock.now())
            except CertificateError as error:
                reason = error
            else:
                return path, authority.issuer, claims_of_holder(leaf, authority.name)
        raise reason
