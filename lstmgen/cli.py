"""The command line.

Every command imports what it needs when it runs, so that `lstmgen list` stays quick. A user's mistake is printed as a
message with its code and ends with 2, a failed check with 1; anything unexpected says that it is a defect.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lstmgen.choices import DETAILS, LEVELS, PARTS, STAGES
from lstmgen.errors import InternalError, LstmgenError, ProofError, UserError
from lstmgen.version import VERSION

if TYPE_CHECKING:
    from lstmgen.declare.cell import Cell
    from lstmgen.pipeline import Compiled
    from lstmgen.plugins import Plugin


class _Commands(click.Group):
    """Prints errors by whose fault they are, and lists commands in the order in which they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ProofError as error:
            click.echo(f"error: {error}", err=True)
            if error.report is not None:
                click.echo(f"\n{error.report}", err=True)
            ctx.exit(1)
        except UserError as error:
            click.echo(str(error), err=True)
            ctx.exit(2)
        except LstmgenError as error:
            click.echo(str(error), err=True)
            ctx.exit(3)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError, KeyboardInterrupt):
            raise
        except UnicodeEncodeError as error:
            hint = "set PYTHONIOENCODING=utf-8 for the command, or write to a file, which is in UTF-8: --out FILE"
            lacking = error.object[error.start : error.start + 1]
            click.echo(f"error LG003: {error.encoding} cannot print {lacking!a}\n  hint: {hint}", err=True)
            ctx.exit(2)
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            hint = "check the path, the permissions on it, and the room on the disk"
            click.echo(f"error LG002: {error.strerror or error}{where}\n  hint: {hint}", err=True)
            ctx.exit(2)
        except Exception as error:
            import traceback

            click.echo(traceback.format_exc(), err=True)
            click.echo(str(InternalError(f"{type(error).__name__}: {error}")), err=True)
            ctx.exit(3)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="lstmgen")
def main() -> None:
    """From the equations of a recurrent cell to proven, readable kernels and their derivation.

    CELL is the name of a registered cell (lstmgen list cells), a file that declares one (./my_cell.py), or one of
    several in a file (./my_cell.py:name).
    """


def _set_option(function: Any) -> Any:
    return click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set an option of the cell; may be repeated."
    )(function)


def _backend_option(function: Any) -> Any:
    return click.option("--backend", default="numpy", show_default=True, help="The back end to generate for.")(function)


@main.command()
@click.argument("cells", nargs=-1, metavar="[CELL]...")
@click.option("--backend", "backends", multiple=True, help="A back end; may be repeated.  [default: numpy]")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Folder to write to.  [default: generated]")
@click.option("--name", default="", help="Name of the module, instead of one made from cell, options and back end.")
@_set_option
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a file would change.")
@click.option("--require", type=click.Choice(LEVELS), default=None, help="The least level of proof to accept.")
@click.pass_context
def build(
    ctx: click.Context,
    cells: tuple[str, ...],
    backends: tuple[str, ...],
    out: Path | None,
    name: str,
    settings: tuple[str, ...],
    check: bool,
    require: str | None,
) -> None:
    """Generate kernels, prove them, and write them.

    Without CELL, builds what [tool.lstmgen] of ./pyproject.toml names; with --check and without CELL, checks the files
    that are there.
    """
    configured = _configuration() if not cells else {}
    folder = out or Path(configured.get("out", "generated"))
    if check and not cells:
        ctx.exit(_check_folder(folder))
    wanted = cells or tuple(configured.get("cells", ()))
    if not wanted:
        if settings or name or backends:
            raise UserError("no CELL is named", code="LG301", hint="lstmgen list cells shows what there is")
        click.echo(ctx.get_help())
        return
    if name and len(wanted) * max(len(backends), 1) > 1:
        raise UserError("--name names one file; several are to be built", code="LG301", hint="build them one by one")
    stale = 0
    for cell in wanted:
        for backend in backends or tuple(configured.get("backends", ())) or ("numpy",):
            with _progress(f"building {cell} for {backend}"):
                compiled = _compile(cell, backend, settings, name)
                if check:
                    stale += _check_files(folder, compiled.files)
                    continue
                _build_one(folder, compiled, require or "")
    if check:
        ctx.exit(1 if stale else 0)


def _build_one(folder: Path, compiled: Compiled, require: str) -> None:
    from lstmgen import files, pipeline

    report = pipeline.prove(compiled, require)
    files.write_files(folder, compiled.files)
    click.echo(report.summary)
    for file in compiled.files:
        click.echo(f"wrote {folder / file}")


