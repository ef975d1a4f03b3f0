"""The tests run where this package is installed."""

from importlib.metadata import distributions

collect_ignore = [] if any(each.name == "lstmgen-example" for each in distributions()) else ["tests"]
