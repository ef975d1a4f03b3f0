"""The back end: what every back end must do."""

from lstmgen_example.loops import backend

from lstmgen.testing import check_backend


def test_loops() -> None:
    check_backend(backend)
