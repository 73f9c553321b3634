"""What is used with ``async with``, or started and closed by hand where a program has no block for it."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Never, Self

from tokencollab.errors import UsageError


class Startable(ABC):
    @abstractmethod
    async def start(self) -> Self:
        """Does what ``async with`` does at its beginning; `aclose` undoes it."""

    @abstractmethod
    async def aclose(self) -> None:
        """Does what ``async with`` does at its end. Once more does nothing."""

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    if not TYPE_CHECKING:  # a type checker says by itself that there is no such thing

        def __enter__(self) -> Never:
            raise UsageError("use `async with` in a coroutine, or tokencollab.sync.Collaboration in a script")

        def __exit__(self, *error: object) -> None: ...
