"""How does a file grow by pieces, take its name only when it is whole, and is gone on with when its writer was ended?

>>> with open_output("heights.csv", "of this input and model", is_resumed=False) as output:
...     output.write(b"height_inches\\n72.16\\n", b"", {"rows": 1})
...     output.finish()

A local file is OUT.part until it is whole; OUT.part.rejects are the rejects so far, and OUT.part.journal has a line for
each piece: how long it is, its checksum, and what its writer has to know to go on behind it. Who goes on reads the
pieces again, and leaves out what does not agree: so it does not matter when the writer was ended. In a bucket an object
is there when it is whole, and not before; that, and the standard output, cannot be gone on with.
"""

import contextlib
import json
import os
import sys
import zlib

import mlib
from core.stream import is_address, open_address, reading_of

PIECE = 4 * 1024**2  # bytes that are read at once
STANDARD = "-"
PART, BESIDE = ".part", (".rejects", ".journal")  # what is there until it is whole


class OutputError(mlib.Error):
    """What was to be written cannot be."""


class ResumeError(mlib.OptionError):
    """There is nothing that can be gone on with."""


def open_output(address, identity, is_resumed):
    """Open what is written.

    Parameters
    ----------
    address : str
        A local file, an address such as ``s3://bucket/heights.csv``, or ``-``.
    identity : str
        Another one is of another work, and is not gone on with.
    is_resumed : bool
        Whether to go on where an earlier writer was ended; where there was none, it begins.

    Returns
    -------
    LocalOutput, BucketOutput or StandardOutput
        A context: what was not finished takes no name.

    Raises
    ------
    ResumeError
        It cannot be gone on with, or was begun with something else.
    OutputError
        It cannot be written.
    """
    if address == STANDARD or is_address(address):
        if is_resumed:
            raise ResumeError(f"--resume goes on with files on this machine, and {address} is none.")
        return StandardOutput() if address == STANDARD else BucketOutput(address)
    return LocalOutput(address, identity, is_resumed)


def rejects_path(address):
    """Where the rejects of an output go.

    Parameters
    ----------
    address : str

    Returns
    -------
    str
    """
    return f"{address}.rejects.jsonl"


def names_of(address):
    """Name all that is written of an output.

    Parameters
    ----------
    address : str

    Returns
    -------
    list of str
    """
    parts = [] if is_address(address) else [f"{address}{end}" for end in (PART, *(PART + end for end in BESIDE))]
    return [address, rejects_path(address), *parts]


@contextlib.contextmanager
def _writing(name):
    """Tell in one line why something cannot be written."""
    try:
        yield
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # who reads it has enough
            raise
        raise OutputError(f"Cannot write {name}: {error.strerror or error}.") from error


