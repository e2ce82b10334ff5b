"""What does a worker of a Dask cluster do? It loads the model once, and scores what it is given as every machine does.

>>> client.register_plugin(Job(content, "onnx", plan, reading), name="a-job")

It needs what requirements/dask.txt names, and of this project mlib.py, core/ and toolkit/: no scikit-learn, unless the
model has no compiled form.
"""

import asyncio
import dataclasses
import hashlib
import os
import tempfile

from distributed import WorkerPlugin

import mlib
from toolkit import scoring


class Job(WorkerPlugin):
    """What a worker has to know to score rows; Dask brings it to each worker, to those that start later, too.

    Parameters
    ----------
    content : bytes
        Of the model's file.
    form : str
        "onnx" or "joblib".
    plan : toolkit.scoring.Plan
    reading : core.stream.Reading
    """

    def __init__(self, content, form, plan, reading):
        self._content, self._form, self._plan, self._reading = content, form, plan, reading
        self._model = None

    async def setup(self, worker):  # pylint: disable=invalid-overridden-method  # Dask takes both
        """Load the model, beside the loop that answers the cluster."""
        self._model = await asyncio.to_thread(self._load)

    def _load(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, f"model.{self._form}")
            with open(path, "wb") as file:
                file.write(self._content)
            model = mlib.load_model(path, hashlib.sha256(self._content).hexdigest())
        self._content = None
        return model

    def score(self, chunk):
        """Score a chunk, or those of a part of a file that this machine has.

        Parameters
        ----------
        chunk : core.stream.Chunk or tuple
            Of a tuple what `core.stream.Reading.part` takes.

        Returns
        -------
        scored : list of toolkit.scoring.Scored
        error : mlib.Error or None
            What ended it behind these.
        """
        done = []
        try:
            for each in self._reading.part(*chunk) if isinstance(chunk, tuple) else [chunk]:
                scored = scoring.score(self._plan, self._model, each)
                done.append(dataclasses.replace(scored, data=bytes(scored.data)))
        except mlib.Error as error:
            return done, error
        return done, None
