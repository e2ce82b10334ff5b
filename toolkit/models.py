"""How does a model come from a bucket? Only as data, or by a digest that the user gave.

>>> with local("s3://bucket/model.onnx") as path:
...     model = mlib.load_model(path)
"""

import contextlib
import os
import tempfile

import mlib
from core.stream import is_address, open_binary, reading_of


@contextlib.contextmanager
def local(address, sha256=None):
    """Give a model's file as one of this machine.

    Parameters
    ----------
    address : path or None
        A path, which is given as it is, or an address such as ``s3://bucket/model.onnx``.
    sha256 : str, optional
        The digest that the file has to have.

    Yields
    ------
    path or None

    Raises
    ------
    mlib.ModelError
        It is at an address, no compiled form, and no digest was given: a joblib file is code.
    mlib.DataError
        It cannot be read.
    """
    if address is None or not is_address(os.fspath(address)):
        yield address
        return
    name = address.rsplit("/", 1)[-1]
    if not name.endswith(".onnx") and sha256 is None:
        raise mlib.ModelError(
            f"{address} is no compiled form (.onnx), so loading it runs what its maker put in. If that is somebody you "
            "trust, give the digest that you expect: --sha256."
        )
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, name)
        with reading_of(address), open_binary(address) as file, open(path, "wb") as copy:
            while piece := file.read(1024**2):
                copy.write(piece)
        try:
            yield path
        except mlib.ModelError as error:
            raise mlib.ModelError(str(error).replace(path, address)) from error
