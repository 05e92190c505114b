"""One message to one receiver: signed, posted, and the answer in a few words."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import httpx2 as httpx
import structlog

from api.errors import UrlRefused
from api.outbound import Outbound, url_failure
from api.webhooks.model import Answer
from api.webhooks.schedule import retry_after
from api.webhooks.signing import OwnerSecrets, signed_headers

logger = structlog.get_logger(__name__)

UNEXPECTED: Final = "internal_error"
"""Error of an attempt that failed by a mistake of ours."""

_ASKING: Final = (429, 503)
"""Statuses whose ``Retry-After`` is heeded."""


def check_webhook_url(outbound: Outbound, url: str) -> str:
    """Refuse a receiver that can never be reached, before a job is accepted that names it.

    Args:
        outbound: the way out.
        url: as the user gave it: https, or plain http within the networks that the operator has opened.

    Returns:
        The URL to be kept with the job.

    Raises:
        UrlRefused: it is malformed, too long, holds a user name, or is not https.
        UrlAddressRefused: its address or port may not be reached.
    """
    return str(outbound.check_url(url, https_only=False))


class Sender:
    """Posts messages to receivers. Safe in threads.

    Args:
        outbound: the way out.
        secrets: what signs.
        timeout_s: that an attempt may take, from resolving the name to the answer's headers.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        outbound: Outbound,
        secrets: OwnerSecrets,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbound = outbound
        self._secrets = secrets
        self._timeout_s = timeout_s
        self._clock = clock

    def send(self, owner: str, url: str, webhook_id: str, at: float, payload: str) -> Answer:
        """Make one attempt. Redirects are not followed, and the answer's body is not read.

        Nobody needs the body, it might have no end, and it might hold what is none of our business.

        Args:
            owner: whose secret signs.
            url: of the receiver; judged anew, as the operator may have changed his mind.
            webhook_id: of the message.
            at: of this attempt, in seconds since 1970.
            payload: the body.

        Raises:
            PipelineError: the database does not say which secret signs.
        """
        secrets = self._secrets.of(owner).signing
        headers = {"content-type": "application/json"} | signed_headers(secrets, webhook_id, at, payload)
        start = self._clock()
        try:
            status_code, asked = self._post(url, payload, headers)
        except UrlRefused as exc:
            return Answer(self._clock() - start, error=exc.code)
        except httpx.HTTPError as exc:
            return Answer(self._clock() - start, error=url_failure(exc, "").code)
        except Exception as exc:
            # Without its words: they may hold the URL, whose query may be a secret.
            logger.error("a webhook failed unexpectedly", webhook_id=webhook_id, kind=type(exc).__name__)
            return Answer(self._clock() - start, error=UNEXPECTED)
        wait_s = retry_after(asked, at) if status_code in _ASKING else 0.0
        return Answer(self._clock() - start, status_code, retry_after_s=wait_s)

    def _post(self, url: str, payload: str, headers: dict[str, str]) -> tuple[int, str | None]:
        checked = self._outbound.check_url(url, https_only=False)
        with (
            self._outbound.client(total_s=self._timeout_s, silence_s=self._timeout_s) as client,
            client.stream("POST", checked, content=payload.encode("ascii"), headers=headers) as answer,
        ):
            return answer.status_code, answer.headers.get("retry-after")
