"""How fast a figure grows: the exponent b of y ~ x^b, and whether it is more than it should be."""
import math
import statistics
from dataclasses import dataclass

import base

TOLERANCE = .1
APART = math.log(1.4)  # points that are closer say nothing about growth


@dataclass
class Figure:
    """Something measured over x. should is the exponent that it may have: 0 is flat, 1 grows as x does.

    Of rates, more is better: they must not fall faster than should.
    """
    name: str
    unit: str
    should: float = 0
    rate: bool = False
    tolerance: float = TOLERANCE


def exponent(points):
    """The median slope between all pairs of points in logarithms (Theil and Sen), which one outlier does not move.

    None without two points that are apart.
    """
    logs = [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for n, a in enumerate(logs) for b in logs[n + 1:] if abs(b[0] - a[0]) > APART]
    return statistics.median(slopes) if slopes else None


@dataclass
class Growth:
    """The exponents of a figure of one server, one of each round."""
    figure: Figure
    exponents: list
    floor: float = None  # that of the floor, where it is measured

    @property
    def middle(self):
        return statistics.median(self.exponents)

    @property
    def allowed(self):
        """What also the least that can be done needs is no fault."""
        f = self.figure
        if self.floor is None:
            return f.should
        return min(f.should, self.floor) if f.rate else max(f.should, self.floor)

    @property
    def should(self):
        return f'{"at least" if self.figure.rate else "at most"} {self.allowed:.2f}'

    @property
    def fault(self):
        """Whether it grows faster than it should, for all that the rounds say."""
        low, high, _ = base.interval(self.exponents)
        if self.figure.rate:
            return high < self.allowed - self.figure.tolerance
        return low > self.allowed + self.figure.tolerance
