"""Spans of real batches at a real receiver of OTLP, and a collector that hangs: nothing waits for it.

In: a simulator, a writer that delivers to it, an HTTP server that decodes what OpenTelemetry's exporter sends. Rule:
what the spans say is compared with the simulator's own account of what it was sent.
"""

import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from structlog.testing import capture_logs

from connectors import traces
from connectors.otlp_spans import Spans
from rowtide.errors import UserError
from tests.e2e.conftest import Simulator
from tests.e2e.stack import wait_until
from tests.integration.graph.conftest import make_lists, settings_for
from tests.integration.graph.delivery import Delivery

MARKER = "Zweistein"
_KEYS = itertools.count()


class Collector:
    """Receives traces, as an OpenTelemetry collector does."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.raw: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.raw.append(self.path.encode() + body)
                collector.requests.append(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def spans(self) -> list[Span]:
        """Every span so far."""
        return [
            span
            for request in list(self.requests)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


def attributes(span: Span) -> dict[str, Any]:
    """The attributes of a span as plain values."""
    found = {}
    for one in span.attributes:
        kind = one.value.WhichOneof("value")
        value = getattr(one.value, kind)
        found[one.key] = [entry.string_value for entry in value.values] if kind == "array_value" else value
    return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


class Environment(dict[str, str]):
    """The OTEL_ variables: what is set in it is set in the test's process too, where the exporter reads them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._patch = patch

    def __setitem__(self, name: str, value: str) -> None:
        self._patch.setenv(name, value)
        super().__setitem__(name, value)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Environment:
    """Nothing is set at first."""
    return Environment(monkeypatch)


NewDelivery = Callable[[Spans | None], tuple[Simulator, Delivery, str]]


@pytest.fixture
def new_delivery(sim: Callable[..., Simulator]) -> Iterator[NewDelivery]:
    """A simulator with a list, a delivery to it that tells these spans, and the list's id."""
    made: list[Delivery] = []

    def make(spans: Spans | None) -> tuple[Simulator, Delivery, str]:
        simulator = sim("--tier", "off")
        provisioned = make_lists(settings_for(simulator), "A", "B")
        simulator.ask("stats", method="DELETE")
        told = () if spans is None else (spans.tell,)
        made.append(Delivery(settings_for(simulator), provisioned.site_id, told=told))
        return simulator, made[-1], provisioned.list_ids["A"]

    yield make
    for delivery in made:
        delivery.writer.stop(0.0)


def deliver(delivery: Delivery, list_id: str, rows: int) -> None:
    """Write so many new rows."""
    for number in range(rows):
        delivery.commit(str(next(_KEYS)), list_id, {"Title": f"{MARKER} {number}", "Amount": number, "Notes": None})
    delivery.deliver()


def test_each_batch_is_one_span_with_its_ids_and_no_values(
    collector: Collector, environment: Environment, new_delivery: NewDelivery
) -> None:
    environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
    environment["OTEL_RESOURCE_ATTRIBUTES"] = "deployment.environment=test"
    spans = traces.begin("auto", environment)
    assert spans is not None
    simulator, delivery, list_id = new_delivery(spans)
    began_ns = time.time_ns()
    deliver(delivery, list_id, 50)
    simulator.set_faults([
        {"status": 400, "code": "invalidRequest", "message": f"{MARKER} 0", "level": "member", "count": 1},
        {"status": 503, "path": r"/\$batch$", "count": 1, "skip": 1},
        {"action": "reset", "path": r"/\$batch$", "count": 1, "skip": 2},
    ])  # fmt: skip
    for _ in range(4):
        deliver(delivery, list_id, 20)
    sent = delivery.writer.counters.requests
    wait_until(lambda: len(collector.spans()) >= sent, "every span has arrived", 20)
    spans.end()
    ended_ns = time.time_ns()

    found = [attributes(span) for span in collector.spans()]
    assert len(found) == sent
    assert len({one["rowtide.client_request_id"] for one in found}) == sent
    answered = [one for one in found if "http.response.status_code" in one]
    assert len({one["rowtide.request_id"] for one in answered}) == len(answered)
    assert all(one["rowtide.request_id"] for one in answered)
    assert {one["error.type"] for one in found if one not in answered} == {"graph_unavailable"}
    assert {one["http.response.status_code"] for one in answered} == {200, 503}
    statuses = Counter[str]()
    for one in answered:
        of_batch = {
            status: int(count) for status, _, count in (text.partition(":") for text in one["rowtide.statuses"])
        }
        statuses.update(of_batch)
        assert one["http.response.status_code"] == 503 or sum(of_batch.values()) == one["rowtide.requests"]
    assert statuses["400"] == 1
    assert sum(len(one["rowtide.refused_request_ids"]) for one in found) == 1
    assert sum(one["rowtide.ru"] for one in found) == delivery.writer.counters.ru_used
    assert {tuple(one["rowtide.syncs"]) for one in found} == {("orders",)}
    assert {one["rowtide.graph"] for one in found} == {delivery.settings.name}

    for span in collector.spans():
        assert (span.name, span.kind) == ("POST /$batch", Span.SPAN_KIND_CLIENT)
        assert began_ns <= span.start_time_unix_nano < span.end_time_unix_nano <= ended_ns
        is_good = attributes(span).get("http.response.status_code") == 200
        assert (span.status.code == Status.STATUS_CODE_ERROR) == (not is_good)
    raw = b"".join(collector.raw)
    assert raw.startswith(b"/v1/traces")
    assert MARKER.encode() not in raw
    assert str(delivery.settings.base_url).encode() not in raw
    [resource] = {request.resource_spans[0].resource.SerializeToString() for request in collector.requests}
    assert b"rowtide" in resource
    assert b"deployment.environment" in resource


