"""What the dashboards show. Figures of jobs are the same in every process: the largest of them counts."""

from __future__ import annotations

from typing import Final

from scripts.dashboards import Dashboard, Panel, Query

_NOISE: Final = 'route!~".* /(metrics|health|livez|readyz)"'
_STREAMS: Final = (
    'route!~".* /(metrics|health|livez|readyz|process|uploads.*|'
    '.*/(events|archive|(stems|artifacts|audio)/.*))"'
)


def _most(metric: str, *labels: str) -> str:
    return f"max by ({', '.join(('namespace', *labels))}) ({metric})"


def _rate(metric: str, *labels: str) -> str:
    return _most(f"rate({metric}[$__rate_interval])", *labels)


def _quantile(quantile: float, metric: str, *labels: str) -> str:
    buckets = _most(f"rate({metric}_bucket[1h])", "le", *labels)
    return f"histogram_quantile({quantile:g}, {buckets})"


def _stat(title: str, expr: str, unit: str = "short", width: int = 4, **more: float | str | bool) -> Panel:
    return Panel(title, (Query(expr),), unit, "stat", width, **more)  # type: ignore[arg-type]


OVERVIEW: Final = Dashboard(
    "audio-pipeline-overview",
    "Audio Pipeline: overview",
    (
        _stat("Processes that answer", 'sum(up{job="audio-pipeline"})', red=1, low_is_bad=True),
        _stat(
            "Keeps work out",
            'sum(max by (reason) (audio_admission_closed{reason!="draining"}))',
            red=1,
            says="How many reasons there are; the dashboard Capacity says which.",
        ),
        _stat("Workers", "max(audio:workers:processes)", red=1, low_is_bad=True),
        _stat("Jobs that run", "max(audio:jobs_in_progress:jobs)"),
        _stat("Jobs that wait", "max(audio:queue_depth:jobs)"),
        _stat("Longest wait", "max(audio:queue_oldest:seconds)", "s", red=1800),
        Panel(
            "Jobs that ended, an hour",
            (Query("3600 * sum by (status) (audio:jobs_ended:rate5m)", "{{status}}"),),
            width=12,
        ),
        Panel(
            "Failures by the service's fault",
            (Query("audio:jobs_faulty:ratio30m or 0 * audio:queue_depth:jobs", "of 30 minutes"),),
            "percentunit",
            width=12,
            red=0.1,
            says="An alert comes at 10 %, if there are three or more.",
        ),
        Panel(
            "Requests by status",
            (
                Query(
                    f"sum by (status) (rate(http_request_seconds_count{{{_NOISE}}}[$__rate_interval]))",
                    "{{status}}",
                ),
            ),
            "reqps",
        ),
        Panel(
            "Seconds until an answer (95 %)",
            (
                Query(
                    "histogram_quantile(0.95, sum by (le, route) "
                    f"(rate(http_request_seconds_bucket{{{_STREAMS}}}[5m])))",
                    "{{route}}",
                ),
            ),
            "s",
            says="Without uploads, downloads and event streams, which last as long as their clients like.",
        ),
        Panel(
            "Alerts",
            (Query('ALERTS{alertname=~"Audio.+", alertstate="firing"}'),),
            kind="table",
            says="What fires now. docs/RUNBOOKS.md says what to do.",
        ),
    ),
)

JOBS: Final = Dashboard(
    "audio-pipeline-jobs",
    "Audio Pipeline: jobs",
    (
        Panel(
            "Seconds that jobs take",
            tuple(Query(_quantile(q, "audio_processing_seconds"), f"{q:.0%}") for q in (0.5, 0.95)),
            "s",
        ),
        Panel(
            "Seconds that jobs wait",
            tuple(Query(_quantile(q, "audio_queue_wait_seconds"), f"{q:.0%}") for q in (0.5, 0.95)),
            "s",
        ),
        Panel(
            "Seconds of audio for a second of work (half of the jobs reach it)",
            (Query(_quantile(0.5, "audio_real_time_factor"), "50%"),),
        ),
        Panel(
            "Seconds that stages take (95 %)",
            (Query(_quantile(0.95, "audio_stage_seconds", "stage"), "{{stage}}"),),
            "s",
        ),
        Panel(
            "What runs for longest",
            (
                Query(_most("audio_job_oldest_seconds"), "job"),
                Query(_most("audio_stage_oldest_seconds", "stage"), "{{stage}}"),
            ),
            "s",
            red=600,
        ),
        Panel(
            "Stages that are slow, an hour",
            (Query(f"3600 * {_rate('audio_stage_slow_total', 'stage')}", "{{stage}}"),),
        ),
        Panel(
            "Failures by code, an hour",
            (Query(f"3600 * {_rate('audio_processing_failures_total', 'code')}", "{{code}}"),),
        ),
        Panel(
            "Failures by fault, an hour",
            (Query(f"3600 * {_rate('audio_processing_faults_total', 'fault')}", "{{fault}}"),),
        ),
        Panel(
            "Failures of the service by stage, an hour",
            (Query(f"3600 * {_rate('audio_stage_faults_total', 'stage')}", "{{stage}}"),),
        ),
        Panel(
            "Attempts that were repeated, lost or handed back, an hour",
            (
                Query(f"3600 * {_rate('audio_processing_retries_total', 'code')}", "repeated: {{code}}"),
                Query(f"3600 * {_rate('audio_attempts_abandoned_total')}", "lost with their worker"),
                Query(f"3600 * {_rate('audio_attempts_handed_back_total')}", "handed back at a stop"),
            ),
        ),
        Panel(
            "Webhooks",
            (
                Query(_most("audio_webhooks_pending"), "to be delivered"),
                Query(f"3600 * {_rate('audio_webhook_deliveries_total', 'outcome')}", "{{outcome}}, an hour"),
            ),
        ),
        Panel(
            "Messages to operators, an hour",
            (Query(f"3600 * {_rate('audio_notifications_total', 'outcome')}", "{{outcome}}"),),
        ),
    ),
)

