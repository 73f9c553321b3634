"""Who takes part in bytewise voting: models lost, joined, sent away or waiting, and the state that is left."""

import pytest

from tests.support.byte_table import BYTEWISE, Table, Watch
from tests.support.candidates import listed, surely
from tokencollab.policies import events as e
from tokencollab.policies.machine import make_policy
from tokencollab.policies.methods import parse_method


def held(*more: str, leaving: Watch | None = None, max_tokens: int = 100) -> Table:
    """All agree on "a", after which b's unlisted mass hides whether it moves: "a" is held."""
    table = Table(("a", "b", *more), leaving=leaving, max_tokens=max_tokens)
    table.answer(a=surely(b"ab"), b=listed((b"a", 0.4), (b"z", 0.1)), **dict.fromkeys(more, surely(b"ab")))
    assert (table.text, table.held) == (b"", b"a")
    return table


def alone(until: float = 0.0) -> Table:
    """The base b writes alone after "hi"; a is out, or waits where the base may be unsure."""
    table = Table(("b", "a"), leaving=Watch(alone_at=1, until=until), max_tokens=9)
    table.answer(a=surely(b"hi"), b=surely(b"hi"))
    assert table.state.phase == "solo"
    return table


class TestEnd:
    def test_cancelling_drops_what_is_held(self) -> None:
        table = held()
        table.hear(e.ModelJoined("c"))
        assert table.hear(e.Cancelled()) == [e.Stop("cancelled")]
        assert (table.text, table.members) == (b"", {})
        assert table.hear(e.ModelJoined("d")) == []

    def test_inside_a_token_its_bytes_are_kept_and_no_more(self) -> None:
        table = Table(("a", "b"))
        table.answer(a=surely(b"x"), b=surely(b"x"))
        table.answer(a=surely(b"842"), b=surely(b"8"))
        assert table.state.vote.tail == b"8"
        table.answer(b=surely(b"4"))
        assert table.state.vote.tail == b"84"
        table.answer(b=surely(b"2"))
        assert table.state.vote.tail == b""


