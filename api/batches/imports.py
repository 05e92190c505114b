"""Recordings that lie on the server: in the import folder, which only its operator fills."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Final

from api.errors import Forbidden, InvalidRequest, NotFound
from pipeline.errors import InputNotFound
from pipeline.recordings import recordings_below

_MOST: Final = 10_000


class Imports:
    """What may be imported. It is read and never changed.

    Args:
        folder: the import folder; None: nothing may.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def file(self, name: str) -> Path:
        """A recording by its path below the folder.

        Raises:
            Forbidden: nothing is imported here.
            InvalidRequest: the path leads out of the folder, also by a link.
            NotFound: there is no such file.
        """
        path = self._inside(name)
        if not path.is_file():
            raise NotFound(f"There is no file {name!r} in the import folder.", "Check the path.")
        return path

    def files(self, name: str) -> list[str]:
        """A path that names a folder, as the paths of the recordings below it; that of a file as it is.

        Raises:
            Forbidden: nothing is imported here.
            InvalidRequest: the path leads out of the folder, also by a link, or to more than can be listed.
            NotFound: there is nothing there.
        """
        path = self._inside(name)
        if not path.is_dir():
            self.file(name)
            return [name]
        try:
            found = recordings_below(path)
        except InputNotFound as exc:
            raise NotFound(f"There is no audio file in {name!r} of the import folder.", exc.hint) from exc
        if len(found) > _MOST:
            raise InvalidRequest(f"{name!r} holds more than {_MOST} recordings.", "Name the folders in it.")
        assert self._folder is not None
        root = self._folder.resolve()
        return [str(one.relative_to(root)) for one in found if one.resolve().is_relative_to(root)]

    def _inside(self, name: str) -> Path:
        if self._folder is None:
            raise Forbidden(
                "Nothing is imported from the server here.",
                "Upload the files; or ask the operator to set PIPELINE_IMPORT_DIR.",
            )
        if "\0" in name or PurePosixPath(name).is_absolute():
            raise InvalidRequest(
                "The path must be relative to the import folder.", "Leave the first slash out."
            )
        root = self._folder.resolve()
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise InvalidRequest("The path leads out of the import folder.", "Name what is below it.")
        return path
