"""Batches, as a part of the typed client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx

from api.client_answers import checked, patiently
from api.schemas_batches import BatchBody, BatchPage, BatchSummary

_POLL_S: Final = 1.0


class Batches:
    """Many recordings as one. Every method raises as those of `api.client.Client` do.

    Args:
        http: speaks to the service.
    """

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def submit(
        self, items: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None, **shared: Any
    ) -> BatchBody:
        """Submit many recordings.

        Args:
            items: fields of `api.schemas_batches.BatchItem` each.
            idempotency_key: makes it safe to send the same request again.
            **shared: fields of `api.schemas_batches.Shared`.
        """
        return self._post("/batches", items, shared, idempotency_key)

    def add(
        self,
        batch_id: str,
        items: Sequence[Mapping[str, Any]],
        *,
        idempotency_key: str | None = None,
        **shared: Any,
    ) -> BatchBody:
        """Add recordings to a batch; arguments as of `submit`."""
        return self._post(f"/batches/{batch_id}/items", items, shared, idempotency_key)

    def get(self, batch_id: str) -> BatchBody:
        """Look a batch up."""
        return BatchBody.model_validate(checked(self._http.get(f"/batches/{batch_id}")).json())

    def page(self, cursor: str | None = None, limit: int = 20) -> BatchPage:
        """One page of `all`."""
        asked = {"limit": limit, **({"cursor": cursor} if cursor else {})}
        return BatchPage.model_validate(checked(self._http.get("/batches", params=asked)).json())

    def all(self) -> Iterator[BatchSummary]:
        """All batches, newest first."""
        cursor: str | None = None
        while True:
            page = self.page(cursor)
            yield from page.batches
            if page.next_cursor is None:
                return
            cursor = page.next_cursor

    def cancel(self, batch_id: str) -> BatchBody:
        """Stop a batch and its jobs."""
        return BatchBody.model_validate(checked(self._http.post(f"/batches/{batch_id}/cancel")).json())

    def wait(self, batch_id: str, listener: Callable[[BatchBody], None] | None = None) -> BatchBody:
        """Wait until a batch has ended.

        Args:
            batch_id: of the batch.
            listener: called with every look at it.
        """
        while True:
            batch = self.get(batch_id)
            if listener is not None:
                listener(batch)
            if batch.ended:
                return batch
            time.sleep(_POLL_S)

    def archive(self, batch_id: str, target: Path) -> Path:
        """Fetch the results of all jobs that have succeeded as one zip.

        Args:
            batch_id: of the batch.
            target: the file; it appears when it is whole.
        """
        draft = target.with_name(f".{target.name}.part")
        with self._http.stream("GET", f"/batches/{batch_id}/archive") as answer:
            if answer.is_error:
                answer.read()
            checked(answer)
            with draft.open("wb") as file:
                for chunk in answer.iter_bytes():
                    file.write(chunk)
        return draft.rename(target)

    def _post(
        self, path: str, items: Sequence[Mapping[str, Any]], shared: dict[str, Any], key: str | None
    ) -> BatchBody:
        said = {name: value for name, value in shared.items() if value is not None}
        headers = {} if key is None else {"Idempotency-Key": key}
        body = said | {"items": [dict(item) for item in items]}

        def ask() -> httpx.Response:
            return self._http.post(path, json=body, headers=headers)

        answer = checked(ask()) if key is None else patiently(ask)
        return BatchBody.model_validate(answer.json())
