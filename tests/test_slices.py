"""Whether a run fits a slice: what is counted, and what is said where it does not fit."""

import dataclasses

import pytest

from configs import qwen3_30b
from tests import runs
from ulorl_jax.footprint import GIB, memory_terms
from ulorl_jax.settings import Settings, on_devices
from ulorl_jax.slices import assess, chip_of, describe_choice, describe_slice, table_of

SETTINGS = runs.settings({"mesh.fsdp": 4})
TERMS = {term.name: term.per_device for term in memory_terms(SETTINGS)}


def program(peak: float) -> dict:
    return {"bytes": {"arguments": 5, "in_place": 3, "results": 2, "temporaries": peak, "peak": peak}, "seconds": 1.0}


def test_beside_the_update_lie_the_decoders_weights_and_its_cache_and_beside_the_decoder_the_train_state():
    programs = {"train": program(GIB), "decode": program(2 * GIB), "reshard": program(GIB)}
    made = assess(SETTINGS, "v5e:2x2", programs)
    train, decode, reshard = (made["programs"][name] for name in programs)
    assert reshard["beside"] == TERMS["optimizer"] + TERMS["KV cache"]  # it makes the decoder's weights itself
    assert train["total"] == GIB + TERMS["decoder's weights"] + TERMS["KV cache"]
    assert decode["total"] == 2 * GIB + TERMS["parameters"] + TERMS["optimizer"]
    assert train["margin"] == 15.75 * GIB - train["total"]
    assert made["fits"] and made["chips"] == 4
    assert describe_slice(made)[-1] == "v5e:2x2 (4 chips of 15.8 GiB, fsdp 4): fits"


def test_a_kept_cache_lies_beside_the_decoder_of_an_evaluation():
    kept = runs.settings({"mesh.fsdp": 4, "rollout.kv": "keep"})
    rows = [assess(s, "v5e:2x2", {"decode": program(GIB)})["programs"]["decode"] for s in (SETTINGS, kept)]
    assert rows[1]["beside"] - rows[0]["beside"] == TERMS["KV cache"] > 0


def test_one_program_that_is_too_large_is_enough_and_a_line_says_what_to_change():
    made = assess(SETTINGS, "v5e:2x2", {"train": program(16 * GIB), "decode": program(GIB)})
    assert not made["fits"] and made["programs"]["decode"]["fits"]
    (said,) = (line for line in describe_slice(made) if line.startswith(("train", "decode")))
    assert said.startswith("train does not fit: temporaries") and "train.row_lengths" in said


def test_the_table_has_every_term_in_the_column_of_each_program_that_holds_it():
    large = on_devices(Settings.from_dict(qwen3_30b.get_config().to_dict()), 64)
    terms = {term.name: (term.per_device or 0.0) / GIB for term in memory_terms(large)}
    programs = {"train": program(20 * GIB), "reshard": {"refused": "Used 20.1G of 15.7G hbm", "seconds": 1.0}}
    table = {row[""]: (row["train"], row["reshard"]) for row in table_of(assess(large, "v5p:4x4x4", programs))}
    state, decoder, cache = (terms[name] for name in ("parameters", "decoder's weights", "KV cache"))
    assert table["parameters"] == (f"{state:.2f}",) * 2
    assert table["optimizer"] == (f"{terms['optimizer']:.2f}", f"+{terms['optimizer']:.2f}")
    assert table["gradients"] == (f"({terms['gradients']:.2f})", "")
    assert table["decoder's weights"] == (f"+{decoder:.2f}", f"({decoder:.2f})")
    assert table["KV cache"] == (f"+{cache:.2f}",) * 2
    assert table["temporaries, results"] == (f"{20 - state - terms['optimizer']:.2f}", "refused")
    assert table["the program alone"][0] == "20.00"
    total = 20 + decoder + cache
    assert (table["with what stays"][0], table["left of 95.74"][0]) == (f"{total:.2f}", f"{95.74 - total:.2f}")


