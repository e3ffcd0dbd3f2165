"""From a file to a model's folder: look, guess, try it with the real reader and stages, and only then write.

Everything is made in a folder of its own below ``.assay`` and moved at the end, so that a failure leaves nothing.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import pandas as pd
import yaml

from tasks.records.repository import dvc
from tasks.scaffold import reading
from tasks.scaffold.baseline import CANDIDATES, Baseline, fit_baseline, leaks
from tasks.scaffold.columns import guess_columns
from tasks.scaffold.draft import (
    CARD_QUESTIONS,
    FEW_ROWS,
    Answers,
    Draft,
    apply_answers,
    named,
    names_of,
    refuse_contradictions,
)
from tasks.scaffold.gates import GateGuess, Limits
from tasks.scaffold.pages import page
from tasks.scaffold.roles import guess_roles
from tasks.scaffold.suites import expectations, rules
from tasks.scaffold.targets import guess_target
from tasks.science.data.tables import LABEL
from tasks.spec.base import load_yaml, validate
from tasks.spec.columns import KINDS
from tasks.spec.data_record import DataRecord
from tasks.spec.data_source import SqlSource, source_folder
from tasks.spec.errors import ConfigError
from tasks.spec.expectations import Expectations
from tasks.spec.model import Protected, load_model
from tasks.spec.models import LISTED, model_folder, model_names
from tasks.spec.rules import ExpertRules
from tasks.spec.training import TrainingConfig, load_training
from tasks.stages.common import ModelPaths
from tasks.stages.ingest import ingest
from tasks.stages.prepare import prepare
from tasks.tables.sql import take_snapshot

FEW_LABELS = 15
"""Training rows that each class needs before anything can be learned."""
NAME = re.compile(r"[a-z][a-z0-9_]{1,39}")
COLLECTED = "# Rows collected in production, one DVC-tracked file per data version.\n/*.parquet\n"


@dataclass(frozen=True)
class Created:
    """What was written, and what a person still has to say."""

    model: str
    files: tuple[str, ...]
    questions: tuple[str, ...]
    guesses: int
    dropped: tuple[str, ...]
    """Rows of the file that the model will not use, with their number and the reason."""
    unsaid: tuple[str, ...] = ()
    """Texts without which the model's own gates refuse it; they stand in ``model.yaml`` as questions."""


def create(
    root: Path, name: str, file: str, target: str, answers: Answers, on_step: Callable[[str], None], query: str = ""
) -> Created:
    """Write a model's folder, its data folder and its entry in ``models.yaml``.

    Args:
        root: the checkout.
        name: of the model.
        file: path of the table, or a database's URL; the rows go to ``data/<name>/source`` and are tracked by DVC.
        target: the target's expression.
        answers: what a person has said.
        on_step: called with what is being done.
        query: of a database, what to ask.

    Raises:
        ConfigError: a name, the file or the target is wrong, or the file does not hold what a model needs.
        UnreachableError: the database does not answer.
    """
    check_name(root, name)
    with _workshop(root) as shop:
        try:
            return _create(root, shop, name, file, target, answers, on_step, query)
        except ConfigError as error:  # it speaks of files as they would have been
            raise ConfigError(str(error).replace(f"{shop}/", "")) from None


