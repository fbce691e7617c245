"""Answers to prompts by a tiny model, and what is reported of them."""

import argparse
import dataclasses
import functools
import json

import jax
import numpy as np
import pytest
import saved_run
from synthetic_data import make_config, tokenizer, utterance, write_directory
from training_run import make_config as make_run_config
from training_run import make_data

from lst_jax.core.errors import CheckpointError, ConfigError, DataError
from lst_jax.core.vocab import BOS_ID, EOS_ID
from lst_jax.data.documents import ExampleBuilder
from lst_jax.data.interleave import PROMPTED
from lst_jax.data.patching import StaticRule
from lst_jax.evals import adaptation, run_speech
from lst_jax.evals.answers import Greedy
from lst_jax.evals.recognisers.embedded import PocketSphinx
from lst_jax.generate.generator import Generator
from lst_jax.model.architectures import registry
from lst_jax.parallel.sharding import one_device
from lst_jax.prepare.recordings import load_audio
from lst_jax.prepare.speech_tokenizers.log_mel_kmeans import LogMelKMeans
from lst_jax.runs.directory import RunDirectory

SPOKEN = [utterance(i, 2 + i) for i in range(3)]


class Known:
    """Answers everything rightly, or with the words given."""

    name = "known"

    def __init__(self, task, texts=None):
        self.task, self.texts = task, texts

    def __call__(self, prompts, modality, most):
        assert modality == {"asr": "text", "tts": "speech"}[self.task]
        self.prompts, self.most = prompts, most
        config = make_config(strategy="static")
        examples = [
            ExampleBuilder.of(config, tokenizer()).interleaved(u, PROMPTED[self.task](u), StaticRule(4), prompted=True)
            for u in SPOKEN
        ]
        answers = [e.token[e.loss_from : -1] for e in examples]
        if self.texts is not None:
            answers = [np.array(tokenizer().encode(text), np.int32) for text in self.texts]
        assert all(len(a) <= m for a, m in zip(answers, most, strict=True))
        return answers


