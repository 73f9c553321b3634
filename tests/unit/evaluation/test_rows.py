"""Rows as people write them: keys, kinds of answers, tables; and the line, the key and the mend of what is refused."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tokencollab.errors import UsageError
from tokencollab.evaluation.data_sets import load_items
from tokencollab.evaluation.items import Item, kind_of
from tokencollab.evaluation.rows import read_map, read_rows

COLOURS = ["red", "blue", "green"]


def placed(*rows: object) -> list[tuple[str, object]]:
    return [(f"line {number}", row) for number, row in enumerate(rows, start=1)]


def choice(answer: object, choices: Sequence[object] = COLOURS) -> dict[str, Any]:
    return {"question": "Which?", "choices": list(choices), "answer": answer}


def letters(*rows: dict[str, Any]) -> list[str]:
    return [item.answer for item in read_rows(placed(*rows), "own.jsonl")]


@pytest.mark.parametrize(
    ("answer", "text", "kind"),
    [
        (17, "17", "number"),
        (4.0, "4", "number"),
        (0.1, "0.1", "number"),
        (1e-7, "0.0000001", "number"),
        (-3.50, "-3.5", "number"),
        (10**15, "1000000000000000", "number"),
        (True, "yes", "boolean"),
        (False, "no", "boolean"),
        ("Paris", "Paris", "math"),
    ],
)
def test_an_open_answer_may_be_a_number_or_a_truth_value(answer: object, text: str, kind: str) -> None:
    (item,) = read_rows(placed({"question": "?", "answer": answer}), "own.jsonl")
    assert (item.id, item.answer, kind_of(item)) == ("1", text, kind)


@pytest.mark.parametrize(
    ("answers", "choices", "expected"),
    [
        (["B", "C"], COLOURS, "BC"),
        (["b", "(C)"], COLOURS, "BC"),
        ([1, 0], COLOURS, "BA"),
        (["1", "2"], COLOURS, "BC"),  # cells of a table
        (["blue", " Green "], COLOURS, "BC"),
        (["blue", 2, "A"], COLOURS, "BCA"),  # no form fits all, and each row has one reading
        ([4, 5], [3, 4, 5], "BC"),  # 4 and 5 are no indices here
        (["yes", "no"], ["yes", "no"], "AB"),
        ([True, False], ["yes", "no"], "AB"),
        ([True, False], ["False", "True"], "BA"),
        (["A", "C"], ["C", "A", "B"], None),  # letters or texts
        ([1, 0], ["0", "1"], "BA"),  # both readings agree
        ([1, 0], ["1", "0"], None),
    ],
)
def test_the_answer_of_a_multiple_choice_is_a_letter_an_index_or_a_text(
    answers: list[object], choices: list[object], expected: str | None
) -> None:
    rows = [choice(answer, choices) for answer in answers]
    if expected is not None:
        assert "".join(letters(*rows)) == expected
        return
    with pytest.raises(UsageError, match=r"^own.jsonl, line 1: answer '.' is by its .* or by its text .*; give the "):
        letters(*rows)


def test_a_form_that_fits_every_row_decides_for_the_rows_that_are_not_clear() -> None:
    assert letters(choice("A", ["C", "A"]), choice("B")) == ["A", "B"]  # B is no text of the second row: letters
    assert letters(choice(1, ["1", "0"]), choice(2)) == ["B", "C"]  # indices
    assert letters(choice("0", ["1", "0"]), choice("red")) == ["B", "A"]  # texts
    with pytest.raises(UsageError, match=r"line 1: answer '1' is by its index '0' or by its text '1'; give the letter"):
        letters(choice(1, ["1", "0"]))
    with pytest.raises(UsageError, match=r"give the index \(0, 1, \.\.\.\) of the option in every row"):
        letters(choice("A", ["B", "A"]))


def test_two_equal_options_are_no_reading_of_their_text() -> None:
    with pytest.raises(UsageError, match=r"line 1: the answer must be .* the text of one option"):
        letters(choice("red", ["red", "red"]))


def test_many_indices_without_a_zero_are_told() -> None:
    said: list[str] = []
    rows = placed(*[choice(1 + number % 2) for number in range(20)])
    read_rows(rows, "own.jsonl", say=said.append)
    assert said == ["own.jsonl: of 20 answers none is 0; they are taken as indices from 0 (the first option)"]
    read_rows([*rows, ("line 21", choice(0))], "own.jsonl", say=said.append)
    read_rows(placed(*[choice("B")] * 30), "own.jsonl", say=said.append)
    assert len(said) == 1


@pytest.mark.parametrize(
    ("row", "mapping", "reason"),
    [
        ({"prompt": "?", "label": 3}, "", "there is no key 'question'; there are 'prompt', 'label': say which "
         "one it is by --map question=prompt,answer=label"),
        ({"question": "?", "gold": 3}, "", "there is no key 'answer'; .* --map answer=gold"),
        ({"question": "?", "x": 3}, "", "there is no key 'answer'; there are 'question', 'x': .* --map answer=KEY"),
        ({"q": "?", "target": 3}, "question=q", "no key 'answer'; .* --map question=q,answer=target"),
        ({"q": "?", "answer": 3}, "question=p", "no key 'p'; there are 'q', 'answer': .* --map question=KEY"),
        (choice("grey") | {"label": "grey"}, "answer=label", "the label must be a letter from A to C, .* not \"grey\""),
        ({"q": 7, "answer": 3}, "question=q", "q must be a text, not 7"),
        ({"question": "?", "label": [1]}, "answer=label", r"label must be a text, a number, true or false, not \[1\]"),
        ({"question": "?", "label": "so it is 3 + 4 = 7"}, "answer=label", "the label '.*' has more in it"),
        ({"question": "?", "answer": "B", "options": ["x", "y"]}, "", "it has options that would not be shown; add "
         "--map choices=options, or --map choices= for none"),
        ({"question": "?", "answer": "B", "A": "x", "B": "y", "C": "z"}, "", "--map choices=A[+]B[+]C, or"),
        ({"question": "?", "answer": "yes", "passage": "It is."}, "", "a passage .* add --map context=passage, or"),
        ({"question": "?", "answer": "B", "A": "x"}, "choices=A+B", "there is no key 'B', which --map names"),
        ({}, "", "there is no key 'question'; there are none"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_with_the_way_to_say_where_it_is(row: object, mapping: str, reason: str) -> None:
    with pytest.raises(UsageError, match=f"^own.jsonl, line 1: .*{reason}") as error:
        read_rows(placed(row), "own.jsonl", read_map(mapping) if mapping else None)
    assert "\n" not in str(error.value)


def test_keys_of_other_names_are_read_and_may_be_left_alone() -> None:
    row = {"q": "Which?", "A": "x", "B": "y", "C": None, "label": "y", "passage": "P", "id": "same"}
    mapping = read_map("question=q,answer=label,choices=A+B+C,context=,id=")
    items = read_rows(placed(row, row), "own.jsonl", mapping)
    assert [(i.id, i.question, i.answer, i.choices, i.context) for i in items] == [
        (number, "Which?", "B", ("x", "y"), None) for number in ("1", "2")
    ]
    assert items[0].row == row


@pytest.mark.parametrize("text", ["", "question", "colour=red", "question=a,question=b", "question=a;answer=b,"])
def test_a_map_that_is_none_says_how_it_is_written(text: str) -> None:
    with pytest.raises(UsageError, match="is not of the form question=KEY,answer=KEY"):
        read_map(text)


def test_an_id_may_be_a_number_and_is_there_once() -> None:
    rows = placed({"id": 0, "question": "?", "answer": 1}, {"question": "?", "answer": 1})
    assert [item.id for item in read_rows(rows, "own.jsonl")] == ["0", "2"]
    with pytest.raises(UsageError, match=r"line 2: id '0' occurs twice, also in line 1; give each row its own"):
        read_rows(placed(rows[0][1], {"id": "0", "question": "?", "answer": 1}), "own.jsonl")


def test_a_grader_of_one_s_own_may_compare_anything() -> None:
    text = "She sells 9 eggs.\nSo she has 18 dollars."
    rows = placed(
        {"question": "?", "answer": text}, {"question": "?", "tests": [1, 2]}, {"question": "?", "choices": ["a", "b"]}
    )
    items = read_rows(rows, "own.jsonl", checked=False)
    assert [item.answer for item in items] == [text, "", ""]
    assert items[1].row == {"question": "?", "tests": [1, 2]}


def test_a_table_is_read_as_texts_with_the_lines_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text(
        '\ufeffid,question,answer,context\n\n007,"Two lines,\nit says ""so""",NA,\n,What?,1.50,"a,b"\n',
        encoding="utf-8",
    )
    items = {item.id: item for item in load_items(str(file), None, 0, None)}
    assert items["007"].question == 'Two lines,\nit says "so"'
    assert (items["007"].answer, items["007"].context) == ("NA", None)  # no NaN
    assert (items["5"].answer, items["5"].context) == ("1.50", "a,b")  # the id is the line in the file
    file.with_suffix(".tsv").write_text('question\tchoices\tanswer\nWhich, then?\t["red", "blue"]\tblue\n')
    (item,) = load_items("own.tsv", None, 0, str(tmp_path))
    assert (item.question, item.choices, item.answer) == ("Which, then?", ("red", "blue"), "B")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('question,answer\n"a\nb",1\n\nc\n', "line 5: 1 cells, and the first line names 2 columns"),
        ("question,answer\nWhich, then,1\n", "line 2: 3 cells"),
        ("question,answer,answer\na,1,2\n", "line 1: the column 'answer' is there twice"),
        ('question,answer\na,1\n"a"b,1\n', "line 3: no row of a table"),
        ('question,answer\na,1\n"a,1\n', "line 3: no row of a table"),
        ("question;answer\na;1\n", "line 2: there is no key 'question'; there are 'question;answer'"),
        ("question,answer\n\n ,1\n", "line 3: question is empty"),
        ("question,answer\n", "has no items"),
        ("", "has no items"),
    ],
)
def test_a_table_that_cannot_be_read_is_named_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(UsageError, match=f"^own.csv,? .*{reason}") as error:
        load_items(str(tmp_path / "own.csv"), None, 0, None)
    assert "\n" not in str(error.value)


