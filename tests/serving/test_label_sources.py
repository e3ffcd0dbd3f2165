"""Whose outcomes may teach, with outcomes that came in through the service's door with keys of their own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tasks.label_faults import fault_of_labels
from tasks.labels import BEYOND, CONTESTED, OWN_ASKER, STRANGE, Sources, Taught, taught
from tasks.records.log.predictions import PredictionLog
from tasks.serving.keys import LOOK_SECONDS, KeyFile
from tasks.spec.settings import Settings
from tasks.spec.watching import NO_KEY, Labels
from tests import asking
from tests.serving.running import Service
from tests.serving.stranger import assay, serving
from tests.worlds import on_disk, world

service = pytest.fixture(scope="module")(serving)
POLICY = Labels(sources=("office", "survey"))


@pytest.fixture(scope="module")
def doors(service: Service) -> Iterator[dict[str, str]]:
    """Keys as an operator makes them: one that asks, two sources, two keys of one name, and a stranger's."""
    keys = KeyFile(service.home / "access")
    made = {
        "front": keys.add("front end", ("predict",)),
        "office": keys.add("office", ("outcomes",)),
        "office again": keys.add("office", ("outcomes",)),
        "survey": keys.add("survey", ("outcomes", "predict")),
        "stranger": keys.add("a student", ("outcomes",)),
    }
    time.sleep(2 * LOOK_SECONDS)  # the service looks at the list twice a second
    yield {name: token for name, (token, _) in made.items()}


def ask(service: Service, key: str, n: int) -> list[str]:
    answer = httpx.post(
        f"{service.url}/models/care/predict", json={"rows": service.rows(n)}, headers=asking.bearer(key), timeout=30
    )
    assert answer.status_code == 200, answer.text
    return [p["id"] for p in answer.json()["predictions"]]


def tell(service: Service, key: str, labels: dict[str, bool]) -> dict[str, int]:
    body = {"outcomes": [{"id": one, "label": label} for one, label in labels.items()]}
    answer = httpx.post(f"{service.url}/models/care/outcomes", json=body, headers=asking.bearer(key), timeout=30)
    assert answer.status_code == 200, answer.text
    counts: dict[str, int] = answer.json()
    return counts


def found(service: Service, ids: list[str], policy: Labels = POLICY) -> tuple[dict[str, tuple[str, object]], Taught]:
    """What would be learned of these predictions, by their ids; and all that was chosen and left out of them."""
    settings = Settings(home=service.home)
    log = PredictionLog(settings.log_database)
    try:
        rows = log.frame("care", 0, 2**62).set_index("_id")["_seq"]
        mine = {int(rows[one]): one for one in ids}
        told = [each for each in log.told("care", 0) if each.prediction in mine]
        counted = log.count_taught("care", 0, Sources.of(settings, policy).until)
    finally:
        log.close()
    chosen = taught(told, Sources.of(settings, policy), policy.most_share, seed=1)
    assert counted >= len(chosen.labels)
    return {mine[p]: label for p, label in chosen.labels.items()}, chosen


def test_a_stranger_teaches_nothing_and_stands_in_nobodys_way(service: Service, doors: dict[str, str]) -> None:
    one, other, third = ask(service, doors["front"], 3)
    assert tell(service, doors["stranger"], {one: True, other: True})["accepted"] == 2
    assert tell(service, doors["office"], {one: True})["repeated"] == 1  # the same, and now somebody believable says it
    assert tell(service, doors["survey"], {other: False})["changed"] == 1
    learned, chosen = found(service, [one, other, third])
    assert learned == {one: ("office", True), other: ("survey", False)} and not chosen.left_out
    tell(service, doors["stranger"], {one: False, third: True})  # comes last, and changes nothing
    learned, chosen = found(service, [one, other, third])
    assert learned == {one: ("office", True), other: ("survey", False)} and chosen.left_out == {STRANGE: 1}


