"""LitServe: one process that answers HTTP, one worker that predicts."""

import os
from pathlib import Path

import joblib
import litserve


class Heights(litserve.LitAPI):
    """The model behind LitServe's interface."""

    def setup(self, device):
        """Load the model, in the worker."""
        self.model = joblib.load(Path(__file__).parents[4] / "model.joblib")

    def decode_request(self, request):
        """Take what the model wants from the request."""
        return [[request["Weight"]]]

    def predict(self, x):
        """Predict."""
        return self.model.predict(x)

    def encode_response(self, output):
        """Make the answer."""
        return {"prediction": {"height_inches": float(output[0])}}


if __name__ == "__main__":
    server = litserve.LitServer(Heights(), accelerator="cpu", devices=1, workers_per_device=1)
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning", generate_client_file=False)
