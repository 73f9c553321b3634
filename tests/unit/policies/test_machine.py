"""The piece-level machine on scripted models."""

import pytest

from tests.support.candidates import Lists, by_logit, by_probability
from tokencollab.errors import ProtocolError, UnknownMethod
from tokencollab.policies import events as e
from tokencollab.policies.machine import Machine, make_policy
from tokencollab.policies.methods import parse_method, sampling_of
from tokencollab.policies.pieces import Decider
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.pieces import Piece
from tokencollab.testing import drive

PIECE_METHODS = ("gac", "unite", "duetnet", "dp", "dk")


def writes(text: str) -> Lists:
    """A model that wants to write ``text``, one character at a time, then EOS."""
    data = text.encode()

    def candidates(prefix: bytes) -> CandidateSet:
        at = len(prefix)
        wanted: Piece = data[at : at + 1] or None
        return by_logit((wanted, 20.0), (b"~", 10.0), (b"^", 5.0))

    return Lists(candidates)


def policy(name: str, max_tokens: int = 10, *, report: bool = False, **overrides: object) -> Machine:
    method = parse_method(name, **overrides)  # type: ignore[arg-type]
    return make_policy(method, max_tokens=max_tokens, seed=0, report=report)


@pytest.mark.parametrize("name", PIECE_METHODS)
def test_models_that_agree_write_the_text_and_end(name: str) -> None:
    done = drive(policy(name), {"b": writes("abc"), "a": writes("abc"), "c": writes("abc")})
    assert (done.text, done.stop) == (b"abc", "end")
    assert done.pieces == [b"a", b"b", b"c", None]
    assert [commit.record.step for commit in done.commits] == [1, 2, 3, 4]
    assert done.commits[0].record.ranks == (("a", 0), ("b", 0), ("c", 0))


def test_the_questions_of_a_step_name_the_end_of_the_text() -> None:
    machine = policy("duetnet")
    state, commands = machine.start(("b", "a"))
    assert commands == (e.RequestCandidates("a", 0, 0, 10), e.RequestCandidates("b", 1, 0, 10))
    state, commands = machine.step(state, e.CandidatesArrived("a", 0, by_logit((b"hi", 2.0))))
    assert commands == ()
    _, commands = machine.step(state, e.CandidatesArrived("b", 1, by_logit((b"hi", 2.0))))
    assert commands[0] == e.Commit(b"hi", e.StepRecord(1, (("a", 0), ("b", 0))))
    assert commands[1:] == (e.RequestCandidates("a", 2, 2, 10), e.RequestCandidates("b", 3, 2, 10))


def test_max_tokens_counts_the_end_and_ends_with_length() -> None:
    book = {"b": writes("abc"), "a": writes("abc")}
    assert drive(policy("dp", 3), book).stop == "length"
    assert drive(policy("dp", 4), book).stop == "end"


def test_base_alone_runs_at_once() -> None:
    for machine in (policy("base", 7), policy("unite", 7)):
        assert machine.start(("b",))[1] == (e.RunSolo("b", 0, 0, 1, 7, False),)
        done = drive(machine, {"b": writes("abc")})
        assert (done.text, done.stop) == (b"abc", "end")
        assert all(commit.record.alone for commit in done.commits)


def test_the_base_method_leaves_collaborators_alone() -> None:
    machine = policy("base", 2)
    state, commands = machine.start(("b", "a"))
    assert commands == (e.RunSolo("b", 0, 0, 1, 2, False),)
    assert machine.step(state, e.ModelExhausted("a"))[1] == ()
    assert machine.step(state, e.ModelExhausted("b"))[1] == (e.Stop("length"),)
    state, _ = machine.step(state, e.SoloStep("b", 0, b"x", None))
    state, commands = machine.step(state, e.SoloStep("b", 0, b"y", None))
    assert commands == (e.Commit(b"y", e.StepRecord(2, (), alone=True)), e.Stop("length"))
    assert (state.phase, machine.taking_part(state)) == ("stopped", ())
    assert machine.step(state, e.Cancelled()) == (state, ())


