"""Score Parquet on a LocalCluster: ``python dask_partitions.py IN FOLDER MODEL KEY DECIMALS WORKERS THREADS``

Each worker reads a row group, scores it, and writes a file of its own.
"""

import functools
import sys
from pathlib import Path

import dask.dataframe as dd
import onnxruntime
from distributed import Client, LocalCluster


@functools.cache
def session_of(model):
    """Make a session once on each worker."""
    return onnxruntime.InferenceSession(model)


def score(part, model, key, decimals):
    """Score a partition, a table of pandas."""
    answer = session_of(model).run(None, {"x": part.to_numpy()})[0].ravel()
    return part.assign(**{key: answer.round(int(decimals)) if decimals else answer})


def main(source, to, model, key, decimals, workers, threads):
    """Score a file."""
    with (
        LocalCluster(
            host="127.0.0.1",
            n_workers=int(workers),
            threads_per_worker=int(threads),
            memory_limit=0,
            dashboard_address=":0",
        ) as cluster,
        Client(cluster),
    ):
        table = dd.read_parquet(source, split_row_groups=True)
        meta = dict(table.dtypes.items()) | {key: "float64"}
        scored = table.map_partitions(score, Path(model).read_bytes(), key, decimals, meta=meta)
        scored.to_parquet(to, write_index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
