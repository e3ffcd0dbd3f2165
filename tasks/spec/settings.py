"""Where this installation lives and how its parts reach each other; every value can be set as ``ASSAY_<NAME>``."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[2]
"""The checkout that this code runs from: its deployments, and where its commands start."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="ASSAY_", frozen=True, extra="ignore")

    home: Path = Path(".assay").absolute()
    """Everything that runs lives here: logs, caches, worktrees, the release store, reports."""
    origin: str = ""
    """URL or path of the git repository that people push to; empty: ``<home>/origin.git``."""
    branch: str = "main"
    log_url: str = ""
    """SQLAlchemy URL of the prediction log; empty: SQLite in ``<home>/predictions.db``."""
    service_url: str = ""
    """Where another installation's service is; empty: the one that runs from ``home``."""
    most_body_bytes: int = 8 * 1024 * 1024
    """The largest request body that the prediction service reads."""
    examiner_key: Path | None = None
    """The private key that signs what flows write, on machines that share one; empty: ``<home>/keys/examiner``."""
    root: str = ""
    """Fingerprint of the first list of the ledger, where somebody was told it; empty: the first that the clone saw."""

    @property
    def origin_url(self) -> str:
        return self.origin or str(self.home / "origin.git")

    @property
    def clone(self) -> Path:
        """The clone that flows work in; nobody edits it by hand."""
        return self.home / "clone"

    @property
    def examiner(self) -> Path:
        """The examiner's private key; the public half of every examiner is in ``examiners`` beside it."""
        return self.examiner_key or self.home / "keys/examiner"

    @property
    def worktrees(self) -> Path:
        return self.home / "worktrees"

    @property
    def cache(self) -> Path:
        return self.home / "dvc-cache"

    @property
    def releases(self) -> Path:
        """The release store that the prediction service reads."""
        return self.home / "releases"

    @property
    def reports(self) -> Path:
        return self.home / "reports"

    @property
    def log_database(self) -> str:
        return self.log_url or f"sqlite:///{self.home / 'predictions.db'}"
