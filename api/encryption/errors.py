"""What can go wrong with encryption at rest, beside `api.errors`."""

from __future__ import annotations

from api.errors import Gone, ResultDamaged, ServiceError


class MasterKeyMissing(ServiceError):
    """Data are encrypted by a master key that the settings do not name."""

    code = "master_key_missing"


class MasterKeyWrong(ServiceError):
    """A master key does not open what was wrapped with the key of that name."""

    code = "master_key_wrong"


class KeyCommandFailed(ServiceError):
    """The program that wraps and unwraps keys is missing, failed, or answered nonsense."""

    code = "key_command_failed"
    retryable = True


class DataKeyGone(Gone):
    """A file is encrypted and its job's key was destroyed: nobody can read it any more."""

    code = "data_key_gone"


class EncryptedFileDamaged(ResultDamaged):
    """An encrypted file was changed, cut short, or is another one than it is said to be."""

    code = "encrypted_file_damaged"