def test_parquet_has_values_as_they_are(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [
        {"question": "Which?", "choices": ["red", "blue"], "answer": 1, "context": None},
        {"question": "Which?", "choices": ["red", "green"], "answer": 0, "context": "C"},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "own.parquet")
    items = sorted(load_items("own", None, 0, str(tmp_path)), key=lambda item: item.id)
    assert [(item.id, item.answer, item.context) for item in items] == [("1", "B", None), ("2", "A", "C")]
    rows[1]["answer"] = 2
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "own.parquet")
    with pytest.raises(UsageError, match=r"^own.parquet, row 2: the answer must be a letter from A to B"):
        load_items("own", None, 0, str(tmp_path))
    (tmp_path / "own.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(UsageError, match=r"own\.parquet") as error:
        load_items("own", None, 0, str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_name_that_two_files_have_and_a_file_of_another_kind(tmp_path: Path) -> None:
    for name in ("own.csv", "own.jsonl", "own.json"):
        (tmp_path / name).write_text('{"question": "?", "answer": 1}\n')
    with pytest.raises(UsageError, match=r"has own.csv and own.jsonl; give the whole name"):
        load_items("own", None, 0, str(tmp_path))
    assert load_items("own.jsonl", None, 0, str(tmp_path))
    with pytest.raises(UsageError, match=r"a data set is a file that ends in .jsonl, .csv, .tsv, .parquet"):
        load_items(str(tmp_path / "own.json"), None, 0, None)


def own_rows() -> Any:
    yield {"question": "1+1", "answer": 2}
    yield Item("other", "2+2", "4")


OWN_LIST = [{"question": "1+1", "answer": 2}]
A_TEXT = "rows"


def failing() -> Any:
    yield {"question": "1+1", "answer": 2}
    raise LookupError("no\nmore")


def test_rows_of_a_function_of_one_s_own() -> None:
    items = load_items(f"{__name__}:own_rows", None, 0, None)
    assert {(item.id, item.question, item.answer) for item in items} == {("1", "1+1", "2"), ("other", "2+2", "4")}
    assert [item.answer for item in load_items(f"{__name__}:OWN_LIST", None, 0, None)] == ["2"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("A_TEXT", "must be a function that gives rows, or a list of them"),
        ("failing", "fails: LookupError: no"),
        ("nothing", "the module has no nothing"),
    ],
)
def test_a_data_set_of_one_s_own_that_is_none_is_one_line(name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        load_items(f"{__name__}:{name}", None, 0, None)
    with pytest.raises(UsageError, match=r"no_such_module:x cannot be imported: ModuleNotFoundError"):
        load_items("no_such_module:x", None, 0, None)


def test_rows_that_are_json_in_every_way_never_raise_anything_else(tmp_path: Path) -> None:
    values: list[object] = [None, True, 0, 1.5, "", "x", [], ["a", "b"], {}, {"text": ["a"]}, "\x1b[2J"]
    for key in ("id", "question", "answer", "choices", "context"):
        for value in values:
            row = {"question": "?", "answer": "A", key: value}
            (tmp_path / "own.jsonl").write_text(json.dumps(row))
            try:
                load_items("own", None, 0, str(tmp_path))
            except UsageError as error:
                assert str(error).startswith("own.jsonl, line 1: ")  # noqa: PT017 - some are fine
