"""A gRPC service behind the interceptor: each of the four kinds of calls, with threads and with asyncio."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from everproof.client import Client, Entity
from everproof.client.grpc import AsyncEverproofInterceptor, EverproofInterceptor
from everproof.client.guard import caller
from tests.client.conftest import World

AUDIENCE = "https://orders.example"
METHODS: dict[str, tuple[str, str | Entity]] = {
    f"/shop.Orders/{name}": ("api:call", "Route::orders") for name in ("Get", "List", "Put", "Talk")
}


def name() -> bytes:
    who = caller.get()
    return str(who.subject if who else "nobody").encode()


def handlers(kinds: dict[str, Any]) -> grpc.GenericRpcHandler:
    make = {
        "Get": grpc.unary_unary_rpc_method_handler,
        "List": grpc.unary_stream_rpc_method_handler,
        "Put": grpc.stream_unary_rpc_method_handler,
        "Talk": grpc.stream_stream_rpc_method_handler,
        "Secret": grpc.unary_unary_rpc_method_handler,
    }
    return grpc.method_handlers_generic_handler("shop.Orders", {one: make[one](kinds[one]) for one in make})


def many(_request: Any, _context: Any) -> Iterator[bytes]:
    yield name()
    yield name()


async def many_later(_request: Any, _context: Any) -> AsyncIterator[bytes]:
    yield name()
    yield name()


async def one_later(_request: Any, _context: Any) -> bytes:
    return name()


class Channel:
    """Calls with a token and a proof of a client."""

    def __init__(self, port: int, who: Client) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.who = who
        self.nonce = ""

    def metadata(self, method: str) -> list[tuple[str, str]]:
        return list(self.who.headers("POST", f"{AUDIENCE}/shop.Orders/{method}", nonce=self.nonce).items())

    def call(self, method: str, metadata: list[tuple[str, str]] | None = None) -> list[bytes]:
        asks = "stream" if method in {"Put", "Talk"} else "unary"
        answers = "stream" if method in {"List", "Talk"} else "unary"
        invoke = getattr(self.channel, f"{asks}_{answers}")(f"/shop.Orders/{method}")
        request = iter([b"a", b"b"]) if asks == "stream" else b"a"
        metadata = self.metadata(method) if metadata is None else metadata
        answer = invoke(request, metadata=metadata, timeout=10)
        return list(answer) if answers == "stream" else [answer]

    def try_all(self, other: Client) -> None:
        with pytest.raises(grpc.RpcError) as first:
            self.call("Get")
        assert first.value.code() is grpc.StatusCode.UNAUTHENTICATED
        self.nonce = dict(first.value.trailing_metadata())["dpop-nonce"]
        for method in ("Get", "List", "Put", "Talk"):
            assert set(self.call(method)) == {b'Service::"caller"'}
            self.who, kept = other, self.who
            with pytest.raises(grpc.RpcError) as denied:
                self.call(method)
            assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
            assert "ask for the group staff" in denied.value.details()
            self.who = kept
            with pytest.raises(grpc.RpcError) as nobody:
                self.call(method, [])
            assert nobody.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as unknown:
            self.call("Secret")
        assert unknown.value.code() is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(grpc.RpcError) as another:
            self.call("Get", self.metadata("List"))
        assert another.value.code() is grpc.StatusCode.UNAUTHENTICATED
        used = self.metadata("Get")
        assert self.call("Get", used)
        with pytest.raises(grpc.RpcError) as replayed:
            self.call("Get", used)
        assert replayed.value.code() is grpc.StatusCode.UNAUTHENTICATED
        self.channel.close()


def test_with_threads(world: World) -> None:
    with world.client() as client, world.client("caller") as staff, world.client("operator") as other:
        interceptor = EverproofInterceptor(client, audience=AUDIENCE, methods=METHODS)
        with ThreadPoolExecutor(4) as pool:
            server = grpc.server(pool, interceptors=[interceptor])
            one = lambda _request, _context: name()  # noqa: E731 - one of five
            server.add_generic_rpc_handlers(
                (handlers({"Get": one, "List": many, "Put": one, "Talk": many, "Secret": one}),)
            )
            port = server.add_insecure_port("127.0.0.1:0")
            server.start()
            try:
                Channel(port, staff).try_all(other)
            finally:
                server.stop(0).wait()


async def test_with_asyncio(world: World) -> None:
    with world.client("caller") as staff, world.client("operator") as other:
        async with world.aclient() as client:
            server = grpc.aio.server(
                interceptors=[AsyncEverproofInterceptor(client, audience=AUDIENCE, methods=METHODS)]
            )
            kinds = {"Get": one_later, "List": many_later, "Put": one_later, "Talk": many_later, "Secret": one_later}
            server.add_generic_rpc_handlers((handlers(kinds),))
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            try:
                await asyncio.to_thread(lambda: Channel(port, staff).try_all(other))
            finally:
                await server.stop(0)


def test_without_grpcio_the_error_says_what_to_install() -> None:
    script = "import sys; sys.modules['grpc'] = None\nimport everproof.client\nimport everproof.client.grpc"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "pip install 'everproof[grpc]'" in done.stderr
