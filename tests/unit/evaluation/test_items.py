"""Where items come from, and what is refused."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tokencollab.answers import extract, same
from tokencollab.errors import MissingExtra, ModelUnavailable, UsageError
from tokencollab.evaluation.data_sets import load_items
from tokencollab.evaluation.hub import HUB_SETS
from tokencollab.evaluation.items import Item, kind_of
from tokencollab.evaluation.prompts import prompt_of
from tokencollab.evaluation.rows import read_rows

OPEN = {"id": "own/1", "question": "What is 2+2?", "choices": None, "answer": "4", "context": None}
CHOICE = {"id": "own/2", "question": "Which?", "choices": ["this", "that"], "answer": "B", "context": None}
YES = {"id": "own/3", "question": "is it", "choices": None, "answer": "yes", "context": "It is."}


def write(folder: Path, *rows: object, name: str = "own") -> Path:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_set_of_a_folder_by_name_and_by_path(tmp_path: Path) -> None:
    path = write(tmp_path, OPEN, CHOICE, YES)
    by_name = load_items("own", None, 0, str(tmp_path))
    assert {item.id for item in by_name} == {"own/1", "own/2", "own/3"}
    assert load_items(str(path), None, 0, None) == by_name
    assert next(item for item in by_name if item.id == "own/2").choices == ("this", "that")


def test_a_smaller_draw_is_the_beginning_of_a_larger_one_whatever_the_file_s_order(tmp_path: Path) -> None:
    rows = [OPEN | {"id": f"own/{number}"} for number in range(40)]
    write(tmp_path, *rows)
    write(tmp_path, *reversed(rows), name="turned")
    ten, twenty = (load_items("own", n, 1, str(tmp_path)) for n in (10, 20))
    assert twenty[:10] == ten == load_items("turned", 10, 1, str(tmp_path))
    assert ten != load_items("own", 10, 2, str(tmp_path))


def test_simplemath_is_made_and_is_the_same_for_a_seed() -> None:
    items = load_items("simplemath", 5, 3, None)
    assert items == load_items("simplemath", 9, 3, None)[:5]
    assert items != load_items("simplemath", 5, 4, None)
    assert [eval(item.question) for item in items] == [int(item.answer) for item in items]  # noqa: S307
    assert len(load_items("simplemath", None, 0, None)) == 1000


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("no object", "it is no object"),
        (OPEN | {"id": True}, "id must be a text or a whole number, not true; or leave it out"),
        (OPEN | {"answer": ["4"]}, r"answer must be a text, a number, true or false, not \["),
        (OPEN | {"answer": None}, "answer is empty"),
        (OPEN | {"question": 4}, "question must be a text, not 4"),
        (OPEN | {"choices": []}, "choices must be a list"),
        (OPEN | {"choices": ["a", None]}, "choices must be a list"),
        (OPEN | {"choices": "this or that"}, "choices must be a list"),
        (CHOICE | {"answer": "C"}, "a letter from A to B, an index from 0 to 1 or the text of one option"),
        (CHOICE | {"answer": 2}, "an index from 0 to 1 .* not 2"),
        (CHOICE | {"answer": True}, "the text of one option, not true"),
        (OPEN | {"context": 3}, "context must be"),
    ],
)
def test_a_row_that_is_no_item_is_named_with_its_number(tmp_path: Path, row: object, reason: str) -> None:
    write(tmp_path, OPEN, row)
    with pytest.raises(UsageError, match=f"own.jsonl, line 2: .*{reason}"):
        load_items("own", None, 0, str(tmp_path))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (json.dumps(OPEN | {"id": "\ud800"}), "contains a lone surrogate"),
        (json.dumps(OPEN | {"context": "\ud800"}), "contains a lone surrogate"),
        (json.dumps(CHOICE | {"choices": ["a", "\udfff"]}), "contains a lone surrogate"),
        ('{"id": "a", "question": "?", "answer": "3", "answer": "4"}', 'the key "answer" occurs twice'),
        ('{"id": "a", "question": "?", "answer": "3", "more": [{"x": 1, "x": 1}]}', 'the key "x" occurs twice'),
        ('{"id": "a", "question": "?", "answer": "3", "more": NaN}', "NaN is no number of JSON"),
        ('{"id": "a", "question": "?", "answer": "3", "more": ' + "[" * 101 + "]" * 101 + "}", "nested too deep"),
    ],
)
def test_a_line_that_is_not_strict_json_is_named_with_its_number(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "own.jsonl").write_text(f"\n{line}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=f"^own.jsonl, line 2: .*{reason}"):
        load_items("own", None, 0, str(tmp_path))


def test_a_byte_order_mark_is_no_part_of_a_set(tmp_path: Path) -> None:
    write(tmp_path, OPEN)
    plain = load_items("own", None, 0, str(tmp_path))
    file = tmp_path / "own.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert load_items("own", None, 0, str(tmp_path)) == plain


def test_what_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    write(tmp_path, OPEN, OPEN, name="twice")
    write(tmp_path, name="empty")
    (tmp_path / "torn.jsonl").write_text('{"id": ', encoding="utf-8")
    (tmp_path / "so_deep.jsonl").write_text("[" * 200_000, encoding="utf-8")
    (tmp_path / "latin.jsonl").write_bytes(b"\xff\n")
    write(tmp_path, OPEN)
    for dataset, data, reason in [
        ("twice", tmp_path, "occurs twice"),
        ("empty", tmp_path, "no items"),
        ("torn", tmp_path, "line 1: not JSON"),
        ("so_deep", tmp_path, "line 1: not JSON"),
        ("latin", tmp_path, "not UTF-8"),
        ("other", tmp_path, "has empty, latin, own"),
        ("own", tmp_path / "missing", "no folder"),
        (str(tmp_path / "missing.jsonl"), None, "no file"),
    ]:
        with pytest.raises(UsageError, match=reason) as error:
            load_items(dataset, None, 0, str(data) if data else None)
        assert "\n" not in str(error.value)


def test_fewer_items_than_the_limit_are_all_taken_with_a_line(tmp_path: Path) -> None:
    write(tmp_path, OPEN)
    said: list[str] = []
    assert len(load_items("own", 2, 0, str(tmp_path), say=said.append)) == 1
    assert said == ["own.jsonl has 1 items, fewer than --limit 2: all are taken"]
    load_items("own", 1, 0, str(tmp_path), say=said.append)
    assert len(said) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "She sells 9 eggs, and 9 * 2 = 18 dollars.",
        "2*3=<<2*3=6>>6",
        "3 + 4 = 7",
        "The answer is 18.",
        "so \\boxed{18}",
        "Therefore, x = 5",
        "Paris. It is the capital of France.",
        "小明有5个苹果，给了3个，所以还剩2个。",
        "1/0",
        "?",
    ],
)
def test_an_answer_that_no_model_can_give_is_refused_with_its_line(tmp_path: Path, answer: str) -> None:
    write(tmp_path, OPEN, OPEN | {"id": "b", "answer": answer})
    with pytest.raises(UsageError, match=r"^own.jsonl, line 2: the answer "):
        load_items("own", None, 0, str(tmp_path))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("1,2,3", "math"),
        ("(x-2)^2 + (y+3)^2 = 25", "math"),
        ("y = 2x+3", "math"),
        ("2*7", "math"),
        ("\\boxed{18}", "math"),
        ("\\begin{pmatrix} 1 \\\\\n 2 \\end{pmatrix}", "math"),
        ("New York", "math"),
        ("U.S.", "math"),
        ("Yes.", "boolean"),
        ("25. Dezember 1937", "date"),
        ("1937年12月25日", "date"),
    ],
)
def test_an_answer_of_its_kind_is_taken(tmp_path: Path, answer: str, kind: str) -> None:
    write(tmp_path, OPEN | {"answer": answer})
    assert [kind_of(item) for item in load_items("own", None, 0, str(tmp_path))] == [kind]


HUB_ROWS: dict[str, dict[str, Any]] = {
    "gsm8k": {"question": "How many?", "answer": "It is 1,000 + 200.\n#### 1,200"},
    "boolq": {"question": "is the sky blue", "answer": True, "passage": "Skies."},
    "mmlu": {"question": "Which?", "choices": ["a", "b", "c", "d"], "answer": 2},
    "mmlu_pro": {"question": "Which?", "options": ["a", "b", "c"], "answer": "C"},
    "math500": {"problem": "What is $x$?", "answer": "\\frac{1}{2}"},
    "ceval": {"question": "哪个", "A": "一", "B": "二", "C": "三", "D": "四", "answer": "C"},
    "truthfulqa": {"question": "Why?", "mc1_targets": {"choices": ["right", "wrong", "worse"], "labels": [1, 0, 0]}},
}


def library(load: Any) -> ModuleType:
    module = ModuleType("datasets")
    module.load_dataset = load  # type: ignore[attr-defined]
    module.get_dataset_config_names = lambda repository: ["law", "physics"]  # type: ignore[attr-defined]
    return module


def test_sets_of_the_hub_take_our_form(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(HUB_ROWS) == set(HUB_SETS)
    for name, row in HUB_ROWS.items():
        repository = HUB_SETS[name].repository
        monkeypatch.setitem(
            sys.modules, "datasets", library(lambda asked, config, split, row=row: [row, row] if asked else [])
        )
        items = load_items(name, None, 0, None)
        assert len(items) == (4 if name == "ceval" else 2), repository
        item = items[0]
        expected = {
            "gsm8k": "1200",
            "boolq": "yes",
            "math500": "\\frac{1}{2}",
            "mmlu": "C",
            "mmlu_pro": "C",
            "ceval": "C",
        }
        if name == "truthfulqa":
            assert item.choices is not None
            assert item.choices["ABC".index(item.answer)] == "right"
        else:
            assert item.answer == expected[name]


def test_a_hub_out_of_reach_or_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no route\nto the host")

    monkeypatch.setitem(sys.modules, "datasets", library(fail))
    with pytest.raises(ModelUnavailable, match=r"gsm8k could not be fetched .*no route\); .*--data") as error:
        load_items("gsm8k", None, 0, None)
    assert "\n" not in str(error.value)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"gsm8k .*--data DIR\) needs datasets: pip install 'datasets>="):
        load_items("gsm8k", None, 0, None)
    with pytest.raises(UsageError, match="unknown set 'gsm9k'"):
        load_items("gsm9k", None, 0, None)


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (Item("i", "q", "B", ("a", "b", "c")), "choice:3"),
        (Item("i", "q", "yes"), "boolean"),
        (Item("i", "q", "-646"), "number"),
        (Item("i", "q", "1,234.5"), "number"),
        (Item("i", "q", "12/25"), "number"),
        (Item("i", "q", "12/25/1937"), "date"),
        (Item("i", "q", "\\left( 3, \\frac{\\pi}{2} \\right)"), "math"),
        (Item("i", "q", "x^2+1"), "math"),
    ],
)
def test_the_kind_of_answer_is_told_by_the_right_one(item: Item, kind: str) -> None:
    assert kind_of(item) == kind


def test_prompts_have_the_material_and_ask_for_the_fixed_form() -> None:
    choice = prompt_of(Item("i", "Which one?", "B", ("first", "second"), "A passage."), "restate")
    assert choice.index("A passage.") < choice.index("Which one?") < choice.index("A. first\nB. second")
    assert choice.endswith("The answer is <letter>.")
    assert prompt_of(Item("i", "2+2", "4"), "bare") == "2+2"
    assert "The answer is <number>." in prompt_of(Item("i", "2+2", "4"), "brief")


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ("3 + 4 = <<3+4=7>>7.\n#### 7", "number", "The answer is 7."),
        ("#### -19", "number", "#### -19"),
        ("1937-12-25", "date", "The answer is December 25, 1937."),
        ("December 25, 1937", "date", "The answer is 12/25/1937."),
        ("12/25/1937", "date", "The answer is 25 December 1937."),
        ("1937年12月25日", "date", "12/25/1937"),
        ("$72", "math", "72 dollars"),
        (
            "x^8 + x^7 + x^6 + x^5 + x^4 + x^3 + x^2 + x + 1",
            "math",
            "$x^8 + x^7 + x^6 + x^5 + x^4 + x^3 + x^2 + x + 1$",
        ),
    ],
)
def test_the_key_in_another_form_is_right(answer: str, kind: str, said: str) -> None:
    (item,) = read_rows([("line 1", {"id": "1", "question": "?", "answer": answer})], "own.jsonl")
    assert kind_of(item) == kind
    assert same(extract(said, kind) or "", item.answer, kind)


@pytest.mark.parametrize(
    "answer",
    [
        "She sells 9 eggs.\nSo she has 18 dollars.",
        "Janet has 16 eggs and she eats three of them, so that she sells the nine others for two dollars each.",
        "1/0",
        "####",
        "$ $",
    ],
)
def test_a_key_that_no_answer_can_meet_is_refused(answer: str) -> None:
    good = {"id": "1", "question": "?", "answer": "7"}
    with pytest.raises(UsageError, match=r"own.jsonl, line 3: the answer"):
        read_rows([("line 1", good), ("line 3", good | {"id": "2", "answer": answer})], "own.jsonl")
