"""Measures generated kernels against other implementations, and against the matrix products that none can do without.

    lstmgen bench [CELL]

:mod:`.command` is the whole of it in order. What is measured is described in plain data (:mod:`.subject`), which
processes of their own turn into callables (:mod:`.generated`, :mod:`.products`, :mod:`.peers`), check against a float64
reference (:mod:`.reference`, :mod:`.check`) and time in turns (:mod:`.pool`, :mod:`.turns`). :mod:`.report` prints,
:mod:`.record` writes JSON and :mod:`.chart` draws what was found.

Importing this package imports nothing else; a worker imports neither SymPy nor the stages of lstmgen.
"""
