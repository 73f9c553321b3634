"""The course of bytewise voting on scripted answers: commits, evidence, exits, losses, the end."""

import pytest

from tests.support.byte_table import Table, Watch, figures
from tests.support.candidates import listed, surely
from tokencollab.errors import UnknownMethod
from tokencollab.policies import events as e
from tokencollab.policies.evidence import Evidence
from tokencollab.policies.methods import parse_method
from tokencollab.protocol.candidates import Candidate, CandidateSet


def test_the_first_questions() -> None:
    table = Table(("b", "a"))
    assert table.commands == [e.RequestCandidates("a", 0, 0, 10), e.RequestCandidates("b", 1, 0, 10)]


@pytest.mark.parametrize("members", [(), ("a", "a")])
def test_members_must_be_some_and_differ(members: tuple[str, ...]) -> None:
    with pytest.raises(UnknownMethod, match="each named once"):
        Table(members)


def test_a_weight_for_a_stranger_is_refused() -> None:
    method = parse_method("bytewise", weights={"z": 2.0})
    with pytest.raises(UnknownMethod, match="a weight is given for 'z'"):
        Table(("a",), method)


def test_an_agreed_word_is_one_commit_and_one_question_each() -> None:
    table = Table(("a", "b"), leaving=Watch())
    table.answer(a=surely(b" word"), b=surely(b" word"))
    (commit,) = table.commits()
    assert commit == e.Commit(b" word", e.StepRecord(1, (("a", 0), ("b", 0)), figures(1)))
    assert table.asked() == {"a": 5, "b": 5}
    assert table.state.exit == (Evidence(1, "a", (("a", 0), ("b", 0)), frozenset()),)


def test_a_collaborator_that_cuts_finer_moves_inside_the_bases_token() -> None:
    table = Table(("a", "b"), leaving=Watch())
    table.answer(a=surely(b"84"), b=surely(b"8"))
    assert table.commits()[0].record == e.StepRecord(1, (("a", 0), ("b", 0)))
    assert table.asked() == {"b": 1}
    assert table.state.exit == ()  # the base is inside its token: no step yet
    table.answer(b=listed((b"6", 0.6), (b"4", 0.4)))
    (commit,) = table.commits()
    assert commit.piece == b"4"
    assert commit.record.offsets == (("a", 0), ("b", 1))
    assert commit.record.ranks == (("a", 0), ("b", 1))
    assert table.asked() == {"a": 2, "b": 2}
    (evidence,) = table.state.exit
    assert (evidence.step, evidence.ranks, evidence.decisive) == (1, (("a", 0), ("b", 1)), {"a"})
    assert all(voter.weight == 1.0 and voter.rank == 0 for voter in table.voters)


def test_what_a_model_missed_adds_up_over_the_commits_of_one_step() -> None:
    table = Table(("a", "b"), leaving=Watch())
    table.answer(a=surely(b"842"), b=surely(b"8"))
    table.answer(b=listed((b"6", 0.6), (b"4", 0.4)))
    assert table.commits()[0].record.ranks == (("a", 0), ("b", 1))
    table.answer(b=surely(b"2"))
    assert table.commits()[0].record.ranks == (("a", 0), ("b", 0))
    (evidence,) = table.state.exit
    assert evidence.ranks == (("a", 0), ("b", 1))


def test_who_is_left_at_a_common_boundary_has_its_prior_again() -> None:
    table = Table(("a", "b"))
    table.answer(a=surely(b"84"), b=surely(b"8"))
    (weight,) = [voter.weight for voter in table.voters if voter.name == "b"]
    assert weight == pytest.approx(0.9)
    table.hear(e.ModelLost("a"))
    assert [voter.weight for voter in table.voters] == [1.0]


@pytest.mark.parametrize(("carry", "text"), [(True, b"el"), (False, b"er")])
def test_the_carried_weight_speaks_where_a_word_was_not_taken(carry: bool, text: bytes) -> None:
    """b wanted "fo". "e" was taken, so with carry b has 1.1 * .4 to say for "er" against a's .9 for "elm"."""
    method = parse_method("bytewise", carry=carry, weights={"b": 1.1})
    table = Table(("a", "b"), method)
    table.answer(a=listed((b"elm", 0.9), (b"fo", 0.1)), b=listed((b"fo", 0.6), (b"er", 0.4)))
    assert table.text == text


def test_end_is_a_vote_at_the_boundary_and_ends_the_answer() -> None:
    table = Table(("a", "b"), leaving=Watch())
    table.answer(a=listed((None, 0.6), (b"x", 0.4)), b=listed((b"x", 0.55), (None, 0.45)))
    assert table.commits()[0] == e.Commit(None, e.StepRecord(1, (("a", 0), ("b", 1)), figures(1)))
    assert table.stopped() == "end"
    assert table.state.exit[0].ranks == (("a", 0), ("b", 1))
    assert table.hear(e.Cancelled()) == []


