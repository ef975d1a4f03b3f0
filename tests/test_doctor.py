"""`lstmgen doctor`: what it says of each part that is there, missing or broken, and how it ends."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from lstmgen import doctor
from lstmgen.doctor import Finding, Health
from tests.fake_cupy import Device, install

Run = Callable[..., Result]
Package = Callable[..., Path]

CELL = """
from lstmgen.api import cell, tanh

@cell("{0}")
def {0}(eq):
    h = eq.next("h", tanh(eq.affine("h", W=eq.input("x"), U=eq.state("h"))))
    eq.output(h)
"""


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(doctor, "driver_version", lambda: 0)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """A machine with a GPU: the stand-in for CuPy, whose kernel is NumPy's tanh."""
    device = Device()
    runtime = install(monkeypatch, device)
    device.functions["squash"] = lambda given, found, size: np.tanh(given, out=found)
    monkeypatch.setattr(doctor, "load_runtime", lambda: runtime)
    monkeypatch.setattr(doctor, "driver_version", lambda: 13000)
    monkeypatch.setattr(doctor, "cublas", lambda runtime: Finding("cuBLAS", "13.0.0"))
    return device


def by_name(findings: Any) -> dict[str, Finding]:
    return {each.name: each for each in findings}


# -- the command -------------------------------------------------------------------------------------------------------


def test_without_a_gpu_it_says_what_to_install_and_ends_with_success(run: Run, no_gpu: None) -> None:
    result = run("doctor")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == [
        "Packages",
        "Plugins",
        "Kernels on a GPU (optional)",
        "The NumPy back end works. What is missing is needed for kernels on a GPU alone.",
    ]
    assert '                         fix: python -m pip install "cupy-cuda13x[ctk]"' in lines
    assert "  missing  NVIDIA driver there is none" in lines
    assert max(map(len, lines)) <= 100
    assert "broken" not in result.output


def test_a_broken_plugin_ends_with_failure(run: Run, package: Package, no_gpu: None) -> None:
    package("doctor_broken", "[lstmgen.cells]\nd_gone = no_such_module_at_all:cell\n")
    result = run("doctor")
    assert result.exit_code == 1
    (line,) = [line for line in result.output.splitlines() if "d_gone" in line]
    assert line.startswith("  broken   cell ")
    assert "fix: repair or uninstall doctor_broken" in result.output
    assert result.output.endswith("\nSomething is broken: see above.\n")
    assert "Traceback" not in result.output


def test_with_a_gpu_everything_is_tried(run: Run, device: Device) -> None:
    result = run("doctor")
    assert result.exit_code == 0, result.output
    for line in (
        "  ok       CuPy          14.2.0, for CUDA 13",
        "  ok       GPU 0         Stand-in, compute capability 9.0, 128.0 GiB",
        "  ok       kernel        compiled and run: tanh, right within 0.0e+00",
        "  ok       graph         captured and replayed, right within 0.0e+00",
    ):
        assert line in result.output
    assert "  ok       product       of two matrices in float32, right within" in result.output
    assert device.captures == 1


def test_long_findings_are_wrapped_and_aligned() -> None:
    lines = doctor.text(Finding("name", "word " * 40, Health.WARNING, "a command " * 20)).splitlines()
    assert lines[0].startswith("  warning  name          word")
    assert all(line.startswith(" " * 25 + "word") for line in lines[1:-1])
    assert all(len(line) <= doctor.WIDTH for line in lines[:-1])
    assert lines[-1].startswith(" " * 25 + "fix: a command")  # in one line, to be copied


# -- packages ----------------------------------------------------------------------------------------------------------


def test_packages_are_told_with_versions() -> None:
    found = by_name(doctor.packages())
    assert list(found) == ["Python", "lstmgen", "NumPy", "SymPy", "Jinja", "click", "templates"]
    assert all(each.health is Health.OK for each in found.values())
    assert found["NumPy"].found.startswith(f"{np.__version__}; ")


def test_a_package_that_cannot_be_imported_is_broken(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise ImportError(f"{name}: a library\nis missing")

    monkeypatch.setattr(doctor, "import_module", broken)
    finding = doctor.numpy()
    assert finding.health is Health.BROKEN
    assert finding.found == "ImportError: numpy: a library is missing"
    assert finding.fix == "python -m pip install --force-reinstall numpy"
    assert run("doctor").exit_code == 1


def test_a_numpy_that_multiplies_wrongly_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "einsum", lambda *_: np.zeros((8, 8)))
    assert doctor.numpy().health is Health.BROKEN


def test_templates_that_are_lost_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("lstmgen.templating.template_folders", lambda: (tmp_path,))
    assert doctor.templates().health is Health.BROKEN


# -- plugins -----------------------------------------------------------------------------------------------------------

WRONG = {
    "cell of another name": ("cells", CELL.format("d_other") + "\nit = d_other\n", "it calls itself 'd_other'"),
    "no cell": ("cells", "it = 3", "its type is int, no cell"),
    "no back end": ("backends", "it = 3", "its type is int, which lacks name, target, emit, kernels, load, levels"),
    "back end of another name": (
        "backends",
        "from lstmgen.backends.numpy import backend as it",
        "it calls itself 'numpy'",
    ),
    "back end of unknown levels": (
        "backends",
        "from lstmgen.backends.numpy import NumpyBackend\n"
        "class Theirs(NumpyBackend):\n    levels = lambda self: ('wished',)\nit = Theirs()",
        "it proves at levels that do not exist: wished",
    ),
    "back end that raises": (
        "backends",
        "from lstmgen.backends.numpy import NumpyBackend\n"
        "class Theirs(NumpyBackend):\n    levels = lambda self: 1 / 0\nit = Theirs()",
        "looking at it raises ZeroDivisionError",
    ),
    "notation of another name": (
        "notations",
        "from lstmgen.derivation.notations.code import code as it",
        "it calls itself 'code'",
    ),
    "no notation": ("notations", "it = 3", "its type is int, no notation"),
    "no format": ("formats", "it = 3", "its type is int, no format"),
    "does not load": ("formats", "1 / 0", "ZeroDivisionError"),
}


