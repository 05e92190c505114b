"""Takes the items of batches in, one after another, by the way of a single submission."""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from functools import partial
from typing import Final

import anyio
from anyio.to_thread import run_sync

from api.acceptance import locate_and_accept
from api.batch_request import told
from api.batches.imports import Imports
from api.batches.model import Hold
from api.dependencies import Services
from api.errors import (
    DatabaseUnavailable,
    Draining,
    QueueFull,
    RateLimited,
    ServiceError,
    StorageFull,
    StorageUnavailable,
)
from api.jobs.folders import incoming
from api.jobs.model import JobStatus
from api.limits import RateLimits
from api.receiving import Received, Recording, storable_name
from api.schemas import Submission
from api.schemas_batches import BatchItem
from api.security.principal import Principal
from pipeline.errors import DiskFull, PipelineError
from pipeline.locked_folder import LockedFolder
from pipeline.scratch import disk_errors

log = logging.getLogger(__name__)

_LEASE_S: Final = 30.0
_BEAT_S: Final = 8.0
_POLL_S: Final = 2.0
_AT_ONCE: Final = 2
"""Items that a replica takes in at a time: half of the fetches that it makes at once are left to others."""
_PAUSES_S: Final = (10.0, 60.0)
"""Rests after failures that may pass by themselves, as of a server that is busy; then the item is refused."""
_FULL_S: Final = 10.0
_LATER: Final = (
    QueueFull,
    Draining,
    StorageFull,
    StorageUnavailable,
    DatabaseUnavailable,
    RateLimited,
    DiskFull,
)
"""What is no fault of an item: it waits until there is room, however long that takes."""
_SUBMIT: Final = "POST /process"


class BatchIntake:
    """Makes jobs of what waits in batches, as long as it runs. Any number of replicas may do it at once.

    An item is held by a lease that is renewed while it is fetched, and its job has the same id in every try:
    of an item whose replica dies, the next one finds the job, or makes it.

    Args:
        services: of the service.
        limits: every item counts as one submission.
    """

    def __init__(self, services: Services, limits: RateLimits) -> None:
        self._services, self._store, self._limits = services, services.batches, limits
        self._imports = Imports(services.settings.import_dir)
        self._places: list[str] = []

    async def run(self) -> None:
        """Work until cancelled."""
        self._places.append(await run_sync(lambda: self._services.uploads.place))
        async with anyio.create_task_group() as tasks:
            for _ in range(_AT_ONCE):
                tasks.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            try:
                busy = await self._next()
            except PipelineError as exc:
                log.warning("batches wait: %s", exc.message, extra={"action": "batch_intake_failed"})
                busy = False
            except Exception:
                log.exception("an item of a batch failed", extra={"action": "batch_intake_failed"})
                busy = False
            if not busy:
                await self._services.batch_bell.wait(_POLL_S)

    async def _next(self) -> bool:
        """Take one item in; whether there was one."""
        if not await run_sync(self._store.waits, self._places) or not await run_sync(self._has_room):
            return False
        hold = await run_sync(self._store.hold, self._places, _LEASE_S)
        if hold is None:
            return False
        failure: PipelineError | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep, hold, tasks.cancel_scope)
            try:
                await self._take_in(hold)
            except PipelineError as exc:
                failure = exc
            except anyio.get_cancelled_exc_class():
                with anyio.CancelScope(shield=True):  # The service stops: the next one begins at once.
                    await run_sync(self._store.release, hold)
                raise
            except Exception as exc:
                # No item must be tried for ever; what it was is in the log.
                log.exception("an item of a batch failed", extra={"action": "batch_intake_failed"})
                failure = ServiceError(f"The service failed: {type(exc).__name__}.")
            tasks.cancel_scope.cancel()
        if failure is not None:
            await run_sync(self._put_off, hold, failure)
        return True

    async def _keep(self, hold: Hold, scope: anyio.CancelScope) -> None:
        """Renew the lease; where it was lost, end the work."""
        held = True
        while held:
            await anyio.sleep(_BEAT_S)
            with suppress(PipelineError):  # The next one may come in time.
                held = await run_sync(self._store.renew, hold, _LEASE_S)
        scope.cancel()

    def _has_room(self) -> bool:
        """Whether a job could be accepted: before anything is fetched for it."""
        services = self._services
        if set(services.admission.state().reasons) - {"no_worker", "memory_reserve"}:
            return False
        return services.store.counts([JobStatus.QUEUED])[JobStatus.QUEUED] < services.settings.max_queued

    async def _take_in(self, hold: Hold) -> None:
        services = self._services
        principal = await run_sync(services.keys.principal, hold.key_id)
        await run_sync(self._count, principal)
        await run_sync(services.admission.admit)
        held = await run_sync(self._folder)
        try:
            item = BatchItem.model_validate(hold.submission)
            recording = await run_sync(self._imported, item, held) if item.path is not None else None
            submission = Submission.model_validate(item.model_dump(exclude={"path"}))
            taken = Received(submission, held.path, recording)
            still = partial(self._store.renew, hold, _LEASE_S)
            accepted = await locate_and_accept(services, principal, taken, hold.job_id, still)
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(held.close)
        with anyio.CancelScope(shield=True):
            # A job that this very item made before its replica died is no other's.
            repeated = accepted.repeated and accepted.id != hold.job_id
            await run_sync(self._record, hold, principal, accepted.id, repeated)

    def _count(self, principal: Principal) -> None:
        self._limits.take({"type": "http", "headers": [], "state": {"principal": principal}}, _SUBMIT)

    def _folder(self) -> LockedFolder:
        with disk_errors("the uploads folder"):
            return LockedFolder(incoming(self._services.folders.uploads), 0o700)

    def _imported(self, item: BatchItem, held: LockedFolder) -> Recording:
        """A copy of a recording in the import folder, which stays as it is."""
        assert item.path is not None
        path = self._imports.file(item.path)
        self._services.admission.admit(path.stat().st_size)
        with disk_errors("the recording"):
            shutil.copyfile(path, held.path / "input")
        return Recording(held.path / "input", storable_name(path.name))

    def _record(self, hold: Hold, principal: Principal, job_id: str, repeated: bool) -> None:
        services = self._services
        job = services.store.get(job_id)
        services.audit.record(
            "process",
            user=principal.owner,
            key_id=principal.key_id,
            input=hold.source if job is None else job.filename,
            output=f"batch {hold.batch.id}",
            status="accepted",
            job_id=job_id,
        )
        if repeated:
            services.metrics.repeated.inc()
        if not self._store.take(hold, job_id, repeated=repeated) and not repeated:
            batch = self._store.get(hold.batch.id)
            if batch is None or batch.cancelled_at is not None:  # The job came an instant too late.
                services.store.request_cancel(job_id)

    def _put_off(self, hold: Hold, error: PipelineError) -> None:
        """Have an item wait, or refuse it."""
        pause_s = getattr(error, "retry_after_s", None) or _FULL_S
        if isinstance(error, _LATER):
            self._store.rest(hold, told(error), pause_s, counts=False)
        elif error.retryable and error.code != "quota_exceeded" and hold.tries < len(_PAUSES_S):
            self._store.rest(hold, told(error), _PAUSES_S[hold.tries], counts=True)
        else:
            self._store.refuse(hold, told(error))
