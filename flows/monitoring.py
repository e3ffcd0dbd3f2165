"""Look at each new window once, judge it again when its labels come, decide, and act."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.monitoring import act, find_work, look_at_window, record, waits_for_a_release, watch_feed
from tasks.promotion import align_service
from tasks.reporting import fail_with_message, report_model, report_windows
from tasks.spec.requests import FinalState, MonitoringRequest
from tasks.spec.wording import plural


@flow(name="monitor", flow_run_name="{request.model} because of {request.reason}", log_prints=True)
@fail_with_message
def monitor(request: MonitoringRequest) -> State:
    """Watch one model: drift, estimated and realized performance, fairness; then decide and act.

    Args:
        request: which model, whether to act, and who asked.
    """
    model = request.model
    if waits_for_a_release(request):
        return Completed(
            message=f"{model} has no champion yet; its schedule watches it from its first release on.",
            name=FinalState.NOTHING_TO_WATCH,
        )
    align_service(model)
    silence = watch_feed(request)
    unseen, labelled = find_work(request)
    reports = [look_at_window(model, window) for window in [*unseen, *labelled]]
    for report in reports:
        record(report, request)
        started = act(report) if request.act else None
        print(
            f"window {report.window}: {report.decision.action}; {report.decision.reason}"
            + (f" ({started})" if started else "")
        )
    report_model(model, silence)
    if not reports:
        return Completed(
            message=f"No new window of {model} is complete, and no new labels came.", name=FinalState.NOTHING_NEW
        )
    report_windows(model, reports)
    return Completed(message=f"{plural(len(reports), 'window')}; newest decision: {reports[-1].decision.action}.")
