"""Model cards: made from records alone, and every statement recomputed; fifty planted edits are found."""

from __future__ import annotations

import copy
import json
import os
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tasks import card as cards
from tasks.card_declared import PLAN, planned
from tasks.card_statements import TOPICS, VIEWS
from tasks.records.registry.registry import Registry
from tasks.spec.errors import ConfigError
from tasks.spec.ledger import FeedDetails
from tasks.spec.model import CARD_ASKED, ModelConfig, is_said, load_model
from tasks.spec.models import model_names
from tasks.spec.settings import Settings
from tasks.spec.watching import Monitoring
from tests.browser import page_measured
from tests.cards import NAME, candidate, judged, lived, note, ready
from tests.conftest import ROOT, git
from tests.told import MAIN

Edit = Callable[[dict[str, Any], dict[str, Any]], str]
"""Changes one statement of a card, or the card around it; gives the id that has to be named."""


def moved(text: str) -> str:
    """The same text with its last digit another one."""
    at = max(i for i, letter in enumerate(text) if letter.isdigit())
    return text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :]


def other_text(card: dict[str, Any], one: dict[str, Any]) -> str:
    one["text"] = moved(one["text"]) if re.search(r"\d", one["text"]) else one["text"].upper()
    return str(one["id"])


def other_value(card: dict[str, Any], one: dict[str, Any]) -> str:
    one["value"] = float(one["value"]) if type(one["value"]) is int else "another one"
    return str(one["id"])


def other_place(card: dict[str, Any], one: dict[str, Any]) -> str:
    one["sources"][0]["pointer"] += "/0"
    return str(one["id"])


def other_record(card: dict[str, Any], one: dict[str, Any]) -> str:
    one["sources"][0]["digest"] = "sha256:" + "f" * 64
    return str(one["id"])


def other_way(card: dict[str, Any], one: dict[str, Any]) -> str:
    one["how"] = "believed"
    return str(one["id"])


def written_off(card: dict[str, Any], one: dict[str, Any]) -> str:
    one["state"] = "stated" if one["state"] == "missing" else "missing"
    return str(one["id"])


def left_out(card: dict[str, Any], one: dict[str, Any]) -> str:
    card["statements"].remove(one)
    return str(one["id"])


def said_twice(card: dict[str, Any], one: dict[str, Any]) -> str:
    card["statements"].append(one)
    return str(one["id"])


def made_up(card: dict[str, Any], one: dict[str, Any]) -> str:
    card["statements"].append(one | {"id": f"{one['id']}.more"})
    return f"{one['id']}.more"


def under_another_heading(card: dict[str, Any], one: dict[str, Any]) -> str:
    card["views"][1]["headings"][0]["topics"][0]["statements"].append("waivers.count")
    return "views"


EDITS: tuple[Edit, ...] = (
    other_text, other_value, other_place, other_record, other_way, written_off, left_out, said_twice, made_up,
    under_another_heading,
)  # fmt: skip


def on_the_page(page: str, one: dict[str, Any], kind: int) -> tuple[str, str]:
    """A page with one edit of what it shows, and the id that has to be named."""
    begin = page.index(f'<li data-statement="{one["id"]}"')
    end = page.index("</li>", begin)
    line, text = page[begin:end], page[begin:end].split(">", 1)[1].split(" <", 1)[0]
    edited, named = (
        (line.replace(text, moved(text) if re.search(r"\d", text) else text.upper(), 1), one["id"]),
        (re.sub(r'href="#source-\d+"', 'href="#source-99"', line, count=1), one["id"]),
        (line.replace("<li ", '<li hidden ', 1), "page"),
        (line + " Certified by nobody", one["id"]),
    )[kind]  # fmt: skip
    assert edited != line
    return page[:begin] + edited + page[end:], named


def names(done: cards.Checked) -> set[str]:
    return {one.id for one in done.stale}


