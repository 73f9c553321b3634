"""Threads in which prompts are prepared, beside the thread of the engine."""

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

_MOST: Final = 4  # at a time, of one model: a long prompt must not hold up others, nor many of them take all memory


class Preparation:
    """Does work in a few threads, which are there as long as something waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._threads: set[threading.Thread] = set()

    def submit(self, work: Callable[[], None]) -> None:
        """Does ``work``, which raises nothing, as soon as a thread is free."""
        with self._lock:
            self._waiting.append(work)
            if len(self._threads) == _MOST:
                return
            thread = threading.Thread(target=self._run, name="tokencollab-prompt", daemon=True)
            self._threads.add(thread)
        thread.start()

    def stop(self, seconds: float) -> None:
        """Forgets what waits, and lets what has begun end, for so long."""
        with self._lock:
            self._waiting.clear()
            threads = list(self._threads)
        until = monotonic() + seconds
        for thread in threads:
            thread.join(max(0.0, until - monotonic()))

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads.discard(threading.current_thread())
                    return
                work = self._waiting.popleft()
            work()
