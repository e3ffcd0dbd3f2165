"""Where this installation lives and how its parts reach each other; every value can be set as ``ASSAY_<NAME>``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tasks.spec.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
"""The checkout that this code runs from: its deployments, and where its commands start."""


def anonymous(text: str) -> str:
    """A text whose URLs name no password, and those of http(s) no user either: of others the user is part of the way.

    ``ssh://git@host/x`` without its user is another address, and what is asked of it is asked of this machine's user.
    """
    bare = re.sub(r"(?i)(https?://)[^/?#\s]+@", r"\1", text)
    return re.sub(r"(://[^/?#\s:@]*):[^/?#\s]*@", r"\1@", bare)


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="ASSAY_", frozen=True, extra="ignore")

    home: Path = ROOT / ".assay"
    """Everything that runs lives here: logs, caches, worktrees, the release store, reports."""
    origin: str = ""
    """URL or path of the git repository that people push to; empty: ``<home>/origin.git``."""
    branch: str = "main"
    log_url: str = ""
    """SQLAlchemy URL of the prediction log; empty: SQLite in ``<home>/predictions.db``."""
    service_url: str = ""
    """Where another installation's service is; empty: the one that runs from ``home``."""
    workers: int = Field(1, ge=1, le=64)
    """Processes of the service that answer on its port."""
    most_body_bytes: int = 8 * 1024 * 1024
    """The largest request body that the prediction service reads."""
    most_connections: int = Field(1000, gt=0)
    """Connections that one process of the service holds at once."""
    read_seconds: float = Field(60.0, gt=0)
    """How long the service waits for the rest of a request."""
    access: Literal["keys", "open"] = "keys"
    """``open``: the service asks nobody for a key, and then listens on this machine alone."""
    key_file: Path | None = None
    """A file that holds the key with which commands ask the service; empty: ``<home>/access/key``."""
    hosts: str = ""
    """Names, comma-separated, by which the service may be asked, besides those of this machine's loopback."""
    proxies: str = ""
    """Addresses, comma-separated, of proxies whose forwarded headers are believed; empty: nobody's are."""
    tls_cert: Path | None = None
    """PEM file of the certificate, with its chain, that the service shows; with ``tls_key``."""
    tls_key: Path | None = None
    most_requests: float = Field(20_000.0, gt=0)
    """Requests a second that one key may send to a service, where the key says nothing else."""
    most_rows: float = Field(500_000.0, gt=0)
    """The same in rows."""
    examiner_key: Path | None = None
    """The private key that signs what flows write, on machines that share one; empty: ``<home>/keys/examiner``."""
    isolation: Literal["available", "required"] = "available"
    """``required``: nothing is trained where this machine cannot keep a candidate's code apart."""
    root: str = ""
    """Fingerprint of the first list of the ledger, where somebody was told it; empty: the first that the clone saw."""

    timestamp_url: str = ""
    """Where an authority answers requests for timestamps (RFC 3161); empty: none is asked, and nothing goes out."""
    timestamp_ca: Path | None = None
    """PEM file of the certificates that a timestamp has to be signed by."""

    def __init__(self, **values: Any) -> None:
        """From the environment, and from what is given.

        Raises:
            ConfigError: a variable has a value that is not allowed.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = f"ASSAY_{'_'.join(map(str, first['loc'])).upper()}"
            said = first["msg"].removeprefix("Value error, ")
            raise ConfigError(f"{name} is {first['input']!r}: {said}.") from None

    @field_validator("home", mode="before")
    @classmethod
    def _stands_still(cls, value: Any) -> Path:
        """The parts of a system have other working directories than the command that starts them."""
        path = Path(value).expanduser().absolute()
        if not str(value).strip() or not str(path).isprintable() or "%(" in str(path):  # DVC would replace %(...)s
            raise ValueError(
                "a home is the path of a folder; allowed are all characters but '%(' and control characters"
            )
        return path

    @field_validator("timestamp_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("it must begin with http:// or https://, or be empty so that nobody is asked")
        return value

    @field_validator("examiner_key", "timestamp_ca", "key_file", "tls_cert", "tls_key", mode="before")
    @classmethod
    def _from_anywhere(cls, value: Any) -> Path | None:
        """The parts of a system have other working directories than the command that starts them."""
        return Path(value).expanduser().absolute() if value and str(value).strip() else None

    @property
    def host_names(self) -> frozenset[str]:
        return frozenset(name.strip().lower() for name in self.hosts.split(",") if name.strip())

    @property
    def proxy_addresses(self) -> list[str]:
        return [address.strip() for address in self.proxies.split(",") if address.strip()]

    @property
    def origin_url(self) -> str:
        return self.origin or str(self.home / "origin.git")

    @property
    def origin_named(self) -> str:
        """The same without what is secret in it: for a command line, a file and whoever reads it."""
        return anonymous(self.origin_url)

    @property
    def clone(self) -> Path:
        """The clone that flows work in; nobody edits it by hand."""
        return self.home / "clone"

    @property
    def examiner(self) -> Path:
        """The examiner's private key; the public half of every examiner is in ``examiners`` beside it."""
        return self.examiner_key or self.home / "keys/examiner"

    @property
    def access_folder(self) -> Path:
        """Keys as hashes, the secret that signs sessions, and the key of this home's own commands."""
        return self.home / "access"

    @property
    def own_key(self) -> Path:
        """The key with which commands of this machine ask the service."""
        return self.key_file or self.access_folder / "key"

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
        return self.log_url or self.sqlite("predictions.db")

    @property
    def has_log(self) -> bool:
        """Whether there is a prediction log already; opening one makes it."""
        return bool(self.log_url) or (self.home / "predictions.db").exists()

    @property
    def has_origin(self) -> bool:
        """Whether there is an origin to clone from."""
        return bool(self.origin) or (self.home / "origin.git").exists()

    def sqlite(self, name: str, driver: str = "sqlite") -> str:
        """The SQLAlchemy URL of an SQLite file of the home; a URL ends its path at the first ``?``."""
        path = str(self.home / name)
        return f"{driver}:///file:{quote(path)}?uri=true" if "?" in path else f"{driver}:///{path}"
