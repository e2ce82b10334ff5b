"""How is a table of any size read? In chunks of whole rows, of a file, a folder, an address or the standard input.

>>> source = find("htwtmlb.csv")
>>> source.format, source.columns[:3]
('csv', ['Name', 'Team', 'Position'])
>>> [len(chunk.ends) for chunk in chunks(source, rows=1000)]
[1000, 277]

Where a chunk ends depends on the file and on the number of rows alone: so what is made of chunks is the same, wherever
and by however many it is made.
"""

import codecs
import contextlib
import dataclasses
import gzip
import hashlib
import io
import itertools
import json
import os
import re
import stat
import sys
import zlib

import numpy as np

from core import reading
from core.errors import DataError, OptionError, printable

SUFFIXES = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
FORMATS = ("csv", "jsonl", "parquet")
PIECE = 4 * 1024**2  # bytes that are read at once
SMALL = 128 * 1024  # and so many of gzip: with what is damaged, no more of it is lost
HEAD = 1024**2  # bytes that format, separator and types are told from
LARGEST = 32 * 1024**2  # bytes of a chunk of text, where its rows are wide; a row may be longer, but
LONGEST = 256 * 1024**2  # no longer than this
QUOTE, NEWLINE = ord('"'), ord("\n")
BOM = codecs.BOM_UTF8
STRAY = "surrogateescape"  # what is no text stays the bytes that it is: so it costs its row alone
BUCKETS = "pip install -r requirements/buckets.txt"


@dataclasses.dataclass
class Source:
    """A table that is read in chunks.

    Attributes
    ----------
    name : str
        As it was given; for people.
    format : str
        "csv", "jsonl" or "parquet".
    files : list of str
        Its files, in the order that they are read in; ``-`` is the standard input.
    sizes : list of int
        Bytes of each; 0 where that is not known.
    identity : str
        A digest of names, sizes, times and the first bytes: another one is another table.
    columns : list of str
        Of JSON lines those of the first rows.
    schema : pyarrow.Schema or None
        Of Parquet.
    distinct : dict of str to bool
        Of Parquet, which columns were not worth a dictionary to their writer.
    separator, encoding : str
        Of CSV; of JSON lines the encoding, too.
    has_commas : bool
        Whether numbers in texts may have decimal commas; `commas` whether those of the first rows have.
    is_packed : bool
        By gzip.
    start : int
        Where the rows begin in each file, in bytes of the unpacked UTF-8.
    lines : int
        How many lines stand before.
    header : bytes
        What stands before the rows of the first file, in UTF-8.
    head : bytes
        The first whole rows.
    standard : bytes
        What was read of the standard input to tell all this.
    notices : list of str
        What was assumed.
    """

    name: str
    format: str
    files: list
    sizes: list
    identity: str = ""
    columns: list = dataclasses.field(default_factory=list)
    schema: object = None
    distinct: dict = dataclasses.field(default_factory=dict)
    separator: str = ","
    encoding: str = "utf-8"
    has_commas: bool = False
    commas: bool = False
    is_packed: bool = False
    start: int = 0
    lines: int = 0
    header: bytes = b""
    head: bytes = b""
    standard: bytes = b""
    notices: list = dataclasses.field(default_factory=list)

    @property
    def title(self):
        """What it is called in errors."""
        return _title(self.name)


@dataclasses.dataclass
class Chunk:
    """Rows that follow each other.

    Attributes
    ----------
    data : bytes or pyarrow.Table
        Whole lines of text, or the columns.
    ends : numpy.ndarray of int64, shape (records,) or None
        Where in the text its records end.
    line : int
        How many lines of the file stand before it.
    after : tuple of int
        The place behind it, for `chunks`: the file, then of text the byte and the line, of Parquet the row group and
        the batches of it that are read.
    share : float
        How much of the table is read with it, 0 to 1; 0 where that is not known.
    """

    data: object
    ends: object
    line: int
    after: tuple
    share: float


