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

# Staleness: 16 segments, and steps at the tiny job's learning rate and twice that. These want less noise: four times
# the samples of a step (about 512), or TOIS itself unlearns at 1e-3.
_BIG = ("steps=60", "evaluation.every=20", "loss.sigma=0.0")
_ONCE = ("loss.importance=tois", "rollout.segments=1", "rollout.slots=512")
_16 = ("rollout.segments=16", "rollout.slots=2400")
_4 = ("rollout.segments=4", "rollout.slots=800")
_POIS, _SAIS = (*_16, "loss.importance=pois"), (*_16, "loss.importance=sais")
_FAST = "optimizer.learning_rate=1e-3"
TOIS, POIS, SAIS = (*_BIG, *_ONCE), (*_BIG, *_POIS), (*_BIG, *_SAIS)
TOIS_FAST, POIS_FAST, SAIS_FAST = (*TOIS, _FAST), (*POIS, _FAST), (*SAIS, _FAST)
POIS_4 = (*_BIG, *_4, "loss.importance=pois")
KEEP_4 = (*POIS_4, "rollout.kv=keep")
