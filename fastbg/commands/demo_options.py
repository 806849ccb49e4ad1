"""The options of ``fastbg demo``, and the checks before anything starts."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fastbg.errors import FastbgError
from fastbg.report.files import check_picture, check_place
from fastbg.server.address import UNIX, is_valid
from fastbg.server.discovery import locate
from fastbg.server.settings import ServerSettings

GRACE_S = 10.0  # default timeout beyond the duration of the work


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The options of one call.

    ``scripts``: names and files; empty for the default script, or for a draft if there is an ``app``. ``app_dir``: the
    folder to import it from, None to find it. ``url``: as typed, see `server_url`. ``work``, ``timeout``: seconds.
    ``only``: names of the requests to run; empty for all. ``save``: files for the picture or the page. ``junit``: file
    for the JUnit report. ``summary``: file to append a Markdown summary to. ``workspace``: folder of the clone in a
    GitHub workflow, which gets annotations; None anywhere else.
    """

    directory: Path
    work: float
    scripts: tuple[str, ...] = ()
    app: str | None = None
    app_dir: Path | None = None
    url: str | None = None
    timeout: float | None = None
    repeat: int = 1
    concurrency: int = 1
    only: tuple[str, ...] = ()
    step: bool = False
    as_json: bool = False
    save: tuple[Path, ...] = ()
    quiet: bool = False
    junit: Path | None = None
    summary: Path | None = None
    workspace: Path | None = None

    @property
    def limit_s(self) -> float:
        """Timeout of one request unless its script sets one; the default allows for several tasks in sequence."""
        return self.timeout if self.timeout is not None else GRACE_S + 5 * self.work

    @property
    def base(self) -> ServerSettings:
        """Settings of the server to start, without those of the script. Raises `ServerError`."""
        settings = ServerSettings("", directory=self.directory, work=self.work)
        if self.app is None:
            return settings
        location = locate(self.app, self.app_dir)
        return replace(settings, app=location.target, app_dir=location.folder)

    @property
    def server_url(self) -> str | None:
        """The URL of the running server, None to start one. An address without a scheme gets ``http://``."""
        if self.url is None or ":/" in self.url or self.url.startswith(UNIX):
            return self.url
        return f"http://{self.url}"

    def check(self) -> None:
        """Raise `FastbgError` for options that cannot be combined, or files that cannot be written."""
        self._check_combinations()
        self._check_url()
        for picture in self.save:
            check_picture(picture)
        for path, what, where in self._files():
            check_place(path, what, where)

    def _check_combinations(self) -> None:
        modes = {"--quiet": self.quiet, "--step": self.step, "--json": self.as_json}
        chosen = [name for name, enabled in modes.items() if enabled]
        if len(chosen) > 1:
            raise FastbgError(
                f"{' and '.join(chosen)} cannot be combined",
                where=" ".join(chosen),
                remedy="use only one of them",
            )
        if self.step and self.repeat > 1:
            raise FastbgError(
                "--step and --repeat cannot be combined", where="--step --repeat", remedy="use only one of them"
            )
        if self.app_dir is not None and self.app is None:
            raise FastbgError("--app-dir needs an app", where=f"--app-dir {self.app_dir}", remedy="add --app APP")
        if self.concurrency > self.repeat:
            raise FastbgError(
                f"--concurrency {self.concurrency} is greater than --repeat {self.repeat}",
                where=f"--concurrency {self.concurrency}",
                remedy=f"add --repeat {self.concurrency} or more",
            )

    def _check_url(self) -> None:
        if self.url is not None and self.app is not None:
            raise FastbgError(
                "--url and --app cannot be combined: a running server already has its app",
                where=f"--url {self.url} --app {self.app}",
                remedy="use only one of them",
            )
        if self.server_url is not None and not is_valid(self.server_url):
            raise FastbgError(
                "not a valid URL",
                where=f"--url {self.url}",
                remedy="write it as http://127.0.0.1:8000, as 127.0.0.1:8000, or as unix:PATH",
            )

    def _files(self) -> Iterator[tuple[Path, str, str]]:
        if self.junit is not None:
            yield self.junit, "the JUnit report", f"--junit {self.junit}"
        if self.summary is not None:
            yield self.summary, "the summary for GitHub", f"GITHUB_STEP_SUMMARY={self.summary}"
