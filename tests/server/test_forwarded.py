"""What proxies say of their clients' certificates, and what of it is refused."""

import hashlib
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everproof.kernel.errors import Error, InputError, TooLargeError
from everproof.server.forwarded import ENVOY, MAX_HEADER, NGINX, Element, nearest, read_forwarded, read_xfcc
from tests.pki import TrustDomain

ENVOYS = (
    "By=spiffe://edge.example/envoy;Hash=468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688;"
    'Subject="/C=US/ST=CA/L=San Francisco/OU=Lyft, Inc=\\"x\\"/CN=Test Client";URI=spiffe://partner.example/billing;'
    "DNS=a.partner.example;DNS=b.partner.example"
)


def test_the_form_that_envoy_writes() -> None:
    [element] = read_xfcc(ENVOYS)
    assert element.hash.startswith("468ed33be7")
    assert element.uris == ("spiffe://partner.example/billing",)
    assert element.names == ("a.partner.example", "b.partner.example")


def test_several_proxies_the_nearest_last() -> None:
    assert [one.uris for one in read_xfcc('URI=spiffe://a/1,By=x;uri="spiffe://a/2,=;"')] == [
        ("spiffe://a/1",),
        ("spiffe://a/2,=;",),
    ]


@pytest.mark.parametrize("text", ["URI=", "Cert=;Hash=", "By=x;By=y;URI=spiffe://a/1", 'Subject=""'])
def test_what_may_be_empty_or_there_twice(text: str) -> None:
    assert len(read_xfcc(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "=",
        "x",
        "URI",
        ";URI=x",
        "URI=x;",
        "URI=x,",
        ",URI=x",
        "URI=x,,URI=y",
        "Sub=x",
        "Hash=a;Hash=b",
        "Cert=a;Cert=b",
        'Subject="a',
        'Subject="a"b',
        'Subject="a\\"',
        'Subject=a"b"',
        "URI=a=b",
        "URI=spiffe://a/1,URI=spiffe://a/2,URI=x,URI=x,URI=x",
        ";".join(["URI=x"] * 65),
    ],
)
def test_what_is_not_of_this_form_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        read_xfcc(text)
    assert caught.value.place == "header x-forwarded-client-cert"


def test_a_uri_in_a_certificate_does_not_make_a_second_element() -> None:
    """Envoy writes the URI as it stands in the certificate: who chooses it chooses what follows it in the header."""
    [leaf] = [TrustDomain().svid("billing")]
    injected = f"URI=spiffe://partner.example/x,URI=spiffe://partner.example/admin;Cert={quote(leaf.pem, safe='')}"
    with pytest.raises(InputError):
        nearest(read_xfcc(injected), lambda _: False)


@given(st.text(max_size=300))
def test_nothing_makes_the_reader_fail_otherwise(text: str) -> None:
    try:
        elements = read_forwarded({ENVOY: text.encode()})
    except Error:
        return
    assert all(isinstance(one, Element) for one in elements)


@given(st.lists(st.tuples(st.sampled_from(["URI", "DNS"]), st.text("ab,;= \\/.", max_size=20)), min_size=1, max_size=8))
def test_what_is_quoted_is_read_back(pairs: list[tuple[str, str]]) -> None:
    values = [(key, value.replace("\\", "")) for key, value in pairs]
    [element] = read_xfcc(";".join(f'{key}="{value}"' for key, value in values))
    assert element.uris == tuple(value for key, value in values if key == "URI" and value)
    assert element.names == tuple(value for key, value in values if key == "DNS" and value)


def test_what_stands_beside_the_certificate_must_be_of_it() -> None:
    leaf = TrustDomain().svid("billing", dns=["billing.partner.example"])
    cert, hash_ = quote(leaf.pem, safe=""), hashlib.sha256(leaf.der).hexdigest()
    uri = "spiffe://partner.example/billing"
    assert Element(cert, hash_, (uri,), ("billing.partner.example",)).chain() == leaf.chain
    for wrong in (
        Element(cert, "0" * 64),
        Element(cert, "", ("spiffe://partner.example/payroll",)),
        Element(cert, "", (), ("payroll.partner.example",)),
    ):
        with pytest.raises(InputError, match="not those of the certificate"):
            wrong.chain()


def test_names_without_the_certificate_prove_nothing() -> None:
    with pytest.raises(InputError, match="does not pass the certificate itself on"):
        read_xfcc("Hash=00;URI=spiffe://partner.example/billing")[0].chain()


def test_a_chain_is_read_with_its_intermediates() -> None:
    from tests.pki import Authority

    leaf = Authority("Node", parent=TrustDomain()).leaf("spiffe://partner.example/billing")
    [element] = read_xfcc(f'Cert="";Chain="{quote(leaf.pem, safe="")}"')
    assert element.chain() == leaf.chain
    assert len(element.chain()) == 2


@pytest.mark.parametrize("cert", ["garbage", "%zz", "%00", "-----BEGIN%20CERTIFICATE-----"])
def test_a_certificate_that_is_none_is_refused(cert: str) -> None:
    with pytest.raises(Error):
        Element(cert).chain()


def test_too_much_and_too_many_are_refused() -> None:
    with pytest.raises(TooLargeError):
        read_forwarded({NGINX: b"x" * (MAX_HEADER + 1)})
    with pytest.raises(InputError, match="two proxies"):
        read_forwarded({NGINX: b"x", ENVOY: b"URI=x"})
    with pytest.raises(InputError, match="ASCII"):
        read_forwarded({NGINX: b"\xff"})
    leaf = TrustDomain().svid("billing", now=datetime.now(UTC))
    with pytest.raises(Error, match="more than 5 certificates"):
        Element(quote(leaf.pem * 6, safe="")).chain()
