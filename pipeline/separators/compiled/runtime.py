"""OpenVINO, loaded so that it keeps to itself."""

from __future__ import annotations

import importlib
import sys
from functools import lru_cache
from types import ModuleType
from typing import Any


@lru_cache(maxsize=1)
def openvino() -> ModuleType:
    """The package.

    Importing it reports that to its makers by network, unless the package that sends is missing.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    return importlib.import_module("openvino")


def opset() -> Any:
    """The operations that graphs are made of, of one version."""
    openvino()
    return importlib.import_module("openvino.opset15")