def test_fifty_planted_edits_are_found_and_named(settings: Settings, developer: Path, tmp_path: Path) -> None:
    """Thirty in the JSON, and twenty in the page, eight of them in the JSON within it; what was not edited holds."""
    lived(settings, developer)
    made = cards.card(settings, NAME)
    assert cards.compared(made.document, made).stale == ()
    draw, found = random.Random(7), 0
    chosen = draw.sample([s for s in made.document["statements"] if s["sources"]], 30)
    for at, one in enumerate(chosen):
        document = copy.deepcopy(made.document)
        own = next(s for s in document["statements"] if s["id"] == one["id"])
        named = EDITS[at % len(EDITS)](document, own)
        assert named in names(cards.compared(document, made)), (at, one["id"])
        found += 1

    page, path = cards.page_of(made), tmp_path / "card.html"
    path.write_text(page)
    assert cards.read_card(path) == (made.document, [])
    for at, one in enumerate(chosen[:20]):
        if at < 12:
            edited, named = on_the_page(page, one, at % 4)
        else:
            document = copy.deepcopy(made.document)
            own = next(s for s in document["statements"] if s["id"] == one["id"])
            named = EDITS[at % len(EDITS)](document, own)
            inside = json.dumps(document).replace("<", "\\u003c")
            begin, end = page.index('id="card">') + len('id="card">'), page.rindex("</script>")
            edited = page[:begin] + inside + page[end:]
        path.write_text(edited)
        document, shown = cards.read_card(path)
        stale = {one.id for one in shown} | names(cards.compared(document, made))
        assert named in stale, (at, one["id"], stale)
        found += 1
    assert found == 50


def test_a_card_tells_the_record_and_what_nobody_has_written(
    settings: Settings, developer: Path, tmp_path: Path
) -> None:
    lived(settings, developer)
    made = cards.card(settings, NAME)
    said = {one.id: one for one in made.statements}
    assert len(said) == len(made.statements) > 80
    auc = said["gate.auc-floor.0"]
    assert auc.text == "AUC on holdout: 0.9391 (0.9371 to 0.9411), limit 0.89, 69,834 rows: pass"
    (source,) = auc.sources
    evidence = judged(made.document["commit"])
    for step in source.pointer.split("/")[1:]:
        evidence = evidence[int(step)] if step.isdigit() else evidence[step]
    assert (source.kind, evidence) == ("evidence", auc.value)
    assert said["base_rates.train.sex.Female"].text == (
        "train, sex Female: above 50000 1,200 (2.6%), up to 50000 44,800 (97.4%) of 46,000 rows"
    )
    assert said["gate.calibration-by-sex"].topic == "fairness" and said["gate.calibration"].topic == "robustness"
    assert (
        said["monitoring.alpha"].how.startswith("the default of the schema") and said["monitoring.alpha"].value == 0.01
    )
    assert said["incidents.4"].text.endswith("window 3: alert; log_loss 0.1900")
    assert said["forgotten.learned"].value is False and said["forgotten.rows"].value == 2
    assert [s.text.endswith("and still") for s in made.statements if s.id.startswith("history.served")] == [False, True]
    assert [s.id for s in made.statements if s.state == "missing"] == [
        "card.risks",
        "card.standards",
        "card.conformity",
    ]
    second = {one.id: one for one in cards.card(settings, NAME, "v2.0.0").statements}
    assert second["forgotten.learned"].text.startswith("It learned from rows that were forgotten (entry ")
    assert second["incidents.count"].value == 1  # it was left again

    bom = made.document["sbom"]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom)) is None
    assert {part["purl"] for part in bom["components"] if part["type"] == "library"} == {
        "pkg:pypi/numpy@2.4.6", "pkg:pypi/pywin32@311", "pkg:pypi/scikit-learn@1.9.1",
    }  # fmt: skip
    root = bom["metadata"]["component"]
    assert (root["type"], root["hashes"][0]["content"]) == ("machine-learning-model", "a" * 64)

    page = cards.page_of(made)
    for width in (1280, 390):
        (tmp_path / str(width)).mkdir()
        measured = page_measured(page, width, tmp_path / str(width))
        assert measured["scroll"] <= width and measured["over"] == []


