"""Timestamps of the ledger (RFC 3161): somebody else vouches that its newest entry was there at a time.

A token is over the SHA-256 of an entry's file, which is the entry's digest. So it is over all that came before it, too.
It is kept in the origin as ``refs/assay/timestamps/<number of the entry>``, a ref of the file itself.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx

from tasks.proof.verify import Unusable, stamped
from tasks.records.registry.state import state
from tasks.records.repository import process
from tasks.records.repository.git import Git
from tasks.records.repository.workspace import lock
from tasks.spec.errors import AssayError, TimestampError
from tasks.spec.settings import Settings

REFS = "refs/assay/timestamps"
KEPT = "timestamp.json"
"""In the home: the entry that was timestamped last, and when."""
DAY = 86_400.0
PATIENCE, LARGEST = 20.0, 1 << 20
"""Seconds that the authority may take, and bytes of its answer."""
SENT, ANSWERED = "application/timestamp-query", "application/timestamp-reply"


def due(settings: Settings, after: float = 0.0) -> bool:
    """Whether an authority is set and the newest entry is none that was timestamped.

    Args:
        after: seconds since the last token within which none is asked for.
    """
    if not settings.timestamp_url:
        return False
    try:
        kept = json.loads((settings.home / KEPT).read_bytes())
        number, moment = int(kept["entry"]), datetime.fromisoformat(kept["time"]).timestamp()
    except (OSError, ValueError, KeyError, TypeError):
        return True
    try:
        return time.time() - moment >= after and state(settings).sequence > number
    except AssayError:
        return True  # whoever asks then says why it cannot be done


def timestamp(settings: Settings) -> str:
    """Have the newest entry timestamped and keep the token in the origin; gives a sentence about it.

    Raises:
        TimestampError: the authority does not answer, or its token does not hold; nothing was changed.
        CheckoutError: the origin does not take the token.
    """
    now = state(settings)
    if now.digest is None or now.problems:
        why = now.problems[0] if now.problems else "it has none"
        raise TimestampError(f"no entry of the ledger can be vouched for: {why}")
    authority = settings.timestamp_ca
    if authority is None or not authority.is_file():
        raise TimestampError(
            f"ASSAY_TIMESTAMP_CA is {str(authority or '')!r}, and must be a PEM file of the certificates that the "
            "authority's own one is checked with. Nothing was asked for"
        )
    with tempfile.TemporaryDirectory() as folder:
        token = Path(folder) / "token.tsr"
        token.write_bytes(_asked(settings.timestamp_url, now.digest))
        try:
            digest, moment = stamped(token, authority)
        except (Unusable, ValueError) as error:
            raise TimestampError(f"the token of {settings.timestamp_url} is not kept: {error}") from None
        if digest != now.digest:
            raise TimestampError(f"the token of {settings.timestamp_url} is over {digest}, not over {now.digest}")
        _keep(settings, now.sequence, token.read_bytes())
    return f"entry {now.sequence} of the ledger was there on {moment}, by {settings.timestamp_url}"


def _asked(url: str, digest: str) -> bytes:
    """What the authority answers to a request for a token over a digest."""
    command = ["openssl", "ts", "-query", "-digest", digest.removeprefix("sha256:"), "-sha256", "-cert"]
    try:
        code, query, said = process.run(command, Path.cwd(), os.environ, PATIENCE)
    except FileNotFoundError:
        raise TimestampError("timestamps need openssl, which this machine does not have") from None
    if code:
        raise TimestampError(f"openssl makes no request: {said.decode(errors='replace').strip()[-300:]}")
    try:
        with httpx.stream("POST", url, content=query, headers={"Content-Type": SENT}, timeout=PATIENCE) as answer:
            content, begun = b"", time.monotonic()
            for part in answer.iter_bytes():
                content += part
                if len(content) > LARGEST or time.monotonic() - begun > PATIENCE:
                    raise TimestampError(
                        f"{url} answers more than {LARGEST} bytes, or for longer than {PATIENCE:.0f} s"
                    )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TimestampError(f"{url} does not answer ({error or type(error).__name__})") from None
    kind = answer.headers.get("Content-Type", "")
    if answer.status_code != 200 or not kind.startswith(ANSWERED):
        raise TimestampError(f"{url} answers {answer.status_code} with {kind or 'no type'}, not 200 with {ANSWERED}")
    return content


def _keep(settings: Settings, number: int, token: bytes) -> None:
    git = Git(settings.clone, settings.origin_url)
    with lock(settings):
        blob = git.run("hash-object", "-w", "--stdin", stdin=token)
        git.run("push", "--quiet", "--force", "origin", f"{blob}:{REFS}/{number:06d}")
        draft = settings.home / f".{KEPT}.{os.getpid()}"
        draft.write_text(json.dumps({"entry": number, "time": datetime.now(UTC).isoformat(timespec="seconds")}))
        draft.replace(settings.home / KEPT)