def find(address, kind=None, encoding=None):
    """Find a table and what it is; reads its first bytes.

    Parameters
    ----------
    address : path
        A file, a folder of files of one format, an address such as ``s3://bucket/rows.parquet``, or ``-``.
    kind : str, optional
        "csv", "jsonl" or "parquet"; told by the suffix unless given. The standard input is CSV unless told.
    encoding : str, optional
        Of the text; told from the first bytes unless given.

    Returns
    -------
    Source

    Raises
    ------
    DataError
        It is missing, cannot be read, has no columns, or is of another format.
    OptionError
        The format cannot be told, or nobody knows the encoding.
    """
    address = local(os.fspath(address))
    if encoding:
        reading.check_encoding(encoding)
    files, sizes, stamps = _files(address)
    kind = kind or _format(address, files)
    if address == "-":
        kind = kind or "csv"
        if kind == "parquet":
            raise DataError("Parquet is read from its end, and so not from the standard input. Name the file.")
    if kind is None:
        raise OptionError(unknown_format(address))
    source = Source(address, kind, files, sizes)
    if kind == "parquet":
        _look_at_parquet(source)
    else:
        _look_at_text(source, encoding)
    said = json.dumps([kind, encoding, [*map(os.path.basename, files)], sizes, stamps, source.columns])
    source.identity = hashlib.sha256(said.encode() + source.head).hexdigest()[:16]
    return source


def format_of(address):
    """Tell the format of a file by its name.

    Parameters
    ----------
    address : str

    Returns
    -------
    str or None
        None where the name does not tell.
    """
    return SUFFIXES.get(_suffix(address))


def unknown_format(address):
    """Say that a name does not tell a format.

    Parameters
    ----------
    address : str

    Returns
    -------
    str
    """
    return f"{address} does not say by its name what it is. Give --format: {', '.join(FORMATS)}."


def chunks(source, rows, at=None, until=None, columns=None):
    """Read a table in chunks.

    Parameters
    ----------
    source : Source
    rows : int
        Of a chunk; the last of a file or of a row group has fewer, and chunks of very long rows have.
    at : tuple of int, optional
        From here on: `Chunk.after` of an earlier one.
    until : int, optional
        Up to this byte (of text) or row group (of Parquet) of the file that `at` names; else to the end of all files.
    columns : list of str, optional
        Of Parquet: only these.

    Yields
    ------
    Chunk

    Raises
    ------
    DataError
        A file vanished, is cut off or damaged, or has other columns than the first.
    """
    read = _parquet_chunks if source.format == "parquet" else _text_chunks
    first, *place = at or (0,)
    for number in range(first, len(source.files)):
        yield from read(source, number, rows, place, until, columns)
        place = []
        if until is not None:
            return