def test_a_model_inside_a_token_has_no_vote_for_end() -> None:
    table = Table(("a", "b"))
    table.answer(a=listed((b"84", 0.9), (b"8", 0.1)), b=surely(b"8"))
    table.answer(b=listed((None, 0.8), (b"4", 0.2)))
    assert table.text == b"84"  # a carries 1 * 1 / .9 * .9 for "4", b .9 * .8 for EOS


def test_the_answer_ends_at_its_length() -> None:
    table = Table(("a",), max_tokens=2)
    table.answer(a=surely(b"x"))
    assert table.stopped() is None
    table.answer(a=surely(b"y"))
    assert (table.text, table.stopped()) == (b"xy", "length")


def test_cancelled() -> None:
    table = Table(("a", "b"))
    table.answer(a=surely(b"x"))
    assert table.hear(e.Cancelled()) == [e.Stop("cancelled")]


def held() -> Table:
    """Two models that agree on "a", after which b's unlisted mass hides whether it moves: "a" is held."""
    table = Table(("a", "b"))
    table.answer(a=surely(b"ab"), b=listed((b"a", 0.4), (b"z", 0.1)))
    assert [type(command) for command in table.commands] == [e.RequestMarginals]
    assert (table.text, table.held) == (b"", b"a")
    return table


def test_a_boundary_that_hangs_on_unlisted_mass_is_asked_about() -> None:
    table = held()
    (question,) = table.commands
    assert question == e.RequestMarginals("b", 2, 0, b"a")
    none = (0.0,) * 256
    table.hear(e.MarginalsArrived("b", 2, 0.4, 0.0, none))
    assert table.text == b"a"
    assert table.asked() == {"b": 1}
    late = table.state
    assert table.hear(e.MarginalsArrived("b", 2, 0.0, 0.0, none)) == []
    assert table.state == late


def test_what_is_decided_is_committed_when_the_context_of_the_base_is_full() -> None:
    table = held()
    assert table.hear(e.ModelExhausted("z")) == []
    table.hear(e.ModelExhausted(table.state.base))
    assert (table.text, table.stopped()) == (b"a", "length")


def test_a_full_context_of_another_model_is_as_its_loss() -> None:
    table, lost = held(), held()
    (other,) = {"a", "b"} - {table.state.base}
    table.hear(e.ModelExhausted(other))
    lost.hear(e.ModelLost(other))
    assert (table.text, table.commits()) == (lost.text, lost.commits())
    assert table.state == lost.state._replace(left=(other,))


def test_losing_the_model_that_is_waited_for_goes_on_without_it() -> None:
    table = held()
    table.hear(e.ModelLost("b"))
    assert table.text == b"ab"
    assert table.commits()[0].record.lost == ("b",)
    assert table.commits()[0].record.ranks == (("a", 0),)
    assert table.asked() == {"a": 2}


def test_losing_everybody_fails_after_what_was_decided() -> None:
    table = held()
    table.hear(e.ModelLost("a"))
    assert table.commands == []
    table.hear(e.ModelLost("b"))
    assert (table.text, table.stopped()) == (b"a", "failed")


def test_who_was_to_join_takes_over_when_everybody_is_lost() -> None:
    table = held()
    table.hear(e.ModelJoined("c"))
    table.hear(e.ModelLost("a"))
    table.hear(e.ModelLost("b"))
    assert table.text == b"a"
    assert table.asked() == {"c": 1}


def test_a_model_joins_at_the_next_commit_with_its_part_of_the_weight() -> None:
    table = Table(("a", "b"))
    table.hear(e.ModelJoined("c"))
    table.hear(e.ModelJoined("a"))
    table.answer(a=surely(b"84"), b=surely(b"8"))
    assert table.asked() == {"b": 1, "c": 1}
    by_name = {voter.name: voter for voter in table.voters}
    assert by_name["c"].weight == pytest.approx((0.9 + 0.9) / 2)
    assert by_name["c"].rank is None  # it had no vote on the first byte of the base's token


def test_while_the_base_is_lost_no_exit_policy_is_asked() -> None:
    table = Table(("b", "a", "c"), leaving=Watch(alone_at=1))
    table.hear(e.ModelLost("b"))
    table.answer(a=surely(b"x"), c=surely(b"x"))
    assert table.state.exit == ()
    assert table.asked() == {"a": 1, "c": 1}


def test_the_base_exits_and_writes_alone() -> None:
    table = Table(("b", "a"), leaving=Watch(alone_at=1), max_tokens=4)
    table.answer(a=surely(b"hi"), b=surely(b"hi"))
    assert table.commands[1:] == [e.Exited(1, ("a",)), e.RunSolo("b", 2, 2, 2, 3, False)]
    assert table.hear(e.SoloStep("a", 2, b"?", None)) == []
    assert table.hear(e.SoloStep("b", 1, b"?", None)) == []
    table.hear(e.SoloStep("b", 2, b"!", None))
    assert table.commands == [e.Commit(b"!", e.StepRecord(2, (), alone=True))]
    table.hear(e.SoloStep("b", 2, None, surely(None)))
    assert table.commits()[0] == e.Commit(None, e.StepRecord(3, (("b", 0),), alone=True))
    assert table.stopped() == "end"


