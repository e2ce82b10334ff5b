#!/usr/bin/env bash
# Ask a running service (python app.py) for a prediction. PORT=8080 unless set.
set -eu

usage() {
  cat <<'END'
Usage: ./predict.sh [--weight POUNDS] [--host NAME] [--port NUMBER]

Ask a running service (python app.py) for a prediction, as any HTTP client would.

  --weight POUNDS  200 unless given; a number as JSON has it: 180, 0.5 and 1e2, but not .5, +5 or 007
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
number='^-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][-+]?[0-9]+)?$'
[[ $WEIGHT =~ $number ]] || wrong_usage "--weight: got $WEIGHT, expected a number as JSON has it, such as 200 or 0.5"
if ! [[ $PORT =~ ^[1-9][0-9]{0,4}$ ]] || ((PORT > 65535)); then
  wrong_usage "--port (or PORT): got $PORT, expected a number from 1 to 65535"
fi

echo "Port: $PORT" >&2
# The status comes after the body: --fail-with-body would tell it too, but is missing in the curl of before 2021.
answer=$(curl --silent --show-error --write-out '%{http_code}' \
  --data "{\"Weight\": $WEIGHT}" \
  --header "Content-Type: application/json" \
  --request POST "http://$HOST:$PORT/predict")
status=${answer: -3}
printf '%s' "${answer%???}"
if ((status >= 400)); then
  echo "Error: the service answered with status $status" >&2
  exit 22
fi