def test_fixed_exit_hands_over_to_the_base() -> None:
    done = drive(policy("upara-2", 10), {"b": writes("abcd"), "a": writes("abcd")})
    assert done.others == [e.Exited(2, ("a",))]
    assert [commit.record.alone for commit in done.commits] == [False, False, True, True, True]
    assert done.text == b"abcd"


def test_a_base_that_went_on_alone_keeps_no_votes() -> None:
    machine = policy("upara-1", 10)
    state, _ = machine.start(("b", "a"))
    state, _ = machine.step(state, e.CandidatesArrived("a", 0, by_logit((b"x", 2.0))))
    state, _ = machine.step(state, e.CandidatesArrived("b", 1, by_logit((b"y", 2.0))))
    state, _ = machine.step(state, e.ScoresArrived("a", 2, (1.0,)))
    state, commands = machine.step(state, e.ScoresArrived("b", 3, (1.0,)))
    assert commands[-1] == e.RunSolo("b", 4, 1, 2, 9, False)
    assert state.vote is None
    assert machine.step(state, e.ModelJoined("a")) == (state, ())
    assert machine.step(state, e.ModelLost("a")) == (state, ())


def test_a_collaborator_that_left_does_not_join_again() -> None:
    """Without a the base's x would have won over y; without c nothing would have changed."""
    machine = policy("dp", exit="per-collaborator", patience=1)
    state, asked = machine.start(("b", "a", "c"))
    sent = {"a": by_probability((b"y", 0.6)), "b": by_probability((b"x", 0.5), (b"y", 0.3))}
    sent["c"] = by_probability((b"y", 0.05))
    commands = asked
    for ask in asked:
        assert isinstance(ask, e.RequestCandidates)
        state, commands = machine.step(state, e.CandidatesArrived(ask.model, ask.question, sent[ask.model]))
    assert commands[1:] == (e.RequestCandidates("a", 3, 1, 10), e.RequestCandidates("b", 4, 1, 10))
    assert machine.step(state, e.ModelJoined("c")) == (state, ())


def test_who_leaves_is_judged_with_the_draws_of_the_step() -> None:
    method = parse_method("dp", exit="per-collaborator", patience=1, top_t=2)
    sent = {"a": by_probability((b"x", 0.4), (b"y", 0.3)), "b": by_probability((b"y", 0.4), (b"z", 0.3))}
    sent["c"] = by_probability((b"z", 0.4), (b"x", 0.3))
    seen = set()
    for seed in range(20):
        machine = make_policy(method, max_tokens=9, seed=seed, report=False)
        state, commands = machine.start(("b", "a", "c"))
        for ask in commands:
            assert isinstance(ask, e.RequestCandidates)
            state, commands = machine.step(state, e.CandidatesArrived(ask.model, ask.question, sent[ask.model]))
        decider = Decider(method, sampling_of(method, seed))
        ballots = [decider.ballot(model, sent[model]) for model in sorted(sent)]
        piece = decider.decide(1, ballots)
        idle = {"a", "c"} - decider.decisive(1, piece, ballots)
        gone = {"a", "c"} - {command.model for command in commands if isinstance(command, e.RequestCandidates)}
        assert gone == idle
        seen.add(frozenset(idle))
    assert len(seen) > 2


