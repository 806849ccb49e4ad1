"""The versions that a result depends on."""

import platform
from functools import cache
from importlib import metadata

from fastbg import __version__


@cache
def versions() -> dict[str, str]:
    """Return name to version, fastbg first, from the metadata of the installed packages, without importing them."""
    packages = ("fastapi", "starlette", "uvicorn", "httpx")
    return {
        "fastbg": __version__,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in packages},
    }
