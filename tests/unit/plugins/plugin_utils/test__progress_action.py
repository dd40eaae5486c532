# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import pathlib
import shlex
import subprocess
import threading
import time
import types
import typing as t

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.os_image.composer.plugins.plugin_utils import _progress_action
from ansible_collections.os_image.composer.plugins.plugin_utils._progress_action import (
    HEARTBEAT_SECONDS,
    Look,
    ProgressActionBase,
    Watch,
    format_elapsed,
    milestone_of,
)

MARK = "==0123=="
LINE = "2026-11-23T08:10:00Z pkg_fetch [Packages] Downloading packages (120/245 cached)"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (LINE, "[Packages] Downloading packages (120/245 cached)"),
        ("2026-11-23T08:10:00Z pkg_fetch [Packages] WARN: slow mirror", "[Packages] WARN: slow mirror"),
        ("2026-11-23T08:10:00Z pkg_resolve [Packages] Resolved", None),
        ("2026-11-23T08:10:00Z pkg_fetch no topic", None),
        ("", None),
    ],
)
def test_milestone_of_takes_only_the_stages_own_lines(line: str, message: str | None) -> None:
    assert milestone_of(line, "pkg_fetch") == message


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (725, "12 min 5 s")])
def test_format_elapsed(seconds: float, text: str) -> None:
    assert format_elapsed(seconds) == text


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_look_reads_lines_whatever_ends_them(newline: str) -> None:
    output = newline.join([f"{MARK} job alive", '{"finished": false}', "", f"{MARK} log", LINE, f"{MARK} end", ""])
    look = Look.parse(output, MARK)
    assert look == Look('{"finished": false}', True, [LINE])
    assert not look.finished


def test_look_leaves_a_line_that_is_being_written_to_the_next_look() -> None:
    look = Look.parse(f"{MARK} job alive\n{{}}\n{MARK} log\n{LINE}\n{LINE[:20]}{MARK} end\n", MARK)
    assert look is not None
    assert look.lines == [LINE]


@pytest.mark.parametrize("output", ["", f"{MARK} job alive\n{{}}\n{MARK} log\n{LINE}\n"])
def test_look_refuses_an_answer_that_was_cut_off(output: str) -> None:
    assert Look.parse(output, MARK) is None


def test_look_ignores_noise_of_a_login_shell() -> None:
    output = f"Welcome!\n{MARK} job ended\n" + '{"changed": true}' + f"\n{MARK} log\n{MARK} end\n"
    look = Look.parse(output, MARK)
    assert look == Look('{"changed": true}', False, [])
    assert look.finished


def make_watch(shown: list[str] | None) -> Watch:
    show = None if shown is None else shown.append
    return Watch(stage="pkg_fetch", label="builder1", show=show, seen=3, now=100)


def test_watch_tells_milestones_with_the_hosts_name() -> None:
    shown: list[str] = []
    watch = make_watch(shown)
    watch.tell(Look("", True, [LINE, "2026-11-23T08:10:00Z pkg_resolve [Packages] no"]), now=101)
    assert shown == ["[builder1] [Packages] Downloading packages (120/245 cached)"]
    assert watch.seen == 5


def test_watch_gives_a_sign_of_life_only_after_a_minute_of_silence() -> None:
    shown: list[str] = []
    watch = make_watch(shown)
    watch.tell(Look("", True, [LINE]), now=110)
    for now in range(111, 250):
        watch.tell(Look("", True, []), now=now)
    assert shown[1:] == [
        "[builder1] pkg_fetch is still working (1 min 10 s, last: [Packages] Downloading packages (120/245 cached))",
        "[builder1] pkg_fetch is still working (2 min 10 s, last: [Packages] Downloading packages (120/245 cached))",
    ]
    assert HEARTBEAT_SECONDS == 60


def test_watch_shows_nothing_of_a_task_with_no_log() -> None:
    watch = make_watch(None)
    watch.tell(Look("", True, [LINE]), now=500)
    assert watch.seen == 4


class FakeConnection:
    transport = "ssh"
    has_native_async = False

    def __init__(self) -> None:
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1


