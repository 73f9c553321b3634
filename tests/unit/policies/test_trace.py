"""The trace: every bit survives, and every kind of damage is refused with its line and reason."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.candidates import by_logit
from tokencollab.errors import TraceError
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.trace import (
    Trace,
    TraceEvent,
    TraceMarginals,
    TraceStep,
    header_line,
    lines_of,
    parse_trace,
    step_line,
)

A1 = by_logit((b"x", 0.1), (b"\xf0\x9f", -7.25), (None, -8.0))
B1 = CandidateSet(
    (Candidate(b"y", 1e-300, -0.1), Candidate("é\n\u2028".encode(), -2.9, -5e-324 - 3)), 0.10000000000000002
)
HEADER = header_line(["b", "a"], {"method": "dp", "seed": 7, "note": "é"})


def lines() -> list[str]:
    return [
        HEADER,
        step_line(1, {"b": B1, "a": A1}, b"x", efficacy={"st": None, "t0": 0.5}),
        step_line(2, {"b": B1}, b"\xf0\x9f", lost=["a"], scores={"b": [(None, 1 / 3), (b"z", 2.5)]}, offsets={"b": 3}),
        step_line(3, {"b": B1, "c": A1}, b"y", joined=["c"]),
        step_line(4, {"b": B1}, None, alone=True),
    ]


def test_what_is_written_is_read_bit_for_bit() -> None:
    assert parse_trace(lines()) == Trace(
        ("b", "a"),
        {"method": "dp", "seed": 7, "note": "é"},
        (
            TraceStep(1, (("a", A1), ("b", B1)), b"x", True),
            TraceStep(
                2,
                (("b", B1),),
                b"\xf0\x9f",
                True,
                False,
                (("b", ((None, 1 / 3), (b"z", 2.5))),),
                (("b", 3),),
                ("a",),
                (),
            ),
            TraceStep(3, (("b", B1), ("c", A1)), b"y", True, joined=("c",)),
            TraceStep(4, (("b", B1),), None, True, alone=True),
        ),
    )
    assert all("\n" not in line for line in lines())


def test_lines_are_compact_readable_and_never_nan() -> None:
    header = header_line(["b", "a"], {"method": "dp", "seed": 7, "note": "é"})
    assert header == '{"tokencollab_trace":1,"models":["b","a"],"method":"dp","seed":7,"note":"é"}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        header_line(["b"], {"theta": float("nan")})


def test_marginals_are_read_as_written() -> None:
    following = tuple(0.005 * (1 + byte % 2) if byte % 3 == 0 else 0.0 for byte in range(256))
    assert following[255] > 0
    marginals = (
        TraceMarginals("b", 7, b"\xe6", 1 / 3, 0.0, following),
        TraceMarginals("b", 8, b"", 0.0, 1e-9, following),
    )
    line = step_line(1, {"b": B1, "a": A1}, b"y", marginals=marginals)
    assert parse_trace([HEADER, line]).steps[0].marginals == marginals
    assert json.loads(line)["marginals"][0]["pending"] == "e6"
    assert "marginals" not in lines()[1]


def test_the_format_is_that_of_the_issue() -> None:
    assert json.loads(HEADER) == {
        "tokencollab_trace": 1,
        "models": ["b", "a"],
        "method": "dp",
        "seed": 7,
        "note": "é",
    }
    step = json.loads(lines()[2])
    assert step["step"] == 2
    assert step["candidates"]["b"][0] == {"piece": "y", "logit": 1e-300, "logprob": -0.1}
    assert step["chosen"] == {"hex": "f09f"}
    assert step["lost"] == ["a"]
    assert step["offsets"] == {"b": 3}
    assert step["scores"] == {"b": [{"piece": None, "logit": 1 / 3}, {"piece": "z", "logit": 2.5}]}
    assert "alone" not in step
    assert "efficacy" not in step
    assert json.loads(lines()[1])["efficacy"] == {"st": None, "t0": 0.5}
    last = json.loads(lines()[4])
    assert last["alone"] is True
    assert last["chosen"] is None
    assert not {"lost", "joined", "scores", "offsets"} & set(last)


def test_a_trace_of_candidates_alone_and_unknown_keys_are_accepted() -> None:
    step = {"step": 1, "candidates": {"b": [{"piece": "x", "logit": 3, "logprob": -1, "id": 5}]}, "mood": "good"}
    trace = parse_trace(['{"tokencollab_trace": 1, "models": ["b"]}', json.dumps(step)])
    (read,) = trace.steps
    assert not read.decided
    assert read.candidates[0][1] == CandidateSet((Candidate(b"x", 3.0, -1.0),), 4.0)
    assert trace.settings == {}


def edit(number: int, change: Callable[[dict[str, Any]], None]) -> list[str]:
    damaged = lines()
    line = json.loads(damaged[number - 1])
    change(line)
    damaged[number - 1] = json.dumps(line)
    return damaged


def first(line: dict[str, Any]) -> Any:
    return line["candidates"]["b"]


def marginal(line: dict[str, Any], **changes: object) -> None:
    entry = {"model": "b", "offset": 1, "pending": "e6", "exact": 0.5, "end": 0.0, "following": {"97": 0.25}}
    line["marginals"] = [{**entry, **changes}]


DAMAGE: list[tuple[str, list[str], str]] = [
    ("empty", [], "line 1: the trace is empty"),
    ("cut", [*lines()[:2], lines()[2][:-5]], r"line 3: not whole JSON \(a cut line\?\)"),
    ("blank", [lines()[0], "", *lines()[1:]], "line 2: not whole JSON"),
    (
        "twice",
        [lines()[0], lines()[1].replace('{"step":', '{"step":9,"step":', 1)],
        'line 2: the key "step" occurs twice',
    ),
    ("header twice", [lines()[0].replace('"seed":', '"seed":1,"seed":', 1)], 'line 1: the key "seed" occurs twice'),
    ("deep", [lines()[0], "[" * 100_000], "line 2: Expected `object`, got `array`"),
    ("not an object", [lines()[0], "[1]"], "line 2: Expected `object`, got `array`"),
    (
        "version",
        edit(1, lambda h: h.update(tokencollab_trace=2)),
        "line 1: not a header: Invalid enum value 2 - at .*tokencollab_trace`",
    ),
    (
        "true",
        edit(1, lambda h: h.update(tokencollab_trace=True)),
        "line 1: not a header: Expected `int`, got `bool` - at .*tokencollab_trace`",
    ),
    ("no header", lines()[1:], "line 1: not a header: Object missing required field `tokencollab_trace`"),
    ("no models", edit(1, lambda h: h.pop("models")), "line 1: not a header: Object missing required field `models`"),
    (
        "nobody",
        edit(1, lambda h: h.update(models=[])),
        "line 1: not a header: Expected `array` of length >= 1 - at .*models`",
    ),
    ("twice", edit(1, lambda h: h.update(models=["b", "b"])), "line 1: models must name"),
    (
        "unnamed",
        edit(1, lambda h: h.update(models=["b", 1])),
        "line 1: not a header: Expected `str`, got `int` - at .*models",
    ),
    ("gap", [lines()[0], lines()[2]], "line 2: step 2 where step 1 must be"),
    ("repeated", [*lines()[:2], lines()[1]], "line 3: step 1 where step 2 must be"),
    ("no step", edit(2, lambda s: s.pop("step")), "line 2: Object missing required field `step`"),
    ("true step", edit(2, lambda s: s.update(step=True)), "line 2: Expected `int`, got `bool` - at .*step`"),
    ("NaN", [lines()[0], lines()[1].replace("-0.1}", "NaN}")], "line 2: not whole JSON .*invalid character"),
    ("Infinity", [lines()[0], lines()[1].replace("-0.1}", "-Infinity}")], "line 2: not whole JSON .*invalid character"),
    ("1e999", [lines()[0], lines()[1].replace("-0.1}", "-1e999}")], "line 2: Number out of range - at .*logprob`"),
    (
        "huge",
        [lines()[0], lines()[1].replace("-0.1}", "-1" + 400 * "0" + "}")],
        "line 2: Number out of range - at .*logprob`",
    ),
    ("unsorted", edit(2, lambda s: first(s).reverse()), "line 2: the candidates of b: .* out of order"),
    ("doubled", edit(2, lambda s: first(s).append(first(s)[-1])), "line 2: the candidates of b: .* listed twice"),
    (
        "no set",
        edit(2, lambda s: s["candidates"].update(b=[])),
        "line 2: Expected `array` of length >= 1 - at .*candidates",
    ),
    ("set", edit(2, lambda s: s["candidates"].update(b=3)), "line 2: Expected `array`, got `int` - at .*candidates"),
    ("entry", edit(2, lambda s: first(s).insert(0, 3)), "line 2: Expected `object`, got `int` - at .*candidates"),
    (
        "no piece",
        edit(2, lambda s: first(s)[0].pop("piece")),
        "line 2: Object missing required field `piece` - at .*candidates",
    ),
    (
        "empty piece",
        edit(2, lambda s: first(s)[0].update(piece="")),
        "line 2: the candidates of b: a piece must have 1 to 4096 bytes, this one has 0",
    ),
    ("hex", edit(2, lambda s: first(s)[0].update(piece={"hex": "zz"})), "line 2: .* not valid hexadecimal"),
    ("text", edit(2, lambda s: first(s)[0].update(logit="1")), "line 2: Expected `float`, got `str` - at .*logit`"),
    ("flag", edit(2, lambda s: first(s)[0].update(logit=True)), "line 2: Expected `float`, got `bool` - at .*logit`"),
    (
        "no prob",
        edit(2, lambda s: first(s)[0].pop("logprob")),
        "line 2: Object missing required field `logprob` - at .*candidates",
    ),
    (
        "sum",
        edit(2, lambda s: first(s)[1].update(logprob=-0.1, logit=0.0)),
        r"line 2: the candidates of b: the probabilities of the candidates sum to 1\.80967, more than one",
    ),
    (
        "apart",
        edit(2, lambda s: first(s)[1].update(logprob=-4.0)),
        "line 2: the candidates of b: the log-probability of piece .* not its logit less the log-normaliser",
    ),
    (
        "marginals of more than one",
        edit(3, lambda s: marginal(s, exact=0.9, following={"97": 0.25})),
        r"line 3: the marginals of b: the masses of what may follow sum to 1\.15, more than one",
    ),
    ("negative marginal", edit(3, lambda s: marginal(s, end=-0.5)), "line 3: the marginals of b: a mass is not a prob"),
    ("over one", edit(2, lambda s: first(s)[0].update(logprob=0.01)), "line 2: .* probability is above one"),
    (
        "norm",
        edit(2, lambda s: s["log_normalisers"].update(b="x")),
        "line 2: Expected `float`, got `str` - at .*log_normalisers",
    ),
    (
        "norms",
        edit(2, lambda s: s.update(log_normalisers=[])),
        "line 2: Expected `object`, got `array` - at .*log_normalisers`",
    ),
    ("no candidates", edit(2, lambda s: s.pop("candidates")), "line 2: Object missing required field `candidates`"),
    ("missing", edit(2, lambda s: s["candidates"].pop("a")), "line 2: no candidates of 'a', which was not lost"),
    ("nobody's", edit(3, lambda s: s.update(candidates={})), "line 3: no candidates of 'b'"),
    ("all lost", edit(3, lambda s: s.update(candidates={}, lost=["a", "b"])), "line 3: no candidates of 'any mod"),
    ("stranger", edit(4, lambda s: s.pop("joined")), "line 4: candidates of 'c', which is not among the models"),
    ("not back", edit(4, lambda s: s["candidates"].pop("c")), "line 4: no candidates of 'c'"),
    ("alone with", edit(5, lambda s: s["candidates"].update(a=first(s))), "line 5: candidates of 'a' in a step of"),
    ("not alone", edit(5, lambda s: s.pop("alone")), "line 5: no candidates of 'c'"),
    ("alone, base away", edit(5, lambda s: s.update(candidates={}, lost=["b"])), "line 5: no candidates of 'b'"),
    ("alone?", edit(5, lambda s: s.update(alone=1)), "line 5: Expected `bool`, got `int` - at .*alone`"),
    ("lost?", edit(3, lambda s: s.update(lost="a")), "line 3: Expected `array`, got `str` - at .*lost`"),
    ("joined?", edit(4, lambda s: s.update(joined="c")), "line 4: Expected `array`, got `str` - at .*joined`"),
    (
        "surrogate",
        edit(2, lambda s: s.update(chosen="\ud800")),
        "line 2: not whole JSON .*unexpected end of escaped utf-16 surrogate pair",
    ),
    ("long", edit(2, lambda s: s.update(chosen="x" * 4097)), "line 2: a piece must have 1 to 4096 bytes, this one has"),
    ("score of", edit(3, lambda s: s.update(scores={"b": [{"piece": "", "logit": 1.0}]})), "line 3: a piece must have"),
    ("offsets", edit(3, lambda s: s.update(offsets=[])), "line 3: Expected `object`, got `array` - at .*offsets`"),
    (
        "chosen",
        edit(2, lambda s: s.update(chosen=3)),
        r"line 2: Expected `str \| object \| null`, got `int` - at .*chosen`",
    ),
    (
        "score",
        edit(3, lambda s: s.update(scores={"b": [{"logit": 1.0}]})),
        "line 3: Object missing required field `piece` - at .*scores",
    ),
    (
        "score?",
        edit(3, lambda s: s.update(scores={"b": [{"piece": "x"}]})),
        "line 3: Object missing required field `logit` - at .*scores",
    ),
    ("scores", edit(3, lambda s: s.update(scores=[])), "line 3: Expected `object`, got `array` - at .*scores`"),
    ("scores of b", edit(3, lambda s: s.update(scores={"b": 1})), "line 3: Expected `array`, got `int` - at .*scores"),
    ("a score", edit(3, lambda s: s.update(scores={"b": [1]})), "line 3: Expected `object`, got `int` - at .*scores"),
    ("offset", edit(3, lambda s: s.update(offsets={"b": -1})), "line 3: Expected `int` >= 0 - at .*offsets"),
    ("offset?", edit(3, lambda s: s.update(offsets={"b": True})), "line 3: Expected `int`, got `bool` - at .*offsets"),
    (
        "marginals",
        edit(3, lambda s: s.update(marginals={})),
        "line 3: Expected `array`, got `object` - at .*marginals`",
    ),
    ("marginal", edit(3, lambda s: s.update(marginals=[1])), "line 3: Expected `object`, got `int` - at .*marginals"),
    ("of whom", edit(3, lambda s: marginal(s, model=1)), "line 3: Expected `str`, got `int` - at .*model`"),
    ("where", edit(3, lambda s: marginal(s, offset="1")), "line 3: Expected `int`, got `str` - at .*offset`"),
    ("behind", edit(3, lambda s: marginal(s, pending=None)), "line 3: Expected `str`, got `null` - at .*pending`"),
    (
        "odd hex",
        edit(3, lambda s: marginal(s, pending="e")),
        "line 3: Expected `str` matching regex .* - at .*pending`",
    ),
    (
        "byte 256",
        edit(3, lambda s: marginal(s, following={"256": 0.5})),
        "line 3: Expected `int` <= 255 - at `key` in .*following`",
    ),
    (
        "byte -1",
        edit(3, lambda s: marginal(s, following={"-1": 0.5})),
        "line 3: Expected `int` >= 0 - at `key` in .*following`",
    ),
    (
        "byte x",
        edit(3, lambda s: marginal(s, following={"x": 0.5})),
        "line 3: Expected `int`, got `str` - at `key` in .*following`",
    ),
    (
        "mass",
        edit(3, lambda s: marginal(s, following={"1": "a"})),
        "line 3: Expected `float`, got `str` - at .*following",
    ),
    ("exact", edit(3, lambda s: marginal(s, exact=None)), "line 3: Expected `float`, got `null` - at .*exact`"),
    ("end", edit(3, lambda s: marginal(s, end=True)), "line 3: Expected `float`, got `bool` - at .*end`"),
    (
        "follow",
        edit(3, lambda s: marginal(s, following=[])),
        "line 3: Expected `object`, got `array` - at .*following`",
    ),
    ("offset.", edit(3, lambda s: s.update(offsets={"b": 1.0})), "line 3: Expected `int`, got `float` - at .*offsets"),
    ("heard", edit(3, lambda s: s.update(heard={})), "line 3: Expected `array`, got `object` - at .*heard`"),
    ("heard what", edit(3, lambda s: s.update(heard=["lost"])), "line 3: Expected `object`, got `str` - at .*heard"),
    (
        "no event",
        edit(3, lambda s: s.update(heard=[{"model": "b"}])),
        "line 3: Object missing required field `event` - at .*heard",
    ),
    (
        "of nobody",
        edit(3, lambda s: s.update(heard=[{"event": "lost"}])),
        "line 3: Object missing required field `model` - at .*heard",
    ),
    ("score 1e999", [*lines()[:2], lines()[2].replace("2.5", "1e999")], "line 3: Number out of range"),
    ("score NaN", [*lines()[:2], lines()[2].replace("2.5", "NaN")], "line 3: not whole JSON"),
    ("offset 1e999", [*lines()[:2], lines()[2].replace('{"b":3}', '{"b":1e999}')], "line 3: Number out of range"),
    (
        "spelling",
        edit(3, lambda s: s.update(heard=[{"event": "lost", "model": "b", "spelling": [1, 0, "e", ""]}])),
        "line 3: Expected `str` matching",
    ),
]


@pytest.mark.parametrize(("damaged", "message"), [d[1:] for d in DAMAGE], ids=[d[0] for d in DAMAGE])
def test_damage_is_refused_with_line_and_reason(damaged: list[str], message: str) -> None:
    with pytest.raises(TraceError, match="^" + message):
        parse_trace(damaged)


def test_every_cut_of_a_trace_is_refused_or_a_shorter_trace() -> None:
    text = "\n".join(lines())
    ends = {len("\n".join(lines()[:count])) for count in range(1, 6)}
    for cut in range(len(text)):
        part = text[:cut].split("\n")
        if cut in ends:
            parse_trace(part)
        elif part[-1]:
            with pytest.raises(TraceError):
                parse_trace(part)


def test_models_may_rest_only_where_the_method_says_so() -> None:
    for method in ({"aggregation": "bytewise"}, {"exit": "per-collaborator"}):
        header = header_line(["b", "a"], {"method": method})
        assert len(parse_trace([header, step_line(1, {"b": B1}, b"y")]).steps) == 1
    flushed = [header_line(["b", "a"], {"method": {"aggregation": "bytewise"}}), step_line(1, {}, b"y")]
    assert parse_trace(flushed).steps[0].candidates == ()
    everybody = {"aggregation": "dp", "exit": "never"}
    header = header_line(["b", "a"], {"method": everybody})
    with pytest.raises(TraceError, match="no candidates of 'a'"):
        parse_trace([header, step_line(1, {"b": B1}, b"y")])
    header = header_line(["b", "a"], {"method": everybody, "exit_policy": "somebody's own"})
    assert len(parse_trace([header, step_line(1, {"b": B1}, b"y")]).steps) == 1


def test_only_a_line_feed_ends_a_line() -> None:
    assert lines_of("a b\u2028c\r\n\nd\n") == ["a b\u2028c\r", "", "d"]
    assert lines_of("") == []


def test_in_which_order_things_were_heard_comes_back() -> None:
    heard: list[dict[str, object]] = [
        {"event": "lost", "model": "a"},
        {"event": "candidates", "model": "b", "question": 7},
    ]
    (step,) = parse_trace([HEADER, step_line(1, {"b": B1}, b"y", lost=["a"], heard=heard)]).steps
    assert step.heard == (TraceEvent("lost", "a"), TraceEvent("candidates", "b", 7))


def test_edges_are_allowed() -> None:
    longest = b"x" * 4096
    line = step_line(1, {"b": B1, "a": A1}, longest, offsets={"b": 0})
    (step,) = parse_trace([HEADER, line]).steps
    assert (step.chosen, step.offsets) == (longest, (("b", 0),))


def test_a_model_that_was_lost_after_its_answer_may_be_missing_too() -> None:
    lines = [HEADER, step_line(1, {"a": A1, "b": B1}, b"y", lost=["a"]), step_line(2, {"b": B1}, b"y")]
    assert [len(step.candidates) for step in parse_trace(lines).steps] == [2, 1]


def test_a_lost_model_may_be_missing_until_it_is_back() -> None:
    away = [HEADER, step_line(1, {"b": B1}, b"y", lost=["a"]), step_line(2, {"b": B1}, b"y")]
    back = [*away, step_line(3, {"a": A1, "b": B1}, b"y")]
    assert len(parse_trace(back).steps) == 3
    with pytest.raises(TraceError, match="line 5: no candidates of 'a'"):
        parse_trace([*back, step_line(4, {"b": B1}, b"y")])