def test_the_base_alone_stops_at_the_length_or_when_its_context_is_full() -> None:
    for event in (e.SoloStep("b", 2, b"!", None), e.ModelExhausted("b")):
        table = Table(("b", "a"), leaving=Watch(alone_at=1), max_tokens=2)
        table.answer(a=surely(b"hi"), b=surely(b"hi"))
        assert table.hear(e.ModelExhausted("a")) == []
        table.hear(event)
        assert table.stopped() == "length"


def test_the_base_lost_while_alone_is_waited_for() -> None:
    table = Table(("b", "a"), leaving=Watch(alone_at=1), max_tokens=4)
    table.answer(a=surely(b"hi"), b=surely(b"hi"))
    assert table.hear(e.ModelLost("b")) == []
    assert table.state.phase == "waiting"
    assert table.hear(e.ModelJoined("a")) == []
    assert table.hear(e.ModelJoined("b")) == [e.RunSolo("b", 3, 2, 2, 3, False)]


def test_a_base_that_is_unsure_comes_back_and_leaves_again() -> None:
    table = Table(("b", "a"), leaving=Watch(alone_at=1, until=0.5))
    table.answer(a=surely(b"hi"), b=surely(b"hi"))
    assert table.commands[2] == e.RunSolo("b", 2, 2, 2, 99, False, 0.5)
    table.hear(e.SoloStep("b", 2, b"1", None))
    table.hear(e.SoloStep("b", 2, b"2", None))
    table.hear(e.CandidatesArrived("b", 2, listed((b"3", 0.4), (b"4", 0.3))))
    assert table.asked() == {"a": 4}
    table.answer(a=surely(b"3"))
    assert table.text == b"hi123"
    assert table.commands[-1] == e.RunSolo("b", 5, 5, 5, 96, False, 0.5)
    assert [evidence.step for evidence in table.state.exit] == [1, 4]


def test_a_collaborator_sent_away_stays_away() -> None:
    table = Table(("b", "a", "c"), leaving=Watch(out=(("a", 1),)))
    table.answer(a=surely(b"x"), b=surely(b"x"), c=surely(b"x"))
    assert table.asked() == {"b": 1, "c": 1}
    table.hear(e.ModelJoined("a"))
    table.answer(b=surely(b"y"), c=surely(b"y"))
    assert table.asked() == {"b": 2, "c": 2}


def test_scores_are_none_of_its_questions() -> None:
    table = Table(("a",))
    before = table.state
    assert table.hear(e.ScoresArrived("a", 0, (1.0,))) == []
    assert table.state == before


def test_a_model_that_has_nothing_to_say_ends_the_answer() -> None:
    table = Table(("a",))
    table.answer(a=CandidateSet((Candidate(b"x", 0.0, -2000.0),), 0.0))
    (question,) = table.commands
    assert isinstance(question, e.RequestMarginals)
    table.hear(e.MarginalsArrived("a", question.question, 0.0, 0.0, (0.0,) * 256))
    assert table.stopped() == "failed"


def test_weights_that_are_all_gone_start_again_from_the_priors() -> None:
    """b's whole vocabulary has nothing that begins with "y"; then a, which had it, is lost."""
    table = Table(("a", "b"))
    table.answer(a=surely(b"yes"), b=listed((b"x", 0.3), (b"z", 0.7)))
    assert table.text == b"y"
    assert table.asked() == {"b": 1}
    assert {voter.name: voter.weight > 0 for voter in table.voters} == {"a": True, "b": False}
    table.hear(e.ModelLost("a"))
    table.answer(b=surely(b"es"))
    assert table.text == b"yes"


def test_they_start_again_at_the_first_byte_that_nobody_with_a_weight_votes_for() -> None:
    """a and c have no weight left, and agree on "s", which ends a piece of c: from there on c has .6 of its prior."""
    table = Table(("a", "b", "c"))
    other = listed((b"x", 0.4), (b"z", 0.4), (b"q", 0.2))
    table.answer(a=other, b=surely(b"yes!"), c=other)
    assert [voter.weight > 0 for voter in table.voters] == [False, True, False]
    table.answer(a=listed((b"esa", 0.7), (b"esb", 0.3)), c=surely(b"e"))
    assert table.asked() == {"c": 2}
    table.hear(e.ModelLost("b"))  # a is within its piece: no common boundary
    table.answer(c=listed((b"s", 0.6), (b"q", 0.4)))
    assert table.asked() == {"c": 3}
    table.answer(c=listed((b"b", 0.8), (b"a", 0.2)))
    assert table.text == b"yesa"  # a: .7 + .6 * .2, b: .3 + .6 * .8
