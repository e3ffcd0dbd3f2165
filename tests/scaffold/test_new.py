"""``assay new`` as a person meets it: a file of theirs, one command, and a folder that trains without an editor."""

from __future__ import annotations

import json
import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tasks.checking import check
from tasks.cli.app import app
from tasks.cli.runs import committed
from tasks.scaffold.draft import Answers
from tasks.scaffold.model import create, draft_of
from tasks.scaffold.reading import look
from tasks.spec.errors import AssayError, CheckoutError
from tasks.spec.model import load_model
from tasks.spec.settings import Settings
from tests.conftest import ROOT, git
from tests.scaffold.files import FILES, bring


def left(root: Path) -> set[str]:
    """Everything of a checkout but git's and DVC's own folders."""
    found = (p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
    return {p for p in found if not p.startswith((".git/", ".dvc/"))}


@pytest.mark.parametrize("name", ["kredit", "readmission"])
def test_a_strangers_file_becomes_a_model(name: str, checkout: Path, tmp_path: Path) -> None:
    before = left(checkout)
    config = bring(checkout, name, tmp_path)
    types = {c.source or c.name: c.type for c in config.data.columns}
    assert {k: types[k] for k in FILES[name].columns} == FILES[name].columns
    assert config.kind == FILES[name].kind
    assert not set(config.features) & {c.name for c in config.data.columns if c.available == "after"}
    listed = (checkout / "deployments/models.yaml").read_text()
    assert listed == f"# what there is\nmodels: [other, {name}]  # as listed\n"
    made = {p.replace(name, "NAME") for p in left(checkout) - before - {".dvcignore"}}
    source = config.data.source.places[0].replace(name, "NAME")
    assert made == {
        "deployments/models/NAME/model.yaml", "deployments/models/NAME/rules.yaml",
        "deployments/models/NAME/expectations.yaml", "deployments/models/NAME/code/.gitkeep",
        "data/NAME/collected/.gitignore", source, f"{source}.dvc", "data/NAME/source/.gitignore",
    }  # fmt: skip
    assert git(checkout, "check-ignore", config.data.source.places[0]) == config.data.source.places[0]


def test_what_is_a_guess_says_so(checkout: Path, tmp_path: Path) -> None:
    bring(checkout, "readmission", tmp_path)
    text = (checkout / "deployments/models/readmission/model.yaml").read_text()
    lines = {line.split("{name: ")[1].split(",")[0]: line for line in text.splitlines() if "{name: " in line}
    assert (
        "question: 8888 stands apart from all others" in lines["age_years"]
        and "missing: ['8888']" in lines["age_years"]
    )
    assert "question: does 'None' mean that nothing is known?" in lines["a1cresult"]
    assert "guess: '?' taken as missing; holds" in lines["weight_kg"]
    assert "input: false}  # guess: left out: every row has its own, so it is a key" in lines["encounter_id"]
    assert "entity: patient_nbr  # guess: 'patient_nbr' repeats: 2,600 in " in text
    assert "# no feature: race, since race should not decide" in text
    silent = [line for line in text.splitlines() if line.startswith(("title", "owner", "materiality"))]
    assert all("# question: " in line for line in silent), silent


def command(clone: Path, *arguments: str) -> list[str]:
    """The command itself, in a clone of this repository, as it stands on disk."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import tasks.cli.common as c; from pathlib import Path; "
    code += f"c.ROOT = Path({str(clone)!r}); from tasks.cli.app import main; main()"
    return [sys.executable, "-c", code, *arguments]


def assay(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """:func:`command` to its end, without a terminal."""
    return subprocess.run(
        command(clone, *arguments), capture_output=True, text=True, cwd=clone, check=False, timeout=120,
        stdin=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_a_session_that_ends_while_the_model_is_written_leaves_nothing(checkout: Path, tmp_path: Path) -> None:
    path, before = FILES["readmission"].write(tmp_path), left(checkout)
    asked = command(checkout, "new", "readmission", str(path), "--target", "`readmitted-30d` == 'YES'")
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(asked, cwd=checkout, stdin=nowhere, stdout=nowhere, stderr=nowhere) as running:
        ends = time.monotonic() + 120
        while not (checkout / "data/readmission/source").exists():  # DVC has yet to take it
            assert running.poll() is None and time.monotonic() < ends
            time.sleep(0.002)
        running.send_signal(signal.SIGHUP)
        assert running.wait(60) == 128 + signal.SIGHUP
    assert left(checkout) == before


def test_the_command_never_waits_without_a_terminal_and_says_what_comes_next(checkout: Path, tmp_path: Path) -> None:
    path = FILES["readmission"].write(tmp_path)
    arguments = ("--target", "`readmitted-30d` == 'YES'", "--after", "discharge_disposition_id", "--json")
    done = assay(checkout, "new", "readmission", str(path), *arguments)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["model"] == "readmission" and "deployments/models/readmission/model.yaml" in said["files"]
    assert load_model(checkout, "readmission").data.target.expression == "readmitted_30d == 'YES'"
    again = assay(checkout, "new", "readmission", str(path), "--target", "gender")
    assert (again.returncode, again.stderr.strip()) == (
        2,
        "error: there is a model 'readmission' already; choose another name, or edit deployments/models/readmission.",
    )


def at_a_terminal(clone: Path, answers: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """:func:`command` at a pseudo-terminal, where a person answers each question once it stands there.

    Returns:
        the exit code, what stdout got, and what the terminal showed.
    """
    person, terminal = pty.openpty()
    waiting, shown, ends = dict(answers), "", time.monotonic() + 120
    with subprocess.Popen(
        command(clone, *arguments), cwd=clone, stdin=terminal, stdout=subprocess.PIPE, stderr=terminal,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TERM": "dumb"}, start_new_session=True,
    ) as running:  # fmt: skip
        os.close(terminal)
        try:
            while time.monotonic() < ends:
                if not select.select([person], [], [], 1)[0]:
                    continue
                shown += os.read(person, 4096).decode()
                for question in [q for q in waiting if q in shown]:
                    os.write(person, f"{waiting.pop(question)}\n".encode())
        except OSError:  # nobody holds the other end any more
            pass
        finally:
            os.close(person)
        running.kill() if time.monotonic() >= ends else None
        assert running.stdout is not None
        return running.wait(60), running.stdout.read().decode(), shown


def test_a_person_at_a_terminal_is_asked_and_rows_that_a_split_by_time_drops_are_said(
    checkout: Path, tmp_path: Path
) -> None:
    path, draw = tmp_path / "visits.csv", random.Random(3)
    cells = [
        f"K{draw.randrange(400)},{day // 3},{draw.randint(1, 99)},{'ab'[draw.random() < 0.4]}" for day in range(1200)
    ]
    path.write_text("\n".join(["kunde,tag,betrag,antwort", *cells]) + "\n")
    arguments = ("--target", "antwort == 'b'", "--entity", "kunde", "--period", "tag", "--split", "time")
    answers = {
        "What does it predict?": "Wer antwortet", "must it not be used for?": "Briefe; keine Preise", "(e-mail)?": "",
        "(low, medium, high)?": "huge", "'huge' is none of low, medium and high": "high",
    }  # fmt: skip
    code, out, shown = at_a_terminal(checkout, answers, "new", "visits", str(path), *arguments)
    assert code == 0, shown
    said = re.search(r"^  dropped (\d+) of 1,200 rows of an entity that is on another side$", out, re.MULTILINE)
    assert said and 200 < int(said[1]) < 1000, out
    assert re.search(r"\n  make up .*\n  git remote add assay /\S+/origin\.git\n  git push assay HEAD:main ", out), out
    config = load_model(checkout, "visits")
    assert (config.title, config.purpose, config.materiality) == ("Wer antwortet", "Briefe; keine Preise", "high")
    lines = (checkout / "deployments/models/visits/model.yaml").read_text().splitlines()
    asked = {line.split(":")[0] for line in lines if "# question: " in line}
    assert not asked & {"title", "purpose", "materiality"} and "? title" not in out


ROWS = 400
TABLE = {
    "Körpergröße": [f"{150 + i % 50}" for i in range(ROWS)],
    "status": ["good" if i % 3 else "bad" for i in range(ROWS)],
    "amount": [str(i % 37) for i in range(ROWS)],
}
WRONG = {
    "a name with capitals": (
        {"name": "Bank"},
        "the model's name is 'Bank'; allowed: 2 to 40 lower-case letters, digits and _, a letter first",
    ),
    "a name that is listed": (
        {"name": "other"},
        "there is a model 'other' already; choose another name, or edit deployments/models/other.",
    ),
    "a target that does not parse": (
        {"target": "status =="}, "--target is 'status ==', position 1: this is no expression (invalid syntax)",
    ),
    "a target that names no column": (
        {"target": "stat == 'bad'"},
        "--target names 'stat', which is no column of table.csv; allowed: Körpergröße, status, amount.",
    ),
    "a target that runs a command": (
        {"target": "amount > @pd.io.common.os.system('touch /tmp/x')"},
        "position 10: '@' is not allowed; allowed: column names",
    ),
    "a value that is not there": (
        {"target": "status", "answers": Answers(positive="worse")}, "--positive is 'worse'; allowed: good, bad.",
    ),
    "a condition that is never true": (
        {"target": "amount > 1000"},
        "--target 'amount > 1000' gives 'False' in 222 of 222 training rows; at least 15 of each answer are needed. "
        "Mend the condition, or give more rows.",
    ),
    "a file that is not there": (
        {"file": "nothing.csv"}, "does not exist; give a file that ends in .csv, .tsv, .txt, .parquet, .jsonl",
    ),
    "a spreadsheet": ({"file": "table.xlsx"}, "is of an unknown kind; give a file that ends in .csv"),
    "an empty file": ({"file": "empty.csv"}, "is empty. Give a file with a header and rows."),
    "a file of one column": ({"file": "one.csv"}, "holds one column however it is cut"),
    "too few rows": ({"file": "short.csv"}, "short.csv has 20 rows; at least 300 are needed"),
    "an unknown column to leave out": (
        {"answers": Answers(leave_out=("colour",))},
        "--leave-out names 'colour', which is no column of table.csv; allowed: Körpergröße, status, amount.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_one_sentence_and_leaves_nothing_behind(case: str, checkout: Path, tmp_path: Path) -> None:
    given, sentence = WRONG[case]
    pd.DataFrame(TABLE).to_csv(tmp_path / "table.csv", index=False)
    pd.DataFrame(TABLE).head(20).to_csv(tmp_path / "short.csv", index=False)
    (tmp_path / "empty.csv").touch()
    (tmp_path / "one.csv").write_text("a\n1\n2\n")
    (tmp_path / "table.xlsx").write_bytes(b"PK")
    before = left(checkout)
    asked = {"name": "bank", "file": "table.csv", "target": "status == 'bad'", "answers": Answers()} | given
    with pytest.raises(AssayError) as caught:
        create(
            checkout, str(asked["name"]), str(tmp_path / str(asked["file"])), str(asked["target"]), asked["answers"],  # type: ignore[arg-type]
            lambda text: None,
        )  # fmt: skip
    assert sentence in str(caught.value)
    assert left(checkout) == before
    assert list((checkout / ".assay").iterdir() if (checkout / ".assay").exists() else []) == []


def test_a_survey_of_closed_answers_becomes_a_model_and_an_edited_file_is_named(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but yes, no and unsure: no number, no gap, no open category. The home is another than the checkout's."""
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path / "elsewhere"))
    draw = np.random.default_rng(5)
    answers = pd.DataFrame({f"q{n}": draw.choice(["yes", "no", "unsure"], 900) for n in range(5)})
    for_it = (answers == "yes").sum(axis=1) + draw.normal(0, 0.7, 900)
    answers.assign(joined=np.where(for_it > 1.6, "yes", "no")).to_csv(tmp_path / "survey.csv", index=False)
    create(checkout, "survey", str(tmp_path / "survey.csv"), "joined", Answers(materiality="medium"), lambda text: None)
    text = (checkout / "deployments/models/survey/model.yaml").read_text()
    assert "\n  limits: ''  # question: what can it not do, and for whom or when does it answer worse?\n" in text
    gates = yaml.safe_load(text)["gates"]
    (damage,) = [g["perturbations"] for g in gates if g["kind"] == "robustness"]
    assert damage == [{"kind": "swapped", "strength": 0.05}]
    texts = {
        "purpose",
        "owner",
        *(f"card.{key}" for key in ("intended_use", "limits", "out_of_scope", "ethics", "contact")),
    }
    assert {f.key for f in check(checkout, "survey").wrong} == texts  # what no file says, and a gate asks for
    pointer = yaml.safe_load((checkout / "data/survey/source/survey.csv.dvc").read_text())
    (md5,) = [out["md5"] for out in pointer["outs"]]
    assert (tmp_path / f"elsewhere/dvc-cache/files/md5/{md5[:2]}/{md5[2:]}").exists(), "where its flows look"

    file = checkout / "data/survey/source/survey.csv"
    text = file.read_text()
    file.unlink()  # DVC may have linked it
    file.write_text(text.replace("unsure", "no", 1))
    said = [f.message for f in check(checkout, "survey").wrong if f.key not in texts]
    assert said == [
        "data/survey/source/survey.csv was changed since DVC tracked it, and what is pushed names the rows of before. "
        "Run: dvc add data/survey/source/survey.csv; then commit the pointer"
    ]
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "a survey")
    with pytest.raises(CheckoutError, match="was changed since DVC tracked it"):
        committed(checkout, "survey")


