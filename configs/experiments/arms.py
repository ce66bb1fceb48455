"""Cells that several experiments share: in one workdir each of them is run once."""

# Gates of DMMPT. The policy begins with about 0.40 nats per token; without DMMPT it ends below SIGMA_LOW.
SIGMA_UNDER, SIGMA_LOW, SIGMA_HIGH = 0.1, 0.3, 0.5
PLAIN = ("loss.sigma=0.0",)
ALWAYS = ("loss.sigma=inf",)
LOW = (f"loss.sigma={SIGMA_LOW}",)
HIGH = (f"loss.sigma={SIGMA_HIGH}",)
UNDER = (f"loss.sigma={SIGMA_UNDER}",)
BATCH_LOW = (*LOW, "loss.gate=batch")
BATCH_HIGH = (*HIGH, "loss.gate=batch")

# Staleness: four times the tiny job's learning rate, and eight segments. About 128 samples finish in a step of each.
_FAST = ("steps=200", "loss.sigma=0.0", "optimizer.learning_rate=2e-3")
_SEGMENTS = (*_FAST, "rollout.segments=8", "rollout.slots=320")
TOIS = (*_FAST, "loss.importance=tois", "rollout.segments=1", "rollout.slots=128")
POIS = (*_SEGMENTS, "loss.importance=pois")
SAIS = (*_SEGMENTS, "loss.importance=sais")
KEEP = (*POIS, "rollout.kv=keep")
