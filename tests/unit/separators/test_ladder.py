"""Where the memory of a GPU runs out, smaller batches and then the CPU do the rest: nothing is lost."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.audio import Audio, FloatArray
from pipeline.checkpoint import Checkpoint
from pipeline.config import PipelineConfig
from pipeline.errors import MemoryExhausted
from pipeline.manifest import Notice
from pipeline.progress import CancelToken
from pipeline.run import run
from pipeline.separators import registry
from pipeline.separators.base import Engine
from pipeline.separators.demucs import DemucsSeparator
from pipeline.separators.ladder import Ladder
from pipeline.separators.registry import WarmModel
from pipeline.separators.torch_engine import TorchEngine
from pipeline.weights.load import LoadedModel
from tests.audio_files import music, write_wav
from tests.networks import SAMPLE_RATE, SOURCES, htdemucs, loaded, separator_of


class Gpu:
    """Computes on the CPU what a GPU would, as long as a call has few enough rows.

    Args:
        model: what it computes; None: every row's four stems are the row itself.
        room: rows that fit; one number for each call, the last for all that follow.
    """

    name, device, precision = "torch", "cuda", "bfloat16"
    parallel = batch = 1
    recycles = True
    notices: tuple[Notice, ...] = ()

    def __init__(self, model: LoadedModel | None, *room: int) -> None:
        self._engine = TorchEngine(model.networks, "cpu") if model else None
        self._room = list(room)
        self.calls: list[int] = []

    def run(self, member: int, window: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(window))
        room = self._room.pop(0) if len(self._room) > 1 else self._room[0]
        if len(window) > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore words.")
        if self._engine is not None:
            return self._engine.run(member, window)
        return window[:, None].expand(-1, 4, -1, -1).clone()

    def rest(self) -> None:
        pass


class Cpu(Gpu):
    name, device, precision = "openvino", "cpu", "float32"


class Given:
    """Counts how often memory was given back."""

    count = 0

    def back(self) -> None:
        self.count += 1


def ladder(gpu: Engine | None, batch: int, cpu: Engine | None = None) -> tuple[Ladder, Given]:
    given = Given()
    return Ladder(gpu, lambda: cpu or Cpu(None, 1), batch, given.back), given


ROWS = torch.arange(8 * 2 * 5, dtype=torch.float32).reshape(8, 2, 5)


def assert_all_there(out: torch.Tensor) -> None:
    assert torch.equal(out, ROWS[:, None].expand(-1, 4, -1, -1))


def test_what_fits_runs_at_once() -> None:
    gpu = Gpu(None, 8)
    engine, given = ladder(gpu, 8)
    assert_all_there(engine.run(0, ROWS))
    assert (gpu.calls, given.count, engine.batch, engine.notices) == ([8], 0, 8, ())


def test_what_does_not_fit_runs_in_halves_from_then_on() -> None:
    gpu = Gpu(None, 3)
    engine, given = ladder(gpu, 8)
    assert_all_there(engine.run(0, ROWS))
    assert_all_there(engine.run(0, ROWS))
    assert gpu.calls == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]
    assert (given.count, engine.batch, engine.device) == (2, 2, "cuda")
    assert [notice.code for notice in engine.notices] == ["gpu_batch_reduced"]


def test_rows_that_are_done_are_not_done_again() -> None:
    gpu = Gpu(None, 0, 0, 2, 1, 1)  # Another program takes the memory between two calls.
    engine, _ = ladder(gpu, 8)
    assert_all_there(engine.run(0, ROWS))
    assert gpu.calls == [8, 4, 2, 2, 1, 1, 1, 1, 1, 1]


def test_the_cpu_does_what_the_gpu_cannot_and_stays_at_it() -> None:
    gpu, cpu = Gpu(None, 0, 0, 2, 0, 0), Cpu(None, 1)
    engine, _ = ladder(gpu, 8, cpu)
    assert (engine.name, engine.device, engine.precision) == ("torch", "cuda", "bfloat16")
    assert_all_there(engine.run(0, ROWS))
    assert gpu.calls == [8, 4, 2, 2, 1]
    assert cpu.calls == [1] * 6
    assert_all_there(engine.run(0, ROWS))
    assert len(gpu.calls) == 5
    assert engine.batch == 1
    facts = (engine.name, engine.device, engine.precision)
    assert facts == ("torch+openvino", "cuda+cpu", "bfloat16+float32")
    assert [notice.code for notice in engine.notices] == ["gpu_left"]
    assert "the rest was" in engine.notices[0].message


def test_a_gpu_without_room_for_the_networks_is_left_at_once() -> None:
    engine, _ = ladder(None, 1)
    assert (engine.device, engine.batch) == ("cpu", 1)
    assert_all_there(engine.run(0, ROWS))
    assert "no room for the model" in engine.notices[0].message


def test_without_memory_for_the_cpu_either_the_job_fails() -> None:
    def full() -> Engine:
        raise MemoryExhausted("Memory ran out.")

    engine = Ladder(Gpu(None, 0), full, 1, lambda: None)
    for _ in range(2):
        with pytest.raises(MemoryExhausted):
            engine.run(0, ROWS)


class Failing(Gpu):
    """A GPU that breaks after some calls, for good."""

    def run(self, member: int, window: torch.Tensor) -> torch.Tensor:
        if not self._room:
            raise torch.AcceleratorError("CUDA error: unspecified launch failure\nMore words.")
        self._room.pop()
        self.calls.append(len(window))
        return window[:, None].expand(-1, 4, -1, -1).clone()


@pytest.mark.parametrize(("good", "told"), [(0, "stems were"), (1, "the rest was")])
def test_a_gpu_that_fails_is_left_and_the_job_goes_on(good: int, told: str) -> None:
    gpu, failures = Failing(None, *[8] * good), []
    engine = Ladder(gpu, lambda: Cpu(None, 1), 8, lambda: None, lambda: failures.append(1))
    for _ in range(3):
        assert_all_there(engine.run(0, ROWS))
    assert (len(gpu.calls), len(failures), engine.batch) == (good, 1, 1)
    (notice,) = engine.notices
    assert notice.code == "gpu_left"
    assert notice.message == f"The GPU failed: {told} separated on the CPU."


def test_other_faults_are_nobodys_but_the_callers() -> None:
    class Wrong(Gpu):
        def run(self, member: int, window: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("The size of tensor a (3) must match the size of tensor b (4)")

    engine, _ = ladder(Wrong(None, 8), 8)
    with pytest.raises(RuntimeError, match="must match"):
        engine.run(0, ROWS)


def test_what_a_call_held_that_did_not_fit_is_freed_before_the_next() -> None:
    held: list[weakref.ref[torch.Tensor]] = []
    alive: list[bool] = []

    def network(window: torch.Tensor) -> torch.Tensor:
        inside = window * 2  # What a layer made, when the next one found no room.
        held.append(weakref.ref(inside))
        if len(window) > 2:
            raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")
        return window[:, None].expand(-1, 4, -1, -1).clone()

    gpu = TorchEngine([network], "cpu")
    gc.disable()  # Memory of a GPU cannot wait for it.
    try:
        engine = Ladder(gpu, lambda: Cpu(None, 1), 8, lambda: alive.extend(ref() is not None for ref in held))
        assert_all_there(engine.run(0, ROWS))
    finally:
        gc.enable()
    assert alive == [False, False, False]


def test_calls_at_the_same_time_are_all_answered() -> None:
    engine, _ = ladder(Gpu(None, *[8] * 5, 0), 8, Cpu(None, 1))
    with ThreadPoolExecutor(2) as pool:
        for out in pool.map(lambda _: engine.run(0, ROWS), range(10)):
            assert_all_there(out)


def separated(
    separator: DemucsSeparator, mix: Audio, scratch: Path, checkpoint: Checkpoint | None = None
) -> FloatArray:
    blocks = separator.separate(
        mix, scratch=scratch, step=lambda _: None, cancel=CancelToken(), checkpoint=checkpoint
    )
    return np.concatenate(list(blocks), axis=-1)


@pytest.fixture
def model() -> LoadedModel:
    return loaded([htdemucs()])


def on_ladder(model: LoadedModel, batch: int, *room: int) -> DemucsSeparator:
    engine = Ladder(Gpu(model, *room), lambda: Cpu(model, 1), batch, lambda: None)
    return DemucsSeparator(model, PipelineConfig(), SOURCES, engine)


@pytest.mark.parametrize("channels", [2, 6])
@pytest.mark.parametrize(
    ("batch", "room"), [(8, (8,)), (8, (1,)), (8, (8, 0)), (1, (8, 8, 0)), (5, (5, 2, 2, 0))]
)
def test_stems_are_the_same_on_every_rung(
    model: LoadedModel, batch: int, room: tuple[int, ...], channels: int, tmp_path: Path
) -> None:
    mix = Audio(music(4.0, SAMPLE_RATE, channels), SAMPLE_RATE)
    expected = separated(separator_of(model), mix, tmp_path)
    found = separated(on_ladder(model, batch, *room), mix, tmp_path)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_separation_that_left_the_gpu_says_so_and_leaves_nothing_for_others(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    mix = Audio(music(4.0, SAMPLE_RATE, 2), SAMPLE_RATE)
    path = tmp_path / "job.checkpoint"
    separator = on_ladder(model, 2, 2, 2, 0)
    assert separator.device == "cuda"
    separated(separator, mix, tmp_path, Checkpoint(path, {}))
    assert (separator.device, separator.precision) == ("cuda+cpu", "bfloat16+float32")
    assert separator.parameters["engine"] == "torch+openvino"
    assert [notice.code for notice in separator.notices] == ["gpu_left"]
    assert not path.exists()


def test_a_separation_that_stayed_on_the_gpu_leaves_its_checkpoint(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    mix = Audio(music(2.0, SAMPLE_RATE, 2), SAMPLE_RATE)
    path = tmp_path / "job.checkpoint"
    separated(on_ladder(model, 4, 1), mix, tmp_path, Checkpoint(path, {}))
    assert path.exists()


@pytest.fixture
def with_gpu(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Makes this machine one with a GPU; gives the devices for which engines are made."""

    def make(*room: int, networks_fit: bool = True) -> list[str]:
        made: list[str] = []

        def choose(_model: object, _config: object, device: str) -> Engine:
            made.append(device)
            if device == "cuda" and not networks_fit:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return Gpu(None, *room) if device == "cuda" else Cpu(None, 1)

        monkeypatch.setattr("pipeline.weights.load.load", lambda *_, **__: model)
        monkeypatch.setattr("pipeline.separators.engines.choose_engine", choose)
        monkeypatch.setattr(registry, "choose_device", lambda _: "cuda")
        monkeypatch.setattr(registry, "measure_row_bytes", lambda *_: 1 << 30)
        monkeypatch.setattr(registry, "free_bytes", lambda: 5 << 30)
        return made

    return make