def test_a_file_of_two_encodings_is_named_by_its_line(checkout: Path, tmp_path: Path) -> None:
    rows = [f"{n},{'Süd' if n % 2 else 'Nord'},{n % 3}" for n in range(400)]
    text = "\n".join(["n,region,visits", *rows, ""]).encode().replace("201,Süd".encode(), "201,Süd".encode("latin-1"))
    (tmp_path / "mixed.csv").write_bytes(text)
    with pytest.raises(AssayError) as caught:
        create(checkout, "mixed", str(tmp_path / "mixed.csv"), "visits > 0", Answers(), lambda text: None)
    assert str(caught.value) == (
        "mixed.csv is UTF-8 in 199 lines beyond ASCII and another encoding in 1, first in line 203: it was put "
        "together from two. Mend these lines, or say --encoding where all is of one."
    )


def test_a_failure_at_the_last_step_takes_everything_back(checkout: Path, tmp_path: Path) -> None:
    """Here DVC refuses: the folder of the checkout is no repository of it any more."""
    (checkout / ".dvc/config").write_text("[broken\n")
    before = left(checkout)
    with pytest.raises(AssayError, match=r"^\.dvc/config is no file of DVC's settings: .* at line 1\. Mend it\.$"):
        bring(checkout, "readmission", tmp_path)
    assert left(checkout) == before


