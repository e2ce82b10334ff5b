"""Save the trained object as an MLflow model, in the folder that is named."""

import sys
from pathlib import Path

import joblib
import mlflow

mlflow.sklearn.save_model(joblib.load(Path(__file__).parents[4] / "model.joblib"), sys.argv[1])
