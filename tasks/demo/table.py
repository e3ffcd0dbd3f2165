"""A table to try `assay new` with: loans of people who do not exist, as a bank's program exports them.

python -m tasks.demo.table loans.csv
"""

from __future__ import annotations

import csv
import math
import random
import sys
from pathlib import Path

ROWS = 6000
COLUMNS = ("age", "sex", "income", "purpose", "months", "earlier_loans", "repaid")
PURPOSES = {"car": 0.2, "furniture": 0.0, "education": 0.4, "business": -0.5}


def write(path: Path, rows: int = ROWS, seed: int = 7) -> None:
    """Write the table as CSV with semicolons and decimal commas; some incomes are unknown, as "?"."""
    draw = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, delimiter=";")
        table.writerow(COLUMNS)
        for _ in range(rows):
            age, sex, purpose = draw.randint(19, 74), draw.choice(["female", "male"]), draw.choice(list(PURPOSES))
            income = round(math.exp(draw.gauss(7.7, 0.4)), 2)
            months, loans = draw.choice([12, 24, 36, 48, 60]), min(9, int(draw.expovariate(0.7)))
            logit = 1.3 * math.log(income / 2000) - 0.03 * (months - 24) + PURPOSES[purpose]
            repaid = draw.random() < 1 / (1 + math.exp(-logit - 0.6 + 0.15 * loans))
            shown = "?" if draw.random() < 0.03 else f"{income:.2f}".replace(".", ",")
            table.writerow([age, sex, shown, purpose, months, loans, "yes" if repaid else "no"])


if __name__ == "__main__":
    write(Path(sys.argv[1]))
