"""The part of the client that looks after the service; its key needs the scope admin."""

from __future__ import annotations

import httpx2 as httpx

from api.client_answers import checked
from api.schemas import WorkerBody
from api.schemas_admin import AuditBody, DiskBody, KeyBody, KeyRequest, NewKeyBody, QueuedBody, VerdictBody


class Admin:
    """Looks after one service. Every method raises what `api.client.Client` raises.

    Args:
        http: of the service, with a key.
    """

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def queue(self) -> list[QueuedBody]:
        """The jobs of every owner that run or wait."""
        return [QueuedBody.model_validate(entry) for entry in self._get("/admin/queue").json()]

    def workers(self) -> list[WorkerBody]:
        """The worker processes."""
        return [WorkerBody.model_validate(worker) for worker in self._get("/workers").json()]

    def disks(self) -> list[DiskBody]:
        """How full each disk is that the service uses."""
        return [DiskBody.model_validate(disk) for disk in self._get("/admin/disks").json()]

    def find_keys(self) -> list[KeyBody]:
        """Every API key, oldest first."""
        return [KeyBody.model_validate(key) for key in self._get("/admin/keys").json()]

    def create_key(self, wanted: KeyRequest) -> NewKeyBody:
        """Make a key; the answer is the only place where it is ever seen."""
        answer = self._http.post("/admin/keys", json=wanted.model_dump(exclude_none=True))
        return NewKeyBody.model_validate(checked(answer).json())

    def revoke_key(self, key_id: str) -> KeyBody:
        """Refuse a key from now on."""
        return KeyBody.model_validate(checked(self._http.delete(f"/admin/keys/{key_id}")).json())

    def audit(self, *, before: int | None = None, limit: int = 50) -> list[AuditBody]:
        """The latest entries of the audit log, newest first.

        Args:
            before: number of the entry after the newest of them; None: the log's end.
            limit: at most so many.
        """
        asked = {"limit": limit, **({} if before is None else {"before": before})}
        return [AuditBody.model_validate(entry) for entry in self._get("/admin/audit", asked).json()]

    def verify_audit(self) -> VerdictBody:
        """Whether the audit log is whole."""
        return VerdictBody.model_validate(self._get("/admin/audit/verify").json())

    def _get(self, path: str, asked: dict[str, int] | None = None) -> httpx.Response:
        return checked(self._http.get(path, params=asked))
