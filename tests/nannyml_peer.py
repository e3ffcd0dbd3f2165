"""NannyML 0.13.1 in a virtual environment of its own below .assay/bench/, asked over a folder.

``ask`` runs in ours; the file itself is what the other environment runs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

VERSION = "0.13.1"
BESIDE = ("statsmodels",)
"""What it imports and does not declare."""
ROOT = Path(__file__).resolve().parents[1]


def environment() -> Path:
    """The interpreter of NannyML's environment, made on first use."""
    place = ROOT / ".assay/bench/nannyml"
    python = place / "bin/python"
    if (place / "ready").exists():
        return python
    own = ROOT / ".assay/tools/bin/uv"
    uv = str(own) if own.exists() else shutil.which("uv")
    if uv:
        subprocess.run(
            [uv, "venv", "--system-certs", "--quiet", "--allow-existing", "--python", sys.executable, str(place)],
            check=True,
        )
        subprocess.run(
            [
                uv,
                "pip",
                "install",
                "--system-certs",
                "--quiet",
                "--python",
                str(python),
                f"nannyml=={VERSION}",
                *BESIDE,
            ],
            check=True,
        )
    else:
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", f"nannyml=={VERSION}", *BESIDE], check=True)
    (place / "ready").touch()
    return python


def ask(folder: Path, **question: Any) -> dict[str, Any]:
    """Estimate ``analysis.parquet`` against ``reference.parquet`` in the folder.

    Args:
        question: ``kind`` cbpe or dle; ``metrics``; ``chunks``: rows of each chunk, in order; ``features`` for dle.

    Returns:
        ``values``: metric to one estimate a chunk; ``fit`` and ``estimate``: seconds of CPU. For cbpe,
            ``calibrated.parquet`` in the folder
        then holds the probabilities that it used.
    """
    (folder / "question.json").write_text(json.dumps(question))
    env = {**os.environ, "NML_DISABLE_USAGE_LOGGING": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(environment()), str(Path(__file__).resolve()), str(folder)],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"NannyML ended with {done.returncode}: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads((folder / "answer.json").read_text())
    return answer


def answer(folder: Path) -> None:
    import nannyml
    import pandas as pd

    question = json.loads((folder / "question.json").read_text())
    reference, analysis = (pd.read_parquet(folder / f"{part}.parquet") for part in ("reference", "analysis"))
    sizes = question["chunks"]
    stamps = [pd.Timestamp("2000-01-01") + pd.Timedelta(days=i) for i, n in enumerate(sizes) for _ in range(n)]
    analysis["moment"] = stamps
    reference["moment"] = pd.Timestamp("1999-01-01")
    how = {"chunk_number": len(sizes)} if len(set(sizes)) == 1 else {"chunk_period": "D"}
    if question["kind"] == "cbpe":
        estimator = nannyml.CBPE(
            problem_type="classification_binary",
            y_pred_proba="p",
            y_pred="decision",
            y_true="label",
            metrics=question["metrics"],
            **time_of(how),
        )
    else:
        estimator = nannyml.DLE(
            feature_column_names=question["features"],
            y_pred="p",
            y_true="label",
            metrics=question["metrics"],
            **time_of(how),
        )
    begun = time.process_time()
    estimator.fit(reference)
    fitted = time.process_time()
    result = estimator.estimate(analysis)
    ended = time.process_time()
    table = result.filter(period="analysis").to_df()
    values = {m: [float(v) for v in table[m]["value"]] for m in question["metrics"]}
    if question["kind"] == "cbpe":
        used = estimator.calibrator.calibrate(analysis["p"]) if estimator.needs_calibration else analysis["p"]
        pd.DataFrame({"p": used}).to_parquet(folder / "calibrated.parquet")
    (folder / "answer.json").write_text(
        json.dumps({"values": values, "fit": fitted - begun, "estimate": ended - fitted})
    )


def time_of(how: dict[str, Any]) -> dict[str, Any]:
    """Days only where chunks are of unequal size: parsing a column of dates would cost the peer time that it need not
    spend."""
    return {**how, "timestamp_column_name": "moment"} if "chunk_period" in how else how


if __name__ == "__main__":
    answer(Path(sys.argv[1]))
