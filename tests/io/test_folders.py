"""A folder is there as a whole or not at all."""

import pytest

from ulorl_jax.io.folders import partial_folder


def test_a_folder_appears_when_it_is_complete_and_leaves_nothing_beside_it(tmp_path):
    with partial_folder(tmp_path / "a" / "b") as partial:
        (partial / "file").write_text("1")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "file").read_text() == "1"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_a_folder_that_could_not_be_filled_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="something else"), partial_folder(tmp_path / "b") as partial:
        (partial / "file").write_text("1")
        raise ValueError("something else")
    with pytest.raises(ValueError, match="cannot write .*b: No space left"), partial_folder(tmp_path / "b"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_replaced(tmp_path):
    (tmp_path / ".b.partial").mkdir()
    (tmp_path / ".b.partial" / "old").write_text("")
    with partial_folder(tmp_path / "b") as partial:
        (partial / "new").write_text("")
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["new"]


def test_an_empty_folder_is_filled_and_any_other_destination_is_refused(tmp_path):
    (tmp_path / "b").mkdir()
    with partial_folder(tmp_path / "b") as partial:
        (partial / "file").write_text("1")
    for taken in (tmp_path / "b", tmp_path / "b" / "file"):
        with pytest.raises(ValueError, match="is there already and not an empty folder"), partial_folder(taken):
            raise AssertionError("not reached")
    assert (tmp_path / "b" / "file").read_text() == "1"
