import resource
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DiskFull, OutputUnwritable
from pipeline.scratch import ScratchWriter


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
