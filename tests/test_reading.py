"""core/reading.py: every kind of file is read alike to train and to predict, or refused in one line."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from core import reading
from core.errors import DataError, OptionError
from core.reading import read_rows, read_table

CITIES = {"city": ["Rome", "Oslo"], "x": [1, 2], "y": [1.5, 2.5]}


def columns(path, **options):
    """Return what `read_table` makes of a file, a list a column."""
    return read_table(path, **options)[0].to_dict("list")


def written(tmp_path, content, name="table.csv"):
    """Write bytes and return their path."""
    path = tmp_path / name
    path.write_bytes(content)
    return path


def refused(read, path, **options):
    """Return the one line by which a file is refused."""
    with pytest.raises(DataError) as caught:
        read(path, **options)
    said = str(caught.value)
    assert said.isprintable()
    assert str(path) in said
    return said


both = pytest.mark.parametrize("read", [read_table, read_rows])

# ------------------------------------------------------------------------------------------------------------ CSV


def test_a_plain_table_is_read_with_its_digest_and_without_notices(write_table):
    path = write_table("city,x,y\nRome,1,1.5\nOslo,2,2.5\n")
    table, sha256, notices = read_table(path)
    assert table.to_dict("list") == CITIES
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not notices


def test_the_rows_of_a_plain_table_are_text(write_table):
    rows, _, notices = read_rows(write_table("city,x,y\nRome,1,1.50\nOslo,02,\n"))
    assert rows == [{"city": "Rome", "x": "1", "y": "1.50"}, {"city": "Oslo", "x": "02", "y": ""}]
    assert not notices


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_any_usual_separator_and_line_end_is_told(tmp_path, separator, end):
    text = end.join(["city,x,y", "Rome,1,1.5", "Oslo,2,2.5", ""]).replace(",", separator)
    path = written(tmp_path, text.encode())
    assert columns(path) == CITIES
    rows, _, notices = read_rows(path)
    assert rows == [{"city": "Rome", "x": "1", "y": "1.5"}, {"city": "Oslo", "x": "2", "y": "2.5"}]
    assert not notices


def test_a_rare_separator_is_told_in_a_notice(write_table):
    path = write_table("city:x\nRome:1\nOslo:2\nBern:3\n")
    table, _, notices = read_table(path)
    assert table.to_dict("list") == {"city": ["Rome", "Oslo", "Bern"], "x": [1, 2, 3]}
    assert notices == [f"{path} was read as a table whose fields are separated by ':'."]
    assert read_rows(path)[0][2] == {"city": "Bern", "x": "3"}


def test_one_column_needs_no_separator(write_table):
    path = write_table("Weight\n180\n200\n")
    assert columns(path) == {"Weight": [180, 200]}
    assert read_rows(path) == ([{"Weight": "180"}, {"Weight": "200"}], False, [])


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ('name,note\nA,"x; y"\nB,"u; v"\n', {"name": "A", "note": "x; y"}),
        ('name,"note; more"\nA,"x; y"\nB,"u; v"\n', {"name": "A", "note; more": "x; y"}),
        ("name,tags\nA,x|y\nB,u|v\n", {"name": "A", "tags": "x|y"}),
        ('"size 15""";a;y\n1;2;3\n', {'size 15"': "1", "a": "2", "y": "3"}),
        ("Height, cm;Weight, kg\n1,5;a\n2,5;b\n", {"Height, cm": "1,5", "Weight, kg": "a"}),
        ('name;note\nA;"x\ny"\nB;z\n', {"name": "A", "note": "x\ny"}),
        ('name,note\nA,"say ""x"""\nB,z\n', {"name": "A", "note": 'say "x"'}),
    ],
)
def test_other_separators_in_texts_and_names_do_not_mislead(write_table, text, first):
    path = write_table(text)
    assert read_rows(path)[0][0] == first
    assert list(columns(path)) == list(first)


def test_blank_lines_are_skipped(write_table):
    path = write_table("\nx,y\n\n1,2\n  \n3,4\n\n")
    assert columns(path) == {"x": [1, 3], "y": [2, 4]}
    assert read_rows(path)[0] == [{"x": "1", "y": "2"}, {"x": "3", "y": "4"}]


def test_a_separator_at_the_end_of_each_row_is_no_field(write_table):
    path = write_table("x,y\n1,3,\n2,5,\n")
    assert columns(path) == {"x": [1, 2], "y": [3, 5]}
    assert read_rows(path)[0] == [{"x": "1", "y": "3"}, {"x": "2", "y": "5"}]


