"""The pytest plugin in test sessions of users: usage, output and cost."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.certificates import make_certificate
from tests.support.documentation import blocks, page
from tests.support.processes import PATIENCE_S, environment, is_alive, read_until, wait_until
from tests.support.servers import ROOT

pytest_plugins = ["pytester"]

UNUSED = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")

SHOP = """
import os, time
from fastapi import BackgroundTasks, Depends, FastAPI, Response
from fastapi.exceptions import HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel

app = FastAPI()

class Person(BaseModel):
    email: str

def deliver(address):
    pass

def log_visit():
    with open("shop.log", "a") as log:
        log.write("a visit")

def send_mail(address):
    deliver(address)

def visited(tasks: BackgroundTasks):
    tasks.add_task(log_visit)

@app.post("/register", dependencies=[Depends(visited)])
def register(person: Person, tasks: BackgroundTasks):
    if person.email == "taken@example.com":
        return JSONResponse({"detail": "taken"}, 409)
    tasks.add_task(send_mail, person.email)

@app.post("/forget", dependencies=[Depends(visited)])
def forget():
    raise HTTPException(404)

@app.get("/pid")
def pid():
    return os.getpid()

@app.get("/never")
def never():
    time.sleep(3600)

@app.get("/endless")
def endless(tasks: BackgroundTasks):
    tasks.add_task(time.sleep, 3600)

@app.get("/broken")
def broken():
    raise RuntimeError("a bug")

@app.get("/die")
def die():
    print("about to die", flush=True)
    os._exit(7)
"""


PATIENT = f"""
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.fastbg(timeout={PATIENCE_S}))  # a limit of the test itself comes before it
"""


@pytest.fixture
def shop(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Make a folder with an app in its pytest settings. Warnings are errors, as here."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)
    pytester.makepyfile(shop=SHOP)
    pytester.makeconftest(PATIENT)
    pytester.makeini("[pytest]\nfastbg_app = shop:app\nfilterwarnings = error\naddopts = --strict-markers")
    return pytester


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(*UNUSED, *arguments, timeout=PATIENCE_S)


# usage


def test_what_the_documentation_shows(shop: pytest.Pytester) -> None:
    (settings,), tests = blocks(page("pytest"), "toml"), blocks(page("pytest"), "python")
    Path("tox.ini").unlink()
    shop.makepyprojecttoml(settings)
    backend = "@pytest.fixture\ndef anyio_backend(): return 'asyncio'\n"
    shop.makepyfile("\n".join(["import pytest, shop\n", backend, *tests]))
    run(shop, "-W", "error").assert_outcomes(passed=6)


def test_servers_live_as_long_as_they_should(shop: pytest.Pytester) -> None:
    shop.makepyfile("""
        import os, pytest, shop

        pids = []

        @pytest.mark.parametrize("n", range(2))
        def test_named(fastbg, n):
            pids.append(fastbg.get("/pid").json())

        @pytest.mark.fastbg(scope="function")
        def test_of_its_own(fastbg, fastbg_async):
            pids.append(fastbg.get("/pid").json())
            assert fastbg.base_url == fastbg_async.base_url

        @pytest.mark.parametrize("fastbg_app", [shop.app])
        @pytest.mark.parametrize("n", range(2))
        def test_object(fastbg, fastbg_app, n):
            assert fastbg.get("/pid").json() == os.getpid()

        def test_pids():
            assert pids[0] == pids[1] != pids[2]
    """)
    run(shop).assert_outcomes(passed=6)


OPTIONS = """
    import pytest, shop

    TABLES = [{{"root_path": "/api"}}, {{"uds": "{folder}/KIND.sock", "headers": ["X-Own: added"]}},
              {{"ssl_certfile": "{folder}/cert.pem", "ssl_keyfile": "{folder}/key.pem"}}]

    @pytest.fixture(params=TABLES, ids=["root_path", "unix", "https"])
    def fastbg_server(request, fastbg_app):
        kind = "named" if isinstance(fastbg_app, str) else "object"
        return {{key: value.replace("KIND", kind) if key == "uds" else value for key, value in request.param.items()}}

    @pytest.fixture(params=["shop:app", shop.app], ids=["named", "object"])
    def fastbg_app(request):
        return request.param

    def test_options(fastbg, fastbg_async, fastbg_server):
        reply = fastbg.get("/served")
        assert reply.json()["root_path"] == fastbg_server.get("root_path", "")
        assert reply.json()["scheme"] == ("https" if "ssl_keyfile" in fastbg_server else "http")
        assert reply.headers.get("x-own") == ("added" if "headers" in fastbg_server else None)
        assert reply.ran == ["log"]
        assert fastbg.base_url == fastbg_async.base_url

    @pytest.mark.anyio
    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_options_in_a_loop(fastbg_async):
        reply = await fastbg_async.get("/served")
        assert (await reply.wait()).ran == ["log"]
