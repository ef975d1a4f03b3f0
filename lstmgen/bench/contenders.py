"""Who is measured: the generated kernels in several ways, other implementations, and the floor."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

from lstmgen.bench import generated, products
from lstmgen.bench.peers import PEERS
from lstmgen.bench.station import Build
from lstmgen.bench.subject import Subject, load
from lstmgen.errors import UserError

OURS, WITHOUT, RECOMPUTING, FLOOR, TORCH = "lstmgen", "no workspace", "recompute", "floor", "torch"
NOBODY = "nobody"


@dataclass(frozen=True)
class Contender:
    """One row of the tables. ``build`` is None for one that cannot be measured here, and ``why`` says why not."""

    key: str
    title: str
    build: Build | None
    why: str = ""


def contenders(subject: Subject, against: Sequence[str], dtype: str) -> tuple[Contender, ...]:
    """The rows in order: ours, the peers ``against`` names (all if it names none), and the floor last."""
    return (
        *_ours(subject),
        *_peers(subject, against, dtype),
        Contender(FLOOR, "matrix products alone", products.build),
    )


def check_names(against: Sequence[str]) -> None:
    """Raises :class:`UserError` (LG602) for a peer that nobody knows."""
    known = [*(peer.key for peer in PEERS), NOBODY]
    for name in against:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
            raise UserError(f"there is no {name!r} to measure against", code="LG602", hint=hint)


def _ours(subject: Subject) -> tuple[Contender, ...]:
    policies = generated.has_policies(load(subject.source))
    why = "" if policies else "this module has one policy"
    recompute = partial(generated.build, residuals=generated.RECOMPUTE) if policies else None
    return (
        Contender(OURS, "lstmgen, with a workspace", generated.build),
        Contender(WITHOUT, "lstmgen, without", partial(generated.build, reuse=False)),
        Contender(RECOMPUTING, "lstmgen, recomputing", recompute, why),
    )


def _peers(subject: Subject, against: Sequence[str], dtype: str) -> tuple[Contender, ...]:
    found = []
    for peer in PEERS:
        if against and peer.key not in against:
            continue
        title = peer.title(subject)
        missing = [name for name in peer.needs if find_spec(name) is None]
        reasons = {
            f"has no {subject.title}": not title,
            f"has no {dtype}": dtype not in peer.dtypes,
            f"{' and '.join(missing)} not installed": bool(missing),
        }
        why = next((reason for reason, holds in reasons.items() if holds), "")
        found.append(Contender(peer.key, title or peer.key, None if why else peer.build, why))
    return tuple(found)
