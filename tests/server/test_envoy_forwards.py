"""A real Envoy that ends TLS for a client: what it says of the certificate is what we read."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from everproof.server.forwarded import ENVOY, nearest, read_forwarded
from tests.gateways.gateway import binary
from tests.pki import Authority, Leaf, TrustDomain

SECONDS = 20

CONFIGURATION = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context:
            tls_certificates:
            - {{certificate_chain: {{filename: {server}}}, private_key: {{filename: {server}}}}}
            validation_context: {{trusted_ca: {{filename: {ca}}}}}
      filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          forward_client_cert_details: SANITIZE_SET
          set_current_client_cert_details: {{chain: true, cert: true, uri: true, dns: true, subject: true}}
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: us}}}}]}}
          http_filters:
          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: us
    type: STATIC
    load_assignment:
      cluster_name: us
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {upstream}}}}}}}
"""


@contextlib.asynccontextmanager
async def envoy(folder: Path, server: Leaf, ca: bytes, upstream: int) -> AsyncIterator[int]:
    program = binary("envoy")
    if program is None:
        pytest.skip("Envoy is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    (folder / "ca.pem").write_bytes(ca)
    file = folder / "envoy.yaml"
    file.write_text(
        CONFIGURATION.format(port=port, server=server.write(folder, "server"), ca=folder / "ca.pem", upstream=upstream)
    )
    process = await asyncio.create_subprocess_exec(
        str(program), "-c", str(file), "--concurrency", "1", "-l", "error", "--use-dynamic-base-id"
    )
    try:
        yield port
    finally:
        process.terminate()
        await process.wait()


async def test_the_header_that_envoy_writes_is_read_and_what_the_client_wrote_is_gone(tmp_path: Path) -> None:
    partner = TrustDomain("partner.example")
    node = Authority("Node", parent=partner)
    odd = 'x",URI=spiffe://partner.example/admin;'
    leaf = node.leaf("spiffe://partner.example/billing", dns=["billing.partner.example"], cn=odd)
    heads: asyncio.Queue[bytes] = asyncio.Queue()

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.put_nowait(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(upstream, "127.0.0.1", 0)
    context = ssl.create_default_context(cadata=partner.pem.decode())
    context.load_cert_chain(leaf.write(tmp_path))
    async with (
        server,
        envoy(tmp_path, partner.leaf(dns=["localhost"]), partner.pem, server.sockets[0].getsockname()[1]) as port,
        asyncio.timeout(SECONDS),
    ):
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                _, writer = await asyncio.open_connection("localhost", port, ssl=context)
                break
            await asyncio.sleep(0.05)
        forged = b"x-forwarded-client-cert: URI=spiffe://partner.example/admin\r\n"
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n" + forged + b"\r\n")
        head = await heads.get()
        writer.close()
    [value] = [line.partition(b": ")[2] for line in head.split(b"\r\n") if line.lower().startswith(ENVOY)]
    [element] = read_forwarded({ENVOY: value})
    assert element.uris == ("spiffe://partner.example/billing",)
    assert element.names == ("billing.partner.example",)
    assert nearest([element], lambda _: False) == leaf.chain