"""


def test_server_has_the_options_of_the_fixture(shop: pytest.Pytester) -> None:
    make_certificate(shop.path)
    shop.makepyfile(
        shop=(ROOT / "tests" / "apps" / "optioned.py").read_text(), test_it=OPTIONS.format(folder=shop.path)
    )
    run(shop).assert_outcomes(passed=12)
    assert not list(shop.path.glob("*.sock"))


def test_wrong_option_of_the_fixture_is_told(shop: pytest.Pytester) -> None:
    shop.makepyfile("""
        import pytest, shop

        @pytest.mark.parametrize("fastbg_app", ["shop:app", shop.app])
        @pytest.mark.parametrize("fastbg_server", [{"rootpath": "/"}, {"backlog": "x"}])
        def test_wrong(fastbg, fastbg_app): ...

        @pytest.mark.parametrize("fastbg_app", [shop.app])
        @pytest.mark.parametrize("fastbg_server", [{"env_file": ".env"}])
        def test_of_a_process(fastbg, fastbg_app): ...
    """)
    result = run(shop)
    result.assert_outcomes(errors=5)
    said = result.stdout.str().partition("short test summary")[0]  # with CI=true this repeats the messages
    assert said.count("unknown option of uvicorn; did you mean root_path?") == 2
    assert said.count("'x' is not a valid integer") == 2
    assert said.count("where: the fixture fastbg_server: env_file") == 1
    assert "Traceback" not in said


def test_app_in_src_is_found(shop: pytest.Pytester) -> None:
    (shop.path / "src").mkdir()
    (shop.path / "shop.py").rename(shop.path / "src" / "shop.py")
    shop.makepyfile("def test_it(fastbg): assert fastbg.get('/pid').status_code == 200")
    run(shop).assert_outcomes(passed=1)


LOOPS = """
import asyncio
from fastapi import BackgroundTasks, FastAPI

app = FastAPI()
pool = []  # as that of a database: it belongs to the event loop in which it is used first

def loop_of_pool():
    pool.append(asyncio.get_running_loop())
    if pool[0] is not pool[-1]:
        raise RuntimeError("got Future <Future pending> attached to a different loop")

def work(): pass

@app.post("/a")
async def a(tasks: BackgroundTasks):
    loop_of_pool()
    tasks.add_task(work)
