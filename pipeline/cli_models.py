"""``python -m pipeline models``: what there is, fetch it, check it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn
from rich.table import Table

from pipeline.config import WeightsConfig
from pipeline.errors import ConfigError, PipelineError
from pipeline.weights.registry import DEFAULT, MODELS, ModelSpec, check_licence, get_model_spec
from pipeline.weights.speech import SPEECH, SpeechModel

WeightsDir = Annotated[
    Path | None, typer.Option("--weights-dir", envvar="WEIGHTS_DIR", help="Where weights are kept.")
]
WeightsMirror = Annotated[
    str | None,
    typer.Option("--weights-mirror", envvar="WEIGHTS_MIRROR", help="Folder or URL that holds weight files."),
]
Offline = Annotated[
    bool, typer.Option("--offline", envvar="WEIGHTS_OFFLINE", help="Never use the network for weights.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]

EXIT_USAGE, EXIT_WEIGHTS = 2, 4

app = typer.Typer(help="List, fetch and verify models.", no_args_is_help=True)


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """Show every model: stems, size, licence, and what to expect."""
    if as_json:
        described = [*map(_described, MODELS.values()), *map(_described_speech, SPEECH.values())]
        typer.echo(json.dumps(described, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "stems", "MB", "commercial use", "what to expect"):
        table.add_column(heading, overflow="fold")
    for spec in MODELS.values():
        name = f"{spec.name} (default)" if spec.name == DEFAULT else spec.name
        allowed = "yes" if spec.licence.commercial_use else "no"
        table.add_row(name, ", ".join(spec.stems), f"{spec.bytes / 1e6:.0f}", allowed, str(spec.quality))
    for model in SPEECH.values():
        allowed = "yes" if model.licence.commercial_use else "no"
        table.add_row(model.name, "lyrics", f"{model.bytes / 1e6:.0f}", allowed, model.summary)
    Console().print(table)


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="Names of models, or all.")],
    weights_dir: WeightsDir = None,
    weights_mirror: WeightsMirror = None,
    offline: Offline = False,
    commercial_only: Annotated[bool, typer.Option(help="Refuse weights for research only.")] = False,
) -> None:
    """Fetch and verify weights, so that later jobs need no network; their paths go to standard output."""
    from pipeline.weights import speech
    from pipeline.weights.fetch import ensure
    from pipeline.weights.transfer import FetchProgress

    console = Console(file=sys.stderr, soft_wrap=True, highlight=False)
    config = WeightsConfig(cache_dir=weights_dir, mirror=weights_mirror, offline=offline)
    try:
        for spec in _named(names):
            if isinstance(spec, ModelSpec):
                check_licence(spec, commercial_only)
            console.print(f"[bold]{spec.name}[/]  licence: {escape(spec.licence.name)} ({spec.licence.url})")
            with Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                console=console,
                transient=True,
                disable=not console.is_terminal,
            ) as bars:
                task = bars.add_task(spec.name, total=spec.bytes or None)

                def show(step: FetchProgress, task: TaskID = task, bars: Progress = bars) -> None:
                    bars.update(
                        task, description=step.file, completed=step.received_bytes, total=step.total_bytes
                    )

                if isinstance(spec, SpeechModel):
                    paths: tuple[Path, ...] = (speech.fetch(spec, config, progress=show),)
                else:
                    paths = ensure(spec, config, progress=show)
            for path in paths:
                typer.echo(path)  # on standard output, for scripts
    except PipelineError as exc:
        console.print(f"[red]error[/] {escape(exc.message)} [dim]({exc.code})[/]\n{escape(exc.hint)}")
        raise typer.Exit(EXIT_USAGE if isinstance(exc, ConfigError) else EXIT_WEIGHTS) from exc


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Names of models. Default: all.")] = None,
    weights_dir: WeightsDir = None,
    as_json: AsJson = False,
) -> None:
    """Recompute the hashes of the weights on disk: fails when one is corrupt, or a named model's missing."""
    from pipeline.weights import speech
    from pipeline.weights.cache import verify as verify_weights

    console = Console(soft_wrap=True, highlight=False)
    config = WeightsConfig(cache_dir=weights_dir)
    bad = False
    try:
        for spec in _named(names or ["all"]):
            if isinstance(spec, SpeechModel):
                states = [speech.state(spec, config)]
            else:
                states = [member.state for member in verify_weights(spec, config)]
            bad = bad or "corrupt" in states or (names is not None and "missing" in states)
            if as_json:
                typer.echo(json.dumps({"model": spec.name, "files": states}))
            elif states:
                console.print(f"{spec.name:<12} {', '.join(states)}")
    except ConfigError as exc:
        console.print(f"[red]error[/] {escape(str(exc))}")
        raise typer.Exit(EXIT_USAGE) from exc
    raise typer.Exit(EXIT_WEIGHTS if bad else 0)


def _named(names: list[str]) -> list[ModelSpec | SpeechModel]:
    if names == ["all"]:
        return [*MODELS.values(), *SPEECH.values()]
    return [SPEECH.get(name) or get_model_spec(name) for name in names]


def _described_speech(model: SpeechModel) -> dict[str, object]:
    return {
        "name": model.name,
        "default": False,
        "summary": model.summary,
        "stems": (),
        "bytes": model.bytes,
        "licence": model.licence.name,
        "licence_url": model.licence.url,
        "commercial_use": model.licence.commercial_use,
        "quality": f"hears lyrics, {'English only' if model.languages == 'english' else 'in 99 languages'}",
    }


def _described(spec: ModelSpec) -> dict[str, object]:
    return {
        "name": spec.name,
        "default": spec.name == DEFAULT,
        "summary": spec.summary,
        "stems": spec.stems,
        "bytes": spec.bytes,
        "licence": spec.licence.name,
        "licence_url": spec.licence.url,
        "commercial_use": spec.licence.commercial_use,
        "quality": str(spec.quality),
    }