def _check_files(folder: Path, texts: Mapping[str, str]) -> int:
    """How many of the files differ from what would be written; says which."""
    stale = 0
    for name, text in texts.items():
        place = folder / name
        if not place.is_file():
            click.echo(f"would create {place}")
        elif place.read_text(encoding="utf-8", errors="replace") != text:
            click.echo(f"would change {place}")
        else:
            click.echo(f"{place} is current")
            continue
        stale += 1
    return stale


def _check_folder(folder: Path) -> int:
    """Checks every generated file in ``folder`` by the command in its header; the exit code."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}", code="LG302", hint="name one with --out, or build something")
    stale = failed = 0
    heads = {place: place.read_text(encoding="utf-8", errors="replace")[:4000] for place in sorted(folder.glob("*.py"))}
    generated = {place: head for place, head in heads.items() if "Generated by lstmgen" in head}
    unclear: dict[Path, UserError] = {}
    made: dict[str, str] = {}
    for place, head in generated.items():
        try:
            compiled = _compile(*_made_by(place, head))
        except UserError as error:  # the other files are checked all the same
            unclear[place] = error
            continue
        # What several modules share is told of once.
        new = {name: text for name, text in compiled.files.items() if made.get(name) != text}
        made |= new
        stale += _check_files(folder, new)
    for place, reason in unclear.items():
        if place.name not in made:  # not a file that lies beside modules
            click.echo(f"cannot check {place}: {reason}", err=True)
            failed += 1
    if not generated:
        click.echo(f"no generated files in {folder}")
    return 2 if failed else 1 if stale else 0


def _made_by(place: Path, head: str) -> tuple[str, str, tuple[str, ...], str]:
    """Cell, back end, settings and name of the command in a generated file's header.

    The header names a cell's own file without its folder; it is looked for here and around the generated file. Raises
    :class:`UserError` (LG308) where the header holds no command.
    """
    import re
    import shlex

    match = re.search(r"^    lstmgen build (.+)$", head, re.MULTILINE)
    try:
        arguments = build.make_context("build", shlex.split(match[1] if match else "")).params
        (cell,) = arguments["cells"]
        (backend,) = arguments["backends"] or ("numpy",)
    except (ValueError, click.ClickException):
        raise UserError(
            "its header names no command that makes it", code="LG308", hint="build the file again"
        ) from None
    file, colon, name = cell.partition(":")
    if file.endswith(".py"):
        near = (folder / file for folder in (Path(), place.parent, place.parent.parent))
        below = (found for folder in (place.parent.parent, Path()) for found in sorted(folder.rglob(file)))
        file = next((str(each) for each in itertools.chain(near, below) if each.is_file()), file)
    return f"{file}{colon}{name}", backend, arguments["settings"], arguments["name"]


@main.command()
@click.argument("cell")
@click.option("--format", "form", default="text", show_default=True, help="The format (lstmgen list formats).")
@click.option("--notation", default="standard", show_default=True, help="The notation (lstmgen list notations).")
@click.option("--part", default="", help=f"One part only: {', '.join(PARTS)}.")
@click.option(
    "--detail", type=click.Choice(DETAILS), default="full", help="brief leaves out the steps of the backward pass."
)
@click.option("--fragment", is_flag=True, help="Leave out the frame of a document, for inclusion in another.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file to write to.")
@_set_option
def derive(
    cell: str,
    form: str,
    notation: str,
    part: str,
    detail: str,
    fragment: bool,
    out: Path | None,
    settings: tuple[str, ...],
) -> None:
    """Print how the cell's gradient is derived, step by step."""
    if "numpy" not in sys.modules:  # else it is too late to choose
        # The matrices behind the curves are small: on a busy machine threads would mostly wait for each other.
        for library in ("OPENBLAS", "OMP", "MKL"):
            os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    from lstmgen import deriving, files, finding

    chosen = finding.find_notation(notation)
    found = _find(cell)
    printed = deriving.derive(found, chosen, _options(found, settings))
    _tell_warnings(printed.derivation.gradient.declaration.warnings)
    text = printed.render(form, part=part, detail=detail, fragment=fragment)
    if out is None:
        # What is more than text says of itself that it is in UTF-8.
        click.echo(text if form == "text" else text.encode(), nl=False)
    else:
        files.write_files(out.parent, {out.name: text})
        click.echo(f"wrote {out}")


