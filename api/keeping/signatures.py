"""Signatures that anybody can verify: of receipts and of checkpoints of the audit log (Ed25519, RFC 8032)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from api.keeping.errors import ReceiptInvalid
from api.security.secret import ServerSecret


class Signer:
    """Signs JSON objects with a key that follows from the server's secret.

    Args:
        secret: the server's.
    """

    def __init__(self, secret: ServerSecret) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(secret.key("signatures"))

    @property
    def public_key(self) -> str:
        """What verifies the signatures: 64 hexadecimal digits. Hand it out."""
        return self._key.public_key().public_bytes_raw().hex()

    def signed(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """An object with ``key`` and ``signature`` added: over the canonical JSON of all else."""
        whole = {**said, "key": self.public_key}
        return {**whole, "signature": self._key.sign(_canonical(whole)).hex()}


def check_signature(said: Mapping[str, Any], public_key: str) -> None:
    """Check an object that `Signer.signed` made.

    Args:
        said: the object.
        public_key: of who is trusted; never taken from the object itself.

    Raises:
        ReceiptInvalid: it was changed, or another key signed it.
    """
    rest = {name: value for name, value in said.items() if name != "signature"}
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        key.verify(bytes.fromhex(str(said.get("signature", ""))), _canonical(rest))
    except (InvalidSignature, ValueError) as exc:
        raise ReceiptInvalid(
            "The signature is not right: it was changed, or signed by another server.",
            "Compare its key with the one that python -m api erasure key prints.",
        ) from exc


def _canonical(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")
