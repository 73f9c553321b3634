"""A log that cannot be written harms no answer."""

import io

import structlog

from tests.property.actors.torture import engine
from tokencollab import Answer, Collaboration
from tokencollab.testing import Faults, FaultyRuntime, run_on_fake_clock


def test_an_answer_goes_on_where_the_log_cannot_be_written() -> None:
    stream = io.StringIO()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(stream))
    stream.close()
    runtime = FaultyRuntime({name: lambda name=name: engine(name) for name in ("a", "b")}, Faults(crash=0.1), 1)  # type: ignore[misc]

    async def write() -> Answer:
        async with Collaboration("a", ["b"], "dp", runtime=runtime) as team:
            return await team.generate("?", max_tokens=20)

    answer = run_on_fake_clock(write())
    assert answer.tokens > 1
    assert answer.lost