"""


def test_pool_of_an_app_object_meets_one_event_loop(shop: pytest.Pytester) -> None:
    shop.makepyfile(loops=LOOPS)
    test = """
        import pytest, loops

        @pytest.fixture
        def fastbg_app():
            return loops.app

        @pytest.fixture(params=[{}, {"root_path": "/api"}, {"http": "h11", "headers": ["X-Own: added"]}])
        def fastbg_server(request):
            return request.param

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        def test_sync(fastbg, fastbg_server):
            reply = fastbg.post("/a")
            assert reply.came_before("work")
            assert ("x-own" in reply.headers) == ("headers" in fastbg_server)

        @pytest.mark.anyio
        async def test_async(fastbg_async):
            assert (await (await fastbg_async.post("/a")).wait()).came_before("work")
    """
    shop.makepyfile(test_one=test, test_two=test)
    run(shop).assert_outcomes(passed=12)


@pytest.mark.parametrize(
    ("app", "says"),
    [
        ("loops.app", "fastbg serves app objects in one event loop for the whole session"),
        ("'loops:served'", "fastbg serves this app in a process of its own, with one event"),
    ],
)
def test_pool_that_was_used_in_another_loop_is_explained(shop: pytest.Pytester, app: str, says: str) -> None:
    shop.makepyfile(
        loops=LOOPS + "\ndef served():\n    asyncio.run(use())\n    return app\nasync def use(): loop_of_pool()\n"
    )
    shop.makepyfile(f"""
        import asyncio, pytest, loops

        @pytest.fixture
        def fastbg_app():
            return {app}

        def test_a(fastbg):
            asyncio.run(loops.use())
            fastbg.post("/a").came_before("work")
    """)
    result = run(shop)
    result.assert_outcomes(failed=1)
    error = "RuntimeError: got Future <Future pending> attached to a different loop"
    result.stdout.fnmatch_lines([f"E *: task work was not queued; queued tasks: none; the app raised {error}"])
    shown = " ".join(result.stdout.str().split())
    assert says in shown
    assert "This object was first used in another one: in the loop of a test," in shown


def test_named_app_gets_environment_folder_and_mail_server(shop: pytest.Pytester) -> None:
    shop.makepyfile(
        mailing="""
        import os, smtplib
        from fastapi import BackgroundTasks, FastAPI

        app, port = FastAPI(), int(os.environ["SMTP_PORT"])

        def send(address):
            with smtplib.SMTP("127.0.0.1", port) as server:
                server.sendmail("shop@example.com", [address], "Subject: Welcome\\n\\nHello")
            open("sent.txt", "a").write(address)

        @app.post("/register/{address}")
        def register(address, tasks: BackgroundTasks):
            tasks.add_task(send, address)
    """
    )
    shop.makepyfile("""
        import pytest

        @pytest.fixture(scope="session")
        def fastbg_app():
            return "mailing:app"

        @pytest.fixture(scope="session")
        def fastbg_env(fastbg_mail):
            return {"SMTP_PORT": fastbg_mail.port}

        @pytest.fixture(scope="session")
        def fastbg_cwd(tmp_path_factory):
            return tmp_path_factory.mktemp("shop")

        @pytest.mark.parametrize("name", ["a", "b"])
        def test_mail(fastbg, fastbg_mail, fastbg_cwd, name):
            assert fastbg_mail.mails == []
            assert fastbg.post(f"/register/{name}@example.com").ran == ["send"]
            (mail,) = fastbg_mail.mails
            assert (mail.subject, mail.recipients, mail.text) == ("Welcome", (f"{name}@example.com",), "Hello\\n")
            assert (fastbg_cwd / "sent.txt").read_text().endswith(f"{name}@example.com")
    """)
    run(shop).assert_outcomes(passed=2)


def test_wrong_place_is_told_without_a_traceback(shop: pytest.Pytester) -> None:
    shop.makepyfile("""
        import pytest, shop

        @pytest.mark.parametrize("fastbg_cwd", ["no/such/folder"])
        def test_folder(fastbg): pass

        @pytest.mark.parametrize("fastbg_env", [{"PORT": None}])
        def test_env(fastbg): pass

        @pytest.mark.parametrize("fastbg_server", [{"root_path": None}])
        def test_options(fastbg): pass

        @pytest.mark.parametrize("fastbg_env", [{"PORT": "1"}])
        @pytest.mark.parametrize("fastbg_app", [shop.app])
        def test_object(fastbg): pass
    """)
    result = run(shop)
    result.assert_outcomes(errors=4)
    for where in (
        "fixture fastbg_cwd",
        "fixture fastbg_env",
        "fixture fastbg_server",
        "fixtures fastbg_env and fastbg_cwd",
    ):
        result.stdout.fnmatch_lines([f"  where: the {where}", "  fix: *"], consecutive=True)
    assert "Traceback" not in result.stdout.str()


def test_all_fixtures_describe_one_server(shop: pytest.Pytester) -> None:
    shop.makepyfile(shop=(ROOT / "tests" / "apps" / "optioned.py").read_text())
    (shop.path / ".env").write_text("FROM_THE_FILE=file\n")
    shop.makepyfile("""
        import pytest

        @pytest.fixture(scope="session")
        def fastbg_server():
            return {"env_file": ".env", "root_path": "/api", "uds": "shop.sock"}

        @pytest.fixture(scope="session")
        def fastbg_env(fastbg_mail):
            return {"SMTP_PORT": fastbg_mail.port}

        @pytest.fixture
        def fastbg_cwd(tmp_path):
            return tmp_path

        def test_served(fastbg, tmp_path, pytestconfig):
            reply = fastbg.get("/served", params={"text": "a"})
            assert (reply.json()["variable"], reply.json()["root_path"]) == ("file", "/api")
            assert reply.ran == ["log"]
            assert (tmp_path / "log.txt").read_text() == "a"
            assert (pytestconfig.rootpath / "shop.sock").is_socket()

        class TestOfTheEnvironment:
            @pytest.fixture
            def fastbg_env(self):
                return {"FROM_THE_FILE": "fixture"}

            def test_served(self, fastbg):
                assert fastbg.get("/served").json()["variable"] == "fixture"
    """)
    run(shop).assert_outcomes(passed=2)
    assert not (shop.path / "shop.sock").exists()


def test_missing_extra_of_the_mail_server_is_told(shop: pytest.Pytester) -> None:
    shop.makeconftest("import sys\nsys.modules['aiosmtpd'] = None\n")
    shop.makepyfile("def test_mail(fastbg_mail): pass")
    result = run(shop)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "fastbg: aiosmtpd is not installed, and the fixture's mail server needs it",
            "  where: the fixture fastbg_mail",
            "  fix: pip install '.[[]mail[]]' (in the clone of fastbg)",
        ],
        consecutive=True,
    )
    assert "Traceback" not in result.stdout.str()


# output


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["plain", "xdist"])
def test_failed_assertion_shows_the_time_line(shop: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    shop.makepyfile("""
        import pytest, time

        def test_forget(fastbg):
            reply = fastbg.post("/forget")
            reply.came_before("log_visit")

        def test_status(fastbg):
            assert fastbg.post("/forget").wait().status_code == 200

        @pytest.mark.fastbg(timeout=1)
        def test_endless(fastbg):
            reply = fastbg.get("/endless", timeout=3600)
            while "task_started" not in [event.name for event in fastbg.events]:
                time.sleep(0.01)
            assert reply.ran == ["sleep"]

        @pytest.mark.fastbg(timeout=1)
        def test_never(fastbg):
            fastbg.get("/never")

        def test_nothing_asked(fastbg):
            assert fastbg.get("/endless").status_code == 201
    """)
    result = run(shop, *arguments)
    result.assert_outcomes(failed=5)
    result.stdout.fnmatch_lines(
        [
            "*def test_forget(fastbg):",
            ">       reply.came_before(*",
            "E       AssertionError: no proof that the response came before log_visit: dropped (*",
            "",
            "test_failed*py:5: AssertionError",
            "*- fastbg -*",
            "POST /forget *●*",
            "ms since sent *",
            "*client waits  ● response *task runs*",
            "",
            "POST /forget  404  dropped (shop.log_visit dropped: HTTPException 404)",
            "  shop.log_visit  dropped  exception  HTTPException 404",
            "last output of the server:",
            '*"POST /forget HTTP/1.1" 404 Not Found',
        ],
    )
    result.stdout.fnmatch_lines(
        [
            "E *AssertionError: sleep started and did not finish: not within 1 s",
            "GET /endless *●*┄*",
            "  time.sleep  started  in a thread *",
        ]
    )
    result.stdout.fnmatch_lines(["E *httpx.ReadTimeout: timed out", "GET /never *━━━", "GET /never  no response  *"])
    result.stdout.fnmatch_lines(["GET /endless  200  not finished when the test failed"])
    said = result.stdout.str()
    assert "fastbg/testing" not in said
    assert "httpcore" not in said
    assert said.count("POST /forget  404  dropped") == 2
    assert said.count('"POST /forget HTTP/1.1" 404') == 2  # the server's log: no test shows that of another


@pytest.mark.parametrize("app", ["shop.app", "'shop:app'"])
def test_failed_assertion_shows_the_exception_of_the_app(shop: pytest.Pytester, app: str) -> None:
    shop.makepyfile(f"""
        import pytest, shop

        @pytest.fixture
        def fastbg_app():
            return {app}

        def test_broken(fastbg):
            assert fastbg.get("/broken").status_code == 200
    """)
    result = run(shop)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "GET /broken  500  no-work (*",
            "  RuntimeError: a bug",
            "    … * frames of *",
            "    shop.py:* in broken",
            '        raise RuntimeError("a bug")',
        ],
    )


def test_ascii_terminal_gets_the_last_time_lines_in_ascii(
    shop: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    shop.makepyfile("""
        def test_forget(fastbg):
            for _ in range(25):
                reply = fastbg.post("/forget")
            assert reply.ran
    """)
    result = run(shop)
    result.stdout.fnmatch_lines(
        ["5 earlier requests are not shown", "POST /forget *R*", "*= client waits  R response  *"]
    )
    assert result.stdout.str().count("POST /forget  404") == 20


def test_what_passed_and_what_used_no_server_shows_nothing(shop: pytest.Pytester) -> None:
    shop.makepyfile("def test_one(fastbg): assert fastbg.get('/pid')\ndef test_two(): assert False")
    result = run(shop, "-rA")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.no_fnmatch_line("*- fastbg -*")


def test_death_of_the_server_is_told_with_its_last_words(shop: pytest.Pytester) -> None:
    shop.makepyfile("def test_one(fastbg): fastbg.get('/die')\ndef test_two(fastbg): assert fastbg.get('/pid')")
    result = run(shop)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["E*NoResponse: the server ended with exit code 7", "shop:app: the server ended *", "*to die"]
    )
    assert len(result.outlines) < 40


def test_app_that_cannot_be_served_is_told_without_a_traceback(shop: pytest.Pytester) -> None:
    shop.makepyfile("""
        import pytest

        @pytest.mark.parametrize("fastbg_app", ["no_shop:app", "shop:nothing", "", 300 * "x"])
        def test_one(fastbg): pass
    """)
    result = run(shop)
    result.assert_outcomes(errors=4)
    for told in (
        ["fastbg: the module no_shop does not exist", "  where: *", "  fix: *did you mean *"],
        [
            "fastbg: the app shop:nothing does not exist: the module shop has no attribute 'nothing'",
            "  where: *shop.py",
            "  fix: *",
        ],
        ["fastbg: this path cannot be used: File name too long", "  where: *", "  fix: *"],
        ["fastbg: no app is set", "  where: the fixture fastbg_app", "  fix: set fastbg_app = *"],
    ):
        result.stdout.fnmatch_lines(told, consecutive=True)
    assert "Traceback" not in result.stdout.str()
    assert "fastbg/testing" not in result.stdout.str()


def test_what_a_server_wrote_before_it_failed_to_start_is_shown(shop: pytest.Pytester) -> None:
    shop.makepyfile(
        closed="""
        from contextlib import asynccontextmanager
        from fastapi import FastAPI

        @asynccontextmanager
        async def lifespan(app):
            raise LookupError("no database")
            yield

        app = FastAPI(lifespan=lifespan)
    """
    )
    shop.makepyfile("""
        import pytest

        @pytest.mark.parametrize("fastbg_app", ["closed:app"])
        def test_one(fastbg): pass
    """)
    result = run(shop)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["fastbg: the server *", "  where: closed:app", "    | *LookupError: no database", "  fix: *"]
    )


def test_marker_that_says_something_else(shop: pytest.Pytester) -> None:
    shop.makepyfile("""
        import pytest

        @pytest.mark.fastbg("shop:app")
        def test_app(fastbg): pass

        @pytest.mark.fastbg(port=80)
        def test_port(fastbg): pass

        @pytest.mark.fastbg(scope="module")
        def test_scope(fastbg): pass

        @pytest.mark.parametrize("value", [
            pytest.param(value, marks=pytest.mark.fastbg(timeout=value))
            for value in ("1", None, -1, float("nan"), float("inf"), 10**400)
        ])
        def test_timeout(fastbg, value): pass
    """)
    result = run(shop)
    result.assert_outcomes(errors=9)
    assert (
        len(re.findall(r"^the marker fastbg got timeout=.*: use a number of seconds$", result.stdout.str(), re.M)) == 6
    )
    assert result.outlines.count("the marker fastbg takes only scope= and timeout=") == 2
    result.stdout.fnmatch_lines(["the marker fastbg got scope='module': use one of *"])


# cost


def test_session_that_does_not_use_it_imports_nothing_of_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_modules():
            print(*sys.modules, file=open("modules", "w"))
    """)
    modules = []
    for arguments in ((), ("-p", "no:fastbg")):
        run(pytester, *arguments).assert_outcomes(passed=1)
        modules.append(set(Path("modules").read_text().split()))
    assert modules[0] - modules[1] == {"fastbg", "fastbg.pytest_plugin"}


