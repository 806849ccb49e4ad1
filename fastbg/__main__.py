"""``python -m fastbg`` is the same as ``fastbg``."""

from fastbg.cli import main

if __name__ == "__main__":
    main()
