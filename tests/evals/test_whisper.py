"""Whisper as a recogniser: a tiny one that has learned two tones, and directories that are no Whisper."""

import json
import shutil

import numpy as np
import pytest

from lst_jax.core.errors import DataError
from lst_jax.evals.recognisers import kind, registry

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)  # threads of so small a model wait for each other

END, START, ENGLISH, GERMAN, TRANSCRIBE, PLAIN = SPECIALS = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|de|>",
    "<|transcribe|>",
    "<|notimestamps|>",
)
PITCHES = (300.0, 1500.0)
WORDS = {ENGLISH: ("low", "high"), GERMAN: ("tief", "hoch")}  # of the pitches
WINDOW_SEC = 2  # what it hears at once; Whisper's own is 30 s


def tone(pitch: float, seconds: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * pitch * np.arange(round(16000 * seconds)) / 16000)).astype(np.float32)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A Whisper of one layer that says "low" or "high" of a tone when asked in English, and else German words."""
    path = tmp_path_factory.mktemp("whisper")
    vocabulary = {text: index for index, text in enumerate([*"Ġabcdefghijklmnopqrstuvwxyz", *SPECIALS])}
    tokenizer = transformers.WhisperTokenizer(
        vocab=vocabulary, merges=[], language="de", task="transcribe", additional_special_tokens=list(SPECIALS[1:])
    )
    hear = transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=WINDOW_SEC)
    transformers.WhisperProcessor(hear, tokenizer).save_pretrained(path)
    ends = {f"{name}_token_id": vocabulary[END] for name in ("bos", "eos", "pad")}
    ends["decoder_start_token_id"] = vocabulary[START]
    torch.manual_seed(0)
    model = transformers.WhisperForConditionalGeneration(
        transformers.WhisperConfig(
            vocab_size=len(vocabulary),
            num_mel_bins=20,
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            max_source_positions=50 * WINDOW_SEC,
            max_target_positions=32,
            suppress_tokens=[],
            **ends,
        )
    )
    model.generation_config = transformers.GenerationConfig(
        is_multilingual=True,
        lang_to_id={name: vocabulary[name] for name in (ENGLISH, GERMAN)},
        max_length=32,
        task_to_id={"transcribe": vocabulary[TRANSCRIBE]},
        no_timestamps_token_id=vocabulary[PLAIN],
        **ends,
    )
    asked = [
        (
            tone(pitch, seconds),
            [vocabulary[name] for name in (START, language, TRANSCRIBE, PLAIN)],
            [vocabulary[letter] for letter in word] + [vocabulary[END]],
        )
        for language, words in WORDS.items()
        for pitch, word in zip(PITCHES, words, strict=True)
        for seconds in (0.5, 1.0, 1.9)
    ]
    features = hear([sound for sound, *_ in asked], sampling_rate=16000, return_tensors="pt").input_features
    given = torch.full((len(asked), 8), vocabulary[END])
    wanted = torch.full((len(asked), 8), -100)
    for row, (_, prompt, answer) in enumerate(asked):
        given[row, : len(prompt) + len(answer) - 1] = torch.tensor([*prompt, *answer[:-1]])
        wanted[row, len(prompt) - 1 : len(prompt) + len(answer) - 1] = torch.tensor(answer)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(100):
        logits = model(input_features=features, decoder_input_ids=given).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def ear(directory):
    return registry.load_recogniser(f"whisper:{directory}")


def test_it_hears_english_and_the_same_whatever_it_heard_before(ear):
    assert isinstance(ear, kind.Recogniser)
    for _ in range(2):
        assert [ear.transcribe(tone(pitch, 1.2)) for pitch in PITCHES] == ["low", "high"]
    assert ear.transcribe(np.zeros(0, np.float32)) == ""


def test_audio_longer_than_its_window_is_heard_whole(ear):
    pause = np.zeros(6000, np.float32)
    low, high = tone(PITCHES[0], 1.5), tone(PITCHES[1], 1.5)
    assert ear.transcribe(np.concatenate([low, pause, high])) == "low high"
    assert ear.transcribe(np.concatenate([high, pause, low])) == "high low"


def test_the_name_changes_with_the_weights_and_with_nothing_beside_them(directory, ear, tmp_path):
    copy = shutil.copytree(directory, tmp_path / "copy")
    (copy / "README.md").write_text("a model")
    assert registry.load_recogniser(f"whisper:{copy}").name == ear.name
    assert ear.name.startswith(f"whisper/transformers-{transformers.__version__}/")
    model = transformers.WhisperForConditionalGeneration.from_pretrained(copy)
    model.model.decoder.layer_norm.bias.data[0] += 0.001
    model.save_pretrained(copy)
    assert registry.load_recogniser(f"whisper:{copy}").name != ear.name


def test_an_english_only_model_is_not_told_the_language(directory, tmp_path):
    copy = shutil.copytree(directory, tmp_path / "copy")
    settings = json.loads((copy / "generation_config.json").read_text())
    del settings["lang_to_id"], settings["task_to_id"]  # as those of tiny.en
    (copy / "generation_config.json").write_text(json.dumps(settings | {"is_multilingual": False}))
    assert registry.load_recogniser(f"whisper:{copy}").transcribe(tone(PITCHES[0], 1.0)).isalpha()


def cut_weights(path):
    whole = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def drop_a_tensor(path):
    model = transformers.WhisperForConditionalGeneration.from_pretrained(path)
    kept = {name: value for name, value in model.state_dict().items() if name != "model.decoder.layer_norm.bias"}
    model.save_pretrained(path, state_dict=kept)


def of_another_kind(path):
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"model_type": "hubert"}))


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda path: shutil.rmtree(path), "config.json: no such file; give a Hugging Face model directory"),
        (of_another_kind, "config.json: model_type must be whisper; give the directory of such a model"),
        (cut_weights, "cannot be used as a Whisper"),
        (drop_a_tensor, "the weights lack model.decoder.layer_norm.bias"),
        (lambda path: (path / "model.safetensors").unlink(), "cannot be used as a Whisper"),
        (lambda path: (path / "tokenizer.json").write_text("{"), "cannot be used as a Whisper"),
        (
            lambda path: (path / "generation_config.json").unlink(),
            "with its safetensors, tokenizer and generation_config",
        ),
        (lambda path: (path / "processor_config.json").unlink(), "cannot be used as a Whisper"),
    ],
    ids=["missing", "another", "cut", "lacking", "none", "tokenizer", "generation", "processor"],
)
def test_what_is_no_whole_whisper_is_one_line(directory, tmp_path, damage, message):
    copy = shutil.copytree(directory, tmp_path / "copy")
    damage(copy)
    with pytest.raises(DataError) as raised:
        registry.load_recogniser(f"whisper:{copy}")
    assert message in str(raised.value) and "\n" not in str(raised.value) and str(copy) in str(raised.value)
