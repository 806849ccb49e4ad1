"""fastbg shows, proves and tests when FastAPI background tasks really run."""

__version__ = "0.1.0"
