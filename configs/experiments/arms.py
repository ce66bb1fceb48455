"""Cells that several experiments share: in one workdir each of them is run once."""

# Gates of DMMPT. The policy begins with about 0.41 nats per token and ends with about 0.32 without DMMPT.
SIGMA_UNDER, SIGMA_LOW, SIGMA_HIGH = 0.2, 0.36, 0.45
PLAIN = ("loss.sigma=0.0",)
ALWAYS = ("loss.sigma=inf",)
ALWAYS_90 = (*ALWAYS, "loss.tau=0.9")
LOW = (f"loss.sigma={SIGMA_LOW}",)
HIGH = (f"loss.sigma={SIGMA_HIGH}",)
UNDER = (f"loss.sigma={SIGMA_UNDER}",)
BATCH_LOW = (*LOW, "loss.gate=batch")
BATCH_HIGH = (*HIGH, "loss.gate=batch")

# Staleness: twice the tiny job's learning rate (at four times TOIS itself unlearned), and 8, 16 or 32 segments. About
# 128 samples finish in a step of each.
_FAST = ("steps=200", "loss.sigma=0.0", "optimizer.learning_rate=1e-3")
_8 = (*_FAST, "rollout.segments=8", "rollout.slots=320")
_16 = (*_FAST, "rollout.segments=16", "rollout.slots=600")
_32 = (*_FAST, "rollout.segments=32", "rollout.slots=1150")
TOIS = (*_FAST, "loss.importance=tois", "rollout.segments=1", "rollout.slots=128")
POIS, SAIS = (*_8, "loss.importance=pois"), (*_8, "loss.importance=sais")
POIS_16, SAIS_16 = (*_16, "loss.importance=pois"), (*_16, "loss.importance=sais")
POIS_32, SAIS_32 = (*_32, "loss.importance=pois"), (*_32, "loss.importance=sais")
KEEP = (*POIS, "rollout.kv=keep")
