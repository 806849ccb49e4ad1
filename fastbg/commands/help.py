"""What ``--help`` shows: plain text with the options in panels, and examples at the end.

Typer's own help differs between its versions, which also show types and ranges of Python in it. This one needs no Rich.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:  # older versions of Typer take these from Click
    from typer._click import Context, HelpFormatter, Parameter

OPTIONS = "Options"  # the panel of a command's own options, which comes first

Rows = Sequence[tuple[str, str]]


def examples(*lines: str) -> str:
    """Return the ``epilog`` of a command that shows these command lines."""
    return "\n".join(lines)


class Command(TyperCommand):
    """A command that is helped with by this module."""

    def collect_usage_pieces(self, ctx: "Context") -> list[str]:
        return ["[OPTIONS]", *(_usage(each) for each in self.get_params(ctx) if _is_argument(each))]

    def format_help(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        _write(self, ctx, formatter, _panels(self.get_params(ctx)))


class Group(TyperGroup):
    """The group of all commands."""

    def format_help(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        commands = [(_bold(name), command.help or "") for name, command in self.commands.items()]
        _write(self, ctx, formatter, [("Commands", commands), *_panels(self.get_params(ctx))])


def _write(
    command: TyperCommand | TyperGroup, ctx: "Context", formatter: "HelpFormatter", panels: Iterable[tuple[str, Rows]]
) -> None:
    command.format_usage(ctx, formatter)
    command.format_help_text(ctx, formatter)
    for title, rows in panels:
        with formatter.section(_bold(title)):
            formatter.write_dl(rows)
    if command.epilog:
        with formatter.section(_bold("Examples")):
            for line in command.epilog.splitlines():  # not wrapped: a command line can be copied
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def _panels(parameters: Iterable["Parameter"]) -> list[tuple[str, Rows]]:
    """Return the arguments, the command's own options, then its other panels in the order of their first options."""
    panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], OPTIONS: []}
    for each in parameters:
        panel = "Arguments" if _is_argument(each) else getattr(each, "rich_help_panel", None) or OPTIONS
        panels.setdefault(panel, []).append((_bold(_names(each)), _text(each)))
    return [(panel, rows) for panel, rows in panels.items() if rows]


def _is_argument(parameter: "Parameter") -> bool:
    return parameter.param_type_name == "argument"


def _usage(argument: "Parameter") -> str:
    """Return how the usage shows an argument: ``JOURNAL``, ``[APP]`` or ``[FILE]...``."""
    name = argument.metavar or ""
    return (name if argument.required else f"[{name}]") + ("..." if argument.nargs != 1 else "")


def _names(parameter: "Parameter") -> str:
    if _is_argument(parameter):
        return parameter.metavar or ""
    names = ", ".join(sorted(parameter.opts, key=len))
    return " ".join(filter(None, [" / ".join([names, *parameter.secondary_opts]), parameter.metavar]))


def _text(parameter: "Parameter") -> str:
    return " ".join([getattr(parameter, "help", None) or "", *_remarks(parameter)])


def _remarks(parameter: "Parameter") -> Iterator[str]:
    """Yield the default value and the environment variable."""
    default = parameter.default
    if isinstance(default, bool):
        if parameter.secondary_opts:
            yield f"[default: {'on' if default else 'off'}]"
    elif isinstance(default, str | int | float | Path):
        yield f"[default: {default}]"
    if parameter.envvar:
        yield f"[env: {parameter.envvar}]"


def _bold(text: str) -> str:
    """Return ``text`` in bold; where standard output is no terminal, Typer removes it again."""
    return text if os.environ.get("TERM") == "dumb" else typer.style(text, bold=True)