class TestLost:
    def test_who_was_to_join_is_lost_before_it_does(self) -> None:
        table = Table(("a", "b"))
        table.hear(e.ModelJoined("c"))
        table.hear(e.ModelJoined("d"))
        assert table.members == {"live": ("a", "b"), "joining": ("c", "d")}
        assert table.hear(e.ModelLost("c")) == []
        assert table.members == {"live": ("a", "b"), "joining": ("d",)}
        table.answer(a=surely(b"x"), b=surely(b"x"))
        assert table.asked() == {"a": 1, "b": 1, "d": 1}
        assert table.commits()[0].record.lost == ()

    def test_all_that_were_lost_are_named_once(self) -> None:
        table = Table(("a", "c", "b"))
        table.hear(e.ModelLost("c"))
        table.hear(e.ModelLost("b"))
        assert table.hear(e.ModelLost("c")) == []
        table.answer(a=surely(b"x"))
        assert table.commits()[0].record.lost == ("b", "c")
        table.answer(a=surely(b"y"))
        assert table.commits()[0].record.lost == ()

    def test_a_loss_while_the_base_is_alone_is_named_with_its_next_piece(self) -> None:
        table = alone(until=0.5)
        assert table.hear(e.ModelLost("a")) == []
        table.hear(e.SoloStep("b", 2, b"!", None))
        assert table.commits()[0].record == e.StepRecord(2, (), alone=True, lost=("a",))
        table.hear(e.SoloStep("b", 2, b"!", surely(b"!")))
        assert table.commits()[0].record.lost == ()

    def test_losing_everybody_at_the_last_piece_is_its_length(self) -> None:
        table = held(max_tokens=1)
        table.hear(e.ModelLost("a"))
        table.hear(e.ModelLost("b"))
        assert (table.text, table.stopped()) == (b"a", "length")

    def test_who_was_to_join_goes_on_where_everybody_is_lost_and_has_joined_then(self) -> None:
        table = Table(("a", "b"))
        table.hear(e.ModelJoined("c"))
        table.hear(e.ModelLost("a"))
        table.hear(e.ModelLost("b"))
        assert table.asked() == {"c": 0}
        assert table.members == {"live": ("c",), "lost": ("a", "b")}
        table.answer(c=surely(b"x"))
        assert (table.asked(), len(table.voters)) == ({"c": 1}, 1)

    def test_the_others_keep_their_weights_inside_a_token(self) -> None:
        table = Table(("a", "b", "c", "d"))
        table.answer(a=surely(b"842"), b=surely(b"8"), c=surely(b"8"), d=surely(b"842"))
        table.hear(e.ModelLost("c"))
        assert {v.name: round(v.weight, 9) for v in table.voters} == {"a": 1.0, "b": 0.9, "d": 1.0}

    def test_the_others_have_their_priors_where_one_alone_is_left_inside_a_token(self) -> None:
        table = Table(("a", "b", "c", "d"))
        table.answer(a=surely(b"842"), b=surely(b"8"), c=surely(b"8"), d=listed((b"842", 0.7), (b"9", 0.3)))
        table.hear(e.ModelLost("a"))
        assert {v.name: round(v.weight, 9) for v in table.voters} == {"b": 1.0, "c": 1.0, "d": 1.0}
        assert {v.name: round(v.weight * v.branch.listed, 9) for v in table.voters if v.branch.listed} == {"d": 0.7}

    def test_a_context_that_is_full_ends_the_answer_of_whoever_writes(self) -> None:
        table = alone(until=0.5)
        assert table.hear(e.ModelExhausted("a")) == []
        table.hear(e.ModelLost("b"))
        assert table.state.phase == "waiting"
        assert table.hear(e.ModelExhausted("b")) == [e.Stop("length")]

    def test_a_weight_of_nothing_gives_way_to_the_prior_when_nobody_else_is_left(self) -> None:
        """b had no piece for "y", and c, which cuts finer, was asked inside the word of a, d and b."""
        table = Table(("a", "b", "c", "d"))
        table.answer(a=surely(b"yes!"), b=listed((b"x", 0.3), (b"z", 0.7)), c=surely(b"y"), d=surely(b"yes!"))
        table.answer(b=listed((b"es?", 0.4), (b"en", 0.35), (b"ed", 0.25)), c=surely(b"e"))
        assert table.text == b"ye"
        assert table.asked() == {"c": 2}
        assert [v.weight > 0 for v in table.voters] == [True, False, True, True]
        for name in ("a", "d", "c"):
            table.hear(e.ModelLost(name))
        assert table.text == b"yes?"
        assert table.asked() == {"b": 4}


class TestOneWithinAPiece:
    """All the others stand where it does not."""

    def test_the_others_have_their_priors_and_it_has_what_its_piece_has(self) -> None:
        table = Table(("a", "b", "c"))
        table.answer(a=listed((b"842", 0.7), (b"9", 0.3)), b=surely(b"8"), c=listed((b"8", 0.6), (b"1", 0.4)))
        assert table.text == b"8"
        assert {v.name: round(v.weight, 9) for v in table.voters} == {"a": 1.0, "b": 1.0, "c": 1.0}
        assert [round(v.branch.listed, 9) for v in table.voters] == [0.7, 0.0, 0.0]
        table.answer(b=surely(b"5"), c=surely(b"5"))  # .9 each against .7 for "4"
        assert table.text == b"85"

    def test_where_they_wanted_something_else_it_goes_on_alone(self) -> None:
        table = Table(("a", "b", "c"))
        table.answer(a=surely(b"842"), b=listed((b"9", 0.5), (b"7", 0.5)), c=listed((b"1", 0.5), (b"2", 0.5)))
        assert table.text == b"8"
        assert {v.name: round(v.weight, 9) for v in table.voters} == {"a": 1.0, "b": 0.0, "c": 0.0}

    def test_one_other_is_not_enough(self) -> None:
        table = Table(("a", "b"))
        table.answer(a=surely(b"842"), b=surely(b"8"))
        assert {v.name: round(v.weight, 9) for v in table.voters} == {"a": 1.0, "b": 0.9}


