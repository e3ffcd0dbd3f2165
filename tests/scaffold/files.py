"""Six files as other people's programs write them: by csv, pyarrow and sqlite3, never by our own reader.

None is shaped for Assay: names with blanks, accents and keywords, decimal commas, markers for what is missing, keys,
repeated people, dates, weights. In each something can be learned, and nothing depends on sex or race.
"""

from __future__ import annotations

import csv
import datetime as dt
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from tasks.scaffold.draft import Answers
from tasks.scaffold.model import create
from tasks.spec.model import ModelConfig, load_model


@dataclass(frozen=True)
class File:
    """A file, and the command line that brings it."""

    write: Callable[[Path], Path]
    arguments: tuple[str, ...]
    kind: str
    columns: dict[str, str]
    """Some original names and the types that they should be given."""


def _chance(rng: np.random.Generator, logit: np.ndarray) -> np.ndarray:
    return rng.random(len(logit)) < 1 / (1 + np.exp(-logit))


def credit(folder: Path, rows: int = 4000) -> Path:
    """A bank's export from a German spreadsheet: semicolons, latin-1, decimal commas, dotted dates."""
    rng = np.random.default_rng(11)
    start = dt.date(2021, 1, 4)
    days = np.sort(rng.integers(0, 1000, rows))
    amount, months = rng.lognormal(8, 0.6, rows), rng.choice([12, 24, 36, 48, 60], rows)
    age, income = rng.integers(18, 76, rows), rng.lognormal(7.7, 0.35, rows)
    purpose = rng.choice(["Auto", "Möbel", "Umschuldung", "Küche & Bad"], rows, p=[0.4, 0.3, 0.2, 0.1])
    sex = rng.choice(["männlich", "weiblich"], rows)
    bad = _chance(rng, -0.2 + 1.1 * (np.log(amount / income) - 0.4) + 0.03 * (months - 36) + 0.9 * (purpose == "Auto"))
    path = folder / "Kreditanträge 2021-23.csv"
    with path.open("w", encoding="latin-1", newline="") as stream:
        writer = csv.writer(stream, delimiter=";")
        writer.writerow(
            ["Antrags-Nr.", "Antragsdatum", "Kreditbetrag (€)".replace("€", "EUR"), "Laufzeit in Monaten", "Alter",
             "Nettoeinkommen", "Geschlecht", "Verwendungszweck", "PLZ", "Rückzahlung"]
        )  # fmt: skip
        for i in range(rows):
            writer.writerow(
                [
                    f"A-{100000 + i}",
                    (start + dt.timedelta(days=int(days[i]))).strftime("%d.%m.%Y"),
                    f"{amount[i]:.2f}".replace(".", ","),
                    months[i],
                    age[i],
                    "" if rng.random() < 0.04 else f"{income[i]:.2f}".replace(".", ","),
                    sex[i],
                    purpose[i],
                    rng.choice(["01067", "04109", "10115", "20095", "80331"]),
                    "ausgefallen" if bad[i] else "bezahlt",
                ]
            )
    return path


def hospital(folder: Path, patients: int = 2600) -> Path:
    """A hospital's export: "?" and "None", patients who come again, ages of 8888."""
    rng = np.random.default_rng(12)
    path = folder / "encounters.csv"
    number = 40_000_000
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ["encounter_id", "patient_nbr", "race", "gender", "age_years", "time_in_hospital", "num_medications",
             "A1Cresult", "weight_kg", "diag_1", "number_inpatient", "insulin", "discharge_disposition_id",
             "readmitted-30d"]
        )  # fmt: skip
        for patient in range(patients):
            race = rng.choice(["Caucasian", "AfricanAmerican", "Hispanic", "?"], p=[0.6, 0.25, 0.13, 0.02])
            sex, age = rng.choice(["Female", "Male"]), int(rng.integers(25, 92))
            burden = rng.normal(0, 0.5)
            for _ in range(int(rng.choice([1, 2, 3, 4], p=[0.5, 0.25, 0.15, 0.1]))):
                number += int(rng.integers(1, 60))
                stay, before = int(rng.integers(1, 15)), int(rng.poisson(np.exp(burden)))
                again = rng.random() < 1 / (1 + np.exp(2.3 - 0.09 * stay - 0.75 * before - 0.012 * (age - 60) - burden))
                writer.writerow(
                    [number, 880000 + patient * 7, race, sex, 8888 if rng.random() < 0.004 else age, stay,
                     int(rng.integers(1, 40)), rng.choice(["None", "Norm", ">7", ">8"], p=[0.8, 0.1, 0.05, 0.05]),
                     "?" if rng.random() < 0.4 else int(rng.normal(80, 15)),
                     rng.choice(["250.83", "428", "V57", "414", "786"]), before,
                     rng.choice(["No", "Up", "Down", "Steady"]), rng.choice([1, 3, 6, 11]), "YES" if again else "NO"]
                )  # fmt: skip
    return path


