"""Logs and traces. The ledger says who did what; these tell an operator how the server fares, and carry no secret."""

import logging
import re
import sys
from collections.abc import Callable, MutableMapping
from typing import IO, Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REDACTED: Final = "[redacted]"

_SECRET_NAMES: Final = re.compile(
    r"token|secret|password|passwd|authorization|assertion|cookie|credential_key|private|dpop|proof|otp|code$|link",
    re.IGNORECASE,
)
_SECRET_VALUES: Final = re.compile(
    r"eyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?"  # a JWT
    r"|(?i:bearer|dpop|basic)\s+[\w.~+/=-]{8,}"  # credentials of a header
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # the account in a database's address
)

Event = MutableMapping[str, Any]


def redact(_logger: Any, _method: str, event: Event) -> Event:
    """Take out what is named like a secret, and what looks like one whatever its name."""
    for name, value in event.items():
        if name != "event" and _SECRET_NAMES.search(name):
            event[name] = REDACTED
        else:
            event[name] = _clean(value)
    return event


def configure_logs(*, stream: IO[str] | None = None, level: int = logging.INFO) -> None:
    """Write one JSON object a line to ``stream`` (standard error), from structlog and from the standard library."""
    shared: list[Callable[..., Any]] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Callable[..., Any]] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        redact,
        structlog.processors.JSONRenderer(),
    ]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request it sends, with the whole address
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def traced(app: ASGIApp, endpoint: str, *, version: str) -> tuple[ASGIApp, Callable[[], None]]:
    """``app`` with a span for each request, sent to the OTLP/HTTP ``endpoint``; and what ends the sending.

    Where no endpoint is set this is not called, so tracing that is off costs nothing.
    """
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "everproof", "service.version": version}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return spans(app, provider.get_tracer("everproof.server"), kind=trace.SpanKind.SERVER), provider.shutdown


def spans(app: ASGIApp, tracer: Any, *, kind: Any) -> ASGIApp:
    """``app`` with a span for each request: method, route and status, and nothing that the caller wrote."""
    from opentelemetry.trace import StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    propagator = TraceContextTextMapPropagator()

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        carrier = {
            name.decode(): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in (b"traceparent", b"tracestate")
        }
        with tracer.start_as_current_span(scope["method"], context=propagator.extract(carrier), kind=kind) as span:

            async def watch(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:  # noqa: PLR2004
                        span.set_status(StatusCode.ERROR)
                await send(message)

            span.set_attribute("http.request.method", scope["method"])
            await app(scope, receive, watch)
            if (route := scope.get("route")) is not None:
                span.update_name(f"{scope['method']} {route}")
                span.set_attribute("http.route", route)

    return serve


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _SECRET_VALUES.sub(REDACTED, value)
    if isinstance(value, dict):
        return {
            name: REDACTED if isinstance(name, str) and _SECRET_NAMES.search(name) else _clean(inner)
            for name, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_clean(inner) for inner in value]
    return value
