"""What tests of training share."""

import pytest
import training_run


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with the records and the tokenizer of `training_run`."""
    folder = tmp_path_factory.mktemp("data")
    training_run.make_data(folder)
    training_run.tokenizer_of(folder)
    return folder
