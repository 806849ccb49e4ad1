"""Attaches the recorder to a server. Python imports this module at its start if the folder is in ``PYTHONPATH``.

`fastbg run` puts it there, and a ``.pth`` file can execute it. It runs in every Python process of a command, also in
those that serve nothing and in old versions of Python. So it imports nothing of fastbg before a server is imported, and
never raises. A ``sitecustomize`` of the user is imported as well.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# Without types: the module `typing` would take longer than everything here.

import os
import sys

SERVERS = ("uvicorn.config", "hypercorn.app_wrappers", "granian.asgi", "gunicorn.workers.gasgi")
MIN_PYTHON = (3, 11)
FOLDER = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH120  # pathlib would double the time
PACKAGE = os.path.dirname(os.path.dirname(FOLDER))  # noqa: PTH120


class FastbgFinder:
    """A finder of modules that attaches the recorder to each of `SERVERS` when it has been imported.

    It also finds the package fastbg, so that the app's environment does not need it.
    """

    def __init__(self):
        self._searching = set()

    def find_spec(self, name, path=None, target=None):
        if name == "fastbg":
            return _package_spec()
        key = (name, _thread_id())
        if name not in SERVERS or key in self._searching:
            return None
        self._searching.add(key)  # other import hooks search again from the first finder
        try:
            spec = self._search(name, path, target)
        finally:
            self._searching.discard(key)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            _attach_after_execution(spec.loader)
        return spec

    def _search(self, name, path, target):
        for finder in list(sys.meta_path):
            find_spec = getattr(finder, "find_spec", None)
            spec = None if finder is self or find_spec is None else find_spec(name, path, target)
            if spec is not None:
                return spec
        return None


def _thread_id():
    import _thread

    return _thread.get_ident()


def _package_spec():
    from importlib.util import spec_from_file_location

    file = os.path.join(PACKAGE, "__init__.py")  # noqa: PTH118
    return spec_from_file_location("fastbg", file, submodule_search_locations=[PACKAGE])


def _attach_after_execution(loader):
    execute = loader.exec_module

    def exec_module(module):
        execute(module)
        _attach(module)

    try:
        loader.exec_module = exec_module
    except AttributeError as error:  # of a foreign loader with slots
        _report(str(error))


def _attach(module):
    if sys.version_info < MIN_PYTHON:
        _report("fastbg needs Python {}.{} or later".format(*MIN_PYTHON))
        return
    try:
        from fastbg.attach.servers import attach

        attach(module)
    except Exception as error:  # noqa: BLE001  # the server must start as it does without fastbg
        _report("{}: {}".format(type(error).__name__, error))  # noqa: UP032  # for old versions of Python


def _report(why):
    if sys.stderr:
        sys.stderr.write("fastbg: process {} is not recorded: {}\n".format(os.getpid(), why))  # noqa: UP032


def _install():
    if any(type(finder).__name__ == FastbgFinder.__name__ for finder in sys.meta_path):
        return  # a .pth file is executed twice in a virtual environment
    sys.meta_path.insert(0, FastbgFinder())
    for name in SERVERS:
        if name in sys.modules:
            _attach(sys.modules[name])


def _import_next():
    """Import the ``sitecustomize`` that Python would import without this one."""
    try:  # importlib itself would take longer than everything else here
        from _frozen_importlib import module_from_spec
        from _frozen_importlib_external import PathFinder
    except ImportError:
        from importlib.machinery import PathFinder
        from importlib.util import module_from_spec

    spec = PathFinder.find_spec("sitecustomize", [each for each in sys.path if os.path.abspath(each) != FOLDER])
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


if os.environ.get("FASTBG_RECORD", "0") not in ("", "0"):
    _install()
if __name__ == "sitecustomize":
    _import_next()
