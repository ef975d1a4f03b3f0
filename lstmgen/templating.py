"""Finds and renders templates. They lay text out; a name they use that the context lacks is an error."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def template_folders() -> tuple[Path, ...]:
    """Where templates lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    return (package / "templates", package.parent / "templates")


@cache
def environment() -> Environment:
    """The one Jinja environment: strict, and with the white space of templates left alone where it is text."""
    return Environment(
        loader=FileSystemLoader([str(folder) for folder in template_folders()]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def render(template: str, context: Any) -> str:
    """The template filled from a frozen dataclass."""
    values = {each.name: getattr(context, each.name) for each in fields(context)}
    return environment().get_template(template).render(values)


def render_text(template: str, **values: str) -> str:
    """The template filled from plain strings."""
    return environment().get_template(template).render(values)
