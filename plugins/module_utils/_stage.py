# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The contract that all seven stages keep: documents, stamps, fingerprints, check mode, reasons.

A stage is a subclass of :class:`Stage`. :func:`run_stage` runs it: it takes the lock of the build directory, computes
the fingerprint from :meth:`Stage.inputs`, compares it with the stamp of the last run, says in words why the stage has
to run again, runs it, and writes the stamp last. So a stage that was killed at any moment simply runs again.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import datetime
import json
import os
import time
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError, DocumentError
from ansible_collections.os_image.composer.plugins.module_utils._filelock import file_lock
from ansible_collections.os_image.composer.plugins.module_utils._io import (
    digest_of,
    sha256_bytes,
    sha256_file,
    write_json,
)
from ansible_collections.os_image.composer.plugins.module_utils._lease import cancellable
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress

#: Version of the form of all documents in a build directory; raised when a reader of an older form would err.
SCHEMA_VERSION = 1

# Content of outputs up to this size is compared by digest on each run; of larger ones size and time decide.
_DIGEST_LIMIT = 4 << 20

#: Each document and the stage that writes it.
DOCUMENT_PRODUCERS: t.Mapping[str, str] = {
    "template.json": "image_template_validate",
    "packages.lock.json": "pkg_resolve",
}

Facts = t.Dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class StageOptions:
    """The options that all stages share; see the documentation fragment C(_stage_options)."""

    workers: int = 8
    log_level: str = "info"
    log_file: str | None = None
    temp_dir: str | None = None
    rebuild: str = "changed"
    lock_timeout: float = 60
    lease_file: str | None = None
    lease_timeout: float = 300
    check_mode: bool = False

    @classmethod
    def from_params(cls, params: t.Mapping[str, t.Any], *, check_mode: bool) -> StageOptions:
        """Take the shared options out of a module's parameters."""
        names = {field.name for field in dataclasses.fields(cls)} - {"check_mode"}
        return cls(check_mode=check_mode, **{name: params[name] for name in names if params.get(name) is not None})


@dataclasses.dataclass(frozen=True)
class Output:
    """A file that a stage left, as its stamp records it.

    :ivar path: Absolute, or relative to the build directory.
    :ivar sha256: 64 hexadecimal digits; V(None) for a large file whose digest nobody needed.
    :ivar released: A later stage has taken what it needs, and removed the file to save space: nobody misses it.
    """

    path: str
    size: int
    mtime_ns: int
    sha256: str | None
    released: bool = False

    @classmethod
    def of(cls, path: str, *, relative_to: str, sha256: str | None = None) -> Output:
        """Record a file as it is now.

        :param path: Absolute path of the file.
        :param sha256: Its digest, when it is known already.
        """
        status = os.stat(path)
        if sha256 is None and status.st_size <= _DIGEST_LIMIT:
            sha256 = sha256_file(path)
        inside = os.path.commonpath([path, relative_to]) == relative_to
        recorded = os.path.relpath(path, relative_to) if inside else path
        return cls(recorded, status.st_size, status.st_mtime_ns, sha256)

    def problem(self, *, relative_to: str) -> str | None:
        """Tell in words what is wrong with the file now; V(None) when it is intact."""
        path = os.path.join(relative_to, self.path)
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return None if self.released else f"output {self.path} is missing"
        if status.st_size != self.size:
            return f"output {self.path} has changed: {self.size} -> {status.st_size} bytes"
        if self.sha256 is not None and self.size <= _DIGEST_LIMIT:
            return None if sha256_file(path) == self.sha256 else f"output {self.path} has changed"
        return None if status.st_mtime_ns == self.mtime_ns else f"output {self.path} was written to"


@dataclasses.dataclass
class Outcome:
    """What a stage has done.

    :ivar result: The values that the module returns (JSON types, small); repeated on later runs that change nothing.
    :ivar outputs: Absolute paths of the files that the stage left, each with its SHA-256 or V(None).
    :ivar facts: What C(--diff) shows: facts about the outputs, not bytes; for example C({"packages": {...}}).
    :ivar idle: Why nothing was altered after all, in words; the module then says so and has changed nothing.
    """

    result: Facts
    outputs: t.Dict[str, t.Optional[str]] = dataclasses.field(default_factory=dict)
    facts: Facts = dataclasses.field(default_factory=dict)
    idle: str = ""


@dataclasses.dataclass(frozen=True)
class Stamp:
    """The record of a stage's last complete run (C(stages/{stage}.json))."""

    stage: str
    fingerprint: str
    inputs: Facts
    outputs: t.Tuple[Output, ...]
    result: Facts
    facts: Facts
    duration: float

    def sha256_of(self, path: str) -> str | None:
        """Return the digest of one output by its recorded path."""
        return next((output.sha256 for output in self.outputs if output.path == path), None)