def test_every_comment_stays_when_a_model_is_listed() -> None:
    from tasks.scaffold.model import with_model

    for text in ("models: [a, b]\n", "# c\nmodels:\n  - a\n  - b\n", (ROOT / "deployments/models.yaml").read_text()):
        listed = yaml.safe_load(text)["models"]
        assert yaml.safe_load(with_model(text, "zz"))["models"] == [*listed, "zz"]
        assert with_model(text, "zz").count("#") == text.count("#")


def test_a_column_that_gives_the_target_away_is_no_feature(checkout: Path, tmp_path: Path) -> None:
    """Nobody named it: the sum that was written off says who did not pay."""
    bad = [i % 3 == 0 for i in range(600)]
    rows = {
        "amount": [200 + (i * 37) % 500 for i in range(600)], "months": [6 + (i * 11) % 43 for i in range(600)],
        "written off": [(i * 7) % 90 + 1 if b else 0 for i, b in enumerate(bad)],
        "status": ["bad" if b else "good" for b in bad],
    }  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "loans.csv", index=False)
    create(checkout, "loans", str(tmp_path / "loans.csv"), "status", Answers(), lambda text: None)
    config = load_model(checkout, "loans")
    assert config.features == ("amount", "months") and config.column("written_off").available == "after"
    text = (checkout / "deployments/models/loans/model.yaml").read_text()
    assert "question: alone it tells the target with an AUC of 1.00; is it really known before?" in text


