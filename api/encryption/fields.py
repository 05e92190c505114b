"""Columns whose words are encrypted: names of recordings, what is said about them, and about whom.

One key serves all words of a database: rows are read by the hundred, and a key service takes its time. It is
kept like the key of a job, under a name that no job has. What is erased goes from the rows themselves.

A column's type knows no settings. So what encrypts is tied to the dialect of an engine, which is what a type
is given: `encrypt_fields` does that. Without it a column holds what is written to it, and gives what it
holds: a copy of a database is made without its keys.
"""

from __future__ import annotations

import base64
import json
import secrets
from typing import Any, Final
from weakref import WeakKeyDictionary

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import JSON, Dialect, Engine, Text
from sqlalchemy.types import TypeDecorator

from api.encryption.errors import MasterKeyWrong

_MARK: Final = "\x02enc1:"
"""No user's text begins with it: control characters are not let in."""
_SIV_BYTES: Final = 64
_NONCE: Final = 16
_CIPHERS: WeakKeyDictionary[Dialect, FieldCipher] = WeakKeyDictionary()


class FieldCipher:
    """Encrypts texts with AES-SIV (RFC 5297), bound to the column that they stand in.

    Args:
        key: 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        derived = HKDF(SHA256(), _SIV_BYTES, salt=None, info=b"audio-pipeline fields 1").derive(key)
        self._siv = AESSIV(derived)

    def encrypt(self, column: str, said: str, *, found: bool) -> str:
        """Encrypt a text.

        Args:
            column: where it is to stand.
            said: the text; an empty one stays as it is.
            found: whether equal texts are to be equal afterwards, so that a query can ask for one.
        """
        if not said:
            return said
        nonce = b"" if found else secrets.token_bytes(_NONCE)
        sealed = self._siv.encrypt(said.encode("utf-8", "surrogatepass"), [column.encode(), nonce])
        return _MARK + base64.b64encode(nonce + sealed).decode()

    def decrypt(self, column: str, said: str, *, found: bool) -> str:
        """A text that was encrypted; one that was not stays as it is.

        Raises:
            MasterKeyWrong: it was changed, or encrypted for another database.
        """
        if not said.startswith(_MARK):
            return said
        data = base64.b64decode(said.removeprefix(_MARK))
        nonce, sealed = (b"", data) if found else (data[:_NONCE], data[_NONCE:])
        try:
            return self._siv.decrypt(sealed, [column.encode(), nonce]).decode("utf-8", "surrogatepass")
        except (InvalidTag, ValueError) as exc:
            raise MasterKeyWrong(
                f"What the database holds in {column} cannot be decrypted.",
                "It was changed, or belongs to another database: restore a backup.",
            ) from exc


def encrypt_fields(engine: Engine, cipher: FieldCipher) -> None:
    """Have everything that an engine writes into such columns encrypted, and decrypt what it reads."""
    _CIPHERS[engine.dialect] = cipher


def cipher_of(dialect: Dialect) -> FieldCipher | None:
    """What encrypts for an engine; None: nothing does."""
    return _CIPHERS.get(dialect)


class EncryptedText(TypeDecorator[str]):
    """A text.

    Args:
        column: its name, with the table's.
        found: see `FieldCipher.encrypt`.
    """

    impl = Text
    cache_ok = True

    def __init__(self, column: str, found: bool = False) -> None:
        super().__init__()
        self.column, self.found = column, found

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """On its way into the database."""
        cipher = cipher_of(dialect)
        if cipher is None or value is None:
            return value
        return cipher.encrypt(self.column, value, found=self.found)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """On its way out."""
        cipher = cipher_of(dialect)
        if cipher is None or value is None:
            return value
        return cipher.decrypt(self.column, value, found=self.found)


class EncryptedJSON(TypeDecorator[Any]):
    """A JSON value; encrypted, it is a JSON string.

    Args:
        column: its name, with the table's.
        none_as_null: whether None is NULL rather than JSON's null.
    """

    impl = JSON
    cache_ok = True

    def __init__(self, column: str, none_as_null: bool = False) -> None:
        super().__init__(none_as_null=none_as_null)
        self.column, self.none_as_null = column, none_as_null

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """On its way into the database."""
        cipher = cipher_of(dialect)
        return cipher.encrypt(self.column, json.dumps(value), found=False) if cipher and value else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """On its way out."""
        cipher = cipher_of(dialect)
        if cipher is None or not isinstance(value, str) or not value.startswith(_MARK):
            return value
        return json.loads(cipher.decrypt(self.column, value, found=False))
