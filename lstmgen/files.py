"""Writes files: all of them or none, each replaced in one step."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Writes all files or none: each is staged beside its place, and put there when all are staged.

    A link stays one, and leads to what is new. What is no file, such as a terminal or a pipe, is written to as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places = {folder / name: text for name, text in files.items()}
    streams = {place: text for place, text in places.items() if _is_stream(place)}
    staged: list[tuple[str, Path]] = []
    try:
        for link, text in places.items():
            if link in streams:
                continue
            place = link.resolve() if link.is_symlink() else link
            handle, temporary = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.", suffix=".tmp")
            staged.append((temporary, place))
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            os.chmod(temporary, 0o666 & ~_umask())
        while staged:
            temporary, place = staged[0]
            os.replace(temporary, place)
            staged.pop(0)
        for place, text in streams.items():
            with open(place, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
    finally:
        for temporary, _ in staged:
            Path(temporary).unlink(missing_ok=True)


def _is_stream(place: Path) -> bool:
    return place.exists() and not place.is_file() and not place.is_dir()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
