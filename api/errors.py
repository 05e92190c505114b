"""What the service refuses, as one tree beside `pipeline.errors`.

::

    PipelineError
    └── ServiceError
        ├── Unauthenticated        unauthenticated: no key
        ├── Forbidden              forbidden: a bad key, or a key without the scope
        ├── NotFound               not_found: unknown, or another owner's
        │   └── PartNotReady       part_not_ready: nobody can listen to it yet (retryable)
        ├── Gone                   gone: deleted, expired or erased
        │   └── ResultDamaged      result_damaged: files of the result are missing or changed on disk
        ├── InvalidRequest         invalid_request: the body or a parameter makes no sense
        ├── PayloadTooLarge        payload_too_large
        ├── UnsupportedMedia       unsupported_media_type
        ├── LengthRequired         length_required
        ├── RangeUnsatisfiable     range_not_satisfiable: the file ends before every range
        ├── Conflict               conflict: the job's state does not allow it
        │   └── LegalHold          legal_hold: nothing of it may be deleted
        ├── IdempotencyInFlight    idempotency_in_flight: the first request is still being handled
        ├── IdempotencyMismatch    idempotency_mismatch: same key, another payload
        ├── RateLimited            rate_limited                      (retryable)
        ├── QuotaExceeded          quota_exceeded                    (retryable)
        ├── QueueFull              queue_full                        (retryable)
        ├── Draining               draining: the service is stopping (retryable)
        ├── StorageFull            storage_full                      (retryable)
        ├── StorageUnavailable     storage_unavailable               (retryable)
        ├── DatabaseUnavailable    database_unavailable              (retryable)
        ├── JobTimedOut            job_timed_out
        ├── AttemptsExhausted      attempts_exhausted
        ├── UploadUnknown          upload_unknown: there is none, or it is another owner's
        ├── UploadUnfinished       upload_unfinished: bytes are missing
        ├── UploadBusy             upload_busy: another request is sending it (retryable)
        ├── UploadStalled          upload_stalled: no byte came for too long (retryable)
        ├── OffsetMismatch         offset_mismatch: the upload goes on elsewhere
        ├── ChecksumMismatch       checksum_mismatch                 (retryable)
        ├── TusVersionUnsupported  tus_version_unsupported
        ├── UrlRefused             url_refused: malformed, or not https
        │   ├── UrlIngestOff       url_ingest_off: the operator has not switched it on
        │   ├── UrlHostRefused     url_host_refused: not on the allow-list
        │   └── UrlAddressRefused  url_address_refused: leads to an address or port that may not be reached
        ├── UrlFailed              url_failed                        (retryable)
        │   ├── UrlUnreachable     url_unreachable: no address, or no connection       (retryable)
        │   ├── UrlTimedOut        url_timed_out                                       (retryable)
        │   ├── UrlBroken          url_broken: the transfer ended too early            (retryable)
        │   ├── UrlBusy            url_busy: the server asks to come back later        (retryable)
        │   ├── UrlTlsFailed       url_tls_failed: the server cannot prove who it is
        │   └── UrlAnswerRefused   url_answer_refused: the server answered, and not with the file
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


class PartNotReady(NotFound):
    """That part of a recording or a stem cannot be listened to yet."""

    code = "part_not_ready"
    retryable = True


class Gone(ServiceError):
    """It was there, and was deleted, expired or erased."""

    code = "gone"


class ResultDamaged(Gone):
    """The job succeeded, and files of its result have since been lost or changed on disk."""

    code = "result_damaged"


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


class RangeUnsatisfiable(ServiceError):
    """The file ends before every range that was asked for.

    Attributes:
        size: bytes of the file.
    """

    code = "range_not_satisfiable"

    def __init__(self, message: str, hint: str = "", *, size: int = 0) -> None:
        super().__init__(message, hint)
        self.size = size


class Conflict(ServiceError):
    """The job's state does not allow it."""

    code = "conflict"


class LegalHold(Conflict):
    """It is under a legal hold: nothing of it may be deleted."""

    code = "legal_hold"


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


class StorageUnavailable(ServiceError):
    """A folder of the service is missing, or cannot be written."""

    code = "storage_unavailable"
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


class UploadUnknown(ServiceError):
    """There is no such upload, or it belongs to another owner."""

    code = "upload_unknown"


class UploadUnfinished(ServiceError):
    """Bytes of the upload are missing."""

    code = "upload_unfinished"


class UploadBusy(ServiceError):
    """Another request is sending the upload."""

    code = "upload_busy"
    retryable = True


class UploadStalled(ServiceError):
    """No byte of the upload came for too long."""

    code = "upload_stalled"
    retryable = True


class OffsetMismatch(ServiceError):
    """The upload does not go on at that offset."""

    code = "offset_mismatch"


class ChecksumMismatch(ServiceError):
    """The bytes that came are not those that were sent."""

    code = "checksum_mismatch"
    retryable = True


class TusVersionUnsupported(ServiceError):
    """The request does not speak the version of tus that is spoken here."""

    code = "tus_version_unsupported"


class UrlRefused(ServiceError):
    """The URL is malformed, or not of a kind that is fetched or called."""

    code = "url_refused"


class UrlIngestOff(UrlRefused):
    """Recordings are not fetched from URLs here."""

    code = "url_ingest_off"


class UrlHostRefused(UrlRefused):
    """The URL's host is not on the allow-list."""

    code = "url_host_refused"


class UrlAddressRefused(UrlRefused):
    """The URL leads to an address or a port that may not be reached."""

    code = "url_address_refused"


class UrlFailed(ServiceError):
    """The URL could not be read."""

    code = "url_failed"
    retryable = True


class UrlUnreachable(UrlFailed):
    """The URL's host has no address, or does not take connections."""

    code = "url_unreachable"


class UrlTimedOut(UrlFailed):
    """The URL's server took too long."""

    code = "url_timed_out"


class UrlBroken(UrlFailed):
    """The transfer ended before the file did."""

    code = "url_broken"


class UrlBusy(UrlFailed):
    """The URL's server asks to come back later, or failed."""

    code = "url_busy"


class UrlTlsFailed(UrlFailed):
    """The URL's server cannot prove who it is, or speaks no TLS that is safe."""

    code = "url_tls_failed"
    retryable = False


class UrlAnswerRefused(UrlFailed):
    """The URL's server answered, and not with the file."""

    code = "url_answer_refused"
    retryable = False


class SettingsInvalid(ServiceError):
    """A setting in the environment makes no sense."""

    code = "settings_invalid"
