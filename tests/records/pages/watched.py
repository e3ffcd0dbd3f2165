"""A model's life in a dozen windows: quiet, drift, a forecast breach, a retraining, a new version."""

from __future__ import annotations

import math

from tasks.spec.evidence import Decision, Finding, WindowReport

RULES = (
    "the score rises with years of schooling without turning back: holds on 2,000 rows",
    "sex carries no attribution: 0.0 % of it (limit 0 %)",
    "a person of 25 without dividends scores below one of 45 with them: holds",
    "changing the region alone moves the score by less than 0.02: moved by 0.031 (0.028 to 0.034)",
)
COLUMNS = {
    "education": 0.21,
    "occupation_code": 0.17,
    "dividends": 0.12,
    "capital_gains": 0.11,
    "age": 0.1,
    "employer_size": 0.06,
    "major_industry": 0.05,
    "migration_within_region": 0.01,
}
GROUPS = {
    "sex Female": 0.14,
    "sex Male": 0.26,
    "age_band 18 to 35": 0.11,
    "age_band 35 to 55": 0.28,
    "age_band 55 to 121": 0.19,
}


def life(windows: int = 14) -> list[WindowReport]:
    return [_window(i) for i in range(1, windows + 1)]


def _window(i: int) -> WindowReport:
    version, drifting = ("v1.0.0", max(0, i - 5)) if i <= 10 else ("v2.0.0", 0)
    loss = 0.174 + 0.009 * drifting + 0.002 * math.sin(3 * i)
    labelled = 2000 if i <= 9 else 900 if i == 10 else 1500 if i < 13 else 0
    findings = [*_unlabelled(i, drifting, loss), _realized(labelled, loss)]
    action, waits = ("nothing", 0) if drifting < 2 else ("alert", 0) if drifting < 4 else ("retrain", 1100)
    decision = Decision(
        action=action,
        reason="no alarm"
        if action == "nothing"
        else (
            f"log_loss is estimated without labels at {loss:.3f} (labels will show {loss * 0.94:.3f} to "
            f"{loss * 1.1:.3f}), 0.174 in the reference"
        ),
        policy="nothing to do" if action == "nothing" else "retrain where performance or behaviour has moved",
        waits_for=waits,
    )
    moment = f"2026-11-{i:02d}T08:00:00+00:00"
    return WindowReport(
        model="income",
        version=version,
        window=i,
        first=moment,
        last=moment.replace("08:", "20:"),
        first_seq=2000 * i,
        last_seq=2000 * i + 1999,
        rows=2000,
        labelled=labelled,
        created=moment,
        findings=tuple(findings),
        decision=decision,
    )


def _unlabelled(i: int, drifting: int, loss: float) -> list[Finding]:
    return [
        Finding(
            kind="estimated_performance",
            subject="log_loss",
            value=loss * 1.02,
            low=loss * 0.94,
            high=loss * 1.1,
            reference=0.174,
            limit=0.2,
            rows=2000,
            alarm=loss > 0.2,
            sentence=f"log_loss is estimated without labels at {loss * 1.02:.3f}",
        ),
        *(
            Finding(
                kind="data_drift",
                subject=c,
                value=min(0.9, 0.02 + 0.03 * drifting * (k % 3)),
                limit=0.1,
                rows=2000,
                alarm=drifting * (k % 3) > 3,
                importance=share,
                sentence=f"{c}: Jensen-Shannon distance",
            )
            for k, (c, share) in enumerate(COLUMNS.items())
        ),
        *(
            Finding(
                kind="selection_rate",
                subject=g,
                value=rate * (1 + 0.08 * drifting),
                low=rate * (0.9 + 0.08 * drifting),
                high=rate * (1.1 + 0.08 * drifting),
                reference=rate,
                rows=900,
                alarm=drifting > 4,
                sentence=f"{g}: {rate:.1%} selected",
            )
            for g, rate in GROUPS.items()
        ),
        *(
            Finding(
                kind="expert_rule",
                subject=f"rule {k + 1}",
                value=None if k == 2 and i < 3 else 0.1,
                rows=2000,
                alarm=k == 3 and drifting > 2,
                sentence=rule,
            )
            for k, rule in enumerate(RULES)
        ),
    ]


def _realized(labelled: int, loss: float) -> Finding:
    if labelled < 1000:
        return Finding(
            kind="realized_performance",
            subject="log_loss",
            value=None,
            rows=labelled,
            alarm=False,
            sentence=f"log_loss is not judged: {labelled} of 2,000 rows are labelled",
        )
    return Finding(
        kind="realized_performance",
        subject="log_loss",
        value=loss,
        low=loss * 0.93,
        high=loss * 1.07,
        reference=0.174,
        limit=0.2,
        rows=labelled,
        alarm=loss > 0.2,
        sentence=f"log_loss is {loss:.3f} on {labelled:,} labelled rows",
    )
