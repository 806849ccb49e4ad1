"""Where fastbg starts: the command ``fastbg``, and ``python -m fastbg``."""

from fastbg.interrupts import defer


def main() -> None:
    """Import the command line, which takes most of the start, and run it. A Ctrl-C waits for the end of the import."""
    defer()
    from fastbg.cli import main as run_command_line

    run_command_line()


if __name__ == "__main__":  # each worker imports this module too, and needs no command line
    main()
