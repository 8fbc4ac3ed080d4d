"""The memory of this process and of the machine.

Why not `resource.getrusage`: its peak survives fork and exec, so a process that a large one started
reports the peak of its parent. Linux keeps a high-water mark per process that can be set back;
elsewhere a thread samples.
"""

import threading
from pathlib import Path
from types import TracebackType

import psutil

_SAMPLE_SECONDS = 0.01
_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_CGROUP = Path("/sys/fs/cgroup")
_CGROUP_FILES = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)
_lock = threading.Lock()
_open: "list[PeakMemory]" = []


class PeakMemory:
    """Measure the peak of the resident memory of this process inside a ``with`` block.

    Blocks may be nested or overlap in threads; each sees the memory of the whole process. Where
    the kernel keeps no high-water mark that can be set back, a thread samples every 10 ms, and a
    shorter peak may be missed.

    Attributes
    ----------
    baseline_rss_bytes : int
        Resident memory on entry.
    exact : bool
        True if the kernel measures the peak, False if a thread samples it.

    Examples
    --------
    >>> with PeakMemory() as memory:
    ...     block = bytearray(50_000_000)
    >>> memory.above_baseline_bytes > 40_000_000
    True
    """

    def __init__(self) -> None:
        self.baseline_rss_bytes = 0
        self.exact = False
        self._peak = 0
        self._done = threading.Event()
        self._sampler: threading.Thread | None = None

    def __enter__(self) -> "PeakMemory":
        self._done.clear()
        with _lock:
            for other in _open:
                other._look()  # before the mark is set back
            self.exact = _reset_high_water()
            self.baseline_rss_bytes = self._peak = _rss_bytes()
            _open.append(self)
        if not self.exact:
            self._sampler = threading.Thread(target=self._sample, daemon=True)
            self._sampler.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with _lock:
            self._look()
            _open.remove(self)
        self._done.set()
        if self._sampler is not None:
            self._sampler.join()
            self._sampler = None

    @property
    def peak_rss_bytes(self) -> int:
        """Largest resident memory since entry, up to now or to the end of the block."""
        with _lock:
            if self in _open:
                self._look()
            return self._peak

    @property
    def above_baseline_bytes(self) -> int:
        """Peak above the resident memory on entry, >= 0."""
        return self.peak_rss_bytes - self.baseline_rss_bytes

    def _look(self) -> None:
        """Take note of the memory so far."""
        seen = _status_bytes("VmHWM") if self.exact else _rss_bytes()
        self._peak = max(self._peak, seen or 0)

    def _sample(self) -> None:
        """Look again and again until the block ends."""
        while not self._done.wait(_SAMPLE_SECONDS):
            with _lock:
                self._look()


def available_memory_bytes() -> int:
    """Memory that this process can still take without swapping.

    The smaller of what the machine has free and what the control group of a container leaves.
    """
    free = psutil.virtual_memory().available
    limits = [left for files in _CGROUP_FILES if (left := _cgroup_left(*files)) is not None]
    return max(0, min([free, *limits]))


def _rss_bytes() -> int:
    """Resident memory now."""
    return int(psutil.Process().memory_info().rss)


def _reset_high_water() -> bool:
    """Set the high-water mark of the kernel back to the memory now; False where that fails."""
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return _status_bytes("VmHWM") is not None


def _status_bytes(key: str) -> int | None:
    """Read one line of /proc/self/status."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup_left(limit: str, usage: str, stat: str, reclaimable: str) -> int | None:
    """Bytes below the limit of the control group, file cache counted as free; None if unlimited."""
    try:
        maximum = int((_CGROUP / limit).read_text())
        used = int((_CGROUP / usage).read_text())
        words = (_CGROUP / stat).read_text().split()
    except (OSError, ValueError):
        return None
    cache = dict(zip(words[::2], words[1::2], strict=False)).get(reclaimable, "0")
    return maximum - used + int(cache)
