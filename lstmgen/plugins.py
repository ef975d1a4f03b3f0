"""Discovery of plugins: entry points in, one object out.

Listing imports nothing; loading imports one plugin. A name that two packages claim is an error that names both; a
plugin that fails to import is shown as broken and harms no other.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lstmgen.errors import PluginError

GROUPS = ("cells", "backends", "notations", "formats")


@dataclass(frozen=True)
class Plugin:
    """One registered name: what it loads, and the packages that claim it (more than one is a conflict)."""

    group: str
    name: str
    target: str
    packages: tuple[str, ...]

    @property
    def conflict(self) -> bool:
        """Whether two packages claim the name."""
        return len(self.packages) > 1


def _claims(group: str) -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=f"lstmgen.{group}"):
        claims = found.setdefault(entry.name, [])
        # One package seen twice (a checkout on the path and its installed metadata) claims a name once.
        if all((other.value, _package(other)) != (entry.value, _package(entry)) for other in claims):
            claims.append(entry)
    return found


def _package(entry: EntryPoint) -> str:
    return (entry.dist.name if entry.dist is not None else None) or "an unknown package"


def available(group: str) -> tuple[Plugin, ...]:
    """The plugins of a group, sorted by name. Nothing is imported."""
    return tuple(
        Plugin(group, name, claims[0].value, tuple(sorted(_package(entry) for entry in claims)))
        for name, claims in sorted(_claims(group).items())
    )


def load(group: str, name: str) -> Any:
    """The object registered as ``name``; raises :class:`PluginError` where there is none, or two, or it is broken."""
    claims = _claims(group)
    if name not in claims:
        close = difflib.get_close_matches(name, claims, n=1)
        known = ", ".join(sorted(claims)[:10]) or "none are registered"
        known += f", ... (lstmgen list {group} shows all {len(claims)})" * (len(claims) > 10)
        raise PluginError(
            f"there is no {group[:-1]} {name!r}",
            code="LG201",
            hint=f"did you mean {close[0]!r}?" if close else f"there are: {known}",
        )
    if len(claims[name]) > 1:
        packages = " and ".join(sorted(_package(entry) for entry in claims[name]))
        raise PluginError(
            f"the {group[:-1]} {name!r} is claimed by {packages}",
            code="LG202",
            hint="uninstall one of them, or ask its author for another name",
        )
    (entry,) = claims[name]
    try:
        return entry.load()
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"the {group[:-1]} {name!r} of {_package(entry)} is broken: {type(error).__name__}: {error}",
            code="LG203",
            hint=f"it is loaded from {entry.value}; reinstall or repair {_package(entry)}",
        ) from error


def broken(plugin: Plugin) -> str:
    """Why a plugin cannot be loaded; empty if it can. Imports it."""
    try:
        load(plugin.group, plugin.name)
    except PluginError as error:
        return str(error.args[0])
    return ""
