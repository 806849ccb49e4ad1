"""fastbg shows, proves and tests when FastAPI background tasks really run.

`fastbg explain architecture` shows how it is built, and where to find what.
"""

__version__ = "0.1.0"