def test_what_came_since_makes_a_card_stale_and_a_committed_one_speaks_of_its_day(
    settings: Settings, developer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate's side: missing texts by materiality, and a card beside model.yaml that somebody edited."""
    lived(settings, developer)
    monkeypatch.setenv("ASSAY_HOME", str(settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", settings.origin)
    made = cards.card(settings, NAME)
    note(settings, "monitored", "feed: nothing arrives", FeedDetails(silent=("predictions",)))
    done = cards.check(settings, made.document)
    assert names(done) >= {"incidents.count", "incidents.9"} and not done.holds
    assert cards.check(settings, made.document, then=True).holds

    config, path = load_model(developer, NAME), developer / f"deployments/models/{NAME}/card.json"
    asked = cards.asked_of(developer, config, "high")
    assert (asked["missing"], asked["asked"], asked["statements"]) == (["card.risks"], 9, None)
    path.write_text(json.dumps(made.document))
    assert cards.asked_of(developer, config, "medium")["stale"] == []
    path.write_text(json.dumps(made.document).replace("0.9391 (0.9371", "0.9591 (0.9371"))
    (stale,) = cards.asked_of(developer, config, "medium")["stale"]
    assert stale == (
        "gate.auc-floor.0: its text is 'AUC on holdout: 0.9591 (0.9371 to 0.9411), limit 0.89, 69,834 rows: pass', and "
        "the records give 'AUC on holdout: 0.9391 (0.9371 to 0.9411), limit 0.89, 69,834 rows: pass'"
    )
    for text, why in (
        ("{", f"deployments/models/{NAME}/card.json holds no model card. Make it anew"),
        ('{"format": 2, "model": "income"}', "the model card has format 2, a newer one"),
        ('{"format": 1, "model": "care"}', "card.json is the card of 'care', and not of income"),
        ('{"format": 1, "model": "income", "version": 1}', "the file is no model card: it names no model, no version"),
        ('{"format": 1, "model": "income", "version": "v7.0.0", "statements": []}', "knows no income v7.0.0"),
    ):  # fmt: skip
        path.write_text(text)
        assert why in cards.asked_of(developer, config, "medium")["error"]


def test_an_older_card_that_the_champion_has_too_refuses_no_retraining(
    settings: Settings, developer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release after it words a statement otherwise and makes a new one; a value of another is found still."""
    lived(settings, developer)
    monkeypatch.setenv("ASSAY_HOME", str(settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", settings.origin)
    made = cards.card(settings, NAME)
    old = json.loads(json.dumps(made.document))
    gone = old["statements"].pop(3)["id"]
    old["statements"][0]["text"] = "as the release before said it"
    config, path = load_model(developer, NAME), developer / f"deployments/models/{NAME}/card.json"
    path.write_text(json.dumps(old))
    brought = cards.asked_of(developer, config, "medium")["stale"]
    assert [one for one in brought if one.startswith(f"{gone}: the card lacks it")] and len(brought) >= 2
    git(developer, "add", ".")
    git(developer, "commit", "--quiet", "-m", "card")
    git(developer, "push", "--quiet", "origin", "main")
    third = candidate(settings, "three")
    Registry(settings).promote(NAME, third, judged(third, "v1.0.0"), "anna@example.org", "push", "v1.0.0")
    kept = cards.asked_of(developer, config, "medium")
    assert kept["stale"] == [] and kept["statements"] > 20
    path.write_text(json.dumps(old) + "\n")  # whoever touches it brings it, and answers for all of it
    assert cards.asked_of(developer, config, "medium")["stale"] == brought
    floor = next(one for one in old["statements"] if one["id"] == "gate.auc-floor.0")
    floor["value"]["value"] = 0.99
    assert [one.id for one in cards.compared_known(old, made).stale] == ["gate.auc-floor.0"]


def assay(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    where = {"ASSAY_HOME": str(settings.home), "ASSAY_ORIGIN": settings.origin}
    return subprocess.run(
        [*MAIN, "card", NAME, *words], cwd=ROOT, env=os.environ | where, capture_output=True, text=True, check=False
    )


def test_the_command_writes_a_card_and_checks_it(settings: Settings, developer: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="income has no registered version yet; train one: assay train income"):
        cards.card(settings, NAME)
    lived(settings, developer)
    page, bom, file = tmp_path / "card.html", tmp_path / "bom.json", tmp_path / "card.json"
    done = assay(settings, "--page", str(page), "--sbom", str(bom), "--json")
    assert done.returncode == 0, done.stderr
    file.write_text(done.stdout)
    assert json.loads(bom.read_text()) == json.loads(done.stdout)["sbom"]
    said = assay(settings, "v2.0.0").stdout
    assert said.startswith("Income above 50,000 dollars: income v2.0.0 (") and max(map(len, said.splitlines())) <= 80
    assert "  ? Risk management: missing, to be written by a person, as card.risks of" in said

    done = assay(settings, "--check", str(page))
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith(
        "income v1.0.0: 98 statements; every statement follows from the records; 3 statements missing\n"
    ), done.stdout
    page.write_text(page.read_text().replace("5,580 (6.2%)", "5,580 (5.2%)", 1))
    done = assay(settings, "--check", str(page))
    assert done.returncode == 1 and "stale    base_rates.train: the page shows" in done.stdout, done.stdout
    file.write_text(file.read_text().replace("89,641 rows train", "99,641 rows train"))
    done = assay(settings, "--check", str(file), "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 1 and found["holds"] is False
    assert [one["said"] for one in found["stale"]] == [
        "its text is '99,641 rows train', and the records give '89,641 rows train'"
    ]
    wrong = assay(settings, "v2.0.0", "--check", str(file))
    assert (wrong.returncode, wrong.stderr) == (
        2, f"error: {file} is the card of version 'v1.0.0', and 'v2.0.0' was asked for.\n",
    )  # fmt: skip


def test_a_version_from_before_the_card_has_one_that_says_what_is_missing(settings: Settings, developer: Path) -> None:
    """Its model.yaml has no texts, its evidence no base rates, and nothing says how it was trained."""
    ready(developer)
    path = developer / f"deployments/models/{NAME}/model.yaml"
    document = yaml.safe_load(path.read_text())
    del document["card"]
    path.write_text(yaml.safe_dump(document))
    git(developer, "commit", "--quiet", "-am", "as it was")
    git(developer, "push", "--quiet", "origin", "main")
    commit = candidate(settings, "one")
    early = cards.card(settings, NAME, commit)
    said = {one.id: one for one in early.statements}
    assert (early.document["version"], said["verdict.passed"].state) == (commit[:12], "missing")
    assert said["identity.version"].text.endswith(f"{commit}: trained, without a verdict")
    evidence = {key: value for key, value in judged(commit).items() if key != "base_rates"}
    evidence["verdict"] |= {"data": None, "isolation": None, "examiner": ""}
    evidence["verdict"]["holdout"] |= {"withheld": "sha256:d"}
    evidence["verdict"]["gates"] = [gate for gate in evidence["verdict"]["gates"] if gate["kind"] == "data"]
    Registry(settings).promote(NAME, commit, evidence, "anna@example.org", "push", None)
    assert "version" in names(cards.check(settings, early.document))  # it is called v1.0.0 since
    made = cards.card(settings, NAME)
    lacking = {one.id for one in made.statements if one.state == "missing"}
    told = {one.id: one.text for one in made.statements}
    assert told["verdict.holdout"] == "The rows of the holdout have been asked 3 times, under 2 names"
    assert told["fairness.gates"] == "Gate of kind fairness: withheld, since the holdout is sealed"
    assert {"card.limits", "card.contact", "base_rates", "data.record", "environment.examiner"} <= lacking
    done = cards.check(settings, made.document)
    asked = [one.id for one in done.missing if one.asked]
    assert done.stale == () and not done.holds
    assert asked == ["card.intended_use", "card.limits", "card.out_of_scope", "card.ethics", "card.contact"]


def test_every_view_shows_every_topic_once() -> None:
    for title, headings in VIEWS.values():
        shown = [topic for topics in headings.values() for topic in topics]
        assert sorted(shown) == sorted(TOPICS), title


def test_every_setting_of_the_plan_has_words() -> None:
    """All but the mappings of metrics, which have their own; and the words hold its number."""
    leaves = {
        f"{key}.{inner}" if isinstance(value, dict) else key
        for key, value in Monitoring().model_dump().items()
        for inner in (value if isinstance(value, dict) else [""])
    }
    assert {name for name in leaves if not name.endswith(".")} - {"metrics", "metric_limits"} == set(PLAN)
    assert planned("forecast.probability", 0.3) == "A breach ahead is an alarm from a chance of 30.0%"
    assert planned("every_seconds", 300) == "Windows are looked for every 5 minutes"


@pytest.mark.parametrize("name", model_names(ROOT))
def test_a_shipped_model_says_what_its_card_asks(name: str) -> None:
    config = load_model(ROOT, name)
    assert config.unsaid(config.materiality) == ()
    assert any(gate.kind == "transparency" and gate.mandatory for gate in config.gates)


def test_a_place_kept_for_a_text_is_no_text() -> None:
    assert not any(map(is_said, ("", "  ", "TBD.", "n/a", "?", "Not said yet: what it is for", "To be written.")))
    assert is_said("Nobody is denied anything.")
    fields = {place.removeprefix("card.") for level in CARD_ASKED.values() for place in level}
    assert fields <= {*ModelConfig.model_fields, *ModelConfig.model_fields["card"].default.model_fields_set} | set(
        type(ModelConfig.model_fields["card"].default).model_fields
    )


def test_what_is_no_card_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    for text in ("", "[]", "NaN", '{"format": 1, "format": 1}', "<html></html>", "[" * 5000):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"card\.json holds no model card\. Make it anew"):
            cards.read_card(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        cards.read_card(tmp_path)
