"""Stretches of a long separation: made by several workers, joined by the one whose job it is.

A stretch is made from a sample at which a block ends, so its blocks are those of the undivided separation,
bit for bit. It travels as a file like a checkpoint: the header that both must agree on, then block after
block. Who makes which is for a `Division` to say; whatever it says, the result is the same.
"""

from __future__ import annotations

import bisect
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

import numpy as np

from pipeline.audio import FloatArray
from pipeline.checkpoint_format import identity, pack_record, raw_bytes, read_block, read_header, record_bytes
from pipeline.errors import PipelineError
from pipeline.progress import CancelToken
from pipeline.scratch import disk_errors

log = logging.getLogger(__name__)

_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Work:
    """The blocks that a separator has to make.

    Attributes:
        header: of their checkpoint: equal where all blocks are.
        lead: the axes of every block before the last, which is time.
        total: samples that all blocks add up to.
        edges: samples at which a block ends and another begins, as far as others may begin there.
        sample_rate: Hz of these samples.
        blocks_from: makes the blocks from a sample on: 0 or one at which a block ends.
    """

    header: bytes
    lead: tuple[int, ...]
    total: int
    edges: range
    sample_rate: int
    blocks_from: Callable[[int], Iterator[FloatArray]]

    @property
    def identity(self) -> str:
        """A name for all work that makes the same blocks."""
        return identity(self.header)


class State(Enum):
    """What has become of a stretch."""

    OURS = auto()  # to be made by whoever asked
    THEIRS = auto()  # somebody makes it
    MADE = auto()  # it can be fetched


class Division(Protocol):
    """Says who makes which stretch of the separations of one job. A stretch is named by its first sample."""

    def offer(self, identity: str, begins: list[int]) -> None:
        """Let others make stretches."""
        ...

    def take(self, identity: str, begin: int) -> State:
        """Take a stretch for the job's own worker, unless somebody makes it or has."""
        ...

    def take_after(self, identity: str, begin: int) -> int | None:
        """Take the first free stretch behind another, likewise."""
        ...

    def fetch(self, identity: str, begin: int, target: Path) -> bool:
        """Bring a stretch here that another worker has made. False when it is gone."""
        ...

    def offered(self, identity: str) -> bool:
        """Whether stretches of this identity were offered."""
        ...

    def claim(self, identity: str) -> int | None:
        """Take the first free stretch of another's job."""
        ...

    def keep(self, identity: str, begin: int, path: Path) -> None:
        """Hand in a stretch that was claimed."""
        ...


class Helped(Exception):
    """A job of another worker was helped as far as it could be: there is no result to be made of it here."""


class Others(Protocol):
    """What a checkpoint asks for the blocks that it lacks."""

    stretches: int
    """In how many stretches the separation is made."""
    parts: int
    """Of how many independent works the separation consists: each is asked for by itself."""

    def blocks(self, work: Work, position: int) -> Iterator[FloatArray]:
        """Make the blocks from a sample on, or have them made.

        Raises:
            Helped: the job is another worker's, and this was the last of its works.
        """
        ...


def cut(work: Work, length: int) -> list[int]:
    """Cut work into stretches of a length or a little more.

    Returns:
        The first sample of each; a single one where the work is no longer than a stretch and a half.
    """
    begins = [0]
    while work.total - begins[-1] > length * 1.5:
        at = bisect.bisect_left(work.edges, begins[-1] + length)
        if at >= len(work.edges):
            break
        begins.append(work.edges[at])
    return begins


