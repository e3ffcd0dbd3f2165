"""Look at each new window once, judge it again when its labels come, decide, and act."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.delivery import deliver
from tasks.monitoring import find_work, look_at_window, waits_for_a_release, watch_feed
from tasks.promotion import align_service
from tasks.reporting import fail_with_message, report_model, report_windows
from tasks.spec.requests import FinalState, MonitoringRequest
from tasks.spec.wording import plural
from tasks.timestamps import timestamp_ledger


@flow(name="monitor", flow_run_name="{request.model} because of {request.reason}", log_prints=True)
@fail_with_message
def monitor(request: MonitoringRequest) -> State:
    """Watch one model: drift, estimated and realized performance, fairness; then decide and act.

    Args:
        request: which model, whether to act, and who asked.
    """
    model = request.model
    deliver(model)  # what a run before this one decided and could not carry to its end; a first release may wait in it
    if waits_for_a_release(request):
        return Completed(
            message=f"{model} has no champion yet; its schedule watches it from its first release on.",
            name=FinalState.NOTHING_TO_WATCH,
        )
    align_service(model)
    silence = watch_feed(request)
    unseen, labelled = find_work(request)
    reports = []
    for window in [*labelled, *unseen]:  # what labels show outranks what is estimated, so it is decided first
        reports.append(report := look_at_window(request, window))
        print(f"window {report.window}: {report.decision.action}; {report.decision.reason}")
        if report.decision.acts:
            deliver(model)  # at once: other windows may take long
    deliver(model)
    report_model(model, silence)
    timestamp_ledger(at_most_daily=True)
    if not reports:
        return Completed(
            message=f"No new window of {model} is complete, and no new labels came.", name=FinalState.NOTHING_NEW
        )
    report_windows(model, reports)
    newest = max(reports, key=lambda report: report.window)
    return Completed(message=f"{plural(len(reports), 'window')}; newest decision: {newest.decision.action}.")
