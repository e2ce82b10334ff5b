"""FastAPI with ONNX Runtime, as its users write it: a model of the input, a session, an answer."""

from pathlib import Path

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel

session = onnxruntime.InferenceSession(Path(__file__).parents[4] / "model.onnx")
app = FastAPI()


class Player(BaseModel):
    """What is posted."""

    Weight: float


@app.post("/predict")
async def predict(player: Player):
    """Predict the height."""
    (heights,) = session.run(None, {"x": np.array([[player.Weight]], dtype=np.float64)})
    return {"prediction": {"height_inches": float(heights[0])}}