@main.command()
@click.argument("cell")
@_backend_option
@_set_option
@click.option("--require", type=click.Choice(LEVELS), default=None, help="The least level of proof to accept.")
def verify(cell: str, backend: str, settings: tuple[str, ...], require: str | None) -> None:
    """Prove a cell's kernels and print the report; write nothing."""
    from lstmgen import pipeline

    click.echo(str(pipeline.prove(_compile(cell, backend, settings), require or "")))


@main.command()
@click.argument("cell")
@click.option("--stage", type=click.Choice(STAGES), default="source", show_default=True, help="Which stage to print.")
@_backend_option
@_set_option
def show(cell: str, stage: str, backend: str, settings: tuple[str, ...]) -> None:
    """Print what a stage makes of a cell: its graph, gradient, schedule, kernels or source."""
    from lstmgen.stages import describe

    click.echo(describe(_compile(cell, backend, settings), stage), nl=False)


@main.command("list")
@click.argument("group", type=click.Choice(("cells", "backends", "notations", "formats")), required=False)
@click.option(
    "--verbose", "-v", is_flag=True, help="Load each plugin and say what is wrong with those that are broken."
)
def list_command(group: str | None, verbose: bool) -> None:
    """List what is installed: cells, backends, notations, formats."""
    from lstmgen import plugins

    for each in (group,) if group else plugins.GROUPS:
        if not group:
            click.echo(f"{each}:")
        indent = "" if group else "  "
        found = plugins.available(each)
        width = max((len(plugin.name) for plugin in found), default=0)
        for plugin in found:
            line = f"{indent}{plugin.name:<{width}}  {', '.join(plugin.packages)}"
            if plugin.conflict:
                line += "  CONFLICT: two packages claim this name"
            elif verbose:
                line += f"  BROKEN: {why}" if (why := _broken(plugin)) else f"  {plugin.target}"
            click.echo(line)


@main.command()
@click.argument("name")
def new(name: str) -> None:
    """Write NAME.py, a commented cell to begin with. It builds as it stands."""
    from lstmgen import api
    from lstmgen.declare.names import reason_against
    from lstmgen.files import write_files
    from lstmgen.templating import render_text

    reason = reason_against(name)
    if reason:
        raise UserError(reason[1], code=reason[0], hint=reason[2])
    if name in api.__all__:  # the cell's function would hide the one that it calls
        raise UserError(f"{name!r} is a name of lstmgen.api", code="LG305", hint=f"choose another: {name}_cell")
    place = Path(f"{name}.py")
    if place.exists():
        raise UserError(f"{place} exists and is left as it is", code="LG305", hint="choose another name")
    write_files(Path(), {place.name: render_text("new_cell.py.jinja", name=name)})
    click.echo(f"wrote {place}; now: lstmgen build ./{place}")