def check_name(root: Path, name: str) -> None:
    """Refuse a name that is no name, or is taken.

    Raises:
        ConfigError: with what is allowed.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"the model's name is {name!r}; allowed: 2 to 40 lower-case letters, digits and _, a letter first."
        )
    if name in model_names(root):
        raise ConfigError(f"there is a model {name!r} already; choose another name, or edit deployments/models/{name}.")
    there = [f for f in (model_folder(root, name), root / "data" / name) if f.exists()]
    if there:
        named = " and ".join(str(folder.relative_to(root)) for folder in there)
        raise ConfigError(
            f"no model {name!r} is listed, and {named} {'exist' if len(there) > 1 else 'exists'} already, perhaps of a "
            f"run that was killed. Look whether anything there is of use; then remove what you do not need, or choose "
            "another name."
        )


def _create(
    root: Path,
    shop: Path,
    name: str,
    file: str,
    target: str,
    answers: Answers,
    on_step: Callable[[str], None],
    query: str,
) -> Created:
    on_step(f"reading {file}")
    if "://" in file:
        look, source = _from_database(root, shop, name, file, query, answers.written)
    else:
        look, source = _from_file(shop, name, file, query, answers.written)
    draft = draft_of(
        name, PurePath(file).name if "://" not in file else "the query", look, source, target, answers, on_step
    )
    paths = ModelPaths(shop, name)
    config = _tried(draft, paths, on_step)
    on_step("cross-validating a baseline on training rows")
    train = pd.read_parquet(paths.prepared / "train.parquet")
    baseline = fit_baseline(config, train)
    holdout = len(pd.read_parquet(paths.prepared / "holdout.parquet", columns=[]).index)
    draft.estimator = baseline.estimator
    protected = {a: Protected.model_validate_json(json.dumps(spec)) for a, spec in draft.roles.protected.items()}
    gates = Limits(config, baseline, holdout, draft.materiality).gates(protected)
    draft.gates = [gate.document for gate in gates]
    _write(shop, draft, gates, baseline, config, train)
    load_model(shop, name)
    for document, schema in (("rules.yaml", ExpertRules), ("expectations.yaml", Expectations)):
        load_yaml(model_folder(shop, name) / document, schema)
    on_step("writing")
    record = DataRecord.model_validate_json(paths.record.read_text())
    return _moved(root, shop, draft, tuple(record.losses))


def _from_file(
    shop: Path, name: str, file: str, query: str, written: Mapping[str, Any]
) -> tuple[reading.Look, dict[str, Any]]:
    if query:
        raise ConfigError(f"--query goes with the URL of a database, and {file!r} is a file. Leave --query out.")
    look = reading.look(Path(file), written)
    place = f"{source_folder(name)}/{re.sub(r'[^a-zA-Z0-9_.-]+', '_', PurePath(file).name)}"
    (shop / place).parent.mkdir(parents=True)
    shutil.copyfile(file, shop / place)
    return look, {"kind": "file", "path": place, **look.source}


def _from_database(
    root: Path, shop: Path, name: str, url: str, query: str, written: Mapping[str, Any]
) -> tuple[reading.Look, dict[str, Any]]:
    if not query:
        raise ConfigError(f"{url!r} is the URL of a database; say with --query which rows, one row a case.")
    if written:
        raise ConfigError(
            f"--{next(iter(written))} says how a text is written, and {url!r} is a database. Leave it out."
        )
    source = {"kind": "sql", "url": url, "query": query, "snapshot": f"{source_folder(name)}/rows.parquet"}
    here = url.removeprefix("sqlite:///")
    asked = source | ({"url": f"sqlite:///{root / here}"} if here != url else {})  # a path is below the checkout's root
    take_snapshot(shop, validate(asked, SqlSource, "the command line"))
    look = reading.read(shop / source["snapshot"], "parquet", {})
    return look, source


def draft_of(
    name: str,
    file: str,
    look: reading.Look,
    source: dict[str, Any],
    target: str,
    answers: Answers,
    on_step: Callable[[str], None],
) -> Draft:
    """What the cells and a person's answers say of the model, before anything is fitted."""
    columns = guess_columns(look, lambda column: on_step(f"column {column}"), KINDS)
    apply_answers(columns, answers, file)
    guessed = guess_target(target, columns, answers.kind, answers.positive, file)
    refuse_contradictions(columns, answers, guessed.used, file)
    roles = guess_roles(columns, look.cells, guessed.used)
    by_name = names_of(columns)
    for role in ("entity", "period"):
        said = getattr(answers, role)
        if said is not None:
            column = named(by_name, said, f"--{role}", file)
            column.left_out, column.input, column.unfeatured = "", False, f"said to be the {role}"
            setattr(roles, role, column.name)
            roles.notes[role] = ""
    if answers.split == "time" and roles.period is None:
        raise ConfigError(
            f"--split is time, and no column of {file} is seen to say when a row is from; name it with --period, or "
            "say --split hash."
        )
    if len(look.cells) < FEW_ROWS:
        raise ConfigError(
            f"{file} has {len(look.cells)} rows; at least {FEW_ROWS} are needed, since a third of them examines the "
            "model and no gate could decide on fewer."
        )
    return Draft(name, file, len(look.cells), source, columns, roles, guessed, answers, look.questions)