class TestJoined:
    def test_it_joins_at_a_common_boundary_with_its_prior(self) -> None:
        method = parse_method("bytewise", weights={"c": 3.0, "d": 0.5})
        table = Table(("b", "c", "d"), method)
        table.hear(e.ModelLost("c"))
        table.hear(e.ModelJoined("c"))
        table.hear(e.ModelJoined("a"))
        table.answer(b=surely(b"x"), d=surely(b"x"))
        assert table.asked() == {"a": 1, "b": 1, "c": 1, "d": 1}
        assert [(v.name, v.prior, v.weight, v.rank) for v in table.voters] == [
            ("a", 1.0, 1.0, 0),
            ("b", 1.0, 1.0, 0),
            ("c", 3.0, 3.0, 0),
            ("d", 0.5, 0.5, 0),
        ]
        assert table.members == {"live": ("a", "b", "c", "d")}

    def test_inside_a_token_it_has_its_priors_part_of_the_weight_and_no_rank(self) -> None:
        """a carries 2 * .9, b 1 * .9 of the priors 3; so c with prior 5 has 5 * .9."""
        method = parse_method("bytewise", weights={"a": 2.0, "c": 5.0})
        table = Table(("a", "b", "c"), method, Watch())
        table.hear(e.ModelLost("c"))
        table.hear(e.ModelJoined("c"))
        table.answer(a=surely(b"842"), b=surely(b"8"))
        (c,) = [v for v in table.voters if v.name == "c"]
        assert c.weight == pytest.approx(4.5)
        assert (c.prior, c.rank) == (5.0, None)
        table.answer(b=surely(b"4"), c=surely(b"4"))
        assert [v.rank for v in table.voters] == [0, 0, None]
        table.answer(b=surely(b"2"), c=listed((b"3", 0.5), (b"2", 0.4)))
        assert table.state.exit[0].ranks == (("a", 0), ("b", 0), ("c", None))
        assert table.commits()[0].record.ranks == (("a", 0), ("b", 0), ("c", 1))
        assert [v.rank for v in table.voters] == [0, 0, 0]

    def test_who_has_no_weight_left_counts_with_its_prior(self) -> None:
        """Nobody but a had a piece for "y": the weight there is is .9 for two priors."""
        table = Table(("a", "b"))
        table.hear(e.ModelJoined("c"))
        table.answer(a=surely(b"yes"), b=listed((b"x", 0.3), (b"z", 0.7)))
        by_name = {v.name: v.weight for v in table.voters}
        assert by_name == {"a": 1.0, "b": 0.0, "c": pytest.approx(0.9 / 2)}

    def test_who_waits_while_the_base_is_alone_takes_part_when_it_returns(self) -> None:
        table = alone(until=0.5)
        assert table.hear(e.ModelJoined("c")) == []
        assert table.hear(e.ModelJoined("c")) == []
        assert table.members == {"live": ("a", "b", "c")}
        table.hear(e.SoloStep("b", 2, b"1", None))
        table.hear(e.CandidatesArrived("b", 2, listed((b"x", 0.4), (b"y", 0.3))))
        assert table.asked() == {"a": 3, "c": 3}

    def test_who_was_to_join_waits_or_is_told_off_when_the_base_leaves(self) -> None:
        for until, live in ((0.0, ("b",)), (0.5, ("a", "b", "c"))):
            table = Table(("b", "a"), leaving=Watch(alone_at=1, until=until))
            table.hear(e.ModelJoined("c"))
            table.answer(a=surely(b"hi"), b=surely(b"hi"))
            assert table.commands[1] == e.Exited(1, ("a", "c"))
            assert table.members == {"live": live}

    def test_after_an_exit_for_good_nobody_joins(self) -> None:
        table = alone()
        before = table.state
        assert table.hear(e.ModelJoined("a")) == []
        assert table.hear(e.ModelJoined("c")) == []
        assert table.state == before

    def test_a_base_that_comes_back_writes_what_was_left_to_write(self) -> None:
        table = alone(until=0.5)
        table.hear(e.SoloStep("b", 2, b"1", surely(b"1")))
        table.hear(e.ModelLost("b"))
        assert table.state.phase == "waiting"
        assert table.hear(e.SoloStep("b", 2, b"2", surely(b"2"))) == []
        assert table.hear(e.ModelJoined("b")) == [e.RunSolo("b", 3, 3, 3, 7, False, 0.5)]