class BuildDirectory:
    """The directory of one build: documents, stamps, logs, and the stages' own files.

    :param path: Absolute path; it need not exist yet.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)

    def __str__(self) -> str:
        return self.path

    def join(self, *parts: str) -> str:
        """Return a path below the build directory."""
        return os.path.join(self.path, *parts)

    @property
    def build_log(self) -> str:
        """The file with the milestones of all stages."""
        return self.join("build.log")

    def stage_log(self, stage: str) -> str:
        """The file with everything that a stage did."""
        return self.join("log", f"{stage}.log")

    def prepare(self) -> None:
        """Make the directory and its fixed subdirectories; only root may look into it."""
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        for name in ("stages", "log"):
            os.makedirs(self.join(name), mode=0o700, exist_ok=True)

    def stamp(self, stage: str) -> Stamp | None:
        """Read a stage's stamp; V(None) when it never ran to its end, or the stamp is of another form."""
        try:
            with open(self.join("stages", f"{stage}.json"), encoding="utf-8") as stream:
                data = json.load(stream)
            if data["schema_version"] != SCHEMA_VERSION:
                return None
            return Stamp(
                stage=data["stage"],
                fingerprint=data["fingerprint"],
                inputs=data["inputs"],
                outputs=tuple(Output(**output) for output in data["outputs"]),
                result=data["result"],
                facts=data["facts"],
                duration=data["duration"],
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            # An unreadable stamp proves nothing; the stage runs again and replaces it.
            return None

    def require(self, stage: str) -> Stamp:
        """Read the stamp of an earlier stage.

        :raises DocumentError: The stage has not run in this build directory.
        """
        stamp = self.stamp(stage)
        if stamp is None:
            raise DocumentError(
                f"The stage {stage} has not been completed in {self.path}.",
                remedy=f"Run the module os_image.composer.{stage} for this build directory first.",
            )
        return stamp

    def release_outputs(self, stage: str, *paths: str) -> None:
        """Remove files that a stage left in the build directory; the stage's stamp stays good without them.

        :func:`restore_outputs` makes them again when somebody needs them after all.

        :param paths: Absolute paths of outputs; without any, all that lie in the build directory.
        """
        document = self.join("stages", f"{stage}.json")
        with open(document, encoding="utf-8") as stream:
            data = json.load(stream)
        released = [
            output
            for output in data["outputs"]
            if not os.path.isabs(output["path"]) and (not paths or self.join(output["path"]) in paths)
        ]
        if not released:
            return
        for output in released:
            output["released"] = True
        # The stamp first: a file that is released but still there is checked like any other.
        write_json(document, data, mode=0o600)
        for output in released:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.join(output["path"]))

    def read_document(self, name: str) -> Facts:
        """Read a document that an earlier stage left, and check that nobody changed it since.

        :param name: A key of C(DOCUMENT_PRODUCERS).
        :raises DocumentError: It is missing, of another form, or not what the stage wrote.
        """
        producer = DOCUMENT_PRODUCERS[name]
        stamp = self.require(producer)
        remedy = f"Run the module os_image.composer.{producer} again."
        try:
            with open(self.join(name), "rb") as stream:
                data = stream.read()
        except OSError as exc:
            raise DocumentError(f"Cannot read {self.join(name)}: {exc.strerror}.", remedy=remedy) from exc
        if sha256_bytes(data) != stamp.sha256_of(name):
            raise DocumentError(f"{self.join(name)} is not what {producer} wrote.", remedy=remedy)
        document = json.loads(data)
        if document.get("schema_version") != SCHEMA_VERSION:
            raise DocumentError(
                f"{self.join(name)} has the form {document.get('schema_version')!r}, not {SCHEMA_VERSION}.",
                remedy=remedy,
            )
        return t.cast(Facts, document)


