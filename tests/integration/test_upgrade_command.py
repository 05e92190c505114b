"""`python -m api upgrade` as an installation's pods run it before they serve."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.postgres import Postgres
from tests.service import ROOT, free_port


def command(folder: Path, url: str, *options: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DATA_DIR": str(folder), "DATABASE_URL": url}
    return subprocess.Popen(
        [sys.executable, "-m", "api", "upgrade", *options],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_one_of_several_makes_the_tables_and_the_others_wait_for_it_and_for_the_database(
    tmp_path: Path,
) -> None:
    postgres = Postgres()
    try:
        url = postgres.url().replace("postgresql:", "postgresql+psycopg:")
        pods = [command(tmp_path, url, "--wait", "250") for _ in range(3)]
        # They are sure to have asked in vain: nothing has listened yet.
        postgres.start()
        said = [pod.communicate(timeout=280)[0].strip() for pod in pods]
        assert [pod.returncode for pod in pods] == [0, 0, 0], said
        assert "the database is up to date now" in said
        again = command(tmp_path, url)
        assert again.communicate(timeout=60)[0].strip() == "the database was up to date"
    finally:
        postgres.stop()


def test_a_database_that_never_answers_is_said_so(tmp_path: Path) -> None:
    nowhere = f"postgresql+psycopg://pipeline@127.0.0.1:{free_port()}/pipeline"
    refused = command(tmp_path, nowhere)
    said = refused.communicate(timeout=60)[0]
    assert refused.returncode == 1
    assert said.startswith("error: ") and "Traceback" not in said
