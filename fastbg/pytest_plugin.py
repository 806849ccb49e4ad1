"""The pytest plugin: fixtures and a marker. It imports only pytest until a test requests a fixture.

* ``fastbg_app``: the app to serve; override it. A child process serves a "module:attribute" string for the whole
  session. This process serves an app object for one test, in one event loop for the whole session. The default is the
  ini option of the same name.
* ``fastbg_server``: options of uvicorn for that server, with the names in the table `server` of a script; override it.
* ``fastbg_env``, ``fastbg_cwd``: environment variables and working directory of the child process; override them.
* ``fastbg_mail``: a mail server for the whole session, with the mails of the test.
* ``fastbg``: an `httpx.Client` for that server. Its replies know their background tasks (`fastbg.testing`).
* ``fastbg_async``: an `httpx.AsyncClient` for tests that run in an event loop. Any event loop plugin works.
* ``@pytest.mark.fastbg(scope="function", timeout=3)``: the lifetime of the server, and the timeout in seconds for the
  response, then for its tasks.

A failed test shows the time line of each request that it sent.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from fastbg.testing import AsyncClient, Client, Mailbox
    from fastbg.testing.request_log import RequestLog
    from fastbg.testing.servers import ServerPool

TIMEOUT_S = 10.0
MAX_TIMEOUT_S = 10**6  # sockets and locks refuse a few thousand times as much
SCOPES = ("session", "function")

_request_log = pytest.StashKey["RequestLog"]()
_mailbox = pytest.StashKey["Mailbox"]()

T = TypeVar("T")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("fastbg_app", "The app that the fixture fastbg sends requests to, as module:attribute.", default="")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "fastbg(scope, timeout): the lifetime of the app's server, 'session' or 'function', and the timeout in seconds"
        f" for the response, then for its background tasks (default: {TIMEOUT_S:g}).",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    mailbox = item.config.stash.get(_mailbox, None)
    if mailbox is not None:
        mailbox.start_test()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    request_log = item.stash.get(_request_log, None)
    if request_log is not None and report.failed:
        from fastbg.testing.failure import describe_failure

        report.sections.append(("fastbg", describe_failure(request_log.traces(), request_log.server)))
    return report


@pytest.fixture(scope="session")
def fastbg_app(pytestconfig: pytest.Config) -> object:
    """The app to serve: "module:attribute" or the app object."""
    return pytestconfig.getini("fastbg_app")


@pytest.fixture(scope="session")
def fastbg_server() -> Mapping[str, Any]:
    """Options of uvicorn for the app's server, with the names in the table `server` of a script."""
    return {}


@pytest.fixture(scope="session")
def fastbg_env() -> Mapping[str, str]:
    """More environment variables for a "module:attribute" app."""
    return {}


@pytest.fixture(scope="session")
def fastbg_cwd() -> "str | PathLike[str] | None":
    """The working directory of a "module:attribute" app. None: the current one."""
    return None


@pytest.fixture(scope="session")
def fastbg_mail(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Mailbox"]:
    """A mail server at ``host`` and ``port``. Its ``mails`` are those since the test started."""
    from fastbg.testing import Mailbox

    with ExitStack() as stack:
        mailbox = Mailbox(tmp_path_factory.mktemp("fastbg") / "mail.txt")
        _without_traceback(lambda: stack.enter_context(mailbox.running()))
        request.config.stash[_mailbox] = mailbox
        yield mailbox
        del request.config.stash[_mailbox]


@pytest.fixture(scope="session")
def _fastbg_servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator["ServerPool"]:
    from fastbg.testing.servers import ServerPool

    servers = ServerPool(request.config.rootpath, lambda: tmp_path_factory.mktemp("fastbg"))
    yield servers
    drain = not _interrupted(request.session)
    _without_traceback(lambda: servers.stop(drain=drain))


@pytest.fixture
def _fastbg_request_log(
    request: pytest.FixtureRequest,
    _fastbg_servers: "ServerPool",
    fastbg_app: object,
    fastbg_server: object,
    fastbg_env: object,
    fastbg_cwd: object,
) -> Iterator["RequestLog"]:
    from fastbg.testing.configuration import Configuration

    timeout, scope = _marker_options(request.node)
    configuration = _without_traceback(lambda: Configuration.of(fastbg_server, fastbg_env, fastbg_cwd))
    server = _without_traceback(lambda: _fastbg_servers.acquire(fastbg_app, scope, configuration))
    from fastbg.testing.request_log import RequestLog  # httpx is imported while the server starts

    request_log = request.node.stash[_request_log] = RequestLog(server, timeout)
    yield request_log
    del request.node.stash[_request_log]
    request_log.end()
    drain = not _interrupted(request.session)
    _without_traceback(lambda: _fastbg_servers.release(server, drain=drain))


@pytest.fixture
def fastbg(_fastbg_request_log: "RequestLog") -> Iterator["Client"]:
    """An HTTP client for the app's server. Each reply reports the results of its background tasks."""
    from fastbg.testing import Client

    with Client(_fastbg_request_log) as client:
        yield client


@pytest.fixture
def fastbg_async(_fastbg_request_log: "RequestLog") -> "AsyncClient":
    """`fastbg` for a test that runs in an event loop: ``await fastbg_async.get("/")``."""
    from fastbg.testing import AsyncClient

    return AsyncClient(_fastbg_request_log)


def _marker_options(node: pytest.Item) -> tuple[float, str | None]:
    """Return the timeout in seconds and the scope from the markers of a test. The closest marker wins."""
    options: dict[str, Any] = {}
    for marker in node.iter_markers("fastbg"):
        if marker.args or not marker.kwargs.keys() <= {"scope", "timeout"}:
            pytest.fail("the marker fastbg takes only scope= and timeout=", pytrace=False)
        options = {**marker.kwargs, **options}
    if options.get("scope") not in (None, *SCOPES):
        pytest.fail(f"the marker fastbg got scope={options['scope']!r}: use one of {SCOPES}", pytrace=False)
    timeout = options.get("timeout", TIMEOUT_S)
    if not isinstance(timeout, int | float) or not 0 <= timeout <= MAX_TIMEOUT_S:
        pytest.fail(f"the marker fastbg got timeout={timeout!r}: use a number of seconds", pytrace=False)
    return timeout, options.get("scope")


def _interrupted(session: pytest.Session) -> bool:
    """Whether Ctrl-C ends the session. Then the user must not wait, and pytest cannot show errors."""
    return session.exitstatus == pytest.ExitCode.INTERRUPTED


def _without_traceback(function: Callable[[], T]) -> T:
    """Call ``function``. Fail the test without a traceback for a `FastbgError`, or what causes a `MachineError`."""
    from fastbg.errors import FastbgError, MachineError

    failure: FastbgError | None
    try:
        return function()
    except FastbgError as error:
        failure = error
    except OSError as error:
        failure = MachineError.from_os_error(error)
        if failure is None:
            raise
    pytest.fail("\n".join(failure.lines()), pytrace=False)
