"""Traces of the real service, as a real OTLP receiver gets them: a request, its job, the job's stages."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from api.tracing import start_tracing, traceparent
from tests.audio_files import music, write_wav
from tests.service import Service, ended, free_port, submit
from tests.sinks import HttpSink, awaited

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "100"}


def spans(sink: HttpSink) -> dict[str, list[Span]]:
    """What the receiver was sent, by name."""
    found: dict[str, list[Span]] = {}
    for posted in list(sink.posted):
        assert posted.path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(posted.body).resource_spans:
            said = {part.key: part.value.string_value for part in resource.resource.attributes}
            assert said["service.name"] == "audio-pipeline"
            for scope in resource.scope_spans:
                for span in scope.spans:
                    found.setdefault(span.name, []).append(span)
    return found


def attributes(span: Span) -> dict[str, str | int]:
    return {
        part.key: part.value.string_value if part.value.HasField("string_value") else part.value.int_value
        for part in span.attributes
    }


def test_a_request_its_job_and_the_stages_are_one_trace(tmp_path: Path) -> None:
    song = write_wav(tmp_path / "a secret name.wav", music(2.0))
    silence = write_wav(tmp_path / "silence.wav", 0 * music(2.0))
    with (
        HttpSink() as sink,
        Service(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, **SOON) as service,
        service.client() as http,
    ):
        sent = submit(http, song, {"traceparent": f"00-{TRACE}-{PARENT}-01"}, estimators="none")
        job = ended(http, sent.json()["id"])
        assert job["status"] == "succeeded"
        failed = ended(http, submit(http, silence).json()["id"])
        assert failed["status"] == "failed"
        http.get(f"/jobs/{job['id']}/stems/vocals", params={"ticket": "a-very-secret-ticket"})
        http.get("/health")
        awaited(lambda: len(spans(sink).get("job", [])) == 2, "both jobs' spans")
        awaited(lambda: "GET /jobs/{job_id}/stems/{name}" in spans(sink), "the request's span")
        found = spans(sink)
        everything = b"".join(posted.body for posted in sink.posted)

    (request,) = (span for span in found["POST /process"] if span.trace_id.hex() == TRACE)
    assert request.parent_span_id.hex() == PARENT
    whole, other = sorted(found["job"], key=lambda span: span.start_time_unix_nano)
    assert (whole.trace_id, whole.parent_span_id) == (request.trace_id, request.span_id)
    assert attributes(whole) == {"job.id": job["id"], "job.status": "succeeded", "job.attempt": 1}
    (queue,) = (span for span in found["queue"] if span.parent_span_id == whole.span_id)
    (attempt,) = (span for span in found["attempt"] if span.parent_span_id == whole.span_id)
    assert whole.start_time_unix_nano == queue.start_time_unix_nano
    assert queue.end_time_unix_nano == attempt.start_time_unix_nano
    assert attempt.end_time_unix_nano == whole.end_time_unix_nano
    stages = [
        span
        for name, several in found.items()
        for span in several
        if name.startswith("stage ") and span.parent_span_id == attempt.span_id
    ]
    stages.sort(key=lambda span: span.start_time_unix_nano)
    assert [span.name.removeprefix("stage ") for span in stages] == [stage["name"] for stage in job["stages"]]
    for span in stages:
        assert (
            attempt.start_time_unix_nano
            <= span.start_time_unix_nano
            <= span.end_time_unix_nano
            <= attempt.end_time_unix_nano
        )

    assert other.status.code == Status.STATUS_CODE_ERROR
    assert attributes(other)["error.type"] == failed["error"]["code"]
    assert other.trace_id != whole.trace_id
    assert not {name for name in found if "health" in name or "readyz" in name}
    for secret in (b"a secret name", b"a-very-secret-ticket"):
        assert secret not in everything


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, ""),
        ({"OTEL_SDK_DISABLED": "true"}, ""),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "no traces: grpc is not spoken here"),
    ],
)
def test_nothing_is_traced_unless_it_is_asked_for(variables: dict[str, str], said: str) -> None:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("api.tracing")
    logger.addHandler(handler)
    try:
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"} if variables else {}
        assert not start_tracing({**variables, **endpoint})
    finally:
        logger.removeHandler(handler)
    assert [line[: len(said)] for line in lines] == ([said] if said else [])
    assert type(trace.get_tracer_provider()).__name__ == "ProxyTracerProvider"
    assert traceparent() is None


@pytest.mark.long
def test_a_receiver_that_is_gone_keeps_nobody_waiting(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    with Service(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=nobody, **SOON) as service, service.client() as http:
        song = write_wav(tmp_path / "song.wav", music(2.0))
        assert ended(http, submit(http, song, estimators="none").json()["id"])["status"] == "succeeded"
        assert service.stop() in (0, -15)
