#!/usr/bin/env bash
# Ask a running service (python app.py) for a prediction. PORT=8080 unless set.
set -eu

usage() {
  cat <<'END'
Usage: ./predict.sh [--weight POUNDS] [--host NAME] [--port NUMBER]

Ask a running service (python app.py) for a prediction, as any HTTP client would.

  --weight POUNDS  200 unless given
  --host NAME      localhost unless given
  --port NUMBER    PORT if that is set, else 8080
  --help           show this

./utilscli.py predict asks any deployment, with any features.
END
}

wrong_usage() {
  printf "Error: %s\nTry './predict.sh --help'.\n" "$*" >&2
  exit 2
}

WEIGHT=200 HOST=localhost PORT=${PORT:-8080}
while (($#)); do
  case $1 in
    --help | -h) usage; exit ;;
    --weight | --host | --port) (($# > 1)) || wrong_usage "$1: got nothing, expected a value" ;;
    *) wrong_usage "got $1, expected --weight, --host or --port" ;;
  esac
  case $1 in
    --weight) WEIGHT=$2 ;;
    --host) HOST=$2 ;;
    --port) PORT=$2 ;;
  esac
  shift 2
done
[[ $WEIGHT =~ ^-?[0-9]+([.][0-9]+)?$ ]] || wrong_usage "--weight: got $WEIGHT, expected a number, such as 200"

echo "Port: $PORT" >&2
curl --silent --show-error --fail-with-body \
  --data "{\"Weight\": $WEIGHT}" \
  --header "Content-Type: application/json" \
  --request POST "http://$HOST:$PORT/predict"