def test_the_first_column_may_have_no_name(write_table):
    path = write_table(",x\n0,7\n1,8\n")
    assert columns(path) == {"Unnamed: 0": [0, 1], "x": [7, 8]}
    assert read_rows(path)[0][0] == {"Unnamed: 0": "0", "x": "7"}


def test_missing_cells_are_missing_in_a_table_and_text_in_rows(write_table):
    path = write_table("x,y\n1,NA\n,b\n")
    table = read_table(path)[0]
    assert table.isna().to_numpy().tolist() == [[False, True], [True, False]]
    assert read_rows(path)[0] == [{"x": "1", "y": "NA"}, {"x": "", "y": "b"}]


def test_a_header_longer_than_the_sample_is_read(write_table):
    names = [f"column_{n}" for n in range(10_000)]  # 118,890 bytes
    path = write_table(";".join(names) + "\n" + ";".join("1" * 10_000) + "\n")
    assert list(read_table(path)[0]) == names
    assert list(read_rows(path)[0][0]) == names


# ------------------------------------------------------------------------------------------------ decimal commas


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_decimal_commas_become_points(write_table, separator):
    path = write_table("x,n,word\n3.14,1,a.b\n-2.5,2,c\n7,3,d\n".replace(",", separator).replace(".", ","))
    table = read_table(path)[0]
    assert table["x"].tolist() == [3.14, -2.5, 7.0]
    assert table["x"].dtype == np.float64
    assert table["word"].tolist() == ["a,b", "c", "d"]
    assert [row["x"] for row in read_rows(path)[0]] == ["3,14", "-2,5", "7"]
    assert read_rows(path)[1]


def test_a_missing_decimal_is_missing(write_table):
    path = write_table("x;y\n3,5;1\n;2\n1,25;3\n")
    assert read_table(path)[0]["x"].tolist() == pytest.approx([3.5, np.nan, 1.25], nan_ok=True)
    assert [row["x"] for row in read_rows(path)[0]] == ["3,5", "", "1,25"]


def test_points_and_commas_may_stand_in_columns_of_one_table(write_table):
    assert columns(write_table("x;y\n3,5;1.5\n4,5;2.5\n")) == {"x": [3.5, 4.5], "y": [1.5, 2.5]}


def test_points_far_behind_commas_are_still_decimal(write_table):
    path = write_table("x;y\n" + "3,5;7\n" * 1000 + "4,5;1.5\n" * 3)
    table = read_table(path)[0]
    assert table["x"].tolist() == [3.5] * 1000 + [4.5] * 3
    assert table["y"].tolist() == [7] * 1000 + [1.5] * 3


def test_long_numbers_without_commas_lose_no_digit(write_table):
    path = write_table("x;y\n3,5;1234567890123456789012345\n4,5;9876543210987654321098765\n")
    assert list(map(str, columns(path)["y"])) == ["1234567890123456789012345", "9876543210987654321098765"]


def test_a_column_with_one_word_keeps_its_commas_to_train(write_table):
    path = write_table("x;y\n3,5;1\nnone at all;2\n")
    assert columns(path)["x"] == ["3,5", "none at all"]


@pytest.mark.parametrize(
    "text",
    ["x\ty\n1,234\ta\n12,500\tb\n", "x;y\n1,234,567;a\n12,500;b\n", "x;y\n1.234,5;a\n2.000,5;b\n", 'x,y\n"1,5",2\n'],
)
def test_thousands_and_quoted_commas_are_left_alone(write_table, text):
    path = write_table(text)
    cells = [line.split(sep)[0] for sep in [text[1]] for line in text.splitlines()[1:]] if text[1] != "," else ["1,5"]
    assert columns(path)["x"] == cells
    assert [row["x"] for row in read_rows(path)[0]] == cells


def test_between_semicolons_a_comma_is_decimal_even_before_three_digits(write_table):
    path = write_table("x;y\n1,234;a\n2,500;b\n")
    assert columns(path)["x"] == [1.234, 2.5]
    assert [row["x"] for row in read_rows(path)[0]] == ["1,234", "2,500"]