class FakeAction(ProgressActionBase):
    """Runs the shell commands here, and instead of a module a function in a thread."""

    def __init__(
        self, args: dict[str, t.Any], work: t.Callable[[FakeAction], dict[str, t.Any] | None], job: pathlib.Path
    ) -> None:
        self._task = t.cast(
            t.Any,
            types.SimpleNamespace(
                action="os_image.composer.pkg_fetch",
                args=args,
                async_val=0,
                check_mode=False,
                delegate_to=None,
                no_log=False,
            ),
        )
        self._connection = t.cast(t.Any, FakeConnection())
        self._used_interpreter = None
        self.work = work
        self.job = job
        self.scripts: list[str] = []
        self.module_args: dict[str, t.Any] = {}
        self.plain_runs = 0

    def _execute_module(self, *args: t.Any, **kwargs: t.Any) -> dict[str, t.Any]:
        if not kwargs.get("wrap_async"):
            self.plain_runs += 1
            return {"changed": False, "msg": "plain"}
        assert self._task.async_val > 0
        self.module_args = kwargs["module_args"]
        self.job.write_text('{"started": true, "finished": false, "ansible_job_id": "j1.1"}')
        threading.Thread(target=self._work).start()
        return {"started": True, "finished": False, "ansible_job_id": "j1.1", "results_file": str(self.job)}

    def _work(self) -> None:
        result = self.work(self)
        if result is not None:
            new = self.job.with_suffix(".tmp")
            new.write_text(json.dumps(result))
            new.rename(self.job)

    def _low_level_execute_command(self, cmd: str, *args: t.Any, **kwargs: t.Any) -> dict[str, t.Any]:
        self.scripts.append(cmd)
        done = subprocess.run(["/bin/sh", "-c", cmd], capture_output=True, text=True, check=False)
        return {"rc": done.returncode, "stdout": done.stdout, "stderr": done.stderr}

    def watched(self) -> dict[str, t.Any]:
        return self._run_watched({"inventory_hostname": "builder1"})


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(
        _progress_action,
        "display",
        types.SimpleNamespace(display=lines.append, warning=lines.append, vvv=lambda message: None),
    )
    return lines


@pytest.fixture
def build_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    # What a user's directory may be called.
    path = tmp_path / "build dir 'ñ'"
    path.mkdir()
    return path


