import asyncio
import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

from everproof.identity.outbound import Outbound, OutboundError, _may_reach
from everproof.kernel.errors import InputError
from tests.issuer import PATH, Issuer


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "0.0.0.0", "0.1.2.3",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
    ],
)  # fmt: skip
def test_an_address_inside_is_not_reached(address: str) -> None:
    assert not _may_reach(ip_address(address), private=False)


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "0.0.0.0", "224.0.0.1"],
)
def test_cloud_metadata_is_not_reached_even_for_a_private_host(address: str) -> None:
    assert not _may_reach(ip_address(address), private=True)


@pytest.mark.parametrize("address", ["140.82.112.3", "2606:4700::1111", "::ffff:140.82.112.3", "64:ff9b::8c52:7003"])
def test_a_public_address_is_reached(address: str) -> None:
    assert _may_reach(ip_address(address), private=False)


async def test_a_host_on_this_machine_is_refused_unless_named(issuer: Issuer) -> None:
    for url in (issuer.url, issuer.url.replace("127.0.0.1", "localhost")):
        with pytest.raises(OutboundError, match="not public"):
            await Outbound(ca_file=issuer.ca_file).get(url)
    assert issuer.fetches == []


async def test_a_name_that_turns_private_after_it_was_judged_is_refused(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: one of several answers is private, whichever comes first."""
    answers = [("140.82.112.3", 443), ("127.0.0.1", 443)]

    async def resolve(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", answer) for answer in answers]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    with pytest.raises(OutboundError, match=r"at 127\.0\.0\.1"):
        await Outbound().get("https://issuer.example/")


async def test_a_server_without_a_trusted_certificate_is_refused(issuer: Issuer) -> None:
    with pytest.raises(OutboundError, match="certificate"):
        await Outbound(private_hosts=["127.0.0.1"]).get(issuer.url)
    assert issuer.fetches == []


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "ftp://x/", "https://u:p@h/", "https://h/?q", "https://h/#f", ""])
async def test_only_plain_https_is_fetched(outbound: Outbound, url: str) -> None:
    with pytest.raises(InputError):
        await outbound.get(url)


async def test_a_redirect_is_not_followed(issuer: Issuer, outbound: Outbound) -> None:
    issuer.answers[PATH] = (302, {"location": f"{issuer.url}/jwks"}, b"")
    with pytest.raises(OutboundError, match="answered 302"):
        await outbound.get(issuer.url)
    assert issuer.fetches == [PATH]


async def test_an_answer_that_is_too_large_is_cut_off(issuer: Issuer, outbound: Outbound) -> None:
    issuer.answers[PATH] = (200, {}, b"x" * 600_000)
    with pytest.raises(OutboundError, match="larger than"):
        await outbound.get(issuer.url)


async def test_an_answer_that_never_ends_is_given_up(issuer: Issuer) -> None:
    issuer.answers[PATH] = (200, {"content-length": "100"}, b"x")
    outbound = Outbound(ca_file=issuer.ca_file, private_hosts=["127.0.0.1"], timeout_seconds=0.3)
    with pytest.raises(OutboundError):
        await outbound.get(issuer.url)


async def test_a_server_that_says_nothing_is_given_up() -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1]
    outbound = Outbound(private_hosts=["127.0.0.1"], timeout_seconds=0.2)
    with silent, pytest.raises(OutboundError, match="no answer within"):
        await outbound.get(f"https://127.0.0.1:{port}/")


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(OutboundError, match="cannot be reached"):
        await Outbound(private_hosts=["127.0.0.1"]).get(f"https://127.0.0.1:{port}/")


def test_a_ca_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(InputError, match=name):
            Outbound(ca_file=tmp_path / name)
