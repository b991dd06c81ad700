"""The path validation cases of x509-limbo, judged as a client's chain is: every case that goes otherwise is named."""

import json
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.x509.verification import Store, Subject

from everproof.identity.x509 import CertificateError, read_authorities, read_certificate, read_pem, verify_path
from everproof.kernel.errors import InputError

COMMON_NAME: Final = "a name in the subject's CN only: CN is no name here, so what is wrong with it misleads nobody"
NO_CRL: Final = "needs a CRL: none is read; a certificate is revoked here by its name, and an SVID lives for an hour"

FALSE_ACCEPTS: Final = {
    "crl::revoked-certificate-with-crl": NO_CRL,
    "crl::crlnumber-critical": NO_CRL,
    "rfc5280::aki::cross-signed-root-missing-aki": "the path does not go through the certificate that lacks its AKI",
    "webpki::cn::ipv4-leading-zeros-mismatch": COMMON_NAME,
    "webpki::cn::ipv6-uncompressed-mismatch": COMMON_NAME,
    "webpki::cn::punycode-not-in-san": COMMON_NAME,
    "webpki::cn::not-in-san": COMMON_NAME,
}

WILDCARDS: Final = "a wildcard or more than 64 names: fine for a web server, and never for one client"

FALSE_REJECTS: Final = {
    WILDCARDS: {
        "online::google.com",
        "online::stackoverflow.com",
        "online::cloudflare.com",
        "online::amazon.com",
        "online::docs.python.org",
    },
    "more than four intermediates": {"cve::cve-2024-0567"},
    "an authority or leaf that does not say what it is for": {
        "crl::issuer-no-keyusage-extension",
        "rfc5280::eku::ee-without-eku",
    },
    "the library counts a self-issued authority as one of the chain's depth": {
        "pathlen::max-chain-depth-1-self-issued"
    },
}


def accepted(case: dict[str, Any]) -> bool:
    """Whether the chain is taken for that of the peer that the case expects."""
    at = datetime.fromisoformat(case["validation_time"]) if case["validation_time"] else datetime.now(UTC)
    depth = {} if case["max_chain_depth"] is None else {"depth": case["max_chain_depth"]}
    name = case["expected_peer_name"]
    server: Subject | None = None
    if case["validation_kind"] == "SERVER":
        server = x509.DNSName(name["value"]) if name["kind"] == "DNS" else x509.IPAddress(ip_address(name["value"]))
    try:
        anchors = read_authorities([read_pem(one.encode())[0] for one in case["trusted_certs"]], place="anchors")
        leaf, *others = (
            read_certificate(read_pem(one.encode())[0])
            for one in (case["peer_certificate"], *case["untrusted_intermediates"])
        )
        verify_path(leaf, others, Store(list(anchors)), at, server=server, **depth)
    except (CertificateError, InputError):
        return False
    return True


@pytest.mark.filterwarnings(
    "ignore:Parsed a serial number:DeprecationWarning", "ignore:Parsed a serial number:UserWarning"
)
def test_no_case_of_limbo_is_accepted_that_should_fail_but_those_that_are_named(vectors: Path) -> None:
    cases = json.loads((vectors / "x509-limbo" / "limbo.json").read_bytes())["testcases"]
    taken = {case["id"]: accepted(case) for case in cases}
    should = {case["id"]: case["expected_result"] == "SUCCESS" for case in cases}
    assert len(cases) == 104
    assert {id_ for id_ in taken if taken[id_] and not should[id_]} == set(FALSE_ACCEPTS)
    rejected = {id_ for id_ in taken if should[id_] and not taken[id_]}
    assert rejected == set().union(*FALSE_REJECTS.values())
    assert sum(taken[id_] == should[id_] for id_ in taken) == 88
