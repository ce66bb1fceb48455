r"""Numbers that hold a smaller or a larger unit: 22°30', 20 dozen eggs, 0x205, 1\frac34."""

from tests.verify.answer_tables import misjudged
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE

ARCS = r"""
22.5 ~ 22^\circ 30'
22.5^\circ ~ 22^{\circ}30^{\prime}
22.51 ~ 22°30'36"
22.51 ~ 22^\circ 30' 36''
22.51 ~ 22^{\circ} 30^{\prime} 36^{\prime\prime}
22.01 ~ 22°36''
-22.5 ~ -22°30'
22°30' ~ 22 degrees and 30 minutes
\frac{\pi}{8} ~ 22°30'
f'(2) = 2 ~ f^{\prime}(2) = 2
"""
OTHER_ARCS = r"""
22.5 ~ 22°50'
22.5 ~ 22°30'36"
22.3 ~ 22°30'
22°30' ~ 22°30''
22°30' ~ 22°31'
30 ~ 30°30'
"""
DOZENS = r"""
240 ~ 20 dozen eggs
240 eggs ~ 20 dozen eggs
24 ~ two dozen
"""
OTHER_DOZENS = r"""
20 eggs ~ 20 dozen eggs
21 ~ 20 dozen eggs
"""
# How many dozens, or how many eggs?
ONE_SIDED = r"""
20 ~ 20 dozen eggs
20 ~ 20 dozen
1 ~ one dozen
"""


def test_minutes_and_seconds_of_arc_are_parts_of_a_degree():
    assert misjudged(ARCS, SAME) == []
    assert misjudged(OTHER_ARCS, DIFFERENT) == []


def test_a_dozen_is_twelve_and_against_the_number_of_dozens_it_is_not_decided():
    assert misjudged(DOZENS, SAME) == []
    assert misjudged(OTHER_DOZENS, DIFFERENT) == []
    assert misjudged(ONE_SIDED, UNSURE) == []


def test_0x_is_base_sixteen():
    assert misjudged("0x205 ~ 205_{16}\n-0x1f ~ -1F_{16}\n0x1F, 0x2A ~ 2A_{16}, 1F_{16}", SAME) == []
    assert misjudged("0x205 ~ 205_{8}\n0x205 ~ 206_{16}", DIFFERENT) == []
    assert misjudged("0x205 ~ 205\n0x205 ~ 517\n10x5 ~ 5_{16}", UNSURE) == []
    assert misjudged("0 ~ 0x\n3*10^2 ~ 3x10^2\n0 ~ 0x10^2", SAME) == []


def test_a_mixed_number_is_written_without_a_minus():
    assert misjudged(r"1\frac34 ~ 1 3/4" + "\n1/4 ~ 1-3/4", SAME) == []
    assert misjudged(r"1\frac34 ~ 1-3/4", DIFFERENT) == []
