"""Which requests FastAPI makes spans of, once `api.tracing.start_tracing` was called."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

from fastapi.telemetry import TelemetryConfig

from api.security.access import route_path

_NOISE: Final = frozenset({"/livez", "/readyz", "/health", "/metrics"})


def _is_noise(scope: MutableMapping[str, Any]) -> bool:
    return scope["type"] != "http" or route_path(scope) in _NOISE


REQUEST_TRACES: Final = TelemetryConfig(
    # Metrics and logs are our own.
    metrics=False,
    logs=False,
    operation_spans=False,
    auto_configure=False,
    exclude=_is_noise,
)