def _tried(draft: Draft, paths: ModelPaths, on_step: Callable[[str], None]) -> TrainingConfig:
    """Have the stages read and split the file as it is declared; columns that give the label away become no feature."""
    draft.estimator = CANDIDATES[draft.target.document["kind"]][0]
    (paths.root / LISTED).parent.mkdir(exist_ok=True)
    (paths.root / LISTED).write_text(yaml.safe_dump({"models": [draft.name]}))
    folder = model_folder(paths.root, draft.name)
    folder.mkdir(parents=True)
    while True:  # ends, since each turn leaves features out
        if not draft.features:
            raise ConfigError(
                f"{draft.file} has no column left to predict from: "
                + "; ".join(f"{c.original}: {c.left_out or c.unfeatured or 'the target'}" for c in draft.columns)
                + ". Give a file with more columns."
            )
        (folder / "model.yaml").write_text(yaml.safe_dump(draft.document(), allow_unicode=True))
        config = load_training(paths.root, draft.name)
        on_step("reading every row as it will be read for training")
        ingest(paths, config)
        prepare(paths, config)
        train = pd.read_parquet(paths.prepared / "train.parquet")
        _refuse_one_answer(draft, train)
        on_step("looking for columns that give the target away")
        found = leaks(config, train)
        if not found:
            return config
        for column in draft.columns:
            if column.name in found:
                column.available = "after"
                column.questions.append(
                    f"alone it tells the target with an AUC of {found[column.name]:.2f}; is it really known before?"
                )


def _refuse_one_answer(draft: Draft, train: pd.DataFrame) -> None:
    counts = train[LABEL].value_counts()
    few = len(counts) < 2 or (draft.target.document["kind"] != "regression" and counts.min() < FEW_LABELS)
    if few:
        shown = ", ".join(f"{str(value)!r} in {count:,}" for value, count in counts.items())
        raise ConfigError(
            f"--target {draft.target.said!r} gives {shown} of {len(train):,} training rows; at least "
            f"{FEW_LABELS} of each answer are needed. Mend the condition, or give more rows."
        )


