"""Where each server takes the user's app: the outermost ASGI app, around which the recorder is put.

A server's own middleware, such as uvicorn's for proxy headers, is part of that app. The modules of the servers are
private or change often, so every failure is reported, and the server then serves as it does without fastbg.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from types import ModuleType
from typing import Any

from fastbg.output import notify


def attach(module: ModuleType) -> None:
    """Replace what takes the app in ``module``, of a server. Raises `AttributeError` for an unknown version of it."""
    _ATTACH[module.__name__](module)


def _attach_uvicorn(module: Any) -> None:
    load = module.Config.load

    @wraps(load)
    def load_recorded(config: Any) -> None:
        load(config)
        config.loaded_app = _recorded(config.loaded_app, "uvicorn", given=config.app)

    module.Config.load = load_recorded


def _attach_hypercorn(module: Any) -> None:
    init = module.ASGIWrapper.__init__

    @wraps(init)
    def init_recorded(wrapper: Any, app: Any) -> None:
        init(wrapper, _recorded(app, "hypercorn"))

    module.ASGIWrapper.__init__ = init_recorded


def _attach_granian(module: Any) -> None:
    callback_wrapper, init = module._callback_wrapper, module.LifespanProtocol.__init__
    last: tuple[Any, Any] = (None, None)  # granian passes the same app to both

    def recorded(app: Any) -> Any:
        nonlocal last
        if app is not last[0]:
            last = app, _recorded(app, "granian")
        return last[1]

    @wraps(callback_wrapper)
    def wrapper_recorded(callback: Any, *args: Any, **kwargs: Any) -> Any:
        return callback_wrapper(recorded(callback), *args, **kwargs)

    @wraps(init)
    def init_recorded(lifespan: Any, callback: Any) -> None:
        init(lifespan, recorded(callback))

    module._callback_wrapper, module.LifespanProtocol.__init__ = wrapper_recorded, init_recorded


def _attach_gunicorn(module: Any) -> None:
    load_wsgi = module.ASGIWorker.load_wsgi

    @wraps(load_wsgi)
    def load_recorded(worker: Any) -> None:
        load_wsgi(worker)
        worker.asgi = _recorded(worker.asgi, "gunicorn")

    module.ASGIWorker.load_wsgi = load_recorded


_ATTACH: Mapping[str, Callable[[ModuleType], None]] = {
    "uvicorn.config": _attach_uvicorn,
    "hypercorn.app_wrappers": _attach_hypercorn,
    "granian.asgi": _attach_granian,
    "gunicorn.workers.gasgi": _attach_gunicorn,
}


def _recorded(app: Any, server: str, *, given: Any = None) -> Any:
    """Return ``app`` in a recorder, or ``app`` itself where fastbg already records. ``given``: what the user named."""
    try:
        from fastbg.recorder.middleware import Recorder
        from fastbg.recorder.recording import Recording

        if not Recording.is_wanted() or isinstance(given, Recorder):
            return app
        recorder = Recording.from_environment().recorder(app)
        recorder.announce(server)
    except Exception as error:  # noqa: BLE001  # the server must start as it does without fastbg
        notify(f"fastbg: this {server} server is not recorded: {type(error).__name__}: {error}")
        return app
    return recorder
