"""``python -m fastbg`` is the same as ``fastbg``."""

if __name__ == "__main__":  # each worker imports this module too, and needs no command line
    from fastbg.cli import main

    main()
