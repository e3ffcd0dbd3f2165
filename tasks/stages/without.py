"""Fit a candidate once more without the rows that some sources labelled, to see what they alone taught it.

Run apart, beside no stage of DVC: what it makes is compared with and thrown away. Its folder holds a model file and a
manifest, as the stage ``train`` writes them, without the proof that array code answers alike.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tasks.science.data.tables import LABEL, SOURCE
from tasks.science.models.estimators import build
from tasks.serving.release import save_model
from tasks.spec.base import digest_file
from tasks.spec.data_record import DataRecord
from tasks.spec.errors import AssayError
from tasks.stages.common import ModelPaths
from tasks.stages.described import described
from tasks.stages.fitting import fit
from tasks.stages.servable import refuse_unservable, trusted_types


def without(paths: ModelPaths, sources: list[str], out: Path) -> None:
    """Write ``model.skops`` and ``manifest.json`` of the model that the other rows make.

    Raises:
        ConfigError: the other rows cannot be learned from.
    """
    config = paths.training()
    rows = paths.table(paths.prepared / "train.parquet", "prepare", [*config.features, LABEL, SOURCE])
    rows = rows[~rows[SOURCE].isin(sources)].reset_index(drop=True)
    record = DataRecord.model_validate_json(paths.record.read_text())
    pipeline, trusted = build(config, paths.root), trusted_types(paths)
    fit(config, pipeline, rows)
    refuse_unservable(paths, pipeline, trusted)
    file = out / "model.skops"
    save_model(pipeline, file)
    manifest = described(config, rows, record, trusted, digest_file(file))
    (out / "manifest.json").write_text(json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n")


def main() -> int:
    """Read the arguments; a mistake becomes one line and a code."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--model", "--root", "--out"):
        parser.add_argument(name, required=True)
    parser.add_argument("--source", action="append", required=True)
    asked = parser.parse_args()
    try:
        without(ModelPaths(Path(asked.root), asked.model), asked.source, Path(asked.out))
    except AssayError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
