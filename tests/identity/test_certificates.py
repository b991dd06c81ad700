"""Whom certificates prove, and whom they do not."""

import random
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.verification import Store

from everproof.identity.bindings import load_bindings
from everproof.identity.certificates import CERTIFICATE, FORWARDED, SVID, ClientCertificates, presented
from everproof.identity.outbound import Outbound
from everproof.identity.spiffe_bundles import SpiffeBundles
from everproof.identity.x509 import CertificateError, read_authorities, read_certificate, verify_path
from everproof.kernel.errors import InputError
from everproof.kernel.settings import Settings
from everproof.kernel.toml import parse_toml
from everproof.kernel.words import Principal, Proof, Ref
from tests.conftest import SettableClock
from tests.identity.trust import KINDS, SHOP, trust_file
from tests.pki import CLIENT, HOUR, SERVER, Authority, Leaf, TrustDomain, spiffe_file, usage, x509_file

BILLING = "spiffe://partner.example/billing"


class Revoked:
    """What was revoked, by name."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.held: set[Ref] = set()

    def is_live(self, credential: str) -> bool:
        return credential not in self.names

    def is_key_live(self, name: str) -> bool:
        return name not in self.names


class Room:
    """Two trust domains and an organisation's own authority, and who is believed because of them."""

    def __init__(self, clock: SettableClock) -> None:
        self.clock = clock
        self.partner = TrustDomain("partner.example")
        self.other = TrustDomain("other.example")
        self.acme = Authority("Acme CA")
        self.revoked = Revoked()
        self.bundles = SpiffeBundles(Outbound(), clock)
        self.certificates = ClientCertificates(self.bundles, clock, self.revoked)
        self.trust()

    def trust(self, **changes: bytes) -> None:
        files = {
            "trust/partner.toml": spiffe_file("partner.example"),
            "trust/partner.json": self.partner.bundle(),
            "trust/other.toml": spiffe_file("other.example"),
            "trust/other.json": self.other.bundle(),
            "trust/acme.toml": x509_file("acme"),
            "trust/acme.pem": self.acme.pem,
        }
        self.certificates.trust(load_bindings({**files, **changes}, KINDS))

    def prove(self, leaf: Leaf) -> Proof:
        return self.certificates.certify(presented(leaf.chain, self.clock.now())).proof

    def refusal(self, leaf: Leaf) -> str:
        with pytest.raises(CertificateError) as caught:
            self.prove(leaf)
        return str(caught.value)


@pytest.fixture
def room(clock: SettableClock) -> Room:
    clock.time = datetime.now(UTC)
    return Room(clock)


def test_an_svid_of_a_foreign_trust_domain_makes_a_principal_by_its_binding(room: Room) -> None:
    leaf = room.partner.svid("billing")
    proof = room.prove(leaf)
    assert (proof.kind, proof.principal) == (
        SVID,
        Principal(
            ref=Ref("Service", "partner/billing"),
            attributes={"issuer": "spiffe://partner.example", "subject": BILLING, "spiffe_id": BILLING},
            parents=(Ref("Group", "builders"), Ref("Space", "main")),
        ),
    )
    assert proof.credential == f"cert_{proof.key}"
    assert room.certificates.principal(proof.principal.ref) is proof.principal
    assert set(room.certificates.anchors) == {room.partner.der, room.other.der, room.acme.der}


def test_an_svid_by_an_intermediate_authority(room: Room) -> None:
    assert room.prove(Authority("Node", parent=room.partner).leaf(BILLING)).principal.ref.id == "partner/billing"


def test_an_organisations_certificate_is_known_by_its_names_and_never_by_its_common_name(room: Room) -> None:
    proof = room.prove(room.acme.leaf(dns=["batch.acme.example"], cn="root"))
    assert (proof.kind, proof.principal.ref) == (CERTIFICATE, Ref("Machine", "acme/batch.acme.example"))
    assert "alternative names" in room.refusal(room.acme.leaf(cn="batch.acme.example"))
    assert "no trust binding" in room.refusal(room.acme.leaf(dns=["other.acme.example"], cn="batch.acme.example"))


def test_a_forwarded_certificate_says_who_forwarded_it(room: Room) -> None:
    shown = room.certificates.forwarded(room.partner.svid("billing").chain, by=Ref("Service", "edge"))
    proof = room.certificates.certify(shown).proof
    assert (proof.kind, proof.vouched_by) == (FORWARDED, Ref("Service", "edge"))


def test_a_trust_domain_vouches_for_nobody_elses_workloads(room: Room) -> None:
    assert "leads to no authority" in room.refusal(room.other.leaf(BILLING))
    assert "leads to no authority" in room.refusal(room.acme.leaf(BILLING))


def test_a_trust_domain_that_is_not_trusted_is_named(room: Room) -> None:
    assert "third.example is not trusted" in room.refusal(TrustDomain("third.example").svid("billing"))


