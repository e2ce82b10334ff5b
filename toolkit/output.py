"""How does a file grow by pieces, take its name only when it is whole, and is gone on with when its writer was ended?

>>> with open_output("heights.csv", "of this input and model", is_resumed=False) as output:
...     output.write(b"height_inches\\n72.16\\n", b"", {"rows": 1})
...     output.finish()

A local file is OUT.part until it is whole; OUT.part.rejects are the rejects so far, and OUT.part.journal has a line for
each piece: how long it is, its checksum, and what its writer has to know to go on behind it. Who goes on reads the
pieces again, and leaves out what does not agree: so it does not matter when the writer was ended. A folder of Parquet
files grows as OUT.part/part-00000.parquet and so on, and takes its name with all of them. In a bucket an object is
there when it is whole, and not before; that, and the standard output, cannot be gone on with.
"""

import contextlib
import json
import os
import re
import sys
import zlib

import mlib
from core.stream import is_address, open_address, reading_of

PIECE = 4 * 1024**2  # bytes that are read at once
STANDARD = "-"
PART, BESIDE = ".part", (".rejects", ".journal")  # what is there until it is whole
FILE = r"part-\d{5,}\.parquet"  # of a folder


class OutputError(mlib.Error):
    """What was to be written cannot be."""


class ResumeError(mlib.OptionError):
    """There is nothing that can be gone on with."""


def open_output(address, identity, is_resumed):
    """Open what is written.

    Parameters
    ----------
    address : str
        A local file, a local folder (as of `is_folder`), an address such as ``s3://bucket/heights.csv``, or ``-``.
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
    mlib.OptionError
        It is a folder in a bucket.
    OutputError
        It cannot be written.
    """
    if address == STANDARD or is_address(address):
        if is_folder(address):
            raise mlib.OptionError(
                f"A folder of files is written on this machine only, and {address} is in a bucket. Name an object, "
                f"such as {address}heights.parquet."
            )
        if is_resumed:
            raise ResumeError(f"--resume goes on with files on this machine, and {address} is none.")
        return StandardOutput() if address == STANDARD else BucketOutput(address)
    return (LocalFolder if is_folder(address) else LocalOutput)(address, identity, is_resumed)


def is_folder(address):
    """Whether a name is that of a folder of files: it ends in a slash.

    Parameters
    ----------
    address : str

    Returns
    -------
    bool
    """
    return address.endswith(("/", os.sep))


def rejects_path(address):
    """Where the rejects of an output go.

    Parameters
    ----------
    address : str

    Returns
    -------
    str
    """
    return f"{address.rstrip('/' + os.sep)}.rejects.jsonl"


