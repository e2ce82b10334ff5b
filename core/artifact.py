"""How does a model lie on disk?

model.joblib is what joblib writes, so joblib.load reads it as any other, followed by the signature as JSON and a
footer: MAGIC, the signature's length, and the sha256 of all before. A pickle ends where it ends; what follows is
not joblib's to read. So the signature is read without running what a pickle may hold, and a damaged file is known
before anything in it runs.

model.onnx is what ONNX tools read; the signature, the sha256 of the model.joblib that it was compiled from, and last
the sha256 of all before stand in its metadata, a list of keys and values (protobuf: a field that is appended to a
file is appended to its list). Reading it needs no ONNX Runtime.

>>> read_card("model.joblib")["name"]
'htwtmlb-height'
"""

import contextlib
import functools
import hashlib
import io
import json
import os

from core.errors import ModelError

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODEL = os.path.join(HERE, "model.joblib")

MAGIC = b"\nmlops-cookbook-1 "
LENGTH = b"%012d "
FOOTER = len(MAGIC) + 13 + 64

SEAL = b"\x72\x4a\x0a\x06sha256\x12\x40"  # field 14 of a ModelProto: {key: "sha256", value: 64 characters that follow}


def model_path(model=None):
    """Name the model to use.

    Parameters
    ----------
    model : path, optional

    Returns
    -------
    str
        The one given, else that of MLOPS_MODEL, else model.joblib beside mlib.py.
    """
    return os.fspath(model or os.environ.get("MLOPS_MODEL") or MODEL)


@functools.lru_cache(maxsize=64)
def compiled_path(path):
    """Name a model's compiled form.

    Parameters
    ----------
    path : str

    Returns
    -------
    str
        model.onnx beside model.joblib, model.v2.onnx beside model.v2.
    """
    return path if path.endswith(".onnx") else path.removesuffix(".joblib") + ".onnx"


def is_compiled(path):
    """Tell whether a file is a compiled form of this project, by its end.

    Parameters
    ----------
    path : str

    Returns
    -------
    bool
    """
    return _end(path)[:-64].endswith(SEAL)


def stamp(path):
    """Tell what changes when a file does.

    Parameters
    ----------
    path : str

    Returns
    -------
    tuple or None
        Its time, size and inode; None where there is none.
    """
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def is_joblib(path):
    """Tell whether a file is a model of this project, by its end.

    Parameters
    ----------
    path : str

    Returns
    -------
    bool
    """
    return _end(path).startswith(MAGIC)


def _end(path):
    """Read a file's last bytes; none where it cannot be read."""
    try:
        with open(path, "rb") as file:
            file.seek(-min(FOOTER, os.path.getsize(path)), os.SEEK_END)
            return file.read()
    except OSError:
        return b""


def save(path, model, card, graph):
    """Write both files. Whatever ends the program, a compiled form that is of another model is not used.

    Parameters
    ----------
    path : path
        Of the joblib file; where it is a link, both lie where it leads.
    model : object
        What joblib pickles.
    card : dict
        The signature, JSON-able; what is not is written as its repr.
    graph : onnx.ModelProto or None
        The compiled form, or None where there is none: that of an older model is removed then.

    Raises
    ------
    ModelError
        The system refuses.
    """
    import joblib

    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    text = json.dumps(card, allow_nan=False, default=repr, separators=(",", ":")).encode()
    content = buffer.getvalue() + text + MAGIC + LENGTH % len(text)
    content += hashlib.sha256(content).hexdigest().encode()
    path = os.path.realpath(path)  # where it is a link, the compiled form lies beside the file that it names
    write_file(path, content)
    if graph is None:
        with contextlib.suppress(FileNotFoundError):  # the old model's compiled form is of no more use
            os.unlink(compiled_path(path))
        return
    metadata = {"signature": text.decode(), "compiled_from": hashlib.sha256(content).hexdigest()}
    for name, value in metadata.items():
        graph.metadata_props.add(key=name, value=value)
    compiled = graph.SerializeToString() + SEAL
    write_file(compiled_path(path), compiled + hashlib.sha256(compiled).hexdigest().encode())


def write_file(path, content):
    """Write a file that is whole at every moment, whatever ends the program.

    Parameters
    ----------
    path : path
        Where to; where it is a link, the file that it names.
    content : bytes

    Raises
    ------
    ModelError
        The system refuses: no right to write, no space left.
    """
    path = os.path.realpath(path)
    if os.path.lexists(path) and not os.path.isfile(path):
        raise ModelError(f"Cannot write {path}: it is there, and no regular file.")
    temporary = f"{path}.{os.urandom(4).hex()}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise ModelError(f"Cannot write {path}: {error.strerror}.") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def is_alone(path):
    """Tell whether a name stands for a compiled form: its own name, or that of a model of which only it is there.

    Parameters
    ----------
    path : str

    Returns
    -------
    bool
    """
    compiled = compiled_path(path)
    return path == compiled or (path.endswith(".joblib") and not os.path.lexists(path) and os.path.lexists(compiled))