def test_outcomes_that_a_broken_program_sends_teach_no_retraining(
    service: Service, doors: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the 41st row on every outcome is positive, and the 40th happened to be."""
    monkeypatch.setenv("ASSAY_HOME", str(service.home))
    monkeypatch.setenv("ASSAY_ORIGIN", str(tmp_path / "none.git"))
    settings, version = Settings(home=service.home), on_disk(world(), tmp_path)
    config = version.folder / "model.yaml"
    config.write_text(config.read_text().replace("[claims office, yearly interview]", "[office, survey]"))
    with closing(PredictionLog(settings.log_database)) as log:
        before = log.newest_seq("care") or 0
        ids = ask(service, doors["front"], 90)
        tell(service, doors["office"], {one: i % 3 == 0 or i >= 40 for i, one in enumerate(ids)})
        said = fault_of_labels(log, settings, version, before)
        begins = (
            "nothing is learned from these labels: 51 outcomes in a row are 'at least one visit', from number 40 of 90"
        )
        assert said.startswith(begins)
        assert said.endswith(
            "; send the right outcomes again, or start it if they are right: assay train care --collect"
        )
        tell(service, doors["office"], {one: i % 3 == 0 for i, one in enumerate(ids)})  # somebody mended the program
        assert fault_of_labels(log, settings, version, before) == ""


def test_who_asks_does_not_label_what_retrains_alone(service: Service, doors: dict[str, str]) -> None:
    own, others = ask(service, doors["survey"], 2), ask(service, doors["front"], 1)
    tell(service, doors["survey"], dict.fromkeys([*own, *others], True))
    learned, chosen = found(service, [*own, *others])
    assert learned == {others[0]: ("survey", True)} and chosen.left_out == {OWN_ASKER: 2}
    tell(service, doors["office"], {own[0]: True})
    assert found(service, [*own, *others])[0][own[0]] == ("office", True)


def test_of_two_sources_that_contradict_each_other_neither_is_believed(service: Service, doors: dict[str, str]) -> None:
    ids = ask(service, doors["front"], 3)
    tell(service, doors["office"], dict.fromkeys(ids, True))
    tell(service, doors["survey"], {ids[0]: False})
    tell(service, doors["office again"], {ids[1]: False})  # one source corrects itself, whichever of its keys it uses
    learned, chosen = found(service, ids)
    assert learned == {ids[1]: ("office", False), ids[2]: ("office", True)} and chosen.left_out == {CONTESTED: 1}


def test_a_source_has_no_more_than_its_share(service: Service, doors: dict[str, str]) -> None:
    ids = ask(service, doors["front"], 60)
    tell(service, doors["office"], dict.fromkeys(ids[:55], True))
    tell(service, doors["survey"], dict.fromkeys(ids[55:], False))
    learned, chosen = found(service, ids)
    assert sum(source == "office" for source, _ in learned.values()) == 20  # 80 % of 25
    assert chosen.left_out == {BEYOND.format(source="office", share=0.8): 35}
    assert found(service, ids)[0] == learned
    alone, left = found(service, ids, Labels(sources=("office",)))
    assert len(alone) == 55 and left.left_out == {STRANGE: 5}


def test_what_came_with_a_stolen_key_teaches_no_more(service: Service, doors: dict[str, str]) -> None:
    before = ask(service, doors["front"], 2)
    tell(service, doors["survey"], dict.fromkeys(before, True))
    time.sleep(0.05)
    moment = datetime.now(UTC).isoformat(timespec="milliseconds")
    time.sleep(0.05)
    after = ask(service, doors["front"], 2)
    tell(service, doors["survey"], dict.fromkeys(after, True))
    assert set(found(service, before + after)[0]) == {*before, *after}
    keys = {key.name: key.id for key in KeyFile(service.home / "access").keys().values() if key.name == "survey"}
    done = assay(service, "keys", "revoke", keys["survey"], "--stolen-since", moment)
    assert done.returncode == 0 and done.stdout.strip().endswith(f"its outcomes since {moment} teach no more")
    assert set(found(service, before + after)[0]) == set(before)
    wrong = assay(service, "keys", "revoke", keys["survey"], "--stolen-since", "yesterday")
    assert (
        wrong.returncode == 2 and "'yesterday' is no moment; write one such as 2026-11-29T14:00 (UTC)" in wrong.stderr
    )
    listed = json.loads(assay(service, "keys", "list", "--json").stdout)
    assert [key["stolen"] for key in listed if key["name"] == "survey"] == [moment]


def test_without_keys_a_source_has_to_be_named_as_such(tmp_path: Path) -> None:
    assert Sources.of(Settings(home=tmp_path), Labels(sources=(NO_KEY,))).names == {None: NO_KEY}
    assert not Sources.of(Settings(home=tmp_path), POLICY).names
