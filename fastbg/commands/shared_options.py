"""The options that several commands have, the panels of options in the help, and the completion of values."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer
from typer.models import OptionInfo

from fastbg.data_folder import MAX_JOURNAL_MIB
from fastbg.errors import FastbgError

SERVER, OUTPUT, SCRIPTS = "Server", "Output", "Scripts"
DATA_FOLDER, EXAMPLE_APP, QUEUE = "Data folder", "Example app", "Queue"
LIVE_PAGE = "Live page"


def finite(value: float | None) -> float | None:
    """Reject the values that `float` accepts but no option can use: ``nan`` and ``inf``."""
    if value is not None and not isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


def refuse_together(some: Mapping[str, bool], others: Mapping[str, bool]) -> None:
    """Raise `FastbgError` if one of the options ``some`` is used with one of ``others``. Each has its name."""
    for first, second in ((first, second) for first in some for second in others if some[first] and others[second]):
        raise FastbgError(
            f"{first} and {second} cannot be combined", where=f"{first} {second}", remedy="use only one of them"
        )


def complete_script(incomplete: str) -> list[str]:
    from fastbg.commands.completion import scripts

    return scripts(incomplete)


def complete_app(incomplete: str) -> list[str]:
    from fastbg.commands.completion import apps

    return apps(incomplete)


def complete_file() -> list[str]:
    return []  # then the shell completes files; older versions of Typer return the typed word by themselves


def complete_topic(incomplete: str) -> list[str]:
    from fastbg.commands.completion import topics

    return topics(incomplete)


Folder = Annotated[
    Path,
    typer.Option(
        "--dir",
        metavar="FOLDER",
        autocompletion=complete_file,
        envvar="FASTBG_DIR",
        rich_help_panel=DATA_FOLDER,
        help="Folder of README.md, log.txt and journal.jsonl.",
    ),
]
Work = Annotated[
    float,
    typer.Option(
        "--work",
        envvar="FASTBG_WORK",
        metavar="SECONDS",
        min=0,
        callback=finite,
        rich_help_panel=EXAMPLE_APP,
        help="Duration of each task of the example app.",
    ),
]
JournalSize = Annotated[
    float,
    typer.Option(
        "--journal-size",
        envvar="FASTBG_JOURNAL_SIZE",
        metavar="MIB",
        min=0,
        max=MAX_JOURNAL_MIB,
        callback=finite,
        rich_help_panel=DATA_FOLDER,
        help="Rotate the journal at this size and keep 4 old files. 0 never rotates.",
    ),
]
Broker = Annotated[
    str | None,
    typer.Option(
        "--broker",
        envvar="FASTBG_BROKER",
        metavar="ADDRESS",
        rich_help_panel=QUEUE,
        help="NATS servers that store the tasks, such as nats://host:4222, separated by commas.",
    ),
]


def file_option(panel: str, help_: str, metavar: str = "FILE") -> OptionInfo:
    """Return an option with the path of a file."""
    option: OptionInfo = typer.Option(metavar=metavar, autocompletion=complete_file, rich_help_panel=panel, help=help_)
    return option


Save = Annotated[
    list[Path] | None,
    typer.Option(
        "--save",
        metavar="FILE",
        autocompletion=complete_file,
        rich_help_panel=OUTPUT,
        help="Save the report as a picture (.svg) or as a page (.html). Can be given several times.",
    ),
]
AppDir = Annotated[
    Path | None,
    typer.Option(
        "--app-dir",
        metavar="FOLDER",
        help="Folder to import the app from. Default: the current folder, its src, or the folder of the file.",
    ),
]


Record = Annotated[bool, typer.Option("--record/--no-record", rich_help_panel=DATA_FOLDER, help="Write the journal.")]
