from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.log_files import LogFile, remove_old_logs


@pytest.mark.parametrize(("days", "files"), [(29, 1), (31, 2)])
def test_a_file_whose_first_line_is_a_month_old_is_turned_over(tmp_path: Path, days: int, files: int) -> None:
    path = tmp_path / "api.log"
    old = datetime.now(UTC) - timedelta(days=days)
    path.write_text(json.dumps({"at": old.isoformat(), "event": "old"}) + "\n")
    handler = LogFile(path)
    for _ in range(3):
        handler.emit(logging.makeLogRecord({"msg": "new"}))
    handler.close()
    assert len(list(tmp_path.iterdir())) == files
    assert path.read_text().endswith("new\n")


def test_old_files_go_and_others_stay(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    for name, days in (("api.log", 1), ("api.log.1", 100), ("api.log.2", 200), ("other", 300)):
        (tmp_path / name).write_text("line\n")
        at = (now - timedelta(days=days)).timestamp()
        os.utime(tmp_path / name, (at, at))
    assert remove_old_logs(tmp_path, now - timedelta(days=183)) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"api.log", "api.log.1", "other"}
    assert remove_old_logs(tmp_path / "nowhere", now) == 0
