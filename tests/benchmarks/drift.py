"""Drift of 1,000,000 rows against Evidently, NannyML and alibi-detect: ``python -m tests.benchmarks.drift``.

The rows have 10 numbers and 10 texts.
Each peer runs in a virtual environment of its own, made below .assay/bench/ where it is not there yet; UV names the uv
to make it with. All are given the same two plain pandas frames (alibi: numbers it can take, encoded outside the clock),
and run one after the other.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
ROWS, COLUMNS, CHUNKS, REPEATS = int(os.environ.get("ROWS", 1_000_000)), 10, 100, 5
PEERS: dict[str, tuple[tuple[str, ...], int]] = {
    "evidently": (("evidently==0.7.*", "pandas<3"), 100),
    "nannyml": (("nannyml==0.13.*", "pandas<3", "statsmodels"), 40),
    "alibi": (("alibi-detect==0.13.*",), 10),
}
"""What is installed, with what each needs and does not ask for, and how many times faster ours is asked to be."""
QUIET = {
    "DO_NOT_TRACK": "1",
    "NML_DISABLE_USAGE_LOGGING": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}


def frame(seed: int, moved: float) -> pd.DataFrame:
    """Numbers of several shapes with some missing, and texts of 2 to 200 categories; ``moved`` shifts a few columns."""
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {}
    for i in range(COLUMNS):
        values = (
            rng.normal,
            rng.standard_exponential,
            rng.random,
            lambda size: np.exp(rng.normal(size=size)),
            lambda size: rng.poisson(30.0, size).astype(float),
        )[i % 5](size=ROWS)
        values = values + moved * (i < 3)
        values[rng.random(ROWS) < 0.01 * (i % 3)] = np.nan
        found[f"number_{i}"] = values
    for i, names in enumerate(np.geomspace(2, 200, COLUMNS).astype(int)):
        shares = 1 / np.arange(1, names + 1)
        codes = rng.choice(names, ROWS, p=shares / shares.sum())
        codes = np.where(rng.random(ROWS) < moved * (i < 3) / 2, 0, codes)
        found[f"text_{i}"] = np.array([f"category {j}" for j in range(names)], object)[codes]
    return pd.DataFrame(found).astype(
        {f"text_{i}": "str" for i in range(COLUMNS)} if int(pd.__version__.split(".")[0]) > 2 else {}
    )


def clocked(job: Callable[[], Any]) -> tuple[float, float, Any]:
    cpu, wall = time.process_time(), time.perf_counter()
    found = job()
    return time.process_time() - cpu, time.perf_counter() - wall, found


def evidently(reference: pd.DataFrame, window: pd.DataFrame) -> dict[str, Callable[[], Any]]:
    from evidently import Report
    from evidently.presets import DataDriftPreset

    return {"report": lambda: Report([DataDriftPreset()]).run(window, reference).dict()}


EVERY = {
    "continuous_methods": ["kolmogorov_smirnov", "jensen_shannon", "wasserstein", "hellinger"],
    "categorical_methods": ["chi2", "jensen_shannon", "l_infinity", "hellinger"],
}
"""All of NannyML's methods: ours gives as many distances. Its default is one a column."""


def nannyml(
    reference: pd.DataFrame, window: pd.DataFrame, methods: dict[str, list[str]] | None = None
) -> dict[str, Callable[[], Any]]:
    import nannyml as nml

    calculator = nml.UnivariateDriftCalculator(
        column_names=list(reference), chunk_number=CHUNKS, **(EVERY if methods is None else methods)
    )
    return {"fit": lambda: calculator.fit(reference), "calculate": lambda: calculator.calculate(window)}


def nannyml_default(reference: pd.DataFrame, window: pd.DataFrame) -> dict[str, Callable[[], Any]]:
    return nannyml(reference, window, {})


def alibi(reference: pd.DataFrame, window: pd.DataFrame) -> dict[str, Callable[[], Any]]:
    from alibi_detect.cd import TabularDrift

    both = pd.concat([reference, window])
    encoded = both.apply(lambda c: c.fillna(-1) if c.dtype.kind == "f" else c.astype("category").cat.codes).to_numpy(
        float
    )
    texts = {i: None for i, name in enumerate(reference) if name.startswith("text")}
    return {
        "report": lambda: TabularDrift(encoded[:ROWS], p_val=0.05, categories_per_feature=texts).predict(encoded[ROWS:])
    }


