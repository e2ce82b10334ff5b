"""Score Parquet by pyarrow and ONNX Runtime: ``python parquet_loop.py IN OUT MODEL KEY DECIMALS ROWS``

As one writes it in one sitting, with care: pyarrow decodes columns on all cores, ONNX Runtime predicts on all cores.
"""

import sys

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq


def main(source, to, model, key, decimals, rows):
    """Score a file, so many rows at a time."""
    session = onnxruntime.InferenceSession(model)
    with pq.ParquetFile(source, pre_buffer=True) as file:
        schema = file.schema_arrow.append(pa.field(key, pa.float64()))
        with pq.ParquetWriter(to, schema) as writer:
            for batch in file.iter_batches(int(rows)):
                x = np.column_stack([column.to_numpy() for column in batch.columns])
                answer = session.run(None, {"x": x})[0].ravel()
                answer = answer.round(int(decimals)) if decimals else answer
                writer.write_batch(batch.append_column(key, pa.array(answer)))


if __name__ == "__main__":
    main(*sys.argv[1:])
