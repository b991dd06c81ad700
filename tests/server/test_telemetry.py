import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from everproof.server.health import Health
from everproof.server.http import Application
from everproof.server.telemetry import REDACTED, configure_logs, spans
from tests.server.asgi import call

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    out = io.StringIO()
    configure_logs(stream=out)
    yield out
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_no_secret_reaches_the_log_by_its_name_or_by_its_look(log: io.StringIO) -> None:
    logger = structlog.get_logger("everproof.test")
    logger.info(
        "exchange",
        subject_token="opaque-4711",
        headers={"Authorization": "DPoP abcdefghijkl", "host": "localhost"},
        note=f"sent Bearer abcdefghijkl and {JWT}",
        url="postgresql://everproof:hunter2@db/main",
    )
    try:
        int(JWT)
    except ValueError:
        logger.exception("failed", password="hunter2")
    logging.getLogger("uvicorn.error").warning("bad %s", JWT)
    written = log.getvalue()
    for secret in ("opaque-4711", "abcdefghijkl", JWT, "hunter2"):
        assert secret not in written
    first, second, third = map(json.loads, written.splitlines())
    assert first["subject_token"] == REDACTED
    assert first["headers"]["host"] == "localhost"
    assert first["level"] == "info"
    assert "ValueError" in second["exception"]
    assert third["logger"] == "uvicorn.error"


async def test_a_span_has_method_route_and_status_and_continues_the_callers_trace() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = Application(Health({}).routes(), title="", version="")
    trace = "0af7651916cd43dd8448eb211c80319c"
    traced = spans(app, provider.get_tracer("test"), kind=SpanKind.SERVER)
    await call(traced, "GET", "/healthz", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    [span] = exporter.get_finished_spans()
    assert span.name == "GET /healthz"
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": "/healthz",
        "http.response.status_code": 200,
    }
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == trace
