"""What ends a tool early says something about the machine, not about the recording."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import psutil
import pytest

from pipeline.codec.decode import decode
from pipeline.codec.probe import probe
from pipeline.codec.process import Process
from pipeline.codec.source import open_source
from pipeline.config import Limits
from pipeline.errors import MemoryExhausted
from tests.audio_files import music, write_wav

LIMITS = Limits()


def killed(folder: Path, tool: str) -> str:
    """A search path on which a tool is killed as the kernel does it when memory runs out."""
    (folder / tool).write_text("#!/bin/sh\nkill -9 $$\n")
    (folder / tool).chmod(0o700)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_a_decoder_that_the_machine_kills_condemns_no_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_source(write_wav(tmp_path / "song.wav", music(1.0)), LIMITS) as source:
        probed = probe(source, LIMITS)
        monkeypatch.setenv("PATH", killed(tmp_path, "ffmpeg"))
        with pytest.raises(MemoryExhausted):
            decode(source, probed, tmp_path / "scratch", LIMITS)


def test_neither_does_a_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", killed(tmp_path, "ffprobe"))
    with (
        open_source(write_wav(tmp_path / "song.wav", music(1.0)), LIMITS) as source,
        pytest.raises(MemoryExhausted),
    ):
        probe(source, LIMITS)


@pytest.mark.parametrize("refused", [1, 2])
def test_without_memory_for_a_thread_nothing_is_left_running(
    refused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, asked = threading.Thread.start, 0
    before = psutil.Process().children()  # such as a resource tracker that an earlier test's library keeps

    def refuse(thread: threading.Thread) -> None:
        nonlocal asked
        asked += 1
        if asked == refused:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(MemoryExhausted):
        Process(["sleep", "1000"], memory_bytes=1 << 30, timeout_s=1000.0)
    assert psutil.Process().children() == before


def test_a_tool_that_computes_for_too_long_has_timed_out() -> None:
    argv = ["sh", "-c", "while :; do :; done"]
    with Process(argv, memory_bytes=1 << 30, timeout_s=0.9) as tool:
        tool._timer.cancel()
        tool.wait()
        assert tool.timed_out
