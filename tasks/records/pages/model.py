"""One watched model at a glance: its page, and the same in markdown for Prefect."""

from __future__ import annotations

from tasks.records.pages import watch
from tasks.records.pages.embedding_map import embedding_map, map_by_group
from tasks.records.pages.over_time import timeline
from tasks.records.pages.watch import ModelStatus
from tasks.records.pages.window import overview
from tasks.records.pages.words import PAGES, cell, gallery, page_link, sentence

MOST_WINDOWS = 25


def model_page(watched: ModelStatus) -> str:
    """One model as it is watched: with_display_names at a glance, then by depth; no script, nothing from outside."""
    reports, newest = watched.reports, watched.newest
    return PAGES.get_template("model.html").render(
        heading=watched.title,
        state=watch.state(watched),
        newest=newest,
        steps=watch.next_steps(watched),
        timeline=timeline(reports),
        performance=watch.performance(reports, watched.unit),
        fans=watch.fans(watched),
        record=watched.record,
        record_sentence=watched.record_sentence,
        fairness=watch.fairness(reports),
        drift=watch.drift(newest) if newest else "",
        map=embedding_map(watched.map, words=not newest or not newest.groups) if watched.map else "",
        groups=watch.groups(watched),
        group_sentence=newest.groups.sentence if newest and newest.groups else "",
        group_events=newest.groups.events if newest and newest.groups else (),
        rules=watch.rules(reports),
        answers=watched.answers,
        windows=list(reversed(reports[-MOST_WINDOWS:])),
        more=max(len(reports) - MOST_WINDOWS, 0),
    )


def model_markdown(watched: ModelStatus, address: str = "") -> str:
    """The same for Prefect: the state, what to look at, the pictures, groups, rules and people's answers."""
    steps = (
        "\n".join(f"{i}. {cell(sentence(step))}" for i, step in enumerate(watch.next_steps(watched)[:8], 1))
        or "Nothing to look at."
    )
    drawn = [*overview(watched.reports, watched.unit), *watch.fans(watched), *watch.fairness(watched.reports)]
    newest = watched.newest
    if newest:
        drawn.append((f"Drift by importance, window {newest.window}", watch.drift(newest)))
    if watched.map:
        title, by_group = map_by_group(watched.map)
        drawn.append((f"Groups in the model's own view: {title.lower()}", by_group))
    parts = [f"**{cell(sentence(watch.state(watched)[1]))}**", steps, gallery(drawn)]
    if newest and newest.groups:
        parts.append(
            "\n".join(
                [
                    cell(sentence(newest.groups.sentence)),
                    *(f"- {cell(sentence(event))}" for event in newest.groups.events),
                ]
            )
        )
    if ruled := watch.rules(watched.reports):
        parts.append(
            "**Expert rules on live windows**\n\n"
            + "\n".join(f"- {watch.STATES[rule.css]} {cell(sentence(rule.sentence))}" for rule in ruled)
        )
    if watched.answers:
        parts.append(
            "**Reviews, overrides and appeals**\n\n"
            + "\n".join(f"- {cell(sentence(answer))}" for answer in watched.answers)
        )
    return "\n\n".join(parts) + page_link(address)
