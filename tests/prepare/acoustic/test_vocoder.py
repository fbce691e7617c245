"""A unit HiFi-GAN against convolutions written out as torch's documentation defines them."""

import json

import numpy as np
import pytest
import safetensors.numpy

from lst_jax.core.errors import ConfigError, DataError
from lst_jax.generate import sound
from lst_jax.prepare.acoustic.vocoder import UnitVocoder, read_shape

CONFIG = {
    "resblock": "1",
    "upsample_rates": [3, 2],
    "upsample_kernel_sizes": [7, 4],
    "upsample_initial_channel": 8,
    "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 3], [2, 1]],
    "num_embeddings": 11,
    "embedding_dim": 6,
    "model_in_dim": 6,
    "sampling_rate": 150,
    "code_hop_size": 6,
    "multispkr": None,
}
UNITS = np.array([3, 3, 10, 0, 7], np.uint16)


def convolution(x, weight, bias, dilation):
    """x [in, t], weight [out, in, k]; padded to the same length."""
    out, _, k = weight.shape
    pad = dilation * (k - 1) // 2
    y = np.zeros((out, x.shape[1]))
    for t in range(x.shape[1]):
        for j in range(k):
            at = t + j * dilation - pad
            if 0 <= at < x.shape[1]:
                y[:, t] += weight[:, :, j] @ x[:, at]
    return y + bias[:, None]


def transposed(x, weight, bias, rate):
    """x [in, t], weight [in, out, k]: every input position adds the kernel at `rate` times its place."""
    _, out, k = weight.shape
    pad = (k - rate) // 2
    y = np.zeros((out, (x.shape[1] - 1) * rate + k))
    for t in range(x.shape[1]):
        for j in range(k):
            y[:, t * rate + j] += weight[:, :, j].T @ x[:, t]
    return y[:, pad : y.shape[1] - pad] + bias[:, None]


def leaky(x, slope=0.1):
    return np.where(x > 0, x, slope * x)


def slow(config, state):
    """The generator, by the two functions above."""

    def weight(name):
        v = state[f"{name}.weight_v"].astype(np.float64)
        return state[f"{name}.weight_g"] * v / np.linalg.norm(v.reshape(len(v), -1), axis=1)[:, None, None]

    def conv(x, name, dilation=1):
        return convolution(x, weight(name), state[f"{name}.bias"], dilation)

    x, blocks = conv(state["dict.weight"][UNITS].T.astype(np.float64), "conv_pre"), 2
    for i, rate in enumerate(config["upsample_rates"]):
        x, total = transposed(leaky(x), weight(f"ups.{i}"), state[f"ups.{i}.bias"], rate), 0
        for k in range(blocks):
            y, name = x, f"resblocks.{i * blocks + k}"
            for j, dilation in enumerate(config["resblock_dilation_sizes"][k]):
                if config["resblock"] == "1":
                    y = y + conv(leaky(conv(leaky(y), f"{name}.convs1.{j}", dilation)), f"{name}.convs2.{j}")
                else:
                    y = y + conv(leaky(y), f"{name}.convs.{j}", dilation)
            total = total + y
        x = total / blocks
    return np.tanh(conv(leaky(x, 0.01), "conv_post"))[0]


def make(directory, **changes):
    """A directory with random weights under torch's names; returns its configuration and tensors."""
    config = {**CONFIG, **changes}
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    shape = read_shape(directory / "config.json")
    rng = np.random.default_rng(0)
    state = {"dict.weight": rng.normal(size=(11, 6))}
    for name, size in shape.layers().items():
        out = size[1] if name.startswith("ups") else size[0]
        state |= {
            f"{name}.weight_v": rng.normal(size=size),
            f"{name}.weight_g": rng.uniform(1, 2.5, (size[0], 1, 1)),
            f"{name}.bias": rng.normal(0, 0.1, out),
        }
    state["dur_predictor.proj.weight"] = np.zeros((1, 6))
    state = {name: tensor.astype(np.float32) for name, tensor in state.items()}
    safetensors.numpy.save_file(state, directory / "generator.safetensors")
    return config, state


@pytest.mark.parametrize("kind", ["1", "2"])
def test_sound_is_what_slow_convolutions_give(tmp_path, kind):
    config, state = make(tmp_path, resblock=kind)
    vocoder = UnitVocoder.load(tmp_path)
    found, wanted = vocoder.synthesise(UNITS), slow(config, state)
    assert vocoder.unit_rate == 25 and found.shape == wanted.shape == (5 * 6,)
    assert wanted.std() > 0.1 and np.abs(wanted).max() < 1
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_torch_files_and_other_names_of_weight_norm_give_the_same(tmp_path):
    torch = pytest.importorskip("torch")
    _, state = make(tmp_path)
    wanted = UnitVocoder.load(tmp_path).synthesise(UNITS)
    (tmp_path / "generator.safetensors").unlink()
    state = {
        name.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): torch.tensor(value)
        for name, value in state.items()
    }
    torch.save({"generator": state}, tmp_path / "g_00500000")
    np.testing.assert_array_equal(UnitVocoder.load(tmp_path).synthesise(UNITS), wanted)


def test_what_does_not_fit_is_named(tmp_path):
    make(tmp_path)
    with pytest.raises(DataError, match="has 11 units, unit 11 is none of them"):
        UnitVocoder.load(tmp_path).synthesise(np.array([11]))
    for changes, line in (
        ({"multispkr": "from_input"}, "multispkr=from_input: only vocoders of units alone"),
        ({"upsample_kernel_sizes": [6, 4]}, "rate and an even number more"),
        ({"embedding_dim": 7, "model_in_dim": 7}, r"dict.weight must be \(11, 7\), the file has it"),
        ({"upsample_rates": [3], "upsample_kernel_sizes": [7]}, "must be"),
        ({"resblock": "2"}, "resblocks.0.convs.0.weight must be .* the file lacks it"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**CONFIG, **changes}))
        with pytest.raises(DataError, match=line):
            UnitVocoder.load(tmp_path)
    (tmp_path / "other.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match="must hold one file of weights .* has 2"):
        UnitVocoder.load(tmp_path)


def test_generated_units_are_spoken_at_the_vocoder_s_rate_and_another_unit_rate_is_refused(tmp_path):
    make(tmp_path)
    samples, rate = sound.speaker(None, tmp_path, 25.0)(UNITS)
    assert rate == 150 and len(samples) == 30
    with pytest.raises(DataError, match="takes 25 units per second, the run has data.unit_rate=50; use a vocoder of"):
        sound.speaker(None, tmp_path, 50.0)
    with pytest.raises(ConfigError, match="--units-model: its units have no sound of their own; add --vocoder DIR"):
        sound.speaker(None, None, 25.0)