def test_right_transcripts_have_no_errors_and_a_quarter_of_bases_context():
    config = make_config(strategy="static")
    known = Known("asr")
    found = adaptation.recognise(SPOKEN, config, known)
    assert found["wer"]["rate"] == found["cer"]["rate"] == 0 and found["wer"]["utterances"] == 3
    assert found["normaliser"] == "english-1" and found["answering"] == "known" and found["patches"] == "static"
    units = [len(u.units) for u in SPOKEN]
    patches = sum(-(-n // 4) for n in units)
    assert found["context"] == {
        "unit_positions": patches + 9,
        "base": sum(units) + 9,  # BOS <s> and <t> of each
        "ratio": (patches + 9) / (sum(units) + 9),
        "speech_ratio": patches / sum(units),
    }
    assert [p.token[-1] for p in known.prompts] == [config.joint_vocab.text_marker] * 3


def test_wrong_transcripts_are_counted():
    said = [" ".join(w.text for w in u.words) for u in SPOKEN]
    found = adaptation.recognise(SPOKEN, make_config(strategy="static"), Known("asr", [said[0], "", said[2] + " the"]))
    words = [len(text.split()) for text in said]
    assert (found["wer"]["deletions"], found["wer"]["insertions"]) == (words[1], 1)
    assert found["wer"]["rate"] == pytest.approx((words[1] + 1) / sum(words))


def test_generated_speech_is_heard_by_a_recogniser_beside_the_recordings_units():
    class Ear:
        name = "ear"

        def transcribe(self, audio):
            index = next((i for i, u in enumerate(SPOKEN) if np.array_equal(u.units / 1000, audio)), None)
            return "" if index is None else " ".join(w.text for w in SPOKEN[index].words)

    found, audio = adaptation.synthesise(
        SPOKEN, make_config(strategy="static"), Known("tts"), lambda units: units / np.float32(1000) * 1.0, Ear()
    )
    assert len(audio) == 3 and found["recogniser"] == "ear"
    units = [len(u.units) for u in SPOKEN]
    patches = sum(-(-n // 4) for n in units)
    assert (found["generation"]["unit_positions"], found["generation"]["base"]) == (patches, sum(units))
    assert found["seconds"] == found["seconds_of_the_recordings"] == sum(units) / 25


@functools.cache
def of_model(strategy):
    config = make_config(256, 256, strategy=strategy)
    model = registry.build(config.model, config.joint_vocab, 256)
    params = jax.jit(model.init_params)(jax.random.key(0))
    return config, model, params


@functools.cache
def compiled(model):
    """The logits of a single row, for all prompts."""
    return jax.jit(lambda params, *rows: model(params, *rows)[0])


def one_by_one(config, model, params, prompt, modality, most):
    """Each token from a forward pass over the document alone."""
    logits_of = compiled(model)
    vocab, ids = config.joint_vocab, np.arange(config.joint_vocab.size)
    allowed = (
        (ids < vocab.text_size) & (ids > BOS_ID) if modality == "text" else (ids >= vocab.unit_offset) | (ids == EOS_ID)
    )
    token, start, end = list(prompt.token), list(prompt.patch_start), list(prompt.patch_end)
    answer, size = [], config.data.patching.static_size if config.data.patching.strategy == "static" else 1
    while len(answer) < most:
        rows = [
            np.pad(np.array([row]), ((0, 0), (0, 160 - len(token))))
            for row in (np.array(token, np.int32), np.ones(len(token), np.int32), start, end)
        ]
        logits_V = np.asarray(logits_of(params, *rows))[len(token) - 1]
        may = allowed & (ids != EOS_ID) if not answer else allowed  # an answer has one token at least
        chosen = int(np.where(may, logits_V, -np.inf).argmax())
        if chosen == EOS_ID:
            break
        if modality == "text":
            opens, closes = True, True
        else:
            opens, closes = len(answer) % size == 0, len(answer) % size == size - 1
        token, start, end = [*token, chosen], [*start, opens], [*end, closes]
        answer.append(chosen)
    return answer


@pytest.mark.parametrize("strategy, task", [("static", "asr"), ("static", "tts"), ("none", "tts")])
def test_greedy_answers_are_those_of_each_prompt_alone(strategy, task):
    config, model, params = of_model(strategy)
    asked = adaptation.questions(task, SPOKEN, config, tokenizer())
    modality, most = {"asr": "text", "tts": "speech"}[task], [3, 9, 6]
    answers = Greedy(Generator(config, one_device(), params))([q.prompt for q in asked], modality, most)
    for question, answer, n in zip(asked, answers, most, strict=True):
        assert answer.tolist() == one_by_one(config, model, params, question.prompt, modality, n)


def test_speech_that_would_have_to_be_aligned_is_not_generated():
    with pytest.raises(ConfigError, match="strategy=aligned: words that are not there yet have no alignment"):
        Generator(make_config(256, 256, strategy="aligned"), one_device(), {})


def test_pocketsphinx_hears_the_same_whatever_it_heard_before():
    audio = load_audio("corpora/asterisk/audio/confbridge-mute-extended.ogg")
    ear = PocketSphinx()
    first = ear.transcribe(audio)
    assert len(first.split()) > 2
    ear.transcribe(np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32))
    assert ear.transcribe(audio) == first
    assert ear.transcribe(np.zeros(0, np.float32)) == ""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run saved at step 2, on speech of a unit tokenizer that can be heard."""
    folder = tmp_path_factory.mktemp("run")
    make_data(folder)
    units = LogMelKMeans.fit([np.random.default_rng(0).normal(-5, 2, (600, 320)).astype(np.float32)], 501, 0)
    units.save(folder / "units.safetensors")
    write_directory(folder / "held", [SPOKEN], codebook_fingerprint=units.fingerprint)
    config = make_run_config(folder, steps=2)
    config = dataclasses.replace(
        config,
        eval=dataclasses.replace(config.eval, completion_items=0, sources=()),
        data=dataclasses.replace(config.data, patching=dataclasses.replace(config.data.patching, strategy="static")),
    )
    saved_run.save(RunDirectory(folder / "run"), config, step=2)
    return folder


def options(folder, **changes):
    return argparse.Namespace(
        **{
            "run_dir": folder / "run",
            "step": None,
            "asr": None,
            "tts": None,
            "units": None,
            "items": 1,
            "json": True,
            "probe": None,
            "recogniser": None,
            "set": ["mesh.data=1"],
            **changes,
        }
    )


def test_the_command_writes_and_prints_what_it_measured(trained, capsys, monkeypatch):
    monkeypatch.setattr(adaptation, "LEAST", 2)
    monkeypatch.setattr(adaptation, "TEXT_TOKENS_A_SECOND", 1.0)
    monkeypatch.setattr(adaptation, "SECONDS_A_TEXT_TOKEN", 0.1)
    assert (
        run_speech.run(
            options(
                trained, asr=str(trained / "held"), tts=str(trained / "held"), units=str(trained / "units.safetensors")
            )
        )
        == 0
    )
    for name, line in zip(("asr", "tts"), capsys.readouterr().out.splitlines(), strict=True):
        values = json.loads(line)
        assert values == json.loads((trained / "run" / "evaluations" / f"{name}.json").read_text())
        assert values["task"] == name and values["step"] == 2 and len(values["answers"]) == 1
    assert values["recogniser"] == PocketSphinx().name
    assert len(list((trained / "run" / "sounds").glob("generated_0_*.wav"))) == 1


def test_the_recogniser_asked_for_hears_the_speech(trained, capsys, monkeypatch):
    class Ear:
        name = "ear"

        def transcribe(self, audio):
            return "yes"

    monkeypatch.setattr(adaptation, "LEAST", 2)
    monkeypatch.setattr(adaptation, "SECONDS_A_TEXT_TOKEN", 0.1)
    monkeypatch.setattr(run_speech, "load_recogniser", {"whisper:there": Ear()}.__getitem__)
    assert (
        run_speech.run(
            options(
                trained, tts=str(trained / "held"), units=str(trained / "units.safetensors"), recogniser="whisper:there"
            )
        )
        == 0
    )
    values = json.loads(capsys.readouterr().out)
    assert values["recogniser"] == "ear" and [one["answer"] for one in values["answers"]] == ["yes"]


def test_what_does_not_fit_is_refused_in_one_line(trained, tmp_path):
    held = str(trained / "held")
    for changes, error, message in (
        ({"tts": held}, ConfigError, "--tts: what is generated has to be heard; give --units FILE"),
        ({"asr": held, "items": 0}, ConfigError, "--items 0: must be at least 1"),
        ({"asr": str(tmp_path / "no")}, DataError, "no: no such directory"),
        ({"asr": held, "run_dir": tmp_path}, ConfigError, "no such run"),
        ({"tts": held, "units": "any", "recogniser": "kaldi"}, DataError, "must be pocketsphinx or whisper:DIR"),
        ({"tts": str(trained / "speech"), "units": str(trained / "other.safetensors")}, DataError, "other"),
    ):
        with pytest.raises(error) as raised:
            run_speech.run(options(trained, **changes))
        assert message in str(raised.value) and "\n" not in str(raised.value)
    other = LogMelKMeans.fit([np.random.default_rng(1).normal(-5, 2, (600, 320)).astype(np.float32)], 501, 0)
    other.save(tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="has the fingerprint .*; give the file that made them"):
        run_speech.run(options(trained, tts=held, units=str(tmp_path / "other.safetensors")))
    shell = RunDirectory(tmp_path / "shell")
    shell.path.mkdir()
    shell.config_path.write_text((trained / "run" / "config.json").read_text())
    with pytest.raises(CheckpointError, match="holds no checkpoint; train first"):
        run_speech.run(options(trained, asr=held, run_dir=shell.path))