def names_of(address):
    """Name all that is written of an output.

    Parameters
    ----------
    address : str

    Returns
    -------
    list of str
    """
    if is_address(address):
        return [address, rejects_path(address)]
    path = os.path.realpath(address)
    return [path, rejects_path(path), *(f"{path}{end}" for end in (PART, *(PART + end for end in BESIDE)))]


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
        self._identity, self.notes, self._number, self._pieces = identity, [], 0, 0
        with contextlib.ExitStack() as files, _writing(path):
            self._check()
            self._lock(files)
            kept = self._kept() if is_resumed else None
            self._clear(is_begun=bool(kept))
            paths = self._data_path(self._number), *self._paths[1:]
            opened = [files.enter_context(open(each, "r+b" if kept else "wb")) for each in paths]
            self._data, self._rejects, self._journal = opened
            for file, length in zip(opened, kept or (), strict=False):
                file.truncate(length)
                file.seek(length)
            if not kept:
                self._note({"identity": identity})
            self._pieces = len(self.notes)
            self._files = files.pop_all()

    def _check(self):
        """Refuse what cannot be written, before any work is done."""
        folder = os.path.dirname(self._path)
        if not os.path.isdir(folder):
            raise OutputError(f"Cannot write {self.name}: there is no folder {folder}.")
        if os.path.isdir(rejects_path(self._path)):
            raise OutputError(f"Cannot write {self.name}: {rejects_path(self._path)} is a folder. Move it away.")
        self._check_place()

    def _check_place(self):
        if os.path.isdir(self._path):
            raise OutputError(f"Cannot write {self.name}: it is a folder. Name a file in it, or a new folder.")
        if os.path.lexists(self._path) and not os.path.isfile(self._path):
            raise OutputError(f"Cannot write {self.name}: it is there, and no regular file.")
        if os.path.isdir(self._paths[0]):
            raise OutputError(f"Cannot write {self.name}: {self._paths[0]} is a folder. Move it away.")

    def _clear(self, is_begun):
        """Make room for the files, where there is nothing to go on with."""

    def _data_path(self, _number):
        """Name the file of the data."""
        return self._paths[0]

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
        with _writing(self.name), contextlib.ExitStack() as stack:
            lines, length = _whole_lines(self._paths[2])
            if not lines:
                return None
            if lines[0].get("identity") != self._identity:
                raise ResumeError(
                    f"{self._paths[0]} was begun with another input, model, or other options. Use the same, or begin "
                    "anew, without --resume."
                )
            paths = self._data_path(0), self._paths[1]
            try:
                files = [stack.enter_context(open(each, "rb")) for each in paths]
            except FileNotFoundError:
                return None
            kept = [0, 0, length[0]]
            for line, end in zip(lines[1:], length[1:], strict=True):
                sizes = line["length"], line["rejects_length"]
                sums = [_checksum(file, size) for file, size in zip(files, sizes, strict=True)]
                if sums != [line["sum"], line["rejects_sum"]] or line.get("is_end"):
                    break
                following = self._data_path(self._number + 1)
                if line.get("ends_file") and not os.path.isfile(following):
                    break
                kept = [kept[0] + sizes[0], kept[1] + sizes[1], end]
                self.notes.append(line)
                if line.get("ends_file"):
                    self._number, kept[0] = self._number + 1, 0
                    files[0].close()
                    files[0] = stack.enter_context(open(following, "rb"))
        return kept

    def write(self, data, rejects, note):
        """Write a piece.

        Parameters
        ----------
        data : bytes
        rejects : bytes
        note : dict
            What is to be known to go on behind it; ``ends_file`` where it is the last one of a file of a folder.

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
            self._pieces += 1
            sizes = {"length": len(data), "sum": zlib.crc32(data)}
            self._note({**note, **sizes, "rejects_length": len(rejects), "rejects_sum": zlib.crc32(rejects)})

    def _note(self, note):
        self._journal.write(json.dumps(note).encode() + b"\n")
        self._journal.flush()

    def finish(self):
        """Give it its name, and the rejects theirs, where there are some."""
        with _writing(self.name):
            os.fsync(self._data.fileno())
            self.finish_rejects()
            try:
                os.replace(self._paths[0], self._path)
            except OSError:  # they are taken back, so that there is something to go on with
                if self._rejects.tell():
                    os.replace(rejects_path(self._path), self._paths[1])
                else:
                    with open(self._paths[1], "wb"):
                        pass
                raise
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
                _remove(path)

    def discard(self):
        """Remove what was written, but for the rejects."""
        self.finish_rejects()
        self._discard()

    def _discard(self):
        """Remove what is there of it."""
        self._remove_data()
        for path in self._paths[1:]:
            _remove(path)

    def _remove_data(self):
        _remove(self._paths[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._pieces <= 1:  # what stands before the rows: nothing to go on with
            self._discard()
        self._files.close()


class LocalFolder(LocalOutput):
    """A folder of Parquet files on this machine."""

    def _check_place(self):
        if os.path.lexists(self._path):
            raise OutputError(f"Cannot write {self.name}: it is there already. Name a new folder, or remove that one.")
        part = self._paths[0]
        if os.path.islink(part) or (os.path.lexists(part) and not os.path.isdir(part)):
            raise OutputError(f"Cannot write {self.name}: {part} is there, and no folder. Move it away.")
        for each in sorted(os.scandir(part), key=lambda each: each.name) if os.path.isdir(part) else []:
            if not re.fullmatch(FILE, each.name) or not each.is_file(follow_symlinks=False):
                raise OutputError(f"Cannot write {self.name}: {each.path} is in the way. Move it away.")

    def _clear(self, is_begun):
        if not is_begun:
            self._remove_data()
            os.mkdir(self._paths[0])

    def _remove_data(self):
        if os.path.isdir(self._paths[0]):
            for each in os.listdir(self._paths[0]):
                os.unlink(os.path.join(self._paths[0], each))
            os.rmdir(self._paths[0])

    def _data_path(self, number):
        return os.path.join(self._paths[0], f"part-{number:05}.parquet")

    def write(self, data, rejects, note):
        """Write a piece; the next one goes to another file where the note says so."""
        if not note.get("ends_file"):
            super().write(data, rejects, note)
            return
        with _writing(self.name), contextlib.ExitStack() as files:
            # It is there before the note is: so that there is a file to go on with.
            following = files.enter_context(open(self._data_path(self._number + 1), "wb"))
            super().write(data, rejects, note)
            os.fsync(self._data.fileno())
            self._data.close()
            self._data, self._number = following, self._number + 1
            self._files.push(files.pop_all())


def _remove(path):
    """Remove a file, where there is one."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


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
