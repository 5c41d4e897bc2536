"""The machine: what it is, and how much of it other work takes while we measure."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

QUIET = 0.15
"""Up to this share of all cores, other work does not matter."""

_LOOK_SECONDS = 1.0
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def description() -> str:
    """What figures were measured on, in a line."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    cores = os.cpu_count()
    return (
        f"{cores} cores of {model}, {memory_gb:.0f} GB, Python {platform.python_version()}, Linux {platform.release()}"
    )


def cpu_seconds(pid: int) -> float:
    """The processor time that a process and its children have used so far, their own and the kernel's for them."""
    seconds = sum(_times(pid)[1:])  # with that of children which have ended
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            seconds += sum(map(cpu_seconds, map(int, children.read_text().split())))
    return seconds


def settle(say: Callable[[str], None], within_seconds: float) -> None:
    """Wait until the machine is quiet, ourselves included, so that a contender starts alone; not for ever."""
    deadline = time.monotonic() + within_seconds
    is_told = False
    while (share := _busy_share(_LOOK_SECONDS)) > QUIET:
        if time.monotonic() > deadline:
            say(f"  note: other work takes {share:.0%} of this machine; what follows will scatter")
            return
        if not is_told:
            say("  waiting for a quiet moment")
            is_told = True


class Others:
    """How much of the machine other processes take than this one and what descends from it, from now on.

    `look` now and then: what of ours has ended by the next look is known as of the last one.
    """

    def __init__(self) -> None:
        self._began = self._looked = time.monotonic()
        self._busy_before = self._busy = _busy_seconds()
        self._before = _family_seconds()
        self._ours = dict(self._before)

    def look(self, pause_seconds: float = _LOOK_SECONDS / 4) -> None:
        """Take a reading, unless the last one is younger than the pause."""
        now = time.monotonic()
        if now - self._looked >= pause_seconds:
            self._ours.update(_family_seconds())
            self._busy, self._looked = _busy_seconds(), now

    def share(self) -> float:
        """Their share of all cores from the start to the last look."""
        seconds = (self._looked - self._began) * (os.cpu_count() or 1)
        used = sum(now - self._before.get(pid, 0.0) for pid, now in self._ours.items())
        return max(0.0, self._busy - self._busy_before - used) / seconds if seconds else 0.0


def told(others: float) -> str:
    """What to say of their share; nothing when it does not matter."""
    return f"; other work took {others:.0%} of the machine" if others > QUIET else ""


def _busy_share(seconds: float) -> float:
    before = _busy_seconds()
    time.sleep(seconds)
    return (_busy_seconds() - before) / (seconds * (os.cpu_count() or 1))


def _busy_seconds() -> float:
    """Processor time of all cores that was spent, also that which a hypervisor gave to others."""
    fields = [int(part) for part in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / _TICKS_PER_SECOND


def _times(pid: int) -> tuple[int, float, float]:
    """Parent, processor time so far, and that of children which have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own, ended = (int(fields[11]) + int(fields[12])), (int(fields[13]) + int(fields[14]))
    return int(fields[1]), own / _TICKS_PER_SECOND, ended / _TICKS_PER_SECOND


def _family_seconds() -> dict[int, float]:
    """Processor time by process id, of this process and all that descend from it."""
    seen: dict[int, tuple[int, float]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            seen[int(folder.name)] = _times(int(folder.name))[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    family = {os.getpid()}
    while more := {pid for pid, (parent, _) in seen.items() if parent in family and pid not in family}:
        family |= more
    return {pid: seen[pid][1] for pid in family if pid in seen}
