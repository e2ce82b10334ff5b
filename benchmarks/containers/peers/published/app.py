"""The service as the chapter serves it: Flask's own server, and a library that loads the model at each request."""

from flask import Flask, jsonify, request

import mlib

app = Flask(__name__)


@app.post("/predict")
def predict():
    """Predict the height of a player."""
    return jsonify({"prediction": mlib.predict(request.get_json()["Weight"])})


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=8080)
