"""The chapter's order of work: load the model, fit the scalers to the table again, scale, predict, scale back."""

import joblib
import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler


def read(column):
    """Read a column of the table, and fit a scaler to all of it."""
    values = pd.read_csv("htwtmlb.csv")[[column]].to_numpy()
    return values, StandardScaler().fit(values)


def retrain():
    """Train the model anew, on scaled values."""
    weights, heights = (scaler.transform(values) for values, scaler in map(read, ("Weight", "Height")))
    train, _, target, _ = train_test_split(weights, heights, test_size=0.1, random_state=3)
    joblib.dump(Ridge().fit(train, target), "model.joblib")


def predict(weight):
    """Predict a height from a weight."""
    ridge = joblib.load("model.joblib")
    _, weights = read("Weight")
    scaled = ridge.predict(weights.transform(np.array([[weight]])))
    _, heights = read("Height")
    height = round(float(heights.inverse_transform(scaled.reshape(-1, 1))[0, 0]), 2)
    feet, inches = divmod(round(height), 12)
    return {"height_inches": height, "height_human_readable": f"{feet} foot, {inches} inches"}
