# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The contract of the stages: fingerprints, stamps, reasons, check mode, locks."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory, Facts
from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError, DocumentError, LockedError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_bytes
from ansible_collections.os_image.composer.plugins.module_utils._stage import (
    Decision,
    Outcome,
    Stage,
    StageOptions,
    describe_change,
    restore_outputs,
    run_stage,
)


class Echo(Stage):
    """Writes its text into a file; stands for any stage."""

    name = "pkg_resolve"

    def __init__(
        self, build: BuildDirectory, options: StageOptions, *, text: str, note: str = "a", fail: bool = False
    ) -> None:
        super().__init__(build, options)
        self.text = text
        self.note = note
        self.fail = fail
        self.runs = 0
        self.asked = 0
        self.decision: Decision | None = None

    def inputs(self) -> Facts:
        self.asked += 1
        return {"text": self.text, "host tools": {"mke2fs": self.note}}

    def execute(self, decision: Decision) -> Outcome:
        self.runs += 1
        self.decision = decision
        path = self.build.join("packages.lock.json")
        if self.fail:
            raise ComposerError("The disk is full.", remedy="Free 5 MiB.")
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(json.dumps({"schema_version": 1, "text": self.text}))
        return Outcome({"size": len(self.text)}, {path: None}, {"text": self.text})


@pytest.fixture
def build(tmp_path: pathlib.Path) -> BuildDirectory:
    directory = BuildDirectory(str(tmp_path / "build"))
    directory.prepare()
    return directory


def run(build: BuildDirectory, text: str = "one", note: str = "a", fail: bool = False, **options: t.Any) -> Facts:
    return run_stage(Echo(build, StageOptions(**options), text=text, note=note, fail=fail))


def snapshot(directory: str) -> dict[str, tuple[int, bytes]]:
    """Return time and content of each file below a directory."""
    found = {}
    for parent, _names, files in os.walk(directory):
        for name in files:
            path = pathlib.Path(parent, name)
            found[str(path)] = (path.stat().st_mtime_ns, path.read_bytes())
    return found


def test_first_run_builds_and_second_does_nothing(build: BuildDirectory) -> None:
    first = run(build)
    assert first["changed"] is True
    assert first["rebuild_reason"] == "not built yet"
    before = snapshot(build.path)
    second = run(build)
    assert second["changed"] is False
    assert second["rebuild_reason"] == ""
    assert second["size"] == 3
    after = snapshot(build.path)
    # Only the lock file may know of the second run.
    assert {k: v for k, v in before.items() if not k.endswith(".lock")} == {
        k: v for k, v in after.items() if not k.endswith(".lock")
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"text": "two"}, "text changed: one -> two"),
        ({"note": "b"}, "host tools changed: mke2fs a -> b"),
        ({"rebuild": "always"}, "rebuild=always"),
    ],
)
def test_reason_names_the_input_that_changed(build: BuildDirectory, change: dict[str, t.Any], reason: str) -> None:
    run(build)
    assert run(build, **change)["rebuild_reason"] == reason


def test_same_bytes_are_no_change(build: BuildDirectory) -> None:
    run(build)
    again = run(build, rebuild="always")
    assert again["changed"] is False
    assert again["msg"] == "pkg_resolve: built again with the same result: rebuild=always"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "output packages.lock.json is missing"),
        (lambda path: path.write_bytes(b"x"), "output packages.lock.json has changed: 36 -> 1 bytes"),
        (
            lambda path: path.write_bytes(path.read_bytes().replace(b"one", b"two")),
            "output packages.lock.json has changed",
        ),
    ],
)
def test_damaged_output_is_made_again(
    build: BuildDirectory, damage: t.Callable[[pathlib.Path], t.Any], reason: str
) -> None:
    run(build)
    damage(pathlib.Path(build.join("packages.lock.json")))
    assert run(build)["rebuild_reason"] == reason
    assert json.loads(pathlib.Path(build.join("packages.lock.json")).read_text())["text"] == "one"


def test_never_keeps_what_was_built_once(build: BuildDirectory) -> None:
    assert run(build, rebuild="never")["changed"] is True
    kept = run(build, text="two", rebuild="never")
    assert kept["changed"] is False
    assert kept["msg"] == "pkg_resolve: not built again, as rebuild=never, although text changed: one -> two"


def test_check_mode_decides_the_same_and_writes_nothing(build: BuildDirectory) -> None:
    run(build)
    before = snapshot(build.path)
    checked = run(build, text="two", check_mode=True)
    assert checked["changed"] is True
    assert checked["msg"] == "pkg_resolve: would build: text changed: one -> two"
    assert run(build, check_mode=True)["changed"] is False
    assert snapshot(build.path) == before


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("text", ["one", "two"])
def test_a_run_decides_once(build: BuildDirectory, text: str, check_mode: bool) -> None:
    run(build)
    stage = Echo(build, StageOptions(check_mode=check_mode), text=text)
    run_stage(stage)
    assert stage.asked == 1


def test_the_work_gets_the_decision(build: BuildDirectory) -> None:
    run(build)
    before = build.require("pkg_resolve")
    stage = Echo(build, StageOptions(), text="two")
    run_stage(stage)
    decision = stage.decision
    assert decision is not None
    after = build.require("pkg_resolve")
    assert (decision.inputs, decision.fingerprint) == (after.inputs, after.fingerprint)
    assert (decision.before, decision.reason, decision.kept) == (before, "text changed: one -> two", None)


