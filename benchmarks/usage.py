"""What processes use, those they started included: CPU seconds, and memory."""

import psutil

from quarry_local.state import State

OWN = "this process"


class Meter:
    """Tells how much CPU each process has used since the meter was made."""

    def __init__(self, state: State) -> None:
        self._processes = {OWN: psutil.Process()}
        for name, record in state.processes.items():
            process = record.identity.process() if record.identity else None
            if process is not None:
                self._processes[name] = process
        self._begun = {name: _used(process, name != OWN) for name, process in self._processes.items()}

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each process; raises psutil.NoSuchProcess when one ended meanwhile."""
        return {
            name: round(_used(process, name != OWN) - self._begun[name], 4)
            for name, process in self._processes.items()
        }


def _used(process: psutil.Process, with_children: bool) -> float:
    times = process.cpu_times()
    total = float(times.user + times.system)
    if not with_children:
        return total
    # Children that have ended are counted by their parent, those that live by themselves.
    total += float(times.children_user + times.children_system)
    for child in process.children(recursive=True):
        try:
            used = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += float(used.user + used.system + used.children_user + used.children_system)
    return total


def resident_bytes(process: psutil.Process) -> int:
    """Return what a process and its children have in memory; pages that they share count for each."""
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))
