"""Sessions whose prompt is being prepared, in threads beside the one of the engine."""

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final, Generic, TypeVar

_MOST: Final = (
    4  # prompts at a time, of one model: a long one must not hold up others, nor many of them take all memory
)

J = TypeVar("J")


class Preparation(Generic[J]):
    """The jobs that open sessions, by session. All methods but `stop` belong to the thread of the engine."""

    def __init__(self) -> None:
        self._jobs: dict[str, J] = {}
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._threads: set[threading.Thread] = set()

    def __len__(self) -> int:
        return len(self._jobs)

    def begin(self, session: str, job: J, work: Callable[[], None]) -> None:
        """Does ``work``, which raises nothing, as soon as a thread is free."""
        self._jobs[session] = job
        with self._lock:
            self._waiting.append(work)
            if len(self._threads) == _MOST:
                return
            thread = threading.Thread(target=self._run, name="tokencollab-prompt", daemon=True)
            self._threads.add(thread)
        thread.start()

    def end(self, session: str, job: J) -> bool:
        """Whether the job still opens the session, which was neither closed nor opened again since it began."""
        if self._jobs.get(session) is not job:
            return False
        del self._jobs[session]
        return True

    def give_up(self, session: str) -> J | None:
        """The job that opens the session, if there is one; what it has prepared is not used."""
        return self._jobs.pop(session, None)

    def give_up_all(self) -> list[J]:
        """All jobs that open sessions; what waits is forgotten."""
        with self._lock:
            self._waiting.clear()
        jobs, self._jobs = list(self._jobs.values()), {}
        return jobs

    def stop(self, seconds: float) -> None:
        """Lets what has begun end, for so long."""
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