def test_a_collector_that_hangs_holds_nothing_up_and_is_said_once(
    environment: Environment, new_delivery: NewDelivery
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{hangs.getsockname()[1]}"
        environment["OTEL_EXPORTER_OTLP_TIMEOUT"] = "2"
        environment["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"] = "4"
        with capture_logs() as said:
            spans = traces.begin("on", environment)
            assert spans is not None
            _, delivery, list_id = new_delivery(spans)
            told_s: list[float] = []

            deliver(delivery, list_id, 200)
            exchange = _an_exchange()
            for _ in range(3000):  # more than may wait
                began = time.perf_counter()
                spans.tell(exchange)
                told_s.append(time.perf_counter() - began)
            wait_until(lambda: [one for one in said if one["event"] == "traces not sent"], "it is said", 30)
            deliver(delivery, list_id, 200)
            assert len(delivery.ledger) == 400
            began = time.monotonic()
            spans.end()
            assert time.monotonic() - began < 1.5
        assert sorted(told_s)[len(told_s) // 2] < 0.001
        mine = [one for one in said if one["event"].startswith("traces")]
        assert [(one["event"], one["code"]) for one in mine] == [("traces not sent", "traces_not_sent")]


def _an_exchange() -> Any:
    from connectors.graph.exchanges import Exchange

    return Exchange("contoso", ("orders",), 20, 0, 40, 0.1, 200, {201: 20}, "", "a", "b", ())


@pytest.mark.parametrize(
    ("wanted", "more"),
    [
        ("off", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}),
        ("auto", {}),
        ("auto", {"OTEL_EXPORTER_OTLP_ENDPOINT": " "}),
        ("auto", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}),
        ("auto", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"}),
    ],
)
def test_where_nobody_asks_for_traces_nothing_is_begun_and_nothing_said(
    wanted: traces.Wanted, more: dict[str, str]
) -> None:
    with capture_logs() as said:
        assert traces.begin(wanted, more) is None
    assert said == []


@pytest.mark.parametrize(
    "more",
    [{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "9999"}],
    ids=["protocol", "size"],
)
def test_variables_that_cannot_be_obeyed_are_an_error_only_where_traces_are_asked_for(
    environment: Environment, more: dict[str, str]
) -> None:
    for name, value in {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", **more}.items():
        environment[name] = value
    with pytest.raises(UserError) as refused:
        traces.begin("on", environment)
    assert refused.value.code == "traces_unavailable"
    with capture_logs() as said:
        assert traces.begin("auto", environment) is None
    assert [(one["event"], one["code"]) for one in said] == [("no traces are sent", "traces_unavailable")]


WITHOUT = """
import sys, json
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from connectors import traces
from rowtide.errors import UserError
import flows.run
asked = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
found = [traces.begin("auto", {}), traces.begin("auto", asked), traces.begin("off", asked)]
try:
    traces.begin("on", {})
except UserError as error:
    found.append([error.code, error.sentence])
print(json.dumps([found, [name for name in sys.modules if name.startswith("opentelemetry")]]))
"""


def test_without_the_extra_everything_else_works_and_who_asks_is_told() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=120, check=True)
    found, imported = json.loads(done.stdout.splitlines()[-1])
    assert found[:3] == [None, None, None]
    assert found[3] == [
        "traces_unavailable", "Traces cannot be sent: the packages of the extra `tracing` are not installed."
    ]  # fmt: skip
    assert imported == []
    assert done.stdout.count("no traces are sent") == 1
