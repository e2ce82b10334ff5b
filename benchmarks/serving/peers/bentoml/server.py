"""BentoML: a service with one API and one worker, its access log off."""

from pathlib import Path

import bentoml
import joblib


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Heights:
    """The model behind BentoML's interface."""

    def __init__(self):
        self.model = joblib.load(Path(__file__).parents[4] / "model.joblib")

    @bentoml.api
    async def predict(self, Weight: float) -> dict:  # noqa: N803
        """Predict the height."""
        height = self.model.predict([[Weight]])[0]
        return {"prediction": {"height_inches": float(height)}}
