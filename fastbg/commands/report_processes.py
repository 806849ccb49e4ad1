"""Whether a process that recorded in a journal still runs, as far as this machine can tell."""

from fastbg.events import boot_id
from fastbg.evidence.processes import ProcessState, RecordedProcess
from fastbg.recorder.processes import pid_namespace, start_ticks


def state_of(process: RecordedProcess) -> ProcessState:
    """Return None for a process of another boot, machine or container, and for one of an older fastbg."""
    if process.boot != boot_id() or process.pid_namespace != pid_namespace() or process.start_ticks is None:
        return None
    return "running" if start_ticks(process.pid) == process.start_ticks else "gone"
