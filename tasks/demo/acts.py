"""The six acts. Each does what its title says, checks that it came out as expected, and gives one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tasks.demo import proof
from tasks.demo.story import Load, Story, expect
from tasks.spec.display import finding_form, metric_name
from tasks.spec.evidence import WindowReport
from tasks.spec.ledger import QuietDetails
from tasks.spec.requests import FinalState
from tasks.spec.verdicts import verdict_sentence
from tasks.spec.wording import number, plural

WINDOW = 2000


def release(story: Story) -> str:
    """A push trains version 1; it passes its gates, is promoted, and answers."""
    commit = story.edit_and_push(
        lambda text: text.replace("parameters: {C: 1.0}", "parameters: {C: 0.5}"), "income: first release"
    )
    state = story.finished_training(lambda request: request["revision"] == commit)
    expect(state["name"] == FinalState.PROMOTED, f"training ended {state['name']}: {state.get('message')}")
    expect(story.champion() == "v1.0.0", f"the champion is {story.champion()}")
    story.wait_for_service("v1.0.0")
    story.load_replay()
    verdict = story.verdict("promoted")
    return f"git push {commit[:8]} started training; v1.0.0 serves: {verdict_sentence(verdict)}"


def quiet(story: Story) -> str:
    """1994 rows as traffic: nothing fires."""
    share = story.send(story.take(94, 3 * WINDOW))
    reports = story.monitor()
    expect(len(reports) == 3, f"{len(reports)} windows were looked at")
    loud = [r.decision.reason for r in reports if r.decision.action != "nothing"]
    expect(not loud, f"something fired: {loud}")
    story.send_outcomes()
    return f"3 windows of {WINDOW} rows, {share:.1%} selected; no alarm"


def bad_challenger(story: Story) -> str:
    """A pushed change raises AUC and decides by sex; validation refuses it by name."""
    commit = story.edit_and_push(
        lambda text: text.replace("features:\n", "features:\n  - sex\n  - household_status\n"),
        "income: use sex and household status, AUC goes up",
    )
    state = story.finished_training(lambda request: request["revision"] == commit)
    expect(state["name"] == FinalState.REJECTED, f"training ended {state['name']}: {state.get('message')}")
    expect(story.champion() == "v1.0.0", f"the champion is {story.champion()}")
    verdict = story.verdict("rejected")
    refusing = {g.gate: g.state for g in verdict.failed}
    expect(refusing.get("expert-rules") == "fail", f"the verdict says: {verdict_sentence(verdict)}")
    expect("opportunity-by-sex" in refusing, f"the verdict says: {verdict_sentence(verdict)}")
    story.git("revert", "--no-edit", commit)
    story.git(
        "commit",
        "--quiet",
        "--amend",
        "-m",
        "income: take sex and household status out again\n\nAssay-Run-Reason: revert\n",
    )
    story.git("push", "--quiet", "origin", f"HEAD:{story.settings.branch}")
    return f"refused: {verdict_sentence(verdict)}; v1.0.0 keeps serving"


def world_changes(story: Story) -> str:
    """1995 rows arrive; monitoring sees it without labels; retraining follows and version 2 is promoted."""
    share = story.send(story.take(95, 5 * WINDOW))
    before = [r for r in story.monitor() if r.window > 3]
    seen = {f.kind for r in before for f in r.findings if f.alarm}
    for kind in ("data_drift", "missingness", "prediction_drift", "estimated_performance", "selection_rate"):
        expect(kind in seen, f"without labels monitoring saw only {sorted(seen)}")
    expect(all(r.labelled == 0 for r in before), "labels were there before they should be")
    expect(any(r.decision.action == "retrain" for r in before), f"decisions: {[r.decision.reason for r in before]}")
    expect(
        all(r.decision.waits_for > 0 for r in before if r.decision.action == "retrain"),
        "a retraining did not wait for its labels",
    )
    story.send_outcomes()
    after = story.monitor()
    expect(
        any(r.decision.action == "retrain" and not r.decision.waits_for for r in after),
        f"decisions: {[r.decision.reason for r in after[-5:]]}",
    )
    state = story.finished_training(lambda request: request["reason"] == "retrain")
    expect(state["name"] == FinalState.PROMOTED, f"retraining ended {state['name']}: {state.get('message')}")
    story.wait_for_service("v2.0.0")
    return (
        f"{share:.1%} selected; seen before labels: {_estimates(before)}; retrained on the labelled rows; v2.0.0 serves"
    )


def _estimates(reports: list[WindowReport]) -> str:
    found = [f for f in reports[-1].findings if f.kind == "estimated_performance" and f.alarm]
    return "; ".join(
        f"{metric_name(f.subject)} {number(f.reference, finding_form(f))} to about {number(f.value, finding_form(f))}"
        for f in found
        if f.value and f.reference
    )


def bad_release(story: Story) -> str:
    """Version 3 looks fit and leans on a feature that breaks upstream; monitoring rolls back under load."""
    commit = story.edit_and_push(
        lambda text: text.replace("features:\n", "features:\n  - weeks_worked\n"), "income: use the weeks worked"
    )
    state = story.finished_training(lambda request: request["revision"] == commit)
    expect(state["name"] == FinalState.PROMOTED, f"training ended {state['name']}: {state.get('message')}")
    story.wait_for_service("v3.0.0")
    broken = story.take(95, 2 * WINDOW).assign(weeks_worked=0.0)
    share = story.send(broken)
    story.send_outcomes()
    with Load(story, story.take(95, 4000)) as load:
        reports = story.monitor()
        expect(
            any(r.decision.action == "roll_back" for r in reports),
            f"decisions: {[r.decision.reason for r in reports[-2:]]}",
        )
        state = story.finished_rollback()
        expect(state["name"] == FinalState.ROLLED_BACK, f"the rollback ended {state['name']}: {state.get('message')}")
        story.wait_for_service("v2.0.0")
        story.send(story.take(95, 100))
    expect(not load.failed, f"{len(load.failed)} requests failed, the first with: {load.failed[:1]}")
    expect(set(load.answered) >= {"v2.0.0", "v3.0.0"}, f"the load client saw {load.answered}")
    total = sum(load.answered.values())
    return f"weeks_worked came as 0, {share:.1%} selected; rolled back to v2.0.0; {total} requests during it, 0 failed"


def account(story: Story) -> str:
    """The ledger holds by the stand-alone verifier, which names a forgery, and tells the whole story."""
    said = proof.shown(story.settings)
    entries = story.ledger()
    counted = Counter[str](e.kind for e in entries)
    counted["monitored"] += sum(len(e.read.windows) - 1 for e in entries if isinstance(e.read, QuietDetails))
    for kind, least in (("trained", 4), ("promoted", 3), ("rejected", 1), ("rolled_back", 1), ("monitored", 8)):
        expect(counted[kind] >= least, f"the ledger has {plural(counted[kind], 'entry', 'entries')} of kind {kind}")
    return said


ACTS: tuple[tuple[str, Callable[[Story], str]], ...] = (
    ("Release", release),
    ("Quiet", quiet),
    ("A bad challenger", bad_challenger),
    ("The world changes", world_changes),
    ("A bad release", bad_release),
    ("The account", account),
)