CAPACITY: Final = Dashboard(
    "audio-pipeline-capacity",
    "Audio Pipeline: capacity",
    (
        Panel(
            "Free disk",
            (Query("audio:disk_free:ratio", "{{instance}} {{folder}}"),),
            "percentunit",
            red=0.1,
            low_is_bad=True,
        ),
        Panel("Free disk in bytes", (Query("audio_disk_free_bytes", "{{instance}} {{folder}}"),), "bytes"),
        Panel(
            "Free disk in a week, as things go",
            (Query("predict_linear(audio_disk_free_bytes[1d], 7 * 86400)", "{{instance}} {{folder}}"),),
            "bytes",
        ),
        Panel("Memory in use", (Query("audio:memory_used:ratio", "{{instance}}"),), "percentunit", red=0.9),
        Panel(
            "Memory of processes",
            (
                Query('process_resident_memory_bytes{job="audio-pipeline"}', "{{instance}}"),
                Query(_most("audio_workers_memory_bytes"), "all workers"),
            ),
            "bytes",
        ),
        Panel(
            "Processors in use",
            (Query("audio:cpu_used:ratio", "{{instance}}"),),
            "percentunit",
            says="Workers use all that there is: it matters where jobs wait or requests are slow.",
        ),
        Panel(
            "Workers",
            (
                Query(_most("audio_workers"), "there"),
                Query(_most("audio_workers_busy"), "busy"),
                Query(_most("model_loaded", "model"), "with {{model}}"),
            ),
        ),
        Panel(
            "Queue",
            (
                Query(_most("audio_queue_depth"), "jobs that wait"),
                Query(_most("audio_queue_limit"), "jobs that may wait"),
            ),
        ),
        Panel("Longest wait", (Query("audio:queue_oldest:seconds", "{{namespace}}"),), "s"),
        Panel(
            "Uploads",
            (Query("sum(rate(audio_upload_bytes_total[$__rate_interval]))", "accepted"),),
            "Bps",
        ),
        Panel(
            "Reasons that keep work out",
            (Query(_most("audio_admission_closed", "reason"), "{{reason}}"),),
        ),
        Panel(
            "Age of the last backup",
            (Query(f"time() - {_most('audio_pipeline_backup_last_success_timestamp_seconds')}", "age"),),
            "s",
            red=93600,
        ),
    ),
    "now-2d",
)

_LOOKS: Final = 'route=~"GET /jobs(/.job_id.)?"'
_BURNT: Final = "audio:sli_errors:ratio_rate3d / on (sli) group_left () audio:slo_budget:ratio"

SLO: Final = Dashboard(
    "audio-pipeline-slo",
    "Audio Pipeline: service levels",
    (
        Panel(
            "Requests without an error of ours, 3 days (goal 99.5 %)",
            (Query('1 - audio:sli_errors:ratio_rate3d{sli="requests"}'),),
            "percentunit",
            "stat",
            8,
            red=0.995,
            low_is_bad=True,
        ),
        Panel(
            "Jobs without a fault of ours, 3 days (goal 99 %)",
            (Query('1 - audio:sli_errors:ratio_rate3d{sli="jobs"}'),),
            "percentunit",
            "stat",
            8,
            red=0.99,
            low_is_bad=True,
        ),
        Panel(
            "Looks at jobs answered within a second, 3 days",
            (
                Query(
                    f'sum(rate(http_request_seconds_bucket{{{_LOOKS}, le="1.0"}}[3d]))'
                    f" / sum(rate(http_request_seconds_count{{{_LOOKS}}}[3d]))"
                ),
            ),
            "percentunit",
            "stat",
            8,
            red=0.99,
            low_is_bad=True,
        ),
        Panel(
            "How fast error budgets are used up",
            tuple(
                Query(
                    f"audio:sli_errors:ratio_rate{window} / on (sli) group_left () audio:slo_budget:ratio",
                    f"{{{{sli}}}}, of {window}",
                )
                for window in ("5m", "1h", "6h")
            ),
            width=12,
            red=14.4,
            says="At 1 it lasts 30 days. 14.4 over an hour wakes somebody, 6 over six hours waits.",
        ),
        Panel(
            "Share of three days' budget that is left",
            (Query(f"1 - {_BURNT}", "{{sli}}"),),
            "percentunit",
            width=12,
            red=0,
            low_is_bad=True,
        ),
    ),
    "now-3d",
)

DASHBOARDS: Final = {"overview": OVERVIEW, "jobs": JOBS, "capacity": CAPACITY, "slo": SLO}
"""File name -> what it shows."""
