"""Exported LSTs that the tests of a session share."""

import functools

import pytest


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Gives the directory of one of `hf_lst_cases.MODELS`."""
    from hf_lst_cases import MODELS, built, config_of, source_of

    from lst_jax.convert import hf_lst

    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # for models as small as these, several wait for each other

    @functools.cache
    def folder(name):
        out = tmp_path_factory.mktemp("hf") / name
        out.mkdir()
        hf_lst.write(source_of(config_of(MODELS[name]), built(name)[1]), out)
        return out

    return folder


@pytest.fixture(scope="session")
def load(folders):
    """Gives one of `hf_lst_cases.MODELS` as transformers loads it."""
    transformers = pytest.importorskip("transformers")

    @functools.cache
    def model(name):
        found = transformers.AutoModelForCausalLM.from_pretrained(folders(name), trust_remote_code=True)
        return found.requires_grad_(False)

    return model
