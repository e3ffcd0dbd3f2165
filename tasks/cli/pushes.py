"""What pushes to the main branch start. The origin is asked what is there; a pusher's word starts nothing.

The origin's hook (``deployments/hooks/post-receive``) only waits for what is written here, and shows it.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from tasks.cli.alignment import align
from tasks.cli.prefect_api import PrefectApi
from tasks.records.repository.changes import LIST, changed_paths, concerned_models, listed_models
from tasks.records.repository.git import Git, GitError
from tasks.spec.errors import AssayError, UnreachableError
from tasks.spec.line import flat
from tasks.spec.settings import Settings

MADE_BY_A_RUN = re.compile(r"^Assay-Run-Reason:", re.MULTILINE)
SECOND = re.compile(rb"> ([0-9]+) [-+][0-9]{4}(?:\t|$)")
ALIGNED = re.compile(r"deployments/models\.yaml|deployments/models/[^/]+/model\.yaml")
"""Schedules and forms are made from these."""
KEPT = 50
"""Answers to pushes that stay readable."""
PATIENCE = 60.0
"""Seconds in which a server may refuse a run and take it later: deployments come after the server, at a start."""


class Pushes:
    """The main branch of an origin on this machine, and how far it was looked at.

    What was pushed while nothing ran is taken up as one push; later ones each on their own, as git's own log of the
    branch has them.
    """

    def __init__(self, settings: Settings, api: PrefectApi) -> None:
        self.api, self.branch = api, f"refs/heads/{settings.branch}"
        self.git = Git(Path(settings.origin_url))
        self.until = settings.home / "pushed"
        self.told = self.git.path / "assay"
        self.here = (
            self.git.path == settings.home / "origin.git"
        )  # the one that we made; others have hooks of their own
        self._first, self._refused, self._seen = True, 0.0, 0

    def waits(self) -> bool:
        """Whether the branch has moved since it was last looked at; cheap."""
        return self.here and self._stamp() != self._seen

    def look(self) -> None:
        """Start what came since the last look, and say so to whoever pushed it.

        Raises:
            UnreachableError: the server does not answer; the same is tried at the next look.
        """
        if not self.here:
            return
        self._seen = self._stamp()
        (self.told / "pushes").mkdir(parents=True, exist_ok=True)
        (self.told / "looked").touch()
        tip = self.git.run("for-each-ref", "--format=%(objectname)", self.branch)
        known = self.until.read_text().strip() if self.until.exists() else ""
        if tip and not known:
            self._reached(tip)
        for old, new, moment in self._steps(known, tip) if tip and known else ():
            said = self._push(old, new, moment)
            if said is None:
                return
            draft = self.told / f"pushes/.{new}"
            draft.write_text("".join(f"assay: {sentence}\n" for sentence in said), "utf-8", "backslashreplace")
            draft.replace(self.told / "pushes" / new)
            self._reached(new)
        self._first = False

    def _stamp(self) -> int:
        try:
            return (self.git.path / "logs" / self.branch).stat().st_mtime_ns
        except OSError:
            return 0

    def _steps(self, known: str, tip: str) -> list[tuple[str, str, str]]:
        """Each push since a commit, oldest first: what the branch was, what it is, and the second, where it is known.

        A branch may go the same way twice, and the second tells these apart.
        """
        if tip == known:
            return []
        moved: list[tuple[str, str, str]] = []
        for line in reversed([] if self._first else self._log()):
            old, new, said = line.split(b" ", 2)
            at = SECOND.search(said)
            moved.append((old.decode(), new.decode(), at[1].decode() if at else ""))
            if moved[-1][0] == known:
                return moved[::-1] if moved[0][1] == tip else [*moved[::-1], (moved[0][1], tip, "")]
        return [(known, tip, "")]  # the log does not reach so far back

    def _log(self) -> list[bytes]:
        """Git's log of the branch: a line for each move, with the commits before and after it, and who pushes by name.

        That name is as people set it, and may hold what Python takes for the end of a line.
        """
        path = self.git.path / "logs" / self.branch
        return [line for line in path.read_bytes().split(b"\n") if line] if path.exists() else []

    def _push(self, old: str, new: str, moment: str) -> list[str] | None:
        """What one push started, in sentences; None where the server does not take it yet."""
        message = self.git.run("log", "-1", "--no-show-signature", "--format=%B", new)
        if MADE_BY_A_RUN.search(message):
            return [
                f"nothing was started: the message of {new[:8]} names an Assay-Run-Reason, so a run of Assay made it. "
                "If you made it, commit without that line."
            ]
        try:
            said = self._started(old, new, moment)
        except UnreachableError:
            raise
        except Exception as error:  # also what nobody foresaw: one push must not hold up those after it
            self._refused = self._refused or time.monotonic()
            if time.monotonic() - self._refused < PATIENCE:
                return None
            why, by_hand = error or type(error).__name__, f"assay train MODEL --revision {new[:12]}"
            said = [f"the run was not taken ({why}). Start it by hand: {by_hand}"]
        self._refused = 0.0
        return said

    def _started(self, old: str, new: str, moment: str) -> list[str]:
        said: list[str] = []
        if any(ALIGNED.fullmatch(path) for path in self._changed(old, new)):
            try:
                said += align(self.api, self.git, new)
            except UnreachableError:
                raise
            except AssayError as error:
                said.append(f"schedules and forms stay as they are: {error}")
        try:
            listed = listed_models(self.git, new)
        except AssayError as error:
            return [*said, f"nothing was started: {LIST} of this push cannot be read: {error}"]
        try:
            concerned = concerned_models(self.git, old, new)
        except AssayError:  # what the branch was is gone
            concerned = list(listed)
        author = self.git.run("log", "-1", "--no-show-signature", "--format=%ae", new)
        actor = flat(author).lstrip("-")[:100].strip() or "unknown"
        said += [
            f"{model} is not affected: nothing in this push makes it or judges it"
            for model in listed
            if model not in concerned
        ]
        for model in concerned:
            folder = f"deployments/models/{model}"
            if not self.git.run("ls-tree", new, "--", f"{folder}/model.yaml"):
                said.append(
                    f"{model} was not started: {LIST} lists it, and {folder} is not in this push. Commit the folder, "
                    "or take the name out."
                )
                continue
            request = {"model": model, "reason": "push", "actor": actor, "revision": new}
            key = f"push-{old[:12]}-{new}-{moment}-{model}"
            run = self.api.start("train/training", request, key, listed=False)
            said.append(f"training of {model} at {new[:8]} started: flow run {run}{self._overtaken(run, new)}")
        return said

    def _overtaken(self, run: str, new: str) -> str:
        """What a run made needless, as the end of a sentence."""
        before = self.api.overtake("train/training", run, f"a newer push, {new[:8]}, overtook it before it began")
        of = ", ".join(str(one["parameters"]["request"]["revision"])[:8] for one in before)
        return f"; it overtakes that of {of}, which had not begun" if before else ""

    def _changed(self, old: str, new: str) -> list[str]:
        try:
            return changed_paths(self.git, old, new)
        except GitError:  # what the branch was is gone
            return [LIST]

    def _reached(self, commit: str) -> None:
        draft = self.until.with_name(f".{self.until.name}")
        draft.write_text(commit)
        draft.replace(self.until)
        answers = sorted((self.told / "pushes").glob("[0-9a-f]*"), key=lambda path: path.stat().st_mtime)
        for path in answers[:-KEPT]:
            path.unlink()
