"""Checks exported Bases under whatever transformers this Python has, without lst_jax: `python other_side_base.py FOLDER`.

Each folder FOLDER/CLASS has `model/`, and `expected.npz` with ids [B, T] and the logits that lst_jax gives. The first
failed assertion ends it.
"""

import pathlib
import sys
import warnings

import numpy as np
import torch
import transformers

TOLERANCE = 2e-5  # of logits of the order of 1


def main(folder):
    """Checks each model, whole and with a cache. Prints the version of transformers."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for one in sorted(folder.iterdir()):
        model = transformers.AutoModelForCausalLM.from_pretrained(one / "model")
        assert type(model).__name__ == one.name and model.dtype == torch.float32
        found = np.load(one / "expected.npz")
        ids = torch.from_numpy(found["token"]).long()
        with torch.no_grad():
            np.testing.assert_allclose(model(ids).logits, found["logits"], rtol=0, atol=TOLERANCE)
            begun = model(ids[:, :-3], use_cache=True)
            rest = model(ids[:, -3:], past_key_values=begun.past_key_values)
        np.testing.assert_allclose(rest.logits, found["logits"][:, -3:], rtol=0, atol=TOLERANCE)
    print(transformers.__version__)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
