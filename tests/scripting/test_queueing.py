"""Which line of an app queues a task for a route: found in source code, without calling a function of the app.

In each case the expected line has the comment ``# here``. A case without one queues nothing, as far as anybody knows.
"""

import importlib.util
import itertools
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fastbg.scripting import functions
from fastbg.scripting.queueing import QueueingCode
from fastbg.scripting.routes import operations

HEAD = """
import functools
from dataclasses import dataclass
from typing import Annotated, Optional, Protocol
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint
from starlette.routing import Route

app = FastAPI()

def send(*what): raise AssertionError("it was called")
"""

ENDPOINTS = {
    "parameter": """
@app.post("/")
def post(email: str, tasks: BackgroundTasks):
    tasks.add_task(send, email)  # here
""",
    "passed on as a function": """
@app.post("/")
async def post(tasks: BackgroundTasks):
    for each in map(tasks.add_task, [send]): ...  # here
""",
    "other name in the code": """
from fastapi import BackgroundTasks as Later
@app.post("/")
def post(later: Later):
    queue = later
    queue.add_task(send)  # here
""",
    "text as annotation": """
@app.post("/")
def post(tasks: "BackgroundTasks"):
    tasks.add_task(send)  # here
""",
    "signature alone": """
@app.post("/")  # here
def post(tasks: BackgroundTasks): ...
""",
    "background of a response": """
@app.get("/")
def get():
    return JSONResponse({}, background=BackgroundTask(send))  # here
""",
    "callable as background": """
@app.get("/")
def get():
    return FileResponse("x", background=send)  # here
""",
    "tasks of its own": """
@app.get("/")
def get():
    made = BackgroundTasks()
    made.add_task(send)  # here
    return Response(background=made)
""",
    "attribute of a response": """
@app.get("/")
def get(response: Response):
    response.background = BackgroundTask(send)  # here
""",
    "response class of the app": """
class Temporary(FileResponse):
    def __init__(self, path):
        super().__init__(path, background=BackgroundTask(send, path))  # here
@app.get("/")
def get():
    return Temporary("x")
""",
    "helper": """
def download(path):
    return FileResponse(path, background=BackgroundTask(send, path))  # here
@app.get("/")
async def get():
    return download("x")
""",
    "no background": """
@app.get("/")
def get():
    return Response(background=None)
""",
    "empty tasks as background": """
@app.get("/")
def get(request: Request):
    tasks = BackgroundTasks()
    return JSONResponse({}, 200, None, None, tasks)
""",
    "empty tasks": """
@app.get("/")
def get():
    return Response(background=BackgroundTasks())
""",
    "method of the same name": """
class Todos:
    def add_task(self, text): ...
todos = Todos()
@app.post("/")
def post(text: str):
    todos.add_task(text)
""",
}
DECORATORS = {
    "wraps": """
def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **options):
        return function(*args, **options)
    return wrapper
@app.post("/")
@logged
@logged
def post(tasks: BackgroundTasks):
    tasks.add_task(send)  # here
""",
    "without wraps": """
def logged(function):
    async def wrapper(tasks: BackgroundTasks):
        return function(tasks)
    return wrapper
@app.post("/")
@logged
def post(tasks):
    tasks.add_task(send)  # here
""",
    "decorator that queues": """
def noted(function):
    @functools.wraps(function)
    def wrapper(tasks: BackgroundTasks):
        tasks.add_task(send)  # here
        return function(tasks)
    return wrapper
@app.post("/")
@noted
def post(tasks: BackgroundTasks): ...
""",
    "cache": """
@app.get("/")
@functools.lru_cache
def get():
    return Response(background=BackgroundTask(send))  # here
""",
    "partial": """
def handle(kind, tasks: BackgroundTasks):
    tasks.add_task(send)  # here
app.get("/")(functools.partial(handle, "x"))
""",
}
DEPENDENCIES = {
    "function": """
def noted(tasks: BackgroundTasks):
    tasks.add_task(send)  # here
@app.get("/")
def get(_=Depends(noted)): ...
""",
    "dependency of a dependency that yields": """
def noted(tasks: BackgroundTasks):
    tasks.add_task(send)  # here
async def deep(_=Depends(noted)):
    yield 1
@app.get("/")
def get(_: Annotated[int, Depends(deep)]): ...
""",
    "after the yield": """
async def noted(tasks: BackgroundTasks):
    yield
    tasks.add_task(send)  # here
@app.get("/", dependencies=[Depends(noted)])
def get(): ...
""",
    "object with a call": """
class Noted:
    def __call__(self, tasks: BackgroundTasks):
        tasks.add_task(send)  # here
@app.get("/", dependencies=[Depends(Noted())])
def get(): ...
""",
    "class": """
class Noted:
    def __init__(self, tasks: BackgroundTasks):
        tasks.add_task(send)  # here
@app.get("/")
def get(noted: Annotated[Noted, Depends()]): ...
""",
    "of the app": """
def noted(tasks: BackgroundTasks):
    tasks.add_task(send)  # here
app = FastAPI(dependencies=[Depends(noted)])
@app.get("/")
def get(): ...
""",
    "of a router in a mounted app": """
def noted(tasks: BackgroundTasks):
    tasks.add_task(send)  # here
inner, outer, mounted = APIRouter(dependencies=[Depends(noted)]), APIRouter(prefix="/outer"), FastAPI()
@inner.get("/items/{item_id}")
def get(item_id: int): ...
outer.include_router(inner, prefix="/inner")
mounted.include_router(outer)
app.mount("/api", mounted)
""",
    "that returns the tasks": """
def queue(tasks: BackgroundTasks): return tasks
@app.post("/")
def post(later=Depends(queue)):
    later.add_task(send)  # here
""",
    "that is not used": """
def queue(tasks: BackgroundTasks): return tasks
@app.get("/")
def get(later=Depends(queue)): ...
""",
}
SERVICE = """
class Service:
    def __init__(self, tasks: BackgroundTasks):
        self.tasks = tasks
    def notify(self, user):
        self._queue(user)
    def _queue(self, user):
        self.tasks.add_task(send, user)  # here
    def users(self):
        return []
"""
SERVICES = {
    "with the tasks": f"""{SERVICE}
@app.post("/")
def post(service: Service = Depends()):
    service.notify("x")
""",
    "made by a function": f"""{SERVICE}
def make(tasks: BackgroundTasks): return Service(tasks)
@app.post("/")
def post(service=Depends(make)):
    service.notify("x")
""",
    "method that queues nothing": f"""{SERVICE.replace("# here", "")}
@app.get("/")
def get(service: Annotated[Service, Depends()]):
    return service.users()
""",
    "without annotations": """
class Service:
    def __init__(self, later): self.later = later
    def notify(self): self.later.add_task(send)  # here
def make(tasks: BackgroundTasks): return Service(tasks)
@app.post("/")
def post(service=Depends(make)): service.notify()
""",
    "dataclass": """
@dataclass
class Service:
    tasks: BackgroundTasks
    def notify(self): self.tasks.add_task(send)  # here
@app.post("/")
def post(service: Service = Depends()): service.notify()
""",
    "inside a service": f"""{SERVICE}
class Shop:
    def __init__(self, service: Service = Depends()): self.service = service
    async def order(self): self.service.notify("x")
@app.post("/")
async def post(shop: Shop = Depends()): await shop.order()
""",
    "base class": f"""{SERVICE}
class Special(Service):
    def notify(self, user): super().notify(user)
class Other(Service):
    def notify(self, user): self.tasks.add_task(send)
@app.post("/")
def post(service: Special = Depends()): service.notify("x")
""",
    "subclass of what is annotated": f"""{SERVICE}
class Base:
    def go(self): raise NotImplementedError
class Real(Base):
    def go(self, tasks=None): return Response(background=BackgroundTask(send))
@app.post("/")
def post(base: Base = Depends(lambda: None), service: Service = Depends()): service.notify("x")
""",
    "global object that takes the tasks": """
class Service:
    def notify(self, later, user): later.add_task(send, user)  # here
service = Service()
@app.post("/")
def post(tasks: BackgroundTasks): service.notify(user="x", later=tasks)
""",
    "global object that does not use them": """
class Service:
    def notify(self, later): return len(later.tasks)
service = Service()
def queue(tasks: BackgroundTasks): return tasks
@app.post("/")
def post(later=Depends(queue)): service.notify(later)
""",
    "nobody knows its class": """
@app.post("/")
def post(request: Request, tasks: BackgroundTasks):
    request.app.state.service.notify(tasks)  # here
""",
    "protocol": """
class Port(Protocol):
    def notify(self, tasks: BackgroundTasks): ...
@app.post("/")
def post(tasks: BackgroundTasks, port: Annotated[Port, Depends(lambda: None)]):
    port.notify(tasks)  # here
""",
    "context manager": f"""{SERVICE}
@app.post("/")
def post(tasks: BackgroundTasks):
    with Service(tasks) as service:
        service.notify("x")
""",
    "property": """
class Service:
    def __init__(self, tasks: BackgroundTasks): self._tasks = tasks
    @property
    def queue(self): return self._tasks
@app.post("/")
def post(service: Service = Depends()):
    service.queue.add_task(send)  # here
""",
    "cached property": """
class Service:
    def __init__(self, tasks: BackgroundTasks): self._tasks = tasks
    @functools.cached_property
    def queue(self): return self._tasks
@app.post("/")
def post(service: Service = Depends()):
    service.queue.add_task(send)  # here
""",
    "method of the class": """
class Service:
    @classmethod
    def notify(cls, user, later): later.add_task(send, user)  # here
@app.post("/")
def post(tasks: BackgroundTasks): Service.notify("x", tasks)
""",
    "static method": """
class Service:
    @staticmethod
    def notify(later, user): later.add_task(send, user)  # here
@app.post("/")
def post(tasks: BackgroundTasks, service: Service = Depends()): service.notify(tasks, "x")
""",
    "beside a long way": """
def far(n): return farther(n), far(n)
def farther(n): return far(n), Response(background=BackgroundTask(send))
def near(): return Response(background=BackgroundTask(send))  # here
@app.post("/")
def post(): far(3) or near()
""",
    "it calls itself": """
def again(n): return again(n - 1) or other(n)
def other(n): return again(n)
@app.post("/")
def post(): again(3)
""",
}
STARLETTE = {
    "endpoint": """
async def get(request):
    return JSONResponse({}, background=BackgroundTask(send))  # here
app = Starlette(routes=[Route("/", get)])
""",
    "class": """
class Endpoint(HTTPEndpoint):
    async def get(self, request):
        tasks = BackgroundTasks()
        tasks.add_task(send)  # here
        return Response(background=tasks)
app = Starlette(routes=[Route("/", Endpoint)])
""",
    "class with another method": """
class Endpoint(HTTPEndpoint):
    async def get(self, request): ...
    def helper(self): return Response(background=BackgroundTask(send))
app = Starlette(routes=[Route("/", Endpoint)])
""",
}

