"""Breaks long lines of Python the way the usual formatters do."""

from __future__ import annotations

WIDTH = 120


def wrapped(line: str) -> list[str]:
    """``line`` itself, or several: the outermost call's arguments on a line of their own, or one each."""
    if len(line) <= WIDTH:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    if line.lstrip().startswith("#"):
        return _comment(line.strip()[2:], indent)
    opening = line.find("(")
    if opening < 0 or not line.endswith(")"):
        return [line]
    head, inner = line[: opening + 1], line[opening + 1 : -1]
    if len(indent) + 4 + len(inner) <= WIDTH:
        return [head, f"{indent}    {inner}", f"{indent})"]
    parts = _split(inner)
    return [head, *(part for each in parts for part in wrapped(f"{indent}    {each},")), f"{indent})"]


def _comment(text: str, indent: str) -> list[str]:
    lines, current = [], ""
    for word in text.split(" "):
        if current and len(indent) + 2 + len(current) + 1 + len(word) > WIDTH:
            lines.append(current)
            current = f"    {word}"
        else:
            current = f"{current} {word}" if current else word
    return [f"{indent}# {each}" for each in (*lines, current)]


def _split(text: str) -> list[str]:
    """The arguments of a call: split at commas outside brackets and strings."""
    parts, depth, start, quoted = [], 0, 0, False
    for index, sign in enumerate(text):
        if sign == '"':
            quoted = not quoted
        elif not quoted and sign in "([{":
            depth += 1
        elif not quoted and sign in ")]}":
            depth -= 1
        elif not quoted and sign == "," and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    return [*parts, text[start:].strip()]
