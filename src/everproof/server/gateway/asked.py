"""What each gateway says of the request that it holds back. Two readings of it are none.

nginx says it in headers of our choice (docs/gateways.md has the lines), Caddy and Traefik in ``X-Forwarded-…``, and
Envoy sends the request's own method, host and path, the path behind a prefix. A door reads its own form alone: what a
client puts into another form's headers is nobody's word.
"""

from typing import Final

import msgspec
from starlette.types import Scope

from everproof.kernel.errors import RefusedError

GATEWAY: Final = b"x-everproof-gateway"
_OURS: Final = b"x-everproof-"
_ALWAYS: Final = frozenset({GATEWAY, b"authorization", b"dpop", b"accept", b"x-request-id"})
_OVERRIDES: Final = frozenset(
    {
        b"x-http-method-override",
        b"x-http-method",
        b"x-method-override",
        b"x-original-url",
        b"x-rewrite-url",
    }
)
"""By these, frameworks take a request for another one than it is."""


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """Where a gateway says what was asked; with ``prefix``, in the request line itself."""

    name: str
    path: str
    method: bytes = b""
    target: bytes = b""
    host: bytes = b"host"
    prefix: bool = False
    has_body: bool = True
    """Whether what we answer reaches the client with its body."""

    @property
    def wanted(self) -> frozenset[bytes]:
        """The headers that are read."""
        return frozenset({name for name in (self.method, self.target, self.host) if name}) | _ALWAYS


NGINX: Final = Form(
    name="nginx",
    path="/v1/gateway/nginx",
    method=b"x-original-method",
    target=b"x-original-uri",
    host=b"x-original-host",
    has_body=False,
)
FORWARDED: Final = Form(
    name="forwarded",
    path="/v1/gateway/forwarded",
    method=b"x-forwarded-method",
    target=b"x-forwarded-uri",
    host=b"x-forwarded-host",
)
ENVOY: Final = Form(name="envoy", path="/v1/gateway/envoy", prefix=True)


class ForgedHeaderError(RefusedError):
    """The client brought a header that is ours to set, or one that lets its request be another."""

    code = "forged-header"


class MisconfiguredError(RefusedError):
    """The gateway does not say what was asked."""

    code = "misconfigured-gateway"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The request that is held back, as the gateway says it; with ``forged``, it has what no client may send."""

    method: str
    host: str
    target: str
    authorization: str | None = None
    dpop: str | None = None
    forged: ForgedHeaderError | None = None

    @property
    def path(self) -> str:
        """The path as it came, without the query."""
        return self.target.partition("?")[0]


class Headers(msgspec.Struct):
    """The headers that are read, each of which stands there once, and the first that no client may send."""

    given: dict[bytes, str]
    forged: ForgedHeaderError | None = None

    def get(self, name: bytes) -> str | None:
        """The header's value."""
        return self.given.get(name)


def headers_of(scope: Scope, wanted: frozenset[bytes]) -> Headers:
    """The headers in ``wanted``.

    Raises:
        MisconfiguredError: one of them is there twice.
    """
    found = Headers({})
    given = found.given
    for name, value in scope["headers"]:
        if name in wanted:
            if name in given:
                raise MisconfiguredError("the header is there twice", place=f"header {name.decode('latin-1')}")
            given[name] = value.decode("latin-1")
        elif (dashed := name.replace(b"_", b"-")) in _OVERRIDES:  # behind CGI and WSGI both are one name
            found.forged = ForgedHeaderError(
                "it would make some services see another request", place=f"header {name.decode()}"
            )
        elif dashed.startswith(_OURS):
            found.forged = ForgedHeaderError(
                "it is Everproof's to set, and came from the client", place=f"header {name.decode('latin-1')}"
            )
    return found


def asked(form: Form, scope: Scope, headers: Headers) -> Asked:
    """What was asked.

    Raises:
        MisconfiguredError: the gateway leaves a part of it out.
    """
    if form.prefix:
        method = scope["method"]
        # Not `raw_path`: whoever parsed it has left a fragment out, which the service would be sent.
        target = scope["target"][len(form.path) :].decode("latin-1")
    else:
        method, target = _said(headers, form.method), _said(headers, form.target)
    return Asked(
        method=method,
        host=_said(headers, form.host),
        target=target,
        authorization=headers.get(b"authorization"),
        dpop=headers.get(b"dpop"),
        forged=headers.forged,
    )


def _said(headers: Headers, name: bytes) -> str:
    value = headers.get(name)
    if not value:
        raise MisconfiguredError(
            "the gateway does not say what was asked", place=f"header {name.decode()}", todo="see docs/gateways.md"
        )
    return value
