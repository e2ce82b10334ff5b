"""How is an ONNX model run?

>>> session = Session(open("model.onnx", "rb").read())
>>> session.row([180.0])
72.158...
"""

import functools
import os
import threading

MANY = 10_000  # rows that are worth a second thread


class Session:
    """The function of an ONNX model: of float64, shape (rows, inputs), to (rows,) or (rows, classes).

    Parameters
    ----------
    content : bytes
        With an input ``x`` and an output ``y``.

    Raises
    ------
    Exception
        Of any kind: ONNX Runtime cannot run it.
    """

    def __init__(self, content):
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it is read while ONNX Runtime is imported
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)  # what fails is raised; the rest concerns nobody here
        onnxruntime.disable_telemetry_events()

        def session(threads):
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting takes cores from others
            return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

        self._one = session(1)  # more threads only cost, for a row or a few
        self._many = functools.cache(lambda: session(0))  # as many as there are cores; made when there is work for them
        self._of_thread = threading.local()

    def __call__(self, x):
        session = self._one if len(x) < MANY else self._many()
        return session.run(None, {"x": x})[0]

    def row(self, values):
        """Answer one row, by arrays that are bound once a thread: that halves what the call costs.

        Parameters
        ----------
        values : list of float, shape (inputs,)

        Returns
        -------
        float, or list of float
        """
        if not hasattr(self._of_thread, "bound"):
            self._of_thread.bound = self._bind(len(values))
        x, y, binding = self._of_thread.bound
        x[0] = values
        self._one.run_with_iobinding(binding)
        return y[0].tolist()

    def _bind(self, width):
        import numpy as np

        x = np.zeros((1, width))
        y = np.empty_like(self(x))
        binding = self._one.io_binding()
        binding.bind_input("x", "cpu", 0, np.float64, x.shape, x.ctypes.data)
        binding.bind_output("y", "cpu", 0, np.float64, y.shape, y.ctypes.data)
        return x, y, binding