def test_check_mode_decides_as_a_run_does(build: BuildDirectory) -> None:
    run(build)
    for options in (StageOptions(), StageOptions(rebuild="never"), StageOptions(rebuild="always")):
        stage = Echo(build, options, text="two")
        assert Decision.in_check_mode(stage) == Decision.of(stage)


def test_restored_outputs_have_the_stamp_of_a_run(build: BuildDirectory) -> None:
    run(build)
    before = build.require("pkg_resolve")
    build.release_outputs("pkg_resolve")
    stage = Echo(build, StageOptions(), text="one")
    restored = restore_outputs(stage)
    assert (stage.asked, stage.runs) == (1, 1)
    assert restored == build.require("pkg_resolve")
    assert restored.fingerprint == before.fingerprint
    assert [output.released for output in restored.outputs] == [False]


def test_check_mode_on_a_virgin_host(tmp_path: pathlib.Path) -> None:
    class NeedsTemplate(Echo):
        def inputs(self) -> Facts:
            return self.build.read_document("template.json")

    path = tmp_path / "none"
    stage = NeedsTemplate(BuildDirectory(str(path)), StageOptions(check_mode=True), text="one")
    result = run_stage(stage)
    assert result["changed"] is True
    assert "image_template_validate has not been completed" in result["msg"]
    assert not path.exists()


def test_unknown_build_directory_is_not_made(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "typo"
    with pytest.raises(DocumentError, match="does not exist. Take build_dir from the result of"):
        run(BuildDirectory(str(path)))
    assert not path.exists()


def test_failure_keeps_stamp_and_output(build: BuildDirectory) -> None:
    run(build)
    with pytest.raises(ComposerError, match="The disk is full. Free 5 MiB.") as caught:
        run(build, text="two", fail=True)
    assert caught.value.details["log_path"] == build.stage_log("pkg_resolve")
    assert run(build)["changed"] is False


def test_diff_shows_facts(build: BuildDirectory) -> None:
    run(build)
    assert run(build, text="two")["diff"] == {"before": {"text": "one"}, "after": {"text": "two"}}


def test_changed_document_is_refused(build: BuildDirectory) -> None:
    run(build)
    assert build.read_document("packages.lock.json")["text"] == "one"
    path = pathlib.Path(build.join("packages.lock.json"))
    path.write_text(path.read_text().replace("one", "two"))
    with pytest.raises(DocumentError, match="is not what pkg_resolve wrote. Run the module os_image"):
        build.read_document("packages.lock.json")


DEEP = b"[" * 100_000


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema_version": 1}', b"\xff\xfe", DEEP])
def test_unreadable_stamp_proves_nothing(build: BuildDirectory, content: bytes) -> None:
    run(build)
    pathlib.Path(build.join("stages", "pkg_resolve.json")).write_bytes(content)
    assert run(build)["rebuild_reason"] == "not built yet"


@pytest.mark.parametrize("path", ["..", "../x", "", "a/../b", "a\0b", "\ud800", "a" * 256])
def test_a_stamp_with_a_strange_path_proves_nothing(build: BuildDirectory, path: str) -> None:
    run(build)
    stamp = pathlib.Path(build.join("stages", "pkg_resolve.json"))
    data = json.loads(stamp.read_text())
    data["outputs"][0]["path"] = path
    stamp.write_text(json.dumps(data))
    assert run(build)["rebuild_reason"] == "not built yet"


_HOLDER = """
import sys, time
from ansible_collections.os_image.composer.plugins.module_utils._filelock import file_lock
with file_lock(sys.argv[1], what="thing", who="holder", timeout=1):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_build_of_one_directory_names_the_first(build: BuildDirectory) -> None:
    environment = dict(os.environ, PYTHONPATH=":".join(sys.path))
    argv = [sys.executable, "-c", _HOLDER, build.join(".lock")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(LockedError) as caught:
                run(build, lock_timeout=0.3)
            assert f"The build directory {build} is in use by process {holder.pid} (holder, since 20" in str(
                caught.value
            )
            assert "lock_timeout" in str(caught.value)
        finally:
            holder.kill()
    # The kernel gave the lock back with the holder's death.
    assert run(build, lock_timeout=0.3)["changed"] is True


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ("a", "b", "x changed: a -> b"),
        ([1], [2], "x changed"),
        ("0" * 64, "1" * 64, "x changed: 000000000000 -> 111111111111"),
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, "x changed: a removed, b 2 -> 3, c added"),
        (dict.fromkeys("abcde", 1), dict.fromkeys("abcde", 2), "x changed: a 1 -> 2, b 1 -> 2, c 1 -> 2 and 2 more"),
    ],
)
def test_describe_change(before: t.Any, after: t.Any, text: str) -> None:
    assert describe_change("x", before, after) == text


def test_stamp_is_private_and_complete(build: BuildDirectory) -> None:
    run(build)
    path = pathlib.Path(build.join("stages", "pkg_resolve.json"))
    assert path.stat().st_mode & 0o777 == 0o600
    stamp = build.require("pkg_resolve")
    content = pathlib.Path(build.join("packages.lock.json")).read_bytes()
    assert [dataclasses.asdict(output)["sha256"] for output in stamp.outputs] == [sha256_bytes(content)]
