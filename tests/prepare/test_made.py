import pytest

from lst_jax.core.errors import DataError
from lst_jax.prepare import made


def test_a_file_is_made_once_and_again_only_when_told(tmp_path):
    path = tmp_path / "new" / "units"
    assert made.begin(path, {"k": 5}, overwrite=False)
    assert made.begin(path, {"k": 5}, overwrite=False)  # killed before it was written
    path.write_text("x")
    assert not made.begin(path, {"k": 5}, overwrite=False)
    with pytest.raises(DataError, match=r"units: is there already, made from another input \(k differ\)"):
        made.begin(path, {"k": 6}, overwrite=False)
    assert path.read_text() == "x"
    assert made.begin(path, {"k": 6}, overwrite=True)
    assert not path.exists()


def test_a_file_of_unknown_making_is_not_touched(tmp_path):
    (tmp_path / "units").write_text("x")
    with pytest.raises(DataError, match="is there already"):
        made.begin(tmp_path / "units", {"k": 5}, overwrite=False)
