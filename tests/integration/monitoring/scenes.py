"""What may happen to a service, as metrics over hours, and which alerts are to fire then."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.progress import STAGES

GIB = 1 << 30
END = "xEND"
"""Until the end of the scene."""

Values = str | None
"""promtool's notation, a sample a minute: ``0x10 5+1x20``. None: there is no such series."""


def steady(value: float) -> str:
    """The same value all along."""
    return f"{value:g}+0{END}"


def rising(by: float) -> str:
    """A counter that rises by so much a minute."""
    return f"0+{by:g}{END}"


def until(minute: int, before: float, after: float) -> str:
    """A value until a minute, and another from then on."""
    return f"{before:g}+0x{minute - 1} {after:g}+0{END}"


HEALTHY: dict[str, Values] = {
    "up{}": steady(1),
    "process_start_time_seconds{}": steady(1000),
    "audio_database_up{}": steady(1),
    **{
        f'audio_admission_closed{{reason="{reason}"}}': steady(0)
        for reason in ("draining", "no_worker", "disk_reserve", "memory_reserve", "storage", "database")
    },
    "audio_queue_limit{}": steady(100),
    "audio_workers{}": steady(1),
    "audio_queue_depth{}": steady(0),
    "audio_queue_oldest_seconds{}": steady(0),
    "audio_jobs_in_progress{}": steady(0),
    "audio_job_oldest_seconds{}": steady(0),
    **{f'audio_stage_oldest_seconds{{stage="{stage}"}}': steady(0) for stage in STAGES},
    **{f'audio_stage_faults_total{{stage="{stage}"}}': steady(0) for stage in STAGES},
    **{f'audio_processing_total{{status="{s}"}}': steady(0) for s in ("succeeded", "failed", "cancelled")},
    **{f'audio_processing_faults_total{{fault="{fault}"}}': steady(0) for fault in ("service", "recording")},
    "audio_attempts_abandoned_total{}": steady(0),
    **{f'audio_disk_free_bytes{{folder="{f}"}}': steady(50 * GIB) for f in ("data", "uploads", "outputs")},
    **{f'audio_disk_size_bytes{{folder="{f}"}}': steady(100 * GIB) for f in ("data", "uploads", "outputs")},
    "audio_memory_size_bytes{}": steady(8 * GIB),
    "audio_memory_available_bytes{}": steady(4 * GIB),
    "audio_cpu_cores{}": steady(2),
    "audio_cpu_seconds_total{}": rising(6),
    'audio_pipeline_backup_last_success_timestamp_seconds{kind="full"}': steady(0),
    'http_request_seconds_count{route="GET /jobs",status="200"}': rising(10),
    'http_request_seconds_count{route="GET /readyz",status="200"}': rising(12),
    'audio_notifications_total{outcome="dropped"}': steady(0),
    'probe_success{job="audio-pipeline-site",instance="https://audio.example.org"}': steady(1),
    'probe_ssl_earliest_cert_expiry{job="audio-pipeline-site",instance="https://audio.example.org"}': steady(
        60 * 86400
    ),
}
"""An idle service in the day after its first backup."""

SUCCEEDED, FAILED = (f'audio_processing_total{{status="{status}"}}' for status in ("succeeded", "failed"))
OUR_FAULT, THEIR_FAULT = (
    f'audio_processing_faults_total{{fault="{fault}"}}' for fault in ("service", "recording")
)
IN_SEPARATE = 'audio_stage_faults_total{stage="separate"}'
SEPARATES = 'audio_stage_oldest_seconds{stage="separate"}'
FREE = 'audio_disk_free_bytes{folder="outputs"}'
BACKUP = 'audio_pipeline_backup_last_success_timestamp_seconds{kind="full"}'
SITE, CERTIFICATE = (name for name in HEALTHY if name.startswith("probe_"))
DROPPED = 'audio_notifications_total{outcome="dropped"}'
NO_MEMORY = 'audio_admission_closed{reason="memory_reserve"}'
DRAINING = 'audio_admission_closed{reason="draining"}'
REFUSED = 'http_request_seconds_count{route="GET /jobs",status="503"}'
BROKER, UNREAD = "audio_broker_up{}", 'audio_broker_queue_depth{queue="gpu"}'
NOT_READY = 'http_request_seconds_count{route="GET /readyz",status="503"}'


@dataclass(frozen=True)
class Scene:
    """What happens, and which alerts are to fire then.

    Attributes:
        what: in words.
        at: minutes after its beginning, at which is looked.
        fires: alerts.
        changes: what is different from `HEALTHY`.
        step: minutes from one sample to the next: scenes of days are told in larger steps.
    """

    what: str
    at: int
    fires: set[str]
    changes: dict[str, Values] = field(default_factory=dict)
    step: int = 1


NOTHING: set[str] = set()
