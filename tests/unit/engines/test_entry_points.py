"""An engine of somebody else: one file, found by its entry point, chosen by name or by what it accepts."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokencollab import Collaboration, EngineOptions, Member, UsageError
from tokencollab.engines.entry_points import engine_for, engine_names, engine_type

ENGINE = """
from pathlib import Path
from tokencollab.engines.entry_points import EngineType
from tokencollab import Capabilities
from tokencollab.testing import ScriptedEngine

LITTLE = Capabilities(raw_logits=False, max_candidates=60, marginals=False, piece_scores=False)
loaded = []

def load(name, source, options):
    loaded.append(name)
    text = Path(source).read_bytes()
    def script(done):
        return {text[len(done) : len(done) + options.threads] or None: 9.0, b"~": 1.0}
    return ScriptedEngine(name, script, capabilities=LITTLE)

ENGINE = EngineType(load, lambda model: model.endswith(".toy"), ".toy files", LITTLE)
WRONG = load
"""
POINTS = """[tokencollab.engines]
toy = toy_engine:ENGINE
wrong = toy_engine:WRONG
gone = no_such_module:ENGINE
"""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution with an engine."""
    info = tmp_path / "toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    (tmp_path / "toy_engine.py").write_text(ENGINE)
    monkeypatch.syspath_prepend(tmp_path)
    engine_type.cache_clear()
    yield
    engine_type.cache_clear()
    sys.modules.pop("toy_engine", None)


def test_engines_are_found_by_entry_point() -> None:
    assert {"llamacpp", "toy", "transformers"} <= set(engine_names())
    with pytest.raises(UsageError, match=r"^unknown engine 'tye'; there are .*toy"):
        engine_type("tye")
    with pytest.raises(
        UsageError,
        match=r"the engine gone \(no_such_module:ENGINE\) cannot be imported: ModuleNotFoundError: No module",
    ):
        engine_type("gone")
    with pytest.raises(UsageError, match=r"the engine wrong \(toy_engine:WRONG\) is no EngineType"):
        engine_type("wrong")


def test_what_the_model_is_says_which_engine(tmp_path: Path) -> None:
    gguf = tmp_path / "m.gguf"
    gguf.write_bytes(b"GGUF")
    (tmp_path / "m.toy").write_bytes(b"abc")
    for model, preferred, chosen in [
        ("gemma-3-270m", "transformers", "transformers"),
        ("gemma-3-270m", "llamacpp", "transformers"),
        (str(tmp_path), "llamacpp", "transformers"),
        (str(gguf), "transformers", "transformers"),
        (str(gguf), "llamacpp", "llamacpp"),
        ("no/such.gguf", "llamacpp", "transformers"),
        (str(tmp_path / "m.toy"), "transformers", "toy"),
        (str(tmp_path / "m.other"), "transformers", "transformers"),
    ]:
        assert engine_for(model, preferred) == chosen


async def test_its_models_write_with_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.toy").write_text("abcdef")
    monkeypatch.chdir(tmp_path)
    async with Collaboration("one.toy@threads=1", [Member("one.toy", threads=2, name="two")], "dp") as team:
        assert [info.name for info in team.models] == ["one", "two"]
        answer = await team.generate("?", max_tokens=6)
    assert answer.text == "abcdef"
    assert answer.models == ("one", "two")


async def test_what_a_method_requires_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "one.toy").write_text("abcdef")
    model = f"{tmp_path}/one.toy"
    with pytest.raises(UsageError, match=r"^one does not give raw logits, which duetnet needs: use .*, e.g. dp$"):
        async with Collaboration(model, [model], "duetnet"):
            pass
    with pytest.raises(UsageError, match=r"^one does not give byte marginals, which bytewise needs: use .*, e.g. gac$"):
        async with Collaboration(model, [model], "bytewise"):
            pass
    assert not __import__("toy_engine").loaded


def test_an_engine_that_does_not_take_the_model_says_what_it_takes() -> None:
    with pytest.raises(UsageError, match=r"^the engine toy does not take gemma-3-270m: it takes .toy files$"):
        Member("gemma-3-270m", engine="toy").find(EngineOptions())
