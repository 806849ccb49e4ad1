"""The example app: ordinary FastAPI code to read, copy and try. Run it with ``uvicorn fastbg.example:app``."""

from fastbg.example.app import app

__all__ = ["app"]
