"""The versions of fastbg, Python and the packages that influence a result."""

import platform
from functools import cache
from importlib import metadata

from fastbg import __version__


@cache
def versions() -> dict[str, str]:
    """Return the version of each package by name, fastbg first, from package metadata: nothing is imported."""
    packages = ("fastapi", "starlette", "uvicorn", "httpx")
    return {
        "fastbg": __version__,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in packages},
    }
