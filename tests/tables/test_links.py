"""Sources that are symbolic links: those that DVC lays into its cache, and no others."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest

from tasks.spec.errors import ConfigError
from tests.tables.test_files import FOLDER, PLAIN, ingested, lay


def test_a_link_of_dvc_into_its_cache_is_the_file(tmp_path: Path) -> None:
    """As ``dvc add`` lays a file with ``cache.type = symlink``: the pointer names the object that the link leads to."""
    root, content = tmp_path / "checkout", PLAIN.encode()
    lay(root, {"a.csv": content}, {})
    digest = hashlib.md5(content).hexdigest()
    kept = tmp_path / "cache/files/md5" / digest[:2] / digest[2:]
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content)
    file, pointer = root / FOLDER / "a.csv", root / FOLDER / "a.csv.dvc"
    before = ingested(root)
    file.unlink()
    file.symlink_to(kept)
    with pytest.raises(ConfigError, match="leads out of the repository"):
        ingested(root)  # nothing says that it is DVC's
    pointer.write_text(f"outs:\n- md5: {digest}\n  size: {len(content)}\n  hash: md5\n  path: a.csv\n")
    pd.testing.assert_frame_equal(ingested(root), before)
    pointer.write_text(f"outs:\n- md5: {'0' * 32}\n  path: a.csv\n")
    with pytest.raises(ConfigError, match="leads out of the repository"):
        ingested(root)
    pointer.unlink()
    folder = kept.parents[1] / "ab" / f"{'c' * 30}.dir"
    folder.parent.mkdir(exist_ok=True)
    folder.write_text(json.dumps([{"md5": digest, "relpath": "a.csv"}]))
    (root / f"{FOLDER}.dvc").write_text(f"outs:\n- md5: ab{'c' * 30}.dir\n  path: source\n")
    pd.testing.assert_frame_equal(ingested(root), before)
    folder.write_text("[]")
    with pytest.raises(ConfigError, match="leads out of the repository"):
        ingested(root)
