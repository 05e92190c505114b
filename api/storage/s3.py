"""S3, or what speaks like it, as storage."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from api.storage.base import SignedUrl, unavailable

log = logging.getLogger(__name__)

_MIB: Final = 1 << 20
_ABSENT: Final = frozenset(["404", "NoSuchKey", "NotFound"])
_LOST: Final = frozenset(["412", "PreconditionFailed", "409", "ConditionalRequestConflict"])


class S3Storage:
    """Implements `api.storage.base.Storage`; see there.

    Credentials, region and the like are found as by every AWS program: variables, profile, instance role.

    Args:
        bucket: its name. It must exist.
        prefix: before every key; empty, or without a ``/`` at its ends.
        endpoint: of another service than AWS; None: AWS.
        encryption: ``AES256``, ``aws:kms`` or ``aws:kms:<key>``; empty: as the bucket says.
        multipart_mb: from this size on a file is sent in parts, of this size.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str | None = None,
        encryption: str = "",
        multipart_mb: int = 16,
    ) -> None:
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self._encrypted = _encryption(encryption)
        part = multipart_mb * _MIB
        self._transfer = TransferConfig(multipart_threshold=part, multipart_chunksize=part, max_concurrency=4)
        # A dead connection must not hold up a request for minutes; what is idempotent is tried again.
        timeouts = {
            "connect_timeout": 5,
            "read_timeout": 60,
            "retries": {"mode": "standard", "max_attempts": 4},
        }
        if endpoint is not None:
            # Not all that speak like S3 know its newer checksums, or buckets as host names.
            timeouts |= {
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
                "s3": {"addressing_style": "path"},
            }
        config = Config(signature_version="s3v4", **timeouts)
        self._client: Any = boto3.client("s3", endpoint_url=endpoint, config=config)

    def put(self, key: str, path: Path, *, if_absent: bool = False) -> bool:
        """Keep a copy of a file; S3 answers when it is durable. With `if_absent` it is sent in one piece."""
        with _told(key):
            if not if_absent:
                self._client.upload_file(
                    str(path),
                    self._bucket,
                    self._prefix + key,
                    ExtraArgs=self._encrypted,
                    Config=self._transfer,
                )
                return True
            try:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._prefix + key,
                    Body=path.read_bytes(),
                    IfNoneMatch="*",
                    **self._encrypted,
                )
            except ClientError as exc:
                if _code(exc) in _LOST:
                    return False
                raise
        return True

    def fetch(self, key: str, target: Path) -> bool:
        """Copy a file to disk, large ones by several connections. False when there is none."""
        temporary = target.parent / f".tmp-{uuid.uuid4()}"
        with _told(key):
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self._client.download_file(
                    self._bucket, self._prefix + key, str(temporary), Config=self._transfer
                )
                temporary.replace(target)
            except ClientError as exc:
                if _code(exc) in _ABSENT:
                    return False
                raise
            finally:
                temporary.unlink(missing_ok=True)
        return True

    def size(self, key: str) -> int | None:
        """Bytes of a file; None when there is none."""
        with _told(key):
            try:
                found = self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)
            except ClientError as exc:
                if _code(exc) in _ABSENT:
                    return None
                raise
            return int(found["ContentLength"])

    def below(self, prefix: str) -> Iterator[str]:
        """The names directly below a prefix."""
        start = self._prefix + prefix
        with _told(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=start, Delimiter="/"
            )
            for page in pages:
                for one in page.get("CommonPrefixes", ()):
                    yield one["Prefix"][len(start) : -1]
                for one in page.get("Contents", ()):
                    yield one["Key"][len(start) :]

    def remove(self, prefix: str) -> int:
        """Remove every file whose key begins so, a thousand a request."""
        count = 0
        with _told(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                keys = [{"Key": one["Key"]} for one in page.get("Contents", ())]
                if not keys:
                    continue
                said = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": keys, "Quiet": True}
                )
                if said.get("Errors"):
                    first = said["Errors"][0]
                    raise ClientError({"Error": {"Code": first.get("Code", "")}}, "DeleteObjects")
                count += len(keys)
        return count

    def download_url(self, key: str, valid_s: int, filename: str, media_type: str) -> SignedUrl | None:
        """An address from which a browser may fetch a file."""
        asked = {
            "Bucket": self._bucket,
            "Key": self._prefix + key,
            "ResponseContentType": media_type,
            "ResponseContentDisposition": f"attachment; filename*=UTF-8''{quote(filename, safe='')}",
        }
        with _told(key):
            return SignedUrl(
                self._client.generate_presigned_url("get_object", Params=asked, ExpiresIn=valid_s), {}
            )

    def upload_url(self, key: str, valid_s: int, size: int) -> SignedUrl | None:
        """An address to which a file of this size may be PUT: S3 refuses another size."""
        asked = {
            "Bucket": self._bucket, "Key": self._prefix + key, "ContentLength": size, **self._encrypted,
        }  # fmt: skip
        headers = {"Content-Length": str(size)}
        if "ServerSideEncryption" in self._encrypted:
            headers["x-amz-server-side-encryption"] = self._encrypted["ServerSideEncryption"]
        if "SSEKMSKeyId" in self._encrypted:
            headers["x-amz-server-side-encryption-aws-kms-key-id"] = self._encrypted["SSEKMSKeyId"]
        with _told(key):
            url = self._client.generate_presigned_url("put_object", Params=asked, ExpiresIn=valid_s)
        return SignedUrl(url, headers)


def _encryption(said: str) -> dict[str, str]:
    if said.startswith("aws:kms:"):
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": said.removeprefix("aws:kms:")}
    return {"ServerSideEncryption": said} if said else {}


def _code(exc: ClientError) -> str:
    return str(exc.response.get("Error", {}).get("Code", ""))


@contextmanager
def _told(key: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError, Boto3Error, OSError) as exc:
        said = {"action": "storage_failed", "key": key, "error": type(exc).__name__}
        log.warning("the storage does not do what it should: %s", exc, extra=said)
        raise unavailable(exc) from exc