def test_an_organisations_authority_makes_no_workloads_and_a_trust_domain_no_hosts(room: Room) -> None:
    assert "leads to no authority" in room.refusal(room.partner.leaf(dns=["batch.acme.example"]))
    assert "exactly one URI" in room.refusal(room.acme.leaf(BILLING, "https://x.example", dns=["batch.acme.example"]))


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("spiffe://partner.example", "no workload's"),
        ("spiffe://partner.example/", "segments"),
        ("spiffe://partner.example/billing/", "segments"),
        ("spiffe://partner.example//billing", "segments"),
        ("spiffe://partner.example/./billing", "segments"),
        ("spiffe://partner.example/x/../billing", "segments"),
        ("spiffe://partner.example/billing?x=1", "segments"),
        ("spiffe://partner.example/billing#x", "segments"),
        ("spiffe://partner.example/%62illing", "segments"),
        ("spiffe://PARTNER.example/billing", "trust domain"),
        ("SPIFFE://partner.example/billing", "must begin"),
        ("spiffe:/partner.example/billing", "must begin"),
        ("spiffe://user@partner.example/billing", "trust domain"),
        ("spiffe://partner.example:443/billing", "trust domain"),
        ("spiffe:///billing", "trust domain"),
        (f"spiffe://partner.example/{'x' * 2048}", "at most 2048"),
    ],
)
def test_another_spelling_of_a_workloads_name_is_refused(room: Room, uri: str, said: str) -> None:
    assert said in room.refusal(room.partner.leaf(uri))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"purposes": [SERVER]}, "not for proving a client"),
        ({"purposes": []}, "not for proving a client"),
        ({"purposes": [CLIENT, x509.ObjectIdentifier("2.5.29.37.0")]}, "not for proving a client"),
        ({"ca": True}, "an authority's"),
        ({"keys": usage(key_cert_sign=True)}, "for signatures alone"),
        ({"keys": usage(crl_sign=True)}, "for signatures alone"),
        ({"keys": usage(digital_signature=False, key_agreement=True)}, "for signatures alone"),
        ({"life": timedelta(seconds=-30)}, "it expired at"),
        ({"more": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)]}, "no authority"),
        ({"dns": ["*.partner.example"]}, "wildcard"),
        ({"dns": [f"h{number}.example" for number in range(64)]}, "between 1 and 64"),
    ],
)
def test_an_svid_that_is_for_something_else_is_refused(room: Room, changes: dict[str, Any], said: str) -> None:
    assert said in room.refusal(room.partner.svid("billing", **changes))


def test_a_workload_that_nobody_bound_is_told_what_it_is(room: Room) -> None:
    said = room.refusal(room.partner.svid("payroll"))
    assert "no trust binding fits this certificate" in said
    assert "spiffe://partner.example/payroll" in said


def test_an_authority_with_a_name_constraint_is_held_to_it(room: Room) -> None:
    constraints = x509.NameConstraints(permitted_subtrees=[x509.DNSName("acme.example")], excluded_subtrees=None)
    narrow = Authority("Narrow", parent=room.acme, more=[constraints])
    room.trust(**{"trust/acme.toml": x509_file("acme", wanted='claims.authority = "acme"')})
    assert room.prove(narrow.leaf(dns=["batch.acme.example"])).principal.ref.id == "acme/batch.acme.example"
    assert "leads to no authority" in room.refusal(narrow.leaf(dns=["batch.evil.example"]))


def test_a_certificate_that_was_judged_good_is_refused_once_it_has_expired(room: Room) -> None:
    leaf = room.partner.svid("billing")
    room.prove(leaf)
    room.clock.advance(HOUR + timedelta(minutes=10))
    assert "has expired" in room.refusal(leaf)
    assert "it expired at" in room.refusal(leaf)


@pytest.mark.parametrize("revoke", ["name", "credential"])
def test_a_certificate_that_was_judged_good_is_refused_once_it_is_revoked(room: Room, revoke: str) -> None:
    leaf = room.partner.svid("billing")
    proof = room.prove(leaf)
    room.revoked.names.add(str(proof.key if revoke == "name" else proof.credential))
    assert "was revoked" in room.refusal(leaf)


def test_a_certificate_that_was_judged_good_is_refused_once_its_authority_is_trusted_no_more(room: Room) -> None:
    leaf = room.partner.svid("billing")
    room.prove(leaf)
    room.trust(**{"trust/partner.json": room.partner.bundle(Authority("New", uri="spiffe://partner.example"))})
    assert "leads to no authority" in room.refusal(leaf)
    assert room.partner.der not in room.certificates.anchors


def test_what_is_no_certificate_or_too_much_of_one_is_refused(room: Room) -> None:
    leaf = room.partner.svid("billing")
    for chain in ([b"garbage"], [b"x" * 20_000], [leaf.der, b"garbage"], [leaf.der] * 7):
        with pytest.raises(CertificateError):
            room.certificates.certify(presented(chain, room.clock.now()))


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_a_certificate_with_a_bit_turned_is_refused_in_one_way(room: Room) -> None:
    """What the library makes of such a certificate comes in half a dozen kinds of errors, some of them late."""
    dice = random.Random(7)
    leaf = room.partner.leaf(BILLING, dns=["a.example"])
    proven = 0
    for _ in range(1500):
        der = bytearray(leaf.der)
        at = dice.randrange(len(der))
        der[at] ^= 1 << dice.randrange(8)
        try:
            room.certificates.certify(presented([bytes(der)], room.clock.now()))
        except CertificateError:
            continue
        proven += 1
    assert proven == 0


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_an_authority_with_a_bit_turned_is_refused_in_one_way(room: Room) -> None:
    dice = random.Random(8)
    leaf = read_certificate(room.partner.svid("billing").der)
    for _ in range(1500):
        der = bytearray(room.partner.der)
        der[dice.randrange(len(der))] ^= 1 << dice.randrange(8)
        with suppress(CertificateError, InputError):
            found = read_authorities([bytes(der)], place="x")
            verify_path(leaf, found, Store(list(found)), room.clock.now())


