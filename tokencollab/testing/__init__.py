"""A public kit for testing policies and programs without models, on a clock that never waits.

* `ScriptedEngine`: a model whose candidates are a function of the text.
* `scripted_runtime`: such models as real model actors, in threads, for `Collaboration(runtime=...)`.
* `FaultyRuntime`: such models without threads, which drop, delay, repeat and corrupt answers, fail, hang and crash by a
  seed, and whose answers arrive in any order.
* `drive`, `Driver`, `ScriptedModel`: a policy and models that are functions of the text, as plain function calls.
* `run_on_fake_clock`: runs a coroutine in a loop whose time jumps to the next timer; waiting for nothing is an error.
"""

from tokencollab.testing.clock import Deadlock, FakeClock, run_on_fake_clock
from tokencollab.testing.driving import Driver, Model, drive
from tokencollab.testing.faults import Faults, FaultyRuntime
from tokencollab.testing.scripted import Script, ScriptedEngine, ScriptedModel, scripted_runtime

__all__ = [
    "Deadlock",
    "Driver",
    "FakeClock",
    "Faults",
    "FaultyRuntime",
    "Model",
    "Script",
    "ScriptedEngine",
    "ScriptedModel",
    "drive",
    "run_on_fake_clock",
    "scripted_runtime",
]
