"""FastAPI with scikit-learn, as its users write it: a model of the input, the trained object, an answer."""

from pathlib import Path

import joblib
from fastapi import FastAPI
from pydantic import BaseModel

model = joblib.load(Path(__file__).parents[4] / "model.joblib")
app = FastAPI()


class Player(BaseModel):
    """What is posted."""

    Weight: float


@app.post("/predict")
async def predict(player: Player):
    """Predict the height."""
    height = model.predict([[player.Weight]])[0]
    return {"prediction": {"height_inches": float(height)}}
