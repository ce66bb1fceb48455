"""io.step_files: the steps that have a file, in their order, and no file of a step that is taken anew."""

from ulorl_jax.io.step_files import GROUPS, LENGTHS, TRACES, remove_after


def write(workdir, files, *steps):
    for step in steps:
        files.path(workdir, step).parent.mkdir(exist_ok=True)
        files.path(workdir, step).write_text(str(step))


def test_steps_are_those_that_have_a_file_of_the_kind_in_the_order_of_their_numbers(tmp_path):
    write(tmp_path, TRACES, 12, 3, 1_000_000, 999_999)
    (tmp_path / "rollouts" / ".step_000007.jsonl.12.tmp").touch()  # what a kill leaves behind
    (tmp_path / "rollouts" / "step_000008.json").touch()
    for copy in ("step_000009 (copy).jsonl", "step_5.jsonl", "step_\u00b2.jsonl"):
        (tmp_path / "rollouts" / copy).touch()
    assert TRACES.path(tmp_path, 12) == tmp_path / "rollouts" / "step_000012.jsonl"
    assert TRACES.steps(tmp_path) == [3, 12, 999_999, 1_000_000] and LENGTHS.steps(tmp_path) == []


def test_files_of_later_steps_are_removed_in_every_folder_and_no_others(tmp_path):
    for files in (TRACES, LENGTHS, GROUPS):
        write(tmp_path, files, 1, 4, 5, 10)
    (tmp_path / "lengths" / "notes.txt").touch()
    remove_after(tmp_path, 4)
    assert [files.steps(tmp_path) for files in (TRACES, LENGTHS, GROUPS)] == [[1, 4]] * 3
    assert GROUPS.path(tmp_path, 4).read_text() == "4" and (tmp_path / "lengths" / "notes.txt").is_file()
    remove_after(tmp_path, -1)
    assert [files.steps(tmp_path) for files in (TRACES, LENGTHS, GROUPS)] == [[]] * 3
    remove_after(tmp_path / "new", -1)
