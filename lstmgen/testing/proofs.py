"""A proof as findings: which tensors are wrong, and by how much."""

from __future__ import annotations

from collections.abc import Iterator

from lstmgen.errors import ProofError
from lstmgen.pipeline import Compiled, prove
from lstmgen.verify.report import CHUNKED, RECOMPUTED, WHOLE, Report


def proof_findings(compiled: Compiled) -> Iterator[str]:
    """What a proof at the best level at hand finds wrong: float64 against the equations and finite differences, the
    Taylor remainder, float32 against float64."""
    try:
        prove(compiled)
    except ProofError as error:
        yield from _failures(error.report) if isinstance(error.report, Report) else [str(error)]


def _failures(report: Report) -> Iterator[str]:
    kinds = {
        **{
            f"the equations ({way})": [each for each in report.interpreted if each.way == way]
            for way in (WHOLE, CHUNKED, RECOMPUTED)
        },
        "finite differences": report.differenced,
        "its float64 code, in float32": report.single,
    }
    for against, comparisons in kinds.items():
        for each in comparisons:
            if not each.passed:
                yield (
                    f"{each.tensor} is off by {each.error:.1e} against {against}, at {list(each.where)} "
                    f"(limit {each.limit:.0e})"
                )
    if not report.taylor.passed:
        first, second = report.taylor.first, report.taylor.second
        yield f"Taylor test: the remainder shrinks with order {first:.2f} and {second:.2f}, not 1 and 2"
