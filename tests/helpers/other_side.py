"""Checks an exported LST under whatever transformers this Python has, without lst_jax: `python other_side.py FOLDER`.

FOLDER has `model/`, and `expected.npz` with arrays of documents padded behind: token, length, starts and ends of
patches, and the logits that lst_jax gives. The first failed assertion ends it.
"""

import contextlib
import importlib.util
import pathlib
import sys
import warnings

import numpy as np
import torch
import transformers

TOLERANCE = 2e-5  # of logits of the order of 1
ROUNDS = 3  # of each random check


def main(folder):
    """Runs all checks. Prints the version of transformers."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "model", trust_remote_code=True)
    assert model.dtype == torch.float32 and not model.config.tie_word_embeddings
    assert (model.config.bos_token_id, model.config.eos_token_id) == (1, 2)
    found = np.load(folder / "expected.npz")
    given = "given" in folder.name
    documents = [
        {key: found[key][i, :n] for key in ("token", "starts", "ends", "logits")} for i, n in enumerate(found["length"])
    ]
    rng = np.random.default_rng(0)
    with torch.no_grad():
        whole(model, documents, given)
        for _ in range(ROUNDS):
            stepwise(model, documents, given, rng)
        for beams in (1, 4, 8):
            for _ in range(ROUNDS):
                generation(model, documents, given, beams, rng)
    if not given:
        with torch.no_grad():
            continued(model, documents)
        checkpointing(model, documents)
        refusals(model, documents)
        saved_again(folder, model, documents)
        if importlib.util.find_spec("accelerate"):
            offloaded(folder, model, documents)
    print(transformers.__version__)


def close(got, wanted):
    """Whether logits are equal."""
    np.testing.assert_allclose(got.detach().numpy(), wanted, atol=TOLERANCE, rtol=0)


def boundaries(documents, columns):
    """The arguments with the patches of these columns [B, T] (-1 = padding) of the documents."""
    arrays = {}
    for key in ("starts", "ends"):
        rows = zip([d[key] for d in documents], columns, strict=True)
        rows = [[bool(x[c]) if 0 <= c < len(x) else True for c in row] for x, row in rows]
        arrays[f"patch_{key}"] = torch.tensor(rows)
    return arrays


def left_padded(documents, lengths):
    """(ids, mask, columns) of the beginnings of documents; padding is an ordinary id."""
    size = max(lengths)
    columns = [[*[-1] * (size - n), *range(n)] for n in lengths]
    rows = [[d["token"][c] if c >= 0 else 60 for c in row] for d, row in zip(documents, columns, strict=True)]
    return torch.tensor(np.array(rows)).long(), (torch.tensor(columns) >= 0).long(), columns


def whole(model, documents, given):
    """Each document by itself."""
    for one in documents:
        token = torch.tensor(one["token"])[None].long()
        more = boundaries([one], [range(token.shape[1])]) if given else {}
        close(model(token, **more).logits[0], one["logits"])


def stepwise(model, documents, given, rng):
    """Prompts of any length in one batch, then some columns at a time; at times the last one is forgotten again."""
    cuts = [int(rng.integers(1, len(d["token"]))) for d in documents]
    ids, mask, columns = left_padded(documents, cuts)
    out = model(ids, mask, use_cache=True, **(boundaries(documents, columns) if given else {}))
    got, cache, step = [out.logits[:, -1]], out.past_key_values, int(rng.integers(1, 6))
    most = max(len(d["token"]) - n for d, n in zip(documents, cuts, strict=True))
    begin, again = 0, 0
    while begin < most:
        places = [[n + c for c in range(begin - again, begin + step)] for n in cuts]
        rows = [
            [d["token"][c] if c < len(d["token"]) else 7 for c in row] for d, row in zip(documents, places, strict=True)
        ]
        new = torch.tensor(np.array(rows)).long()
        mask = torch.cat([mask, torch.ones(len(cuts), step).long()], 1)
        more = boundaries(documents, places) if given else {}
        out = model(new, mask, past_key_values=cache, use_cache=True, **more)
        got += out.logits[:, again:].unbind(1)
        begin, again = begin + step, int(rng.integers(2))
        if again:
            cache.crop(-again if rng.random() < 0.5 else cache.get_seq_length() - again)
    got = torch.stack(got, 1)
    for row, one, n in zip(got, documents, cuts, strict=True):
        close(row[: len(one["token"]) - n + 1], one["logits"][n - 1 :])


def generation(model, documents, given, beams, rng):
    """With the cache as without it. Where the prompt's last patch is said to end, what follows opens another."""
    cuts = [int(rng.integers(1, len(d["token"]))) for d in documents]
    ids, mask, columns = left_padded(documents, cuts)
    more = boundaries(documents, columns) if given else {}
    if given and beams == 1:
        more["patch_ends"][:, -1] = True
    settings = more | {"attention_mask": mask, "max_new_tokens": 12, "num_beams": beams, "do_sample": False}
    cached, plain = (model.generate(ids, use_cache=use, **settings) for use in (True, False))
    assert torch.equal(cached, plain), (beams, cached, plain)


