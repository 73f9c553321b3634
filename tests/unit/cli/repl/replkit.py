"""A shell over scripted models, and what was written on it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import StringIO

from rich.console import Console

from tests.support.repl_program import Teller
from tokencollab import Collaboration
from tokencollab.cli.repl.colours import Palette
from tokencollab.cli.repl.commands import carry_out
from tokencollab.cli.repl.display import PipedScreen
from tokencollab.cli.repl.session import Conversation
from tokencollab.cli.repl.shell import Shell
from tokencollab.testing import scripted_runtime


@dataclass
class ScriptedShell:
    """A shell, and files in place of the terminal."""

    shell: Shell
    answers: StringIO
    told: StringIO
    noted: StringIO

    @property
    def session(self) -> Conversation:
        """Its session."""
        return self.shell.session

    async def do(self, *lines: str) -> str:
        """Carries out questions and commands; what they wrote, notes aside."""
        for file in (self.answers, self.told):
            file.seek(0)
            file.truncate()
        for line in lines:
            await carry_out(self.shell, line)
        return self.answers.getvalue() + self.told.getvalue()


@asynccontextmanager
async def scripted_shell(
    method: str = "duetnet", words: bool = False, **settings: object
) -> AsyncIterator[ScriptedShell]:
    """``one`` is the base, ``two`` a collaborator, ``three`` can be added."""
    engines = [Teller(name, contrary=name != "one") for name in ("one", "two", "three")]
    notices: list[str] = []
    async with Collaboration("one", ["two"], runtime=scripted_runtime(*engines), notify=notices.append) as team:
        files = StringIO(), StringIO(), StringIO()
        console = Console(file=files[1], width=110, highlight=False)
        notes = Console(file=files[2], width=110, highlight=False)
        session = Conversation(team, method, dict(settings), notices=notices)
        shell = Shell(session, PipedScreen(files[0]), Palette(), words, interactive=False, talk=console, notes=notes)
        yield ScriptedShell(shell, *files)
        await session.free()
        left = [engine.info.name for engine in engines if engine.texts and engine.info.name in team.members]
        assert not left, "a session was left open"