def test_the_seconds_before_the_first_token_are_those_of_all_programs_it_waits_for_and_not_of_the_update():
    seconds = {"train": 200.0, "decode": 20.0, "prefill": 30.0, "reshard": 10.0}
    programs = {name: program(GIB) | {"seconds": n} for name, n in seconds.items()}
    made = assess(SETTINGS, "v5e:2x2", programs)
    assert made["compile_s"] == seconds and made["compile_before_first_token_s"] == 60
    assert any("which the first token waits for, 60 s" in line for line in describe_slice(made))

    programs["prefill"] = {"refused": "Used 20.1G of 15.7G hbm", "seconds": 1.0}
    assert assess(SETTINGS, "v5e:2x2", programs)["compile_before_first_token_s"] is None


def test_what_the_compiler_refused_does_not_fit_and_keeps_its_reason():
    made = assess(SETTINGS, "v5e:2x2", {"decode": {"refused": "Used 20.1G of 15.7G hbm", "seconds": 1.0}})
    assert not made["fits"]
    (said,) = (line for line in describe_slice(made) if line.startswith("decode"))
    assert "Used 20.1G of 15.7G hbm" in said and "rollout.pages.count" in said


def test_an_unknown_chip_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"--topology must be one of \['v4', 'v5e', 'v5p', 'v6e'\]; got 'v9'"):
        chip_of("v9:2x2")


def test_the_floor_counts_no_more_tokens_than_the_pool_holds():
    pages = dataclasses.replace(SETTINGS.rollout.pages, count=8, size=4)
    settings = dataclasses.replace(SETTINGS, rollout=dataclasses.replace(SETTINGS.rollout, pages=pages))
    assert assess(settings, "v5e:2x2", {})["roofline"]["live_tokens"] == 32


def test_of_several_slices_those_that_fit_are_named_the_smallest_first():
    small, large, none = (assess(runs.settings({"mesh.fsdp": -1}), topology, {"decode": program(size * GIB)})
                          for topology, size in (("v5e:2x2", 1), ("v5e:4x4", 1), ("v5e:2x4", 999)))  # fmt: skip
    assert describe_choice([large, none, small], 4) == "of 4 slices fit: v5e:2x2 (4 chips), v5e:4x4 (16 chips)"
    assert describe_choice([none], 1) == "of 1 slices fit: none"


def test_what_takes_most_of_a_chip_is_named_with_what_makes_it_smaller():
    settings = on_devices(Settings.from_dict(qwen3_30b.get_config().to_dict()), 64)
    programs = {"train": program(20 * GIB), "decode": {"refused": "RESOURCE_EXHAUSTED", "seconds": 1.0}}
    large = assess(settings, "v5e:8x8", programs)
    for row in large["programs"].values():
        assert row["change"].startswith("KV cache 60.00 GiB: fewer rollout.pages.count")


@pytest.mark.parametrize(
    "reason",
    [
        "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 40.1G of 9G",
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (40.10G) exceeds "
        "available HBM (15.75G).",
    ],
)
def test_an_update_that_the_compiler_refuses_is_not_told_to_change_a_cache_that_is_none_of_its_own(reason):
    settings = on_devices(Settings.from_dict(qwen3_30b.get_config().to_dict()), 64)
    state = sum(t.per_device or 0.0 for t in memory_terms(settings) if t.name in ("parameters", "optimizer")) / GIB
    (row,) = assess(settings, "v5e:8x8", {"train": {"refused": reason, "seconds": 1.0}})["programs"].values()
    assert row["change"].startswith(f"temporaries {40.1 - state:.2f} GiB: shorter train.row_lengths")
    unsaid = {"train": {"refused": "RESOURCE_EXHAUSTED", "seconds": 1.0}}
    (row,) = assess(settings, "v5e:8x8", unsaid)["programs"].values()
    assert row["change"].startswith("optimizer 3.56 GiB: a larger mesh.fsdp")
