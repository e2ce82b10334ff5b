"""core/sampling.py: is each set of rows as likely, read as the whole table is, in memory that does not grow with it?"""

import collections
import gzip
import hashlib
import io
import itertools
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import run
from scipy.stats import chi2

import mlib
from core import sampling
from core.errors import DataError, OptionError
from core.reading import read_table
from core.sampling import draw

ROWS = 150_000  # more than two chunks
UNLIKELY = 1e-9


def smallest(rows, of, seed):
    """Which rows are to be drawn: those of the smallest keys."""
    keys = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(0,))).random_raw(of)
    return sorted(np.argsort(keys, kind="stable")[:rows].tolist())


@pytest.fixture(name="big", scope="module")
def _big(tmp_path_factory):
    """A table of three chunks: x counts the rows, from 0."""
    path = tmp_path_factory.mktemp("big") / "big.csv"
    path.write_text("x,y,word\n" + "".join(f"{x},{x / 2},w{x % 7}\n" for x in range(ROWS)), encoding="utf-8")
    return path


def refused(path, rows=3, **options):
    """Return the one line by which a file is refused."""
    with pytest.raises(DataError) as caught:
        draw(path, rows, 3, **options)
    said = str(caught.value)
    assert said.isprintable()
    assert str(path) in said
    return said


# ----------------------------------------------------------------------------------------------------- which rows


def test_each_set_of_rows_is_as_likely(write_table):
    path = write_table("x\n" + "".join(f"{x}\n" for x in range(6)))
    draws = 450
    counts = collections.Counter(tuple(draw(path, 2, seed).table["x"]) for seed in range(draws))
    sets = list(itertools.combinations(range(6), 2))
    assert counts.keys() <= set(sets)
    expected = draws / len(sets)
    assert sum((counts[each] - expected) ** 2 / expected for each in sets) < chi2.isf(UNLIKELY, len(sets) - 1)


