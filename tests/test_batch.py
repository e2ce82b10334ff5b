"""Tests of batch: files of every format, bad rows, ends in the middle; `mlib.predict` is what it is held against."""

import csv
import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from conftest import ENVIRONMENT, ROOT, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mlib
import utilscli
from core.signature import MISSING
from toolkit import batch
from toolkit.output import OutputError, ResumeError

FORMATS = ["csv", "csv.gz", "jsonl", "jsonl.gz", "parquet"]
WORDS = [
    "plain",
    "a, b",
    'say "hi"',
    "two\nlines",
    " blanks ",
    "größe",
    "",
    "null",
    "\\",
    "1,5",
    "'",
    "tab\there",
    "😀",
]


@pytest.fixture(name="mixed", scope="session")
def _mixed(tmp_path_factory):
    """The path of a model of a number with gaps, a category, one of numbers, true and false, and a date."""
    folder = tmp_path_factory.mktemp("mixed")
    generator = np.random.default_rng(0)
    n = 400
    table = pd.DataFrame(
        {
            "x": np.where(generator.random(n) < 0.1, np.nan, generator.normal(10, 3, n).round(2)),
            "g": generator.choice(["a", "b", "Köln, am Rhein"], n),
            "k": generator.choice([10, 11, 12], n),
            "b": generator.choice(["yes", "no"], n),
            "d": pd.date_range("2020-01-01", periods=n, freq="29h").strftime("%Y-%m-%d"),
        }
    )
    table["y"] = table["x"].fillna(10) * 2 + (table["g"] == "a") * 3 + table["k"] + generator.normal(0, 0.1, n)
    table.to_csv(folder / "mixed.csv", index=False)
    mlib.retrain(data=folder / "mixed.csv", target="y", category=["k"], model_name=folder / "mixed.joblib")
    return folder / "mixed.joblib"


@pytest.fixture(name="species", scope="session")
def _species(tmp_path_factory):
    """The path of a model of three classes."""
    folder = tmp_path_factory.mktemp("species")
    generator = np.random.default_rng(0)
    kind = generator.choice(["oak", "elm", "ash, common"], 300)
    height = generator.normal(10, 1, 300) + (kind == "oak") * 4 + (kind == "elm") * 8
    pd.DataFrame({"height": height.round(2), "kind": kind}).to_csv(folder / "trees.csv", index=False)
    mlib.retrain(data=folder / "trees.csv", target="kind", model_name=folder / "trees.joblib")
    return folder / "trees.joblib"


def write(path, rows, columns):
    """Write rows of texts as CSV, of JSON values as JSON lines, or of typed columns as Parquet; packed by its name."""
    name = str(path).removesuffix(".gz")
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows, pa.schema(columns) if isinstance(columns, dict) else None), path)
        return path
    if name.endswith(".csv"):
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([list(columns), *([row.get(column, "") for column in columns] for row in rows)])
        content = text.getvalue()
    else:
        content = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(content.encode()) if str(path).endswith(".gz") else content.encode())
    return path


def read(path):
    """Read rows back, without the code that is tested: CSV as texts."""
    name = str(path)
    if name.endswith(".parquet"):
        return pq.read_table(path).to_pylist()
    content = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    text = content.decode()
    if name.removesuffix(".gz").endswith(".csv"):
        return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    return [json.loads(line) for line in text.splitlines()]


def rejects(path):
    """Read the rejects of an output."""
    found = Path(f"{path}.rejects.jsonl")
    return [json.loads(line) for line in found.read_text(encoding="utf-8").splitlines()] if found.exists() else []


def expected(model, rows, **options):
    """What `mlib.predict` answers each row, and the rows (from 1) and fields that it refuses."""
    signature, answers, refused = mlib.Signature.read(model), [], []
    loaded = mlib.load_model(model)
    names = {feature.name for feature in signature.features}
    for number, row in enumerate(rows, 1):
        row = {name: value for name, value in row.items() if name in names}
        values, errors = signature.check(row)
        refused += [{"row": number, **error} for error in errors]
        answers.append(None if errors else mlib.predict(row, loaded, **options))
        del values
    return answers, refused


# ------------------------------------------------------------------------------------- the same as mlib.predict


def cells(texts):
    """Any of them."""
    return st.sampled_from(texts)


TEXTS = {
    "x": ["10", "9.5", " 8 ", "", "NA", "nan", "-3", "1e1", "1e300", "inf", "-Infinity", "heavy", "1_0", "0x10", "1,5",
          ".5", "5.", "+7", "12345678901234567890", "1e-400", "١٠", "--1", "1 2", "Infinity", "-nan", "None",
          "1e5", "9" * 30],
    "g": ["a", "b", "Köln, am Rhein", " a", "c", "", "NA", "A", "1"],
    "k": ["10", "11.0", "12", "13", "", "ten", " 10 ", "1e1"],
    "b": ["yes", "no", "TRUE", "0", "1", "1.0", "2", "", "maybe", "f"],
    "d": ["2020-03-01", "2020-03-01 12:30", "2020-03-01T12:30:00Z", "soon", "", "2020-02-30", "1800-01-01", "20200301",
          "NA", "2020-03-01T12:30:00+02:00", "2020-W10-1", "2020-3-1"],
}  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.fixed_dictionaries({name: cells(texts) for name, texts in TEXTS.items()} | {"w": cells(WORDS)}),
        min_size=1,
        max_size=9,
    ),
    st.sampled_from([1, 2, 1000]),
)
def test_rows_of_csv_are_answered_and_refused_as_by_predict(mixed, tmp_path, rows, chunk_rows):
    path = write(tmp_path / "in.csv", rows, [*TEXTS, "w"])
    summary = batch.score_file(path, tmp_path / "out.csv", mixed, chunk_rows=chunk_rows)
    signature = mlib.Signature.read(mixed)
    answers, refused = expected(mixed, [signature.parse_row(row) for row in rows])
    found = read(tmp_path / "out.csv")
    assert [{name: row[name] for name in row if name != "y"} for row in found] == rows
    for row, answer in zip(found, answers, strict=True):
        assert (row["y"] == "") if answer is None else float(row["y"]) == pytest.approx(answer["y"], rel=1e-12)
    told = rejects(tmp_path / "out.csv")
    assert [{name: each[name] for name in ("row", "field", "got", "expected")} for each in told] == refused
    assert (summary.rows, summary.rejects) == (len(rows), len({each["row"] for each in refused}))


