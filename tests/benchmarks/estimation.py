"""Estimation with its intervals against NannyML's CBPE at equal values: ``python -m tests.benchmarks.estimation``.

The same million rows in 100 chunks, the same calibrated probabilities, seven metrics. NannyML 0.13.1 runs in a virtual
environment of its own below .assay/bench/ (made on first use), with its usage logging off, in the same run. Both are
timed in seconds of CPU, one thread each, so that a busy machine favours neither.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from tasks.science.monitors.performance.calibration import fit_calibration
from tasks.science.monitors.performance.confidence_based import ConfidenceBasedEstimator
from tasks.science.monitors.performance.expected_metrics import expected
from tests.nannyml_peer import ROOT, ask

ROWS, CHUNKS, REFERENCE, THRESHOLD, REPEATS = 1_000_000, 100, 200_000, 0.3, 3
METRICS = ("roc_auc", "average_precision", "f1", "precision", "recall", "accuracy")


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reference scores with labels that follow them, and window scores."""
    rng = np.random.default_rng(1)
    reference, window = rng.beta(1, 3, REFERENCE), rng.beta(1.2, 3, ROWS)
    return reference, rng.random(REFERENCE) < reference, window


def ours(reference: np.ndarray, label: np.ndarray, scores: np.ndarray) -> None:
    """Calibration, estimate, interval and comparison with the reference: every metric of every chunk."""
    estimator = ConfidenceBasedEstimator(fit_calibration(reference, label), reference, THRESHOLD)
    for chunk in np.split(scores, CHUNKS):
        window = estimator.window(chunk, 1)
        for metric in METRICS:
            window.estimate(metric)


def both(metric: str, p: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """Our estimate at the probabilities that the peer used; and the same with the pairs of a row with itself put back,
    which CBPE counts."""
    value = expected(metric, p, score, THRESHOLD).value
    own, positive, negative = p * (1 - p), p.sum(), (1 - p).sum()
    if metric == "roc_auc":
        return value, float((value * (positive * negative - own.sum()) + own.sum() / 2) / (positive * negative))
    if metric == "average_precision":
        rank = len(score) - np.searchsorted(np.sort(score), score)
        return value, value - float((own / rank).sum() / positive)
    return value, value


def main() -> None:
    reference, label, window = data()
    with tempfile.TemporaryDirectory(prefix="estimation-", dir=_place()) as name:
        folder = Path(name)
        pd.DataFrame(
            {"p": reference, "decision": (reference >= THRESHOLD).astype(int), "label": label.astype(int)}
        ).to_parquet(folder / "reference.parquet")
        pd.DataFrame({"p": window, "decision": (window >= THRESHOLD).astype(int)}).to_parquet(
            folder / "analysis.parquet"
        )
        peer = ask(folder, kind="cbpe", metrics=list(METRICS), chunks=[ROWS // CHUNKS] * CHUNKS)
        used = pd.read_parquet(folder / "calibrated.parquet")["p"].to_numpy(float)
    taken = []
    for _ in range(REPEATS):
        begun = time.process_time()
        ours(reference, label, window)
        taken.append(time.process_time() - begun)
    mine = float(np.median(taken))
    print(f"{ROWS:,} rows in {CHUNKS} chunks, {REFERENCE:,} reference rows, {len(METRICS)} metrics")
    pairs = list(zip(np.split(used, CHUNKS), np.split(window, CHUNKS), strict=True))
    for metric in METRICS:
        found = np.array([both(metric, p, score) for p, score in pairs])
        plain, same = np.abs(found - np.array(peer["values"][metric])[:, None]).max(axis=0)
        print(f"  {metric:20s} largest difference {same:.1e}; {plain:.1e} without the pairs of a row with itself")
        assert same < 1e-6, f"{metric} differs by {same}"
    print(f"NannyML CBPE, fit                            {peer['fit']:8.3f} CPU s")
    print(f"NannyML CBPE, estimate                       {peer['estimate']:8.3f} CPU s")
    print(f"ours, fit and estimate with intervals        {mine:8.3f} CPU s (median of {REPEATS})")
    print(f"CBPE estimate alone / ours fit and estimate  {peer['estimate'] / mine:8.1f}")
    print(f"CBPE fit and estimate / ours                 {(peer['fit'] + peer['estimate']) / mine:8.1f}")


def _place() -> Path:
    place = ROOT / ".assay/bench"
    place.mkdir(parents=True, exist_ok=True)
    return place


if __name__ == "__main__":
    main()