# ------------------------------------------------------------------------------------------------------ encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_with_and_without_byte_order_mark_is_told(tmp_path, encoding):
    path = written(tmp_path, "Größe,x\nä,1\n".encode(encoding))
    assert columns(path) == {"Größe": ["ä"], "x": [1]}
    assert read_rows(path) == ([{"Größe": "ä", "x": "1"}], False, [])


@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-32-be"])
def test_big_endian_with_byte_order_mark_is_told(tmp_path, encoding):
    path = written(tmp_path, ("\ufeff" + "Größe;x\nä;1,5\n").encode(encoding))
    assert columns(path) == {"Größe": ["ä"], "x": [1.5]}
    assert read_rows(path)[0] == [{"Größe": "ä", "x": "1,5"}]


@pytest.mark.parametrize(
    ("encoding", "name", "cell"),
    [
        ("cp1252", "Name", "Müller"),
        ("cp1252", "Größe", "Höhe"),
        ("cp1252", "naïve", "café"),
        ("cp1252", "price", "5 €"),
        ("cp1252", "temp °C", "warm"),
        ("cp1252", "año", "Peña"),
        ("cp1252", "a", "“it’s”"),
        ("cp1250", "imię", "Świętosława"),
        ("cp1250", "miasto", "Gdańsk i Łódź"),
        ("cp932", "名前", "山田"),
        ("cp932", "都市", "東京の気温"),
        ("cp1251", "город", "Москва"),
    ],
)
def test_another_encoding_is_assumed_and_said(tmp_path, encoding, name, cell):
    path = written(tmp_path, f"{name},x\n{cell},1\nplain,2\n".encode(encoding))
    table, _, notices = read_table(path)
    assert table.to_dict("list") == {name: [cell, "plain"], "x": [1, 2]}
    assert notices == [f"{path} is no UTF-8; it was read as {encoding}."]
    rows, _, notices = read_rows(path)
    assert rows == [{name: cell, "x": "1"}, {name: "plain", "x": "2"}]
    assert notices == [f"{path} is no UTF-8; it was read as {encoding}."]


def test_latin_1_is_read_as_cp1252_which_has_its_letters(tmp_path):
    path = written(tmp_path, "Stadt,x\nKöln,1\n".encode("latin-1"))
    assert columns(path)["Stadt"] == ["Köln"]


def test_a_named_encoding_is_not_guessed(tmp_path):
    path = written(tmp_path, "jméno,x\nJiří,1\n".encode("cp1250"))
    table, _, notices = read_table(path, encoding="cp1250")
    assert table.to_dict("list") == {"jméno": ["Jiří"], "x": [1]}
    assert not notices


def test_a_named_encoding_may_have_nul_bytes(tmp_path):
    path = written(tmp_path, "x,y\n1,ä\n".encode("utf-16-le"))
    assert columns(path, encoding="utf-16-le") == {"x": [1], "y": ["ä"]}


def test_a_byte_order_mark_is_no_letter_of_a_named_utf_8(tmp_path):
    assert columns(written(tmp_path, "\ufeffx,y\n1,2\n".encode()), encoding="utf-8") == {"x": [1], "y": [2]}


@pytest.mark.parametrize("encoding", ["utf-99", "hex", "", "a\0b"])
def test_an_encoding_that_does_not_exist_is_a_wrong_option(write_table, encoding):
    if not encoding:
        assert columns(write_table("x,y\n1,2\n"), encoding=encoding) == {"x": [1], "y": [2]}
        return
    with pytest.raises(OptionError, match="There is no encoding"):
        read_table(write_table("x,y\n1,2\n"), encoding=encoding)


def test_bytes_that_a_named_encoding_does_not_have_are_refused(tmp_path):
    path = written(tmp_path, b"x,y\n1,a\n2,\xe9\n")
    assert "is no utf-8 (byte 10, line 3)" in refused(read_table, path, encoding="utf-8")
    assert "is no ascii" in refused(read_table, path, encoding="ascii")


@both
def test_utf_8_with_a_damaged_byte_is_not_taken_for_another_encoding(tmp_path, read):
    path = written(tmp_path, "x,y\n1,äöü\n2,éè\n".encode() + b"3,\xff\n")
    assert "is UTF-8 that is damaged, first at byte 22, line 4" in refused(read, path)


@both
def test_what_no_likely_encoding_has_is_refused(tmp_path, read):
    path = written(tmp_path, b"x,y\n1,a\x81 b\n2,\xe9\n3,\x90 c\n")
    assert "is neither UTF-8 (byte 7) nor" in refused(read, path)


