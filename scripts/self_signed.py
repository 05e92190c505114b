"""Makes a self-signed certificate, for a proxy that has none yet.

``python scripts/self_signed.py audio.example.org FOLDER [--owner UID]`` writes ``fullchain.pem`` and
``privkey.pem`` where FOLDER has no certificate. Browsers warn of it, rightly: it proves nothing about who
answers.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_VALID = timedelta(days=397)
"""Apple's and Mozilla's root programs allow servers 398 days."""


def self_signed(host: str, now: datetime) -> tuple[bytes, bytes]:
    """A certificate of a host and its key.

    Args:
        host: name or address.
        now: from when it is valid.

    Returns:
        Both as PEM: the certificate, the key.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([_name(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def main(arguments: list[str]) -> int:
    """Write the files, unless there is a certificate.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(description="Make a self-signed certificate where there is none.")
    parser.add_argument("host")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--owner", type=int, help="whom folder and files are given to")
    given = parser.parse_args(arguments)
    if (given.folder / "fullchain.pem").exists():
        print("there is a certificate: it stays")
        return 0
    certificate, key = self_signed(given.host.partition(":")[0], datetime.now(UTC))
    # The certificate last: with it, the pair is there.
    for name, content in (("privkey.pem", key), ("fullchain.pem", certificate)):
        new = given.folder / f".{name}.new"
        new.write_bytes(b"")
        new.chmod(0o600)
        new.write_bytes(content)
        if given.owner is not None:
            os.chown(new, given.owner, given.owner)
        new.rename(given.folder / name)
    if given.owner is not None:
        os.chown(given.folder, given.owner, given.owner)
    print(f"made a self-signed certificate of {given.host}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