class TestSentAway:
    def test_one_after_the_other(self) -> None:
        table = Table(("b", "a", "c", "d"), leaving=Watch(out=(("d", 1), ("a", 2))))
        table.answer(**dict.fromkeys("abcd", surely(b"x")))
        assert table.members == {"live": ("a", "b", "c"), "left": ("d",)}
        table.answer(**dict.fromkeys("abc", surely(b"x")))
        assert table.members == {"live": ("b", "c"), "left": ("a", "d")}
        assert table.hear(e.ModelJoined("a")) == []
        assert table.hear(e.ModelLost("d")) == []
        assert table.members == {"live": ("b", "c"), "left": ("a", "d")}

    def test_it_makes_way_inside_its_own_token(self) -> None:
        """a is inside "xyz" when it is sent away: who is left stands at a common boundary."""
        table = Table(("b", "a", "c"), leaving=Watch(out=(("a", 1),)))
        table.answer(a=surely(b"xyz"), b=surely(b"x"), c=surely(b"x"))
        assert table.asked() == {"b": 1, "c": 1}
        assert [(v.name, v.weight) for v in table.voters] == [("b", 1.0), ("c", 1.0)]
        assert table.state.vote.tail == b""


class TestAlone:
    @pytest.mark.parametrize("until", [0.0, 0.5])
    def test_its_pieces_have_ranks_and_no_exit_is_asked(self, until: float) -> None:
        table = alone(until)
        table.hear(e.SoloStep("b", 2, b"y", listed((b"x", 0.7), (b"y", 0.2))))
        assert table.commits()[0].record == e.StepRecord(2, (("b", 1),), alone=True)
        table.hear(e.SoloStep("b", 2, b"?", listed((b"x", 0.7), (b"y", 0.2))))
        assert table.commits()[0].record == e.StepRecord(3, (("b", None),), alone=True)
        assert len(table.state.exit) == 1

    def test_without_candidates_there_is_no_evidence(self) -> None:
        table = alone()
        table.hear(e.SoloStep("b", 2, b"y", None))
        assert table.commits()[0].record == e.StepRecord(2, (), alone=True)
        assert len(table.state.exit) == 1
        assert table.commands[1:] == []

    def test_its_candidates_are_reported_where_somebody_reads_them(self) -> None:
        for report in (False, True):
            policy = make_policy(BYTEWISE, max_tokens=9, seed=0, report=report, exit_policy=Watch(alone_at=1))
            state, _ = policy.start(("a",))
            _, commands = policy.step(state, e.CandidatesArrived("a", 0, surely(b"x")))
            assert commands[2] == e.RunSolo("a", 1, 1, 2, 8, report)


class TestAnswers:
    def test_an_answer_to_a_question_that_is_closed_changes_nothing(self) -> None:
        table = Table(("a", "b"))
        table.answer(a=surely(b"x"))
        waiting = table.state
        for event in (
            e.CandidatesArrived("a", 0, surely(b"y")),
            e.CandidatesArrived("a", 1, surely(b"y")),
            e.CandidatesArrived("b", 0, surely(b"y")),
            e.CandidatesArrived("c", 1, surely(b"y")),
            e.MarginalsArrived("a", 0, 1.0, 0.0, (0.0,) * 256),
        ):
            assert table.hear(event) == []
            assert table.state == waiting
        table.answer(b=surely(b"x"))
        assert table.text == b"x"

    def test_nor_does_one_to_a_model_that_has_followed_and_is_asked_nothing(self) -> None:
        table = Table(("a", "b"))
        table.answer(a=listed((b"xyz", 1.0)), b=listed((b"x", 1.0)))
        waiting = table.state
        assert table.asked() == {"b": 1}
        assert table.hear(e.MarginalsArrived("a", 0, 1.0, 0.0, (0.0,) * 256)) == []
        assert table.state == waiting

    def test_questions_are_numbered_through(self) -> None:
        table = Table(("a", "b"))
        table.answer(a=listed((b"x", 0.3), (b"y", 0.29)), b=listed((b"x", 0.3), (b"y", 0.29)))
        assert table.commands == [e.RequestMarginals("a", 2, 0, b""), e.RequestMarginals("b", 3, 0, b"")]
        masses = [0.0] * 256
        masses[ord("x")], masses[ord("y")] = 0.4, 0.6
        table.hear(e.MarginalsArrived("b", 3, 0.0, 0.0, tuple(masses)))
        assert table.commands == []
        table.hear(e.MarginalsArrived("a", 2, 0.0, 0.0, tuple(masses)))
        # "y": is it the whole piece (e .29) or the beginning of longer ones (.31)? b is asked again, a as well
        assert table.commands == [e.RequestMarginals("a", 4, 0, b"y"), e.RequestMarginals("b", 5, 0, b"y")]