def append(path: pathlib.Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(text)


def test_a_stage_is_watched_to_its_end(tmp_path: pathlib.Path, build_dir: pathlib.Path, shown: list[str]) -> None:
    log = build_dir / "build.log"
    log.write_text(LINE.replace("120/245", "an older run") + "\n", encoding="utf-8")

    def work(action: FakeAction) -> dict[str, t.Any]:
        lease = pathlib.Path(action.module_args["lease_file"])
        lease.write_text(f"{os.getpid()}\n")
        for number in (1, 2):
            time.sleep(0.15)
            append(log, LINE.replace("120", str(number)) + "\n")
        return {"changed": True, "msg": "done", "downloaded": 2}

    action = FakeAction({"build_dir": f"{build_dir}/", "workers": 3}, work, tmp_path / "job")
    result = action.watched()
    assert shown == [
        "[builder1] [Packages] Downloading packages (1/245 cached)",
        "[builder1] [Packages] Downloading packages (2/245 cached)",
    ]
    assert {key: result[key] for key in ("changed", "msg", "downloaded")} == {
        "changed": True,
        "msg": "done",
        "downloaded": 2,
    }
    assert not {"ansible_job_id", "started", "finished", "results_file"} & set(result)
    assert action._task.async_val == 0
    assert action._task.args == {"build_dir": f"{build_dir}/", "workers": 3}
    assert action.module_args["lease_timeout"] == 300
    assert os.listdir(build_dir) == ["build.log"]
    assert not action.job.exists()


def test_the_lease_is_touched_while_the_play_lives(
    tmp_path: pathlib.Path, build_dir: pathlib.Path, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_progress_action, "_LOOK_SECONDS", 0.1)
    touched: list[float] = []

    def work(action: FakeAction) -> dict[str, t.Any]:
        lease = action.module_args["lease_file"]
        for _second in range(2):
            time.sleep(0.4)
            touched.append(time.time() - os.stat(lease).st_mtime)
        return {"changed": False}

    FakeAction({"build_dir": str(build_dir)}, work, tmp_path / "job").watched()
    assert max(touched) < 0.35


def test_a_module_that_was_killed_is_reported(
    tmp_path: pathlib.Path, build_dir: pathlib.Path, shown: list[str]
) -> None:
    def work(action: FakeAction) -> None:
        # A process that has ended.
        ended = subprocess.Popen(["true"])
        ended.wait()
        pathlib.Path(action.module_args["lease_file"]).write_text(f"{ended.pid}\n")

    result = FakeAction({"build_dir": str(build_dir)}, work, tmp_path / "job").watched()
    assert result["failed"]
    assert "pkg_fetch ended without a result: its process was killed" in result["msg"]
    assert f"{build_dir}/log/pkg_fetch.log" in result["msg"]
    assert "Run the play again" in result["msg"]


def test_output_that_is_no_result_is_reported_likewise(
    tmp_path: pathlib.Path, build_dir: pathlib.Path, shown: list[str]
) -> None:
    # What the wrapper of background jobs writes when the module printed nothing.
    job = {"failed": True, "cmd": "x", "data": "Killed", "stderr": "", "msg": "Traceback ...", "ansible_job_id": "j1.1"}
    result = FakeAction({"build_dir": str(build_dir)}, lambda action: job, tmp_path / "job").watched()
    assert "pkg_fetch ended without a result" in result["msg"]
    assert result["module_stdout"] == "Killed"


def test_a_lost_connection_is_waited_for(
    tmp_path: pathlib.Path, build_dir: pathlib.Path, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_progress_action, "_LOOK_SECONDS", 0.05)

    def work(action: FakeAction) -> dict[str, t.Any]:
        time.sleep(0.3)
        return {"changed": False, "msg": "done"}

    class Unsteady(FakeAction):
        failures = 2

        def _low_level_execute_command(self, cmd: str, *args: t.Any, **kwargs: t.Any) -> dict[str, t.Any]:
            if "touch -c" in cmd and self.failures:
                self.failures -= 1
                raise AnsibleConnectionFailure("Broken pipe")
            return super()._low_level_execute_command(cmd)

    action = Unsteady({"build_dir": str(build_dir)}, work, tmp_path / "job")
    assert action.watched()["msg"] == "done"
    assert len(shown) == 2
    assert "The connection to the build host was lost (Broken pipe)" in shown[0]
    assert t.cast(t.Any, action._connection).resets == 2


def test_an_interrupted_watch_takes_the_lease_away(
    tmp_path: pathlib.Path, build_dir: pathlib.Path, shown: list[str]
) -> None:
    leases: list[pathlib.Path] = []

    class Interrupted(FakeAction):
        def _low_level_execute_command(self, cmd: str, *args: t.Any, **kwargs: t.Any) -> dict[str, t.Any]:
            if "touch -c" in cmd:
                leases.append(pathlib.Path(self.module_args["lease_file"]))
                assert leases[0].exists()
                raise TimeoutError("The task ran into its time limit.")
            return super()._low_level_execute_command(cmd)

    with pytest.raises(TimeoutError):
        Interrupted({"build_dir": str(build_dir)}, lambda action: None, tmp_path / "job").watched()
    assert not leases[0].exists()


@pytest.mark.parametrize("path", ["", "/nonexistent/build", "relative/build", "/srv/$HOME/build"])
def test_without_a_build_directory_the_module_runs_as_always(tmp_path: pathlib.Path, path: str) -> None:
    action = FakeAction({"build_dir": path} if path else {}, lambda action: None, tmp_path / "job")
    assert action.watched()["msg"] == "plain"
    assert action.plain_runs == 1


def test_a_look_at_a_quiet_job_takes_hardly_any_processes(build_dir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    job = tmp_path / "job"
    job.write_text('{"started": true, "finished": false}')
    script = _progress_action._LOOK.format(
        lease=shlex.quote(str(build_dir / "lease")),
        job=shlex.quote(str(job)),
        log=shlex.quote(str(build_dir / "build.log")),
        next_line=1,
        steps=4,
        step=0.05,
        mark=MARK,
    )
    trace = subprocess.run(["/bin/sh", "-xc", script], capture_output=True, text=True, check=True)
    assert trace.stderr.count("+ sleep") == 4
    assert trace.stderr.count("+ cat") == 1
    look = Look.parse(trace.stdout, MARK)
    assert look is not None
    assert not look.finished
