"""What the experts' answers to the review queue say of the model, and what people decided instead of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from tasks.science.stats.intervals import exact_share
from tasks.spec.review import ReviewAnswer, ReviewItem, ReviewSummary, Share
from tasks.spec.wording import plural


def review_summary(
    items: Sequence[ReviewItem], answers: Sequence[ReviewAnswer], right: Mapping[str, bool] | None = None
) -> ReviewSummary:
    """The queue and its answers in numbers.

    Args:
        items: of the queue, of one window or several.
        answers: of the experts, oldest first; of one person on one prediction the newest counts.
        right: by prediction id, whether the model's decision was right, where the outcome is known.
    """
    queue, right = {i.id for i in items}, right or {}
    newest = {(a.id, a.who): a for a in sorted(answers, key=lambda a: a.time)}
    verdicts: dict[str, set[str]] = defaultdict(set)
    for (identifier, _), answer in newest.items():
        if identifier in queue:
            verdicts[identifier].add(answer.verdict)
    contested = {i for i, said in verdicts.items() if {"agree", "disagree"} <= said}
    sure = {i: "agree" in said for i, said in verdicts.items() if i not in contested and said != {"unsure"}}
    judged = [i for i in sure if i in right]
    agreement, answered = _share(sum(sure.values()), len(sure)), _share(len(verdicts), len(queue))
    model_right, expert_right = (
        _share(sum(right[i] for i in judged), len(judged)),
        _share(sum(sure[i] == right[i] for i in judged), len(judged)),
    )
    told = [f"{len(verdicts)} of {plural(len(queue), 'prediction')} in the queue are answered"]
    if agreement.value is not None:
        told.append(f"experts agree with {_words(agreement)} of those they are sure of")
    if model_right.value is not None:
        told.append(f"outcomes bear the model out in {_words(model_right)}, the experts in {_words(expert_right)}")
    if contested:
        told.append(f"on {len(contested)} they disagree among themselves")
    return ReviewSummary(
        queued=len(queue),
        answered=answered,
        agreement=agreement,
        unsure=sum(said == {"unsure"} for said in verdicts.values()),
        contested=len(contested),
        model_right=model_right,
        expert_right=expert_right,
        unknown=len({a.id for a in answers} - queue),
        sentence="; ".join(told),
    )


def answered_by_people(overrides: Mapping[str, int], appeals: Mapping[str, int], since: str) -> list[str]:
    """Overrides and appeals in a sentence each; none where there were none.

    Args:
        overrides: predictions by whether a person decided ``other`` than the model or the ``same``.
        appeals: predictions by ``open``, ``upheld``, ``rejected``.
        since: from when on they are counted, in words.
    """
    told = []
    if total := sum(overrides.values()):
        told.append(
            f"People decided on {plural(total, 'prediction')} themselves {since}: otherwise than the model in "
            f"{_words(_share(overrides['other'], total))}"
        )
    if total := sum(appeals.values()):
        settled = appeals["upheld"] + appeals["rejected"]
        told.append(
            f"{plural(total, 'prediction')} {'was' if total == 1 else 'were'} appealed {since}: "
            f"open {appeals['open']:,}"
            + (f", upheld were {_words(_share(appeals['upheld'], settled))} answered" if settled else "")
        )
    return told


def _share(count: int, rows: int) -> Share:
    if rows == 0:
        return Share(value=None, rows=0)
    low, high = exact_share(count, rows)
    return Share(value=count / rows, low=low, high=high, rows=rows)


def _words(share: Share) -> str:
    return f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%}) of {share.rows}"
