from __future__ import annotations

import ssl
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from scripts.self_signed import main


@pytest.mark.parametrize("host", ["audio.example.org", "192.0.2.7"])
def test_a_client_that_trusts_it_finds_the_host_that_it_asked_for(tmp_path: Path, host: str) -> None:
    assert main([host, str(tmp_path)]) == 0
    shake_hands(tmp_path, host)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tmp_path, "another.example.org")


def shake_hands(folder: Path, host: str) -> None:
    """A handshake of a client that trusts the certificate with a server that has it."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "fullchain.pem", folder / "privkey.pem")
    client = ssl.create_default_context(cafile=folder / "fullchain.pem")
    hears, says = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(hears, says, server_hostname=host),
        server.wrap_bio(says, hears, server_side=True),
    ]
    for _ in range(4):  # more turns than a handshake has
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    assert all(end.version() for end in ends)


def test_only_the_owner_reads_the_key(tmp_path: Path) -> None:
    main(["audio.example.org", str(tmp_path)])
    assert stat.S_IMODE((tmp_path / "privkey.pem").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fullchain.pem", "privkey.pem"]


def test_a_certificate_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "fullchain.pem").write_text("of an authority")
    assert main(["audio.example.org", str(tmp_path)]) == 0
    assert [path.read_text() for path in tmp_path.iterdir()] == ["of an authority"]