def test_the_next_job_begins_on_the_gpu_again(model: LoadedModel, with_gpu: Callable[..., list[str]]) -> None:
    made, warm = with_gpu(0), WarmModel()
    for _ in range(2):
        _, engine = warm.load(model.spec, PipelineConfig(), CancelToken())
        assert (engine.device, engine.batch) == ("cuda", 4)
        engine.run(0, ROWS)
        assert engine.device == "cpu"
    assert made == ["cuda", "cpu", "cuda", "cpu"]


def test_a_gpu_that_does_its_work_is_kept(model: LoadedModel, with_gpu: Callable[..., list[str]]) -> None:
    made, warm = with_gpu(8), WarmModel()
    for _ in range(3):
        _, engine = warm.load(model.spec, PipelineConfig(), CancelToken())
        engine.run(0, ROWS)
    assert made == ["cuda"]


def test_the_model_knows_of_a_gpu_that_failed(
    model: LoadedModel, with_gpu: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpu()
    monkeypatch.setattr(Gpu, "run", Failing.run)
    monkeypatch.setattr(Cpu, "run", lambda _self, _member, window: window[:, None].expand(-1, 4, -1, -1))
    warm = WarmModel()
    _, engine = warm.load(model.spec, PipelineConfig(), CancelToken())
    assert not warm.gpu_failed
    assert_all_there(engine.run(0, ROWS))
    assert warm.gpu_failed


def test_exact_is_one_segment_at_a_time(model: LoadedModel, with_gpu: Callable[..., list[str]]) -> None:
    with_gpu(8)
    _, engine = WarmModel().load(model.spec, PipelineConfig(precision="exact"), CancelToken())
    assert engine.batch == 1


def test_a_gpu_that_is_full_already_costs_no_job(
    model: LoadedModel, with_gpu: Callable[..., list[str]]
) -> None:
    with_gpu(8, networks_fit=False)
    _, engine = WarmModel().load(model.spec, PipelineConfig(), CancelToken())
    assert engine.device == "cpu"
    assert_all_there(engine.run(0, ROWS))


@pytest.mark.parametrize(
    ("room", "device", "codes"),
    [((8,), "cuda", []), ((2,), "cuda", ["gpu_batch_reduced"]), ((4, 0), "cuda+cpu", ["gpu_left"])],
)
def test_the_manifest_says_what_became_of_the_gpu(
    room: tuple[int, ...],
    device: str,
    codes: list[str],
    with_gpu: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    with_gpu(*room)
    recording = write_wav(tmp_path / "song.wav", music(4.0))
    config = PipelineConfig(estimators=())
    manifest = run(recording, tmp_path / "out", config, checkpoint=tmp_path / "job.checkpoint")
    assert manifest.separation.device == device
    assert [notice.code for notice in manifest.warnings] == codes
    assert {artifact.samples for artifact in manifest.artifacts} == {manifest.input.samples}
    assert (tmp_path / "job.checkpoint").exists() == (device == "cuda")