def stopped(pytester: pytest.Pytester, number: signal.Signals, app: str, path: str) -> tuple[int, str, int]:
    """Send a signal to a session after a request. Return exit code, output and the server's process id."""
    test = pytester.makepyfile(f"""
        import pytest, shop, time

        @pytest.fixture
        def fastbg_app():
            return {app}

        def test_one(fastbg):
            print("server", fastbg.get("/pid").json(), flush=True)
            reply = fastbg.get({path!r})
            print("answered", flush=True)
            reply.wait(3600)
            time.sleep(3600)
    """)
    command = [sys.executable, "-m", "pytest", "-s", *UNUSED, str(test)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment()) as session:
        said = read_until(session.stdout, rb"answered\n")
        session.send_signal(number)
        assert session.stdout is not None
        said += session.stdout.read()
    found = re.search(rb"server (\d+)", said)
    assert found
    return session.returncode, said.decode(), int(found[1])


def test_server_does_not_outlive_a_session_that_is_killed(shop: pytest.Pytester) -> None:
    _, _, server = stopped(shop, signal.SIGKILL, "'shop:app'", "/pid")
    wait_until(lambda: not is_alive(server))


@pytest.mark.parametrize("app", ["'shop:app'", "shop.app"], ids=["process", "thread"])
def test_ctrl_c_ends_the_session_and_the_server_in_order(shop: pytest.Pytester, app: str) -> None:
    code, said, server = stopped(shop, signal.SIGINT, app, "/endless")
    assert code == pytest.ExitCode.INTERRUPTED
    assert "! KeyboardInterrupt !" in said
    assert "Traceback" not in said
    assert "fastbg: " not in said
    assert not is_alive(server)
