"""Traces by OpenTelemetry, where somebody wants them: a request, the job that it became, the job's stages.

Off unless ``OTEL_EXPORTER_OTLP_ENDPOINT`` or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`` is set; all else is said
by the standard variables, too (opentelemetry.io: environment variables of the SDK and of the OTLP exporter).
FastAPI makes the spans of requests: see `api.request_traces`. The context goes with the job, through the
database, to whichever worker runs it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from api.telemetry import Redactor
from pipeline.software import VERSION

if TYPE_CHECKING:
    from api.jobs.model import Job

log = logging.getLogger(__name__)

_NAME: Final = "audio-pipeline"
_PROPAGATOR: Final = TraceContextTextMapPropagator()


def start_tracing(environ: Mapping[str, str]) -> bool:
    """Send spans from now on, as the variables say.

    Args:
        environ: of this process.

    Returns:
        Whether they are sent. What cannot be done is logged and keeps nothing from running.
    """
    if not _wanted(environ):
        return False
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", "http/protobuf"):
        log.warning("no traces: %s is not spoken here, only http/protobuf", protocol, extra=_said("protocol"))
        return False
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        hint = "no traces: the packages of scripts/requirements-tracing.txt are not installed"
        log.warning(hint, extra=_said("packages"))
        return False

    class WithoutSecrets(SpanProcessor):
        """Takes tickets out of queries before a span is seen by anybody."""

        def on_start(self, span: Span, parent_context: Any = None) -> None:
            if query := (span.attributes or {}).get("url.query"):
                span.set_attribute("url.query", Redactor().text(str(query)))

        def on_end(self, span: ReadableSpan) -> None:
            pass

    said = {"service.version": VERSION}
    named = environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not named:
        said["service.name"] = _NAME
    provider = TracerProvider(resource=Resource.create(said))
    provider.add_span_processor(WithoutSecrets())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return True


def _wanted(environ: Mapping[str, str]) -> bool:
    off = (
        environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
        or environ.get("OTEL_TRACES_EXPORTER") == "none"
    )
    names = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return not off and any(environ.get(name) for name in names)


def _said(why: str) -> dict[str, str]:
    return {"action": "tracing_off", "why": why}


def traceparent() -> str | None:
    """The context of what is being done, as W3C Trace Context writes it; None where nobody traces it."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def record_job(job: Job) -> None:
    """Send the spans of a job that has ended: how long it waited, and its last attempt, stage by stage.

    Args:
        job: with its times; its trace is that of the request, or one of its own.
    """
    if job.started_at is None or job.finished_at is None:
        return
    tracer = trace.get_tracer(_NAME, VERSION)
    parent = _PROPAGATOR.extract({"traceparent": job.traceparent} if job.traceparent else {})
    attributes = {"job.id": job.id, "job.status": job.status.value, "job.attempt": job.attempt}
    whole = tracer.start_span("job", parent, SpanKind.CONSUMER, attributes, start_time=_ns(job.created_at))
    inside = trace.set_span_in_context(whole)
    waited = tracer.start_span("queue", inside, start_time=_ns(job.created_at))
    waited.end(_ns(job.started_at))
    attempt = tracer.start_span("attempt", inside, start_time=_ns(job.started_at))
    within, at = trace.set_span_in_context(attempt), job.started_at
    for stage in job.stages:
        span = tracer.start_span(f"stage {stage.name}", within, start_time=_ns(at))
        at = min(at + timedelta(seconds=stage.seconds), job.finished_at)
        span.end(_ns(at))
    if job.error is not None:
        for failed in (attempt, whole):
            failed.set_attribute("error.type", job.error.code)
            failed.set_status(StatusCode.ERROR)
    attempt.end(_ns(job.finished_at))
    whole.end(_ns(job.finished_at))


def _ns(at: datetime) -> int:
    """Nanoseconds since 1970."""
    return round(at.timestamp() * 1e6) * 1000
