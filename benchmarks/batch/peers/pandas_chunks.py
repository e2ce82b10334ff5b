"""Score CSV by pandas and scikit-learn, in chunks: ``python pandas_chunks.py IN OUT MODEL KEY DECIMALS``"""

import sys

import joblib
import pandas as pd


def main(source, to, model, key, decimals):
    """Score a file of any size."""
    estimator = joblib.load(model)
    for number, chunk in enumerate(pd.read_csv(source, chunksize=100_000)):
        answer = estimator.predict(chunk.to_numpy())
        chunk[key] = answer.round(int(decimals)) if decimals else answer
        chunk.to_csv(to, mode="a" if number else "w", header=not number, index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
