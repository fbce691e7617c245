"""What we write, loaded and run by the PyTorch ancestor's own code, if LST_ANCESTOR names a clone of it.

    LST_ANCESTOR=~/lst make test-extras      # facebookresearch/lst; CC-BY-NC, so it is no dependency of this project

Beside PyTorch it needs pydantic, omegaconf, typer, rich, s3fs, pandas and jsonlines. Its kernels are those of GPUs: here
xformers is a stand-in, flex attention is not compiled, and `.cuda()` does nothing.
"""

import contextlib
import importlib.util
import os
import sys

import numpy as np
import pytest
import xformers_standin
from convert_cases import config_of, make_run

from lst_jax.convert import ancestor_files, ancestor_params, command
from lst_jax.convert.ancestor_fields import SECTIONS
from lst_jax.convert.inputs import Inputs
from lst_jax.convert.proof import TOLERANCE
from lst_jax.core.vocab import BOS_ID

CLONE = os.environ.get("LST_ANCESTOR")
pytestmark = [
    pytest.mark.skipif(not CLONE, reason="LST_ANCESTOR names no clone of the PyTorch ancestor"),
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"),
    pytest.mark.filterwarnings("ignore"),  # its warnings are not ours
]


@pytest.fixture(scope="module")
def ancestor():
    """Its modules, made to run without a GPU."""
    import torch
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    xformers_standin.install()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LST_ALLOW_MISSING_FLEX_ATTENTION", "1")
        patch.syspath_prepend(CLONE)
        patch.setattr(torch.nn.Module, "cuda", lambda self: self)
        args, generate, blt, latent = map(
            importlib.import_module, ("lst.args", "lst.generate", "lst.model.blt", "lst.model.latent_transformer")
        )
        patch.setattr(latent, "flex_attention_comp", flex_attention)
        patch.setattr(
            blt, "create_block_mask", lambda *a, _compile=False, **more: create_block_mask(*a, device="cpu", **more)
        )
        yield args, generate
    for name in [name for name in sys.modules if name.split(".")[0] == "lst" or name in xformers_standin.NAMES]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A model of ours, as its directory."""
    folder = tmp_path_factory.mktemp("own")
    run = make_run(folder / "run", config_of("lst", compute_dtype="float32"))
    command.convert(run, folder / "ancestor", "ancestor")
    return folder / "ancestor"


def test_its_own_loader_gives_the_same_logits_and_generates(ancestor, written, tmp_path, monkeypatch):
    import torch

    monkeypatch.chdir(tmp_path)
    _, generate = ancestor
    model, tokenizer, train_args = generate.load_consolidated_model_and_tokenizer(str(written))
    source = ancestor_files.open_source(written)
    vocab, size = source.config.joint_vocab, source.config.data.patching.static_size
    assert tokenizer.get_vocab_size() == vocab.size and tokenizer.bos_id == BOS_ID
    assert (tokenizer.text_mode_id, tokenizer.speech_mode_id) == (vocab.text_marker, vocab.speech_marker)
    units = " ".join(map(str, np.random.default_rng(0).integers(0, vocab.unit_slots, 3 * size - 1)))
    spans = (("text", "please enter your "), ("sep", units), ("text", "password"))
    token = [BOS_ID]
    for mode, span in spans:  # its "on_the_fly_eval" raises: it unpacks one value into two
        token += tokenizer.encode(span, mode, bos=False, eos=False)[0]
    assert token.count(vocab.unit_offset + int(units.split()[0])) >= 1

    patcher = train_args.data.patcher_args.build()
    whole = torch.tensor([[*token, token[-1]]])
    lengths = patcher.patch(whole, tokenizer=tokenizer)[0]
    with torch.inference_mode():
        theirs = model(whole[:, :-1], patch_lengths=lengths)[0].numpy()
    start = np.zeros(len(token) + 1, bool)
    start[np.cumsum([0, *lengths[0].tolist()])[:-1]] = True
    marker = token.index(vocab.speech_marker)
    assert start[marker] and not start[marker + 1]  # <s> opens the first patch there
    inputs = Inputs(np.array([token], np.int32), start[None, :-1], start[None, 1:])
    ours = ancestor_files.logits(written, inputs)[0][0]
    assert np.abs(ours - theirs).max() <= TOLERANCE
    assert np.abs(theirs).max() > 1

    for _ in range(4):  # as its generate_nocache does, which cannot call its own tokenizer
        lengths = patcher.patch(torch.tensor([[*token, token[-1]]]), tokenizer=tokenizer)[0]
        with torch.inference_mode():
            token.append(int(model(torch.tensor([token]), patch_lengths=lengths)[0, -1].argmax()))
    assert all(0 <= number < vocab.size for number in token)


def test_a_short_last_patch_differs_where_it_is_known_to_end(ancestor, written):
    import torch

    _, generate = ancestor
    model, tokenizer, train_args = generate.load_consolidated_model_and_tokenizer(str(written))
    source = ancestor_files.open_source(written)
    vocab, size = source.config.joint_vocab, source.config.data.patching.static_size
    units = [vocab.unit_offset + number for number in range(2 * size + 1)]
    token = [BOS_ID, vocab.speech_marker, *units, vocab.text_marker, 300, 301, 302]
    lengths = train_args.data.patcher_args.build().patch(torch.tensor([[*token, 303]]), tokenizer=tokenizer)[0]
    with torch.inference_mode():
        theirs = model(torch.tensor([token]), patch_lengths=lengths)[0].numpy()
    start = np.zeros(len(token) + 1, bool)
    start[np.cumsum([0, *lengths[0].tolist()])[:-1]] = True
    end, last = start[1:].copy(), 1 + len(units)
    assert end[last]
    end[last] = False  # what our rule says of a short patch: that it ends is not known from within it
    ours = ancestor_files.logits(written, Inputs(np.array([token], np.int32), start[None, :-1], end[None]))[0][0]
    error = np.abs(ours - theirs).max(-1)
    assert error[:last].max() <= TOLERANCE < error[last]


def test_its_validation_has_the_fields_that_we_know(ancestor):
    args, _ = ancestor
    classes = {"": args.TrainArgs, "optim": args.OptimArgs, "distributed": args.DistributedArgs}
    classes |= {"model": args.ByteLatentTransformerArgs, "data": args.DataloaderArgs}
    classes |= {"data.tokenizer_args": args.TokenizerArgs, "data.patcher_args": args.PatcherArgs}
    assert classes.keys() == SECTIONS.keys()
    for path, fields in SECTIONS.items():
        assert classes[path].model_fields.keys() == fields.keys(), path
        dumped = classes[path]().model_dump(mode="json")
        for name, field in fields.items():
            if field.kind.rstrip("?") != "dict":
                assert dumped[name] == field.default, (path, name)


def test_a_directory_of_its_trainer_needs_its_tokenizer_alone(ancestor, written, tmp_path):
    import torch
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict

    args, generate = ancestor
    model, _, train_args = generate.load_consolidated_model_and_tokenizer(str(written))
    folder = tmp_path / "checkpoints" / "0000000007"
    optimizer = torch.optim.AdamW(model.parameters())
    sum(parameter.sum() for parameter in model.parameters()).backward()
    optimizer.step()
    state = get_state_dict(model, optimizer)
    with contextlib.redirect_stderr(None):
        dcp.save({"model": state[0], "optim": state[1]}, checkpoint_id=str(folder))
    (folder / "params.json").write_text(args.TrainArgs(model=train_args.model, data=train_args.data).model_dump_json())
    with pytest.raises(Exception, match="python -m lst.checkpoint consolidate .*0000000007"):
        ancestor_files.open_source(folder)
    checkpoint = importlib.import_module("lst.checkpoint")
    consolidated = checkpoint.consolidate_checkpoints(checkpoint.fsspec.filesystem("file"), str(folder))
    source = ancestor_files.open_source(folder / "consolidated", tokenizer=str(written / "tokenizer.model"))
    assert source.config.model.compute_dtype == "bfloat16"  # its default
    ours = ancestor_files._read_pickled(folder / "consolidated" / "consolidated.pth")
    for name, value in torch.load(f"{consolidated}/consolidated.pth", weights_only=True)["model"].items():
        np.testing.assert_array_equal(ours[name].read(), value.numpy(), strict=True)
    back = ancestor_params.params_of(source.config, "tokenizer.model")
    assert args.TrainArgs.model_validate(back).model == train_args.model
