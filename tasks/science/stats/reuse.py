"""What answers about the same rows cost: bounds after numbers were read, and levels where only pass or fail is told.

The setting is that of adaptive data analysis (Dwork et al. 2015, Science 349, 636): each model may be made from all
that was answered before. A metric's error is taken as a linear functional of noise that is common to all models of
these rows, and normal. So it is for means over many rows, and nearly so for AUCs.

Guaranteed under any adaptivity, in that setting:

- **Numbers** (:func:`reach`). Each answer is one direction of the noise. Gram and Schmidt make the directions
  orthonormal one after the other. Given the answers before, each new one is standard normal, whatever made it be
  asked. So what k answers know together is chi-squared with k degrees of freedom: Scheffé's (1953) bound, one-sided.
- **Pass or fail** (:func:`level_share`). Until the first pass all answers are alike. So the k-th model is one that was
  fixed beforehand, and a union bound over k holds. Later ones are fixed by the places of the passes, and the union goes
  over these, too. It is the description length of Dwork et al. (2015, NIPS 28, 2350).
- **Both** compose: each member of the union may have read numbers of its own.

Not guaranteed:

- Models made to read labels out, such as scores that give each row another power of two (Whitehill 2018). Their error
  is not nearly normal, and a log loss of twelve digits then tells forty labels.
- Several numbers of one model count as one answer: nine metrics and a curve tell more than one direction.
- Who has the rows themselves needs no answer.

The order of growth, the square root of the answers, is that of attacks which boost on what they read (Blum & Hardt
2015). ``tests/statistics/holdout.py`` plays one against both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.optimize import brentq
from scipy.stats import chi2

FARTHEST = 8.0
"""Standard errors beyond which no bound can be told apart from certainty in floating point."""
SMALLEST = 1e-290
"""A share of a level that floating point still tells from 0; its bound is far beyond :data:`FARTHEST`."""
PER_PASS = 0.2
"""Of what remains of the level, the share that is kept for after the next pass."""


def reach(answers: float, level: float) -> float:
    """Standard errors that a one-sided bound lies from the estimate, where so many numbers of these rows were read.

    An analyst who knows ``answers - 1`` numbers of joint size R mixes what is known with one fresh direction. The best
    mix is beyond c with chance P(Z > sqrt(c² - R²)). Over R this is the mean of the tails of chi-squared with
    ``answers - 1`` and with ``answers`` degrees of freedom, which is exact: the chi-bar-squared law of a half-space. Of
    the first answer it is the normal quantile.

    Args:
        answers: of these rows, the one at hand included, at least 1. Earlier ones may count by the share of rows in
            common, so it need not be whole.
        level: chance that the bound does not hold, in (0, 0.5).

    Raises:
        ValueError: either is outside its range.
    """
    if not answers >= 1 or not 0 < level < 0.5:
        raise ValueError(f"answers is {answers:g} and level {level:g}; allowed: at least 1, and between 0 and 0.5")

    def beyond(c: float) -> float:
        known = float(chi2.sf(c * c, answers - 1)) if answers > 1 else 0.0
        return math.log((known + float(chi2.sf(c * c, answers))) / 2) - math.log(level)

    most = math.sqrt(float(chi2.isf(level, answers))) + 1e-6
    return float(brentq(beyond, 0.0, most, xtol=1e-9))


def by_shares(parts: Sequence[tuple[float, int]]) -> float:
    """Answers that count for all rows, where earlier ones saw parts of them.

    An estimate on all rows is the mean of those on the parts by their shares. A part of share s has an error of
    ``sqrt(s)`` standard errors of the whole per direction, and n answers know a joint size of about ``sqrt(n)`` of it.
    By the triangle inequality parts together know at most the sum of ``sqrt(s n)``, which is that of its square of
    answers about all rows. Parts that are disjoint count in full by it, and nested ones for more: no answer is more
    than one direction, so a caller takes no more than all answers.

    Args:
        parts: of each set of rows that was asked, its share of all in [0, 1], and how many answers it gave.
    """
    return round(sum(math.sqrt(share * answers) for share, answers in parts) ** 2, 9)  # three whole answers are 3


def level_share(answer: int, passes: int) -> float:
    """The share of a gate's level that the k-th sealed answer of the same rows may spend.

    It is ``w(k) v(j) / C(k - 1, j)`` after j passes, with w(k) = 1 / (k (k + 1)) and v(j) = 0.8 * 0.2^j. So many
    histories lead to the k-th answer, and over all of them the shares sum to 1 (``w`` and ``v`` each do). No number of
    answers has to be stated beforehand. Numbers that a pass reveals are :func:`reach`'s. A share is at least
    :data:`SMALLEST`.

    Args:
        answer: k, from 1.
        passes: j, sealed answers before that were a pass.

    Raises:
        ValueError: there cannot be so many passes.
    """
    if answer < 1 or not 0 <= passes < answer:
        raise ValueError(f"answer is {answer} and passes {passes}; allowed: from 1, and fewer passes than answers")
    histories = math.lgamma(answer) - math.lgamma(passes + 1) - math.lgamma(answer - passes)  # of C(k - 1, j)
    share = math.log(1 - PER_PASS) + passes * math.log(PER_PASS) - math.log(answer) - math.log(answer + 1) - histories
    return max(math.exp(share), SMALLEST)


def fresh_rows(rows: int, counted: float, budget: int) -> int:
    """Fresh rows of the holdout with which the answers so far come down to a budget.

    An answer counts by the share of the rows that it saw, so m fresh rows make ``counted - 1`` earlier answers
    ``(counted - 1) rows / (rows + m)``.

    Args:
        rows: of the holdout now.
        counted: answers so far, the one at hand included.
        budget: at least 2.
    """
    return max(0, math.ceil(rows * ((counted - 1) / (budget - 1) - 1) - 1e-9))