class Stage(abc.ABC):
    """One stage of the pipeline.

    The constructor of a subclass takes plain values and reads nothing that an earlier stage may not have written yet.
    """

    #: The module's name.
    name: t.ClassVar[str]
    #: Raised whenever the same inputs give other outputs than before.
    version: t.ClassVar[int] = 1
    #: The part of the pipeline, as milestones name it.
    topic: t.ClassVar[str] = "Stage"
    #: Whether this is the stage that makes the build directory.
    is_first: t.ClassVar[bool] = False

    def __init__(self, build: BuildDirectory, options: StageOptions) -> None:
        self.build = build
        self.options = options
        self.progress = Progress(self.name, level=options.log_level)

    @abc.abstractmethod
    def inputs(self) -> Facts:
        """Return everything that shapes the outputs, by name; JSON types.

        Names are words that a user reads ("package lock", "host tools"). Never in here: times, host names, temporary
        paths, the build directory, the lock timeout.

        :raises DocumentError: An earlier stage has not run.
        """

    @abc.abstractmethod
    def execute(self) -> Outcome:
        """Do the work. Outputs get their final names only when they are whole."""

    def plan(self) -> Facts | None:
        """Return the facts that :meth:`execute` would leave, without changing anything, for C(--diff) in check mode.

        V(None) when they are not known before the work is done.
        """
        return None

    def idle_reason(self) -> str:
        """Return why :meth:`execute` would alter nothing (see :class:`Outcome`), for check mode; empty when it would.

        Writes nothing.
        """
        return ""

    def result_when_unchanged(self, result: Facts) -> Facts:
        """Return the result of a run that had nothing to do, from the result of the last run that did the work."""
        return result

    def planned_result(self) -> Facts:
        """Return those of the module's values that are known before the work is done, for check mode."""
        return {}

    def diff(self, before: Facts, after: Facts) -> Facts:
        """Return what C(--diff) shows, from the facts of the last run and of this one."""
        return {"before": before, "after": after}

    def describe_change(self, name: str, before: t.Any, after: t.Any) -> str:
        """Say in words how the input C(name) has changed, for C(rebuild_reason)."""
        return describe_change(name, before, after)


def describe_change(name: str, before: t.Any, after: t.Any) -> str:
    """Say in words how a value has changed: "host tools changed: mke2fs 1.47.0 -> 1.47.2"."""
    if isinstance(before, dict) and isinstance(after, dict):
        parts = []
        for key in sorted({*before, *after}):
            if before.get(key) == after.get(key):
                continue
            if key not in before:
                parts.append(f"{key} added")
            elif key not in after:
                parts.append(f"{key} removed")
            elif all(isinstance(value, (str, int, float, bool)) for value in (before[key], after[key])):
                parts.append(f"{key} {_short(before[key])} -> {_short(after[key])}")
            else:
                parts.append(key)
        shown = ", ".join(parts[:3]) + (f" and {len(parts) - 3} more" if len(parts) > 3 else "")
        return f"{name} changed: {shown}"
    if all(isinstance(value, (str, int, float, bool)) for value in (before, after)):
        return f"{name} changed: {_short(before)} -> {_short(after)}"
    return f"{name} changed"


def _short(value: t.Any) -> str:
    text = str(value)
    # A digest is told apart by its first digits; in full it is only noise.
    return text[:12] if len(text) >= 32 and all(char in "0123456789abcdef" for char in text) else text


def _rebuild_reason(stage: Stage, stamp: Stamp | None, inputs: Facts, fingerprint: str) -> str | None:
    """Return why the stage has to run, in words; V(None) when its outputs are what they should be."""
    if stamp is None:
        return "not built yet"
    if stage.options.rebuild == "always":
        return "rebuild=always"
    if stamp.fingerprint != fingerprint:
        for name in [*inputs, *(key for key in stamp.inputs if key not in inputs)]:
            before, after = stamp.inputs.get(name), inputs.get(name)
            if before != after:
                return stage.describe_change(name, before, after)
        return f"the stage {stage.name} itself has changed"
    for output in stamp.outputs:
        problem = output.problem(relative_to=stage.build.path)
        if problem:
            return problem
    return None


