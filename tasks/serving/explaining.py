"""Explanations of single answers: attributions, and reasons that were scored again before they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks.answering.attributions import Attributor
from tasks.answering.background import background_rows
from tasks.answering.compiling import Answering
from tasks.answering.estimators import Forest, Linear, Network
from tasks.answering.reasons import MOST, Change, Goal, Reasons
from tasks.serving.bodies import Change as ChangeBody
from tasks.serving.bodies import ExplainedRow, Explanation, Reason, RowAnswer
from tasks.serving.problems import problem
from tasks.serving.quick_rows import MOST_EXPLAINED
from tasks.serving.reasons_said import Words
from tasks.serving.release import Release

TINY = 1e-300
NETWORK = "Shapley values against the recorded background: their sum is exact, each is a mean over random orders"
METHODS: dict[type, str] = {
    Linear: "exact Shapley values against the recorded background: coefficient times distance from its mean",
    Network: NETWORK,
}
TREES = "exact interventional Shapley values of trees against the recorded background"
NO_BACKGROUND = "it was trained before explanations were recorded. Train it again, or ask without explain"
NOTHING_DECIDED = "Nothing is decided by this number, so there are attributions and no reasons."
NOTHING_CHANGES = "The model's config lets no column change (data.columns, changes), so no reason is given."
NO_SINGLE = (
    "No single change that is allowed, to any recorded value, changes the decision. Sets of two and three changes were "
    "searched within a budget, and none was found."
)


class Explainer:
    """Explains the answers of one release; threads may share it."""

    def __init__(self, release: Release, answering: Answering) -> None:
        """
        Raises:
            ValueError: the release's background does not fit its model.
        """
        manifest = release.manifest
        by_name = {c.name: c for c in manifest.columns}
        self.release, self.answering = release, answering
        columns = [by_name[name] for name in manifest.features]
        background = manifest.background or {}
        self.attributor = Attributor(answering, background_rows(answering.encoding, background))
        self.reasons, self.words = Reasons(columns, background, answering.encoding), Words(manifest, columns)

    def explain(self, row: Mapping[str, Any], score: np.ndarray, decision: bool | str | None) -> Explanation:
        """One answer's explanation.

        Args:
            row: valid JSON values with every input column.
            score: () or (k,) what the row was answered with.
        """
        manifest = self.release.manifest
        classes = manifest.classes
        place = classes.index(str(decision)) if classes else None
        vector = self.answering.encoding.rows([row])[0]
        found = self.attributor(vector, place)
        by_column = dict(zip(manifest.features, found.columns.tolist(), strict=True))
        towards = _other(score, decision, classes)
        weights = -found.columns if decision is False else found.columns
        leading = [] if towards is None else [at for at in self.reasons.leading(weights) if weights[at] > 0][:MOST]
        reasons = [] if towards is None else self._reasons(row, vector, weights, towards)
        says = "" if reasons else NO_SINGLE if self.reasons.any else NOTHING_CHANGES
        estimator = self.answering.estimator
        return Explanation(
            method=METHODS.get(type(estimator), TREES),
            output=found.output,
            base=found.base,
            of=self.words.output(place, isinstance(estimator, Forest)),
            attributions=dict(sorted(by_column.items(), key=lambda item: -abs(item[1]))),
            standard_error=found.standard_error,
            towards=towards,
            principal=[manifest.features[at] for at in leading],
            reasons=reasons,
            says=NOTHING_DECIDED if towards is None else says,
        )

    def _reasons(
        self, row: Mapping[str, Any], vector: np.ndarray, weights: np.ndarray, towards: bool | str
    ) -> list[Reason]:
        goal = Goal(lambda scores: self._decided(scores, towards), lambda scores: self._distance(scores, towards))
        found = self.reasons.search(row, vector, weights, goal, self.answering.scores)
        held = self._hold(row, found, towards)
        return [self._worded(row, changes, weights, towards) for changes in held]

    def _hold(
        self, row: Mapping[str, Any], found: Sequence[tuple[Change, ...]], towards: bool | str
    ) -> list[tuple[Change, ...]]:
        """Those that hold where the changed rows are answered as requests are."""
        if not found:
            return []
        names = self.release.manifest.features
        rows = [{**row, **{names[c.column]: c.value for c in changes}} for changes in found]
        decisions = self.release.decide(self.release.answer(rows))
        return [changes for changes, after in zip(found, decisions, strict=True) if after == towards]

    def _worded(
        self, row: Mapping[str, Any], changes: tuple[Change, ...], weights: np.ndarray, towards: bool | str
    ) -> Reason:
        names = self.release.manifest.features
        return Reason(
            changes=[ChangeBody(column=names[c.column], now=row[names[c.column]], to=c.value) for c in changes],
            decision=towards,
            weight=float(weights[changes[0].column]),
            says=self.words.reason(changes, row, towards),
        )

    def _decided(self, scores: np.ndarray, towards: bool | str) -> np.ndarray:
        """(n,) whether each row is decided so."""
        return np.array([decision == towards for decision in self.release.decide(scores)])

    def _distance(self, scores: np.ndarray, towards: bool | str) -> np.ndarray:
        """(n,) how near each row is, on a scale on which columns of a linear model add up."""
        manifest = self.release.manifest
        if manifest.kind == "multiclass":
            own = manifest.classes.index(str(towards))
            others = np.delete(scores, own, axis=1).max(axis=1)
            return np.asarray(np.log(np.maximum(scores[:, own], TINY)) - np.log(np.maximum(others, TINY)))
        if manifest.kind == "binary":
            scores = np.log(np.maximum(scores, TINY)) - np.log(np.maximum(1 - scores, TINY))
        return scores if towards else -scores


def _other(score: np.ndarray, decision: bool | str | None, classes: Sequence[str]) -> bool | str | None:
    """The decision that reasons lead to; None where nothing is decided."""
    if decision is None or isinstance(decision, bool):
        return None if decision is None else not decision
    others = [at for at, name in enumerate(classes) if name != decision]
    return classes[max(others, key=lambda at: float(score[at]))]


def explainer(release: Release) -> Explainer | str:
    """What explains a release's answers, or why nothing does: half a sentence.

    A release whose answers cannot be explained is served all the same.
    """
    if release.answering is None:
        return f"scikit-learn's pipeline answers for it ({release.general}). Ask without explain"
    if release.manifest.background is None:
        return NO_BACKGROUND
    try:
        return Explainer(release, release.answering)
    except Exception as error:  # whatever values raise that are none of their column
        why = f"{type(error).__name__}: {error}"
        return f"its background does not fit it ({why}). Train and publish it again, or ask without explain"


def unexplained(explains: Explainer | str, name: str, rows: int) -> str:
    """Why a request's answers cannot be explained, in a sentence; empty where they can."""
    if isinstance(explains, str):
        return f"the answers of {name} cannot be explained: {explains}"
    if rows > MOST_EXPLAINED:
        return f"{rows:,} rows were sent, and at most {MOST_EXPLAINED} are explained at once; send them in parts"
    return ""


def explained(
    explains: Explainer | str, rows: Sequence[Mapping[str, Any]], scores: np.ndarray, answers: Sequence[RowAnswer]
) -> tuple[list[ExplainedRow], list[dict[str, Any]]]:
    """The same answers with their explanations; and problems, where one cannot be explained."""
    assert isinstance(explains, Explainer)  # or the request was refused
    found = []
    for at, (row, score, answer) in enumerate(zip(rows, scores, answers, strict=True)):
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                explanation = explains.explain(row, score, answer.decision)
        except (ValueError, ArithmeticError) as error:
            said = f"its answer cannot be explained ({error}); send values within the range the model was trained on"
            return [], [problem(at, "row", None, said)]
        found.append(ExplainedRow(**dict(answer), explanation=explanation))
    return found, []