def test_each_part_of_a_table_has_its_share_of_the_sample(big):
    """Shares of a sample without replacement: the variance of a stratum's count is n p (1 - p) (N - n) / (N - 1)."""
    n, parts = 20_000, 30
    places = draw(big, n, 5).table.index.to_numpy()
    counts = np.bincount(places * parts // ROWS, minlength=parts)
    expected = n / parts
    statistic = ((counts - expected) ** 2 / expected).sum() * (ROWS - 1) / (ROWS - n)
    assert chi2.ppf(UNLIKELY, parts - 1) < statistic < chi2.isf(UNLIKELY, parts - 1)
    error = np.sqrt((ROWS**2 - 1) / 12 / n * (ROWS - n) / (ROWS - 1))  # of the mean of so many of 0 .. ROWS - 1
    assert abs(places.mean() - (ROWS - 1) / 2) < 6.2 * error


@pytest.mark.parametrize("rows", [1, 100, 60_000, ROWS - 1])
def test_the_rows_of_the_smallest_keys_are_drawn_in_the_order_of_the_file(big, rows):
    drawn = draw(big, rows, 3)
    assert drawn.table["x"].tolist() == drawn.table.index.tolist() == smallest(rows, ROWS, 3)
    assert (drawn.table["y"] == drawn.table["x"] / 2).all()
    assert drawn.rows == ROWS
    assert drawn.sha256 == hashlib.sha256(big.read_bytes()).hexdigest()


def test_of_equal_keys_that_of_the_first_row_counts():
    keys = np.random.default_rng(1).integers(0, 256, 1000).astype(np.uint64)  # most are there many times
    given = iter(np.split(keys, 20))
    # No seed gives equal keys within reason, so the pool is given them.
    pool = sampling._Pool(100, 0)  # pylint: disable=protected-access
    pool._bits = SimpleNamespace(random_raw=lambda _n: next(given))  # pylint: disable=protected-access
    for first in range(0, 1000, 50):
        pool.add(pa.table({"x": range(first, first + 50)}))
    table, places = pool.taken()
    assert places.tolist() == table["x"].to_pylist() == sorted(np.lexsort([np.arange(1000), keys])[:100].tolist())


def test_another_seed_draws_other_rows(big):
    first, other = (set(draw(big, 1000, seed).table.index) for seed in (3, 4))
    assert len(first & other) < 100  # 1000 / 150 are expected


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.jsonl", "t.ndjson.gz", "t.json", "t.parquet", "t"])
def test_the_same_rows_are_drawn_of_each_format(tmp_path, big, name):
    whole = pd.read_csv(big)
    path = tmp_path / name
    if "json" in name or "ndjson" in name:
        whole.to_json(path, orient="records", lines=True)
    elif name.endswith("parquet"):
        whole.to_parquet(path, row_group_size=7000)
    else:
        whole.to_csv(path, index=False, sep="\t" if name == "t.tsv" else ",")
    drawn = draw(path, 500, 3)
    wanted = smallest(500, ROWS, 3)
    assert drawn.table.index.tolist() == wanted
    pd.testing.assert_frame_equal(drawn.table, whole.iloc[wanted], check_index_type=False)
    assert drawn.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert drawn.rows == ROWS
    assert not drawn.notices


@pytest.mark.parametrize("rows", [1277, 1278, 10**12])
def test_all_rows_are_drawn_where_there_are_no_more(rows):
    table, sha256, notices = read_table(mlib.DATA)
    drawn = draw(mlib.DATA, rows, 3)
    pd.testing.assert_frame_equal(drawn.table, table, check_index_type=False)
    assert (drawn.sha256, drawn.notices, drawn.rows) == (sha256, notices, 1277)


# ------------------------------------------------------------------------------- each file as the whole-file reader

ODD = {
    "semicolons and decimal commas": b"x;y\n" + b"".join(b"%d;%d,5\n" % (i, i) for i in range(50)),
    "decimal commas that come late": b"x;y\n" + b"".join(b"%d;%d%s\n" % (i, i, b",5" * (i > 5)) for i in range(50)),
    "tabs and Windows' line ends": b"x\ty\r\n" + b"".join(b"%d\tw%d\r\n" % (i, i) for i in range(50)),
    "line ends in quotes": b"x,y\n" + b"".join(b'%d,"a ""b""\nc,\n%d"\n' % (i, i) for i in range(50)),
    "a header of two lines": b'"x\n1",y\n' + b"".join(b"%d,a\n" % i for i in range(50)),
    "blank lines": b"\n\nx,y\n\n" + b"".join(b"%d,b\n%s" % (i, b"  \n\r\n" * (i % 3)) for i in range(50)),
    "blank fields between tabs": b"x\ty\n" + b"".join(b"%d\t\n\t\n" % i for i in range(25)),
    "one column and quoted gaps": b"x\n" + b"".join(b'%d\n""\n\n' % i for i in range(25)),
    "no last line end": b"x,y\n" + b"\n".join(b"%d,2" % i for i in range(50)),
    "a column without a name": b",y\n" + b"".join(b"%d,2\n" % i for i in range(50)),
    "short rows": b"x,y,z\n" + b"".join(b"%d,2\n" % i for i in range(50)),
    "an unusual separator": b"x:y\n" + b"".join(b"%d:%d\n" % (i, i) for i in range(50)),
    "UTF-8 with a mark": "\ufeffx,y\n".encode() + "".join(f"{i},é\n" for i in range(50)).encode(),
    "UTF-16": ("x,y\n" + "".join(f"{i},é\n" for i in range(50))).encode("utf-16"),
    "UTF-16, big end first": ("\ufeffx;y\n" + "".join(f"{i};1,5\n" for i in range(50))).encode("utf-16-be"),
    "cp1252": ("x,y\n" + "".join(f"{i},Müller\n" for i in range(50))).encode("cp1252"),
    "Shift JIS": ("x,y\n" + "".join(f"{i},東京都\n" for i in range(50))).encode("cp932"),
    "JSON lines": b"".join(b'{"x": %d, "y": "a\\n"}\n' % i for i in range(50)),
    "JSON lines with blank ones": b"\n \n" + "".join(f' {{"x": {i}}}\r\n\u2003\n' for i in range(50)).encode(),
    "JSON lines with gaps": b"".join(b'{"x": %d}\n{"x": null, "y": true}\n' % i for i in range(25)),
    "JSON lines in UTF-16": "".join(f'{{"x": {i}, "y": "é"}}\n' for i in range(50)).encode("utf-16"),
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_an_odd_file_is_read_as_the_whole_of_it_is(tmp_path, content, packed):
    path = tmp_path / ("table.gz" if packed else "table")
    path.write_bytes(gzip.compress(content) if packed else content)
    whole, sha256, notices = read_table(path)
    drawn = draw(path, 20, 3)
    wanted = smallest(20, 50, 3)
    assert drawn.rows == len(whole) == 50
    pd.testing.assert_frame_equal(drawn.table, whole.iloc[wanted], check_index_type=False, check_dtype=False)
    assert drawn.sha256 == sha256
    assert drawn.notices == notices
    everything = draw(path, 50, 3).table
    pd.testing.assert_frame_equal(everything, whole, check_index_type=False)


def test_an_encoding_that_was_told_is_used(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("x,y\n1,żółw\n2,żaba\n".encode("cp1250"))
    assert draw(path, 2, 3, encoding="cp1250").table["y"].tolist() == ["żółw", "żaba"]
    with pytest.raises(OptionError, match="There is no encoding"):
        draw(path, 2, 3, encoding="nonsense")


def test_what_is_no_utf8_behind_the_first_megabyte_is_told_by_the_sample(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"x,y\n" + b"1,plain\n" * 200_000 + "2,Müller\n".encode("cp1252") * 200_000)
    drawn = draw(path, 50, 3)
    assert set(drawn.table["y"]) == {"plain", "Müller"}
    assert drawn.notices == [f"{path} is no UTF-8; it was read as cp1252."]
    assert refused(path, encoding="utf-8").endswith("(line 200002). Name its encoding, or save it as UTF-8.")


def test_parquet_has_the_kinds_and_the_index_of_pandas(tmp_path):
    table = pd.DataFrame(
        {
            "city": pd.Categorical(["Rome", "Oslo"] * 50),
            "day": pd.date_range("2024-01-01", periods=100, tz="Europe/Rome"),
            "n": pd.array([1, None] * 50, dtype="Int64"),
            "b": [True, False] * 50,
        },
        index=pd.Index(range(1000, 1100), name="id"),
    ).astype({"city": "category"})
    for name, index in (("named", table.index.to_numpy()), ("range", None)):
        path = tmp_path / f"{name}.parquet"
        made = table.set_axis(pd.Index(index, name="id")) if index is not None else table.reset_index(drop=True)
        made.to_parquet(path, row_group_size=30)
        whole, _, _ = read_table(path)
        assert list(whole.columns) == ["id"] * (index is not None) + ["city", "day", "n", "b"]
        pd.testing.assert_frame_equal(draw(path, 20, 3).table, whole.iloc[smallest(20, 100, 3)], check_index_type=False)


def test_row_groups_may_have_their_own_dictionaries(tmp_path):
    path = tmp_path / "t.parquet"
    groups = [pa.table({"c": pa.array([c] * 100).dictionary_encode(), "x": range(100)}) for c in "abcdefgh"]
    with pq.ParquetWriter(path, groups[0].schema) as writer:
        for group in groups:
            writer.write_table(group)
    drawn = draw(path, 300, 3).table
    assert drawn["c"].tolist() == ["abcdefgh"[place // 100] for place in drawn.index]


def test_the_content_tells_what_the_name_does_not(tmp_path):
    lines, path = b'{"x": 1}\n{"x": 2}\n', tmp_path / "table.txt"
    path.write_bytes(lines)
    assert draw(path, 5, 3).table["x"].tolist() == [1, 2]
    content = io.BytesIO()
    pd.DataFrame({"x": [1, 2]}).to_parquet(content)
    path = tmp_path / "table.csv"
    path.write_bytes(content.getvalue())
    assert draw(path, 5, 3).table["x"].tolist() == [1, 2]
    path.write_bytes(b'{"x"\n1\n')  # of this name it is CSV, whatever it looks like
    assert draw(path, 5, 3).table.columns.tolist() == ['{"x"']


# ------------------------------------------------------------------------------------------------------- refusals

REFUSED = {
    ("t.csv", b""): "is empty. It needs a header line and rows.",
    ("t.csv", b" \n\r\n"): "is empty. It needs a header line and rows.",
    ("t.jsonl", b"\n"): "is empty. It needs a header line and rows.",
    ("t.csv", b"x,y\n"): "has a header but no rows.",
    ("t.csv", b"x,y"): "has a header but no rows.",
    ("t.csv", b"x,x\n1,2\n"): "has 2 columns of the name 'x'. Give each a name of its own.",
    ("t.csv", b"x,y\n1,2,3\n"): "has rows with more fields than its header.",
    ("t.csv", b'x,y\n1,2\n3,"4\n5,6\n'): "line 3: a quote is not closed, or a row is longer than",
    ("t.csv", b"x,y\n" + b"1,2\n" * 300_000 + b"1,\0\n"): "has a NUL byte (line 300002): it is damaged, no text",
    ("t.csv", b"x,y\r1,2\r3,4\r"): "ends its lines with carriage returns alone, as old Macs did.",
    ("t.csv", b"x,y\n1,2\r3,4\n"): "has lines that end with a carriage return alone, and so it is not sampled.",
    ("t.csv", b"%PDF-1.7\n"): "is of no known format.",
    ("t.csv.gz", gzip.compress(b"x,y\n" + os.urandom(20_000).hex().encode())[:-9]): "is gzip that is cut off.",
    ("t.csv.gz", gzip.compress(b"x,y\n1,2\n")[:-6] + b"nonono"): "is gzip that is damaged",
    ("t.jsonl", b'{"x": 1}\n\n{"x": \n'): "line 3 cannot be read as JSON: Expecting value.",
    ("t.jsonl", b'{"x": 1}\n[1]\n'): "line 2: expected an object a row",
    ("t.jsonl", b'{"x": 1}\n{"x": NaN}\n'): "line 2 cannot be read as JSON: NaN is no JSON; write null",
    ("t.jsonl", b'{"x": 1}\n{"x": {}}\n'): "row 2, column 'x' is an object, expected a number, text or boolean.",
    ("t.json", b'[{"x": 1}]'): "Make it JSON lines: jq -c '.[]' of an array, jq -c . of objects.",
    ("t.json", b'{\n"x": 1\n}\n'): "Make it JSON lines: jq -c '.[]' of an array, jq -c . of objects.",
    ("t.parquet", b"PAR1 and no more"): "is no whole Parquet file",
    ("t.parquet.gz", gzip.compress(b"PAR1")): "is Parquet packed by gzip, of which no sample is taken. Unpack it",
}


@pytest.mark.parametrize(("name", "content"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_sampled_is_refused_in_one_line(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert REFUSED[name, content] in refused(path)


def test_a_parquet_file_without_rows_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"x": []}).to_parquet(path)
    assert refused(path).endswith("has no rows.")


def test_what_is_no_file_is_refused(tmp_path):
    assert "No such file or directory. Name a file of CSV" in refused(tmp_path / "none.csv")
    assert "Is a directory" in refused(tmp_path)
    done = run("./utilscli.py", "retrain", "--data", "/dev/stdin", "--sample-rows", 9, input="x,y\n", stdin=None)
    assert done.returncode == 1
    assert (
        "Error: /dev/stdin is no regular file, and only such a one is sampled. Write it to a file first." in done.stderr
    )


def test_a_value_that_is_wrong_is_told_with_its_row_and_line_in_the_file(tmp_path):
    wrong = smallest(50, 200, 3)[30]
    rows = ["\n" * (i % 2) + f"{i},{'oops' if i == wrong else i}\n" for i in range(200)]
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + "".join(rows), encoding="utf-8")
    with pytest.raises(DataError, match=rf"column 'y', row {wrong + 1} is 'oops', expected a number"):
        mlib.retrain(0.2, tmp_path / "m.joblib", path, "x", sample_rows=50)
    lines = ['{"x": oops}' if i == wrong else '{"x": 1}' for i in range(200)]
    path = tmp_path / "t.jsonl"
    path.write_text("\n\n".join(lines), encoding="utf-8")
    assert f"line {2 * wrong + 1} cannot be read as JSON" in refused(path, 50)


# --------------------------------------------------------------------------------------------------------- memory

PEAK = """
import sys
from core.sampling import draw
drawn = draw(sys.argv[1], 1000, 3)
status = open("/proc/self/status").read()
print(drawn.rows, status.partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="only Linux tells the peak of memory there")
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.jsonl", "t.parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path, name):
    """The larger one has 120 MB of text; read as a whole it takes more than that."""
    text = {"t.jsonl": b'{"x": %d, "y": "%s"}\n'}.get(name, b"%d,%s\n")
    block = b"".join(text % (i, b"word" * 8) for i in range(75_000))
    peaks = []
    for times in (5, 40):
        path = tmp_path / name
        if name == "t.parquet":
            numbers = np.random.default_rng(0)
            with pq.ParquetWriter(path, pa.schema([("x", pa.float64()), ("y", pa.float64())])) as writer:
                for _ in range(times):
                    group = {column: numbers.normal(size=75_000 * 3) for column in "xy"}
                    writer.write_table(pa.table(group))
        else:
            with gzip.open(path, "wb", 1) if name.endswith("gz") else path.open("wb") as file:
                file.write(b"" if name == "t.jsonl" else b"x,y\n")
                file.writelines([block] * times)
        rows, peak = map(int, run(sys.executable, "-c", PEAK, path).stdout.split())
        assert rows == times * 75_000 * (3 if name == "t.parquet" else 1)
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 48_000  # kB


# ---------------------------------------------------------------------------------------------- the model, the card


def trained(tmp_path, name="m.joblib", **options):
    """Train on the project's table; return the model's bytes and its signature."""
    path = tmp_path / name
    mlib.retrain(model_name=path, **options)
    return path.read_bytes(), mlib.Signature.read(path)


def test_the_card_tells_of_the_sample(tmp_path):
    _, signature = trained(tmp_path, sample_rows=500, seed=7)
    assert signature.data["rows"] == 1277
    assert signature.data["sampled"] == {"rows": 500, "seed": 7}
    assert signature.data["sha256"] == hashlib.sha256(Path(mlib.DATA).read_bytes()).hexdigest()
    assert signature.training["n"] + signature.metrics["n"] == 500
    assert signature.training["notices"] == ["A uniform sample of 500 of 1,277 rows."]
    shown = smallest(500, 1277, 7)
    weights = read_table(mlib.DATA)[0]["Weight"].iloc[shown]
    assert {row[0] for row in signature.sample["rows"]} <= set(weights)
    assert signature.features[0].max <= weights.max()


def test_the_same_seed_gives_the_same_bytes_and_another_sample_another_version(tmp_path):
    first, signature = trained(tmp_path, sample_rows=500)
    assert trained(tmp_path, "again.joblib", sample_rows=np.int64(500))[0] == first
    versions = {signature.version}
    versions |= {trained(tmp_path, **options)[1].version for options in ({}, {"sample_rows": 501}, {"seed": 4})}
    assert len(versions) == 4


def test_a_sample_of_all_rows_is_a_training_without_it_but_for_the_version(tmp_path):
    card = trained(tmp_path)[1].card
    sampled = trained(tmp_path, sample_rows=5000)[1].card
    assert sampled["version"] != card["version"]
    assert {**sampled, "version": card["version"]} == card
    assert "sampled" not in card["data"]


@pytest.mark.parametrize("rows", [0, -1, 1.5, "many", True, float("nan")])
def test_rows_that_cannot_be_sampled_are_refused(rows):
    for ask in (mlib.retrain, lambda **options: mlib.compare(["ridge"], **options)):
        with pytest.raises(OptionError, match=r"The rows to sample are .*, expected a whole number from 1\."):
            ask(sample_rows=rows)


def test_a_comparison_takes_the_same_sample():
    result = mlib.compare(["dummy"], sample_rows=300, cv=2)
    assert result["n"] == 300
    assert result["notices"] == ["A uniform sample of 300 of 1,277 rows."]


def test_a_sample_that_is_too_small_to_train_on_is_refused_before_the_model_is_written(tmp_path):
    with pytest.raises(DataError, match=r"^2 rows of .* are used; a test size of 0\.1 holds out 1 of them"):
        mlib.retrain(model_name=tmp_path / "m.joblib", sample_rows=2)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------ the command line


def test_the_command_says_that_it_took_a_sample(tmp_path, big):
    path = tmp_path / "m.joblib"
    options = ("--data", big, "--target", "y", "--feature", "x", "--estimator", "linear", "--model-name", path)
    done = run("./utilscli.py", "retrain", "--sample-rows", 2000, *options)
    assert done.returncode == 0
    assert done.stderr == "Retraining Model\nA uniform sample of 2,000 of 150,000 rows.\n"
    told = "1,800 of 2,000 rows, a uniform sample of the 150,000 rows of big.csv (seed 3)"
    facts = run("./utilscli.py", "info", "--model", path).stdout.splitlines()
    assert f"Trained on    {told}" in facts
    assert f"| Trained on | {told} |" in run("./utilscli.py", "info", "--model", path, "--markdown").stdout
    card = json.loads(run("./utilscli.py", "info", "--model", path, "--json").stdout)
    assert card["data"]["sampled"] == {"rows": 2000, "seed": 3}
    assert mlib.predict({"x": 1000}, path) == {"y": pytest.approx(500)}


@pytest.mark.parametrize("rows", ["0", "-5", "many", "1.5", ""])
@pytest.mark.parametrize("command", ["retrain", "compare"])
def test_a_number_of_rows_that_cannot_be_is_a_usage_error(command, rows):
    done = run("./utilscli.py", command, "--sample-rows", rows)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Invalid value for '--sample-rows'" in done.stderr
