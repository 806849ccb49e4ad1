"""The options of ``fastbg serve`` that are uvicorn's, and its words after ``--``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastbg.commands.help import Command
from fastbg.commands.shared_options import file_option
from fastbg.errors import FastbgError

if TYPE_CHECKING:
    from typer._click import Context

UVICORN = "uvicorn"

Factory = Annotated[bool, typer.Option("--factory", help="APP is a function that returns the app.")]
EnvFile = Annotated[
    Path | None,
    file_option(UVICORN, "Environment variables for the app."),
]
LogLevel = Annotated[
    str | None,
    typer.Option(metavar="LEVEL", rich_help_panel=UVICORN, help="critical, error, warning, info, debug or trace."),
]
RootPath = Annotated[
    str | None,
    typer.Option(metavar="PREFIX", rich_help_panel=UVICORN, help="Path below which a proxy serves the app."),
]
ProxyHeaders = Annotated[
    bool | None,
    typer.Option(
        "--proxy-headers/--no-proxy-headers",
        rich_help_panel=UVICORN,
        help="Take the client's address from X-Forwarded-For, if the proxy is trusted. Default: on.",
    ),
]
Uds = Annotated[
    str | None,
    file_option(UVICORN, "Listen on this Unix socket, not on a port.", metavar="SOCKET"),
]
SslKeyfile = Annotated[
    str | None,
    file_option(UVICORN, "The key of the certificate."),
]
SslCertfile = Annotated[
    str | None,
    file_option(UVICORN, "Certificate, for HTTPS."),
]
UvicornWords = Annotated[
    list[str] | None,
    typer.Argument(metavar="-- OPTION", help="Any other option of uvicorn, such as -- --http h11 --ws none."),
]


class ServeCommand(Command):
    """``fastbg serve``, which says where an option of uvicorn belongs."""

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # of Click, or of what Typer has instead
            option = getattr(error, "option_name", None)
            from fastbg.server.uvicorn_options import is_option

            if option is None or not is_option(option):
                raise
            raise FastbgError(
                f"{option} is an option of uvicorn", where=option, remedy=f"write it at the end, after --: -- {option}"
            ) from None
