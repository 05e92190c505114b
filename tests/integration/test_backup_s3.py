"""Backups in a bucket: restic against an S3 that runs here."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from api.jobs.folders import Folders
from api.keeping.archive import read
from api.keeping.backup import back_up
from api.keeping.holdings import Holdings
from api.keeping.restic import ResticVault
from tests.worker_support import made, open_store, submit


@pytest.mark.slow
def test_a_backup_goes_into_a_bucket_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket="backups")
        folders: Folders = made(tmp_path / "data")
        store = open_store(folders)
        recording = tmp_path / "recording"
        recording.write_bytes(bytes(range(256)) * 4000)
        submit(store, folders, recording)
        vault = ResticVault(f"s3:http://{host}:{port}/backups", "a password of the tests")
        done = back_up(Holdings(store._engine, store, folders), vault, "full")
        assert vault.backups() == [done.stored]
        with vault.opened(done.stored) as stream:
            assert read(stream) == done.contents
        names = [one["Key"] for one in client.list_objects_v2(Bucket="backups")["Contents"]]
        assert any(name.startswith("data/") for name in names)
    finally:
        server.stop()