# ----------------------------------------------------------------------------------------------- gzip, big, pipes


@pytest.mark.parametrize("name", ["table.csv.gz", "table.csv", "table"])
def test_gzip_is_told_by_its_first_bytes(tmp_path, name):
    content = gzip.compress(b"x;y\n1,5;a\n2,5;b\n")
    path = written(tmp_path, content, name)
    table, sha256, _ = read_table(path)
    assert table.to_dict("list") == {"x": [1.5, 2.5], "y": ["a", "b"]}
    assert sha256 == hashlib.sha256(content).hexdigest()
    assert read_rows(path)[0] == [{"x": "1,5", "y": "a"}, {"x": "2,5", "y": "b"}]


def test_json_and_parquet_may_be_gzipped(tmp_path):
    path = written(tmp_path, gzip.compress(b'{"x": 1}\n{"x": 2}\n'), "table.jsonl.gz")
    assert columns(path) == {"x": [1, 2]}
    assert read_rows(path) == ([{"x": 1}, {"x": 2}], False, [])


@both
def test_gzip_that_is_cut_off_or_damaged_is_refused(tmp_path, read):
    content = gzip.compress(os.urandom(1000).hex().encode())
    assert "is gzip that is cut off" in refused(read, written(tmp_path, content[:-20], "a.csv.gz"))
    assert "is gzip that is damaged" in refused(read, written(tmp_path, content[:40] + b"?" * 900, "b.csv.gz"))
    assert "is gzip that is damaged" in refused(read, written(tmp_path, content[:-8] + b"?" * 8, "c.csv.gz"))


@both
def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch, read):
    monkeypatch.setattr(reading, "LARGEST", 10_000_000)  # 4 GiB take long
    path = written(tmp_path, gzip.compress(b"x,y\n" + b"1,2\n" * 5_000_000), "bomb.csv.gz")
    assert "unpacks to more than 10,000,000 bytes" in refused(read, path)


def big_table(rows=500_000):
    """Return a CSV table of more than 5 MiB, as bytes."""
    return b"x,y,word\n" + b"".join(b"%d,%d.5,w%d\n" % (n, n, n % 10) for n in range(rows))


def test_a_big_file_is_what_pandas_reads_with_the_digest_of_its_bytes(tmp_path):
    content = big_table()
    path = written(tmp_path, content)
    assert len(content) > reading.BIG
    table, sha256, notices = read_table(path)
    pd.testing.assert_frame_equal(table, pd.read_csv(io.BytesIO(content)))
    assert sha256 == hashlib.sha256(content).hexdigest()
    assert not notices


def test_a_big_gzip_and_a_big_table_of_decimal_commas_are_the_same_table(tmp_path):
    content = big_table()
    table = read_table(written(tmp_path, content))[0]
    packed = read_table(written(tmp_path, gzip.compress(content, 1), "table.csv.gz"))[0]
    commas = read_table(written(tmp_path, content.replace(b",", b";").replace(b".", b","), "commas.csv"))[0]
    pd.testing.assert_frame_equal(packed, table)
    pd.testing.assert_frame_equal(commas, table)


def test_a_big_file_of_another_encoding_is_read_and_said(tmp_path):
    path = written(tmp_path, big_table() + "1,2,Köln\n".encode("cp1252"))
    table, _, notices = read_table(path)
    assert table["word"].iloc[-1] == "Köln"
    assert len(table) == 500_001
    assert notices == [f"{path} is no UTF-8; it was read as cp1252."]


def test_a_nul_byte_far_in_a_big_file_is_refused(tmp_path):
    path = written(tmp_path, big_table() + b"1,2,a\0b\n")
    assert "has a NUL byte (line 500002)" in refused(read_table, path)


def test_a_long_row_far_in_a_big_file_is_refused(tmp_path):
    path = written(tmp_path, big_table() + b"1,2,3,4\n")
    assert "Expected 3 fields in line 500002, saw 4" in refused(read_table, path)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_column_of_numbers_and_words_is_text_throughout(tmp_path, is_first):
    numbers, words = b"1,2\n" * 800_000, b"1,word\n" * 800_000
    path = written(tmp_path, b"x,y\n" + (numbers + words if is_first else words + numbers))
    assert path.stat().st_size > reading.BIG
    kinds = read_table(path)[0]["y"].map(type).unique().tolist()
    assert kinds == [str]