def _write_stamp(stage: Stage, inputs: Facts, fingerprint: str, outcome: Outcome, started: float) -> Stamp:
    outputs = tuple(
        Output.of(path, relative_to=stage.build.path, sha256=sha256) for path, sha256 in outcome.outputs.items()
    )
    stamp = Stamp(
        stage=stage.name,
        fingerprint=fingerprint,
        inputs=inputs,
        outputs=outputs,
        result=outcome.result,
        facts=outcome.facts,
        duration=round(time.monotonic() - started, 3),
    )
    data = {
        "schema_version": SCHEMA_VERSION,
        **dataclasses.asdict(stamp),
        "finished": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    write_json(stage.build.join("stages", f"{stage.name}.json"), data, mode=0o600)
    return stamp


def _same_bytes(before: Stamp | None, after: Stamp) -> bool:
    """Tell whether a run left the very bytes that the one before it left."""
    if before is None:
        return False
    old = {output.path: output.sha256 for output in before.outputs}
    new = {output.path: output.sha256 for output in after.outputs}
    return old == new and None not in new.values() and before.result == after.result


def run_stage(stage: Stage) -> Facts:
    """Run a stage, or find that it has nothing to do, and return the module's result.

    :returns: The stage's own values and C(changed), C(msg), C(rebuild_reason), C(duration), C(diff).
    :raises ComposerError: The stage failed; its stamp and the last good outputs are as they were.
    """
    started = time.monotonic()
    options = stage.options
    if options.check_mode:
        return _check_stage(stage, started)
    if not stage.is_first and not os.path.isdir(stage.build.path):
        raise DocumentError(
            f"The build directory {stage.build} does not exist.",
            remedy="Take build_dir from the result of os_image.composer.image_template_validate.",
        )
    # What makes files from here on, programs in the root tree too, must not depend on how somebody logged in.
    os.umask(0o022)
    stage.build.prepare()
    lock = file_lock(
        stage.build.join(".lock"),
        what=f"build directory {stage.build}",
        who=stage.name,
        timeout=options.lock_timeout,
    )
    cancel = cancellable(stage.name, lease_file=options.lease_file, lease_timeout=options.lease_timeout)
    with lock, cancel:
        stage.progress = Progress(
            stage.name,
            build_log=stage.build.build_log,
            stage_log=stage.build.stage_log(stage.name),
            extra_log=options.log_file,
            level=options.log_level,
        )
        inputs = stage.inputs()
        fingerprint = digest_of({"stage": stage.name, "version": stage.version, "inputs": inputs})
        before = stage.build.stamp(stage.name)
        reason = _rebuild_reason(stage, before, inputs, fingerprint)
        if reason is None or (options.rebuild == "never" and before is not None):
            if before is None:
                raise AssertionError("before is known here")
            return _unchanged(stage, before, reason, started)
        stage.progress.milestone(stage.topic, f"Starting: {reason}")
        try:
            outcome = stage.execute()
        except ComposerError as exc:
            stage.progress.write(f"FAILED: {exc}\n")
            with contextlib.suppress(OSError):
                exc.details.setdefault("log_path", stage.progress.path)
            raise
        stamp = _write_stamp(stage, inputs, fingerprint, outcome, started)
    changed = not outcome.idle and not _same_bytes(before, stamp)
    did = f"{'built' if changed else 'built again with the same result'}: {reason}"
    return {
        **outcome.result,
        "changed": changed,
        "msg": f"{stage.name}: {f'nothing to do: {outcome.idle}' if outcome.idle else did}",
        "rebuild_reason": reason,
        "duration": stamp.duration,
        "diff": stage.diff(before.facts if before else {}, outcome.facts),
    }


def restore_outputs(stage: Stage) -> Stamp:
    """Do the work of an earlier stage again, because its outputs were released but are needed after all.

    For use by a stage that runs: the caller holds the lock of the build directory.
    """
    started = time.monotonic()
    inputs = stage.inputs()
    fingerprint = digest_of({"stage": stage.name, "version": stage.version, "inputs": inputs})
    return _write_stamp(stage, inputs, fingerprint, stage.execute(), started)


def _unchanged(stage: Stage, stamp: Stamp, reason: str | None, started: float) -> Facts:
    message = f"{stage.name}: nothing to do"
    if reason is not None:
        message = f"{stage.name}: not built again, as rebuild=never, although {reason}"
    return {
        **stage.result_when_unchanged(stamp.result),
        "changed": False,
        "msg": message,
        "rebuild_reason": "",
        "duration": round(time.monotonic() - started, 3),
        "diff": stage.diff(stamp.facts, stamp.facts),
    }


def _check_stage(stage: Stage, started: float) -> Facts:
    """Decide as :func:`run_stage` does, and write nothing."""
    before = stage.build.stamp(stage.name)
    after: Facts | None = None
    idle = ""
    try:
        inputs = stage.inputs()
        fingerprint = digest_of({"stage": stage.name, "version": stage.version, "inputs": inputs})
        reason = _rebuild_reason(stage, before, inputs, fingerprint)
        if reason is None or (stage.options.rebuild == "never" and before is not None):
            if before is None:
                raise AssertionError("before is known here")
            return _unchanged(stage, before, reason, started)
        after = stage.plan()
        idle = stage.idle_reason()
    except DocumentError as exc:
        # On a host where nothing was built yet the earlier stages have left nothing to decide with.
        reason = str(exc)
        with contextlib.suppress(DocumentError):
            idle = stage.idle_reason()
    old = before.facts if before else {}
    return {
        **(before.result if before else {}),
        **stage.planned_result(),
        "changed": not idle,
        "msg": f"{stage.name}: {f'nothing to do: {idle}' if idle else f'would build: {reason}'}",
        "rebuild_reason": reason,
        "duration": round(time.monotonic() - started, 3),
        "diff": stage.diff(old, old if after is None else after),
    }


__all__ = (
    "DOCUMENT_PRODUCERS",
    "SCHEMA_VERSION",
    "BuildDirectory",
    "Facts",
    "Outcome",
    "Output",
    "Stage",
    "StageOptions",
    "Stamp",
    "describe_change",
    "restore_outputs",
    "run_stage",
)
