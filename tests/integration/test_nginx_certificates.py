"""How the proxy comes by a certificate, and follows it: real nginx, real certbot, a real ACME authority."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest

from tests.acme import Authority
from tests.faults.service_faults import until
from tests.nginx import START, Nginx

RENEW = START.with_name("renew-certificates.sh")
NOBODY = "127.0.0.1:9"


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Nginx]:
    """A proxy without a certificate, before a service that is not there."""
    with Nginx(tmp_path, api=NOBODY, ui=NOBODY, certified=False, TLS_CHECK_S="0.1") as proxy:
        yield proxy


def shown(nginx: Nginx) -> bytes | None:
    """The certificate that a new connection is shown; None without TLS."""
    address = urlsplit(nginx.https_url)
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address.hostname, address.port or 443), timeout=5) as plain,
            unchecked.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            return connection.getpeercert(binary_form=True)
    except OSError:
        return None


def test_without_a_certificate_the_site_is_there_by_plain_http(bare: Nginx) -> None:
    answer = httpx.get(f"{bare.http_url}/api/health")
    assert (answer.status_code, answer.json()["code"]) == (502, "unavailable")
    assert "Strict-Transport-Security" not in answer.headers
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert "plain HTTP" in bare.said.read_text()
    assert shown(bare) is None


def test_a_certificate_that_comes_or_changes_is_taken_up_without_a_restart(bare: Nginx) -> None:
    assert bare.process is not None
    before = bare.process.pid
    bare.certify()
    until(lambda: shown(bare) is not None, "nginx serves TLS")
    until(lambda: httpx.get(f"{bare.http_url}/api/health").status_code == 308, "plain HTTP leads to it")
    first = shown(bare)
    bare.certify()
    until(lambda: shown(bare) not in (None, first), "nginx shows the new certificate")
    with bare.client(None) as trusting:
        assert trusting.get("/api/health").status_code == 502
    assert (bare.process.pid, bare.process.poll()) == (before, None)


def test_a_key_of_another_certificate_is_not_taken_up(bare: Nginx) -> None:
    bare.certify()
    until(lambda: shown(bare) is not None, "nginx serves TLS")
    first, chain = shown(bare), bare.chain.read_bytes()
    said = bare.said.read_text()
    bare.certify()
    new = bare.chain.read_bytes()
    bare.chain.write_bytes(chain)
    until(lambda: "key values mismatch" in bare.said.read_text().removeprefix(said), "nginx has refused it")
    assert shown(bare) == first
    bare.chain.write_bytes(new)
    until(lambda: shown(bare) not in (None, first), "nginx takes both, once they belong together")


def test_a_certificate_without_a_name_to_serve_is_refused(tmp_path: Path) -> None:
    proxy = Nginx(tmp_path, api=NOBODY, ui=NOBODY, name=None)
    refused = proxy.check()
    assert (refused.returncode, "PUBLIC_HOST" in refused.stderr) == (2, True)


def test_certbot_gets_a_certificate_and_leaves_it_alone_until_it_is_due(bare: Nginx, tmp_path: Path) -> None:
    folder = tmp_path / "authority"
    folder.mkdir()
    name = "audio.example.org"
    bare.chain, bare.key = tmp_path / "tls" / "fullchain.pem", tmp_path / "tls" / "privkey.pem"
    reloads = tmp_path / "reloads"
    port = urlsplit(bare.http_url).port or 80
    with Authority(folder, port) as authority:
        environment = {
            **os.environ,
            "PUBLIC_HOST": f"{name}:443",
            "ACME_SERVER": authority.directory,
            "ACME_DIR": str(bare.acme),
            "TLS_DIR": str(tmp_path / "tls"),
            "CERTBOT_DIR": str(tmp_path / "certbot"),
            "RELOAD": f"echo reloaded >>'{reloads}'",
            "REQUESTS_CA_BUNDLE": str(authority.trust),
        }

        def renew() -> str:
            done = subprocess.run(
                ["sh", str(RENEW)], env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        assert "a new certificate" in renew()
        first = bare.chain.read_bytes()
        made = ssl.PEM_cert_to_DER_cert(first.decode().split("-----END CERTIFICATE-----")[0] + _END)
        assert name.encode() in made
        assert bare.key.stat().st_mode & 0o777 == 0o600
        assert "a new certificate" not in renew()
        assert (bare.chain.read_bytes(), reloads.read_text()) == (first, "reloaded\n")
        # As when it is due: what certbot remembers of it says so.
        remembered = tmp_path / "certbot" / "renewal" / f"{name}.conf"
        remembered.write_text("renew_before_expiry = 3650 days\n" + remembered.read_text())
        assert "a new certificate" in renew()
        assert bare.chain.read_bytes() != first
        assert reloads.read_text() == "reloaded\n" * 2


_END = "-----END CERTIFICATE-----\n"
