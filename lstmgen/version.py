"""The version of lstmgen, the one place it is written besides pyproject.toml (a test holds them together)."""

VERSION = "0.1.0"