_names = (f"queueing_{number}" for number in itertools.count())


def imported(folder: Path, code: str, **modules: str) -> ModuleType:
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    path = folder / f"{next(_names)}.py"
    path.write_text(HEAD + code)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def check(module: ModuleType) -> None:
    assert module.__file__ is not None
    lines = Path(module.__file__).read_text().split("\n")
    expected = [number for number, line in enumerate(lines, 1) if line.endswith("# here")]
    (operation,) = operations(module.app)
    found = QueueingCode().line(operation)
    assert (found and found.number) == (expected[0] if expected else None)
    if found is not None:
        assert found.path == module.__file__


@pytest.mark.parametrize("code", ENDPOINTS.values(), ids=ENDPOINTS)
def test_endpoint(code: str, tmp_path: Path) -> None:
    check(imported(tmp_path, code))


@pytest.mark.parametrize("code", DECORATORS.values(), ids=DECORATORS)
def test_decorated_endpoint(code: str, tmp_path: Path) -> None:
    check(imported(tmp_path, code))


@pytest.mark.parametrize("code", DEPENDENCIES.values(), ids=DEPENDENCIES)
def test_dependency(code: str, tmp_path: Path) -> None:
    check(imported(tmp_path, code))


@pytest.mark.parametrize("code", SERVICES.values(), ids=SERVICES)
def test_service(code: str, tmp_path: Path) -> None:
    check(imported(tmp_path, code))


