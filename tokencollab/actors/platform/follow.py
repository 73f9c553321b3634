"""What a collaboration makes of the news of a platform: it takes in who joins, and goes on without who leaves."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

from tokencollab.actors.log import Log
from tokencollab.actors.runtimes.base import DynamicRuntime
from tokencollab.actors.supervisor import Supervisor

log = Log(__name__)

_NO_NEWS = 5.0  # seconds until a platform that gave none is asked again

Change = Callable[[str], Awaitable[None]]


async def follow(
    runtime: DynamicRuntime,
    members: Mapping[str, Supervisor],
    wanted: Collection[str] | None,
    take_in: Change,
    remove: Change,
) -> None:
    """Follows the news until it is cancelled. Whatever goes wrong, answers go on.

    ``members`` has the base first, which is not removed: it is waited for. ``wanted`` may take part, None: everybody.
    ``take_in`` starts a member, in place of one of the same name that was given up.
    """
    while True:
        try:
            async for name, is_here in runtime.watch():
                member = members.get(name)
                if not is_here:
                    if member is not None and name != next(iter(members)):
                        await remove(name)
                elif (member is None or member.health == "out") and (wanted is None or name in wanted):
                    try:
                        await take_in(name)
                    except Exception as error:
                        log.warning("model not taken in", model=name, reason=f"{type(error).__name__}: {error}")
        except Exception as error:
            log.warning("no news of the platform", reason=f"{type(error).__name__}: {error}")
        await asyncio.sleep(_NO_NEWS)