def load(folder: Path, days: int = 130) -> Path:
    """A half-hourly series of a power grid, local times without a zone; what comes next hangs on hour and weather."""
    rng = np.random.default_rng(13)
    path = folder / "load.csv"
    start = dt.datetime(2023, 1, 9)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["timestamp", "temperature", "hour", "weekday", "load_yesterday", "load"])
        history: list[float] = []
        for step in range(days * 48):
            when = start + dt.timedelta(minutes=30 * step)
            warm = 8 + 6 * np.sin(2 * np.pi * step / 48 / 30) + 4 * np.sin(2 * np.pi * (when.hour - 9) / 24)
            warm += rng.normal(0, 1)
            work = when.weekday() < 5
            value = 40 + 9 * np.sin(2 * np.pi * (when.hour - 7) / 24) + 6 * work - 0.9 * warm + rng.normal(0, 2.5)
            yesterday = history[-48] if len(history) >= 48 else None
            history.append(float(value))
            writer.writerow(
                [when.strftime("%Y-%m-%d %H:%M:%S"), f"{warm:.1f}", when.hour, when.strftime("%a"),
                 "" if yesterday is None else f"{yesterday:.2f}", f"{value:.2f}"]
            )  # fmt: skip
    return path


def survey(folder: Path, rows: int = 5000) -> Path:
    """A survey with weights, three answers, "k. A." for what was not said, and a keyword for a name; tab-separated."""
    rng = np.random.default_rng(14)
    path = folder / "survey_wave7.tsv"
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t")
        writer.writerow(["lfdnr", "pweight", "sex", "age", "class", "hours", "children", "trust in doctors"])
        for i in range(rows):
            age, level = int(rng.integers(18, 90)), str(rng.choice(["lower", "middle", "upper"], p=[0.3, 0.5, 0.2]))
            hours = float(np.clip(rng.normal(34, 11), 0, 80))
            tendency = 0.045 * (age - 50) + 0.8 * (level == "upper") - 0.6 * (level == "lower") + rng.logistic()
            trust = "low" if tendency < -1.1 else "high" if tendency > 1.1 else "medium"
            writer.writerow(
                [i + 1, f"{rng.lognormal(-0.08, 0.4):.4f}", rng.choice(["f", "m"]), age, level,
                 "k. A." if rng.random() < 0.05 else f"{hours:.1f}", int(rng.poisson(1.3)), trust]
            )  # fmt: skip
    return path


def accounts(folder: Path, rows: int = 5000) -> Path:
    """A Parquet table with real dates, instants, booleans and numbers, as a warehouse exports it."""
    rng = np.random.default_rng(15)
    opened = [dt.date(2019, 3, 1) + dt.timedelta(days=int(d)) for d in rng.integers(0, 1400, rows)]
    when = np.sort(rng.integers(0, 365 * 24 * 3600, rows))
    seen = [dt.datetime(2023, 6, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=int(s)) for s in when]
    mobile, balance = rng.random(rows) < 0.6, rng.normal(900, 700, rows)
    calls = rng.poisson(1.2, rows)
    churn = _chance(rng, -1.0 - 0.0009 * balance + 0.7 * calls - 0.8 * mobile)
    table = pa.table(
        {
            "AccountKey": pa.array(range(10**12, 10**12 + rows), pa.int64()),
            "snapshotAt": pa.array(seen, pa.timestamp("us", "UTC")),
            "openedOn": pa.array(opened, pa.date32()),
            "usesMobile": pa.array([None if rng.random() < 0.02 else bool(m) for m in mobile], pa.bool_()),
            "balance": pa.array(balance.round(2), pa.float64()),
            "serviceCalls": pa.array(calls, pa.int32()),
            "plan": pa.array(rng.choice(["basic", "plus", "pro"], rows)).dictionary_encode(),
            "ageGroup": pa.array(rng.choice(["18-29", "30-49", "50+"], rows)),
            "churned": pa.array(churn, pa.bool_()),
        }
    )
    path = folder / "accounts.parquet"
    parquet.write_table(table, path)
    return path