def test_a_big_file_that_grows_while_it_is_read_is_refused(tmp_path):
    path = written(tmp_path, big_table())
    stop = threading.Event()

    def grow():
        while not stop.is_set():
            with open(path, "ab") as file:
                file.write(b"1,2,late\n")

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        said = refused(read_table, path)
    finally:
        stop.set()
        thread.join()
    assert "changed while it was read" in said


CODE = (
    "import json, sys; from core.reading import read_table; table, sha256, notices = read_table(sys.argv[1]); "
    "print(len(table), sha256)"
)


@pytest.mark.parametrize("content", [b"x,y\n1,2\n3,4\n", gzip.compress(b"x,y\n1,2\n3,4\n", mtime=0)])
def test_a_table_may_come_through_a_pipe(content):
    done = subprocess.run(
        [sys.executable, "-c", CODE, "/dev/stdin"], input=content, capture_output=True, check=True, cwd=ROOT
    )
    assert done.stdout.decode().split() == ["2", hashlib.sha256(content).hexdigest()]


def test_a_big_table_may_come_through_a_pipe_or_a_redirection(tmp_path):
    content = big_table()
    path = written(tmp_path, content)
    digest = hashlib.sha256(content).hexdigest()
    with open(path, "rb") as file:
        for given in ({"input": content}, {"stdin": file}):
            command = [sys.executable, "-c", CODE, "/dev/stdin"]
            done = subprocess.run(command, **given, capture_output=True, check=True, cwd=ROOT)
            assert done.stdout.decode().split() == ["500000", digest]


def test_rows_may_come_from_the_standard_input_without_pandas_or_numpy():
    code = (
        "import sys; from core.reading import read_rows; print(read_rows('-')); "
        "print({'pandas', 'numpy', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input="x;y\n1,5;ä\n".encode("utf-16"), capture_output=True, check=True, cwd=ROOT
    )
    assert done.stdout.decode().splitlines() == ["([{'x': '1,5', 'y': 'ä'}], True, [])", "set()"]


def test_an_empty_standard_input_is_refused():
    code = "from core.reading import read_rows\ntry: read_rows('-')\nexcept Exception as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], input=b"", capture_output=True, check=True, cwd=ROOT)
    assert done.stdout.decode() == "The standard input is empty. It needs a header line and rows.\n"


# ------------------------------------------------------------------------------------------------------- refusals

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01"
ZIP = b"PK\x03\x04\x14\0\0\0\x08\0" + b"[Content_Types].xml"


@both
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"x,y\n", "has a header but no rows"),
        (b"x,x,y\n1,3,1\n", "has 2 columns of the name 'x'"),
        (b"a,,\n1,2,3\n", "has 2 columns without a name"),
        (b"Unnamed: 1,\n1,2\n", "has 2 columns of the name 'Unnamed: 1'"),
        (b'x,y\n1,"a\n2,b\n', "row"),
        (PNG, "is of no known format. Save it as CSV, JSON lines or a JSON array"),
        (ZIP, "is of no known format"),
        (b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", "is of no known format"),
        (b"x,y\n1,a\0b\n", "has a NUL byte (line 2)"),
        ("x,y\n1,2\n".encode("utf-16-le"), "has a NUL byte (line 1)"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path, read, content, said):
    assert said in refused(read, written(tmp_path, content))


@both
def test_a_missing_file_and_a_folder_are_refused(tmp_path, read):
    assert "No such file" in refused(read, tmp_path / "none.csv")
    assert "Is a directory" in refused(read, tmp_path)


def test_to_train_rows_may_be_short_but_not_long(write_table):
    assert read_table(write_table("x,y\n1\n2,3\n"))[0]["y"].isna().tolist() == [True, False]
    assert "Expected 2 fields in line 3, saw 3" in refused(read_table, write_table("x,y\n1,2\n3,4,5\n"))
    assert "rows with more fields than its header" in refused(read_table, write_table("x,y\n1,3,1\n2,5,1\n"))


def test_to_predict_rows_may_be_short_but_not_long(write_table):
    assert read_rows(write_table("x,y\n1\n2,3\n"))[0] == [{"x": "1", "y": ""}, {"x": "2", "y": "3"}]
    assert "row 2 has 3 fields, and the header has 2" in refused(read_rows, write_table("x,y\n1,2\n\n3,4,5\n"))
    assert "row 1 has 3 fields" in refused(read_rows, write_table("x,y\n1,3,\n2,5\n"))


def test_an_unclosed_quote_is_said_with_its_row(write_table):
    path = write_table('x,y\n1,a\n2,"b\n3,c\n')
    assert "row 2: a quote is not closed" in refused(read_rows, path)
    assert "EOF inside string" in refused(read_table, path)


# ----------------------------------------------------------------------------------------------------------- JSON

JSON_ROWS = [{"x": 1, "word": "01"}, {"x": 2.5, "word": "2020-01-01"}, {"x": None, "word": "true"}]


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "a", "a.txt"])
@pytest.mark.parametrize("is_array", [True, False])
def test_json_is_told_by_name_or_content_and_its_text_stays_text(tmp_path, name, is_array):
    lines = "\r\n".join(map(json.dumps, JSON_ROWS)) + "\n\n"
    path = written(tmp_path, (json.dumps(JSON_ROWS, indent=1) if is_array else lines).encode(), name)
    table, sha256, notices = read_table(path)
    assert table["word"].tolist() == ["01", "2020-01-01", "true"]
    assert table["x"].tolist() == pytest.approx([1, 2.5, np.nan], nan_ok=True)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not notices
    assert read_rows(path) == (JSON_ROWS, False, [])


