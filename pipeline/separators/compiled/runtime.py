"""OpenVINO, loaded so that it keeps to itself."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def openvino() -> Any:
    """The package.

    Importing it reports that to its makers by network, unless the package that sends is missing.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino as package

    return package


@lru_cache(maxsize=1)
def opset() -> Any:
    """The operations that graphs are made of, of one version."""
    openvino()
    import openvino.opset15 as operations

    return operations