def test_what_was_decisive_is_judged_with_the_draws_of_the_step() -> None:
    method = parse_method("dp", top_t=2)
    decider = Decider(method, sampling_of(method, 0))
    sets = {"a": by_probability((b"x", 0.4), (b"y", 0.3)), "b": by_probability((b"x", 0.4), (b"y", 0.3))}
    ballots = [decider.ballot(model, sets[model]) for model in sorted(sets)]
    chosen_pieces = set()
    for step in range(1, 30):
        piece = decider.decide(step, ballots)
        chosen_pieces.add(piece)
        assert decider.decisive(step, piece, ballots) == frozenset()  # either says what both say
    assert chosen_pieces == {b"x", b"y"}
    other = {**sets, "a": by_probability((b"z", 0.7))}
    ballots = [decider.ballot(model, other[model]) for model in sorted(other)]
    assert Decider(parse_method("dp"), sampling_of(parse_method("dp"), 0)).decisive(1, b"z", ballots) == {"a"}
    assert decider.decisive(1, b"z", ballots[:1]) == frozenset()  # nobody to choose without it


def test_who_comes_and_goes_while_the_base_is_alone_is_known_when_it_asks_again() -> None:
    machine = policy("dp", 20, exit="consult", consult_below=0.5)
    state, asked = machine.start(("b", "a", "c"))
    for ask in asked:
        assert isinstance(ask, e.RequestCandidates)
        state, commands = machine.step(state, e.CandidatesArrived(ask.model, ask.question, by_logit((b"x", 1.0))))
    assert commands[1:] == (e.Exited(1, ("a", "c")), e.RunSolo("b", 3, 1, 2, 19, False, 0.5))
    state, commands = machine.step(state, e.SoloStep("b", 3, b"y", None))
    assert commands == (e.Commit(b"y", e.StepRecord(2, (), alone=True)),)
    for event in (e.ModelLost("a"), e.ModelJoined("d"), e.ModelJoined("d"), e.ModelLost("b")):
        state, commands = machine.step(state, event)
        assert commands == ()
    state, commands = machine.step(state, e.ModelJoined("z"))
    state, commands = machine.step(state, e.ModelJoined("b"))
    assert commands == (e.RunSolo("b", 4, 2, 3, 18, False, 0.5),)
    state, commands = machine.step(state, e.SoloStep("b", 4, b"y", None))
    assert commands == (e.Commit(b"y", e.StepRecord(3, (), alone=True, lost=("a", "b"))),)
    _, commands = machine.step(state, e.CandidatesArrived("b", 4, by_probability((b"y", 0.3))))
    assert commands == tuple(
        e.RequestCandidates(model, number, 3, 10) for number, model in ((6, "c"), (7, "d"), (8, "z"))
    )


@pytest.mark.parametrize("aggregation", ["dp", "bytewise"])
def test_a_base_that_is_unsure_has_answered_already(aggregation: str) -> None:
    doubt = by_probability((b"y", 0.55), (b"x", 0.44))
    for leave, until in (("consult", 0.9), ("fixed-1", 0.0)):
        method = parse_method("gac", aggregation=aggregation, exit=leave)
        machine = make_policy(method, max_tokens=9, seed=0, report=False)
        state, commands = machine.start(("b", "a"))
        for ask in commands:
            assert isinstance(ask, e.RequestCandidates)
            state, commands = machine.step(state, e.CandidatesArrived(ask.model, ask.question, doubt))
        assert commands[-2:] == (e.Exited(1, ("a",)), e.RunSolo("b", 2, 1, 2, 8, False, until))
        for stray in (e.CandidatesArrived("a", 2, doubt), e.CandidatesArrived("b", 0, doubt)):
            assert machine.step(state, stray) == (state, ())
        after, commands = machine.step(state, e.CandidatesArrived("b", 2, doubt))
        if not until:
            assert (after, commands) == (state, ())
            continue
        (other,) = commands
        assert isinstance(other, e.RequestCandidates)
        assert (other.model, other.offset) == ("a", 1)
        after, commands = machine.step(after, e.CandidatesArrived("a", other.question, doubt))
        assert commands[0] == e.Commit(b"y", e.StepRecord(2, (("a", 0), ("b", 0))))


