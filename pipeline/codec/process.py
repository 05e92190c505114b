"""Runs ffmpeg and ffprobe on bytes that nobody vouches for: bounded in memory, time, files and output."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Final

from pipeline.errors import MemoryExhausted, ToolMissing

CONTAINERS: Final = (
    "wav,w64,flac,mp3,ogg,aac,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aiff,caf"  # ffmpeg demuxer names
)
"""Demuxers that may look at the input. Playlists (HLS, DASH, concat) are not among them: ffmpeg would
read other local files on their behalf, whatever the protocol whitelist says."""

CODECS: Final = ",".join(
    [
        *(f"pcm_{sample}" for sample in ("u8", "s8", "alaw", "mulaw")),
        *(
            f"pcm_{kind}{end}"
            for kind in ("s16", "s24", "s32", "s64", "u16", "u24", "u32", "f32", "f64")
            for end in ("le", "be")
        ),
        "adpcm_ms,adpcm_ima_wav,adpcm_ima_qt",
        "flac,alac,mp3,mp3float,mp2,mp2float,mp1,mp1float,aac,aac_fixed,aac_latm",
        "vorbis,libvorbis,opus,libopus,ac3,eac3",
    ]
)
"""Decoders that may run. Video decoders are absent: a track that is never used is never decoded."""

_STDERR_CAP = 64 << 10


class Process:
    """A running ffmpeg tool. Use as a context manager: leaving it always ends the process.

    Args:
        argv: command without the limits.
        memory_bytes: address space that it may use.
        timeout_s: wall clock after which it is killed.
        writes: whether it may write files (an encoder does, a decoder never).
        stdin: ``subprocess.PIPE`` to feed it, else it reads nothing.
        pass_fds: descriptors that it inherits.

    Raises:
        ToolMissing: the program is not installed.
        MemoryExhausted: there is none for the threads that watch it.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        memory_bytes: int,
        timeout_s: float,
        writes: bool = False,
        stdin: int = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
    ) -> None:
        tool = shutil.which(argv[0])
        if tool is None:
            raise ToolMissing(
                f"The program {argv[0]} is not installed.",
                "Install ffmpeg (Debian, Ubuntu: apt-get install ffmpeg) and try again.",
            )
        self.timed_out = False
        self._popen = subprocess.Popen(
            [*_limits(memory_bytes, timeout_s, writes), tool, *argv[1:]],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
            env={"LC_ALL": "C"},
        )
        self._stderr = b""
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._timer = threading.Timer(timeout_s, self._expire)
        self._timer.daemon = True
        try:
            self._timer.start()
            self._reader.start()
        except RuntimeError as exc:  # "can't start new thread"
            self._timer.cancel()
            self._popen.kill()
            self._popen.communicate()
            raise _memory_exhausted(argv[0]) from exc
        self._name = argv[0]

    @property
    def stdout(self) -> IO[bytes]:
        """The tool's output, to be read to its end or abandoned by leaving the context."""
        assert self._popen.stdout is not None
        return self._popen.stdout

    @property
    def stdin(self) -> IO[bytes]:
        """The tool's input; close it to let the tool finish."""
        assert self._popen.stdin is not None
        return self._popen.stdin

    def wait(self) -> int:
        """Wait until it ends.

        Returns:
            Its exit status; negative when a signal ended it.

        Raises:
            MemoryExhausted: the machine killed it. That says nothing about what it was reading.
        """
        status = self._popen.wait()
        self._reader.join()
        if status == -signal.SIGXCPU:
            self.timed_out = True
        if status == -signal.SIGKILL and not self.timed_out:
            raise _memory_exhausted(self._name)
        return status

    @property
    def messages(self) -> str:
        """What it printed on stderr, cut at 64 KiB. Valid after `wait`."""
        return self._stderr.decode("utf-8", "replace")

    def _drain(self) -> None:
        assert self._popen.stderr is not None
        while chunk := self._popen.stderr.read1(8192):  # type: ignore[attr-defined]
            self._stderr += chunk[: max(_STDERR_CAP - len(self._stderr), 0)]

    def _expire(self) -> None:
        self.timed_out = True
        self._popen.kill()

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGKILL)
        self._popen.wait()
        self._reader.join()
        for stream in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            if stream is not None and not stream.closed:
                with suppress(BrokenPipeError):  # Unflushed input of a tool that is gone.
                    stream.close()


def _memory_exhausted(tool: str) -> MemoryExhausted:
    return MemoryExhausted(f"Memory ran out while {tool} was running.", "Close other programs and try again.")


def _limits(memory_bytes: int, timeout_s: float, writes: bool) -> list[str]:
    # util-linux's prlimit sets the limits between fork and exec; doing the same from Python
    # (preexec_fn) can deadlock in a process with threads, which a service is.
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        return []
    cpu_s = int(timeout_s) + 1  # At the first limit it gets SIGXCPU, which tells this from other kills.
    limits = [f"--as={memory_bytes}", f"--cpu={cpu_s}:{cpu_s + 1}", "--core=0", "--nofile=64"]
    if not writes:
        limits.append("--fsize=0")
    return [prlimit, *limits, "--"]
