"""The command line: separate files and folders, manage models, verify results."""

from __future__ import annotations

import signal
import sys
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from pipeline import cli_models
from pipeline.cli_output import Screen
from pipeline.config import Limits, PipelineConfig, WeightsConfig
from pipeline.errors import (
    Cancelled,
    ConfigError,
    EnvironmentFailure,
    InputError,
    ManifestInvalid,
    OptionInvalid,
    PipelineError,
    WeightsError,
)
from pipeline.progress import CancelToken, Progress
from pipeline.recordings import expanded

EXIT_FAILED, EXIT_USAGE, EXIT_INPUT, EXIT_WEIGHTS, EXIT_ENVIRONMENT, EXIT_DAMAGED = 1, 2, 3, 4, 5, 6
EXIT_CANCELLED = 130


class _SeparateByDefault(TyperGroup):
    """``python -m pipeline song.mp3`` means ``python -m pipeline separate song.mp3``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {*self.commands, "--help"}
        if args and args[0] not in known:
            args = ["separate", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_SeparateByDefault,
    help="Take songs apart: stems, a musical analysis, and a manifest of how they were made.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(cli_models.app, name="models")


_Model = TypeVar("_Model", Limits, PipelineConfig)


def _listed(value: str | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(part.strip() for part in value.split(",") if part.strip())


@app.command()
def separate(
    files: Annotated[list[Path], typer.Argument(help="Audio or video files, folders of them, or patterns.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("separated"),
    model: Annotated[str, typer.Option(help="See: python -m pipeline models list.")] = "htdemucs",
    stems: Annotated[
        str | None, typer.Option(help="Comma-separated; no_vocals is the mix minus the vocals. Default: all.")
    ] = None,
    formats: Annotated[
        str,
        typer.Option(
            "--format", "-f", help="flac, wav, wav16, wav32f, mp3, ogg, opus, m4a; comma-separated."
        ),
    ] = "flac",
    estimators: Annotated[
        str,
        typer.Option(
            help="all, none, or a comma-separated list: tempo,beats,key …; all,lyrics adds the words."
        ),
    ] = "all",
    exports: Annotated[
        str, typer.Option(help="Files for other programs, comma-separated; see docs/exports.md.")
    ] = "",
    device: Annotated[str, typer.Option(envvar="DEVICE", help="auto, cpu or cuda.")] = "auto",
    shifts: Annotated[
        int, typer.Option(help="Average over this many random time shifts: slower, a little better.")
    ] = 0,
    overlap: Annotated[
        float | None, typer.Option(help="Overlap of neighbouring segments, 0 to 1.", show_default="0.25")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="balanced, fast (less overlap), or exact (demucs' own arithmetic).")
    ] = "balanced",
    segment: Annotated[float | None, typer.Option(help="Seconds of a segment. Default: the model's.")] = None,
    residual: Annotated[
        str,
        typer.Option(
            help="What of mix - sum(stems): report it, also publish it as a file, or distribute it."
        ),
    ] = "report",
    channels: Annotated[str, typer.Option(help="keep, or stereo to fold surround sound down.")] = "keep",
    commercial_only: Annotated[
        bool, typer.Option(help="Refuse weights that are licensed for research only.")
    ] = False,
    accept_damaged: Annotated[bool, typer.Option(help="Use what can be read of damaged files.")] = False,
    max_duration: Annotated[float, typer.Option(help="Longest recording accepted, in seconds.")] = 14400.0,
    threads: Annotated[
        int | None, typer.Option(help="Threads for separation. Default: one per core.")
    ] = None,
    weights_dir: cli_models.WeightsDir = None,
    weights_mirror: cli_models.WeightsMirror = None,
    offline: cli_models.Offline = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON per file on standard output.")
    ] = False,
) -> None:
    """Separate files: the default command."""
    screen = Screen(as_json)
    options = {
        "model": model,
        "stems": _listed(stems),
        "formats": _listed(formats),
        "estimators": None if estimators == "all" else () if estimators == "none" else _listed(estimators),
        "exports": _listed(exports),
        "device": device,
        "shifts": shifts,
        "overlap": overlap,
        "precision": precision,
        "segment_s": segment,
        "residual": residual,
        "channels": channels,
        "commercial_only": commercial_only,
        "accept_damaged": accept_damaged,
        "threads": threads,
    }
    try:
        limits = _checked(Limits, {"max_duration_s": max_duration})
        weights = WeightsConfig(cache_dir=weights_dir, mirror=weights_mirror, offline=offline)
        config = _checked(PipelineConfig, {**options, "limits": limits, "weights": weights})
        sources = expanded(files)
    except PipelineError as exc:
        screen.failed(None, exc)
        raise typer.Exit(exit_code(exc)) from exc
    raise typer.Exit(_separate_all(sources, out, config, screen))


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="A job's folder, or a folder of such folders.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON per job on standard output.")
    ] = False,
) -> None:
    """Recompute every checksum of every manifest."""
    from pipeline.verify import find_jobs, verify_job

    screen = Screen(as_json)
    code = 0
    jobs = find_jobs(folder)
    if not jobs:
        error = ManifestInvalid(f"There is no manifest in {str(folder)!r}.", "Give the folder of a job.")
        screen.failed(folder, error)
        code = EXIT_DAMAGED
    for job in jobs:
        try:
            findings = verify_job(job)
        except ManifestInvalid as exc:
            screen.failed(job, exc)
            code = EXIT_DAMAGED
            continue
        screen.verified(job, findings)
        code = EXIT_DAMAGED if findings else code
    raise typer.Exit(code)


def exit_code(error: PipelineError) -> int:
    """The exit status of a failure: one per kind, so that scripts can tell them apart."""
    kinds: tuple[tuple[type[PipelineError], int], ...] = (
        (ConfigError, EXIT_USAGE),
        (InputError, EXIT_INPUT),
        (WeightsError, EXIT_WEIGHTS),
        (EnvironmentFailure, EXIT_ENVIRONMENT),
        (ManifestInvalid, EXIT_DAMAGED),
        (Cancelled, EXIT_CANCELLED),
    )
    return next((code for kind, code in kinds if isinstance(error, kind)), EXIT_FAILED)


def _checked(kind: type[_Model], values: dict[str, Any]) -> _Model:
    try:
        return kind.model_validate(values)
    except ValidationError as exc:
        first = exc.errors()[0]
        option = ".".join(str(part) for part in first["loc"])
        raise OptionInvalid(f"The option {option} has a bad value: {first['msg']}.", "See --help.") from exc


def _separate_all(sources: list[Path], out: Path, config: PipelineConfig, screen: Screen) -> int:
    from pipeline.run import run  # Imports numpy: not needed for --help.

    cancel = CancelToken()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        cancel.cancel()

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, stop)
    codes = set()
    for source in sources:
        with screen.watch(source) as listener:
            try:
                manifest = run(source, out, config, progress=Progress(listener), cancel=cancel)
            except PipelineError as exc:
                codes.add(exit_code(exc))
                screen.failed(source, exc)
                if isinstance(exc, Cancelled | ConfigError | WeightsError | EnvironmentFailure):
                    break  # The next file would fail the same way.
            else:
                screen.succeeded(source, out / manifest.job_id, manifest)
    return codes.pop() if len(codes) == 1 else EXIT_FAILED if codes else 0


def main() -> None:
    """Entry point."""
    for stream in (sys.stdout, sys.stderr):
        # A file name may hold what the terminal's encoding cannot show.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    app()
