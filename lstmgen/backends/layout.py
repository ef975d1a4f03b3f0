"""Pieces of Python text: rearranged arrays, and long lines broken the way the usual formatters do."""

from __future__ import annotations

WIDTH = 120


def transposed(text: str, order: list[int]) -> str:
    """The array ``text`` with its axes in this order."""
    if order == sorted(order):
        return text
    return f"{text}.T" if len(order) == 2 else f"{text}.transpose({', '.join(map(str, order))})"


def listed(head: str, names: list[str], tail: str, *, room: int = 12) -> list[str]:
    """Many names between ``head`` and ``tail``, filled into lines where a formatter would give each its own.

    ``room`` is what later indentation may take of the width.
    """
    one = f"{head}{', '.join(names)}{',' if len(names) == 1 and tail.startswith(')') else ''}{tail}"
    if len(one) <= WIDTH - room:
        return [one]
    opened = head if head.endswith("(") else f"{head}("
    closed = tail if tail.startswith(")") else f"){tail}"
    inner = [""]
    for name in names:
        if len(inner[-1]) + len(name) + 2 > WIDTH - room - 4:
            inner.append("")
        inner[-1] += f"{' ' if inner[-1] else ''}{name},"
    return [opened, *(f"    {line}" for line in inner), f"{closed}  # fmt: skip"]


def wrapped(line: str) -> list[str]:
    """``line`` itself, or several: the outermost call's arguments on a line of their own, or one each."""
    if len(line) <= WIDTH or line.endswith("# fmt: skip"):
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    if line.lstrip().startswith("#"):
        return comment(line.strip()[2:], indent)
    comma = "," if line.endswith(",") else ""
    body = line.removesuffix(",")
    opening = body.find("(")
    if opening < 0 or not body.endswith(")"):
        return [line]
    head, inner = body[: opening + 1], body[opening + 1 : -1]
    if len(indent) + 4 + len(inner) <= WIDTH:
        return [head, f"{indent}    {inner}", f"{indent}){comma}"]
    parts = [part for each in _split(inner) for part in wrapped(f"{indent}    {each},")]
    return [head, *parts, f"{indent}){comma}"]


def indented(lines: list[str]) -> tuple[str, ...]:
    """The lines of a function's body as they stand in it, long ones broken."""
    return tuple(part for line in lines for part in wrapped(f"    {line}" if line else ""))


def comment(text: str, indent: str) -> list[str]:
    """A comment of any length, its later lines set in."""
    return [f"{indent}# {line}" for line in filled(text, WIDTH - len(indent) - 2)]


def filled(text: str, width: int, *, set_in: str = "    ") -> list[str]:
    """Text broken at spaces, its later lines set in; columns made of several spaces stay as they are."""
    lines, current = [], ""
    for word in text.split(" "):
        if current.strip() and len(current) + 1 + len(word) > width:
            lines.append(current.rstrip())
            current = f"{set_in}{word}"
        else:
            current = f"{current} {word}" if current or lines else word
    return [*lines, current]


def in_docstring(text: str, last: bool = False) -> str:
    """User's words as they stand between three quotes: none ends the string, and no backslash means anything.

    ``last`` are those that the closing quotes follow at once.
    """
    escaped = text.replace("\\", r"\\")
    return escaped.replace('"', r"\"") if '"""' in text or (last and text.endswith('"')) else escaped


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
