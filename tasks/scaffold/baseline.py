"""A quick cross-validated baseline on training rows alone: which estimator, what it reaches, and what gives it away.

Limits of gates are made from it. The holdout is never scored here: a limit that was fitted to it would judge nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.model_selection import GroupKFold

from tasks.science.data.tables import ENTITY, LABEL, ROW, label_array
from tasks.science.gates.leakage_checks import questions, single_columns
from tasks.science.gates.leakage_order import training_jumps
from tasks.science.models.estimators import build
from tasks.science.models.explanations import attributions, importance
from tasks.science.stats.metrics import METRICS
from tasks.spec.leakage_gate import LeakageGate
from tasks.spec.metrics import TargetKind
from tasks.spec.training import TrainingConfig

ROWS = 12_000
"""Training rows that the baseline looks at, drawn at random where there are more."""
FOLDS = 4
LEAK = 0.95
"""AUC of one column alone from which it is taken for a leak, as the leakage gate does."""
SIMPLER = 0.02
"""Share of the loss that boosted trees must save to be preferred to a linear model."""
TREES: dict[str, Any] = {
    "kind": "hist_gradient_boosting",
    "parameters": {"max_iter": 80, "max_leaf_nodes": 8, "learning_rate": 0.06, "min_samples_leaf": 30},
}
CANDIDATES: dict[TargetKind, tuple[dict[str, Any], ...]] = {
    "binary": ({"kind": "logistic_regression", "parameters": {"C": 0.5}}, TREES),
    "multiclass": ({"kind": "logistic_regression", "parameters": {"C": 0.5}}, TREES),
    "regression": ({"kind": "ridge", "parameters": {}}, TREES),
}
LOSS = {"binary": "log_loss", "multiclass": "log_loss", "regression": "mae"}


@dataclass(frozen=True)
class Baseline:
    """What the better of two estimators reaches on training rows that it was not fitted on."""

    estimator: dict[str, Any]
    rows: pd.DataFrame
    """(n, columns) training rows that were scored."""
    label: np.ndarray
    score: np.ndarray
    trivial: np.ndarray
    """Scores of who knows only how often each class comes, or the median."""
    per_owner: float
    """Mean rows of one entity; 1 where the data have none."""
    jumps: tuple[str, ...]
    """What the leakage gate would say of the label rate along the training rows, in its words."""
    strongest: tuple[str, float] | None
    """The feature with the largest share of the attribution, and that share."""
    directions: dict[str, tuple[str, float]] = field(default_factory=dict)
    """By feature with a plain tendency: rises or falls, and Spearman's correlation with the label."""

    def metric(self, name: str, threshold: float, trivial: bool = False) -> float:
        return METRICS[name].compute(self.label, self.trivial if trivial else self.score, threshold)


def leaks(config: TrainingConfig, train: pd.DataFrame) -> dict[str, float]:
    """Features that alone tell one label from the others, each with its AUC: learned on one half, judged on the other.

    The same measure as the leakage gate's, and its limit.
    """
    rows = _sampled(train, config.seed)
    label = label_array(config, rows[LABEL])
    half = _owners(rows) % 2 == 0
    noise = np.random.default_rng(config.seed).random((len(rows), max(len(config.classes), 1)))
    score = noise / noise.sum(axis=1, keepdims=True) if config.classes else noise[:, 0]
    found: dict[str, float] = {}
    columns = rows[list(config.features)]
    asked = questions(config.kind, config.classes, label[half], label[~half], score[~half])
    for question in asked:
        for power in single_columns(
            columns[half], question.train, columns[~half], question.label, question.score, 0.95
        ):
            if power.auc >= LEAK:
                found[power.column] = max(found.get(power.column, 0.0), power.auc)
    return found


def fit_baseline(config: TrainingConfig, train: pd.DataFrame) -> Baseline:
    """Cross-validate a linear model and small boosted trees, and keep the better one.

    Folds keep the rows of one entity together; of a split by time, each fold is learned from the rows before it.

    Args:
        config: its estimator is replaced.
        train: (n, columns) rows of ``prepared/train.parquet``.
    """
    rows = _sampled(train, config.seed)
    label = label_array(config, rows[LABEL])
    features = rows[list(config.features)]
    folds = list(_folds(config, rows))
    seen = np.concatenate([test for _, test in folds])
    best: tuple[float, dict[str, Any], np.ndarray] | None = None
    for candidate in CANDIDATES[config.kind]:
        score = _scores(config, candidate, features, label, folds)[seen]
        loss = METRICS[LOSS[config.kind]].compute(label[seen], score, config.threshold)
        if best is None or loss < best[0] * (1 - SIMPLER):
            best = loss, candidate, score
    assert best is not None
    return Baseline(
        best[1],
        rows.iloc[seen].reset_index(drop=True),
        label[seen],
        best[2],
        _trivial(config, label)[seen],
        len(rows) / rows[ENTITY].nunique() if ENTITY in rows else 1.0,
        _jumps(config, rows, label, best[2], seen),
        _strongest(config, best[1], features, label),
        _directions(config, features, label),
    )


