"""configs/deepscaler_20m.py through the real scripts, made smaller: Qwen3's own vocabulary, tokenizer and template."""

import json
import subprocess
import sys

import pytest

from tests import runs

pytestmark = pytest.mark.slow
SMALL = {
    "steps": 4,  # as many as segments: every sample of the first step is finished
    "model.hidden_size": 32,
    "model.intermediate_size": 64,
    "model.num_hidden_layers": 1,
    "data.heldout_rows": 2,
    "rollout.slots": 16,
    "rollout.output_limit": 16,
    "rollout.prefill_chunk": 64,
    "train.row_lengths": (192,),
    "warm_start.steps": 3,
    "warm_start.optimizer.warmup_steps": 0,
    "warm_start.optimizer.decay_steps": 0,
    "evaluation.samples": 1,
}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, data_dir):
    folder = tmp_path_factory.mktemp("deepscaler") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ULORL_DATA", str(data_dir))
        line = runs.command(folder, SMALL, "configs/deepscaler_20m.py")
        runs.summary_of(runs.start_command(folder, line), folder)
    return folder


def test_real_problems_go_through_chat_template_rollout_verdict_and_trace(workdir):
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary["steps"] == 4 and summary["prompts"]["duplicates"] == 150
    assert {"warm_start", "evaluate", "prefill", "decode", "verify"} <= summary["seconds"].keys()
    traces = [json.loads(line) for path in (workdir / "rollouts").iterdir() for line in path.open()]
    assert traces
    for sample in traces:
        assert sample["prompt"].startswith(f"<|im_start|>user\n{sample['question']}\n\nPlease reason step by step")
        assert sample["prompt"].endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")  # thinking is off
        assert sample["finished"] in ("eos", "limit") and "<|im_end|>" not in sample["output"]


def test_the_trained_policy_is_exported_with_its_tokenizer_and_transformers_generates_from_it(workdir, tmp_path):
    exported = tmp_path / "exported"
    line = [sys.executable, "launch/convert.py", str(workdir), str(exported), "--to=hf"]
    done = subprocess.run(line, cwd=runs.ROOT, env=runs.environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads((exported / "generation_config.json").read_text())["eos_token_id"] == [151645]
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    model = transformers.AutoModelForCausalLM.from_pretrained(exported)
    question = [{"role": "user", "content": "What is 1 + 1?"}]
    ids = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        output = model.generate(**ids, max_new_tokens=8, do_sample=False)
    assert output.shape[1] > ids["input_ids"].shape[1]