@dataclasses.dataclass(frozen=True)
class Reading:
    """A table that is read in chunks, wherever that is done.

    Attributes
    ----------
    source : Source
    rows : int
        As of `chunks`, like the next two.
    at : tuple of int or None
    columns : list of str or None
    """

    source: Source
    rows: int
    at: tuple = None
    columns: list = None

    def __iter__(self):
        return chunks(self.source, self.rows, self.at, columns=self.columns)

    def parts(self, most):
        """Tell of Parquet which chunks may be read together, without reading them.

        Parameters
        ----------
        most : int
            Chunks in a part; a row group that is larger is read in several parts.

        Yields
        ------
        tuple of (tuple of int, int, int or None)
            For `part`.

        Raises
        ------
        DataError
            As of `chunks`.
        """
        first, *place = self.at or (0,)
        for number in range(first, len(self.source.files)):
            with _parquet(self.source.files[number]) as file:
                _check_schema(self.source, number, file)
                sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            group, done = place or (0, 0)
            place = []
            while group < len(sizes):
                if sizes[group] > (done + most) * self.rows:
                    yield (number, group, done), group + 1, most
                    done += most
                    continue
                until, count = group + 1, max(-(-sizes[group] // self.rows) - done, 0)
                while until < len(sizes) and (count := count - (-sizes[until] // self.rows)) <= most:
                    until += 1
                yield (number, group, done), until, None
                group, done = until, 0

    def part(self, at, until, most):
        """Read the chunks of a part.

        Parameters
        ----------
        at : tuple of int
        until : int
        most : int or None

        Returns
        -------
        iterable of Chunk
        """
        return itertools.islice(chunks(self.source, self.rows, at, until, self.columns), most)


# ------------------------------------------------------------------------------------------------------ the files


def local(name):
    """Take a file on this machine by its path, where it is told as ``file://``.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
    """
    return re.sub(r"^(file|local)://", "", name)


def is_address(name):
    """Whether a name is that of a place that fsspec knows, such as ``s3://bucket/key``.

    Parameters
    ----------
    name : str

    Returns
    -------
    bool
    """
    return bool(re.match(r"[a-z0-9+]+(::|://)", name))


def open_address(address):
    """Find the file system of an address.

    Parameters
    ----------
    address : str

    Returns
    -------
    filesystem : fsspec.AbstractFileSystem
    path : str
        Of the address in it.

    Raises
    ------
    DataError
        What reads such addresses is not installed, or knows none such.
    """
    try:
        import fsspec

        return fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise DataError(f"{address} is read by packages that are not installed ({error}): {BUCKETS}") from error
    except ValueError as error:
        raise DataError(f"{address} is no address that is known here: {error}.") from error


@contextlib.contextmanager
def reading_of(name, doing="read"):
    """Tell what goes wrong while a file is read in one line.

    Parameters
    ----------
    name : str
    doing : str
        Or written.

    Raises
    ------
    DataError
    """
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        how = "cut off" if isinstance(error, EOFError) else f"damaged ({error})"
        raise DataError(f"{name} is gzip that is {how}. Copy or download it again.") from error
    except UnicodeError as error:
        reason = (
            f"{error.encoding} ({error.reason})" if isinstance(error, UnicodeDecodeError) else f"such text ({error})"
        )
        raise DataError(f"{name} is no {reason}. Give --encoding.") from error
    except OSError as error:
        reason = error.strerror or str(error).rstrip(".")  # of buckets it is the name again
        reason = type(error).__name__ if name.endswith(reason) else reason
        raise DataError(f"Cannot {doing} {name}: {reason}.") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in (
            "botocore",
            "aiobotocore",
            "gcsfs",
            "google",
            "azure",
            "aiohttp",
        ):
            raise
        raise DataError(f"Cannot {doing} {name}: {type(error).__name__}: {printable(str(error))}.") from error


def _files(address):
    """The files of a table, their sizes, and what changes when they do."""
    if address == "-":
        if sys.stdin is None or sys.stdin.closed:
            raise DataError("There are no rows: the standard input is closed.")
        return ["-"], [0], []
    with reading_of(address):
        if is_address(address):
            system, path = open_address(address)
            scheme = address[: address.rindex("://") + 3]
            info = system.info(path)
            found = [info]
            if info["type"] == "directory":
                found = [entry for entry in system.ls(path, detail=True) if entry["type"] == "file"]
            found = [(scheme + each["name"], each["size"], _changes(each)) for each in found]
        elif os.path.isdir(address):
            stats = [(entry.path, entry.stat()) for entry in os.scandir(address) if entry.is_file()]
            found = [(path, about.st_size, about.st_mtime_ns) for path, about in stats]
        else:
            about = os.stat(address)
            if not stat.S_ISREG(about.st_mode):
                raise OptionError(f"{address} is no file that can be read twice. Give - and let it come: - < {address}")
            found = [(address, about.st_size, about.st_mtime_ns)]
    if len(found) != 1 or found[0][0] != address:
        found = sorted(entry for entry in found if not os.path.basename(entry[0]).startswith((".", "_")))
        if not found:
            raise DataError(f"{address} is a folder without files.")
    return tuple(map(list, zip(*found, strict=True)))


def _changes(info):
    """What of an object in a bucket changes when it does."""
    return str(
        next((info[key] for key in ("ETag", "etag", "LastModified", "last_modified", "mtime") if key in info), "")
    )


def _suffix(name):
    return os.path.splitext(name.lower().removesuffix(".gz"))[1]


def _format(address, files):
    """The format by the suffix; of a folder by those of its files."""
    names = files if files != [address] else [address]
    found = {SUFFIXES.get(_suffix(name)) for name in names}
    if len(found) > 1:
        raise DataError(f"{address} has files of several formats. Give one file, or a folder of one format.")
    if {_suffix(name) for name in names} & {".json"}:
        raise DataError(f"{names[0]}: a JSON array is not read in pieces. Make it JSON lines: jq -c '.[]'.")
    return found.pop()


def open_binary(name):
    """Open a file or an address to read bytes.

    Parameters
    ----------
    name : str

    Returns
    -------
    binary file
    """
    if is_address(name):
        system, path = open_address(name)
        return system.open(path, "rb")
    return open(name, "rb")


# ------------------------------------------------------------------------------------------------------- the text


class _Standard(io.RawIOBase):
    """The standard input, of which the first bytes were read already."""

    def __init__(self, start):
        self._start, self._taken = start, 0

    def readable(self):
        return True

    def tell(self):
        return self._taken

    def readinto(self, room):
        piece = self._start[: len(room)] or sys.stdin.buffer.read(len(room))
        self._start = self._start[len(piece) :]
        self._taken += len(piece)
        room[: len(piece)] = piece
        return len(piece)


class _Text:
    """A file of text, unpacked and in UTF-8; ``done`` tells how many bytes of the file itself are read."""

    def __init__(self, source, number):
        name = source.files[number]
        self._file = open_binary(name) if name != "-" else io.BufferedReader(_Standard(source.standard), PIECE)
        self._bytes = gzip.GzipFile(fileobj=self._file) if source.is_packed else self._file
        is_plain = source.encoding == "utf-8"
        self._text = None if is_plain else io.TextIOWrapper(self._bytes, source.encoding, STRAY, newline="")
        self._can_seek = is_plain and name != "-"
        self._failure, self._ahead = None, b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for file in (self._text, self._bytes, self._file):
            if file is not None:
                file.close()

    def read(self, size):
        """Read so many bytes, or characters; or what `skip` read too much."""
        if self._ahead:
            ahead, self._ahead = self._ahead, b""
            return ahead
        if self._text:
            return self._text.read(size).encode("utf-8", STRAY)
        return self._unpacked(size) if self._bytes is not self._file else self._bytes.read(size)

    def _unpacked(self, size):
        """Read until something is wrong, which is raised the next time: what stands before it counts."""
        if self._failure:
            raise self._failure
        pieces = []
        for place in range(0, size, SMALL):
            try:
                pieces.append(self._bytes.read(min(SMALL, size - place)))
            except (EOFError, OSError, zlib.error) as error:
                self._failure = error
                break
        if self._failure and not pieces:
            raise self._failure
        return b"".join(pieces)

    def skip(self, offset):
        """Go on behind so many bytes."""
        if self._can_seek:
            self._bytes.seek(offset)
            return
        while offset > 0:
            piece = self.read(min(PIECE, offset))
            if not piece:
                raise EOFError
            self._ahead = piece[offset:]  # of characters, some take several bytes
            offset -= len(piece)

    def done(self):
        """Tell how many bytes of the file itself are read."""
        return self._file.tell()


def _look_at_text(source, encoding):
    """Tell encoding, separator, columns and first rows of a file of text by its first bytes."""
    name = source.files[0]
    title = _title(name)
    with reading_of(title):
        if name == "-":
            source.standard = sys.stdin.buffer.read(HEAD)
            source.is_packed = source.standard.startswith(reading.GZIP)
        else:
            with open_binary(name) as file:
                source.is_packed = file.read(2) == reading.GZIP
        with _Text(source, 0) as file:  # as the encoding is not told yet, these are the bytes
            start = b"" if name == "-" and source.is_packed else file.read(HEAD)
        if name == "-" and source.is_packed:
            with contextlib.suppress(EOFError):
                start = zlib.decompressobj(31).decompress(source.standard, HEAD)
        elif name == "-":
            start = source.standard
    if not start.strip(BOM + b" \t\r\n"):
        if source.format == "jsonl":
            return
        raise DataError(f"{title} is empty. It needs a header line and rows.")
    found = reading.look(start, title, encoding, is_csv=source.format == "csv")
    if len(start) < HEAD and b"\r" in start and b"\n" not in start:
        raise DataError(
            f"{title} ends its lines with carriage returns alone, as old Macs did. Make them line feeds: "
            "tr '\\r' '\\n' < OLD > NEW."
        )
    source.encoding, source.notices = found.encoding, found.notices
    if source.format == "csv":
        source.separator, source.columns = found.separator, found.columns
        source.has_commas, source.commas = found.separator != ",", found.commas
    text = _as_utf8(start, source.encoding)
    source.start, source.lines = _behind_header(text, found.lines)
    source.header = text[: source.start]
    is_whole = len(start) < HEAD
    separator = source.separator if source.format == "csv" else None
    ends, _ = record_ends(text, source.start, False, separator)
    source.head = text[source.start : None if is_whole or not ends.size else int(ends[-1])]
    if source.format == "jsonl":
        source.columns = _keys(source.head)


def _title(name):
    return "The standard input" if name == "-" else name


def _as_utf8(start, encoding):
    """The first bytes of a text in UTF-8; half a character at the end is left out."""
    if encoding == "utf-8":
        return start
    return codecs.getincrementaldecoder(encoding)(STRAY).decode(start).encode("utf-8", STRAY)


def _behind_header(text, lines):
    """Where the rows begin, in bytes and in lines."""
    if not lines:
        return (len(BOM) if text.startswith(BOM) else 0), 0
    ends = [match.end() for match in itertools.islice(re.finditer(b"\n", text), lines)]
    return (ends[-1] if len(ends) == lines else len(text)), lines


def _begin(source, number):
    """Where the rows of a file begin; refuses one of a folder whose header is another than the first's."""
    if not number:
        return source.start, source.lines
    name = source.files[number]
    with open_binary(name) as file:
        if (file.read(2) == reading.GZIP) != source.is_packed:
            raise DataError(f"Of {source.files[0]} and {name} one is packed by gzip, and the other is not.")
    with _Text(dataclasses.replace(source, encoding="utf-8"), number) as file:
        start = file.read(HEAD)
    if source.format != "csv" or not start:
        return _behind_header(start, 0)
    found = reading.look(start, name, source.encoding)
    if found.columns == source.columns and found.separator != source.separator:
        raise DataError(
            f"{name} separates its columns by {found.separator!r}, and {source.files[0]} by {source.separator!r}. "
            "Score it by itself."
        )
    if found.columns != source.columns:
        raise DataError(
            f"{name} has another header than {source.files[0]}: {', '.join(found.columns)}. Score it by itself."
        )
    return _behind_header(_as_utf8(start, source.encoding), found.lines)


def _keys(head):
    """The keys of the first rows, in the order that they come in; what is no object has none."""
    keys = {}
    for line in head.split(b"\n")[:1000]:
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            keys.update(dict.fromkeys(row) if isinstance(row, dict) else {})
    odd = next((key for key in keys if not _is_text(key)), None)
    if odd is not None:
        raise DataError(f"The first rows have a key that is no text: {odd!a}. Write it otherwise.")
    return list(keys)


def _is_text(key):
    """Whether it can be written, which half a character cannot."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def record_ends(data, start, is_open, separator):
    """Tell where records end, among the whole lines of a text. A line end between quotes is none of a record.

    Parameters
    ----------
    data : bytes
    start : int
        Only behind this place, which is the beginning of a line.
    is_open : bool
        Whether a quote is open there.
    separator : str or None
        Of CSV; None where each line is a record.

    Returns
    -------
    ends : numpy.ndarray of int64, shape (records,)
        Behind each line end.
    is_open : bool
        Whether a quote is open behind the last line.

    Source
    ------
    A line with an even number of quotes leaves the state as it was: it opens as often as it closes. So a state machine
    (RFC 4180's) looks at the others only.
    """
    values = np.frombuffer(data, np.uint8)[start:]
    lines = np.flatnonzero(values == NEWLINE) + (start + 1)
    if separator is None or not lines.size:
        return lines, is_open
    quotes = np.flatnonzero(values[: lines[-1] - start] == QUOTE) + start if b'"' in data else np.empty(0, np.int64)
    if not is_open and not quotes.size:
        return lines, False
    counts = np.bincount(np.searchsorted(lines, quotes, side="right"), minlength=len(lines))
    changing, states, mark = np.flatnonzero(counts % 2), [is_open], separator.encode()
    for i in changing.tolist():
        line = data[lines[i - 1] if i else start : lines[i]]
        states.append(_is_open_after(line, states[-1], mark))
    is_open_after = np.repeat(states, np.diff([0, *changing, len(lines)]))
    return lines[~is_open_after], states[-1]


def _is_open_after(line, is_open, separator):
    """Whether a quoted field goes on behind a line; a quote within a field that has none at its beginning is text."""
    place = 0
    while True:
        if not is_open:
            if line[place : place + 1] != b'"':
                place = line.find(separator, place) + 1
                if not place:
                    return False
                continue
            place += 1
        place = _closing(line, place)
        if place < 0:
            return True
        is_open = False
        place = line.find(separator, place) + 1
        if not place:
            return False


def _closing(line, place):
    """The place behind the quote that closes a field, or -1; two quotes are one within."""
    while True:
        place = line.find(b'"', place)
        if place < 0:
            return -1
        if line[place + 1 : place + 2] != b'"':
            return place + 1
        place += 2


def _text_chunks(source, number, rows, place, until, _columns):
    """Read a file of text."""
    title = _title(source.files[number])
    separator = source.separator if source.format == "csv" else None
    with reading_of(title), _Text(source, number) as file:
        offset, line = place or _begin(source, number)
        file.skip(offset)
        left = until - offset if until else None  # bytes to read
        data, scanned, is_open, ends = b"", 0, False, np.empty(0, np.int64)
        is_more = True
        while is_more:
            piece = file.read(PIECE if left is None else min(PIECE, left))
            left = None if left is None else left - len(piece)
            is_more = bool(piece)
            data += piece if is_more or data.endswith(b"\n") or not data else b"\n"  # the last line may have no end
            new, is_open = record_ends(data, scanned, is_open, separator)
            scanned = data.rfind(b"\n") + 1
            ends = np.concatenate([ends, new])
            start, first = 0, 0
            for last in _cuts(ends, rows, len(data), is_last=not is_more):
                stop = int(ends[last - 1])
                text = data[start:stop]
                offset, line = offset + len(text), line + text.count(b"\n")
                share = _share(
                    source, number, file.done() if source.is_packed or source.encoding != "utf-8" else offset
                )
                yield Chunk(text, ends[first:last] - start, line - text.count(b"\n"), (number, offset, line), share)
                start, first = stop, last
            data, ends, scanned = data[start:], ends[first:] - start, scanned - start
            if len(data) > LONGEST or (is_open and not is_more):
                raise DataError(
                    f"{title}, line {line + 1}: a quote is not closed, or a row is longer than {LONGEST:,} bytes."
                )


def _share(source, number, done):
    """How much of a table is read, when so many bytes of a file are."""
    total = sum(source.sizes)
    return min(1.0, (sum(source.sizes[:number]) + done) / total) if total else 0.0


def _cuts(ends, rows, length, is_last):
    """Behind which records a chunk ends, as far as that is certain."""
    first, start = 0, 0
    while first < len(ends):
        fitting = int(np.searchsorted(ends, start + LARGEST, side="right"))
        last = max(min(first + rows, len(ends), fitting), first + 1)
        if not is_last and last < first + rows and length - start <= LARGEST:
            return
        yield last
        first, start = last, int(ends[last - 1])


# ---------------------------------------------------------------------------------------------------- the columns


def _open_parquet(name):
    """Open a Parquet file or address."""
    import pyarrow.parquet as pq

    if not is_address(name):
        return pq.ParquetFile(name, memory_map=False)
    system, path = open_address(name)
    return pq.ParquetFile(path, filesystem=system)


@contextlib.contextmanager
def _parquet(name):
    """Open a Parquet file, and tell in one line what is wrong with it."""
    import pyarrow as pa

    try:
        with reading_of(name), _open_parquet(name) as file:
            yield file
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        reason = str(error).split("\n", maxsplit=1)[0].rstrip(".")
        raise DataError(f"{name} is no whole Parquet file ({reason}). Copy or write it again.") from error


def _look_at_parquet(source):
    """Tell the columns of a Parquet file by its footer."""
    with _parquet(source.files[0]) as file:
        source.schema = file.schema_arrow.remove_metadata()
        source.columns = source.schema.names
        source.distinct = _distinct(file.metadata)
        source.head = repr([file.metadata.num_rows, file.metadata.num_row_groups, file.metadata.created_by]).encode()
    twice = next((name for name in source.columns if source.columns.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{source.files[0]} has several columns of the name {twice!r}. Give each a name of its own.")


def _distinct(metadata):
    """Which columns are stored as large as they are without a dictionary."""
    if not metadata.num_row_groups:
        return {}
    group = metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    widths = {"DOUBLE": 8, "FLOAT": 4}
    return {
        column.path_in_schema: column.total_uncompressed_size > 0.75 * column.num_values * widths[column.physical_type]
        for column in columns
        if column.physical_type in widths
    }


def _check_schema(source, number, file):
    if not file.schema_arrow.remove_metadata().equals(source.schema):
        raise DataError(f"{source.files[number]} has other columns than {source.files[0]}. Score it by itself.")


def _parquet_chunks(source, number, rows, place, until, columns):
    """Read a file of Parquet."""
    import pyarrow as pa

    name = source.files[number]
    group, done = place or (0, 0)
    with _parquet(name) as file:
        _check_schema(source, number, file)
        wanted = source.columns if columns is None else columns
        total = max(1, file.metadata.num_rows)
        before = sum(file.metadata.row_group(i).num_rows for i in range(group))
        for current in range(group, file.num_row_groups if until is None else until):
            seen = 0
            for i, batch in enumerate(file.iter_batches(rows, row_groups=[current], columns=wanted)):
                seen += len(batch)
                if current == group and i < done:
                    continue
                share = _share(source, number, source.sizes[number] * (before + seen) / total)
                yield Chunk(pa.Table.from_batches([batch]), None, 0, (number, current, i + 1), share)
            before += seen
