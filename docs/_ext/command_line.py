"""A directive that describes commands by their own parsers.

`argparse-command MODULE:FUNCTION`: a section per command of the parser that the
function returns.
"""

import argparse
import importlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_WIDTH = 80  # of a usage, characters


class ArgparseCommand(SphinxDirective):
    """Describe each command of an `argparse` parser."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the sections."""
        module, _, function = self.arguments[0].partition(":")
        parser = getattr(importlib.import_module(module), function)()
        return [_section(command, "") for command, _ in _commands(parser)]


def _commands(
    parser: argparse.ArgumentParser,
) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """The commands below a parser, and the line on each."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for line in action._choices_actions:
                yield action.choices[line.dest], line.help or ""


def _section(parser: argparse.ArgumentParser, summary: str) -> nodes.section:
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=_WIDTH)
    section = nodes.section(ids=[parser.prog.replace(" ", "-")])
    section += nodes.title(text=parser.prog)
    for text in (parser.description or summary).split("\n\n"):
        section += nodes.paragraph("", "", *_marked(" ".join(text.split())))
    parts = [_section(*command) for command in _commands(parser)]
    if parts:
        section += parts
        return section
    section += _literal(parser.format_usage().removeprefix("usage: "))
    section += _options(_argparse_rows(parser))
    return section


def _argparse_rows(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, Any]]:
    formatter = parser._get_formatter()
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            term = formatter._format_action_invocation(action)
            text = formatter._expand_help(action) if action.help else ""
            is_switch = action.nargs == 0 or action.default in (argparse.SUPPRESS, [])
            yield term, text, None if is_switch else action.default


def _options(rows: Iterable[tuple[str, str, Any]]) -> nodes.definition_list:
    found = nodes.definition_list()
    for term, text, default in rows:
        if default not in (None, "", False):
            text += f" (default `{default}`)"
        found += nodes.definition_list_item(
            "",
            nodes.term("", "", nodes.literal(text=term)),
            nodes.definition("", nodes.paragraph("", "", *_marked(text))),
        )
    return found


def _marked(text: str) -> Iterator[nodes.Node]:
    """Text with the parts in backticks as code."""
    for index, part in enumerate(re.split("`", text)):
        yield nodes.literal(text=part) if index % 2 else nodes.Text(part)


def _literal(text: str) -> nodes.literal_block:
    return nodes.literal_block(text.strip(), text.strip(), language="text")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("argparse-command", ArgparseCommand)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
