import mmap
import resource
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio import release
from pipeline.errors import DiskFull, OutputUnwritable
from pipeline.scratch import ScratchWriter, scratch_array


def test_what_is_written_block_by_block_is_read_back_whole(tmp_path: Path) -> None:
    mix = np.random.default_rng(1).standard_normal((3, 1000)).astype(np.float32)
    with ScratchWriter(tmp_path / "a.f32", 3) as writer:
        for start in range(0, 1000, 300):
            writer.write(mix[:, start : start + 300])
        audio = writer.audio(8000, ("FL", "FR", "FC"))
    assert np.array_equal(audio.samples, mix)
    assert audio.speakers == ("FL", "FR", "FC")


def test_nothing_written_is_audio_of_no_length(tmp_path: Path) -> None:
    with ScratchWriter(tmp_path / "a.f32", 2) as writer:
        assert writer.audio(8000).samples.shape == (2, 0)


def test_a_folder_that_is_not_there_is_an_unwritable_output(tmp_path: Path) -> None:
    with pytest.raises(OutputUnwritable, match="could not be written"):
        ScratchWriter(tmp_path / "missing" / "a.f32", 2)


def test_a_write_beyond_the_allowed_size_is_a_full_disk(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(DiskFull), ScratchWriter(tmp_path / "a.f32", 1) as writer:
            writer.write(np.zeros((1, 100_000), dtype=np.float32))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_array_on_disk_holds_what_was_written_and_leaves_no_name(tmp_path: Path) -> None:
    array = scratch_array(tmp_path, (1000, 88), np.uint8)
    assert not array.any()
    array[500:] = 7
    release(array)
    assert array.sum(dtype=np.int64) == 500 * 88 * 7
    assert not list(tmp_path.iterdir())


def test_an_array_that_was_released_takes_no_memory(tmp_path: Path) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE

    array = scratch_array(tmp_path, (1 << 26,), np.uint8)
    before = resident()
    array[:] = 1
    assert resident() > before + (1 << 25)
    release(array)
    assert resident() < before + (1 << 25)


def test_an_array_for_which_there_is_no_space_is_a_full_disk(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(DiskFull):
            scratch_array(tmp_path, (2000,), np.uint8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_an_array_of_no_elements_needs_no_file(tmp_path: Path) -> None:
    assert scratch_array(tmp_path / "missing", (0, 88), np.uint8).shape == (0, 88)
