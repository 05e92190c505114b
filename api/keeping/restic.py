"""Backups in a repository of restic: encrypted, without repetition, in a folder or in S3.

The same stream as of plain backups goes in, unpacked: restic cuts it where its content says so, and stores
only what it does not have. A backup is the newest snapshot that was finished: restic makes it last.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any, BinaryIO, Final

from api.keeping.archive import Kind, Writer, read
from api.keeping.errors import BackupDamaged, RepositoryFailed
from api.keeping.vault import Fill, Stored

_FILE: Final = "backup.tar"
_TAG: Final = "audio-pipeline"
_SHOWN: Final = 300


class ResticVault:
    """Backups in a repository, which is made when it is first written to.

    Args:
        repository: as restic names it. What else restic needs, such as AWS_ACCESS_KEY_ID, it finds in the
            environment.
        password: of the repository.
    """

    def __init__(self, repository: str, password: str) -> None:
        # In the environment and not on the command line, which every user of the machine can read.
        self._environment = {
            **os.environ,
            "RESTIC_REPOSITORY": repository,
            "RESTIC_PASSWORD": password,
            "RESTIC_PROGRESS_FPS": "0",
        }
        self._hidden = (password, repository)

    def backups(self) -> list[Stored]:
        """All of them, oldest first."""
        if not self._exists():
            return []
        found = []
        for snapshot in json.loads(self._run("snapshots", "--json", "--tag", _TAG)) or []:
            tags = {key: value for key, _, value in (tag.partition("=") for tag in snapshot["tags"])}
            if "created_at" not in tags:
                continue
            kind: Kind = "full" if tags.get("kind") == "full" else "manifests"
            at = datetime.fromtimestamp(float(tags["created_at"]), UTC)
            found.append(Stored(snapshot["id"], kind, at, 0))
        return sorted(found, key=lambda stored: stored.created_at)

    def write(self, kind: Kind, created_at: datetime, fill: Fill) -> Stored:
        """Write a backup and read it back; one of the same kind and time is replaced."""
        if not self._exists():
            self._run("init")
        self._run("unlock")  # Only locks whose process is gone.
        replaced = [s for s in self.backups() if (s.kind, s.created_at) == (kind, created_at)]
        tags = f"{_TAG},kind={kind},created_at={created_at.timestamp():.6f}"
        argv = ["backup", "--stdin", "--stdin-filename", _FILE, "--tag", tags, "--host", _TAG]
        with self._started(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            assert process.stdin is not None
            try:
                written = fill(Writer(process.stdin))
            except BrokenPipeError as exc:
                process.kill()
                raise self._failed(process) from exc
            except BaseException:
                process.kill()  # An end of input would look like the end of the backup.
                raise
            process.stdin.close()
            if process.wait() != 0:
                raise self._failed(process)
        known = {one.name for one in replaced}
        made = [one for one in self.backups() if (one.kind, one.created_at) == (kind, created_at)]
        stored = next(one for one in made if one.name not in known)
        with self.opened(stored) as stream:
            if read(stream, name=stored.name) != written:
                raise BackupDamaged(f"{stored.name} is not what was written.", "Run: restic check.")
        self.remove(replaced)
        return stored

    @contextmanager
    def opened(self, stored: Stored) -> Iterator[BinaryIO]:
        """The tar stream of a backup."""
        with self._started(["dump", stored.name, _FILE], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                yield process.stdout  # type: ignore[misc]
                rest = process.stdout.read()  # Padding at the end of a tar.
                if process.wait() != 0 or rest.strip(b"\0"):
                    raise self._failed(process)
            finally:
                process.kill()

    def remove(self, unwanted: Sequence[Stored]) -> None:
        """Forget snapshots, and delete what no other one needs."""
        if unwanted:
            self._run("forget", "--prune", *(stored.name for stored in unwanted))

    def _exists(self) -> bool:
        with self._started(["cat", "config"], stdout=subprocess.DEVNULL) as process:
            _, said = process.communicate()
        if process.returncode == 0:
            return True
        text = said.decode(errors="replace").lower()
        if "is there a repository" in text or "does not exist" in text or "no such file" in text:
            return False
        raise self._explained(text)

    def _run(self, *argv: str) -> str:
        with self._started(argv, stdout=subprocess.PIPE) as process:
            out, said = process.communicate()
        if process.returncode != 0:
            raise self._explained(said.decode(errors="replace"))
        return str(out.decode())

    def _started(self, argv: Sequence[str], **pipes: Any) -> subprocess.Popen[bytes]:
        pipes.setdefault("stdin", subprocess.DEVNULL)
        try:
            return subprocess.Popen(
                ["restic", "--quiet", *argv], env=self._environment, stderr=subprocess.PIPE, **pipes
            )
        except FileNotFoundError as exc:
            raise RepositoryFailed(
                "restic is not installed.",
                "Install it, or unset PIPELINE_BACKUP_REPOSITORY.",
            ) from exc

    def _failed(self, process: subprocess.Popen[bytes]) -> RepositoryFailed:
        errors: IO[bytes] | None = process.stderr
        return self._explained(errors.read().decode(errors="replace") if errors is not None else "")

    def _explained(self, said: str) -> RepositoryFailed:
        line = next((line for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
        for secret in self._hidden:
            line = line.replace(secret, "[hidden]")
        hint = "Check the repository, its password, and that it can be reached."
        return RepositoryFailed(f"restic failed: {line[:_SHOWN]}.", hint)
