"""Celery as we use it: one task, whose message says that there may be work, and nothing of what it is.

Messages are acknowledged before the task runs, so that no visibility timeout ever gives one out again; one
that is lost, or comes twice, changes nothing but when somebody looks.
"""

from __future__ import annotations

import logging
import ssl
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from celery import Celery
from kombu import Queue

from api.errors import SettingsInvalid
from api.queue.base import Kind
from api.settings import Settings

log = logging.getLogger(__name__)

LOOK: Final = "audio.look"
"""Name of the task."""
EXPIRES_S: Final = 120.0
"""A message that nobody took for so long is worth nothing: workers have looked by themselves since."""
_CONNECT_S: Final = 2.0
_ANSWER_S: Final = 5.0


def queue_name(kind: Kind) -> str:
    """The list in Redis that holds the messages for workers of a kind."""
    return f"audio.{kind.value}"


def kinds_of(settings: Settings) -> list[Kind]:
    """The kinds of jobs that workers here are told of."""
    return [Kind(name) for name in settings.queues]


def check_queue(settings: Settings) -> None:
    """Look whether what was set can carry jobs over several machines.

    Raises:
        SettingsInvalid: it cannot.
    """
    hint = "docs/SCALING.md shows how several machines are set up."
    if settings.database_url.get_secret_value().startswith("sqlite"):
        raise SettingsInvalid(
            "JOB_QUEUE=celery needs DATABASE_URL=postgresql://…: SQLite serves one machine alone.", hint
        )
    if settings.broker_url is None:
        raise SettingsInvalid("JOB_QUEUE=celery needs PIPELINE_BROKER_URL=redis://….", hint)


def make_celery(settings: Settings) -> Celery:
    """The Celery application for the broker that the settings name.

    Raises:
        SettingsInvalid: the settings do not go together.
    """
    check_queue(settings)
    url = settings.broker_url.get_secret_value() if settings.broker_url else ""
    app = Celery("audio-pipeline", broker=url, set_as_current=False)
    transport: dict[str, Any] = {
        "socket_connect_timeout": _CONNECT_S,
        "socket_timeout": _ANSWER_S,  # Consumers ask every second, so nobody waits longer for good reasons.
        "socket_keepalive": True,
        "health_check_interval": 10,
        "retry_on_timeout": True,
        # Acknowledged at once: this only bounds how soon one comes back whose worker died in that instant.
        "visibility_timeout": 60,
    }
    app.conf.update(
        broker_use_ssl=_tls(url),
        broker_transport_options=transport,
        broker_connection_timeout=_CONNECT_S,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        result_backend=None,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_send_task_events=True,
        task_send_sent_event=True,
        task_create_missing_queues=False,
        task_queues=[Queue(queue_name(kind)) for kind in Kind],
        task_default_queue=queue_name(Kind.CPU),
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        enable_utc=True,
    )
    return app


_REQS: Final = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}


def _tls(url: str) -> dict[str, Any] | bool:
    """TLS as a rediss:// URL asks for it: ssl_cert_reqs, ssl_ca_certs, ssl_certfile, ssl_keyfile."""
    parts = urlsplit(url)
    if parts.scheme != "rediss":
        return False
    asked = dict(parse_qsl(parts.query))
    reqs = asked.pop("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    if reqs not in _REQS:
        raise SettingsInvalid("PIPELINE_BROKER_URL: ssl_cert_reqs is required, optional or none.")
    tls: dict[str, Any] = {"ssl_cert_reqs": _REQS[reqs]}
    return tls | {
        name: asked[name] for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile") if name in asked
    }
