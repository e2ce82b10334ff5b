# Everything that a person or CI runs. `make` alone lists it.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DOCKER ?= docker
IMAGE ?= mlops-cookbook
TAG ?= latest
PORT ?= 8080
IMAGE_OPTIONS ?=
REVISION = $(shell git describe --always --abbrev=40 --dirty --exclude '*' 2>/dev/null || echo unknown)
# Files by name, in what is neither an environment nor git's.
found = $(shell find . \( -name '.venv*' -o -name .aws-sam -o -name .git \) -prune -o -name '$(1)' -print)
ALL_CORES = --numprocesses auto --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help run install test test-all test-containers check lint-docker lint-shell lint-workflows lint-templates \
  format data retrain serve \
  image run-image push-image scan-image notebook bench bench-serving bench-containers bench-lambda bench-batch screenshots requirements clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-16s %s\n", $$1, $$2}' Makefile

run: install  ## Predict a height, setting up what that needs
	@$(BIN)/python cli.py --weight 180

install: $(VENV)/installed  ## Set up .venv to predict, serve and train

test: $(VENV)/installed-dev $(VENV)-serve/installed  ## Run the tests
	$(BIN)/python -m pytest $(ALL_CORES) -m "not long and not container"

# A machine without Python borrows it from the engine, and the engine's tools with it.
test-containers:  ## Build the images, and prove them with Docker
	@if $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  $(MAKE) --no-print-directory $(VENV)/installed-dev $(VENV)-sam/installed && $(BIN)/python -m pytest -m container; \
	else \
	  echo "There is no Python 3.11 or newer here ($(PYTHON)); the tests run in python:3.13-slim" >&2; \
	  $(DOCKER) run --rm --init --network host --env MLOPS_IMAGE --volume /var/run/docker.sock:/var/run/docker.sock --volume /tmp:/tmp \
	    --volume $(CURDIR):$(CURDIR):ro --workdir $(CURDIR) --env PYTHONDONTWRITEBYTECODE=1 \
	    --env PYTEST_ADDOPTS="-p no:cacheprovider" python:3.13-slim sh -c '\
	    apt-get update -qq && \
	    apt-get install -y -qq --no-install-recommends curl docker-cli docker-registry git make >/dev/null && \
	    git config --global --add safe.directory $(CURDIR) && \
	    make VENV=/opt/venv test-containers'; \
	fi

test-all: $(VENV)/installed-dev $(VENV)-serve/installed $(VENV)-sam/installed  ## Run the long proofs too
	$(BIN)/python -m pytest $(ALL_CORES)

check: $(VENV)/installed-dev lint-docker lint-shell lint-workflows lint-templates  ## Check format, lint and imports; changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m pylint --jobs=0 *.py core toolkit service tests/*.py recipes/*/*.py benchmarks/*.py benchmarks/serving/*.py \
	  benchmarks/containers/*.py benchmarks/aws_lambda/*.py benchmarks/batch/*.py benchmarks/batch/peers/*.py docs/*.py
	$(BIN)/tach check

lint-docker: $(VENV)/installed-dev  ## Lint every Dockerfile
	$(BIN)/hadolint $(call found,*Dockerfile)

lint-shell: $(VENV)/installed-dev  ## Lint every shell script
	$(BIN)/shellcheck .ci/run $(call found,*.sh)

lint-workflows: $(VENV)/installed-dev  ## Lint GitHub's workflows: are they right, and are they safe?
	$(BIN)/actionlint -shellcheck $(BIN)/shellcheck .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet .github

lint-templates: $(VENV)-sam/installed  ## Lint the templates and state machines for AWS
	$(VENV)-sam/bin/cfn-lint $(call found,template*.yaml)
	$(foreach machine,$(call found,*.asl.json),$(VENV)-sam/bin/statelint $(machine) &&) true

format: $(VENV)/installed-dev  ## Format the code, and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

data: $(VENV)/installed-dev  ## Make htwtmlb.csv again from its source
	$(BIN)/python htwtmlb.py

retrain: install  ## Train model.joblib again
	@$(BIN)/python utilscli.py retrain

serve: install  ## Serve on http://127.0.0.1:8080
	$(BIN)/python app.py

image:  ## Build the container's image (IMAGE, TAG; IMAGE_OPTIONS for docker build)
	@test -f model.onnx || { echo "There is no model.onnx, which images answer from: the estimator that was trained cannot" \
	  "be compiled. Train another: ./utilscli.py retrain --help" >&2; exit 1; }
	$(DOCKER) build --tag $(IMAGE):$(TAG) --build-arg REVISION="$(REVISION)" \
	  $(IMAGE_OPTIONS) .

run-image:  ## Serve from the image on http://127.0.0.1:8080 (PORT)
	@DOCKER=$(DOCKER) IMAGE=$(IMAGE) TAG=$(TAG) PORT=$(PORT) ./run_docker.sh --no-build

push-image:  ## Push the image to REGISTRY, such as ghcr.io/somebody
	@case '$(REGISTRY)' in \
	  '') echo "REGISTRY is missing. Name one: make push-image REGISTRY=ghcr.io/somebody" >&2; exit 2;; \
	  *://* | */ | *[!a-z0-9._:/-]*) echo "REGISTRY: got $(REGISTRY), expected a host and what follows it, in small letters," \
	    "such as ghcr.io/somebody" >&2; exit 2;; esac
	$(DOCKER) tag $(IMAGE):$(TAG) $(REGISTRY)/$(IMAGE):$(TAG)
	$(DOCKER) push $(REGISTRY)/$(IMAGE):$(TAG)

