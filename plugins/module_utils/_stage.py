# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The contract that all seven stages keep: documents, stamps, fingerprints, check mode, reasons.

A stage is a subclass of :class:`Stage`. :func:`run_stage` runs it: it takes the lock of the build directory, makes the
:class:`Decision` (the fingerprint of :meth:`Stage.inputs`, compared with the stamp of the last run, and in words why
the stage has to run again), runs the stage, and writes the stamp last. So a stage that was killed at any moment simply
runs again.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import datetime
import os
import time
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import (
    SCHEMA_VERSION,
    BuildDirectory,
    Facts,
    Output,
    Stamp,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError, DocumentError
from ansible_collections.os_image.composer.plugins.module_utils._filelock import file_lock
from ansible_collections.os_image.composer.plugins.module_utils._io import digest_of, write_json
from ansible_collections.os_image.composer.plugins.module_utils._lease import cancellable
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress


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
    def execute(self, decision: Decision) -> Outcome:
        """Do the work. Outputs get their final names only when they are whole.

        :param decision: Why it is done; with the inputs, which need not be computed again.
        """

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


@dataclasses.dataclass(frozen=True)
class Decision:
    """What a run of a stage is to do, and why: made once in a run, before anything is done.

    :ivar inputs: What shapes the outputs, by name; see :meth:`Stage.inputs`.
    :ivar fingerprint: The SHA-256 over the inputs and the version of the stage, 64 hexadecimal digits.
    :ivar before: The stamp of the last run that ended well.
    :ivar reason: Why the outputs are not what they should be, in words; empty when they are.
    :ivar kept: The stamp of the last run, when this one leaves it at that.
    :ivar plan: In check mode, the facts that the work would leave; V(None) when they are not known.
    :ivar idle: In check mode, why the work would alter nothing; empty when it would.
    """

    inputs: Facts
    fingerprint: str
    before: Stamp | None
    reason: str
    kept: Stamp | None = None
    plan: Facts | None = None
    idle: str = ""

    @classmethod
    def of(cls, stage: Stage) -> Decision:
        """Decide for a run that does the work.

        :raises DocumentError: An earlier stage has not run.
        """
        inputs = stage.inputs()
        fingerprint = digest_of({"stage": stage.name, "version": stage.version, "inputs": inputs})
        before = stage.build.stamp(stage.name)
        reason = _rebuild_reason(stage, before, inputs, fingerprint)
        keep = not reason or stage.options.rebuild == "never"
        return cls(inputs, fingerprint, before, reason, kept=before if keep else None)

    @classmethod
    def in_check_mode(cls, stage: Stage) -> Decision:
        """Decide as :meth:`of` does, look ahead at what the work would leave, and write nothing.

        On a host where nothing was built yet the earlier stages have left nothing to decide with: that is the reason
        then.
        """
        plan: Facts | None = None
        try:
            decision = cls.of(stage)
            if decision.kept is not None:
                return decision
            plan = stage.plan()
            return dataclasses.replace(decision, plan=plan, idle=stage.idle_reason())
        except DocumentError as exc:
            reason = str(exc)
        idle = ""
        with contextlib.suppress(DocumentError):
            idle = stage.idle_reason()
        return cls({}, "", stage.build.stamp(stage.name), reason, plan=plan, idle=idle)


def _rebuild_reason(stage: Stage, stamp: Stamp | None, inputs: Facts, fingerprint: str) -> str:
    """Return why the stage has to run, in words; nothing when its outputs are what they should be."""
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
    problems = (output.problem(relative_to=stage.build.path) for output in stamp.outputs)
    return next(filter(None, problems), "")


def _write_stamp(stage: Stage, decision: Decision, outcome: Outcome, started: float) -> Stamp:
    outputs = tuple(
        Output.of(path, relative_to=stage.build.path, sha256=sha256) for path, sha256 in outcome.outputs.items()
    )
    stamp = Stamp(
        stage=stage.name,
        fingerprint=decision.fingerprint,
        inputs=decision.inputs,
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
        return _checked(stage, Decision.in_check_mode(stage), started)
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
        decision = Decision.of(stage)
        if decision.kept is not None:
            return _unchanged(stage, decision, decision.kept, started)
        stage.progress.milestone(stage.topic, f"Starting: {decision.reason}")
        try:
            outcome = stage.execute(decision)
        except ComposerError as exc:
            stage.progress.write(f"FAILED: {exc}\n")
            with contextlib.suppress(OSError):
                exc.details.setdefault("log_path", stage.progress.path)
            raise
        stamp = _write_stamp(stage, decision, outcome, started)
    before = decision.before
    changed = not outcome.idle and not _same_bytes(before, stamp)
    did = f"{'built' if changed else 'built again with the same result'}: {decision.reason}"
    return {
        **outcome.result,
        "changed": changed,
        "msg": f"{stage.name}: {f'nothing to do: {outcome.idle}' if outcome.idle else did}",
        "rebuild_reason": decision.reason,
        "duration": stamp.duration,
        "diff": stage.diff(before.facts if before else {}, outcome.facts),
    }


def restore_outputs(stage: Stage) -> Stamp:
    """Do the work of an earlier stage again, because its outputs were released but are needed after all.

    For use by a stage that runs: the caller holds the lock of the build directory.
    """
    started = time.monotonic()
    decision = Decision.of(stage)
    return _write_stamp(stage, decision, stage.execute(decision), started)


def _unchanged(stage: Stage, decision: Decision, kept: Stamp, started: float) -> Facts:
    message = f"{stage.name}: nothing to do"
    if decision.reason:
        message = f"{stage.name}: not built again, as rebuild=never, although {decision.reason}"
    return {
        **stage.result_when_unchanged(kept.result),
        "changed": False,
        "msg": message,
        "rebuild_reason": "",
        "duration": round(time.monotonic() - started, 3),
        "diff": stage.diff(kept.facts, kept.facts),
    }


def _checked(stage: Stage, decision: Decision, started: float) -> Facts:
    """Return the module's result in check mode."""
    if decision.kept is not None:
        return _unchanged(stage, decision, decision.kept, started)
    before, idle = decision.before, decision.idle
    old = before.facts if before else {}
    return {
        **(before.result if before else {}),
        **stage.planned_result(),
        "changed": not idle,
        "msg": f"{stage.name}: {f'nothing to do: {idle}' if idle else f'would build: {decision.reason}'}",
        "rebuild_reason": decision.reason,
        "duration": round(time.monotonic() - started, 3),
        "diff": stage.diff(old, old if decision.plan is None else decision.plan),
    }


__all__ = (
    "Decision",
    "Outcome",
    "Stage",
    "StageOptions",
    "describe_change",
    "restore_outputs",
    "run_stage",
)
