"""What rows does a file hold?

>>> table, sha256, notices = read_table("htwtmlb.csv")  # to train: a pandas table
>>> table.shape
(1277, 7)
>>> rows, has_commas, notices = read_rows("htwtmlb.csv")  # to predict: plain rows, without pandas
>>> rows[0]["Weight"]
'225'

It reads CSV with any usual separator and encoding, JSON lines, a JSON array of objects, each of them also gzipped,
and Parquet. What it had to assume of a file it says in a notice; what it cannot read it refuses in one line.
"""

import codecs
import collections
import contextlib
import csv
import dataclasses
import functools
import hashlib
import io
import itertools
import json
import os
import re
import stat
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

from core.errors import DataError, OptionError

FORMATS = "CSV, JSON lines or a JSON array, each of them also gzipped, or Parquet"
SNIFFED = 65_536  # bytes that the separator is told from,
SNIFFED_ROWS = 100  # and so many rows of them
SEPARATORS = "\t|;,"  # where two split a table equally well, the first is meant: commas stand in texts and numbers
RARE_SEPARATORS = " :^~#!&*"  # what csv.Sniffer may find where none of the above splits the header
BIG = 5 * 1024**2  # bytes of a CSV file from which on pandas reads in several threads, if it may open it itself
PIECE = 1024**2  # bytes that are hashed or unpacked at once
LARGEST = 4 * 1024**3  # bytes that a gzip file may unpack to

GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
WIDE_BOMS = {  # those of UTF-32 first: one of them begins as one of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
CONTROL = re.compile(rb"[\x01-\x08\x0e-\x19\x1c-\x1f]")  # what hardly stands in text
MOST_CONTROL = 0.02  # of a text's first bytes
NUMBER = re.compile(r"[-+]?\d+(,\d+)?([eE][-+]?\d+)?")  # as written where the comma is the decimal point
DECIMAL = re.compile(r"-?\d+,\d+(?:[eE][-+]?\d+)?")
THOUSANDS = re.compile(r"-?[1-9]\d{0,2},\d{3}")  # may be 1234 as well as 1.234
POINT = re.compile(r"[-+]?\d*\.?\d+([eE][-+]?\d+)?")  # as written where the point is
MILLIONS = re.compile(r"-?\d{1,3}(,\d{3}){2,}")
SCRIPTS = {  # encodings in use of other scripts than the Latin one
    *("cp932", "shift_jis", "euc_jp", "cp949", "euc_kr", "gb18030", "gbk", "gb2312", "big5", "cp950"),
    *("cp1251", "koi8_r", "cp866", "iso8859_5", "cp1253", "iso8859_7", "cp1255", "cp1256", "cp874"),
}
POLISH = re.compile(r"[a-zó][¹³¿][a-zó]|£[a-zó]")  # cp1250's ą, ł, ż and Ł, read as cp1252


# ----------------------------------------------------------------------------------------------- the two questions


def read_table(path, encoding=None):
    """Read a table to train on.

    A column of CSV becomes numbers when all its cells are numbers. With another separator than the comma they may have
    decimal commas. Empty cells, NA and the other marks that pandas knows are missing values.

    Parameters
    ----------
    path : path
        A file of CSV, JSON or Parquet, gzipped or not; also a pipe, such as ``/dev/stdin``.
    encoding : str, optional
        Such as ``"cp1250"``. It is told from the file unless given.

    Returns
    -------
    table : pandas.DataFrame
        The rows in the order of the file.
    sha256 : str
        Of the bytes of the file, as they lie on the disk; 64 hex digits.
    notices : list of str
        What was assumed: an encoding that is not UTF-8, an unusual separator.

    Raises
    ------
    DataError
        The file is missing, empty, damaged, of no known format, or changed while it was read; it has a header only;
        two columns have one name; rows have more fields than the header.
    OptionError
        No encoding has the name that was given.

    Examples
    --------
    >>> table, sha256, notices = read_table("htwtmlb.csv")
    >>> int(table["Weight"].min()), sha256[:6], notices
    (145, '3eb759', [])
    """
    check_encoding(encoding)
    found = None if encoding else _big_csv(path)
    if found:
        return found
    content = _content(path)
    sha256 = hashlib.sha256(content).hexdigest()
    content = _unpacked(content, path)
    if _is_parquet(path, content):
        return parse_parquet(content, path), sha256, []
    text, notices = _text(content, path, encoding)
    if _is_json(path, text):
        return _json_table(text, path), sha256, notices
    sample = text[:SNIFFED]
    separator, more = _separator(sample, path)
    return _csv_table(text.encode(), separator, _decimal(sample, separator), path), sha256, notices + more


def form(start, path, encoding=None):
    r"""Tell a table's format by its name and its first bytes, as `read_table` does.

    Parameters
    ----------
    start : bytes
        Unpacked.
    path : path
    encoding : str, optional
        As for `read_table`.

    Returns
    -------
    str
        "csv", "jsonl", "json" (an array, or objects of several lines each) or "parquet".

    Raises
    ------
    DataError
        There is nothing in it, or it is no text.
    OptionError
        No encoding has the name that was given.

    Examples
    --------
    >>> form(b'{"Weight": 200}\n', "players")
    'jsonl'
    """
    if not start.strip():
        raise DataError(f"{path} is empty. It needs a header line and rows.")
    if _is_parquet(path, start):
        return "parquet"
    found = look(start, path, encoding, is_csv=False)
    text = codecs.getincrementaldecoder(found.encoding)("replace").decode(start).removeprefix("\ufeff")
    if not _is_json(path, text):
        return "csv"
    return "json" if text.lstrip().startswith("[") or _has_indented_objects(text) else "jsonl"


def parse_table(content, path, encoding=None, separator=None, places=None):
    """Read a table to train on from some rows of a text, as `read_table` reads all of them.

    Parameters
    ----------
    content : bytes
        Of CSV the header and rows; or JSON lines.
    path : path
        What they are from, for errors and notices.
    encoding : str, optional
        As for `read_table`.
    separator : str, optional
        Of CSV; JSON lines have none.
    places : dict of int to int, optional
        Of JSON lines, in which line of the file each stands, from 1, and which row it is, from 0; as in `content`
        unless told.

    Returns
    -------
    table : pandas.DataFrame
    notices : list of str

    Raises
    ------
    DataError
        As of `read_table`.

    Examples
    --------
    >>> table, notices = parse_table(b"Name;Weight\nJoe;81,5\n", "players.csv", separator=";")
    >>> float(table["Weight"].iloc[0])
    81.5
    """
    text, notices = _text(content, path, encoding)
    if separator is None:
        return _json_table(text, path, places), notices
    return _csv_table(text.encode(), separator, _decimal(text[:SNIFFED], separator), path), notices


def read_rows(path):
    """Read rows to predict, without pandas.

    The cells of CSV stay text, as they stand in the file.

    Parameters
    ----------
    path : path
        A file as for ``read_table``; ``"-"`` is the standard input. Only Parquet needs pandas.

    Returns
    -------
    rows : list of dict
        A dict a row, from the columns' names to the cells; where a row ends early, to "".
    has_commas : bool
        Whether numbers may have decimal commas: it is CSV with another separator.
    notices : list of str
        What was assumed: an encoding that is not UTF-8, an unusual separator.

    Raises
    ------
    DataError
        The file is missing, empty, damaged or of no known format; it has a header only; two columns have one name;
        a row has too many fields; a quote is not closed; the JSON has NaN or a key twice; it is Parquet,
        and pandas or pyarrow is not installed.

    Examples
    --------
    >>> rows, has_commas, notices = read_rows("htwtmlb.csv")
    >>> len(rows), rows[0]["Age"]
    (1277, '23.95')
    """
    content = _content(path)
    path = "The standard input" if path == "-" else path
    content = _unpacked(content, path)
    if _is_parquet(path, content):
        return _parquet_rows(content, path), False, []
    text, notices = _text(content, path, None)
    if _is_json(path, text):
        return [row for _, row in _json_rows(text, path)], False, notices
    separator, more = _separator(text[:SNIFFED], path)
    return _csv_rows(text, separator, path), separator != ",", notices + more


def parse_csv(content, name, columns=None):
    r"""Read rows of CSV that are in memory, without pandas.

    Parameters
    ----------
    content : bytes
        UTF-8.
    name : str
        What it is called in an error.
    columns : list of str, optional
        The columns where there may be no header line: a first line that names none of them is a row.

    Returns
    -------
    rows : list of dict
        As of `read_rows`.
    has_commas : bool
        Whether numbers may have decimal commas.

    Raises
    ------
    DataError
        As of `read_rows`.

    Examples
    --------
    >>> parse_csv(b"Weight\n200\n", "The body")
    ([{'Weight': '200'}], False)
    """
    if not content.strip():
        raise DataError(f"{name} is empty. It needs a header line and rows.")
    text, _ = _text(content, name, "utf-8")
    separator, _ = _separator(text[:SNIFFED], name)
    return _csv_rows(text, separator, name, columns), separator != ","


def parse_line(text, keys=None):
    """Read a line of JSON lines.

    Parameters
    ----------
    text : str
    keys : frozenset of str, optional
        Those that may not stand twice in an object; of others the last counts. All of them unless told.

    Returns
    -------
    JSON value

    Raises
    ------
    DataError
        Why it is none.

    Examples
    --------
    >>> parse_line('{"Weight": 200}')
    {'Weight': 200}
    """
    try:
        value, end = _decoder(keys).raw_decode(text.strip())
    except RecursionError as error:
        raise DataError("it is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise DataError(error.msg) from error
    except ValueError as error:
        reason = "a number has too many digits" if str(error).startswith("Exceeds the limit") else str(error)
        raise DataError(reason) from error
    if end < len(text.strip()):
        raise DataError("more stands behind the value")
    return value


@dataclasses.dataclass
class Look:
    """What the beginning of a text tells.

    Attributes
    ----------
    encoding : str
    separator : str
    columns : list of str
        What the header names.
    lines : int
        How many lines it has, and blank ones before it.
    commas : bool
        Whether numbers in the first rows have decimal commas.
    notices : list of str
        What was assumed.
    """

    encoding: str
    separator: str = ","
    columns: list = dataclasses.field(default_factory=list)
    lines: int = 0
    commas: bool = False
    notices: list = dataclasses.field(default_factory=list)


def look(start, path, encoding=None, is_csv=True):
    r"""Tell by a text's first bytes how to read it.

    Parameters
    ----------
    start : bytes
        Whole lines, but the last may be cut.
    path : path
        For errors and notices.
    encoding : str, optional
        As for `read_table`.
    is_csv : bool
        Whether it is CSV; else the encoding is all that is told.

    Returns
    -------
    Look

    Raises
    ------
    DataError
        It is no text, or its header has two columns of one name.
    OptionError
        No encoding has the name that was given.

    Examples
    --------
    >>> look(b"Name;Weight\nJoe;81,5\n", "players.csv")
    Look(encoding='utf-8', separator=';', columns=['Name', 'Weight'], lines=1, commas=True, notices=[])
    """
    check_encoding(encoding)
    whole = start[: start.rfind(b"\n") + 1] or start
    wide = next((name for mark, name in WIDE_BOMS.items() if start.startswith(mark)), None)
    if encoding or wide or _is_damaged(whole):
        decoder = codecs.getincrementaldecoder(encoding or wide or "utf-8")("replace")
        try:
            text, notices = decoder.decode(start).removeprefix("\ufeff"), []
        except UnicodeError as error:  # all else is replaced; Pythons say it in words of their own
            name = encoding or wide
            raise DataError(
                f"{path} is no {name}: it does not begin with a byte order mark. Name {name}-le, {name}-be or another."
            ) from error
    else:
        text, notices = _text(_without_few_nuls(whole, is_csv), path, None)
    told = notices[0].split()[-1].rstrip(".") if notices else None  # "... was read as cp1252."
    found = Look(codecs.lookup(encoding or wide or told or "utf-8").name, notices=notices)
    if not is_csv:
        return found
    sample = text[:SNIFFED]
    found.separator, more = _separator(sample, path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=found.separator)
    try:
        header = next((line for line in reader if line and (len(line) > 1 or line[0].strip())), [])
    except csv.Error as error:
        raise DataError(f"{path} has a header that cannot be read: {error}.") from error
    found.columns, found.lines = _check_names(header, path), reader.line_num
    found.commas = _decimal(sample, found.separator) == ","
    found.notices = notices + more
    return found


# ------------------------------------------------------------------------------------------------------ the bytes


def _content(path):
    """Read the bytes once: what comes through a pipe comes once."""
    if path == "-":
        if sys.stdin is None:
            raise DataError("There are no rows: the standard input is closed.")
        return sys.stdin.buffer.read()
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Name a file of {FORMATS}.") from error


def _unpacked(content, path):
    """Unpack gzip, by its first bytes; refuse what is cut off, damaged, empty, or a bomb."""
    import gzip

    if content.startswith(GZIP):
        unpacked = io.BytesIO()
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
                while piece := file.read(PIECE):
                    unpacked.write(piece)
                    if unpacked.tell() > LARGEST:
                        raise DataError(f"{path} unpacks to more than {LARGEST:,} bytes. Unpack it, and take a part.")
        except EOFError as error:
            raise DataError(f"{path} is gzip that is cut off. Copy or download it again.") from error
        except (OSError, zlib.error) as error:
            raise DataError(f"{path} is gzip that is damaged ({error}). Copy or download it again.") from error
        content = unpacked.getvalue()
    if not content.strip():
        raise DataError(f"{path} is empty. It needs a header line and rows.")
    return content


def _suffix(path):
    """Return the end of the name that tells the format, without .gz: ".csv"; "" where there is none."""
    name = str(path).lower().removesuffix(".gz")
    return os.path.splitext(name)[1]


def _is_parquet(path, content):
    """Tell Parquet by name or by its first bytes."""
    return _suffix(path) == ".parquet" or content.startswith(PARQUET)


def _is_json(path, text):
    """Tell JSON by name, else by how it begins: with an object, or with an array of objects."""
    suffix = _suffix(path)
    if suffix in (".json", ".jsonl", ".ndjson"):
        return True
    return suffix not in (".csv", ".tsv") and bool(re.match(r"\s*(\{|\[\s*[{\]])", text))


# ------------------------------------------------------------------------------------------------------- the text


def check_encoding(encoding):
    """Refuse a name that no text encoding has.

    Parameters
    ----------
    encoding : str or None

    Raises
    ------
    OptionError
    """
    try:
        with contextlib.suppress(UnicodeDecodeError):  # a single byte is no text in UTF-16: it is an encoding
            b"a".decode(encoding or "utf-8")
        codecs.getincrementaldecoder(encoding or "utf-8")("replace").decode(b"")
    except (LookupError, ValueError) as error:
        raise OptionError(f"There is no encoding {encoding!r}. Name one such as utf-8, cp1252 or shift-jis.") from error


def _without_few_nuls(content, has_header):
    """The text without NUL bytes where most lines have none: so they are damage of rows, each refused for its own."""
    if b"\0" not in content:
        return content
    lines = content.splitlines()
    broken = [b"\0" in line for line in lines]
    is_other = (has_header and broken[0]) or 2 * sum(broken) > len(lines)
    return content if is_other else content.replace(b"\0", b" ")


def _is_binary(start):
    """Whether a file's first bytes are those of no text."""
    is_other = start.startswith((b"%PDF", b"PK\x03\x04"))
    return is_other or len(CONTROL.findall(start)) > MOST_CONTROL * len(start)


def _text(content, path, encoding):
    """Return the text without byte order mark, and a notice where its encoding is a guess."""
    wide = next((name for mark, name in WIDE_BOMS.items() if content.startswith(mark)), None)
    if not (encoding or wide) and _is_binary(content[:SNIFFED]):
        raise DataError(f"{path} is of no known format. Save it as {FORMATS}.")
    notices = []
    try:
        text = content.decode(encoding or wide or "utf-8")
    except UnicodeDecodeError as error:
        if encoding or wide:
            raise DataError(
                f"{path} is no {encoding or wide} (byte {error.start}, line {_line(content, error.start)}). "
                "Name its encoding, or save it as UTF-8."
            ) from error
        text, notices = _guessed(content, path, error.start)
    text = text.removeprefix("\ufeff")
    if "\0" in text:
        raise nul_error(path, _line(text, text.index("\0")))
    if not text.strip():
        raise DataError(f"{path} is empty. It needs a header line and rows.")
    return text, notices


def nul_error(path, line):
    """Say that a text has a NUL byte.

    Parameters
    ----------
    path : path
    line : int

    Returns
    -------
    DataError
    """
    return DataError(
        f"{path} has a NUL byte (line {line}): it is damaged, no text, or text of another encoding. "
        f"Save it as {FORMATS}, in UTF-8."
    )


def _line(content, position):
    """Return the number of the line, from 1, in which a position lies."""
    return content.count("\n" if isinstance(content, str) else b"\n", 0, position) + 1


def _guessed(content, path, position):
    """Decode what is not UTF-8 from `position` on, by the likeliest encoding; say which."""
    lines = _beyond_ascii(content, position)
    if _is_mostly_utf8(lines):
        raise DataError(
            f"{path} is UTF-8 that is damaged, first at byte {position}, line {_line(content, position)}. "
            "Mend it, or name its encoding."
        )
    encoding = _likeliest_encoding(lines)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is neither UTF-8 (byte {position}) nor {encoding} (byte {error.start}, line "
            f"{_line(content, error.start)}). Name its encoding, or save it as UTF-8."
        ) from error
    return text, [f"{path} is no UTF-8; it was read as {encoding}."]


def _beyond_ascii(content, position):
    """The lines around a place that are not ASCII."""
    sample = content[max(0, position - SNIFFED) : position + SNIFFED]
    return b"\n".join(line for line in sample.splitlines() if not line.isascii())


def _is_mostly_utf8(lines):
    """Whether most of what is not ASCII is good UTF-8."""
    beyond = re.findall(r"[^\x00-\x7f]", lines.decode("utf-8", "replace"))
    return len(beyond) > 2 * beyond.count("\ufffd")


def _is_damaged(content):
    """Whether a text is UTF-8, but for some bytes."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return _is_mostly_utf8(_beyond_ascii(content, error.start))
    return False


def _likeliest_encoding(lines):
    """Guess the encoding of lines that are not UTF-8.

    What charset-normalizer says counts for scripts whose letters beyond ASCII stand side by side. Those of Western
    Europe stand alone; of a dozen short tables in cp1252 it tells half as something else, so that guess is ours.
    """
    import charset_normalizer

    told = [match.encoding for match in charset_normalizer.from_bytes(lines) if match.encoding in SCRIPTS]
    for encoding in (*told, "cp932"):
        if _is_script(lines.decode(encoding, "replace")):
            return encoding
    text = lines.decode("cp1252", "replace")
    return "cp1250" if POLISH.search(text) or "\ufffd" in text else "cp1252"


def _is_script(text):
    """Tell whether the letters beyond ASCII stand side by side, and those of alphabets beside no Latin ones."""
    if "\ufffd" in text or re.search(r"[a-zA-Z][\u0370-\u1fff]|[\u0370-\u1fff][a-zA-Z]", text):
        return False
    runs = re.findall(r"[\u0370-\u1fff\u3040-\ud7ff]{2,}", text)
    return 2 * sum(map(len, runs)) > len(re.findall(r"[^\x00-\x7f]", text))


# ------------------------------------------------------------------------------------------------------------ CSV


def _separator(sample, path):
    """Tell what separates the fields; return it, and a notice where it is an unusual one."""
    found = {separator: _fit(sample, separator) for separator in SEPARATORS}
    best = max(found, key=found.get)
    if found[best]:
        return best, []
    try:
        rare = csv.Sniffer().sniff(sample[: SNIFFED // 8], RARE_SEPARATORS).delimiter
    except csv.Error:
        return ",", []
    if _fit(sample, rare) < 1:
        return ",", []
    return rare, [f"{path} was read as a table whose fields are separated by {rare!r}."]


def _sample_rows(sample, separator):
    """Split the first rows of a sample; none where that is impossible."""
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=separator)
    try:
        rows = [row for row in itertools.islice(reader, SNIFFED_ROWS) if row]
    except csv.Error:
        return []
    may_be_cut = len(sample) >= SNIFFED // 4  # characters: one may take four bytes
    return rows[:-1] if may_be_cut and 1 < len(rows) < SNIFFED_ROWS else rows


def _fit(sample, separator):
    """Return the share of the sample's rows that a separator splits into as many fields as the header, 0 to 1."""
    rows = _sample_rows(sample, separator)
    width = len(rows[0]) if rows else 0
    if width < 2 or not all(_is_whole(name, sample) for name in rows[0]):
        return 0
    return sum(len(row) == width or (len(row) == width + 1 and not row[-1]) for row in rows) / len(rows)


def _is_whole(name, sample):
    """Whether a name is not a part of a quoted one: it has two quotes, or its one quote is written as CSV writes it."""
    escaped = name.replace('"', '""')
    return name.count('"') % 2 == 0 or f'"{escaped}"' in sample


def _decimal(sample, separator):
    """Tell the decimal sign that pandas may be given for a whole table: a comma only between semicolons."""
    cells = [cell for row in _sample_rows(sample, separator)[1:] for cell in row] if separator == ";" else []
    has_points = any("." in cell and POINT.fullmatch(cell) for cell in cells)
    return "," if any(map(DECIMAL.fullmatch, cells)) and not has_points else "."


def _check_names(names, path):
    """Return the columns' names as pandas has them; refuse two of one name, and more than one without a name."""
    nameless = names.count("")
    if nameless > 1:
        raise DataError(f"{path} has {nameless} columns without a name. Give each a name of its own.")
    names = [name or f"Unnamed: {position}" for position, name in enumerate(names)]
    name, times = collections.Counter(names).most_common(1)[0] if names else ("", 0)
    if times > 1:
        raise DataError(f"{path} has {times} columns of the name {name!r}. Give each a name of its own.")
    return names


def _big_csv(path):
    """Read a big plain UTF-8 CSV file by its name, which pandas does in threads; None for any other file.

    It is hashed in a thread beside. What it is found to be only on the way (no UTF-8, a NUL byte) is not said here:
    it is read again, in whole.
    """
    try:
        before = os.stat(path)
        if before.st_size < BIG or not stat.S_ISREG(before.st_mode) or str(path).startswith(("/dev/", "/proc/")):
            return None
        with open(path, "rb") as file, ThreadPoolExecutor(1) as pool:
            sample = _plain_sample(file.read(SNIFFED))
            if sample is None or _suffix(path) == ".parquet" or _is_json(path, sample):
                return None
            file.seek(0)
            digest = pool.submit(_digest, file)
            separator, notices = _separator(sample, path)
            table = _csv_table(os.path.abspath(path), separator, _decimal(sample, separator), path)
            sha256, has_nul = digest.result()
        after = os.stat(path)
    except UnicodeDecodeError:
        return None
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Name a file of {FORMATS}.") from error
    if (before.st_ino, before.st_size, before.st_mtime_ns) != (after.st_ino, after.st_size, after.st_mtime_ns):
        raise DataError(f"{path} changed while it was read. Try again when it is whole.")
    return None if has_nul else (table, sha256, notices)


def _plain_sample(start):
    """Decode the first bytes of a file; None where they are not plain UTF-8 text."""
    if start.startswith((GZIP, PARQUET, *WIDE_BOMS)) or b"\0" in start or _is_binary(start):
        return None
    try:
        return codecs.getincrementaldecoder("utf-8-sig")().decode(start)
    except UnicodeDecodeError:
        return None


def _digest(file):
    """Return the sha256 of an open file, and whether it has a NUL byte."""
    digest, has_nul = hashlib.sha256(), False
    while piece := file.read(PIECE):
        digest.update(piece)
        has_nul = has_nul or b"\0" in piece
    return digest.hexdigest(), has_nul


def _csv_table(source, separator, decimal, path):
    """Read a table from the name of a file, or from bytes."""
    import pandas as pd

    def read(**options):
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        return pd.read_csv(file, sep=separator, compression=None, **options)

    try:
        header = read(header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0].tolist()
        names = _check_names(header, path)
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
            warnings.simplefilter("error", pd.errors.DtypeWarning)
            try:
                table = read(index_col=False, decimal=decimal)
            except pd.errors.DtypeWarning:  # pandas parsed a column as numbers here and as text there
                table = read(index_col=False, decimal=decimal, low_memory=False)
    except pd.errors.ParserWarning as error:
        raise DataError(f"{path} has rows with more fields than its header.") from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty. It needs a header line and rows.") from error
    except pd.errors.ParserError as error:
        reason = str(error).strip().replace("Error tokenizing data. C error: ", "")
        raise DataError(f"{path} cannot be read as CSV: {reason}.") from error
    if table.empty:
        raise DataError(f"{path} has a header but no rows.")
    table.columns = names
    texts = [name for name in names if not pd.api.types.is_numeric_dtype(table[name])] if separator != "," else []
    if decimal == "," and any(_has_points(table[name]) for name in texts):  # the sample had none
        return _csv_table(source, separator, ".", path)
    for name in texts:
        table[name] = _with_decimal_points(table[name], separator)
    return table


def _has_points(column):
    """Tell whether a column of texts is one of numbers with decimal points."""
    cells = column.dropna()
    if cells.empty or not isinstance(cells.iloc[0], str) or not POINT.fullmatch(cells.iloc[0]):
        return False
    return bool(cells.str.fullmatch(POINT.pattern).all() and cells.str.contains(".", regex=False).any())


def _with_decimal_points(column, separator):
    """Make numbers of a column of texts, when all of them are numbers with decimal commas."""
    cells = column.dropna()
    if cells.empty or not isinstance(cells.iloc[0], str) or not NUMBER.fullmatch(cells.iloc[0]):
        return column
    if not cells.str.fullmatch(NUMBER.pattern).all() or not _has_decimal_commas(cells, separator):
        return column
    return column.str.replace(",", ".", regex=False).astype(float)


def _has_decimal_commas(cells, separator):
    """Tell whether the commas in a column's numbers are decimal ones: 1,234 alone may be a thousand."""
    commas = [cell for cell in cells if "," in cell]
    if not commas or any(MILLIONS.fullmatch(cell) for cell in commas):
        return False
    return separator == ";" or any(DECIMAL.fullmatch(cell) and not THOUSANDS.fullmatch(cell) for cell in commas)


def _csv_rows(text, separator, path, columns=None):
    """Read rows of text; with `columns`, a first line that names none of them is a row."""
    lines = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for line in reader:
            if line and (len(line) > 1 or not line[0] or line[0].strip()):  # as pandas, skip blank lines
                lines.append(line)
    except csv.Error as error:
        reason = str(error).replace("unexpected end of data", "a quote is not closed")
        raise DataError(f"{path}, row {len(lines)}: {reason}. (The header is row 0.)") from error
    if columns and not set(columns).intersection(map(str.strip, lines[0])):
        lines.insert(0, columns)
    names, rows = _check_names(lines[0], path), lines[1:]
    if not rows:
        raise DataError(f"{path} has a header but no rows.")
    if all(len(row) == len(names) + 1 and not row[-1] for row in rows):  # a separator at the end of each row
        rows = [row[:-1] for row in rows]
    for number, row in enumerate(rows, 1):
        if len(row) > len(names):
            raise DataError(f"{path}, row {number} has {len(row)} fields, and the header has {len(names)}.")
    return [dict(itertools.zip_longest(names, row, fillvalue="")) for row in rows]


# ----------------------------------------------------------------------------------------------------------- JSON


def _object(pairs, keys=None):
    """Make an object of its pairs; refuse a key (one of these, where they are told) that stands there twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        counts = collections.Counter(key for key, _ in pairs if keys is None or key in keys).most_common(1)
        if counts and counts[0][1] > 1:
            raise ValueError(f"the key {counts[0][0]!r} stands twice in an object")
    return made


@functools.lru_cache(maxsize=8)
def _decoder(keys):
    return json.JSONDecoder(object_pairs_hook=lambda pairs: _object(pairs, keys), parse_constant=_constant)


def _constant(name):
    """Refuse NaN and Infinity, which Python's parser would take."""
    raise ValueError(f"{name} is no JSON; write null for what is missing")


SPACE = re.compile(r"[ \t\r\n]*")
DECODER = _decoder(None)


def _json_rows(text, path, numbers=None):
    """Return the rows, each with the line that it begins in: of an array, of lines, or of indented objects.

    With `numbers` it is lines, and these are theirs.
    """
    text = text.rstrip()
    start = len(text) - len(text.lstrip())
    if text.startswith("[", start) and not numbers:
        found = _values(text, start + 1, path, is_array=True)
    elif _has_indented_objects(text) and not numbers:
        found = _values(text, start, path, is_array=False)
    else:
        lines = zip(numbers or itertools.count(1), text.split("\n"), strict=False)
        found = [(number, line, _line_value(line, number, path)) for number, line in lines if line.strip()]
    for number, raw, row in found:
        if not isinstance(row, dict):
            raise DataError(f'{path}, line {number}: expected an object a row, such as {{"x": 1}}.')
        if "\\u" in raw:
            _check_surrogates(row, number, path)
    if not found:
        raise DataError(f"{path} has no rows.")
    return [(number, row) for number, _, row in found]


def _has_indented_objects(text):
    return text.lstrip().split("\n", 1)[0].strip() == "{"


def _value(text, start, number, path):
    """Decode the JSON value that begins at a place; return it, and where it ends."""
    try:
        return DECODER.raw_decode(text, start)
    except RecursionError:
        reason = "it is nested too deeply"
    except json.JSONDecodeError as error:
        number += text.count("\n", start, error.pos)
        reason = error.msg
    except ValueError as error:
        reason = "a number has too many digits" if str(error).startswith("Exceeds the limit") else str(error)
    raise DataError(f"{path}, line {number} cannot be read as JSON: {reason}.")


def _line_value(line, number, path):
    """Decode a line of JSON lines."""
    line = line.strip()
    value, end = _value(line, 0, number, path)
    if end < len(line):
        raise DataError(f"{path}, line {number} cannot be read as JSON: more stands behind the value.")
    return value


def _values(text, position, path, is_array):
    """Decode the values of a JSON array, or such as follow each other, one by one: so the line of each is known."""
    found, number, counted = [], 1, 0
    position = SPACE.match(text, position).end()
    is_open = not (is_array and text.startswith("]", position))
    while is_open:
        number, counted = number + text.count("\n", counted, position), position
        value, end = _value(text, position, number, path)
        found.append((number, text[position:end], value))
        position = SPACE.match(text, end).end()
        is_open = text.startswith(",", position) if is_array else position < len(text)
        if is_array and is_open:
            position = SPACE.match(text, position + 1).end()
    number += text.count("\n", counted, position)
    if is_array and not text.startswith("]", position):
        raise DataError(f"{path}, line {number} cannot be read as JSON: expected a comma or the array's end.")
    if is_array and position + 1 < len(text):
        raise DataError(f"{path}, line {number} cannot be read as JSON: more stands behind the array.")
    return found


def _check_surrogates(row, number, path):
    r"""Refuse half a character, such as ``\ud800``, which no file can hold."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{path}, line {number} has half a character, {error.object[error.start]!a}.") from error


def _json_table(text, path, places=None):
    """Make a table of JSON; its index tells the row in the file, from 0."""
    import pandas as pd

    found = _json_rows(text, path, list(places or ()))
    table = pd.DataFrame([row for _, row in found], index=[places[line] for line, _ in found] if places else None)
    _check_cells(table, path)
    return table


def _check_cells(table, path):
    """Refuse a table without rows or columns, and cells that are objects or lists."""
    import pandas as pd

    if table.empty:
        raise DataError(f"{path} has no rows.")
    for name in filter(lambda name: pd.api.types.is_object_dtype(table[name]), table):
        for number, cell in zip(table.index + 1, table[name], strict=True):
            if isinstance(cell, (dict, list)) or (hasattr(cell, "__array__") and hasattr(cell, "__len__")):
                kind = "an object" if isinstance(cell, dict) else "a list"
                raise DataError(f"{path}, row {number}, column {name!r} is {kind}, expected a number, text or boolean.")


# -------------------------------------------------------------------------------------------------------- Parquet


def parse_parquet(content, path, places=None):
    """Read a table from the bytes of a Parquet file; pandas' index, where it has a name, becomes columns.

    Parameters
    ----------
    content : bytes
    path : path
        For errors.
    places : numpy.ndarray of int64, shape (rows,), optional
        Which rows of a larger table they are, from 0; it becomes the table's index.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    DataError
        It is no whole Parquet file, or no table to train on; or pandas or pyarrow is not installed.
    """
    try:
        import pandas as pd

        table = pd.read_parquet(io.BytesIO(content))
    except ImportError as error:
        raise DataError(f"{path} is Parquet, which needs two packages more: pip install pandas pyarrow.") from error
    except (ValueError, OSError, NotImplementedError) as error:
        reason = str(error).split("\n", maxsplit=1)[0].rstrip(".")
        raise DataError(f"{path} is no whole Parquet file ({reason}). Copy or write it again.") from error
    names = [name for name in table.index.names if name is not None]
    table = table.reset_index(names) if names else table
    table = table.reset_index(drop=True) if places is None else table.set_axis(places)
    table.columns = _check_names([str(name) for name in table.columns], path)
    _check_cells(table, path)
    return table


def _parquet_rows(content, path):
    """Read rows from the bytes of a Parquet file; what is missing is None."""
    table = parse_parquet(content, path).astype(object)
    return table.where(table.notna(), None).to_dict("records")
