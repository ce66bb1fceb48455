"""Every key of an experiment, with meaning. The others start from this one.

    launch/ablate.py --config=configs/experiments/NAME.py --workdir=DIR

Several experiments may share a workdir: a cell of the same name and settings is then run once.
"""

import math

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """An experiment without cells."""
    c = ml_collections.ConfigDict(sort_keys=False)
    c.claim = ""  # what is claimed, in a sentence
    c.paper = ""  # figure or table of UloRL (arXiv 2507.19766), and what it shows

    # The runs: config file, then overrides as they stand on the command line after --config., such as "loss.sigma=0.0".
    c.config = "configs/tiny_choices.py"  # from the project's root
    c.overrides = ()  # of every cell
    c.cells = in_order()  # name -> overrides of its own, after the others
    c.seeds = (0, 1, 2)  # of every cell
    # Overrides of the run whose warm start all cells of a seed begin with, DIR/warm_starts/seed_N; () lets each cell
    # train one of its own. Its one step is not used.
    c.warm_start = ("steps=1",)
    # The cell whose lengths and seconds launch/plan.py's simulation is given, seed by seed, to say the others'
    # (predicted/...); "" for none.
    c.predict_from = ""

    c.metrics = in_order()  # name -> metric(...): a column of the table
    c.panels = in_order()  # name -> panel(...): of the picture
    c.rules = in_order()  # name -> rule(...): what must be seen, said before anything is run
    return c


def in_order(**values: object) -> ml_collections.ConfigDict:
    """A section whose keys stay in the order in which they are written: that of tables and pictures."""
    return ml_collections.ConfigDict(values, sort_keys=False)


def metric(
    column: str, *, per: str = "", scale: float = 1.0, first: int = 0, last: int = 0, reduce: str = "mean"
) -> ml_collections.ConfigDict:
    """One number of a run."""
    m = ml_collections.ConfigDict()
    # Of metrics.jsonl; or measured/..., a figure per step as launch/plan.py takes it from a run (steps that compile
    # nothing, without evaluations), such as measured/step_s; or predicted/..., the same simulated.
    m.column = column
    m.per = per  # another such column, by which it is divided; "" for none
    m.scale = scale  # by which it is multiplied
    m.first = first  # of the rows that have the column: the first so many; 0: all
    m.last = last  # or the last so many
    m.reduce = reduce  # of these rows: mean, median, min or max
    return m


def panel(
    title: str,
    unit: str,
    *,
    curve: str = "",
    bars: tuple[str, ...] = (),
    marks: str = "",
    lines: tuple[float, ...] = (),
) -> ml_collections.ConfigDict:
    """A panel of the picture: either curves over the steps, or a bar for each cell."""
    p = ml_collections.ConfigDict()
    p.title = title
    p.unit = unit
    p.curve = curve  # a column of metrics.jsonl: mean over seeds, and a band from the lowest to the highest
    p.bars = bars  # metrics, stacked; dots are the seeds' sums
    p.marks = marks  # a metric that is marked beside the bars, such as a prediction
    p.lines = lines  # levels, such as sigma
    return p


def rule(
    says: str,
    left: str,
    right: str = "0",
    *,
    relation: str = "difference",
    low: float = -math.inf,
    high: float = math.inf,
    seeds: int = 0,
    role: str = "claim",
) -> ml_collections.ConfigDict:
    """What must be seen."""
    r = ml_collections.ConfigDict()
    r.says = says  # in words
    r.left = left  # cell.metric
    r.right = right  # cell.metric, of the same seed, or a number
    r.relation = relation  # "difference", left - right, or "ratio", left / right
    r.low = low  # within which it must lie
    r.high = high
    r.seeds = seeds  # in so many seeds at least; 0: in all
    r.role = role  # "claim", or "condition": where it does not hold, this scale cannot tell
    return r