class LocalOutput:
    """A file on this machine.

    Attributes
    ----------
    notes : list of dict
        What was noted of the pieces that are there already, with their ``length``.
    """

    def __init__(self, path, identity, is_resumed):
        self.name, self._path = path, os.path.realpath(path)  # where it is a link, the file that it names
        part = f"{self._path}{PART}"
        self._paths = part, *(f"{part}{end}" for end in BESIDE)
        self._identity, self.notes = identity, []
        self._check()
        with contextlib.ExitStack() as files, _writing(path):
            self._lock(files)
            kept = self._kept() if is_resumed else None
            opened = [files.enter_context(open(each, "r+b" if kept else "wb")) for each in self._paths]
            self._data, self._rejects, self._journal = opened
            for file, length in zip(opened, kept or (), strict=False):
                file.truncate(length)
                file.seek(length)
            if not kept:
                self._note({"identity": identity})
            self._files = files.pop_all()

    def _check(self):
        folder = os.path.dirname(self._path)
        if not os.path.isdir(folder):
            raise OutputError(f"Cannot write {self.name}: there is no folder {folder}.")
        if os.path.isdir(self._path):
            raise OutputError(f"Cannot write {self.name}: it is a folder. Name a file in it.")
        if os.path.lexists(self._path) and not os.path.isfile(self._path):
            raise OutputError(f"Cannot write {self.name}: it is there, and no regular file.")

    def _lock(self, files):
        """Refuse to write what somebody else is writing."""
        try:
            import fcntl
        except ImportError:  # on Windows
            return
        journal = os.open(self._paths[2], os.O_WRONLY | os.O_CREAT, 0o666)
        files.callback(os.close, journal)
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"{self.name} is being written by another process. Wait for its end.") from error

    def _kept(self):
        """How many bytes of data, rejects and journal are of whole pieces."""
        data, rejects, journal = self._paths
        with _writing(self.name), contextlib.ExitStack() as stack:
            lines, length = _whole_lines(journal)
            if not lines:
                return None
            if lines[0].get("identity") != self._identity:
                raise ResumeError(
                    f"{data} was begun with another input, model, or other options. Use the same, or begin anew, "
                    "without --resume."
                )
            try:
                files = [stack.enter_context(open(each, "rb")) for each in (data, rejects)]
            except FileNotFoundError:
                return None
            kept = [0, 0, length[0]]
            for line, end in zip(lines[1:], length[1:], strict=True):
                sizes = line["length"], line["rejects_length"]
                sums = [_checksum(file, size) for file, size in zip(files, sizes, strict=True)]
                if sums != [line["sum"], line["rejects_sum"]] or line.get("is_end"):
                    break
                kept = [kept[0] + sizes[0], kept[1] + sizes[1], end]
                self.notes.append(line)
        return kept

    def write(self, data, rejects, note):
        """Write a piece.

        Parameters
        ----------
        data : bytes
        rejects : bytes
        note : dict
            What is to be known to go on behind it.

        Raises
        ------
        OutputError
            It cannot be written: no space left, say.
        """
        with _writing(self.name):
            for file, content in ((self._data, data), (self._rejects, rejects)):
                if content:
                    file.write(content)
                    file.flush()
            sizes = {"length": len(data), "sum": zlib.crc32(data)}
            self._note({**note, **sizes, "rejects_length": len(rejects), "rejects_sum": zlib.crc32(rejects)})

    def _note(self, note):
        self._journal.write(json.dumps(note).encode() + b"\n")
        self._journal.flush()

    def finish(self):
        """Give it its name, and the rejects theirs, where there are some."""
        with _writing(self.name):
            self.finish_rejects()
            os.fsync(self._data.fileno())
            os.replace(self._paths[0], self._path)
            os.unlink(self._paths[2])

    def finish_rejects(self):
        """Give the rejects their name, where there are some; those of an earlier output go."""
        with _writing(self.name):
            has_some = self._rejects.tell()
            os.fsync(self._rejects.fileno())
            if has_some:
                os.replace(self._paths[1], rejects_path(self._path))
                return
            for path in (self._paths[1], rejects_path(self._path)):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    def discard(self):
        """Remove what was written, but for the rejects."""
        self.finish_rejects()
        for path in (self._paths[0], self._paths[2]):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._files.close()


def _whole_lines(path):
    """The lines of a journal that can be read, and where each ends."""
    lines, ends, end = [], [], 0
    with open(path, "rb") as file:
        for line in file:
            end += len(line)
            try:
                found = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n") or not isinstance(found, dict):
                break
            lines.append(found)
            ends.append(end)
    return lines, ends


def _checksum(file, length):
    """The checksum of the next bytes of a file; None where there are fewer."""
    found = 0
    while length:
        piece = file.read(min(PIECE, length))
        if not piece:
            return None
        found = zlib.crc32(piece, found)
        length -= len(piece)
    return found


class BucketOutput:
    """An object in a bucket. It is there when it is whole, and not before; its rejects lie beside it."""

    notes = ()

    def __init__(self, address):
        self.name = address
        with reading_of(address, "write"):
            self._system, path = open_address(address)
            self._paths = path, rejects_path(path)
            self._files = [self._system.open(path, "wb"), None]  # that of the rejects when there are some

    def write(self, data, rejects, _note):
        """Write a piece."""
        with reading_of(self.name, "write"):
            self._files[0].write(data)
            if rejects:
                self._files[1] = self._files[1] or self._system.open(self._paths[1], "wb")
                self._files[1].write(rejects)

    def finish(self):
        """Give it its name."""
        self.finish_rejects()
        with reading_of(self.name, "write"):
            self._close(0)

    def finish_rejects(self):
        """Give the rejects their name, where there are some; those of an earlier output go."""
        with reading_of(self.name, "write"):
            if self._files[1]:
                self._close(1)
            elif self._system.exists(self._paths[1]):
                self._system.rm_file(self._paths[1])

    discard = finish_rejects

    def _close(self, number):
        file, self._files[number] = self._files[number], None
        file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for file in filter(None, self._files):
            with contextlib.suppress(Exception):  # what is raised already tells more
                file.discard()
            file.closed = True  # or its end would write it after all


class StandardOutput:
    """The standard output; rejects go to stderr, a line of JSON each."""

    name, notes = "the standard output", ()

    def __init__(self):
        if sys.stdout is None:
            raise OutputError("Cannot write the standard output: it is closed.")

    def write(self, data, rejects, _note):
        """Write a piece."""
        with _writing(self.name):
            try:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            except OSError:
                os.dup2(
                    os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
                )  # what is left would be written at the end
                raise
        sys.stderr.write(rejects.decode())

    def finish(self):
        """Nothing is left to do."""

    discard = finish

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass
