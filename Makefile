# make alone lists what can be made; each makes .venv by itself.
# PYTHON chooses the interpreter, 3.11 to 3.13; by default the newest one found.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
DATA := data
RUN := runs/demo
PYTEST_FLAGS ?=
# Of two cores a third worker takes what the others leave when their tests wait.
TEST_WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-faults test-clients test-web test-micro test-gpu lint format clean

help:
	@echo "make demo          trains on handwritten digits, evaluates and exports; no download of data"
	@echo "make test          runs the tests; also test-slow, test-faults, test-clients, test-web, test-micro,"
	@echo "                   test-gpu"
	@echo "make lint          checks format, rules and layers; make format mends the first two"
	@echo "make clean         removes the environments and caches, not runs/ and data/"
	@echo
	@echo "Variables: PYTHON=/path/to/python3.12, RUN=$(RUN), DATA=$(DATA)"
	@echo "Commands without make: python -m trainer, python -m eval, python -m export, python -m launch"

demo: $(VENV)/run.stamp
	$(BIN)/python -m trainer.main --flagfile=configs/digits.flags --data_dir=$(DATA) --run_dir=$(RUN)
	$(BIN)/python -m export.tflite --quantize --run_dir=$(RUN)
	$(BIN)/python -m eval.report --run_dir=$(RUN)
	@echo
	@echo "The demo is done. Commands that begin with python need once: . $(BIN)/activate"
	@echo "Look at:"
	@echo "  $(RUN)/report/report.html         how good the network is, in pictures"
	@echo "  $(RUN)/export/model_int8.tflite   the file for an edge device, and its manifest beside it"
	@echo "  $(BIN)/tensorboard --logdir runs  how training went"

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_FLAGS)

test-slow: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m slow $(PYTEST_FLAGS)

test-faults: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m faults -s

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# Exported files in clients of other makers, which have an environment of their own, and
# the programs for phones: a Kotlin compiler, and a grammar of Swift.
CLIENTS := .venv-clients
test-clients: $(VENV)/dev.stamp $(CLIENTS)/stamp
	@command -v java || $(SUDO) apt-get install -y --no-install-recommends default-jre-headless
	$(BIN)/python -m pytest -m slow -rs tests/export/test_clients.py tests/export/examples

# The pages of reports, comparisons and export.web in Chromium, which Debian's package
# manager installs if there is none. TFDS_DATA_DIR=DIR with a prepared CIFAR-10 adds all
# of its test images.
test-web: $(VENV)/dev.stamp
	@command -v chromium || command -v chromium-browser || command -v google-chrome || $(SUDO) apt-get install -y chromium
	@command -v npm || $(SUDO) apt-get install -y npm
	TEST_WEB=1 $(BIN)/python -m pytest -m "slow or not slow" -rs tests/export/browser tests/eval/reports

# Standalone C on an emulated Cortex-M, and over all test images of CIFAR-10 if
# TFDS_DATA_DIR=DIR has it prepared. Debian's package manager installs what is missing.
test-micro: $(VENV)/dev.stamp
	@command -v gcc && command -v arm-none-eabi-gcc && command -v qemu-system-arm || \
	  $(SUDO) apt-get install -y --no-install-recommends gcc libc6-dev gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm
	TEST_MICRO=1 $(BIN)/python -m pytest -m "slow or not slow" -rs tests/export/microcontroller

# Needs an NVIDIA GPU and its CUDA libraries (docs/gpu.md); skips with a reason without.
test-gpu: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m "slow or not slow" -rs tests/gpu

$(CLIENTS)/stamp: Makefile | $(BIN)/python
	$(BIN)/python -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check mediapipe==1.2.3 openvino==2026.4.1 \
	  kotlin-jupyter-kernel==0.19.0.944 tree-sitter==0.26.1 tree-sitter-swift==0.7.4
	@touch $@

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

$(BIN)/python:
	@set -e; for python in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; \
	  then echo "making $(VENV) with $$($$python --version)"; exec $$python -m venv $(VENV); fi; done; \
	echo "make: no Python 3.11, 3.12 or 3.13 with venv was found; install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 2

$(VENV)/run.stamp: requirements.txt | $(BIN)/python
	@echo "installing packages into $(VENV): about three minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/run.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

clean:
	rm -rf $(VENV) $(CLIENTS) .pytest_cache .ruff_cache
