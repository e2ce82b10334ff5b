"""BentoML: a service with one API, as its documentation begins."""

from pathlib import Path

import bentoml
import joblib


@bentoml.service
class Heights:
    """The model behind BentoML's interface."""

    def __init__(self):
        self.model = joblib.load(Path(__file__).with_name("model.joblib"))

    @bentoml.api
    def predict(self, Weight: float) -> dict:  # noqa: N803
        """Predict the height."""
        return {"prediction": {"height_inches": float(self.model.predict([[Weight]])[0])}}
