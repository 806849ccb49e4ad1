"""The scripts of one call of ``fastbg demo``: the named ones, a draft for ``--app``, or the default script."""

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fastbg.commands.demo_options import DemoOptions
from fastbg.errors import FastbgError, install_command
from fastbg.interrupts import raise_deferred
from fastbg.output import notify
from fastbg.server.address import Address

EXAMPLE_TITLE = b'"title":"fastbg example'
MAX_DOCUMENT = 1_000_000  # bytes

if TYPE_CHECKING:
    from fastbg.scripting.reader import Source


def named_sources(names: Sequence[str], only: Sequence[str]) -> "list[Source]":
    """Read the scripts with these ``names``, or the default script. Raises `FastbgError`.

    ``only``: names of the requests to run; empty for all.
    """
    from fastbg.scripting.builtin import ALL, DEFAULT, built_in, missing_extra, script
    from fastbg.scripting.selection import only_requests

    wanted = [each for name in names or [DEFAULT] for each in (built_in() if name == ALL else [name])]
    sources = [script(name, os.environ) for name in dict.fromkeys(wanted)]
    for source in list(sources) if ALL in names else ():
        if extra := missing_extra(source, os.environ):
            sources.remove(source)
            notify(f"fastbg: skipped {source.name}, which needs an extra: {install_command(extra)}")
    return only_requests(sources, only) if only else sources


def drafted_source(options: DemoOptions) -> "tuple[Source, DemoOptions]":
    """Return a first script for the app of ``options``, and the options with the full name of the app.

    Raises `FastbgError` if the app cannot be loaded, or if no request is known to queue a task and to destroy nothing.
    """
    from fastbg.scripting.draft_process import draft_of
    from fastbg.scripting.reader import read_script

    raise_deferred()  # importing the user's app may block forever
    settings = options.base
    target, draft = draft_of(settings)
    if not draft.sent:
        raise FastbgError(
            f"fastbg found no request that it may send to {target} unasked",
            where=target,
            remedy=f"write a script, and choose its requests: {init_command(options)}",
            details=draft.remarks("not sent"),
        )
    source = read_script(draft.text, f"--app {options.app}", Path.cwd(), os.environ)
    remarks = tuple(f"{remark} (write a script with --init)" for remark in draft.remarks("not sent"))
    source = replace(source, lines={}, remarks=remarks)
    if options.only:
        from fastbg.scripting.selection import only_requests

        (source,) = only_requests([source], options.only)
    return source, replace(options, app=target, app_dir=settings.app_dir)


def check_example(url: str) -> None:
    """Raise `FastbgError` if the server at ``url`` responds and is not the example app."""
    import httpx

    address = Address.parse(url.rstrip("/"))
    place = f"{address.url}/openapi.json"
    content = b""
    with suppress(httpx.HTTPError, httpx.InvalidURL):  # the run will report that the server does not respond
        verify = httpx.create_ssl_context(verify=place.startswith("https:"))
        transport = httpx.HTTPTransport(verify=verify, uds=address.unix_socket)
        with httpx.Client(transport=transport) as client, client.stream("GET", place) as response:
            for piece in response.iter_bytes():
                content += piece
                if len(content) > MAX_DOCUMENT:
                    break
        if EXAMPLE_TITLE not in content:
            raise FastbgError(
                "the server does not serve the example app, and the default script is only for that",
                where=f"{address}/openapi.json",
                remedy="name a script for that app; fastbg demo --init FILE.toml --app APP writes a first one",
            )


def init_command(options: DemoOptions) -> str:
    """Return the command that writes the draft for the app of ``options`` to a file."""
    words = ["fastbg", "demo", "--init", "FILE.toml", "--app", options.app or ""]
    words += ["--app-dir", str(options.app_dir)] if options.app_dir is not None else []
    return shlex.join(words)
