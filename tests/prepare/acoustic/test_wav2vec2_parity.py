"""The encoders compute what transformers' do. Needs torch and transformers; without them see `test_wav2vec2`."""

import numpy as np
import pytest
import tiny_models

from lst_jax.prepare.acoustic.encoder import Encoder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-4  # values are of the order of 1


def torch_model(directory):
    kind = {"hubert": transformers.HubertForCTC, "wav2vec2": transformers.Wav2Vec2ForCTC}
    return kind[transformers.AutoConfig.from_pretrained(directory).model_type].from_pretrained(directory).eval()


def torch_hidden_states(model, audio_BS, **arguments):
    with torch.no_grad():
        out = model.base_model(torch.tensor(np.atleast_2d(audio_BS)), output_hidden_states=True, **arguments)
    return [state.numpy() for state in out.hidden_states]


@pytest.mark.parametrize("variant", tiny_models.VARIANTS)
def test_every_hidden_state_and_the_log_probabilities_equal_those_of_transformers(variant, tmp_path):
    directory = tiny_models.write(tmp_path / "model", variant)
    model, recordings = torch_model(directory), tiny_models.recordings()
    for layer in (0, 1, tiny_models.BASE["num_hidden_layers"]):
        for state, recording in zip(Encoder(directory, layer).hidden_states(recordings), recordings, strict=True):
            np.testing.assert_allclose(state, torch_hidden_states(model, recording)[layer][0], atol=TOLERANCE, rtol=0)
    for found, recording in zip(Encoder(directory).log_probs(recordings), recordings, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor(recording)[None]).logits[0]
        np.testing.assert_allclose(found, logits.log_softmax(-1).numpy(), atol=TOLERANCE, rtol=0)


def test_normalisation_equals_that_of_the_feature_extractor(tmp_path):
    directory = tiny_models.write(tmp_path / "model", "wav2vec2_base", normalise=True)
    recording = tiny_models.recordings()[0] * 0.01 + 0.2
    extractor = transformers.AutoFeatureExtractor.from_pretrained(directory)
    audio = extractor(recording, sampling_rate=16000, return_tensors="np").input_values
    expected = torch_hidden_states(torch_model(directory), audio)[2][0]
    np.testing.assert_allclose(Encoder(directory, 2).hidden_states([recording])[0], expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("variant", "padding_is_neutral_in_torch"),
    [("hubert_large", True), ("wav2vec2_large", True), ("hubert_base", False)],
)
def test_padding_is_neutral_here_where_it_is_not_in_torch(variant, padding_is_neutral_in_torch, tmp_path):
    """Models whose first norm runs over time are used without a mask there, and padding shifts their results."""
    directory = tiny_models.write(tmp_path / "model", variant)
    model, (long, short, _) = torch_model(directory), tiny_models.recordings()
    audio_BS = np.zeros((2, len(long)), np.float32)
    audio_BS[0], audio_BS[1, : len(short)] = long, short
    mask = {"attention_mask": torch.tensor([[1] * len(long), [1] * len(short) + [0] * (len(long) - len(short))])}
    padded = torch_hidden_states(model, audio_BS, **(mask if padding_is_neutral_in_torch else {}))[2][1]
    alone = torch_hidden_states(model, short)[2][0]
    ours = Encoder(directory, 2).hidden_states([long, short])[1]
    assert (np.abs(padded[: len(alone)] - alone).max() < TOLERANCE) == padding_is_neutral_in_torch
    np.testing.assert_allclose(ours, alone, atol=TOLERANCE, rtol=0)


def test_what_transformers_saves_itself_can_be_loaded(tmp_path):
    directory = tiny_models.write(tmp_path / "model", "wav2vec2_base")
    transformers.Wav2Vec2Model.from_pretrained(directory).save_pretrained(tmp_path / "saved", max_shard_size="20KB")
    (tmp_path / "saved" / "preprocessor_config.json").write_text('{"do_normalize": false}')
    assert (tmp_path / "saved" / "model.safetensors.index.json").is_file()
    recordings = tiny_models.recordings()
    for ours, theirs in zip(
        Encoder(tmp_path / "saved", 3).hidden_states(recordings),
        Encoder(directory, 3).hidden_states(recordings),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
