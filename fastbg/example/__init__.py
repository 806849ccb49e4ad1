"""The example app: ordinary FastAPI, to read, to copy and to try. ``uvicorn fastbg.example:app`` runs it."""

from fastbg.example.app import app

__all__ = ["app"]
