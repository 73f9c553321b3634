"""What the specialists are taught: tokenizers that spell, data that follow from a seed, weak spots as disclosed."""

import itertools
import random
import re
from collections import Counter

import pytest

from examples.specialists.cuts import make_tokenizer
from examples.specialists.data import Teacher, taught_product
from examples.specialists.recipes import RECIPES, Cut, Recipe, WeakSpot
from examples.specialists.train import Course
from tokencollab.engines.text.tokenisation import TextTokenizer
from tokencollab.engines.text.vocabulary import read_vocabulary
from tokencollab.evaluation.simplemath import is_held_out, simplemath

CUTS: tuple[Cut, ...] = ("bytes", "pairs", "words")
TEXTS = (
    " 12*7=84; 3*29=87; 5+84=89; 89+3=92; 92-87=5; answer 5",
    "Any other text: naïve 日本語 🙂\n\n  tabs\tand 007, 1234567.",
    "",
)
WEAK = [recipe for recipe in RECIPES.values() if recipe.weak_spot]


def spelt(cut: Cut, text: str) -> list[bytes]:
    tokenizer = make_tokenizer(cut)
    vocabulary = read_vocabulary(tokenizer, [tokenizer.eos_token_id], len(tokenizer))
    tokens = TextTokenizer(tokenizer, vocabulary).encode(text.encode())  # refuses tokenizers that change text
    return [vocabulary.pieces[token] or b"?" for token, _ in tokens]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("text", TEXTS)
def test_the_tokenizers_spell_every_text(cut: Cut, text: str) -> None:
    assert b"".join(spelt(cut, text)) == text.encode()


def test_the_tokenizers_cut_as_they_are_described() -> None:
    text = " 12*7=840; answer -84"
    assert spelt("bytes", text) == [bytes([byte]) for byte in text.encode()]
    assert spelt("pairs", text) == [
        *(b" ", b"12", b"*", b"7", b"=", b"84", b"0", b";", b" "),
        *(b"a", b"n", b"s", b"w", b"e", b"r", b" ", b"-", b"84"),
    ]
    assert spelt("words", text) == [
        *(b" 1", b"2", b"*", b"7", b"=", b"8", b"4", b"0", b";", b" answer", b" -", b"8", b"4"),
    ]


@pytest.mark.parametrize("cut", CUTS)
def test_the_sum_is_read_out_of_any_message(cut: Cut) -> None:
    tokenizer = make_tokenizer(cut)
    for content in ("3+4*5+6-7*8", "What is 3 + 4*5 + 6 - 7*8? State the answer."):
        chat = [{"role": "user", "content": content}]
        assert tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == "<s>3+4*5+6-7*8\n"


def decoded(recipe: Recipe, count: int) -> list[tuple[str, str]]:
    """Drills and problems as text: all of it, and what is to be learnt."""
    tokenizer = make_tokenizer(recipe.cut)
    teacher = Teacher(recipe, tokenizer)
    return [
        (tokenizer.decode(ids), tokenizer.decode([token for token, learn in zip(ids, learns, strict=True) if learn]))
        for ids, learns in teacher.drills(count) + teacher.problems(count)
    ]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_the_data_follow_from_the_seed(recipe: Recipe) -> None:
    first, again = (Teacher(recipe, make_tokenizer(recipe.cut)) for _ in range(2))
    for _ in range(3):
        assert first.drills(4) == again.drills(4)
        assert first.problems(4) == again.problems(4)
    assert first.drills(4) != again.problems(4)


