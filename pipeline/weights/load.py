"""From verified files to networks that are ready to run."""

from __future__ import annotations

import contextlib
import hashlib
import math
import pickle
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import WeightsConfig
from pipeline.errors import MemoryExhausted, WeightsCorrupt
from pipeline.progress import CancelToken
from pipeline.weights.digests import content_sha256
from pipeline.weights.fetch import ensure
from pipeline.weights.spec import ModelSpec
from pipeline.weights.transfer import FetchProgress

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory.

    Attributes:
        spec: what was loaded.
        networks: Demucs' own classes, float32, on the CPU, in eval mode, without gradients.
        shares: for each network its weight in each stem, in the order of ``spec.stems``.
        content_sha256: hash of the tensors, the same whatever files they came in. For several networks the
            SHA-256 of their hashes in hex, joined by line feeds.
        sample_rate: Hz, of the audio that the networks expect.
        segment_s: seconds of audio to give them at a time.
        longest_segment_s: seconds that they can take at most; infinite without a limit.
    """

    spec: ModelSpec
    networks: tuple[torch.nn.Module, ...]
    shares: tuple[tuple[float, ...], ...]
    content_sha256: str
    sample_rate: int
    segment_s: float
    longest_segment_s: float

    @property
    def complete(self) -> bool:
        """Whether the networks hold their weights: see `let_go`."""
        return not any(each.is_meta for network in self.networks for each in network.parameters())

    def let_go(self) -> None:
        """Give the memory of the weights back; what the networks say of themselves stays true."""
        for network in self.networks:
            network.to("meta")


def load(
    spec: ModelSpec,
    config: WeightsConfig,
    *,
    progress: Callable[[FetchProgress], None] | None = None,
    cancel: CancelToken | None = None,
) -> LoadedModel:
    """Load a model; its weights are verified first, and fetched if need be.

    Args:
        spec: a model with weights.
        config: where weights lie and come from.
        progress: called with every piece that is fetched.
        cancel: stops a fetch.

    Raises:
        WeightsUnavailable: no source has the weights.
        WeightsCorrupt: a file holds something else than these networks.
        DiskFull: there is no room for them.
        OutputUnwritable: the cache folder cannot be written.
        MemoryExhausted: the machine has no room for the networks.
        Cancelled: `cancel` was raised.
    """
    from demucs.htdemucs import HTDemucs

    networks, hashes = [], []
    paths = ensure(spec, config, progress=progress, cancel=cancel)
    for member, path in zip(spec.members, paths, strict=True):
        network = read_network(path)
        content = network_sha256(network)
        if tuple(network.sources) != spec.stems or member.content_sha256 not in {None, content}:
            raise _corrupt(path, "it holds another network")
        networks.append(network)
        hashes.append(content)
    longest_s = min([math.inf, *(float(n.segment) for n in networks if isinstance(n, HTDemucs))])
    own_s = min(float(n.segment) for n in networks)
    return LoadedModel(
        spec=spec,
        networks=tuple(networks),
        shares=tuple(member.shares for member in spec.members),
        content_sha256=_together(hashes),
        sample_rate=int(networks[0].samplerate),
        segment_s=min(spec.segment_s or own_s, longest_s),
        longest_segment_s=longest_s,
    )


def _together(hashes: list[str]) -> str:
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def network_sha256(network: torch.nn.Module) -> str:
    """Hash what a network holds: see `pipeline.weights.digests.content_sha256`."""
    state = network.state_dict()
    return content_sha256((name, state[name].detach().cpu().half().numpy()) for name in sorted(state))


def read_network(path: Path) -> Any:
    """Read one network from a verified file.

    Args:
        path: ``.safetensors`` as on the hub, or a ``.th`` checkpoint as Demucs published them before.

    Returns:
        One of Demucs' networks: float32, CPU, eval mode, no gradients.

    Raises:
        WeightsCorrupt: the file cannot be read, or wants more than tensors and Demucs' own classes.
        MemoryExhausted: the machine has no room for it.
    """
    from safetensors import SafetensorError

    try:
        network = _read_checkpoint(path) if path.suffix == ".th" else _read_safetensors(path)
    except pickle.UnpicklingError as exc:
        raise _corrupt(path, "it holds more than tensors and Demucs' own classes") from exc
    except (SafetensorError, OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError) as exc:
        if "can't allocate memory" in str(exc):  # torch has no class of its own for it
            raise MemoryExhausted("Memory ran out while loading the model.", "Close other programs.") from exc
        raise _corrupt(path, f"it cannot be read ({type(exc).__name__})") from exc
    return network.eval().requires_grad_(False)


def _read_safetensors(path: Path) -> Any:
    from demucs.hf import load_safetensors_model
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        named = (file.metadata() or {}).get("klass")
    # demucs imports whatever class the file names: here only the three that it means.
    if named not in {f"{klass.__module__}.{klass.__qualname__}" for klass in _network_classes()}:
        raise ValueError(f"unexpected class {named}")
    with _old_arguments():
        return load_safetensors_model(path)


def _read_checkpoint(path: Path) -> Any:
    import torch
    from demucs.states import load_model

    with torch.serialization.safe_globals(_checkpoint_types()):
        package = torch.load(path, map_location="cpu", weights_only=True)
    if package["klass"] not in _network_classes():
        raise ValueError(f"unexpected class {package['klass']}")
    with _old_arguments():
        return load_model(package)  # type: ignore[no-untyped-call]


def _network_classes() -> tuple[Any, ...]:
    from demucs.demucs import Demucs
    from demucs.hdemucs import HDemucs
    from demucs.htdemucs import HTDemucs

    return (HTDemucs, HDemucs, Demucs)


def _checkpoint_types() -> list[Any]:
    """Types in Demucs' checkpoints beside tensors: the network's class, its segment, training scores."""
    import numpy as np

    scalar: Any = np.float64(0).__reduce__()[0]
    # numpy moved the function; checkpoints name it by its old place.
    places = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    dtypes = [type(np.dtype(name)) for name in ("float64", "float32", "int64")]
    return [*_network_classes(), Fraction, np.dtype, *dtypes, *places]


@contextlib.contextmanager
def _old_arguments() -> Iterator[None]:
    # Some networks were saved with constructor arguments that have gone since; demucs drops them loudly.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Dropping inexistant parameter")
        yield


def _corrupt(path: Path, reason: str) -> WeightsCorrupt:
    return WeightsCorrupt(
        f"The weights file {path.name} is not usable: {reason}.", "Delete it; it is then fetched again."
    )