def school(folder: Path, pupils: int = 3500) -> Path:
    """A SQLite database of two tables, that a query joins."""
    rng = np.random.default_rng(16)
    path = folder / "school.db"
    with sqlite3.connect(path) as database:
        database.execute("create table pupil (id integer primary key, sex text, born text, language text)")
        database.execute(
            "create table result (pupil_id integer, missed integer, homework real, earlier_mark real, points real)"
        )
        for i in range(pupils):
            born = dt.date(2008, 1, 1) + dt.timedelta(days=int(rng.integers(0, 900)))
            language = str(rng.choice(["de", "tr", "ar", "pl"], p=[0.7, 0.12, 0.1, 0.08]))
            database.execute(
                "insert into pupil values (?,?,?,?)", (i, str(rng.choice(["f", "m"])), str(born), language)
            )
            missed, homework = int(rng.poisson(4)), float(rng.uniform(0, 1).__round__(2))
            mark = float(np.clip(rng.normal(3, 1), 1, 6).round(1))
            points = float(np.round(62 - 7 * (mark - 3) + 14 * homework - 0.9 * missed + rng.normal(0, 6), 1))
            database.execute(
                "insert into result values (?,?,?,?,?)",
                (i, missed, homework, None if rng.random() < 0.03 else mark, points),
            )
    database.close()
    return path


QUERY = (
    "select p.sex, p.born, p.language, r.missed, r.homework, r.earlier_mark, r.points "
    "from result r join pupil p on p.id = r.pupil_id order by p.id"
)
FILES: dict[str, File] = {
    "kredit": File(
        credit,
        ("--target", "Rückzahlung == 'ausgefallen'", "--title", "Kreditausfall", "--owner", "risk@example.org"),
        "binary",
        {"Antragsdatum": "date", "Kreditbetrag (EUR)": "number", "Alter": "integer", "PLZ": "category"},
    ),
    "readmission": File(
        hospital,
        ("--target", "`readmitted-30d`", "--positive", "YES", "--after", "discharge_disposition_id"),
        "binary",
        {"patient_nbr": "category", "age_years": "integer", "weight_kg": "integer", "diag_1": "category"},
    ),
    "grid": File(
        load, ("--target", "load"), "regression", {"timestamp": "datetime", "hour": "integer", "temperature": "number"}
    ),
    "trust": File(
        survey,
        ("--target", "trust in doctors"),
        "multiclass",
        {"pweight": "number", "class": "category", "age": "integer"},
    ),
    "churn": File(
        accounts,
        ("--target", "churned"),
        "binary",
        {"snapshotAt": "datetime", "openedOn": "date", "usesMobile": "boolean", "serviceCalls": "integer"},
    ),
    "marks": File(
        school,
        ("--target", "points", "--query", QUERY),
        "regression",
        {"sex": "category", "born": "date", "missed": "integer", "homework": "number"},
    ),
}
"""By the name of the model that is made of it."""


def bring(root: Path, name: str, folder: Path) -> ModelConfig:
    """Write a file into ``folder`` and have it become a model of a checkout, as the command does without a terminal."""
    given = dict(zip(FILES[name].arguments[::2], FILES[name].arguments[1::2], strict=True))
    target, after, query = given.pop("--target"), given.pop("--after", None), given.pop("--query", "")
    said = Answers(
        **{key.removeprefix("--"): value for key, value in given.items()},
        after=() if after is None else (after,),
        purpose="A test of what a stranger's file becomes.",
        card=dict.fromkeys(("intended_use", "limits", "out_of_scope", "ethics", "contact"), "It is a test's own."),
    )
    path = FILES[name].write(folder)
    create(root, name, f"sqlite:///{path}" if query else str(path), target, said, lambda text: None, query)
    return load_model(root, name)