scan-image:  ## Look for known vulnerabilities in the image, with grype or trivy
	@if command -v grype >/dev/null; then \
	  grype --fail-on high --only-fixed $(IMAGE):$(TAG); \
	elif command -v trivy >/dev/null; then \
	  trivy image --exit-code 1 --ignore-unfixed --severity HIGH,CRITICAL $(IMAGE):$(TAG); \
	else echo "Neither grype nor trivy is installed, so nothing was scanned." >&2; exit 1; fi

notebook: $(VENV)/installed-dev  ## Execute the notebook and store its outputs
	$(BIN)/python -m pytest --nbmake --overwrite notebooks
	$(BIN)/nbstripout --keep-output --keep-count --keep-id \
	  --extra-keys "cell.metadata.execution metadata.language_info.version" notebooks/*.ipynb

bench: $(VENV)/installed-dev  ## Measure the speed, side by side with the bare work
	$(BIN)/python -m benchmarks.bench

bench-serving: $(VENV)/installed-dev  ## Measure the web service, beside plain programs and other servers
	$(BIN)/python -m benchmarks.serving.setup
	$(BIN)/python -m benchmarks.serving.bench

bench-containers: $(VENV)/installed-dev  ## Measure the image, beside those that others generate
	$(BIN)/python -m benchmarks.containers.bench build measure

bench-lambda: $(VENV)/installed-dev  ## Measure the function on AWS Lambda, beside one of the published shape
	$(BIN)/python -m benchmarks.aws_lambda.bench build measure

bench-batch: $(VENV)/installed-dev  ## Measure files of any size, beside programs written by hand
	$(BIN)/python -m benchmarks.batch.bench

screenshots: $(VENV)/installed-dev  ## Take the README's pictures of the page, with Chromium
	$(BIN)/python -m docs.screenshots

requirements: $(VENV)/created  ## Compile the pinned requirements from requirements/*.in
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	cd requirements && for set in train:../requirements.txt serve:serve.txt lambda:lambda.txt dask:dask.txt \
	  buckets:buckets.txt aws:aws.txt plot:plot.txt dev:dev.txt sam:sam.txt; do \
	  ../$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest \
	    $$(case $$set in serve:* | lambda:* | dask:*) echo --generate-hashes;; esac) --custom-compile-command "make requirements" $${set%:*}.in --output-file $${set#*:} || exit 1; done

clean:  ## Remove .venv, caches and what an interrupted run left behind
	rm -rf $(VENV) $(VENV)-serve $(VENV)-sam benchmarks/serving/.venvs .pytest_cache .ruff_cache .hypothesis *.tmp
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian and Ubuntu ship Python without venv's other half; it is installed by the system's own package.
$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "$(PYTHON) is missing or older than 3.11. Name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	  root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  echo "Installing $$package: this Python cannot make environments without it" >&2; \
	  $$root apt-get update -qq && $$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$package >/dev/null || \
	  { echo "Install $$package (or Python's venv and ensurepip), then try again." >&2; exit 1; }; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)" >&2
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/created requirements.txt
	@echo "Installing requirements.txt" >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

# What serves has no scikit-learn; the tests try it in an environment of its own.
$(VENV)-serve/installed: $(VENV)/created requirements/serve.txt
	@echo "Installing requirements/serve.txt in $(VENV)-serve" >&2
	@$(BIN)/python -m venv $(VENV)-serve
	@$(VENV)-serve/bin/pip install --quiet --disable-pip-version-check -r requirements/serve.txt
	@touch $@

# aws-sam-cli pins older packages than the project has.
$(VENV)-sam/installed: $(VENV)/created requirements/sam.txt
	@echo "Installing requirements/sam.txt in $(VENV)-sam" >&2
	@$(BIN)/python -m venv $(VENV)-sam
	@$(VENV)-sam/bin/pip install --quiet --disable-pip-version-check -r requirements/sam.txt
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements/dev.txt
	@echo "Installing requirements/dev.txt" >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	@touch $@
