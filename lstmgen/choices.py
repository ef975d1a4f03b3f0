"""Words that the command line offers and the stages understand. Imports nothing."""

LEVELS = ("device", "host", "compiled", "derivation")
"""Levels of proof, strongest first: the code was run where it is meant to run; the same source was run on the CPU; it
was compiled; only its derivation was checked."""

RUNNING = ("device", "host")
"""The levels at which emitted code is run."""

STAGES = ("graph", "gradient", "schedule", "kernel", "source")
"""What `lstmgen show` prints, in the order in which one comes from the other."""

DETAILS = ("full", "brief")
"""How much `lstmgen derive` tells: brief leaves out the steps of the backward pass."""

PARTS = ("picture", "forward", "backward", "sums", "matrix", "example", "jacobian", "code")
"""What `lstmgen derive` can print alone."""
