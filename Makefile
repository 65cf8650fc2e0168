# `make demo` and `make test` are the two commands: each sets up what it needs and says so.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .stamps
SOURCES := $(wildcard bindings/*.pyx bindings/*.pxd bindings/*.h)
TORCH ?= torch==2.13.0
# Idle OpenMP threads that spin starve everything else on a small machine.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test test-checked faults franka-sim lint typecheck check clean setup jetson

demo: $(STAMPS)/demo
	@$(BIN)/python -m dvla.benchmarks.demo

test: setup
	@$(BIN)/python -m pytest

# The compiled parts once more with every index checked, in a copy of their own.
test-checked: setup
	@scripts/test-checked $(BIN)/python build/checked

# Every fault, done to whole runs from outside; minutes, and it wants the machine to itself.
faults: setup
	@$(BIN)/dvla-bench faults --out benchmarks/results/faults.json --table docs/faults.md

lint: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

typecheck: setup
	@$(BIN)/mypy

# The Franka's driver over the libfranka protocol, against a simulated arm (docs/arms.md).
franka-sim: setup
	@$(BIN)/pip install --quiet "franka-rs>=0.4"
	@scripts/franka-sim $(BIN)/python build/franka-sim

check: lint typecheck test

setup: $(STAMPS)/built

# On a Jetson: JetPack's own TensorRT and CUDA, no PyTorch (docs/jetson.md).
jetson:
	@scripts/setup-jetson "$(PYTHON)" "$(VENV)"

$(STAMPS)/venv:
	@scripts/setup-venv "$(PYTHON)" "$(VENV)"
	@mkdir -p $(STAMPS) && touch $@

# What running a policy on the twin needs: no PyTorch.
$(STAMPS)/demo: $(STAMPS)/venv pyproject.toml setup.py $(SOURCES)
	@echo "setup: installing dvla[sim] into $(VENV), and compiling the Cython extensions"
	@PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --no-build-isolation --editable ".[sim]"
	@touch $@

$(STAMPS)/torch: $(STAMPS)/venv
	@echo "setup: installing $(TORCH) (PyTorch; the export needs it, the runtime does not)"
	@$(BIN)/pip install --quiet "$(TORCH)"
	@touch $@

$(STAMPS)/packages: $(STAMPS)/torch pyproject.toml setup.py
	@echo "setup: installing dvla[export,openvino,sim,gym,train,dev] into $(VENV)"
	@PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --no-build-isolation \
		--editable ".[export,openvino,sim,gym,train,dev]"
	@touch $@

$(STAMPS)/built: $(STAMPS)/packages $(SOURCES)
	@echo "setup: compiling the Cython extensions"
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@

clean:
	rm -rf $(VENV) $(STAMPS) build dist *.egg-info bindings/*.so
