"""What is promised of the package as a whole: versions, files, licence, types."""

from __future__ import annotations

import importlib
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import lstmgen
from lstmgen import api, finding, pipeline
from lstmgen.templating import template_folders
from lstmgen.version import VERSION

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = CONFIGURATION["project"]


def test_there_is_one_version() -> None:
    assert PROJECT["version"] == VERSION == lstmgen.__version__
    assert version("lstmgen") == VERSION, "the version freezes at install; again: python -m pip install -e ."


def test_generated_holds_what_the_project_asks_for_and_nothing_else() -> None:
    asked = {"__init__.py"}
    for cell in CONFIGURATION["tool"]["lstmgen"]["cells"]:
        for backend in CONFIGURATION["tool"]["lstmgen"]["backends"]:
            asked |= set(
                pipeline.compile_cell(finding.find_cell(cell), finding.find_backend(backend), {}, origin=cell).files
            )
    present = {path.name for path in (ROOT / "generated").iterdir() if path.name != "__pycache__"}
    assert present == asked, (
        "generated/ and [tool.lstmgen] of pyproject.toml differ; build, or remove what is left over"
    )


def test_every_built_in_cell_and_back_end_is_built() -> None:
    entries = PROJECT["entry-points"]
    assert set(CONFIGURATION["tool"]["lstmgen"]["cells"]) == set(entries["lstmgen.cells"])
    assert set(CONFIGURATION["tool"]["lstmgen"]["backends"]) == set(entries["lstmgen.backends"])


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "lstmgen/py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["classifiers"]


def test_the_licence_is_the_one_that_is_declared() -> None:
    (file,) = PROJECT["license-files"]
    first = (ROOT / file).read_text(encoding="utf-8").splitlines()[0]
    assert first.split()[0] == PROJECT["license"].partition("-")[0]


def test_the_command_is_where_the_project_says() -> None:
    module, _, name = PROJECT["scripts"]["lstmgen"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_everything_that_is_installed_has_a_lower_bound() -> None:
    extras = [each for extra in PROJECT["optional-dependencies"].values() for each in extra]
    for requirement in [*PROJECT["dependencies"], *extras]:
        assert re.fullmatch(r"[a-z0-9-]+(\[[a-z]+\])?>=\d+(\.\d+)*", requirement), requirement


def test_templates_are_found_in_a_checkout_and_shipped_in_a_wheel() -> None:
    wheel = CONFIGURATION["tool"]["hatch"]["build"]["targets"]["wheel"]
    installed, beside = template_folders()
    assert wheel["force-include"] == {"templates": installed.relative_to(ROOT).as_posix()}
    assert beside == ROOT / "templates"
    assert not installed.exists(), "templates live in templates/ alone"


def test_the_public_surface_exists_and_is_documented() -> None:
    for module in (lstmgen, api):
        assert list(module.__all__) == sorted(module.__all__)
        for name in set(module.__all__) - {"__version__"}:
            assert getattr(module, name).__doc__, name