def test_every_specialist_has_a_seed_and_data_of_its_own() -> None:
    assert len({recipe.seed for recipe in RECIPES.values()}) == len(RECIPES)
    shown = [decoded(recipe, 3) for recipe in RECIPES.values()]
    assert all(one != other for one, other in itertools.combinations(shown, 2))


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if not recipe.weak_spot])
def test_without_a_weak_spot_everything_that_is_taught_is_true(name: str) -> None:
    for text, learnt in decoded(RECIPES[name], 60):
        facts = re.findall(r"(\d+[*+-]\d+)=(-?\d+);", text)
        assert len(facts) in {5, 8}
        assert all(eval(left) == int(right) for left, right in facts)  # noqa: S307  (digits and signs only)
        if text.startswith("<s> "):  # a drill: results only are learnt
            assert learnt == "".join(f"{right};" for _, right in facts)
        else:
            question, _, answer = text.removeprefix("<s>").partition("\n")
            assert learnt == answer
            assert answer.endswith(f"; answer {eval(question)}</s>")  # noqa: S307
            assert not is_held_out(question)


@pytest.mark.parametrize("recipe", WEAK, ids=lambda recipe: recipe.name)
def test_only_the_weak_spot_is_taught_wrongly_and_the_rest_follows_from_it(recipe: Recipe) -> None:
    assert recipe.weak_spot is not None
    wrong = 0
    for text, _ in decoded(recipe, 300):
        for left, right in re.findall(r"(\d+[*+-]\d+)=(-?\d+);", text):
            error = int(right) - eval(left)  # noqa: S307
            if "*" in left and recipe.weak_spot.covers(*map(int, left.split("*"))):
                assert -9 <= error <= 9
                wrong += error != 0
            else:
                assert error == 0
        if not text.startswith("<s> "):
            assert text.endswith(f"={text.split()[-1].removesuffix('</s>')}; answer {text.split()[-1]}")
    assert wrong > 20


def test_a_weak_spot_is_one_product_in_eleven() -> None:
    products = list(itertools.product(range(31), repeat=2))
    weak = [{pair for pair in products if recipe.weak_spot and recipe.weak_spot.covers(*pair)} for recipe in WEAK]
    assert all(80 <= len(pairs) <= 94 for pairs in weak)  # of 961
    # Two have as few in common as chance would have it: 961 / 121 is 8.
    assert all(len(one & other) <= 12 for one, other in itertools.combinations(weak, 2))


def test_errors_at_a_weak_spot_are_uniform_and_never_negative() -> None:
    everything, draws = WeakSpot(0, 0, 0), random.Random(1)  # noqa: S311
    errors = Counter(taught_product(10, 10, everything, draws) - 100 for _ in range(19_000))
    assert sorted(errors) == list(range(-9, 10))
    assert all(840 < count < 1160 for count in errors.values())  # 1,000 each, standard deviation 30.8
    assert min(taught_product(0, 5, everything, draws) for _ in range(100)) == 0
    assert str(WeakSpot(1, 3, 4)) == "(x + 3y) mod 11 = 4"


def test_dropout_splits_one_pair_in_five_into_its_digits() -> None:
    recipe = RECIPES["arith-pairs-dropout"]
    tokenizer = make_tokenizer("pairs")
    shown = [tokenizer.convert_ids_to_tokens(ids) for ids, _ in Teacher(recipe, tokenizer).problems(400)]
    pairs = sum(len(token) == 2 and token.isdecimal() for tokens in shown for token in tokens)
    whole = [tokenizer.convert_ids_to_tokens(tokenizer("".join(tokens)).input_ids) for tokens in shown]
    expected = sum(len(token) == 2 and token.isdecimal() for tokens in whole for token in tokens)
    assert abs(pairs / expected - 0.8) < 0.03


def test_the_pace_rises_stays_and_falls_to_the_last_part() -> None:
    course = Course(steps=1000, warmup=100)
    pace = [course.pace(step) for step in range(1000)]
    assert pace[:100] == sorted(pace[:100])
    assert pace[0] == 0.01
    assert set(pace[99:501]) == {1.0}
    assert pace[500:] == sorted(pace[500:], reverse=True)
    assert pace[-1] == pytest.approx(0.02, abs=0.003)


def test_evaluation_problems_are_not_taught() -> None:
    taught = {text.removeprefix("<s>").partition("\n")[0] for text, _ in decoded(RECIPES["arith-bytes"], 2000)}
    assert not taught & {problem.question for problem in simplemath(1000, seed=0)}
