"""The cell: what every cell must do, as an object and by its registered name."""

import pytest
from lstmgen_example.tide import tide

from lstmgen.testing import CELL_CHECKS, check_cell


@pytest.mark.parametrize("check", CELL_CHECKS)
def test_tide(check: str) -> None:
    check_cell(tide, only=[check])


@pytest.mark.parametrize("leak", [0.0, 0.5, 1.0])
def test_tide_by_name_with_other_leaks(leak: float) -> None:
    check_cell("tide", leak=leak, only=["proof", "saturation"])
