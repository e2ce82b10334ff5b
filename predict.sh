#!/usr/bin/env bash
# Ask a running service (python app.py) for a prediction. PORT=8080 unless set.
set -eu
PORT=${PORT:-8080}
echo "Port: $PORT" >&2
curl --silent --show-error --fail-with-body \
  --data '{"Weight": 200}' \
  --header "Content-Type: application/json" \
  --request POST "http://localhost:$PORT/predict"
