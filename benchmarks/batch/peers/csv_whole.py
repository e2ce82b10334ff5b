"""Score CSV by pyarrow's own read, one run, and write: ``python csv_whole.py IN OUT MODEL KEY DECIMALS``"""

import sys

import numpy as np
import onnxruntime
import pyarrow as pa
from pyarrow import csv


def main(source, to, model, key, decimals):
    """Score a file that fits in memory."""
    table = csv.read_csv(source)
    x = np.column_stack([column.to_numpy() for column in table.columns]).astype(np.float64, copy=False)
    answer = onnxruntime.InferenceSession(model).run(None, {"x": x})[0].ravel()
    answer = answer.round(int(decimals)) if decimals else answer
    csv.write_csv(table.append_column(key, pa.array(answer)), to)


if __name__ == "__main__":
    main(*sys.argv[1:])
