"""Whether a process that recorded in a journal still runs, as far as this machine can tell."""

from fastbg.events import Event, boot_id
from fastbg.evidence.processes import ProcessKey, ProcessState, RecordedProcess, key_of
from fastbg.recorder.processes import pid_namespace, start_ticks


def state_of(process: RecordedProcess) -> ProcessState:
    """Return None for a process of another boot, machine or container, and for one of an older fastbg."""
    if process.boot != boot_id() or process.pid_namespace != pid_namespace() or process.start_ticks is None:
        return None
    return "running" if start_ticks(process.pid) == process.start_ticks else "gone"


class SeenProcesses:
    """The server processes whose start was seen. When one starts, the others are looked at: it may replace one."""

    def __init__(self) -> None:
        self._seen: dict[ProcessKey, RecordedProcess] = {}

    def start(self, event: Event) -> None:
        """Add the process of a ``recording_started`` event."""
        for process in self._seen.values():
            process.state = process.state or ("gone" if state_of(process) == "gone" else None)
        started = RecordedProcess.of(event)
        self._seen[started.key] = started

    def why_gone(self, event: Event) -> str | None:
        """Return why the process that wrote ``event`` writes no more, None if it may still do so."""
        process = self._seen.get(key_of(event.detail))
        if process is None or process.state is None:
            return None
        return f"process {process.pid} of the server is gone"
