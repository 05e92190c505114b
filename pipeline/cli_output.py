"""What the command line shows: progress and results for people, or JSON lines for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from pipeline.annotations import Analysis, Failed, Notes
from pipeline.errors import PipelineError
from pipeline.manifest import Manifest
from pipeline.progress import ProgressEvent

if TYPE_CHECKING:
    from pipeline.verify import Finding


class Screen:
    """Standard output for results, standard error for progress and errors.

    Args:
        as_json: print one JSON object a line instead of text, and no progress.
    """

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._out = Console(file=sys.stdout, soft_wrap=True, highlight=False)
        self._err = Console(file=sys.stderr, soft_wrap=True, highlight=False)

    @contextmanager
    def watch(self, source: Path) -> Iterator[Callable[[ProgressEvent], None]]:
        """Show a bar while a file is separated."""
        if self._as_json or not self._err.is_terminal:
            yield lambda _: None
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[stage]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        with Progress(*columns, console=self._err, transient=True) as bars:
            task = bars.add_task(escape(_shown(source)), total=1.0, stage="", left="")

            def show(event: ProgressEvent) -> None:
                left = "" if event.eta_s is None else f"{_clock(event.eta_s)} left"
                bars.update(task, completed=event.fraction, stage=event.stage, left=left)

            yield show

    def succeeded(self, source: Path, folder: Path, manifest: Manifest) -> None:
        """Report a finished job."""
        if self._as_json:
            self._line(
                file=str(source), status="succeeded", job_id=manifest.job_id, folder=str(folder),
                manifest=str(folder / "manifest.json"),
            )  # fmt: skip
            return
        took = (manifest.finished_at - manifest.started_at).total_seconds()
        length = manifest.input.duration_s
        print_ = self._out.print
        print_(
            f"[bold]{escape(_shown(source))}[/]  {_clock(length)} in {_clock(took)} "
            f"({length / max(took, 1e-9):.1f}x real time)"
        )
        print_(f"  folder    {escape(str(folder))}")
        stems = (a.name for a in manifest.artifacts if a.kind != "analysis")
        print_(f"  stems     {', '.join(dict.fromkeys(stems))}")
        if exported := [a.path.rpartition("/")[2] for a in manifest.artifacts if a.kind == "analysis"]:
            print_(f"  exports   {', '.join(exported)}")
        for label, text in _figures(manifest.analysis):
            print_(f"  {label:<9} {escape(text)}")
        separation = manifest.separation
        if separation.residual_db is not None:
            print_(f"  residual  {separation.residual_db:.1f} dB (mix minus the sum of the stems)")
        print_(f"  licence   {escape(separation.licence)}")
        for notice in manifest.warnings:
            print_(f"  [yellow]note[/]      {escape(notice.message)}")

    def failed(self, source: Path | None, error: PipelineError) -> None:
        """Report a failure."""
        if self._as_json:
            self._line(
                file=None if source is None else str(source), status="failed",
                error={"code": error.code, "message": error.message, "hint": error.hint,
                       "retryable": error.retryable},
            )  # fmt: skip
            return
        self._err.print(f"[red]error[/] {escape(error.message)} [dim]({error.code})[/]")
        if error.hint:
            self._err.print(f"      {escape(error.hint)}")

    def verified(self, folder: Path, findings: Sequence[Finding]) -> None:
        """Report what a verification found."""
        if self._as_json:
            self._line(
                folder=str(folder), status="damaged" if findings else "intact",
                findings=[{"path": f.path, "problem": f.problem} for f in findings],
            )  # fmt: skip
            return
        if not findings:
            self._out.print(f"[green]intact[/]  {escape(str(folder))}")
        for finding in findings:
            self._out.print(f"[red]{finding.problem}[/]  {escape(str(folder / finding.path))}")

    def _line(self, **fields: Any) -> None:
        typer.echo(json.dumps(fields, allow_nan=False))


def _figures(analysis: Analysis) -> Iterator[tuple[str, str]]:
    """The analysis in a few words, line by line."""
    tempo, key, loudness = analysis.tempo, analysis.key, analysis.loudness
    if tempo is not None and not isinstance(tempo, Failed) and tempo.bpm is not None:
        others = ", ".join(f"{c.bpm:.1f}" for c in tempo.candidates[1:3])
        yield (
            "tempo",
            f"{tempo.bpm:.1f} BPM, {tempo.confidence:.0%} sure" + (f" (or {others})" if others else ""),
        )
    if key is not None and not isinstance(key, Failed) and key.tonic is not None:
        yield "key", f"{key.tonic} {key.mode}, {key.confidence:.0%} sure"
    if loudness is not None and not isinstance(loudness, Failed) and loudness.integrated_lufs is not None:
        text = f"{loudness.integrated_lufs:.1f} LUFS"
        if loudness.true_peak_dbtp is not None:
            text += f", true peak {loudness.true_peak_dbtp:.1f} dBTP"
        yield "loudness", text
    notes = analysis.notes
    if isinstance(notes, Notes) and notes.stems:
        yield "notes", ", ".join(f"{name} {stem.count}" for name, stem in notes.stems.items())


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0.0), 1), 60)
    return f"{int(minutes)}:{rest:04.1f}" if minutes else f"{rest:.1f} s"


def _shown(path: Path) -> str:
    """A file name without control characters, which could rewrite the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in path.name)