def _write(
    shop: Path, draft: Draft, gates: list[GateGuess], baseline: Baseline, config: TrainingConfig, train: pd.DataFrame
) -> None:
    folder = model_folder(shop, draft.name)
    defaults = {
        "title": draft.answers.title, "purpose": draft.answers.purpose, "owner": draft.answers.owner,
        "materiality": draft.answers.materiality, "unprotected": draft.answers.unprotected,
    }  # fmt: skip
    words = {
        "title": "what does it predict?",
        "purpose": "nobody has said",
        "owner": "whom to ask?",
        "materiality": "how much depends on it? low, medium or high",
        "unprotected": "is that so?",
    }

    def asked(key: str) -> str:
        return "" if defaults[key] is not None else f"  # question: {words[key]}"

    document = draft.document()
    target_question = "; ".join(draft.target.notes.values())
    texts = {
        "model.yaml": page(
            "model.yaml",
            asked,
            **{key: document[key] for key in ("name", "title", "purpose", "owner", "materiality", "seed", "features")},
            file=draft.file,
            rows=f"{draft.rows:,}",
            source=draft.source,
            columns=[
                {
                    "document": draft.column(c),
                    "guesses": [f"left out: {c.left_out}"] if c.left_out else c.notes,
                    "question": "; ".join(c.questions),
                }
                for c in draft.columns
            ],
            features_question=draft.features_question,
            source_question="; ".join(draft.written),
            population=draft.population,
            population_question=draft.population_question,
            roles=draft.role_lines(),
            target=draft.target.document,
            target_question=target_question,
            split=draft.split,
            split_guess="the model will meet the future, so it is examined on the later rows" if draft.by_time else "",
            protected=[
                (a, spec, draft.roles.notes.get(a, ""), draft.roles.ungrouped.get(a, ""))
                for a, spec in draft.roles.protected.items()
            ],
            unjudged=[f"{a} cannot be judged by group: {why}" for a, why in draft.roles.unjudged.items()],
            unprotected=document.get("unprotected", ""),
            unfeatured=[
                f"{c.name}, since {c.unfeatured}"
                for c in draft.columns
                if c.unfeatured and not c.left_out and c.available == "before"
            ],
            estimator=draft.estimator,
            gates=gates,
            monitoring=draft.monitoring,
            card=[(name, said, "" if said else CARD_QUESTIONS[name]) for name, said in draft.card.items()],
        ),
        "rules.yaml": page("rules.yaml", asked, **rules(draft, baseline)),
        "expectations.yaml": page("expectations.yaml", asked, **expectations(draft, config, train)),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "code").mkdir()
    (folder / "code/.gitkeep").touch()
    collected = shop / "data" / draft.name / "collected"
    collected.mkdir()
    (collected / ".gitignore").write_text(COLLECTED)


def _moved(root: Path, shop: Path, draft: Draft, dropped: tuple[str, ...]) -> Created:
    """Move what was made into the checkout, hand the source to DVC, and list the model last."""
    name = draft.name
    folder, data = model_folder(root, name), root / "data" / name
    listed = root / LISTED
    before = after = ""
    try:
        shutil.move(model_folder(shop, name), folder)
        data.mkdir(parents=True)
        for part in ("source", "collected"):
            shutil.move(shop / "data" / name / part, data / part)
        dvc.add(root, root / draft.place)
        before = listed.read_text(encoding="utf-8")  # only now: another model may have been listed meanwhile
        after = with_model(before, name)
        listed.write_text(after, encoding="utf-8")
        config = load_model(root, name)
    except BaseException:  # Ctrl-C and a closed session too: nothing half-written stays
        if after and listed.read_text(encoding="utf-8") in (after, ""):  # empty where the write itself was cut off
            listed.write_text(before, encoding="utf-8")
        for path in (folder, data):
            shutil.rmtree(path, ignore_errors=True)
        raise
    text = (folder / "model.yaml").read_text(encoding="utf-8")
    rules_text = (folder / "rules.yaml").read_text(encoding="utf-8")
    questions = _questions(text)
    made = [p for p in (*folder.rglob("*"), *data.rglob("*")) if p.is_file() and p != root / draft.place]
    files = sorted(str(p.relative_to(root)) for p in made)
    unsaid = config.unsaid(config.materiality) if config.held_to_card else ()
    return Created(name, (*files, LISTED), tuple(questions), (text + rules_text).count("# guess"), dropped, unsaid)


def _questions(text: str) -> list[str]:
    """Every question of ``model.yaml``, whole, after what it is about and before the number of its line."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        about, said, question = line.partition("question: ")
        if said:
            named = re.match(r"\s*(?:- \{name: ([^,}]+)|([a-z_]+):)", about)
            subject = f"{named[1] or named[2]}: " if named else ""
            found.append(f"{subject}{question.strip()}  (line {number})")
    return found


def with_model(text: str, name: str) -> str:
    """``models.yaml`` with one more model, its comments and order kept."""
    found = re.search(r"(?m)^models:\s*\[(.*)\]", text)
    if found:
        return f"{text[: found.end(1)]}, {name}{text[found.end(1) :]}"
    return f"{text.rstrip()}\n  - {name}\n"


@contextmanager
def _workshop(root: Path) -> Iterator[Path]:
    home = root / ".assay"
    home.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="new-", dir=home) as folder:
        yield Path(folder)
