"""Where a number was measured: what every result file says about its machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from policysearch.config import usable_cores


def machine() -> dict[str, Any]:
    """Cores that this process may use, the processor's name, the operating system."""
    return {"cores": usable_cores(), "processor": _processor(), "os": platform.system()}


def _processor() -> str:
    for line in (
        Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []
    ):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"
