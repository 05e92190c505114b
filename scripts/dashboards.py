"""Grafana's dashboards as code: what they show is in `scripts.dashboard_panels`, how it is written here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final, Literal

_COLUMNS: Final = 24
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_HEIGHTS: Final = {"stat": 4, "timeseries": 8, "table": 8}


@dataclass(frozen=True, slots=True)
class Query:
    """A line of a panel.

    Attributes:
        expr: PromQL.
        legend: what it is called, with ``{{labels}}``.
    """

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture.

    Attributes:
        title: what it shows.
        queries: its lines.
        unit: Grafana's name of the unit: s, bytes, percentunit, short, reqps …
        kind: of picture.
        width: in columns, of 24.
        says: what to make of it.
        red: value from which on it is a matter of concern; None: none.
        low_is_bad: whether it is below `red` that it is.
    """

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: Literal["stat", "timeseries", "table"] = "timeseries"
    width: int = 8
    says: str = ""
    red: float | None = None
    low_is_bad: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of pictures.

    Attributes:
        uid: part of its address.
        title: its name.
        panels: from left to right, line by line.
        range: that it shows at first.
    """

    uid: str
    title: str
    panels: tuple[Panel, ...]
    range: str = "now-6h"
    tags: tuple[str, ...] = field(default=("audio-pipeline",))


def render(dashboard: Dashboard) -> str:
    """A dashboard as the JSON that Grafana's provisioning reads."""
    source = {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "hide": 0,
    }
    link = {
        "type": "dashboards",
        "title": "Audio Pipeline",
        "tags": list(dashboard.tags),
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
    }
    page = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": list(dashboard.tags),
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": dashboard.range, "to": "now"},
        "timezone": "browser",
        "templating": {"list": [source]},
        "links": [link],
        "annotations": {"list": [_alerts()]},
        "panels": _placed(dashboard.panels),
    }
    return json.dumps(page, indent=1, ensure_ascii=False) + "\n"


def _alerts() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "enable": True,
        "iconColor": "red",
        "datasource": _SOURCE,
        "expr": 'ALERTS{alertname=~"Audio.+", alertstate="firing"}',
        "titleFormat": "{{alertname}}",
    }


def _placed(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    """The panels line by line: a line ends where the next panel does not fit."""
    placed: list[dict[str, Any]] = []
    x = y = height = 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > _COLUMNS:
            x, y, height = 0, y + height, 0
        tall = _HEIGHTS[panel.kind]
        placed.append(_panel(number, panel, {"x": x, "y": y, "w": panel.width, "h": tall}))
        x, height = x + panel.width, max(height, tall)
    return placed


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    instant = panel.kind != "timeseries"
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red is not None:
        first, then = ("red", "green") if panel.low_is_bad else ("green", "red")
        steps = [{"color": first, "value": None}, {"color": then, "value": panel.red}]
    custom = {"fillOpacity": 10, "showPoints": "never", "spanNulls": False}
    defaults = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": steps},
        **({"min": 0, "custom": custom} if panel.kind == "timeseries" else {}),
    }
    options: dict[str, Any] = {}
    if panel.kind == "stat":
        calculation = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        options = {"reduceOptions": calculation, "colorMode": "background", "graphMode": "none"}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + n),
                "datasource": _SOURCE,
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
                "instant": instant,
                "range": not instant,
                **({"format": "table"} if panel.kind == "table" else {}),
            }
            for n, query in enumerate(panel.queries)
        ],
    }
