"""The pytest plugin: fixtures and a marker. It imports nothing but pytest until a test asks for a fixture.

* ``fastbg_app``: what to serve, to be overridden. A text ("module:attribute") is served by a child process for the
  whole session, an app object by a thread for one test. The ini option of the same name is the default.
* ``fastbg``: an `httpx.Client` for that server, whose replies know their background tasks (`fastbg.testing`).
* ``fastbg_async``: the same as an `httpx.AsyncClient`, for tests that run in an event loop, whoever runs it.
* ``@pytest.mark.fastbg(scope="function", timeout=3)``: how long the server lives, and how many seconds a response,
  and then its tasks, may take.

A test that fails shows the time line of each request that it sent.
"""

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from fastbg.testing import AsyncClient, Client
    from fastbg.testing.request_log import RequestLog
    from fastbg.testing.servers import ServerPool

TIMEOUT_S = 10.0
SCOPES = ("session", "function")

_observed = pytest.StashKey["RequestLog"]()

T = TypeVar("T")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("fastbg_app", "The app that the fixture fastbg asks, as module:attribute.", default="")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "fastbg(scope, timeout): how long the app's server lives, 'session' or 'function', and how many seconds a"
        f" response, and then its background tasks, may take ({TIMEOUT_S:g}).",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    observation = item.stash.get(_observed, None)
    if observation is not None and report.failed:
        from fastbg.testing.failure import describe_failure

        report.sections.append(("fastbg", describe_failure(observation.traces(), observation.server)))
    return report


@pytest.fixture(scope="session")
def fastbg_app(pytestconfig: pytest.Config) -> object:
    """What to serve: "module:attribute", or the app object itself."""
    return pytestconfig.getini("fastbg_app")


@pytest.fixture(scope="session")
def _fastbg_servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator["ServerPool"]:
    from fastbg.testing.servers import ServerPool

    servers = ServerPool(request.config.rootpath, lambda: tmp_path_factory.mktemp("fastbg"))
    yield servers
    drain = not _interrupted(request.session)
    _without_traceback(lambda: servers.stop(drain=drain))


@pytest.fixture
def _fastbg_observation(
    request: pytest.FixtureRequest, _fastbg_servers: "ServerPool", fastbg_app: object
) -> Iterator["RequestLog"]:
    timeout, scope = _wishes(request.node)
    server = _without_traceback(lambda: _fastbg_servers.take(fastbg_app, scope))
    from fastbg.testing.request_log import RequestLog  # not before the server starts

    observation = request.node.stash[_observed] = RequestLog(server, timeout)
    yield observation
    del request.node.stash[_observed]
    observation.end()
    drain = not _interrupted(request.session)
    _without_traceback(lambda: _fastbg_servers.give_back(server, drain=drain))


@pytest.fixture
def fastbg(_fastbg_observation: "RequestLog") -> Iterator["Client"]:
    """An HTTP client for the app's server. Each reply knows what became of its background tasks."""
    from fastbg.testing import Client

    with Client(_fastbg_observation) as client:
        yield client


@pytest.fixture
def fastbg_async(_fastbg_observation: "RequestLog") -> "AsyncClient":
    """`fastbg` for a test that runs in an event loop: ``await fastbg_async.get("/")``."""
    from fastbg.testing import AsyncClient

    return AsyncClient(_fastbg_observation)


def _wishes(node: pytest.Item) -> tuple[float, str | None]:
    """The timeout in seconds and the scope that the markers of a test name, the closest first."""
    wishes: dict[str, Any] = {}
    for marker in node.iter_markers("fastbg"):
        if marker.args or not marker.kwargs.keys() <= {"scope", "timeout"}:
            pytest.fail("the marker fastbg takes scope= and timeout=, nothing else", pytrace=False)
        wishes = {**marker.kwargs, **wishes}
    if wishes.get("scope") not in (None, *SCOPES):
        pytest.fail(f"the marker fastbg has scope={wishes['scope']!r}: write one of {SCOPES}", pytrace=False)
    return wishes.get("timeout", TIMEOUT_S), wishes.get("scope")


def _interrupted(session: pytest.Session) -> bool:
    """Whether Ctrl-C ends the session: nobody waits then, and pytest has no place to show what fails."""
    return session.exitstatus == pytest.ExitCode.INTERRUPTED


def _without_traceback(act: Callable[[], T]) -> T:
    """What ``act`` returns. A mistake that the user can mend fails the test with its three parts alone."""
    from fastbg.errors import FastbgError

    try:
        return act()
    except FastbgError as error:
        lines = error.lines()
    pytest.fail("\n".join(lines), pytrace=False)