@pytest.mark.parametrize("number", range(len(WRONG)), ids=WRONG)
def test_a_plugin_that_is_not_what_it_is_registered_as_is_broken(package: Package, number: int) -> None:
    group, source, why = list(WRONG.values())[number]
    name, module = f"d_wrong_{number}", f"doctor_wrong_{number}"
    package(module, f"[lstmgen.{group}]\n{name} = {module}_it:it\n", **{f"{module}_it": source})
    (finding,) = [each for each in doctor.registered() if each.health is not Health.OK]
    assert finding.name == group[:-1]
    assert finding.found.startswith(f"{name}: ")
    assert why in finding.found
    assert finding.fix == f"repair or uninstall {module}"


def test_a_name_that_two_packages_claim_is_broken(package: Package) -> None:
    package("doctor_thief", "[lstmgen.formats]\ntext = doctor_thief_it:it\n")
    (finding,) = [each for each in doctor.registered() if each.health is not Health.OK]
    assert "claimed by doctor_thief and lstmgen" in finding.found
    assert finding.fix == "uninstall one of doctor_thief and lstmgen"


def test_plugins_that_a_checkout_declares_but_nobody_registered_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "declared", lambda: {"formats": {"text", "unheard_of"}})
    (finding,) = [each for each in doctor.registered() if each.health is not Health.OK]
    assert finding.found.endswith("declares them: unheard_of")
    assert "pip install -e ." in finding.fix


# -- the GPU -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compiler", "health", "found"),
    [
        ("no_such_compiler", Health.MISSING, "no_such_compiler is not there"),
        ("false", Health.WARNING, "does not compile"),
    ],
)
def test_a_host_compiler_that_does_not_work_is_told(
    monkeypatch: pytest.MonkeyPatch, compiler: str, health: Health, found: str
) -> None:
    monkeypatch.setenv("CXX", compiler)
    finding = doctor.host_compiler()
    assert finding.health is health
    assert found in finding.found
    assert "CXX" in finding.fix


def test_a_driver_too_old_for_cupy_is_told_with_the_cupy_that_fits(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "driver_version", lambda: 12080)
    found = by_name(doctor.gpu())
    assert found["NVIDIA driver"].found == "for CUDA up to 12.8"
    assert found["CuPy"].found == "14.2.0, for CUDA 13; the driver knows CUDA 12.8 at most"
    assert found["CuPy"].fix == 'update the driver, or python -m pip install "cupy-cuda12x[ctk]"'
    assert "kernel" not in found


def test_a_cupy_that_cannot_be_imported_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cupy.py").write_text("raise ImportError('libcudart\\nis not there')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    cupy, finding = doctor.import_cupy(0)
    assert cupy is None
    assert finding.health is Health.MISSING
    assert "libcudart is not there" in finding.found


def test_an_older_cupy_is_a_warning(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["cupy"], "__version__", "13.6.0")
    assert doctor.import_cupy(13000)[1].health is Health.WARNING


def test_a_gpu_that_computes_wrongly_is_broken(run: Run, device: Device) -> None:
    device.functions["squash"] = lambda given, found, size: np.sin(given, out=found)
    found = by_name(doctor.gpu())
    assert found["kernel"].health is Health.BROKEN
    assert "wrong by" in found["kernel"].found
    assert found["product"].health is Health.OK
    assert run("doctor").exit_code == 1


def test_a_gpu_on_which_a_part_raises_is_broken(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.capability = "61"
    found = by_name(doctor.gpu())
    assert found["kernel"].health is Health.BROKEN
    assert "CompileError" in found["kernel"].found
    monkeypatch.setattr(sys.modules["cupy.cuda"].runtime, "getDeviceCount", lambda: 1 / 0)
    assert by_name(doctor.gpu())["GPU"].health is Health.MISSING


def test_a_gpu_without_graphs_is_a_warning(device: Device) -> None:
    device.refuses_capture = True
    assert by_name(doctor.gpu())["graph"].health is Health.WARNING


def test_headers_matter_to_cupy_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "Path", lambda path: tmp_path / str(path).lstrip("/"))
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    assert doctor.headers(False) == Finding("CUDA headers", "none; generated kernels need none")
    assert doctor.headers(True).health is Health.WARNING
    place = tmp_path / "usr/local/cuda/include"
    place.mkdir(parents=True)
    (place / "cuda_fp16.h").touch()
    assert doctor.headers(True) == Finding("CUDA headers", f"{place}; generated kernels need none")


def test_the_libraries_of_a_real_cupy_are_tried_without_a_gpu() -> None:
    try:
        importlib.import_module("cupy.cuda").nvrtc.getVersion()
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"CuPy with NVRTC is not installed: {error}")
    runtime = doctor.load_runtime()
    assert "compiles a kernel for sm_" in doctor.nvrtc(runtime).found
    assert doctor.cublas(runtime).health is Health.OK


def test_an_nvrtc_that_fails_is_told(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("libnvrtc.so.13 is not there")

    monkeypatch.setattr(sys.modules["cupy.cuda"], "nvrtc", SimpleNamespace(getVersion=fail))
    finding = doctor.nvrtc(None)
    assert finding.health is Health.MISSING
    assert "libnvrtc.so.13 is not there" in finding.found
    assert finding.fix == doctor.TOOLKIT