def test_unite_scores_foreign_pieces_with_one_question_per_model() -> None:
    machine = policy("unite")
    state, _ = machine.start(("b", "a"))
    state, _ = machine.step(state, e.CandidatesArrived("a", 0, by_logit((b"x", 2.0), (b"y", 1.0))))
    state, commands = machine.step(state, e.CandidatesArrived("b", 1, by_logit((b"z", 2.0))))
    assert commands == (e.RequestScores("a", 2, 0, (b"z",)), e.RequestScores("b", 3, 0, (b"x", b"y")))
    with pytest.raises(ProtocolError, match="a sent 2 scores for 1"):
        machine.step(state, e.ScoresArrived("a", 2, (1.0, 2.0)))
    state, commands = machine.step(state, e.ScoresArrived("b", 3, (9.0, 0.0)))
    assert commands == ()
    _, commands = machine.step(state, e.ScoresArrived("a", 2, (0.0,)))
    assert isinstance(commands[0], e.Commit)
    assert commands[0].piece == b"x"


@pytest.mark.parametrize("answered", [False, True])
def test_who_is_lost_while_foreign_pieces_are_scored_is_not_waited_for(answered: bool) -> None:
    """Whatever it has scored until then."""
    machine = policy("unite")
    state, _ = machine.start(("b", "a", "c"))
    for number, (model, piece) in enumerate([("a", b"x"), ("b", b"z"), ("c", b"x")]):
        state, commands = machine.step(state, e.CandidatesArrived(model, number, by_logit((piece, 2.0))))
    asked = {command.model: command for command in commands if isinstance(command, e.RequestScores)}
    assert [(model, score.pieces) for model, score in asked.items()] == [("a", (b"z",)), ("b", (b"x",)), ("c", (b"z",))]
    state, commands = machine.step(state, e.ScoresArrived("a", asked["a"].question, (1.0,)))
    if answered:
        state, commands = machine.step(state, e.ScoresArrived("c", asked["c"].question, (9.0,)))
    state, commands = machine.step(state, e.ModelLost("c"))
    assert commands == ()
    state, commands = machine.step(state, e.ScoresArrived("b", asked["b"].question, (0.0,)))
    assert commands[0] == e.Commit(b"z", e.StepRecord(1, (("a", None), ("b", 0)), lost=("c",)))


def test_a_lost_model_is_left_out_and_comes_back_with_the_next_step() -> None:
    machine = policy("dp")
    state, _ = machine.start(("b", "a"))
    state, _ = machine.step(state, e.CandidatesArrived("a", 0, by_logit((b"x", 2.0))))
    state, commands = machine.step(state, e.ModelLost("b"))
    assert commands[0] == e.Commit(b"x", e.StepRecord(1, (("a", 0),), lost=("b",)))
    assert commands[1:] == (e.RequestCandidates("a", 2, 1, 10),)
    state, commands = machine.step(state, e.ModelJoined("b"))
    assert commands == ()
    state, commands = machine.step(state, e.CandidatesArrived("a", 2, by_logit((b"y", 2.0))))
    assert commands[1:] == (e.RequestCandidates("a", 3, 2, 10), e.RequestCandidates("b", 4, 2, 10))


def test_the_last_model_lost_ends_in_failure_unless_one_is_about_to_join() -> None:
    machine = policy("dp")
    state, _ = machine.start(("b", "a"))
    state, _ = machine.step(state, e.ModelLost("a"))
    assert machine.step(state, e.ModelLost("b"))[1] == (e.Stop("failed"),)
    state, _ = machine.step(state, e.ModelJoined("a"))
    assert machine.step(state, e.ModelLost("b"))[1] == (e.RequestCandidates("a", 2, 0, 10),)


def test_a_base_lost_while_alone_is_waited_for() -> None:
    machine = policy("base")
    state, _ = machine.start(("b",))
    state, _ = machine.step(state, e.SoloStep("b", 0, b"hello", None))
    state, commands = machine.step(state, e.ModelLost("b"))
    assert commands == ()
    assert machine.step(state, e.ModelExhausted("b"))[1] == (e.Stop("length"),)  # it came back to a full context
    state, commands = machine.step(state, e.ModelJoined("b"))
    assert commands == (e.RunSolo("b", 1, 5, 2, 9, False),)
    assert machine.step(state, e.SoloStep("b", 0, b"late", None)) == (state, ())