VALUES = {
    "x": [10, 9.5, None, -3, "10", True, 1e300, 10**400, [1], {"a": 1}, "heavy", ""],
    "g": ["a", "b", "c", None, 1, True, [], ""],
    "k": [10, 11.0, "12", 13, None, 10.5, "ten", True],
    "b": [True, False, 1, 0, 2, "yes", "no", None, "maybe"],
    "d": ["2020-03-01", "2020-03-01T12:30:00", "soon", None, 5, "2020-03-01T00:00:00+02:00"],
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.fixed_dictionaries(
            {name: cells(values) for name, values in VALUES.items()} | {"w": cells([*WORDS, None, 1, [1, {"a": 2}]])}
        ),
        min_size=1,
        max_size=9,
    ),
    st.sampled_from([1, 2, 1000]),
)
def test_rows_of_json_lines_are_answered_and_refused_as_by_predict(mixed, tmp_path, rows, chunk_rows):
    path = write(tmp_path / "in.jsonl", rows, None)
    batch.score_file(path, tmp_path / "out.jsonl", mixed, chunk_rows=chunk_rows)
    signature = mlib.Signature.read(mixed)
    answers, refused = expected(mixed, [signature.parse_row(row) for row in rows])
    found = read(tmp_path / "out.jsonl")
    assert [{name: row[name] for name in row if name != "y"} for row in found] == rows
    for row, answer in zip(found, answers, strict=True):
        assert row["y"] is None if answer is None else row["y"] == pytest.approx(answer["y"], rel=1e-12)
    told = rejects(tmp_path / "out.jsonl")
    assert [{name: each[name] for name in ("row", "field", "got", "expected")} for each in told] == refused


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "x": st.none() | st.floats(-100, 100) | st.just(1e300),
                "g": cells(["a", "b", "c", None]),
                "k": cells([10, 11, 12, 13, None]),
                "b": cells([True, False, None]),
                "d": st.none() | st.datetimes(pd.Timestamp("2019-01-01"), pd.Timestamp("2022-01-01")),
            }
        ),
        min_size=1,
        max_size=9,
    )
)
def test_rows_of_parquet_are_answered_and_refused_as_by_predict(mixed, tmp_path, rows):
    types = {"x": pa.float64(), "g": pa.string(), "k": pa.int64(), "b": pa.bool_(), "d": pa.timestamp("us")}
    path = write(tmp_path / "in.parquet", rows, types)
    batch.score_file(path, tmp_path / "out.parquet", mixed)
    answers, refused = expected(mixed, rows)
    found = read(tmp_path / "out.parquet")
    assert [{name: row[name] for name in types} for row in found] == rows
    for row, answer in zip(found, answers, strict=True):
        assert row["y"] is None if answer is None else row["y"] == pytest.approx(answer["y"], rel=1e-12)
    assert [(each["row"], each["field"]) for each in rejects(tmp_path / "out.parquet")] == [
        (each["row"], each["field"]) for each in refused
    ]


def test_interval_and_warnings_are_those_of_predict(model, tmp_path):
    weights = [145, 180.5, 300, 301, 400.25]
    path = write(tmp_path / "in.jsonl", [{"Weight": weight} for weight in weights], None)
    batch.score_file(path, tmp_path / "out.jsonl", model, interval=True, warnings=True)
    for row, weight in zip(read(tmp_path / "out.jsonl"), weights, strict=True):
        answer = mlib.predict({"Weight": weight}, model, interval=True)
        warnings = "; ".join(map(mlib.problem_text, answer.get("warnings", []))) or None
        assert row == {
            "Weight": weight,
            "height_inches": answer["height_inches"],
            "height_human_readable": answer["height_human_readable"],
            "interval_low": answer["interval"]["low"],
            "interval_high": answer["interval"]["high"],
            "warnings": warnings,
        }


def test_classes_come_with_the_probability_of_each(species, tmp_path):
    heights = [9.0, 12.1, 14.0, 18.5]
    path = write(tmp_path / "in.csv", [{"height": height} for height in heights], ["height"])
    summary = batch.score_file(path, tmp_path / "out.csv", species)
    told = []
    for row, height in zip(read(tmp_path / "out.csv"), heights, strict=True):
        answer = mlib.predict({"height": height}, species)
        assert row["kind"] == answer["kind"]
        told.append(answer["kind"])
        for name, probability in answer["probabilities"].items():
            assert float(row[f"probability_{name}"]) == pytest.approx(probability, abs=1e-12)
    assert summary.counts == {name: told.count(name) for name in ("ash, common", "elm", "oak")}


# ------------------------------------------------------------------------------------------- formats and columns


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_every_format_becomes_every_other(mixed, tmp_path, source, to):
    """The numbers stay numbers; what is no feature stays text where it comes from CSV."""
    rows = [
        {"x": 10.5, "g": "a", "k": 10, "b": True, "d": "2020-03-01", "w": word} for word in WORDS if word not in MISSING
    ]
    texts = [{**row, "b": "yes", "x": "10.5", "k": "10"} for row in rows]
    given_ = texts if source.startswith("csv") else rows
    path = write(tmp_path / f"in.{source}", given_, list(rows[0]) if source.startswith("csv") else None)
    summary = batch.score_file(path, tmp_path / f"out.{to}", mixed, chunk_rows=3)
    assert (summary.rows, summary.rejects) == (len(rows), 0)
    answer = mlib.predict({name: rows[0][name] for name in "xgkbd"}, mixed)["y"]
    found = read(tmp_path / f"out.{to}")
    assert [row["w"] for row in found] == [row["w"] for row in rows]
    for row in found:
        assert float(row["x"]) == 10.5
        assert float(row["y"]) == pytest.approx(answer, rel=1e-12)
        assert str(row["k"]) in ("10", "10.0")
        assert row["d"] == "2020-03-01"


def test_the_columns_are_chosen(model, tmp_path):
    path = write(tmp_path / "in.csv", [{"Name": "Joe", "Weight": "180", "Age": "30"}], ["Name", "Weight", "Age"])

    def columns(**options):
        batch.score_file(path, tmp_path / "out.csv", model, **options)
        return list(read(tmp_path / "out.csv")[0])

    assert columns() == ["Name", "Weight", "Age", "height_inches", "height_human_readable"]
    assert columns(only=["height_inches"]) == ["Name", "Weight", "Age", "height_inches"]
    assert columns(keep=["Age", "Name"]) == ["Age", "Name", "height_inches", "height_human_readable"]
    assert columns(keep=[], only=["height_human_readable"]) == ["height_human_readable"]
    assert columns(keep=["Name"], only=["height_inches"]) == ["Name", "height_inches"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keep": ["Nmae"]}, "There is no column of .*in.csv 'Nmae'. Did you mean Name?"),
        ({"only": ["height"]}, "There is no key of the answer 'height'. Did you mean height_inches?"),
        ({"only": ["warnings"]}, "There are: height_inches, height_human_readable."),
    ],
)
def test_a_column_that_is_not_there_is_refused(model, tmp_path, options, says):
    path = write(tmp_path / "in.csv", [{"Name": "Joe", "Weight": "180"}], ["Name", "Weight"])
    with pytest.raises(mlib.OptionError, match=says.replace("?", r"\?")):
        batch.score_file(path, tmp_path / "out.csv", model, **options)
    assert not list(tmp_path.glob("out*"))


def test_a_scored_file_is_scored_again_only_without_its_answers(model, tmp_path):
    path = write(tmp_path / "in.csv", [{"Weight": "180"}], ["Weight"])
    batch.score_file(path, tmp_path / "once.csv", model)
    with pytest.raises(mlib.DataError, match="has a column 'height_inches' already"):
        batch.score_file(tmp_path / "once.csv", tmp_path / "twice.csv", model)
    batch.score_file(tmp_path / "once.csv", tmp_path / "twice.csv", model, keep=["Weight"])
    assert (tmp_path / "twice.csv").read_bytes() == (tmp_path / "once.csv").read_bytes()
    lines = tmp_path / "in.jsonl"
    lines.write_text('{"Weight": 180}\n' * 2000 + '{"Weight": 180, "height_inches": 1}\n')
    with pytest.raises(mlib.DataError, match="has rows with 'height_inches' already"):
        batch.score_file(lines, tmp_path / "out.jsonl", model)


def test_a_missing_feature_column_is_refused_with_the_nearest_name(model, tmp_path):
    path = write(tmp_path / "in.csv", [{"Wieght": "180"}], ["Wieght"])
    with pytest.raises(mlib.DataError, match=r"has no column 'Weight'. Did you mean Wieght\? It has: Wieght."):
        batch.score_file(path, tmp_path / "out.csv", model)


