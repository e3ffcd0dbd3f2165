"""What was made from what, as tools of the supply chain read it: in-toto Statement v1 with SLSA provenance v1.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STATEMENT, PREDICATE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"
BUILD, BUILDER = "urn:assay:rebuild:v1", "urn:assay:examiner:"


def statement(
    model: str,
    version: str,
    commit: str,
    made: Mapping[str, str],
    lock: str,
    environment: Mapping[str, Any],
    examiner: str,
    begun: str,
    ended: str,
    outcome: Mapping[str, Any],
) -> dict[str, Any]:
    """The statement about one rebuild.

    Args:
        commit: that everything was made from.
        made: path and sha256 of every file that came out, each as ``sha256:<hex>``.
        lock: sha256 of the lock file.
        environment: interpreter, kernel and threads, as they were.
        examiner: digest of the installed code that compared.
        begun, ended: ISO 8601 in UTC.
        outcome: what the comparison with the record gave.
    """
    return {
        "_type": STATEMENT,
        "subject": [{"name": path, "digest": {"sha256": _hex(digest)}} for path, digest in sorted(made.items())]
        or [{"name": f"{model}@{version}", "digest": {"gitCommit": commit}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD,
                "externalParameters": {"model": model, "version": version},
                "internalParameters": dict(environment),
                "resolvedDependencies": [
                    {"name": "commit", "digest": {"gitCommit": commit}},
                    {"name": "requirements.lock", "digest": {"sha256": _hex(lock)}},
                ],
            },
            "runDetails": {
                "builder": {"id": f"{BUILDER}{_hex(examiner)}"},
                "metadata": {"invocationId": f"{model}@{version} {begun}", "startedOn": begun, "finishedOn": ended},
                "byproducts": [{"name": "comparison", "annotations": dict(outcome)}],
            },
        },
    }


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")
