"""How others lay out the parameters of a cell: one module a framework, which reads and writes arrays and imports none
of it."""