@pytest.mark.parametrize(
    "content",
    [
        "Name;Weight\nJoe;180,5\nLee;200\n",
        "Name\tWeight\nJoe\t180.5\nLee\t200\n",
        "\ufeffName,Weight\nJoe,180.5\nLee,200\n",
        "Name,Weight\r\nJoe,180.5\r\nLee,200\r\n",
        "\n\nName,Weight\n\nJoe,180.5\n\nLee,200",
        '"Name","Weight"\n"Joe","180.5"\n"Lee","200"',
        "Name|Weight|\nJoe|180.5|\nLee|200|\n",
        "Name,Weight\nJoe, 180.5 \nLee,200,\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_csv_of_many_kinds_is_read(model, tmp_path, content, encoding):
    path = tmp_path / "in.csv"
    path.write_bytes(content.removeprefix("\ufeff" if encoding == "utf-16" else "").encode(encoding))
    batch.score_file(path, tmp_path / "out.parquet", model)
    found = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [(row["Name"], row["Weight"]) for row in found] == [("Joe", 180.5), ("Lee", 200)]
    assert [row["height_inches"] for row in found] == [mlib.predict(w, model)["height_inches"] for w in (180.5, 200)]


def test_csv_with_semicolons_and_decimal_commas_stays_so(model, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("Name;Weight\nJoe;180,5\n")
    batch.score_file(path, tmp_path / "out.csv", model, only=["height_inches"])
    told = str(mlib.predict(180.5, model)["height_inches"]).replace(".", ",")
    assert (tmp_path / "out.csv").read_text() == f"Name;Weight;height_inches\nJoe;180,5;{told}\n"


def test_the_encoding_is_told_or_given(model, tmp_path):
    path, notices = tmp_path / "in.csv", []
    path.write_bytes("Name,Weight\nJosé,180\nRené,200\n".encode("cp1252"))
    batch.score_file(path, tmp_path / "out.csv", model, notice=notices.append)
    assert [row["Name"] for row in read(tmp_path / "out.csv")] == ["José", "René"]
    assert notices == [f"{path} is no UTF-8; it was read as cp1252."]
    path.write_bytes("Name,Weight\nŁukasz,180\n".encode("cp1250"))
    batch.score_file(path, tmp_path / "out.csv", model, encoding="cp1250")
    assert read(tmp_path / "out.csv")[0]["Name"] == "Łukasz"
    with pytest.raises(mlib.OptionError, match="There is no encoding 'klingon'"):
        batch.score_file(path, tmp_path / "out.csv", model, encoding="klingon")


def test_a_folder_is_read_in_the_order_of_its_names(model, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for name, weight in {"b": 200, "a": 180, "c": 220, ".hidden": 1, "_SUCCESS": 2}.items():
        write(folder / f"{name}.csv", [{"Weight": str(weight)}], ["Weight"])
    summary = batch.score_file(folder, tmp_path / "out.jsonl", model)
    assert [row["Weight"] for row in read(tmp_path / "out.jsonl")] == [180, 200, 220]
    assert summary.rows == 3
    write(folder / "d.csv", [{"Weight": "1", "Age": "2"}], ["Weight", "Age"])
    with pytest.raises(mlib.DataError, match="has another header than"):
        batch.score_file(folder, tmp_path / "out.jsonl", model)
    write(folder / "d.parquet", [{"Weight": 1}], None)
    with pytest.raises(mlib.DataError, match="has files of several formats"):
        batch.score_file(folder, tmp_path / "out.jsonl", model)


def test_a_folder_has_one_separator(model, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "a.csv").write_text("Name,Weight\nJoe,180\n")
    (folder / "b.csv").write_text("Name;Weight\nLee;200\n")
    with pytest.raises(mlib.DataError, match=r"b\.csv separates its columns by ';', and .*a\.csv by ','"):
        batch.score_file(folder, tmp_path / "out.csv", model)


def test_rejects_of_a_folder_name_their_file(model, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in "ab":
        write(folder / f"{name}.csv", [{"Weight": "180"}, {"Weight": f"no {name}"}], ["Weight"])
    batch.score_file(folder, tmp_path / "out.csv", model)
    assert [(each["file"], each["row"], each["line"], each["got"]) for each in rejects(tmp_path / "out.csv")] == [
        (str(folder / "a.csv"), 2, 3, "no a"),
        (str(folder / "b.csv"), 4, 3, "no b"),
    ]


@pytest.mark.parametrize("to", ["csv", "jsonl", "parquet"])
def test_a_file_without_rows_gives_one_without_rows(model, tmp_path, to):
    path = tmp_path / "in.csv"
    path.write_text("Weight\n")
    summary = batch.score_file(path, tmp_path / f"out.{to}", model)
    assert (summary.rows, summary.mean) == (0, None)
    assert read(tmp_path / f"out.{to}") == []
    if to == "csv":
        assert (tmp_path / "out.csv").read_text() == "Weight,height_inches,height_human_readable\n"


def test_an_empty_file_is_refused(model, tmp_path):
    for name in ("in.csv", "in.parquet"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(mlib.DataError, match=r"is empty|is no whole Parquet file"):
            batch.score_file(tmp_path / name, tmp_path / "out.csv", model)


def test_old_mac_line_ends_are_refused(model, tmp_path):
    (tmp_path / "in.csv").write_bytes(b"Weight\r180\r200\r")
    with pytest.raises(mlib.DataError, match=r"ends its lines with carriage returns alone, .* tr "):
        batch.score_file(tmp_path / "in.csv", tmp_path / "out.csv", model)


# ------------------------------------------------------------------------------------------------------ bad rows


def test_a_broken_row_is_told_by_its_line_and_stops_nothing(model, tmp_path):
    path = tmp_path / "in.csv"
    path.write_bytes(b'Name,Weight\n"two\nlines",180\nJoe,200,7\nShort\n\xff\xfe,190\n' + "Größe ü,210\n".encode())
    summary = batch.score_file(path, tmp_path / "out.csv", model, chunk_rows=2)
    assert [(each["line"], each["field"], each["got"]) for each in rejects(tmp_path / "out.csv")] == [
        (4, "(row)", "3 fields"),
        (5, "Weight", None),
        (6, "(row)", "bytes that are no text"),
    ]
    assert (summary.rows, summary.rejects) == (5, 3)
    assert [row["height_inches"] != "" for row in read(tmp_path / "out.csv")] == [True, False, False, False, True]


def test_a_byte_that_is_none_of_a_given_encoding_costs_its_row_alone(model, tmp_path):
    path = tmp_path / "in.csv"
    path.write_bytes("Name,Weight\nJosé,180\nX".encode("cp1252") + b"\x81,190\nRen\xe9,200\n")
    batch.score_file(path, tmp_path / "out.csv", model, encoding="cp1252")
    assert [(each["line"], each["got"]) for each in rejects(tmp_path / "out.csv")] == [(3, "bytes that are no text")]
    assert [row["height_inches"] != "" for row in read(tmp_path / "out.csv")] == [True, False, True]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("before", [1, 200_000])
def test_a_nul_byte_costs_its_row_alone_wherever_it_is(model, tmp_path, kind, before):
    row = {"csv": b"180\n", "jsonl": b'{"Weight": 180}\n'}[kind]
    path = tmp_path / f"in.{kind}"
    path.write_bytes(b"Weight\n" * (kind == "csv") + row * before + row.replace(b"8", b"8\0") + row * 2)
    summary = batch.score_file(path, tmp_path / f"out.{kind}", model)
    assert (summary.rows, summary.rejects) == (before + 3, 1)
    assert {each["row"] for each in rejects(tmp_path / f"out.{kind}")} == {before + 1}


@pytest.mark.parametrize("content", ["Weight\n180\n190\n".encode("utf-16-le"), b"Wei\0ght\n180\n190\n"])
def test_nul_bytes_that_are_not_of_single_rows_are_told(model, tmp_path, content):
    (tmp_path / "in.csv").write_bytes(content)
    with pytest.raises(mlib.DataError, match=r"in\.csv has a NUL byte \(line 1\)"):
        batch.score_file(tmp_path / "in.csv", tmp_path / "out.csv", model)


def test_lines_that_are_no_objects_are_told(model, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"Weight": 180}\n[1]\nnonsense\n{"Weight": NaN}\n{}\n  \n{"Weight": 200, "Weight": 1}\n{"Weight": 210}'
    )
    batch.score_file(path, tmp_path / "out.jsonl", model)
    assert [(each["line"], each["field"]) for each in rejects(tmp_path / "out.jsonl")] == [
        (2, "(row)"),
        (3, "(row)"),
        (4, "(row)"),
        (5, "Weight"),
        (7, "(row)"),
    ]
    found = read(tmp_path / "out.jsonl")
    assert [row.get("Weight") for row in found] == [180, None, None, None, None, None, 210]
    assert [row["height_inches"] is None for row in found] == [False, True, True, True, True, True, False]


@pytest.mark.parametrize(
    ("limit", "is_held"), [("0", False), ("1", False), ("2", True), ("19%", False), ("20%", True), ("100%", True)]
)
def test_more_rejects_than_allowed_write_nothing_but_them(model, tmp_path, limit, is_held):
    """Two of ten rows are bad."""
    path = write(tmp_path / "in.csv", [{"Weight": w} for w in ["180"] * 4 + ["x"] + ["200"] * 4 + [""]], ["Weight"])
    out = tmp_path / "out.csv"
    out.write_text("of yesterday")
    if is_held:
        batch.score_file(path, out, model, max_rejects=batch.Limit.parse(limit), chunk_rows=3)
        assert len(read(out)) == 10
    else:
        with pytest.raises(mlib.GateError, match=f"rejects, and {limit} were allowed"):
            batch.score_file(path, out, model, max_rejects=batch.Limit.parse(limit), chunk_rows=3)
        assert out.read_text() == "of yesterday"
    assert {each["row"] for each in rejects(out)} <= {5, 10}
    assert rejects(out)
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.parametrize("text", ["-1", "1.5", "many", "101%", "nan%", "%", ""])
def test_a_limit_that_cannot_be_is_refused(text):
    with pytest.raises(mlib.OptionError, match="is no limit of rejects"):
        batch.Limit.parse(text)


def test_the_rejects_of_an_earlier_output_go(model, tmp_path):
    path = write(tmp_path / "in.csv", [{"Weight": "x"}], ["Weight"])
    batch.score_file(path, tmp_path / "out.csv", model)
    assert rejects(tmp_path / "out.csv")
    write(path, [{"Weight": "180"}], ["Weight"])
    batch.score_file(path, tmp_path / "out.csv", model)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.csv", "out.csv"]


# ------------------------------------------------------------------------------- parts, cores and ends in between


def many(path, rows=5000):
    """Write a file of many rows, some of them bad."""
    generator = np.random.default_rng(1)
    weights = generator.uniform(100, 350, rows).round(2).astype(str).tolist()
    weights[7::501] = ["none at all"] * len(weights[7::501])
    names = generator.choice(WORDS, rows).tolist()
    given_ = [{"Name": name, "Weight": weight} for name, weight in zip(names, weights, strict=True)]
    if str(path).endswith(".parquet"):
        write(path, given_, {"Name": pa.string(), "Weight": pa.string()})
    else:
        write(path, given_, ["Name", "Weight"])
    return path


def contents(folder, out):
    """The bytes of an output and of its rejects."""
    return [(folder / name).read_bytes() for name in (out, f"{out}.rejects.jsonl")]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "csv.gz"])
def test_the_bytes_do_not_depend_on_the_cores(model, tmp_path, kind):
    path, found = many(tmp_path / f"in.{kind}"), []
    loaded = mlib.load_model(model)
    for threads in (1, 2, 7):

        def engine(plan, given_model, chunks, threads=threads):
            return batch.on_all_cores(plan, given_model, chunks, threads)

        batch.score_file(path, tmp_path / f"out.{kind}", loaded, chunk_rows=500, engine=engine)
        found.append(contents(tmp_path, f"out.{kind}"))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_the_bytes_do_not_depend_on_the_chunks(model, tmp_path, kind):
    """But of gzip and Parquet, where each chunk is a member or a row group."""
    path, found = many(tmp_path / f"in.{kind}"), []
    for parts in (1, 2, 7):
        batch.score_file(path, tmp_path / f"out.{kind}", model, chunk_rows=-(-5000 // parts))
        found.append(contents(tmp_path, f"out.{kind}"))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(("columns", "rows"), [(1, 131_072), (4, 131_072), (8, 65_536), (50, 10_485)])
def test_the_more_columns_there_are_the_fewer_rows_are_scored_at_a_time(model, tmp_path, columns, rows):
    """Or memory would grow with the columns; half a million cells are some 50 MB."""
    total = rows + 1
    numbers = pa.array([200.0] * total)
    pq.write_table(
        pa.table({"Weight": numbers} | {f"x{i}": numbers for i in range(1, columns)}), tmp_path / "in.parquet"
    )
    batch.score_file(tmp_path / "in.parquet", tmp_path / "out.parquet", model)
    found = pq.ParquetFile(tmp_path / "out.parquet").metadata
    assert [found.row_group(i).num_rows for i in range(found.num_row_groups)] == [rows, 1]


def test_however_many_columns_there_are_a_chunk_has_rows():
    assert batch.usual_rows(5000) == 8192
    assert batch.usual_rows(0) == 131_072


@pytest.mark.long
def test_ten_million_rows_are_each_answered_in_their_order(model, tmp_path):
    weights = np.random.default_rng(0).uniform(100, 350, 10_000_000)
    weights[::1_000_003] = np.nan
    pq.write_table(pa.table({"Weight": weights}), tmp_path / "in.parquet")
    summary = batch.score_file(tmp_path / "in.parquet", tmp_path / "out.parquet", model, only=["height_inches"])
    assert (summary.rows, summary.rejects) == (10_000_000, 10)
    found = pq.read_table(tmp_path / "out.parquet")
    assert np.array_equal(found["Weight"].to_numpy(), weights, equal_nan=True)
    low, high = mlib.load_model(model).predict(np.array([[100.0], [350.0]]))  # it is a line
    line = low + (high - low) * (weights - 100) / 250
    heights = found["height_inches"].to_numpy()
    assert np.array_equal(np.isnan(heights), np.isnan(weights))
    assert np.nanmax(np.abs(heights - line)) <= 0.005 + 1e-9  # they are rounded to hundredths


class EndedError(Exception):
    """Somebody ends the work."""


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "csv.gz", "jsonl.gz"])
@pytest.mark.parametrize("after", [1, 4, 10])
def test_what_was_ended_goes_on_to_the_same_bytes(model, tmp_path, kind, after):
    path = many(tmp_path / f"in.{kind}")
    batch.score_file(path, tmp_path / f"whole.{kind}", model, chunk_rows=500)
    told = []

    def end(progress):
        told.append(progress)
        if len(told) == after:
            raise EndedError

    out = tmp_path / f"out.{kind}"
    with pytest.raises(EndedError):
        batch.score_file(path, out, model, chunk_rows=500, progress=end)
    assert not out.exists()
    summary = batch.score_file(path, out, model, chunk_rows=500, resume=True)
    assert summary.resumed_rows == after * 500
    assert summary.rows == 5000
    assert contents(tmp_path, f"out.{kind}") == contents(tmp_path, f"whole.{kind}")
    assert not list(tmp_path.glob("*.part*"))


def begun(path, out, model, *, stop=0, chunk_rows=500):
    """Leave an output in the middle."""

    def end(progress):
        if progress.rows >= stop:
            raise EndedError

    with pytest.raises(EndedError):
        batch.score_file(path, out, model, chunk_rows=chunk_rows, progress=end)


@pytest.mark.parametrize("damage", ["cut", "flipped", "longer", "journal", "rejects", "no data", "no journal"])
def test_what_does_not_agree_with_the_journal_is_done_again(model, tmp_path, damage):
    path, out = many(tmp_path / "in.csv"), tmp_path / "out.csv"
    batch.score_file(path, tmp_path / "whole.csv", model, chunk_rows=500)
    begun(path, out, model)
    part = {"rejects": "out.csv.part.rejects", "journal": "out.csv.part.journal"}.get(damage, "out.csv.part")
    part = tmp_path / part
    content = part.read_bytes()
    if damage == "no data":
        part.unlink()
    elif damage == "no journal":
        (tmp_path / "out.csv.part.journal").unlink()
    elif damage == "flipped":
        part.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    elif damage == "longer":
        part.write_bytes(content + b"half a row")
    else:
        part.write_bytes(content[:-3])
    batch.score_file(path, out, model, chunk_rows=500, resume=True)
    assert contents(tmp_path, "out.csv") == contents(tmp_path, "whole.csv")


def test_only_the_same_work_is_gone_on_with(model, tmp_path):
    path, out = many(tmp_path / "in.csv"), tmp_path / "out.csv"
    begun(path, out, model)
    for options in (
        {"chunk_rows": 501},
        {"only": ["height_inches"], "chunk_rows": 500},
        {"interval": True, "chunk_rows": 500},
    ):
        with pytest.raises(ResumeError, match="was begun with another input, model, or other options"):
            batch.score_file(path, out, model, resume=True, **options)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"none at all", b"none at ALL"))
    with pytest.raises(ResumeError, match="was begun with another input"):
        batch.score_file(path, out, model, resume=True, chunk_rows=500)
    batch.score_file(path, out, model, chunk_rows=500)  # begins anew


@pytest.mark.parametrize("resume", [False, True])
def test_two_at_a_time_do_not_write_one_output(model, tmp_path, resume):
    path, out = many(tmp_path / "in.csv"), tmp_path / "out.csv"
    refused = []

    def again(_):
        with pytest.raises(OutputError, match=r"out\.csv is being written by another process") as error:
            batch.score_file(path, out, model, resume=resume)
        refused.append(error)

    assert batch.score_file(path, out, model, progress=again).rows == 5000
    assert refused


def test_to_resume_what_was_not_begun_begins_it(model, tmp_path):
    path = many(tmp_path / "in.csv")
    summary = batch.score_file(path, tmp_path / "out.csv", model, resume=True)
    assert (summary.rows, summary.resumed_rows) == (5000, 0)


def test_a_truncated_gzip_keeps_what_was_done(model, tmp_path):
    path, out = many(tmp_path / "in.csv.gz", 200_000), tmp_path / "out.csv"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(mlib.DataError, match="is gzip that is cut off"):
        batch.score_file(path, out, model, chunk_rows=500)
    assert not out.exists()
    assert len((tmp_path / "out.csv.part").read_bytes().splitlines()) > 5000


def test_a_truncated_parquet_file_is_refused(model, tmp_path):
    path = many(tmp_path / "in.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(mlib.DataError, match="is no whole Parquet file"):
        batch.score_file(path, tmp_path / "out.csv", model)


def test_damage_in_the_middle_of_a_parquet_file_keeps_what_was_done(model, tmp_path):
    path, out = tmp_path / "in.parquet", tmp_path / "out.csv"
    weights = np.random.default_rng(0).uniform(150, 250, 4000)
    pq.write_table(pa.table({"Weight": weights}), path, row_group_size=1000, compression="gzip", use_dictionary=False)
    content = bytearray(path.read_bytes())
    place = pq.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset
    content[place + 100 : place + 2000] = bytes(1900)
    path.write_bytes(content)
    with pytest.raises(mlib.DataError, match=r"in\.parquet"):
        batch.score_file(path, out, model, chunk_rows=1000)
    assert len((tmp_path / "out.csv.part").read_bytes().splitlines()) == 2001


def test_an_input_that_vanishes_keeps_what_was_done(model, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in "abc":
        many(folder / f"{name}.csv", 1000)

    def vanish(_):
        (folder / "c.csv").unlink(missing_ok=True)

    with pytest.raises(mlib.DataError, match=r"Cannot read .*c\.csv: No such file or directory"):
        batch.score_file(folder, tmp_path / "out.csv", model, chunk_rows=100, progress=vanish)
    assert (tmp_path / "out.csv.part").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_full_disk_is_one_line(model, tmp_path):
    path = many(tmp_path / "in.csv")
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [sys.executable, "utilscli.py", "batch", path, "-", "--model", model],
            cwd=ROOT, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, check=False, text=True,
        )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "Error: Cannot write the standard output: No space left on device."


def test_a_file_that_grows_too_large_is_one_line_and_goes_on(model, tmp_path):
    """The system allows files of 100,000 bytes: as a full disk does, it refuses in the middle."""
    path, out = many(tmp_path / "in.csv", 20_000), tmp_path / "out.csv"
    limit = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); import utilscli; utilscli.cli()"
    options = ["batch", path, out, "--model", model, "--chunk-rows", "500"]
    result = run(sys.executable, "-c", limit, *options)
    assert result.returncode == 1, result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"Error: Cannot write {out}: File too large. ")
    assert last.endswith(" rows are done and kept; --resume goes on behind them.")
    assert run(sys.executable, "utilscli.py", *options, "--resume").returncode == 0
    batch.score_file(path, tmp_path / "whole.csv", model, chunk_rows=500)
    assert contents(tmp_path, "out.csv") == contents(tmp_path, "whole.csv")


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("none/out.csv", "there is no folder"),
        ("folder.csv", "it is a folder"),
        ("pipe.csv", "it is there, and no regular file"),
        ("begun.csv", "begun.csv.part is a folder"),
        ("refused.csv", "refused.csv.rejects.jsonl is a folder"),
        ("none/folder/", "there is no folder"),
        ("folder.csv/", "it is there already"),
        ("../", "it is there already"),
        ("pipe.csv/", "it is there already"),
        ("link/", "it is there already"),
        ("begun.csv/", "begun.csv.part/mine.txt is in the way"),
        ("deep/", "deep.part/part-00000.parquet is in the way"),
        ("linked/", "linked.part is there, and no folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(model, tmp_path, to, says):
    for folder in ("folder.csv", "begun.csv.part", "refused.csv.rejects.jsonl", "deep.part/part-00000.parquet"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "mine.txt").write_text("mine")
    for link in ("link", "linked.part"):
        (tmp_path / link).symlink_to(tmp_path / "folder.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    path = many(tmp_path / "in.csv", 10)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match=says):
        batch.score_file(path, f"{tmp_path}/{to}", model)
    assert sorted(tmp_path.rglob("*")) == before


def files_of(folder):
    """The names and bytes of a folder's files."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(name="small_files")
def _small_files(monkeypatch):
    """Let a folder have files of three chunks of `many`."""
    monkeypatch.setattr(batch, "FILE", 12_000)


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_folder_gets_files_that_are_together_what_one_would_be(model, tmp_path, kind):
    path, found = many(tmp_path / f"in.{kind}"), []
    batch.score_file(path, tmp_path / "one.parquet", model, chunk_rows=500)
    for threads in (1, 7):

        def engine(plan, given_model, chunks, threads=threads):
            return batch.on_all_cores(plan, given_model, chunks, threads)

        summary = batch.score_file(path, f"{tmp_path}/out/", model, chunk_rows=500, engine=engine)
        found.append(files_of(tmp_path / "out"))
        (tmp_path / "out").rename(tmp_path / f"out of {threads}")
    assert found[0] == found[1]
    (tmp_path / "out of 7").rename(tmp_path / "out")
    assert summary.rejects_output == f"{tmp_path}/out.rejects.jsonl"
    assert rejects(tmp_path / "out") == rejects(tmp_path / "one.parquet")
    names = sorted(found[0])
    assert names == [f"part-{number:05}.parquet" for number in range(len(names))]
    assert len(names) > 2
    groups = [pq.read_metadata(tmp_path / "out" / name).num_row_groups for name in names]
    assert min(groups) > 0
    assert sum(groups) == 10
    assert pq.read_table(tmp_path / "out").equals(pq.read_table(tmp_path / "one.parquet"))
    assert not list(tmp_path.glob("*.part*"))
    again = batch.score_file(tmp_path / "out", tmp_path / "two.parquet", model, keep=["Name"])
    assert again.rows == 5000


@pytest.mark.usefixtures("small_files")
def test_a_folder_is_begun_anew_without_resume(model, tmp_path):
    path = many(tmp_path / "in.csv")
    begun(path, f"{tmp_path}/out/", model)
    batch.score_file(many(path, 600), f"{tmp_path}/out/", model, chunk_rows=500)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["part-00000.parquet"]
    assert pq.read_metadata(tmp_path / "out" / "part-00000.parquet").num_rows == 600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.csv", "out", "out.rejects.jsonl"]


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("has_rejects", [True, False])
def test_a_name_that_is_taken_meanwhile_is_not_taken_over(model, tmp_path, has_rejects):
    path, out = many(tmp_path / "in.csv"), tmp_path / "out"
    if not has_rejects:
        path.write_bytes(path.read_bytes().replace(b"none at all", b"180"))

    def take(_):
        out.mkdir(exist_ok=True)
        (out / "mine.txt").write_text("mine")

    with pytest.raises(OutputError, match=r"Cannot write .*out/: Directory not empty"):
        batch.score_file(path, f"{out}/", model, chunk_rows=500, progress=take)
    assert [each.name for each in out.iterdir()] == ["mine.txt"]
    (out / "mine.txt").rename(tmp_path / "mine.txt")
    out.rmdir()
    summary = batch.score_file(path, f"{out}/", model, chunk_rows=500, resume=True)
    assert (summary.rows, summary.resumed_rows) == (5000, 5000)
    assert summary.rejects == (10 if has_rejects else 0)
    assert len(rejects(out) if has_rejects else []) == summary.rejects
    batch.score_file(path, f"{tmp_path}/whole/", model, chunk_rows=500)
    assert files_of(out) == files_of(tmp_path / "whole")


@pytest.mark.usefixtures("small_files")
def test_a_folder_goes_on_from_each_moment_to_the_same_bytes(model, tmp_path):
    """The journal is cut behind each of its lines: so its writer was ended just before the next."""
    path, out = many(tmp_path / "in.csv"), f"{tmp_path}/out/"
    batch.score_file(path, f"{tmp_path}/whole/", model, chunk_rows=500)
    told = []

    def end(progress):
        told.append(progress)
        if progress.rows == 5000:
            raise EndedError

    with pytest.raises(EndedError):
        batch.score_file(path, out, model, chunk_rows=500, progress=end)
    assert not (tmp_path / "out").exists()
    shutil.copytree(tmp_path, tmp_path / "kept")
    lines = (tmp_path / "out.part.journal").read_bytes().splitlines(keepends=True)
    assert len(lines) > 15  # a beginning, ten chunks, and an end and a beginning of each file
    for count in range(len(lines) + 1):
        for name in ("out.part.rejects", "out.part.journal"):
            shutil.copy(tmp_path / "kept" / name, tmp_path)
        shutil.copytree(tmp_path / "kept" / "out.part", tmp_path / "out.part", dirs_exist_ok=True)
        (tmp_path / "out.part.journal").write_bytes(b"".join(lines[:count]))
        summary = batch.score_file(path, out, model, chunk_rows=500, resume=True)
        noted = [json.loads(line) for line in lines[1:count]]
        assert summary.resumed_rows == (noted[-1]["state"]["rows"] if noted else 0)
        assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
        assert rejects(tmp_path / "out") == rejects(tmp_path / "whole")
        assert not list(tmp_path.glob("*.part*"))
        shutil.rmtree(tmp_path / "out")


def test_a_folder_is_none_of_a_bucket_and_parquet_alone(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = many(tmp_path / "in.csv", 10)
    with pytest.raises(mlib.OptionError, match=r"on this machine only.*s3://bucket/out/heights\.parquet"):
        batch.score_file(path, "s3://bucket/out/", model)
    with pytest.raises(mlib.OptionError, match="is written as Parquet, and not as csv"):
        batch.score_file(path, "out/", model, format="csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(mlib.OptionError, match=r"folder is a folder\. Name a file in it, or a new folder"):
        batch.score_file(path, "folder", model)
    path.rename("rows")
    assert batch.score_file("rows", "out/", model, format="csv").rows == 10
    assert batch.score_file("out", f"file://{tmp_path}/again/", model, keep=["Name"]).rows == 10
    assert pq.read_table("again").column_names[0] == "Name"


@pytest.mark.parametrize(
    ("source", "to"), [("in.part", "in/"), ("in.part/part-00000.parquet", "in/"), ("in.part", "link/")]
)
def test_a_folder_that_is_read_is_not_removed(model, tmp_path, monkeypatch, source, to):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("in")
    batch.score_file(many(tmp_path / "in.csv", 10), "out/", model)
    (tmp_path / "out").rename("in.part")
    before = files_of(tmp_path / "in.part")
    with pytest.raises(mlib.OptionError, match=r"in\.part is the input"):
        batch.score_file(source, to, model, keep=["Name"])
    assert files_of(tmp_path / "in.part") == before


def test_a_link_has_its_rejects_beside_what_it_names(model, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "out.csv").symlink_to("real/out.csv")
    summary = batch.score_file(many(tmp_path / "in.csv"), tmp_path / "out.csv", model)
    assert Path(summary.rejects_output) == tmp_path / "real" / "out.csv.rejects.jsonl"
    assert len(rejects(tmp_path / "real" / "out.csv")) == summary.rejects == 10


@pytest.mark.usefixtures("small_files")
def test_a_folder_of_more_files_than_may_be_open_goes_on(model, tmp_path):
    import resource

    path = many(tmp_path / "in.csv", 20_000)
    begun(path, f"{tmp_path}/out/", model, stop=19_000, chunk_rows=100)
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert len(files_of(tmp_path / "out.part")) > 20
    limit = len(os.listdir("/dev/fd")) + 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, usual[1]))
    try:
        summary = batch.score_file(path, f"{tmp_path}/out/", model, chunk_rows=100, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
    assert (summary.rows, summary.resumed_rows) == (20_000, 19_000)


@pytest.mark.usefixtures("small_files")
def test_a_gate_leaves_of_a_folder_the_rejects_alone(model, tmp_path):
    path = many(tmp_path / "in.csv")
    with pytest.raises(mlib.GateError):
        batch.score_file(path, f"{tmp_path}/out/", model, chunk_rows=500, max_rejects=batch.Limit(8))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.csv", "out.rejects.jsonl"]


def test_what_fails_before_its_first_row_leaves_nothing(model, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"Weight": 180, "height_inches": 3}\n')
    for to in ("out.jsonl", "out.csv"):
        with pytest.raises(mlib.DataError, match="already"):
            batch.score_file(tmp_path / "in.jsonl", tmp_path / to, model)
    path = tmp_path / "in.csv.gz"
    path.write_bytes(gzip.compress(b"Weight\n180\n" * 1000)[:-9])
    with pytest.raises(mlib.DataError, match="cut off"):
        batch.score_file(path, f"{tmp_path}/out.csv", model)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.csv.gz", "in.jsonl"]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_sigkill_at_ten_moments_and_then_resume_gives_the_same_bytes(model, tmp_path, kind):
    """Each time a real process is killed later; twenty moments in all."""
    path, out = many(tmp_path / f"in.{kind}", 200_000), tmp_path / f"out.{kind}"
    batch.score_file(path, tmp_path / f"whole.{kind}", model, chunk_rows=2000)
    options = ["batch", path, out, "--model", model, "--chunk-rows", "2000", "--quiet", "--resume"]
    command = [sys.executable, "utilscli.py", *map(str, options)]
    part, kills, size = tmp_path / f"out.{kind}.part", 0, 0
    whole = (tmp_path / f"whole.{kind}").stat().st_size
    for moment in range(10):
        with subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as process:
            least = size + whole * 0.06 * (moment % 3)
            while process.poll() is None and not (part.exists() and part.stat().st_size > least):
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
        kills += process.returncode == -signal.SIGKILL
        size = part.stat().st_size if part.exists() else size
        if process.returncode == 0:
            break
    assert kills >= 5
    assert run(*command).returncode == 0
    assert contents(tmp_path, out.name) == contents(tmp_path, f"whole.{kind}")


def test_ctrl_c_says_what_is_kept(model, tmp_path):
    path, out = many(tmp_path / "in.csv", 200_000), tmp_path / "out.csv"
    command = [sys.executable, "utilscli.py", "batch", path, out, "--model", model, "--chunk-rows", "100"]
    with subprocess.Popen(
        list(map(str, command)), cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL
    ) as process:
        part = tmp_path / "out.csv.part"
        while not (part.exists() and part.stat().st_size > 50_000):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
    assert process.returncode == 1
    assert "Interrupted. " in told
    assert "rows are done and kept; --resume goes on behind them." in told
    assert "Traceback" not in told


# --------------------------------------------------------------------------------------------------- the command


def invoke(*arguments, **options):
    """Run the command in this process."""
    return CliRunner().invoke(utilscli.cli, ["batch", *map(str, arguments)], **options)


def test_the_command_prints_a_summary(model, tmp_path):
    path = write(tmp_path / "in.csv", [{"Weight": w} for w in ("180", "400", "x")], ["Weight"])
    result = invoke(path, tmp_path / "out.csv", "--model", model)
    assert result.exit_code == 0
    told = dict(line.split("  ", 1) for line in result.stdout.splitlines())
    told = {name: text.strip() for name, text in told.items()}
    low, high = (mlib.load_model(model).predict(np.array([[weight]]))[0] for weight in (180.0, 400.0))
    assert told["Rows"] == "3"
    assert told["Rejects"] == f"1, in {tmp_path}/out.csv.rejects.jsonl"
    assert told["Warnings"] == "1 rows outside of what training saw"
    assert told["Predictions"] == f"{low:.4g} to {high:.4g} inches, mean {(low + high) / 2:.4g}"
    assert told["Written"] == f"{tmp_path}/out.csv"


def test_the_command_answers_programs(model, tmp_path):
    path = write(tmp_path / "in.csv", [{"Weight": w} for w in ("180", "400", "x")], ["Weight"])
    card = json.loads(invoke(path, tmp_path / "out.csv", "--model", model, "--json").stdout)
    assert {name: card[name] for name in ("rows", "rejects", "warnings", "resumed_rows", "counts")} == {
        "rows": 3,
        "rejects": 1,
        "warnings": 1,
        "resumed_rows": 0,
        "counts": None,
    }
    assert card["output"] == f"{tmp_path}/out.csv"
    assert card["low"] < card["mean"] < card["high"]


@pytest.mark.parametrize("to", ["csv", "jsonl"])
def test_rows_go_from_the_standard_input_to_the_standard_output(model, to):
    result = subprocess.run(
        [sys.executable, "utilscli.py", "batch", "-", "-", "--format", to, "--model", model],
        cwd=ROOT, env=ENVIRONMENT, input=b"Weight\n180\nx\n" if to == "csv" else b'{"Weight": 180}\n{"Weight": "x"}\n',
        capture_output=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    height = mlib.predict(180, model)["height_inches"]
    lines = result.stdout.decode().splitlines()
    if to == "csv":
        assert lines == ["Weight,height_inches,height_human_readable", f'180,{height},"6 foot, 0 inches"', "x,,"]
    else:
        assert [json.loads(line)["height_inches"] for line in lines] == [height, None]
    assert json.loads(result.stderr.splitlines()[0])["got"] == "x"
    assert b"Rows         2" in result.stderr


@pytest.mark.parametrize(
    ("pack", "encoding"),
    [(gzip.compress, "utf-8"), (bytes, "cp1252"), (bytes, "utf-16"), (gzip.compress, "utf-16")],
)
@pytest.mark.parametrize("count", [1, 200_000])
def test_the_standard_input_may_be_packed_and_of_any_encoding(model, tmp_path, pack, encoding, count):
    """A few rows, and more than is read to tell what it is; with letters of two bytes in the header."""
    rows = "Größe,Weight\n" + "José,180\nLee,200\n" * count
    command = [sys.executable, "utilscli.py", "batch", "-", tmp_path / "out.csv", "--model", model, "--quiet", "--json"]
    done = subprocess.run(
        [*command, "--encoding", encoding], cwd=ROOT, env=ENVIRONMENT, input=pack(rows.encode(encoding)),
        capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["rows"] == 2 * count
    lines = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[:2] for line in lines[:2]] == [["Größe", "Weight"], ["José", "180"]]
    assert (len(lines), lines[-1].split(",")[:2]) == (2 * count + 1, ["Lee", "200"])


def test_a_closed_standard_output_is_one_line(model, tmp_path):
    path = write(tmp_path / "in.csv", [{"Weight": "180"}], ["Weight"])
    done = run("sh", "-c", f"{sys.executable} utilscli.py batch {path} - --model {model} >&-")
    assert (done.returncode, done.stderr) == (1, "Error: Cannot write the standard output: it is closed.\n")


def test_a_pipe_is_refused_as_it_is_looked_at_first(model, tmp_path):
    os.mkfifo(tmp_path / "in.csv")
    with pytest.raises(mlib.OptionError, match=r"no file that can be read twice\. Give - and let it come: - <"):
        batch.score_file(tmp_path / "in.csv", tmp_path / "out.csv", model)


@pytest.mark.parametrize(
    ("source", "to"),
    [
        ("in.csv", "file://{folder}/in.csv"),
        ("file://{folder}/in.csv", "in.csv"),
        ("out.csv.part", "out.csv"),
        ("out.csv.part.journal", "out.csv"),
        ("out.csv.rejects.jsonl", "out.csv"),
        (".", "in.csv"),
    ],
)
def test_no_input_is_written_over(model, tmp_path, monkeypatch, source, to):
    monkeypatch.chdir(tmp_path)
    name = "in.csv" if source == "." else source.rpartition("/")[2]
    (tmp_path / name).write_text('{"Weight": 180}\n' if name.endswith("jsonl") else "Weight\n180\n")
    before = (tmp_path / name).read_bytes()
    source, to = source.format(folder=tmp_path), to.format(folder=tmp_path)
    with pytest.raises(mlib.OptionError, match="is the input"):
        batch.score_file(source, to, model, format="csv" if "part" in name else None)
    assert (tmp_path / name).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_address_is_the_file(model, tmp_path):
    path = write(tmp_path / "in.csv", [{"Weight": "180"}, {"Weight": "x"}], ["Weight"])
    batch.score_file(f"file://{path}", f"file://{tmp_path}/out.csv", model)
    before = contents(tmp_path, "out.csv")
    with pytest.raises(mlib.GateError):
        batch.score_file(path, f"file://{tmp_path}/out.csv", model, max_rejects=batch.Limit(0))
    assert contents(tmp_path, "out.csv") == before


@pytest.mark.parametrize("count", [1200, 30_000])
@pytest.mark.parametrize("late", [3.5, "3.5"])
def test_a_feature_that_comes_late_in_json_lines_counts(mixed, tmp_path, count, late):
    """The first thousand rows tell what columns there are, but no feature is left out by that."""
    row = {"g": "a", "k": 11, "b": "yes", "d": "2020-03-01"}
    lines = [json.dumps(row)] * count + [json.dumps({**row, "x": late})]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    for to in ("jsonl", "csv"):
        summary = batch.score_file(tmp_path / "in.jsonl", tmp_path / f"out.{to}", mixed)
        assert (summary.rows, summary.rejects) == (count + 1, 0)
        found = [float(each["y"]) for each in read(tmp_path / f"out.{to}")[-2:]]
        assert found == pytest.approx([mlib.predict(each, mixed)["y"] for each in (row, {**row, "x": 3.5})])


@pytest.mark.parametrize("chunk_rows", [1, 10])
def test_a_row_is_no_reject_for_its_neighbours(model, tmp_path, chunk_rows):
    """A key that no feature has may stand twice; one that a feature has may not."""
    lines = ['{"Weight": 180, "a": 1, "a": 2}', "no row", '{"Weight": 180, "Weight": 190}', '{"Weight": 200}']
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    batch.score_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", model, chunk_rows=chunk_rows)
    assert [each["row"] for each in rejects(tmp_path / "out.jsonl")] == [2, 3]


@pytest.mark.parametrize("to", ["jsonl", "csv", "parquet"])
def test_half_a_character_is_a_reject_where_it_cannot_be_written(model, tmp_path, to):
    lines = ['{"Weight": "\\ud800", "N": "a"}', '{"Weight": 180, "N": "\\ud800"}', '"\\ud800"', '{"Weight": 200}']
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    batch.score_file(tmp_path / "in.jsonl", tmp_path / f"out.{to}", model)
    assert [each["row"] for each in rejects(tmp_path / f"out.{to}")] == ([1, 3] if to == "jsonl" else [1, 2, 3])
    assert rejects(tmp_path / f"out.{to}")[0]["got"] == "\ud800"
    (tmp_path / "in.jsonl").write_text('{"Weight": 180, "\\ud800": 1}\n')
    with pytest.raises(mlib.DataError, match="have a key that is no text"):
        batch.score_file(tmp_path / "in.jsonl", tmp_path / f"out.{to}", model)


def test_a_view_of_texts_is_read_as_texts(model, tmp_path):
    pq.write_table(pa.table({"Weight": pa.array(["180", "x", None], pa.string_view())}), tmp_path / "in.parquet")
    summary = batch.score_file(tmp_path / "in.parquet", tmp_path / "out.csv", model)
    assert (summary.rows, summary.rejects) == (3, 2)


def test_no_answer_is_an_empty_cell_where_others_stand_before(model, tmp_path):
    """Two quotes are a text for strict readers, and only where a line would be blank without them."""
    path = write(tmp_path / "in.csv", [{"Weight": "180"}, {"Weight": "x"}], ["Weight"])
    batch.score_file(path, tmp_path / "out.csv", model, only=["height_inches"])
    assert (tmp_path / "out.csv").read_text().splitlines()[1:] == ["180,72.16", "x,"]
    batch.score_file(path, tmp_path / "out.csv", model, keep=[], only=["height_inches"])
    assert (tmp_path / "out.csv").read_text().splitlines()[1:] == ["72.16", '""']


def test_one_format_is_enough_where_the_other_is_told_by_name(model, tmp_path):
    rows = b'{"Weight": 180}\n'
    assert invoke("-", tmp_path / "out.parquet", "--format", "jsonl", "--model", model, input=rows).exit_code == 0
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 1
    result = invoke(tmp_path / "out.parquet", "-", "--keep", "Weight", "--format", "csv", "--model", model)
    assert result.stdout.splitlines()[0] == "Weight,height_inches,height_human_readable"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["in.csv", "in.csv"], 2, "in.csv is the input. Name another output."),
        (["nothing.csv", "out.csv"], 1, "Cannot read nothing.csv: No such file or directory."),
        (["in.csv", "out.xlsx"], 2, "out.xlsx does not say by its name what it is. Give --format: csv, "),
        (["in.data", "out.csv"], 2, "in.data does not say by its name what it is. Give --format: csv, "),
        (["in.csv", "out.csv", "--format", "parquet"], 2, "say by their names what they are, and neither is parquet."),
        (["in.csv", "out.parquet.gz"], 2, "Parquet packs its columns itself: leave out the .gz."),
        (["in.csv", "-", "--json"], 2, "--json and - both want the standard output"),
        (["in.csv", "out.csv", "--max-rejects", "few"], 2, "'few' is no limit of rejects; expected"),
        (["in.csv", "out.csv", "--chunk-rows", "0"], 2, "'--chunk-rows'"),
        (["in.csv", "-", "--resume"], 2, "--resume goes on with files on this machine, and - is none."),
        (["-", "out.csv", "--format", "parquet"], 1, "Parquet is read from its end, and so not from the standard"),
        (["array.json", "out.csv"], 1, "a JSON array is not read in pieces. Make it JSON lines: jq -c '.[]'."),
        (["in.csv", "out.csv", "--model", "none.joblib"], 1, "none.joblib"),
        (["in.csv", "out.csv", "--max-rejects", "0"], 5, "1 of 2 rows are rejects, and 0 were allowed."),
        (["nosuch://a/b.csv", "out.csv"], 1, "nosuch://a/b.csv is no address that is known here"),
        (["in.csv", "out.csv", "--encoding", "idna"], 2, "There is no encoding 'idna'."),
        (["in.csv", "out.csv", "--encoding", "base64"], 2, "There is no encoding 'base64'."),
        (["in.csv", "out.csv", "--encoding", "utf-16"], 1, "in.csv is no utf-16: it does not begin with a byte"),
        (["empty.jsonl", "out.csv"], 1, "empty.jsonl has no JSON object in its first rows. It needs one a line."),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_its_exit_code(model, tmp_path, monkeypatch, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLOPS_MODEL", str(model))
    for name in ("in.csv", "in.data"):
        write(tmp_path / name.replace("data", "csv"), [{"Weight": "180"}, {"Weight": "x"}], ["Weight"])
    (tmp_path / "in.data").write_text("Weight\n180\n")
    (tmp_path / "array.json").write_text('[{"Weight": 180}]')
    (tmp_path / "empty.jsonl").write_text("")
    result = invoke(*arguments)
    assert result.exit_code == code, result.output
    assert says in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
    assert not list(tmp_path.glob("out*part*"))


def test_an_address_wants_its_package_said(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(mlib.DataError, match=r"packages that are not installed .*requirements/buckets.txt"):
        batch.score_file("s3://bucket/in.csv", tmp_path / "out.csv", model)


def test_batch_needs_no_training_packages(model, tmp_path):
    path = write(tmp_path / "in.csv", [{"Weight": "180"}], ["Weight"])
    code = """
import sys
class NotInstalled:
    def find_spec(self, name, *_):
        if name in ("pandas", "sklearn", "scipy", "joblib"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NotInstalled())
import utilscli
utilscli.cli()
"""
    result = run(sys.executable, "-c", code, "batch", path, tmp_path / "out.parquet", "--model", model)
    assert result.returncode == 0, result.stderr
    assert read(tmp_path / "out.parquet")[0]["height_inches"] == mlib.predict(180, model)["height_inches"]
