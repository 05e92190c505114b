"""What the service refuses, as one tree beside `pipeline.errors`.

::

    PipelineError
    └── ServiceError
        ├── Unauthenticated        unauthenticated: no key
        ├── Forbidden              forbidden: a bad key, or a key without the scope
        ├── NotFound               not_found: unknown, or another owner's
        ├── Gone                   gone: deleted, expired or erased
        ├── InvalidRequest         invalid_request: the body or a parameter makes no sense
        ├── PayloadTooLarge        payload_too_large
        ├── UnsupportedMedia       unsupported_media_type
        ├── LengthRequired         length_required
        ├── Conflict               conflict: the job's state does not allow it
        ├── IdempotencyInFlight    idempotency_in_flight: the first request is still being handled
        ├── IdempotencyMismatch    idempotency_mismatch: same key, another payload
        ├── RateLimited            rate_limited                      (retryable)
        ├── QuotaExceeded          quota_exceeded                    (retryable)
        ├── QueueFull              queue_full                        (retryable)
        ├── Draining               draining: the service is stopping (retryable)
        ├── StorageFull            storage_full                      (retryable)
        ├── DatabaseUnavailable    database_unavailable              (retryable)
        ├── JobTimedOut            job_timed_out
        ├── AttemptsExhausted      attempts_exhausted
        ├── UrlRefused             url_refused
        ├── UrlFailed              url_failed                        (retryable)
        └── SettingsInvalid        settings_invalid
"""

from __future__ import annotations

from pipeline.errors import PipelineError


class ServiceError(PipelineError):
    """Base of what the service refuses.

    Attributes:
        retry_after_s: seconds after which a client may try again; None where that would not help.
    """

    code = "service_error"

    def __init__(self, message: str, hint: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class Unauthenticated(ServiceError):
    """The request carries no API key, ticket or signature."""

    code = "unauthenticated"


class Forbidden(ServiceError):
    """The key is unknown, revoked or expired, or lacks the scope."""

    code = "forbidden"


class NotFound(ServiceError):
    """There is no such thing, or it belongs to another owner."""

    code = "not_found"


class Gone(ServiceError):
    """It was there, and was deleted, expired or erased."""

    code = "gone"


class InvalidRequest(ServiceError):
    """The body or a parameter makes no sense."""

    code = "invalid_request"


class PayloadTooLarge(ServiceError):
    """More bytes than allowed."""

    code = "payload_too_large"


class UnsupportedMedia(ServiceError):
    """The body is of a type that this route does not read."""

    code = "unsupported_media_type"


class LengthRequired(ServiceError):
    """The request must state its length."""

    code = "length_required"


class Conflict(ServiceError):
    """The job's state does not allow it."""

    code = "conflict"


class IdempotencyInFlight(ServiceError):
    """A request with the same Idempotency-Key is still being handled."""

    code = "idempotency_in_flight"


class IdempotencyMismatch(ServiceError):
    """The Idempotency-Key was used for another payload."""

    code = "idempotency_mismatch"


class RateLimited(ServiceError):
    """Too many requests in a time."""

    code = "rate_limited"
    retryable = True


class QuotaExceeded(ServiceError):
    """The key has used up what it was given."""

    code = "quota_exceeded"
    retryable = True


class QueueFull(ServiceError):
    """As many jobs wait as may."""

    code = "queue_full"
    retryable = True


class Draining(ServiceError):
    """The service is stopping and takes no new work."""

    code = "draining"
    retryable = True


class StorageFull(ServiceError):
    """There is no room for the upload and its stems."""

    code = "storage_full"
    retryable = True


class DatabaseUnavailable(ServiceError):
    """The database is busy for too long, cannot be reached, or is damaged."""

    code = "database_unavailable"
    retryable = True


class JobTimedOut(ServiceError):
    """The job took longer than it may."""

    code = "job_timed_out"


class AttemptsExhausted(ServiceError):
    """The job's process died as often as it may."""

    code = "attempts_exhausted"


class UrlRefused(ServiceError):
    """The URL is not https, not on the allow-list, or leads to an address that is not public."""

    code = "url_refused"


class UrlFailed(ServiceError):
    """The URL could not be read."""

    code = "url_failed"
    retryable = True


class SettingsInvalid(ServiceError):
    """A setting in the environment makes no sense."""

    code = "settings_invalid"
