"""What was measured on: processor, libraries, versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lstmgen.bench.pool import BLAS_VARIABLES

PACKAGES = ("numpy", "torch", "onnxruntime", "jax")


class Facts:
    """What a worker finds around it."""

    def blas(self) -> str:
        """NumPy's library and, where threadpoolctl can tell, the kernels that it chose."""
        import numpy as np

        if find_spec("threadpoolctl"):
            from importlib import import_module

            controller: Any = import_module("threadpoolctl")
            for pool in controller.threadpool_info():
                if pool["user_api"] == "blas":
                    kernels = pool.get("architecture", "unknown")
                    return f"{pool['internal_api']} {pool['version']}, {kernels} kernels"
        build: Any = np.show_config(mode="dicts")
        library = build["Build Dependencies"]["blas"]
        return f"{library['name']} {library['version']}, kernels unknown (threadpoolctl would tell)"

    def environment(self) -> dict[str, str]:
        """The variables that bear on kernels and threads."""
        return {name: value for name, value in sorted(os.environ.items()) if name.endswith("_NUM_THREADS")} | {
            name: os.environ[name] for name in BLAS_VARIABLES if name in os.environ
        }


def busy_seconds() -> float | None:
    """How long the cores of this process have worked for anyone so far, in sum; None where the system does not tell."""
    try:
        cores = os.sched_getaffinity(0)
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    except (AttributeError, OSError):
        return None
    wanted = {f"cpu{core}" for core in cores}
    found = [line.split() for line in lines if line.split()[0] in wanted]
    # user, nice, system, idle, iowait, irq, softirq, steal: all but the two of doing nothing
    ticks = sum(int(field) for fields in found for field in (*fields[1:4], *fields[6:9]))
    return ticks / os.sysconf("SC_CLK_TCK")


def processor() -> str:
    """The processor's name with family and model, since a name alone can be any of several."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").replace("\t", "").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(": ", 1) for line in lines if ": " in line)
    numbers = [f"{key} {facts[key]}" for key in ("cpu family", "model") if key in facts]
    return ", ".join([facts.get("model name", platform.machine()), *numbers])


def versions() -> dict[str, str]:
    """Python and every package that takes part and is installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
