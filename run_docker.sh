#!/usr/bin/env bash
# Build the image and serve from it, locked down, on http://127.0.0.1:8080. PORT=8080 unless set.
set -euo pipefail
cd "$(dirname "$0")"

usage() {
  cat <<'END'
Usage: ./run_docker.sh [--no-build]

Build the image (make image), list it, and serve from it on this machine only. Ctrl-C stops it.

  --no-build  serve from the image that is there
  --help      show this

Variables:
  PORT=8080             the port of 127.0.0.1 to serve on
  IMAGE=mlops-cookbook  the image
  TAG=latest            its tag
  DOCKER=docker         the engine's command

It exits with what the container exits with; 125 is the engine's own failure.
END
}

fail() {
  printf 'Error: %s\n' "$*" >&2
  exit 1
}

PORT=${PORT:-8080} IMAGE=${IMAGE:-mlops-cookbook} TAG=${TAG:-latest} DOCKER=${DOCKER:-docker}
build=yes
for argument; do
  case $argument in
    --help | -h) usage; exit ;;
    --no-build) build='' ;;
    *)
      printf "Error: got %s, expected --no-build or nothing\nTry './run_docker.sh --help'.\n" "$argument" >&2
      exit 2
      ;;
  esac
done
if ! [[ $PORT =~ ^[1-9][0-9]{0,4}$ ]] || ((PORT > 65535)); then
  fail "PORT: got $PORT, expected a number from 1 to 65535"
fi
command -v "$DOCKER" >/dev/null || fail "$DOCKER is not installed. See https://docs.docker.com/engine/install/."
said=$("$DOCKER" version 2>&1 >/dev/null) ||
  fail "The engine does not answer. Is it running, and are you allowed to use it? $said"
# Asked before minutes of building.
if (: <"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
  fail "Port $PORT is in use. Stop what serves there, or take another: PORT=8081 ./run_docker.sh"
fi

if [[ -n $build ]]; then
  make --no-print-directory image DOCKER="$DOCKER" IMAGE="$IMAGE" TAG="$TAG"
fi
"$DOCKER" image inspect "$IMAGE:$TAG" >/dev/null 2>&1 || fail "There is no image $IMAGE:$TAG. Build it: make image"
"$DOCKER" images "$IMAGE"
echo "Serving $IMAGE:$TAG on http://127.0.0.1:$PORT"
# Without root's powers and with nothing to write to: what it serves needs neither. --init passes signals on.
exec "$DOCKER" run --rm --init --publish "127.0.0.1:$PORT:8080" --read-only --cap-drop ALL \
  --security-opt no-new-privileges "$IMAGE:$TAG"