def test_the_full_context_of_the_base_and_cancellation_stop() -> None:
    machine = policy("dp")
    state, _ = machine.start(("b", "a"))
    assert machine.step(state, e.ModelExhausted("b"))[1] == (e.Stop("length"),)
    assert machine.step(machine.step(state, e.ModelLost("b"))[0], e.ModelExhausted("b"))[1] == (e.Stop("length"),)
    assert machine.step(state, e.ModelExhausted("stranger"))[1] == ()
    stopped, commands = machine.step(state, e.Cancelled())
    assert commands == (e.Stop("cancelled"),)
    assert machine.step(stopped, e.ModelLost("a")) == (stopped, ())


def test_negative_logits_are_said_once_with_the_fix() -> None:
    book = {"b": Lists(lambda text: by_logit((b"x", -1.0))), "a": Lists(lambda text: by_logit((b"x", -2.0)))}
    done = drive(policy("duetnet", 5), book)
    (notice,) = done.others
    assert isinstance(notice, e.Notice)
    assert "a keeps" in notice.text
    assert "--reference floor" in notice.text
    assert drive(policy("duetnet", 5, reference="floor"), book).others == []
    assert len(drive(policy("dk", 5), book).others) == 1
    assert drive(policy("dp", 5), book).others == []


def test_members_and_weights_are_checked() -> None:
    with pytest.raises(UnknownMethod, match="'c', which is not a member; the members are b, a"):
        policy("dp", weights={"c": 2.0}).start(("b", "a"))
    with pytest.raises(UnknownMethod, match="each named once"):
        policy("dp").start(("b", "b"))
    with pytest.raises(UnknownMethod, match="at least 1 token"):
        policy("dp", 0)


def test_marginals_are_none_of_its_questions() -> None:
    machine = policy("dp")
    state, _ = machine.start(("b", "a"))
    assert machine.step(state, e.MarginalsArrived("a", 0, 1.0, 0.0, (0.0,) * 256)) == (state, ())


@pytest.mark.parametrize("method", ["gac", "unite", "duetnet", "dk", "bytewise", "consult", "upara-5"])
def test_a_full_context_of_a_collaborator_is_its_own_affair(method: str) -> None:
    machine = policy(method)
    state, _ = machine.start(("b", "a", "c"))
    before, _ = machine.step(state, e.ModelExhausted("a"))
    assert (before.live, before.lost, before.left) == (("b", "c"), ("a",), ("a",))
    assert machine.step(before, e.ModelExhausted("a")) == (before, ())
    assert machine.step(before, e.ModelJoined("a")) == (before, ())  # the text only grows: it stays away
    joining, _ = machine.step(machine.step(state, e.ModelLost("a"))[0], e.ModelJoined("a"))
    away, commands = machine.step(joining, e.ModelExhausted("a"))
    assert (away.joining, away.left, commands) == ((), ("a",), ())


@pytest.mark.parametrize("method", ["gac", "unite", "duetnet", "bytewise"])
def test_the_last_one_with_a_full_context_ends_the_answer_with_its_length(method: str) -> None:
    machine = policy(method)
    state, _ = machine.start(("b", "a", "c"))
    for event in (e.ModelLost("b"), e.ModelExhausted("a")):
        state, commands = machine.step(state, event)
        assert commands == ()
    assert machine.step(state, e.ModelExhausted("c"))[1] == (e.Stop("length"),)
    assert machine.step(state, e.ModelLost("c"))[1] == (e.Stop("failed"),)
    back, _ = machine.step(state, e.ModelJoined("b"))
    assert machine.step(back, e.ModelExhausted("c"))[1][0].model == "b"  # type: ignore[union-attr]