def continued(model, documents):
    """Generation goes on from the cache that an earlier generation returned."""
    ids, mask, _ = left_padded(documents, [3, 5, 4, 6, 2, 5])
    settings = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    once = model.generate(ids, attention_mask=mask, max_new_tokens=10, **settings)
    half = model.generate(ids, attention_mask=mask, max_new_tokens=4, return_dict_in_generate=True, **settings)
    longer = torch.cat([mask, torch.ones(len(ids), 4).long()], 1)
    rest = model.generate(
        half.sequences, attention_mask=longer, past_key_values=half.past_key_values, max_new_tokens=6, **settings
    )
    assert torch.equal(once, rest)


def checkpointing(model, documents):
    """Gradient checkpointing changes no gradient."""
    token = torch.tensor(documents[2]["token"])[None].long()
    found = []
    for kind in (None, True, False):
        if kind is not None:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": kind})
        model.train()
        model.zero_grad()
        model(token, labels=token).loss.backward()
        found.append([p.grad.clone() for p in model.parameters()])
    model.gradient_checkpointing_disable()
    model.eval()
    assert all(x.abs().max() > 0 for x in found[0])
    for other in found[1:]:
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found[0], other, strict=True))


def saved_again(folder, model, documents):
    """What transformers saves is whole, with all of the code."""
    model.save_pretrained(folder / "again")
    again = transformers.AutoModelForCausalLM.from_pretrained(folder / "again", trust_remote_code=True)
    token = torch.tensor(documents[2]["token"])[None].long()
    assert torch.equal(again(token).logits, model(token).logits)


def offloaded(folder, model, documents):
    """Some of its modules may lie elsewhere, here on the disk."""
    places = {name: "cpu" for name, _ in model.named_children()}
    places = {k: v for k, v in places.items() if k != "global_transformer"}
    for name, _ in model.global_transformer.named_children():
        if name != "layers":
            places[f"global_transformer.{name}"] = "cpu"
    for i in range(len(model.global_transformer.layers)):
        places[f"global_transformer.layers.{i}"] = "disk" if i else "cpu"
    other = transformers.AutoModelForCausalLM.from_pretrained(
        folder / "model", trust_remote_code=True, device_map=places, offload_folder=folder / "offloaded"
    )
    assert set(other._no_split_modules) <= {type(module).__name__ for module in model.modules()}
    token = torch.tensor(documents[2]["token"])[None].long()
    close(other(token).logits[0], documents[2]["logits"])
    again = other.generate(token[:, :5], max_new_tokens=4, do_sample=False)
    assert torch.equal(again, model.generate(token[:, :5], max_new_tokens=4, do_sample=False))


def refusals(model, documents):
    """One line for what the model cannot use, and nothing for what says the same as the ids."""
    token = torch.tensor(documents[2]["token"])[None].long()
    place = torch.arange(token.shape[1])[None]
    close(model(token, position_ids=place).logits[0], documents[2]["logits"])
    for arguments, message in [
        ({"position_ids": place % 5}, "position_ids: must count the tokens of a row from 0"),
        ({"attention_mask": torch.ones_like(token) * 2}, "attention_mask: must be 1 or 0"),
        ({"inputs_embeds": torch.ones(1, 3, 4)}, "inputs_embeds: is not supported"),
        ({"output_attentions": True}, "output_attentions: is not supported"),
        ({"token_type_ids": place}, "unexpected keyword argument 'token_type_ids'"),
        ({"patch_starts": place[:, 1:]}, "patch_starts, patch_ends: have the shape"),
        ({"patch_ends": place}, "patch_starts, patch_ends: must be 1, 0, or -1"),
    ]:
        with refused(message):
            model(token, **arguments)
    with refused("unknown_word"):
        model.generate(token, max_new_tokens=1, unknown_word=1)


@contextlib.contextmanager
def refused(message):
    """Expects an error that says this."""
    try:
        yield
    except (ValueError, TypeError) as error:
        assert message in str(error) and "\n" not in str(error), error
    else:
        raise AssertionError(f"was not refused: {message}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
