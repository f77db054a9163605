"""A span for each batch that was sent to Graph, sent to a collector by OTLP over HTTP.

In: `Exchange`s, from the writers' threads. Out: spans, by a thread of OpenTelemetry's own. Rules (docs/design.md
section 26): no value and no address is in a span; telling a span never waits: what a collector does not take in time is
dropped, and said once. Only `connectors.traces` imports this module, because its packages are an extra.
"""

import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from connectors.graph.exchanges import Exchange
from connectors.loops import Beside
from connectors.trouble import Trouble
from rowtide.error_catalogue import process_errors

NAME: Final = "POST /$batch"
MOST_SPANS: Final = 2048
"""So many wait for the collector; older ones are dropped first."""
_DELAY_MS: Final = 1000
_END_S: Final = 0.5
"""Seconds that the spans of a process that ends have to get away."""


class Spans:
    """The spans of a process."""

    def __init__(self) -> None:
        """Endpoint, headers, time-outs, sampler and resource are what the standard variables say."""
        self._processor = BatchSpanProcessor(
            _Said(OTLPSpanExporter()), max_queue_size=MOST_SPANS, schedule_delay_millis=_DELAY_MS
        )
        release = version("rowtide")
        # Not the process's global provider: what libraries trace would have addresses with keys in it.
        provider = TracerProvider(resource=_resource(release), shutdown_on_exit=False)
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("rowtide", release)

    def tell(self, done: Exchange) -> None:
        """Make the span of a batch; never blocks."""
        ended_ns = time.time_ns()
        span = self._tracer.start_span(
            NAME,
            Context(),
            SpanKind.CLIENT,
            to_attributes(done),
            start_time=ended_ns - round(done.took_s * 1e9),
        )
        if done.status is None or done.status >= 400:
            span.set_status(Status(StatusCode.ERROR))
        span.end(ended_ns)

    def end(self) -> None:
        """Send what waits, for a moment at most."""
        Beside("rowtide-traces-end", self._processor.shutdown).ended(_END_S)


def _resource(release: str) -> Resource:
    """What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say of the process, and what they leave open."""
    found = Resource({"service.version": release}).merge(Resource.create())
    is_named = not str(found.attributes.get("service.name", "")).startswith("unknown_service")
    return found if is_named else found.merge(Resource({"service.name": "rowtide"}))


def to_attributes(done: Exchange) -> dict[str, AttributeValue]:
    """Numbers, names and ids of a batch."""
    found: dict[str, AttributeValue] = {
        "http.request.method": "POST",
        "url.template": "/$batch",
        "rowtide.graph": done.graph,
        "rowtide.syncs": done.syncs,
        "rowtide.requests": done.requests,
        "rowtide.retries": done.retries,
        "rowtide.ru": done.ru,
        "rowtide.statuses": [f"{status}:{count}" for status, count in sorted(done.statuses.items())],
        "rowtide.client_request_id": done.client_request_id,
        "rowtide.request_id": done.request_id,
        "rowtide.refused_request_ids": done.refused_request_ids,
    }
    if done.status is not None:
        found["http.response.status_code"] = done.status
    if done.code:
        found["error.type"] = done.code
    return found


class _Said(SpanExporter):
    """An exporter whose failures are said when they begin and when they end; OpenTelemetry would say each of them."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._trouble = Trouble("traces not sent", "traces are sent again")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send these; they are lost when the collector does not take them."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._trouble.succeeded()
        else:
            self._trouble.note(process_errors.TRACES_NOT_SENT())
        return result

    def shutdown(self) -> None:
        """Give up what is being sent."""
        self._exporter.shutdown()