def _jumps(
    config: TrainingConfig, rows: pd.DataFrame, label: np.ndarray, score: np.ndarray, seen: np.ndarray
) -> tuple[str, ...]:
    """The scores are cut to the rows that some fold asked, in the order of the file again."""
    order = np.argsort(rows[ROW].to_numpy()[seen], kind="stable")
    part, period = rows.iloc[seen].iloc[order], config.data.period
    entity = part[ENTITY].to_numpy() if ENTITY in part else None
    when = part[period].to_numpy() if period is not None else None
    gate = LeakageGate(name="leakage", kind="leakage")
    return tuple(training_jumps(gate, config, label[seen][order], score[order], entity, when))


def _sampled(train: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Training rows in their order, those of an entity together, or not at all."""
    if len(train) <= ROWS:
        return train.reset_index(drop=True)
    owners = _owners(train)
    drawn = np.random.default_rng(seed).permutation(owners.max() + 1)
    kept = drawn[: max(2, int(len(drawn) * ROWS / len(train)))]
    return train[np.isin(owners, kept)].reset_index(drop=True)


def _owners(rows: pd.DataFrame) -> np.ndarray:
    """(n,) whose row it is, as whole numbers without an order."""
    if ENTITY not in rows:
        return np.asarray(np.random.default_rng(0).permutation(len(rows)))
    return np.asarray(pd.factorize(rows[ENTITY])[0])


def _folds(config: TrainingConfig, rows: pd.DataFrame) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if config.data.split.by == "time":
        order = np.argsort(rows[config.data.period].to_numpy(), kind="stable")
        blocks = np.array_split(order, FOLDS + 1)
        for number in range(1, FOLDS + 1):
            yield np.concatenate(blocks[:number]), blocks[number]
        return
    yield from GroupKFold(FOLDS).split(rows, groups=_owners(rows))


def _scores(
    config: TrainingConfig,
    estimator: dict[str, Any],
    features: pd.DataFrame,
    label: np.ndarray,
    folds: list[tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """(n,) or (n, k) scores of rows that the model was not fitted on; NaN where no fold asks."""
    score = np.full((len(label), len(config.classes)) if config.classes else len(label), np.nan)
    for fitted, asked in folds:
        model = _fitted(config, estimator, features.iloc[fitted], label[fitted])
        if config.kind == "regression":
            score[asked] = model.predict(features.iloc[asked])
            continue
        given = model.predict_proba(features.iloc[asked])
        if config.kind == "binary":
            score[asked] = given[:, -1] if len(model.classes_) == 2 else float(model.classes_[0])
        else:
            score[asked] = 1e-9
            score[np.ix_(asked, model.classes_)] = given
    return score / score.sum(axis=1, keepdims=True) if config.classes else score


def _fitted(config: TrainingConfig, estimator: dict[str, Any], features: pd.DataFrame, label: np.ndarray) -> Any:
    document = config.estimator.model_copy(update=estimator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fold may lack a category; the examination judges the model itself
        return build(config.model_copy(update={"estimator": document})).fit(features, label)


def _trivial(config: TrainingConfig, label: np.ndarray) -> np.ndarray:
    if config.kind == "regression":
        return np.full(len(label), float(np.median(label)))
    if config.kind == "binary":
        return np.full(len(label), float(label.mean()))
    shares = np.bincount(label, minlength=len(config.classes)) / len(label)
    return np.tile(shares, (len(label), 1))


def _strongest(
    config: TrainingConfig, estimator: dict[str, Any], features: pd.DataFrame, label: np.ndarray
) -> tuple[str, float] | None:
    drawn = features.sample(min(500, len(features)), random_state=config.seed)
    try:
        model = _fitted(config, estimator, features, label)
        shares = importance(attributions(model, drawn, drawn, config.seed))
    except ValueError:  # explanations refuse some models; the rule is then not proposed
        return None
    total = sum(shares.values())
    if not total > 0:
        return None
    name = max(shares, key=lambda key: shares[key])
    return name, shares[name] / total


def _directions(config: TrainingConfig, features: pd.DataFrame, label: np.ndarray) -> dict[str, tuple[str, float]]:
    """Quantities with a plain tendency; of several classes there is none to speak of."""
    found: dict[str, tuple[str, float]] = {}
    if config.kind == "multiclass":
        return found
    for name in config.numeric_features:
        known = features[name].notna().to_numpy()
        if known.sum() < 100 or features[name][known].nunique() < 3:
            continue
        rho, p = spearmanr(features[name][known], label[known])
        if p < 0.001 and abs(rho) >= 0.05:
            found[name] = ("rises" if rho > 0 else "falls", float(rho))
    return dict(sorted(found.items(), key=lambda item: -abs(item[1][1]))[:6])
