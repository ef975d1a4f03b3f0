"""A user's words in generated source: descriptions end no docstring, no comment and no string."""

from __future__ import annotations

import ast

import pytest
from sample_document import UNUSUAL
from unusual_cell import unusual

from lstmgen.backends.cupy.compiled import cuda_source_of
from lstmgen.finding import find_backend
from lstmgen.pipeline import compile_cell


@pytest.mark.parametrize("backend", ["numpy", "cupy"])
def test_words_stay_in_docstrings_and_comments(backend: str) -> None:
    source = compile_cell(unusual, find_backend(backend), {}).source
    documentation = ast.get_docstring(ast.parse(source)) or ""
    assert UNUSUAL in " ".join(documentation.split())
    assert 'ends in """' in documentation and "second line\\ --" in documentation
    if backend == "cupy":
        assert "(ends in ''')" in cuda_source_of(source)