def test_rows_of_json_may_lack_keys(tmp_path):
    path = written(tmp_path, b'{"x": 1, "y": true}\n{"x": 2}\n', "a.jsonl")
    table = read_table(path)[0]
    assert table["x"].tolist() == [1, 2]
    assert table["y"].isna().tolist() == [False, True]
    assert read_rows(path)[0] == [{"x": 1, "y": True}, {"x": 2}]


@pytest.mark.parametrize("times", [1, 2])
def test_an_object_may_stand_on_several_lines(tmp_path, times):
    path = written(tmp_path, b'{\n "x": 1,\n "y": "a"\n}\n' * times, "a.json")
    assert columns(path) == {"x": [1] * times, "y": ["a"] * times}
    assert read_rows(path)[0] == [{"x": 1, "y": "a"}] * times


def test_json_of_another_encoding_is_read_and_said(tmp_path):
    path = written(tmp_path, '{"x": "Köln"}\n'.encode("cp1252"), "a.jsonl")
    assert columns(path) == {"x": ["Köln"]}
    assert read_rows(path) == ([{"x": "Köln"}], False, [f"{path} is no UTF-8; it was read as cp1252."])


def test_csv_whose_name_says_so_may_begin_like_json(tmp_path):
    assert columns(written(tmp_path, b"{x},y\n1,2\n")) == {"{x}": [1], "y": [2]}
    assert columns(written(tmp_path, b"[x],y\n1,2\n", "a")) == {"[x]": [1], "y": [2]}


@both
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"x": 1}\n\n{"x": 2,}\n', "line 3 cannot be read as JSON"),
        (b'{"x": 1}\n{"x": 2', "line 2 cannot be read as JSON"),
        (b'{"x": 1} 2\n', "line 1 cannot be read as JSON: more stands behind the value"),
        (b'{"x": 1}\n{"x": NaN}\n', "line 2 cannot be read as JSON: NaN is no JSON; write null"),
        (b'[{"x": 1},\n {"x": -Infinity}]', "line 2 cannot be read as JSON: -Infinity is no JSON"),
        (b'{"x": 1}\n{"x": 1, "x": 2}\n', "line 2 cannot be read as JSON: the key 'x' stands twice"),
        (b'[{"x": 1},\n\n{"x": 1, "x": 2}]', "line 3 cannot be read as JSON: the key 'x' stands twice"),
        (b'{"x": 1}\n3\n', "line 2: expected an object a row"),
        (b'[{"x": 1},\n3]', "line 2: expected an object a row"),
        (b'[{"x": 1}\n{"x": 2}]', "line 2 cannot be read as JSON: expected a comma or the array's end"),
        (b'[{"x": 1},\n', "line 1 cannot be read as JSON"),
        (b'[{"x": 1},\n]', "line 2 cannot be read as JSON"),
        (b'[{"x": 1}]\n[', "cannot be read as JSON: more stands behind the array"),
        (b"[]", "has no rows"),
        (b"[ ]", "has no rows"),
        (b'{"x": "a"}\n{"x": "\\ud800"}', "line 2 has half a character"),
        (b'{"x": ' + b"[" * 100_000, "line 1 cannot be read as JSON: it is nested too deeply"),
        (b'{"x": ' + b"1" * 5000 + b"}", "line 1 cannot be read as JSON: a number has too many digits"),
        (b"x,y\n1,2\n", "line 1 cannot be read as JSON"),
        (b'{\n "x": 1,\n "y": NaN\n}\n', "cannot be read as JSON: NaN is no JSON"),
        (b'{\n "x": 1,\n "y": ?\n}\n', "line 3 cannot be read as JSON"),
    ],
)
def test_bad_json_is_refused_with_its_line(tmp_path, read, content, said):
    assert said in refused(read, written(tmp_path, content, "a.json"))