class Joined:
    """The blocks of a job's separation, by its own worker and by those that help.

    Args:
        division: says who makes what.
        length_s: seconds of a stretch.
        folder: for stretches of others, and those made ahead.
        cancel: looked at while waiting for others.

    Attributes:
        stretches: of how many the separation is made.
    """

    def __init__(self, division: Division, length_s: float, folder: Path, cancel: CancelToken) -> None:
        self._division, self._length_s, self._folder, self._cancel = division, length_s, folder, cancel
        self.stretches = self.parts = 1

    def blocks(self, work: Work, position: int) -> Iterator[FloatArray]:
        """Make the blocks from a sample on, or fetch what others have made of them."""
        begins = cut(work, round(self._length_s * work.sample_rate))
        if len(begins) == 1 or not self._offer(work.identity, begins):
            yield from work.blocks_from(position)
            return
        self.stretches = max(self.stretches, len(begins))
        running: Iterator[FloatArray] | None = None
        first = bisect.bisect_right(begins, position) - 1
        for begin, end in list(zip(begins, [*begins[1:], work.total], strict=True))[first:]:
            path = self._ready(work, begin, begins)
            if path is not None:
                for at, block in read_stretch(path, work, begin):
                    if at == position:  # What is before was there from an attempt before.
                        position += block.shape[-1]
                        yield block
                path.unlink()
                running = None
            if position < end:
                # Goes on with the segments that are under way, where it just made what is before.
                running = running or work.blocks_from(position)
                for block in running:
                    position += block.shape[-1]
                    yield block
                    if position >= end:
                        break

    def _offer(self, name: str, begins: list[int]) -> bool:
        try:
            self._division.offer(name, begins)
        except PipelineError as exc:
            log.warning("a separation is not divided: %s", exc.message, extra={"action": "not_divided"})
            return False
        return True

    def _ready(self, work: Work, begin: int, begins: list[int]) -> Path | None:
        """Where a stretch lies that is made; None: it is to be made now, and by us."""
        path = _path(self._folder, work, begin)
        while not path.exists():
            self._cancel.check()
            try:
                state = self._division.take(work.identity, begin)
                if state is State.OURS:
                    return None
                if state is State.MADE:
                    return path if self._division.fetch(work.identity, begin, path) else None
                ahead = self._division.take_after(work.identity, begin)
            except PipelineError as exc:
                log.warning("a stretch is made here: %s", exc.message, extra={"action": "stretch_lost"})
                return None
            if ahead is None:
                self._cancel.wait(_LOOK_S)
            else:
                make_stretch(work, ahead, _end(work, begins, ahead), _path(self._folder, work, ahead))
        return path


class Helping:
    """Stretches of another worker's job, made here until none is left that would have the same bits.

    Args:
        division: of that job.
        length_s: seconds of a stretch, as for `Joined`.
        folder: for what is made.

    Attributes:
        fits: whether stretches were offered of which this worker computes the same bits.
        made: how many it made.
    """

    stretches = 1

    def __init__(self, division: Division, length_s: float, folder: Path) -> None:
        self._division, self._length_s, self._folder = division, length_s, folder
        self.parts = 1
        self.fits = False
        self.made = 0

    def blocks(self, work: Work, position: int) -> Iterator[FloatArray]:
        """Make stretches and hand them in; nothing is given to whoever asked."""
        begins = cut(work, round(self._length_s * work.sample_rate))
        self.fits = self.fits or self._division.offered(work.identity)
        while (begin := self._division.claim(work.identity)) is not None:
            path = _path(self._folder, work, begin)
            make_stretch(work, begin, _end(work, begins, begin), path)
            self._division.keep(work.identity, begin, path)
            path.unlink()
            self.made += 1
        self.parts -= 1
        if not self.parts:
            raise Helped
        return iter(())


def make_stretch(work: Work, begin: int, end: int, path: Path) -> None:
    """Make the blocks from one sample to another and write them to a file, under its name when complete.

    Raises:
        PipelineError: as the separator does.
        DiskFull: no space left.
        OutputUnwritable: the operating system refuses.
    """
    temporary, position = path.with_suffix(".tmp"), begin
    with disk_errors("a stretch"), temporary.open("wb") as file:
        file.write(work.header)
        for made in work.blocks_from(begin):
            block = np.ascontiguousarray(made)
            file.write(pack_record(position, block))
            file.write(raw_bytes(block))
            position += block.shape[-1]
            if position >= end:
                break
    temporary.rename(path)


def read_stretch(path: Path, work: Work, begin: int) -> Iterator[tuple[int, FloatArray]]:
    """Read a stretch as far as it is whole.

    Args:
        path: of its file.
        work: that it belongs to.
        begin: its first sample.

    Yields:
        Consecutive blocks, float32 (*lead, n), each after its first sample; fewer than there should be, or
        none, where it is damaged or another's.
    """
    position = begin
    try:
        with path.open("rb") as file:
            left = path.stat().st_size - len(work.header)
            if read_header(file) != work.header:
                return
            while (block := read_block(file, work.lead, position, work.total, left)) is not None:
                yield position, block
                position += block.shape[-1]
                left -= record_bytes(block)
    except OSError as exc:
        log.warning("a stretch cannot be read: %s", exc.strerror, extra={"action": "stretch_lost"})


def _path(folder: Path, work: Work, begin: int) -> Path:
    return folder / f"{work.identity[:16]}-{begin}.stretch"


def _end(work: Work, begins: list[int], begin: int) -> int:
    return [*begins[1:], work.total][begins.index(begin)]