def read_card(path):
    """Read the signature of a model, without loading the model.

    Parameters
    ----------
    path : str
        Of the joblib file, or of a compiled form.

    Returns
    -------
    dict

    Raises
    ------
    ModelError
        The file is missing, damaged or foreign.
    """
    path = os.path.realpath(path)
    return read_onnx(compiled_path(path))[1] if is_alone(path) else read_joblib(path)[1]


def _read_file(path, is_whole):
    """Return a model file's bytes, proved whole; what is foreign by its end is not read whole.

    Parameters
    ----------
    path : path
    is_whole : function of bytes to bool
        Whether the last bytes of the file (`FOOTER` of them) are the end of such a file.
    """
    trained = path.removesuffix(".onnx") + ".joblib" if path.endswith(".onnx") else path
    retrain_it = f"Train it again: ./utilscli.py retrain --model-name {trained}"
    if trained != path and os.path.exists(trained):
        retrain_it = f"Remove it, and {trained} is used; or train again: ./utilscli.py retrain --model-name {trained}"
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise ModelError(f"{path} is no model: it is a folder, a pipe or a device.")
        with open(path, "rb") as file:
            file.seek(-min(FOOTER, os.path.getsize(path)), os.SEEK_END)
            if not is_whole(file.read()):
                raise ModelError(
                    f"{path} is not a whole model of this project: cut off, damaged, or made by another program. "
                    f"{retrain_it}"
                )
            file.seek(0)
            content = file.read()
    except FileNotFoundError as error:
        raise ModelError(
            f"There is no model {path}. Train one: ./utilscli.py retrain --model-name {trained}"
        ) from error
    except OSError as error:
        raise ModelError(f"Cannot read the model {path}: {error.strerror}.") from error
    if hashlib.sha256(content[:-64]).hexdigest().encode() != content[-64:]:
        raise ModelError(f"{path} is damaged: its content does not have the digest it was written with. {retrain_it}")
    return content


def read_joblib(path):
    """Read a model.joblib without running what the pickle may hold.

    Parameters
    ----------
    path : str

    Returns
    -------
    content : bytes
        The file, proved whole.
    card : dict
        Its signature.

    Raises
    ------
    ModelError
        The file is missing, damaged or foreign.
    """
    content = _read_file(path, lambda end: end.startswith(MAGIC))
    end = len(content) - FOOTER
    length = int(content[end + len(MAGIC) : -64])
    return content, _parse_card(path, content[end - length : end])


def _parse_card(path, text):
    try:
        card = json.loads(text)
        if not isinstance(card, dict):
            raise ValueError(f"it is a {type(card).__name__}")
    except ValueError as error:
        raise ModelError(f"{path} has a signature that cannot be read ({type(error).__name__}: {error}).") from error
    return card


def read_onnx(path):
    """Read a model.onnx without the packages that run it.

    Parameters
    ----------
    path : str

    Returns
    -------
    content : bytes
        The file, proved whole.
    card : dict
        Its signature.
    compiled_from : str
        The sha256 of the model.joblib that it was compiled from.

    Raises
    ------
    ModelError
        The file is missing, damaged or foreign.
    """
    content = _read_file(path, lambda end: end[:-64].endswith(SEAL))
    try:
        metadata = _onnx_metadata(content)
        text, compiled_from = metadata["signature"], metadata["compiled_from"]
    except (ValueError, KeyError, TypeError, IndexError) as error:  # no protobuf, or none that training writes
        raise ModelError(f"{path} was not compiled by this project: it has no signature.") from error
    return content, _parse_card(path, text), compiled_from


def _onnx_metadata(content):
    """Read the metadata of an ONNX model, without the packages that run it.

    Parameters
    ----------
    content : bytes
        A ModelProto: fields, each a tag (its number and how it is written) and a value. What is skipped is skipped
        by its length.

    Returns
    -------
    dict of str to str

    Raises
    ------
    ValueError, KeyError, TypeError, IndexError
        It is no such message, or an entry is there twice.

    Source
    ------
    The protocol buffers' encoding guide, and onnx.proto: ModelProto's field 14 is metadata_props, a list of
    StringStringEntryProto with key (1) and value (2).
    """
    metadata = {}
    for number, value in _fields(content):
        if number == 14:
            entry = dict(_fields(value))
            name = str(entry[1], "utf-8")
            if name in metadata:
                raise ValueError(f"two entries have the name {name}")
            metadata[name] = str(entry[2], "utf-8")
    return metadata


def _fields(content):
    """Yield number and value of each field of a protobuf message; a value is a memoryview, or an int."""
    view, position = memoryview(content), 0

    def varint():
        nonlocal position
        value = shift = 0
        while True:
            byte = view[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(view):
        tag = varint()
        value = varint()
        if tag & 7 == 2 and position + value <= len(view):  # the varint was a length, and that many bytes follow
            value, position = view[position : position + value], position + value
        elif tag & 7:
            raise ValueError("a field that is cut off, or of a kind that a model has not")
        yield tag >> 3, value