@pytest.mark.parametrize("code", STARLETTE.values(), ids=STARLETTE)
def test_route_of_starlette(code: str, tmp_path: Path) -> None:
    check(imported(tmp_path, code))


def test_class_that_only_type_checkers_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    mails = """
from __future__ import annotations
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from fastapi import BackgroundTasks

class Mails:
    def send(self, tasks: BackgroundTasks) -> None:
        tasks.add_task(print)

    def queue(self, later: BackgroundTasks | None = None) -> None:
        if later:
            later.add_task(print)
"""
    code = """
from queueing_mails import Mails
@app.post("/")
def post(): Mails().queue(**{})
"""
    (operation,) = operations(imported(tmp_path, code, queueing_mails=mails).app)
    found = QueueingCode().line(operation)
    assert found is not None
    assert (Path(found.path).name, found.number, found.text) == ("queueing_mails.py", 13, "later.add_task(print)")


VENDOR = """
from fastapi.responses import Response
from starlette.background import BackgroundTask

def page(): return Response(background=BackgroundTask(print))
def queue(tasks): tasks.add_task(print)
"""


@pytest.mark.parametrize(("call", "number"), [("page()", None), ("queue(tasks)", 19)])
def test_installed_code_is_searched_only_if_it_gets_the_tasks(
    call: str, number: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path / "vendor")
    monkeypatch.setattr(functions, "_INSTALLED", (str(tmp_path / "vendor"),))
    monkeypatch.delitem(sys.modules, "queueing_vendor", raising=False)
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor" / "queueing_vendor.py").write_text(VENDOR)
    code = f"""
import queueing_vendor
def queue(tasks: BackgroundTasks): return tasks
@app.get("/")
def get(tasks=Depends(queue)): return queueing_vendor.{call}
"""
    (operation,) = operations(imported(tmp_path, code).app)
    found = QueueingCode().line(operation)
    assert (found and found.number) == number


def test_source_that_is_gone_leaves_the_signature(tmp_path: Path) -> None:
    module = imported(tmp_path, ENDPOINTS["parameter"])
    assert module.__file__ is not None
    Path(module.__file__).unlink()
    (operation,) = operations(module.app)
    found = QueueingCode().line(operation)
    assert found is not None
    assert (found.what, found.text) == ("takes BackgroundTasks", "post(tasks: BackgroundTasks)")


def test_long_expression_is_cut(tmp_path: Path) -> None:
    code = f"""
@app.post("/")
def post(tasks: BackgroundTasks):
    tasks.add_task(send, "{"x" * 200}")
"""
    (operation,) = operations(imported(tmp_path, code).app)
    found = QueueingCode().line(operation)
    assert found is not None
    assert found.text.startswith("tasks.add_task(send, 'xxx")
    assert found.text.endswith("x…")
    assert len(found.text) == 80