@main.command()
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Look at what lstmgen needs: packages, plugins, and the parts that run kernels on a GPU.

    Says what to do about what is missing. Exits with 1 if something is broken; a missing GPU is not.
    """
    from lstmgen import doctor as examination

    found: list[examination.Finding] = []
    for title, look in examination.sections():
        click.echo(("\n" if found else "") + title)
        for finding in look():
            click.echo(examination.text(finding))
            found.append(finding)
    click.echo(f"\n{examination.verdict(found)}")
    ctx.exit(1 if any(each.health is examination.Health.BROKEN for each in found) else 0)


@main.command()
@click.argument("cell", default="lstm", metavar="[CELL]")
@_set_option
@click.option("--shape", "shapes", multiple=True, metavar="T,B,F,H", help="Steps, batch, features, hidden; repeatable.")
@click.option("--size", "sizes", multiple=True, metavar="NAME=SIZE", help="The size of another dimension; repeatable.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads and cores to use.")
@click.option("--rounds", type=click.IntRange(1), help="How often everything takes a turn.  [default: 7; quick: 3]")
@click.option("--dtype", type=click.Choice(("float32", "float64")), default="float32", show_default=True)
@click.option("--against", multiple=True, metavar="NAME", help="torch, onnxruntime, jax, tutorial, nobody; repeatable.")
@click.option("--keep-blas-env", "keep_blas", is_flag=True, help="Heed OPENBLAS_CORETYPE and _L2_SIZE; else unset.")
@click.option("--coretype", "core_type", default="", metavar="NAME", help="OpenBLAS's kernels, such as Haswell.")
@click.option(
    "--json", type=click.Path(path_type=Path, dir_okay=False), help="A file for everything that was measured."
)
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="A file for a plot: .svg, .png or .pdf.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    is_flag=False,
    flag_value="benchmarks/results",
    help="A folder for report, JSON and plot.  [without a name: benchmarks/results]",
)
@click.option("--ablation", is_flag=True, help="Measure other schedules too: what each decision saves.")
@click.option("--quick", is_flag=True, help="Fewer shapes, shorter turns.")
@click.option("--limit", type=float, metavar="RATIO", help="Exit with 1 if forward+backward takes more of the floor.")
@click.option("--explain", is_flag=True, help="Print what would be measured, and stop.")
@click.pass_context
def bench(ctx: click.Context, /, cell: str, settings: tuple[str, ...], explain: bool, **request: Any) -> None:
    """Measure a cell's kernels against other implementations and the bare matrix products.

    Without CELL, the LSTM. Exits with 1 if an implementation computes something else, or a limit is exceeded.
    """
    from lstmgen.bench import command

    found = _find(cell)
    asked = command.Request(found, _options(found, settings), **request)
    if explain:
        click.echo(command.explain(asked))
        return
    with _status() as tell:
        failures = command.run(asked, click.echo, tell)
    for failure in failures:
        click.echo(f"error: {failure}", err=True)
    ctx.exit(1 if failures else 0)


# -- help for the commands --------------------------------------------------------------------------------------------


def _broken(plugin: Plugin) -> str:
    """Why a plugin cannot be used; empty if it can. Imports it."""
    from lstmgen import finding

    find: dict[str, Callable[[str], object]] = {
        "cells": finding.find_cell,
        "backends": finding.find_backend,
        "notations": finding.find_notation,
        "formats": finding.find_format,
    }
    try:
        find[plugin.group](plugin.name)
    except UserError as error:
        return str(error.args[0])
    return ""


def _find(cell: str) -> Cell:
    from lstmgen import finding

    return finding.find_cell(cell)


def _options(cell: Cell, settings: Iterable[str]) -> dict[str, Any]:
    from lstmgen import finding

    return finding.find_options(cell, settings)


def _compile(cell: str, backend: str, settings: Iterable[str], name: str = "") -> Compiled:
    from lstmgen import finding, pipeline

    found = _find(cell)
    compiled = pipeline.compile_cell(
        found, finding.find_backend(backend), _options(found, settings), origin=cell, module=name
    )
    _tell_warnings(compiled.declaration.warnings)
    return compiled


def _tell_warnings(warnings: Iterable[object]) -> None:
    for warning in warnings:
        click.echo(str(warning), err=True)


def _configuration() -> dict[str, Any]:
    """[tool.lstmgen] of ./pyproject.toml; empty without one. Raises :class:`UserError` (LG306) if it is malformed."""
    import tomllib

    file = Path("pyproject.toml")
    if not file.is_file():
        return {}
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("lstmgen", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"pyproject.toml cannot be read: {error}", code="LG306", hint="it must be TOML, in UTF-8"
        ) from None
    if not isinstance(found, dict):
        raise UserError("tool.lstmgen must be a table", code="LG306", hint="[tool.lstmgen]")
    for key in ("cells", "backends"):
        if key in found and not (isinstance(found[key], list) and all(isinstance(each, str) for each in found[key])):
            raise UserError(f"[tool.lstmgen] {key} must be a list of names", code="LG306", hint=f'{key} = ["..."]')
    if not isinstance(found.get("out", ""), str):
        raise UserError("[tool.lstmgen] out must be the name of a folder", code="LG306", hint='out = "..."')
    unknown = sorted(set(found) - {"cells", "backends", "out"})
    if unknown:
        raise UserError(
            f"[tool.lstmgen] has no key {', '.join(unknown)}", code="LG306", hint="it takes cells, backends and out"
        )
    return dict(found)


@contextmanager
def _progress(what: str) -> Iterator[None]:
    """Shows ``what`` on a terminal once it has taken more than a second, and takes it away again."""
    import threading

    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()

    def tell() -> None:
        start = time.monotonic()
        while not done.wait(1.0):
            click.echo(f"\r{what} ... {time.monotonic() - start:.0f} s", err=True, nl=False)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
        click.echo("\r\033[K", err=True, nl=False)


@contextmanager
def _status() -> Iterator[Callable[[str], None]]:
    """Shows what is going on in one line of a terminal, and takes it away again in the end."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    try:
        yield lambda text: click.echo(f"\r\033[K{text}", err=True, nl=False)
    finally:
        click.echo("\r\033[K", err=True, nl=False)


if __name__ == "__main__":
    main()
