"""The chapter's order of work: load the model, fit the scalers to the table again, scale, predict, scale back.

They are fitted to the rows that the model was trained on, for the answer to be that of model.joblib.
"""

import joblib
import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler


def scaler_of(column):
    """Read the table, and fit a scaler to a column of its training rows."""
    train, _ = train_test_split(pd.read_csv("htwtmlb.csv"), test_size=0.1, random_state=3)
    return StandardScaler().fit(train[[column]].to_numpy())


def predict(weight):
    """Predict a height from a weight."""
    ridge = joblib.load("model.joblib").regressor_[-1]
    scaled = ridge.predict(scaler_of("Weight").transform(np.array([[weight]])))
    height = round(float(scaler_of("Height").inverse_transform(scaled.reshape(-1, 1))[0, 0]), 2)
    feet, inches = divmod(round(height), 12)
    return {"height_inches": height, "height_human_readable": f"{feet} foot, {inches} inches"}
