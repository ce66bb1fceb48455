import pytest

from ulorl_jax.io.files import write_atomically


def test_text_and_bytes_are_written_as_they_are_into_folders_that_are_made(tmp_path):
    write_atomically(tmp_path / "a" / "b" / "text", "é\r\n")
    write_atomically(str(tmp_path / "bytes"), b"\x00\xff")
    assert (tmp_path / "a" / "b" / "text").read_bytes() == b"\xc3\xa9\r\n"
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff"


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path):
    write_atomically(tmp_path / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "file", "half \ud800")
    assert (tmp_path / "file").read_text() == "old"


def test_a_write_replaces_the_file_and_leaves_nothing_else(tmp_path):
    write_atomically(tmp_path / "file", "a longer text")
    reader = open(tmp_path / "file")  # noqa: SIM115 -- held open over the second write
    write_atomically(tmp_path / "file", "new")
    assert reader.read() == "a longer text"  # another file took the name; this one was not touched
    reader.close()
    assert (tmp_path / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
