"""Errors that a person reads: each names the value, what is allowed, and the fix."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One of several mistakes in a document."""

    where: tuple[str | int, ...]
    """Keys, and places in lists counted from 0; empty where the whole document is meant."""
    sentence: str
    kind: str = ""
    """Pydantic's name for it, such as ``missing``."""


class AssayError(Exception):
    """A mistake or a condition that a person can mend.

    The command line prints the message alone, without a traceback, and exits with ``exit_code``.
    """

    exit_code = 1


class ConfigError(AssayError):
    """A configuration file is wrong: a typo, an unknown column, a missing file.

    ``problems`` holds the single mistakes where there can be several, and ``line`` the line that YAML stumbled over.
    """

    exit_code = 2

    def __init__(self, message: str, problems: tuple[Problem, ...] = (), line: int | None = None) -> None:
        super().__init__(message)
        self.problems = problems
        self.line = line


class CheckoutError(AssayError):
    """The git checkout is not in the state that the request needs (dirty, unknown revision, not a repository)."""

    exit_code = 2


class CorruptionError(AssayError):
    """Stored bytes do not match their recorded digest."""

    exit_code = 3


class StageError(AssayError):
    """A DVC stage failed; the message carries the last lines that it printed."""

    exit_code = 4


class PromotionConflict(AssayError):
    """Another promotion reached the registry first; the candidate must be examined against the new champion."""

    exit_code = 5


class PromotionRefused(AssayError):
    """The registry holds no evidence that would allow this assignment."""

    exit_code = 6


class UnreachableError(AssayError):
    """A service that the request needs (Prefect, the prediction service, the origin) does not answer."""

    exit_code = 7


class TimestampError(AssayError):
    """No authority vouches for the ledger's newest entry; the ledger itself is as it was."""

    exit_code = 7


class LogUnavailable(AssayError):
    """The prediction log cannot be written, so nothing may be answered."""

    exit_code = 8