def refused(files: dict[str, bytes]) -> str:
    with pytest.raises(InputError) as caught:
        load_bindings(files, KINDS)
    return str(caught.value)


def test_a_bundle_speaks_for_its_own_trust_domain_alone() -> None:
    other = TrustDomain("other.example")
    files = {"trust/partner.toml": spiffe_file("partner.example"), "trust/partner.json": other.bundle()}
    assert "not of partner.example" in refused(files)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"(", "JSON"),
        (b"[]", "object"),
        (b'{"keys": {}}', "JWK set"),
        (b'{"keys": []}', "vouches for nobody"),
        (b'{"keys": [{"use": "x509-svid"}]}', "exactly one certificate"),
        (b'{"keys": [{"use": "x509-svid", "x5c": ["!"]}]}', "base64"),
        (b'{"keys": [{"use": "x509-svid", "x5c": ["AAAA"]}]}', "not a certificate"),
    ],
)
def test_a_bundle_that_cannot_be_read_trusts_nobody(document: bytes, said: str) -> None:
    files = {"trust/partner.toml": spiffe_file("partner.example"), "trust/partner.json": document}
    assert said in refused(files)


def test_a_clients_certificate_is_no_authority() -> None:
    partner = TrustDomain()
    leaf = partner.svid("billing")
    files = {"trust/acme.toml": x509_file("acme"), "trust/acme.pem": leaf.pem.encode()}
    assert "not an authority" in refused(files)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (spiffe_file("Partner.example"), "trust domain"),
        (spiffe_file("partner.example").replace(b'bundle = "trust/partner.json"', b""), "bundle or an endpoint"),
        (spiffe_file("partner.example").replace(b"partner.json", b"missing.json"), "no file"),
        (spiffe_file("partner.example", more='endpoint = "http://partner.example"'), "https"),
        (spiffe_file("partner.example", more='audience = "sts.amazonaws.com"'), "other services"),
        (spiffe_file("partner.example").replace(b"partner/{path}", b"partner-{path}"), "slash"),
        (spiffe_file("partner.example").replace(b"groups", b'principal = "Job"\ngroups'), "Service or a Machine"),
        (spiffe_file("partner.example").replace(b"claims.path", b"claims.cn"), "no claim cn"),
        (spiffe_file("partner.example").replace(b"[spiffe]", b"[x]\n[spiffe]"), "unknown field"),
        (b'[[binding]]\nname = "x"\nid = "x/{path}"\nclaims.path = "x"\n', "one of the tables"),
    ],
)
def test_a_trust_file_that_would_trust_strangers_is_refused(text: bytes, said: str) -> None:
    assert said in refused({"trust/partner.toml": text, "trust/partner.json": TrustDomain().bundle()})


def test_names_of_one_voucher_never_begin_like_those_of_another() -> None:
    files = {
        "trust/partner.toml": spiffe_file("partner.example"),
        "trust/partner.json": TrustDomain().bundle(),
        "trust/x.toml": trust_file("https://x.example/_services/token", SHOP.replace("github/", "partner/")).encode(),
    }
    assert "begins like the principals of" in refused(files)


def test_two_files_for_one_trust_domain_are_refused(tmp_path: Path) -> None:
    files = {
        "trust/partner.toml": spiffe_file("partner.example"),
        "trust/second.toml": spiffe_file("partner.example"),
        "trust/partner.json": TrustDomain().bundle(),
    }
    assert "already" in refused(files)


def test_the_trust_files_of_the_documentation_load() -> None:
    page = (Path(__file__).parents[2] / "docs" / "mutual-tls.md").read_text()
    blocks = dict(re.findall(r"```toml\n# \.everproof/(\S+)\n(.*?)```", page, re.DOTALL))
    files = {name: text.encode() for name, text in blocks.items()}
    bundles = {"trust/partner.json": TrustDomain().bundle(), "trust/acme.pem": Authority("Acme").pem}
    bindings = load_bindings({**files, **bundles}, KINDS)
    assert list(bindings.domains) == ["partner.example"]
    assert [one.name for one in bindings.authorities] == ["acme"]


def test_the_settings_of_the_documentation_load() -> None:
    page = (Path(__file__).parents[2] / "docs" / "mutual-tls.md").read_text()
    for text in re.findall(r"```toml\n# server\.toml\n(.*?)```", page, re.DOTALL):
        assert parse_toml(text, Settings, place="server.toml").tls != Settings().tls
