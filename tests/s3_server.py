"""An S3 for tests: moto's server, over real HTTP or HTTPS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import boto3
import pytest
import trustme
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "recordings"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "for-the-tests-only",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Of every process that uses it; moto takes any."""


class _Quiet(WSGIRequestHandler):
    """Writes no line for each request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        del code, size


@contextmanager
def s3_server(authority: trustme.CA | None = None, folder: Path | None = None) -> Iterator[str]:
    """A server with one empty bucket.

    Args:
        authority: of its certificate, where it speaks TLS; who asks it is told to trust this one alone.
        folder: for the authority's certificate.

    Yields:
        Its URL, for PIPELINE_STORAGE_ENDPOINT.
    """
    tls, trust = None, {}
    if authority is not None and folder is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        authority.cert_pem.write_to_path(str(folder / "s3-ca.pem"))
        trust = {"AWS_CA_BUNDLE": str(folder / "s3-ca.pem")}
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Quiet, ssl_context=tls)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**CREDENTIALS, **trust}.items():
            patch.setenv(name, value)
        try:
            boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=BUCKET)
            yield endpoint
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