def test_to_train_no_cell_is_an_object_or_a_list(tmp_path):
    path = written(tmp_path, b'{"x": 1, "y": 1}\n{"x": 2, "y": {"z": 3}}\n', "a.jsonl")
    assert "row 2, column 'y' is an object" in refused(read_table, path)
    path = written(tmp_path, b'[{"x": [1]}]', "a.json")
    assert "row 1, column 'x' is a list" in refused(read_table, path)
    assert "has no rows" in refused(read_table, written(tmp_path, b"{}\n{}\n", "a.json"))


def test_to_predict_json_values_stay_what_they_are(tmp_path):
    path = written(tmp_path, b'{"x": [1], "y": {"z": "3"}, "w": "\\ud83d\\ude00"}\n', "a.jsonl")
    assert read_rows(path)[0] == [{"x": [1], "y": {"z": "3"}, "w": "😀"}]


# -------------------------------------------------------------------------------------------------------- Parquet


@pytest.fixture(name="write_parquet")
def _write_parquet(tmp_path):
    """Write a table as Parquet and return its path."""
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")

    def write(table, name="table.parquet"):
        table.to_parquet(tmp_path / name)
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", ["table.parquet", "table"])
def test_parquet_is_told_by_name_or_content(write_parquet, name):
    path = write_parquet(pd.DataFrame({"x": [1.5, None], "word": ["01", None], "n": [1, 2]}), name)
    table, sha256, notices = read_table(path)
    assert table["x"].isna().tolist() == [False, True]
    assert table["word"].tolist()[0] == "01"
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not notices
    rows = [{"x": 1.5, "word": "01", "n": 1}, {"x": None, "word": None, "n": 2}]
    assert read_rows(path) == (rows, False, [])


def test_a_named_index_of_parquet_becomes_a_column_and_a_nameless_one_goes(write_parquet):
    assert columns(write_parquet(pd.DataFrame({"x": [1]}, index=pd.Index(["a"], name="id")))) == {"id": ["a"], "x": [1]}
    assert columns(write_parquet(pd.DataFrame({"x": [1]}, index=[7]))) == {"x": [1]}


@both
def test_parquet_that_is_damaged_or_nested_or_empty_is_refused(tmp_path, write_parquet, read):
    whole = write_parquet(pd.DataFrame({"x": range(1000)})).read_bytes()
    assert "is no whole Parquet file" in refused(read, written(tmp_path, whole[:-100], "a.parquet"))
    assert "is no whole Parquet file" in refused(read, written(tmp_path, b"PAR1", "b"))
    assert "is no whole Parquet file" in refused(read, written(tmp_path, b"x,y\n1,2\n", "c.parquet"))
    assert "row 2, column 'x' is a list" in refused(read, write_parquet(pd.DataFrame({"x": [None, [1]]})))
    assert "row 1, column 'x' is an object" in refused(read, write_parquet(pd.DataFrame({"x": [{"y": 1}]})))
    assert "has no rows" in refused(read, write_parquet(pd.DataFrame({"x": []})))


@pytest.mark.parametrize("missing", ["pandas", "pyarrow"])
def test_parquet_without_its_packages_says_what_to_install(tmp_path, missing):
    path = written(tmp_path, b"PAR1PAR1", "a.parquet")
    code = (  # None in sys.modules is how Python itself marks what cannot be imported
        f"import sys; sys.modules[{missing!r}] = None\nfrom core.reading import read_rows\n"
        f"try: read_rows({str(path)!r})\nexcept Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=ROOT)
    assert done.stdout.decode().startswith("DataError")
    assert "pip install pandas pyarrow" in done.stdout.decode()