PUBLIC: dict[str, tuple[str, dict[str, str], str | None, str | None]] = {
    "fair": ("affairs > 0", {"children": "number", "occupation": "integer"}, None, None),
    "modechoice": ("choice", {"mode": "integer", "psize": "integer", "ttme": "integer"}, "individual", None),
    "randhie": ("mdvis > 0", {"idp": "boolean", "lncoins": "number", "hlthp": "boolean"}, None, None),
    "heart": ("censors", {"age": "number"}, None, None),
}
"""Tables that nobody made for Assay: the target, some types, the entity and the period that should be seen."""


@pytest.mark.parametrize("name", PUBLIC)
def test_public_tables_are_seen_as_what_they_are(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from statsmodels import datasets

    monkeypatch.setattr("tasks.scaffold.model.FEW_ROWS", 0)  # some of them are small
    target, types, entity, period = PUBLIC[name]
    path = tmp_path / f"{name}.csv"
    getattr(datasets, name).load_pandas().data.to_csv(path, index=False)
    seen = look(path)
    draft = draft_of(name, path.name, seen, seen.source, target, Answers(), lambda text: None)
    assert {c.original: c.type for c in draft.columns if c.original in types} == types
    assert (draft.roles.entity, draft.roles.period) == (entity, period)
    assert draft.target.document["kind"] == "binary"


def test_the_commands_of_the_readme_are_there_for_a_newcomer() -> None:
    """In their order, each with what it needs; a system plays them to the end in the acceptance tests."""
    block = re.search(r"\*\*Bring a model\*\*.*?```\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    lines = [line.split("#")[0].strip() for line in block[1].splitlines()]
    started, remote, pushed = (
        next(at for at, line in enumerate(lines) if line.startswith(part))
        for part in ("make up", "git remote add assay ", "git push assay HEAD:main")
    )
    assert started < remote < pushed
    home = Settings.model_construct().home
    assert (ROOT / lines[remote].split()[-1]).resolve() == (ROOT / home / "origin.git").resolve()
    assert re.search(r"(?m)^up:", (ROOT / "Makefile").read_text())
    assert lines.index("source .venv/bin/activate") < min(
        i for i, line in enumerate(lines) if line[:6] in ("assay ", "python")
    )
    known = {c.name or str(getattr(c.callback, "__name__", "")) for c in app.registered_commands}
    assert {line.split()[1] for line in lines if line.startswith("assay ")} <= known
