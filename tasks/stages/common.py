"""What every stage entry point shares: its argument, its paths, its errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tasks.spec.data_source import collected_folder
from tasks.spec.errors import AssayError, ConfigError, CorruptionError
from tasks.spec.estimator import Epochs
from tasks.spec.training import TrainingConfig, load_training


@dataclass(frozen=True)
class ModelPaths:
    """One model's files below the checkout that the stage runs in."""

    root: Path
    name: str

    @property
    def data(self) -> Path:
        return self.root / "data" / self.name

    @property
    def ingested(self) -> Path:
        return self.data / "ingested.parquet"

    @property
    def ingested_record(self) -> Path:
        """The source's files by digest, as :class:`tasks.spec.data_record.Ingested`."""
        return self.data / "ingested.json"

    @property
    def source_rows(self) -> Path:
        """Rows as they stand in the source, for the requests that readiness replays."""
        return self.data / "source_rows.parquet"

    @property
    def prepared(self) -> Path:
        return self.data / "prepared"

    @property
    def record(self) -> Path:
        """What became of the source's rows, as :class:`tasks.spec.data_record.DataRecord`."""
        return self.prepared / "record.json"

    @property
    def collected(self) -> Path:
        return self.root / collected_folder(self.name)

    @property
    def model(self) -> Path:
        return self.data / "model"

    @property
    def evaluation(self) -> Path:
        return self.data / "evaluation"

    @property
    def metrics(self) -> Path:
        return self.data / "metrics.json"

    @property
    def plots(self) -> Path:
        return self.data / "plots"

    def epochs(self) -> Epochs | None:
        """What became of a network's loss, as the stage ``train`` wrote it; None of what was fitted at one go.

        Raises:
            CorruptionError: the file is no such record.
        """
        path = self.model / "loss.json"
        if not path.exists():
            return None
        with self.reading(path, "train"):
            return Epochs.model_validate_json(path.read_text())

    def table(self, path: Path, stage: str, needed: Iterable[str] = ()) -> pd.DataFrame:
        """A table that an earlier stage wrote.

        Raises:
            ConfigError: it is not there.
            CorruptionError: it is no table, or lacks a column that is needed.
        """
        with self.reading(path, stage):
            found = pd.read_parquet(path)
        lacking = [name for name in needed if name not in found]
        if lacking:
            raise CorruptionError(
                f"{path} has no column {', '.join(lacking)}, so it was written for another model.yaml. "
                f"{self._again(stage)}"
            )
        return found

    @contextmanager
    def reading(self, path: Path, stage: str) -> Iterator[None]:
        """Read a file that an earlier stage wrote; see :meth:`table` for the errors."""
        if not path.is_file():
            raise ConfigError(f"{path} does not exist. Run the stages in order: dvc repro {stage}@{self.name}.")
        try:
            yield
        except (OSError, ValueError, KeyError) as error:  # as pyarrow, json and pydantic say that bytes are damaged
            said = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            raise CorruptionError(f"{path} cannot be read ({said}). {self._again(stage)}") from None

    def _again(self, stage: str) -> str:
        return f"Write it again: dvc repro --force {stage}@{self.name}."

    def training(self) -> TrainingConfig:
        """The part of the model's configuration that makes it."""
        return load_training(self.root, self.name)


def run(stage: Callable[[ModelPaths, TrainingConfig], None]) -> None:
    """Run one stage for ``--model NAME`` in the current folder; a person's mistake becomes one line and a code."""
    parser = argparse.ArgumentParser(description=stage.__doc__)
    parser.add_argument("--model", required=True)
    paths = ModelPaths(Path.cwd(), parser.parse_args().model)
    try:
        stage(paths, paths.training())
    except AssayError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
