"""Templates decide nothing: they lay out the strings they are given, and use every one of them.

The tests read the templates' syntax trees, so that a filter or a comparison fails here by name before it does anything.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import pytest
from jinja2 import StrictUndefined, meta, nodes
from jinja2.exceptions import UndefinedError

from lstmgen import finding, pipeline
from lstmgen.backends.base import Provenance
from lstmgen.backends.numpy.module import build_context
from lstmgen.backends.shell import Context, Entry
from lstmgen.derivation.formats import html, latex
from lstmgen.templating import environment, render, render_text

# Every template with what it is filled from: a frozen dataclass, or names of plain strings.
CONTEXTS: dict[str, type | tuple[str, ...]] = {
    "module.py.jinja": Context,
    "numpy/module.py.jinja": Context,
    "cupy/module.py.jinja": Context,
    "new_cell.py.jinja": ("name",),
    "derivation/article.tex.jinja": latex.Frame,
    "derivation/article.html.jinja": html.Article,
    "derivation/page.html.jinja": html.Page,
    "derivation/style.css.jinja": (),
}

# What a template may consist of: text, the values themselves, loops over them, conditions that are one value, and
# blocks of text that another template leaves open.
ALLOWED = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Const,
    nodes.Tuple,
    nodes.For,
    nodes.If,
    nodes.Extends,
    nodes.Block,
)
VALUES = (nodes.Name, nodes.Getattr)


def names_of(context: type | tuple[str, ...]) -> set[str]:
    return set(context) if isinstance(context, tuple) else {each.name for each in dataclasses.fields(context)}


def parsed(template: str) -> nodes.Template:
    loader = environment().loader
    assert loader is not None
    return environment().parse(loader.get_source(environment(), template)[0])


def test_every_template_has_a_context_here() -> None:
    assert set(environment().list_templates()) == set(CONTEXTS)


@pytest.mark.parametrize("template", CONTEXTS)
def test_a_template_uses_nothing_but_its_context(template: str) -> None:
    assert meta.find_undeclared_variables(parsed(template)) - names_of(CONTEXTS[template]) == set()


@pytest.mark.parametrize("context", dict.fromkeys(CONTEXTS.values()))
def test_templates_use_all_of_their_context(context: type | tuple[str, ...]) -> None:
    templates = [template for template in CONTEXTS if CONTEXTS[template] == context]
    used = {name for template in templates for name in meta.find_undeclared_variables(parsed(template))}
    assert names_of(context) - used == set(), "the templates leave these out"


@pytest.mark.parametrize("template", ["numpy/module.py.jinja", "cupy/module.py.jinja"])
def test_a_template_fills_blocks_that_its_base_leaves_open(template: str) -> None:
    (base,) = parsed(template).find_all(nodes.Extends)
    assert isinstance(base.template, nodes.Const), "a base is a name"
    blocks = {block.name: block for block in parsed(base.template.value).find_all(nodes.Block)}
    assert {block.name for block in parsed(template).find_all(nodes.Block)} <= set(blocks)
    assert [name for name, block in blocks.items() if block.body] == [], "what a base says itself is no block"


@pytest.mark.parametrize("template", CONTEXTS)
def test_a_template_decides_nothing(template: str) -> None:
    tree = parsed(template)
    found = [node for node in tree.find_all(nodes.Node) if not isinstance(node, ALLOWED)]
    assert [f"line {node.lineno}: {type(node).__name__}" for node in found] == []
    for loop in tree.find_all(nodes.For):
        assert isinstance(loop.iter, VALUES), f"line {loop.lineno}: a loop goes over a value as it is"
        assert (loop.test, loop.else_, loop.recursive) == (None, [], False)
    for condition in tree.find_all(nodes.If):
        assert isinstance(condition.test, VALUES), f"line {condition.lineno}: a condition is a value as it is"
        assert condition.elif_ == []
    for item in tree.find_all(nodes.Getitem):
        assert isinstance(item.arg, nodes.Const), f"line {item.lineno}: a place in a list is a number"


@pytest.mark.parametrize(
    "logic",
    [
        "{% set x = 1 %}",
        "{% macro f() %}{% endmacro %}",
        "{{ name | upper }}",
        "{{ name ~ name }}",
        "{{ name.upper() }}",
        "{% if name == 'a' %}{% endif %}",
        "{% if not name %}{% endif %}",
        "{% if name is defined %}{% endif %}",
        "{{ 1 if name else 2 }}",
        "{% include 'new_cell.py.jinja' %}",
        "{% import 'new_cell.py.jinja' as x %}",
        "{{ super() }}",
        "{{ name[1:] }}",
    ],
)
def test_logic_would_be_noticed(logic: str) -> None:
    assert [node for node in environment().parse(logic).find_all(nodes.Node) if not isinstance(node, ALLOWED)]


def test_attributes_in_templates_are_those_of_entries() -> None:
    for template in CONTEXTS:
        used = {node.attr for node in parsed(template).find_all(nodes.Getattr)}
        assert used <= {each.name for each in dataclasses.fields(Entry)}


# -- contexts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [each for each in CONTEXTS.values() if isinstance(each, type)] + [Entry])
def test_a_context_is_frozen_and_holds_strings_booleans_and_tuples(context: type) -> None:
    assert context.__dataclass_params__.frozen  # type: ignore[attr-defined]
    for name, hint in typing.get_type_hints(context).items():
        assert is_plain_type(hint), f"{context.__name__}.{name}: {hint}"


def is_plain_type(hint: Any) -> bool:
    if typing.get_origin(hint) is tuple:
        return all(each is ... or is_plain_type(each) for each in typing.get_args(hint))
    return hint in (str, bool, Entry)


def is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(is_plain, value))
    if isinstance(value, Entry):
        return is_plain((value.name, value.doc))
    return type(value) in (str, bool)


def test_the_context_of_a_cell_is_what_its_types_say() -> None:
    context = lstm_context()
    assert [each.name for each in dataclasses.fields(context) if not is_plain(getattr(context, each.name))] == []


def lstm_context() -> Context:
    compiled = pipeline.compile_cell(finding.find_cell("lstm"), finding.find_backend("numpy"), {})
    provenance = Provenance("0", "lstm", "0", "lstmgen build lstm")
    return build_context(compiled.gradient, compiled.schedule, provenance)


# -- the environment --------------------------------------------------------------------------------------------------


def test_the_environment_is_strict_and_leaves_text_alone() -> None:
    assert environment().undefined is StrictUndefined
    assert environment().trim_blocks
    assert environment().lstrip_blocks
    assert environment().keep_trailing_newline
    assert environment().from_string("<{{ a }}>\n").render(a="&<'\"±") == "<&<'\"±>\n"  # code is not to be escaped


@pytest.mark.parametrize("missing", ["title", "states", "uses_erf"])
def test_a_field_that_is_missing_is_an_error(missing: str) -> None:
    whole = lstm_context()
    fields = [each for each in dataclasses.fields(whole) if each.name != missing]
    part = dataclasses.make_dataclass("Part", [each.name for each in fields])
    values = {each.name: getattr(whole, each.name) for each in fields}
    with pytest.raises(UndefinedError, match=missing):
        render("numpy/module.py.jinja", part(**values))


def test_plain_text_is_strict_too() -> None:
    with pytest.raises(UndefinedError, match="name"):
        render_text("new_cell.py.jinja")
    assert '@cell("mine"' in render_text("new_cell.py.jinja", name="mine")


@pytest.mark.usefixtures("folder")
def test_templates_are_found_wherever_the_work_is_done() -> None:
    assert environment().get_template("numpy/module.py.jinja").filename