def ours(reference: pd.DataFrame, window: pd.DataFrame) -> dict[str, Callable[[], Any]]:
    from tasks.science.monitors.drift.findings import drift_findings
    from tasks.science.monitors.drift.reference import fit_reference
    from tasks.science.monitors.profiles.profile import profile
    from tasks.science.windows.monitors import levels
    from tasks.spec.model import load_model

    care = load_model(ROOT, "care")
    columns = [
        {"name": name, "type": "number" if name.startswith("number") else "category", "nullable": True}
        for name in reference
    ]
    used = {
        **care.model_dump(mode="json"),
        "protected": {},
        "gates": [care.gates[0].model_dump(mode="json")],
        "features": list(reference),
        "benchmarks": {},
    }
    used["gates"] = [
        g.model_dump(mode="json")
        for g in care.gates
        if g.kind == "floor" and g.benchmark in ("holdout", "newest", "all")
    ]
    used["data"] = {**used["data"], "columns": columns, "period": None, "entity": None}
    config, kept = type(care).model_validate_json(json.dumps(used)), {}

    def fit() -> None:
        kept["reference"] = fit_reference(config, reference, 1)

    def report() -> Any:
        counted = profile(kept["reference"].layout, window)
        return drift_findings(config, kept["reference"], counted, {}, levels(config))

    return {"fit": fit, "report": report}


def measured(name: str) -> dict[str, Any]:
    reference, window = frame(1, 0.0), frame(2, 0.2)
    jobs = {
        "evidently": evidently,
        "nannyml": nannyml,
        "nannyml_default": nannyml_default,
        "alibi": alibi,
        "ours": ours,
    }[name](reference, window)
    size = sum(int(f.memory_usage(deep=True).sum()) for f in (reference, window))
    before = _peak(reset=True)
    runs = [{job: clocked(run)[:2] for job, run in jobs.items()} for _ in range(REPEATS if name == "ours" else 1)]
    middle = {job: [float(np.median([run[job][i] for run in runs])) for i in range(2)] for job in jobs}
    return {"jobs": middle, "data": size, "added": _peak() - before}


def _peak(reset: bool = False) -> int:
    """Highest resident memory in bytes since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def environment(name: str, requirements: tuple[str, ...]) -> Path:
    """The peer's Python, installed where it is not yet."""
    folder = ROOT / ".assay/bench" / name
    python = folder / "bin/python"
    if not (folder / "done").exists():
        uv = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".assay/tools/bin/uv")
        subprocess.run([uv, "--system-certs", "venv", "-q", "--clear", "--python", "3.11", str(folder)], check=True)
        subprocess.run(
            [uv, "--system-certs", "pip", "install", "-q", "--python", str(python), *requirements], check=True
        )
        (folder / "done").touch()
    return python


def run(python: Path, name: str) -> dict[str, Any]:
    result = ROOT / ".assay/bench" / f"{name}.json"
    command = [str(python), "-m", "tests.benchmarks.drift", name, str(result)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **QUIET, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(result.read_text()))


def main() -> None:
    (ROOT / ".assay/bench").mkdir(parents=True, exist_ok=True)
    pythons = {name: environment(name, requirements) for name, (requirements, _) in PEERS.items()}
    pythons["nannyml_default"] = pythons["nannyml"]
    mine = run(Path(sys.executable), "ours")
    found = {name: run(python, name) for name, python in pythons.items()}
    print(
        f"{ROWS:,} rows in either window, {COLUMNS} numbers and {COLUMNS} texts, plain pandas frames; CPU (wall) "
        "seconds"
    )
    for name, result in {"ours": mine, **found}.items():
        parts = ", ".join(f"{job} {cpu:.2f} ({wall:.2f})" for job, (cpu, wall) in result["jobs"].items())
        print(
            f"{name:10} {parts}; at most {result['added'] / 2**20:,.0f} MiB on top of {result['data'] / 2**20:,.0f} "
            "MiB of data"
        )
    report, total = mine["jobs"]["report"][0], sum(cpu for cpu, _ in mine["jobs"].values())
    for name, result in found.items():
        theirs = sum(cpu for cpu, _ in result["jobs"].values())
        print(
            f"{name} / ours, CPU: {theirs / report:6.1f} by the report alone, {theirs / total:6.1f} with the fit on "
            f"the reference; asked: {PEERS[name.removesuffix('_default')][1]}"
        )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        Path(sys.argv[2]).write_text(json.dumps(measured(sys.argv[1])))
    else:
        main()
