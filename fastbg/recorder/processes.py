"""What identifies a process of this machine besides its id, which is used again. Linux only: elsewhere None."""

from pathlib import Path


def pid_namespace() -> int | None:
    """Return the number of the namespace in which process ids are unique, such as that of a container."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return None


def start_ticks(pid: int | str = "self") -> int | None:
    """Return when a process started, in clock ticks since the boot; None if it does not exist, or is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    state, *_, ticks = stat.rpartition(")")[2].split()[:20]  # fields 3 to 22 of proc_pid_stat(5)
    return None if state in "ZX" else int(ticks)
