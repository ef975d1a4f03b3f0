"""The other end of :class:`lstmgen.bench.pool.Worker`: makes an object, and calls its methods when asked.

    python -m lstmgen.bench.worker CORE...

Nothing that starts threads may be imported before the process has its cores, so this imports nothing but Python's own
modules.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from typing import BinaryIO


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answers requests until there are no more: first (class, arguments), then (method, arguments) each."""
    served: object = None
    while True:
        try:
            what, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            if served is None:
                served = what(*arguments)
                answer: tuple[bool, object] = (True, None)
            else:
                answer = (True, getattr(served, what)(*arguments))
        except BaseException as error:
            lines = traceback.format_exception(error)
            answer = (False, ("".join(lines[-1:]).strip(), "".join(lines)))
        pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()


def main() -> None:
    cores = [int(core) for core in sys.argv[1:]]
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    # Whatever libraries print goes where errors go: standard output is for answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
