# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Live progress of the stages.

Ansible shows nothing of a module that is running. The action plugins of the stages therefore start their module in
the background, as C(async) does, and watch it: each look is one shell command on the build host that waits for news,
then tells the new lines of C({build_dir}/build.log) and, in the end, the module's result. It also touches the module's
lease file; a module whose lease is no longer touched, because the play was cancelled or the controller died, stops by
itself.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import shlex
import time
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.module_utils.common.text.converters import to_text
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible.vars.clean import remove_internal_keys

Result = t.Dict[str, t.Any]

display = Display()

#: Seconds without a new line after which a sign of life is shown; AWX ends jobs that are silent for long.
HEARTBEAT_SECONDS = 60.0

# The background job's own time limit. The lease ends an abandoned module much sooner.
_TIME_LIMIT_SECONDS = 7 * 24 * 3600

# How long one look waits for news on the build host, and how often it looks there. A quick stage is looked at often,
# so that it costs little; a long one seldom, so that watching takes no processor time from it.
_LOOK_SECONDS = 2.0
_QUICK_STEP_SECONDS = 0.05
_SLOW_STEP_SECONDS = 0.25
_QUICK_PHASE_SECONDS = 3.0

# A lost connection to a remote build host may come back; the connection to this very machine cannot get lost.
_LEASE_SECONDS_LOCAL = 20
_LEASE_SECONDS_REMOTE = 300

# Makes the lease and tells how many lines build.log has; says nothing where there is no build directory.
_PREPARE = """\
if [ -d {build_dir} ] && : > {lease}; then
  printf '{mark} %s\\n' "$(cat {log} 2>/dev/null | wc -l)"
fi"""

# The first line of the lease is the module's process id, once the module has begun. Only "sleep" is a process: the
# rest is done by the shell itself.
_LOOK = """\
touch -c {lease}
alive() {{ pid=; read -r pid < {lease}; [ -z "$pid" ] || [ -d "/proc/$pid" ]; }} 2>/dev/null
running() {{ job=; read -r job < {job}; case "$job" in *'"finished": false'*) alive;; *) false;; esac; }} 2>/dev/null
news="$(tail -n +{next_line} {log} 2>/dev/null; printf .)"
n={steps}
while [ $n -gt 0 ] && [ "$news" = . ] && running; do
  sleep {step}
  n=$((n - 1))
  if [ {log} -nt {lease} ]; then news=; fi
done
state=ended
if alive; then state=alive; fi
printf '{mark} job %s\\n' "$state"
cat {job} 2>/dev/null
printf '\\n{mark} log\\n'
tail -n +{next_line} {log} 2>/dev/null
printf '{mark} end\\n'"""


@dataclasses.dataclass
class Look:
    """What one look at the build host told.

    :ivar job: The job file's text: the module's result, once it has ended.
    :ivar alive: Whether the module's process is there, or has not begun yet.
    :ivar lines: New complete lines of C(build.log).
    """

    job: str
    alive: bool
    lines: list[str]

    @property
    def finished(self) -> bool:
        """Whether the job file holds the module's result."""
        return bool(self.job) and '"finished": false' not in self.job

    @classmethod
    def parse(cls, output: str, mark: str) -> Look | None:
        """Read what the shell command printed; V(None) when it was cut off.

        It is read by lines: a terminal between here and there ends them with a carriage return too.
        """
        job: list[str] = []
        log: list[str] = []
        current: list[str] | None = None
        alive = True
        for line in output.splitlines():
            if line == f"{mark} end":
                return cls("".join(job).strip(), alive, log)
            if line.startswith(f"{mark} job "):
                current, alive = job, line.endswith(" alive")
            elif line == f"{mark} log":
                current = log
            elif line.endswith(f"{mark} end"):
                # The last line was being written; it is taken, whole, by the next look.
                return cls("".join(job).strip(), alive, log)
            elif current is not None:
                current.append(line)
        return None


def milestone_of(line: str, stage: str) -> str | None:
    """Return what a line of C(build.log) tells about the stage; V(None) when it is another stage's line.

    >>> milestone_of("2026-11-23T08:10:00Z pkg_fetch [Packages] Downloading packages (120/245 cached)", "pkg_fetch")
    '[Packages] Downloading packages (120/245 cached)'
    """
    _time, _blank, rest = line.partition(" ")
    name, _blank, message = rest.partition(" ")
    return message if name == stage and message.startswith("[") else None


def format_elapsed(seconds: float) -> str:
    """Return a time span in words: C(45 s), C(12 min 5 s)."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Watch:
    """The watching of one background module: what was seen, and what is shown.

    :param label: Names the host in each line; the events of AWX carry no host.
    :param show: Prints one line; V(None) shows nothing (C(no_log)).
    """

    def __init__(self, *, stage: str, label: str, show: t.Callable[[str], None] | None, seen: int, now: float) -> None:
        self.stage = stage
        self.seen = seen
        self.last_milestone = ""
        self._label = label
        self._show = show
        self._started = now
        self._last_shown = now

    def tell(self, look: Look, *, now: float) -> None:
        """Show the new milestones, or a sign of life when there was none for long."""
        self.seen += len(look.lines)
        for line in look.lines:
            message = milestone_of(line, self.stage)
            if message is not None:
                self.last_milestone = message
                self._print(message, now)
        if now - self._last_shown >= HEARTBEAT_SECONDS:
            since = f", last: {self.last_milestone}" if self.last_milestone else ""
            self._print(f"{self.stage} is still working ({format_elapsed(now - self._started)}{since})", now)

    def step(self, *, now: float) -> float:
        """Return how many seconds the next look pauses between two glances."""
        return _QUICK_STEP_SECONDS if now - self._started < _QUICK_PHASE_SECONDS else _SLOW_STEP_SECONDS

    def _print(self, message: str, now: float) -> None:
        self._last_shown = now
        if self._show is not None:
            self._show(f"[{self._label}] {message}")


class ProgressActionBase(ActionBase):
    """Runs the module of the same name in the background, and displays its milestones live."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        """Run the module; see M(ansible.plugins.action)."""
        result: Result = super().run(tmp, task_vars)
        variables = task_vars or {}
        if self._task.async_val or self._task.check_mode or self._connection.has_native_async:
            # Whoever gives `async` watches by themselves; a dry run is over at once.
            wrap_async = bool(self._task.async_val) and not self._connection.has_native_async
            result.update(self._execute_module(task_vars=variables, wrap_async=wrap_async))
            return result
        result.update(self._run_watched(variables))
        return result

    @property
    def _stage(self) -> str:
        return str(self._task.action).rpartition(".")[2]

    def _run_watched(self, variables: dict[str, t.Any]) -> Result:
        args = dict(self._task.args)
        build_dir = self._build_directory(args)
        mark = f"=={secrets.token_hex(8)}=="
        lease = args.get("lease_file") or f"{build_dir}/.lease.{secrets.token_hex(8)}"
        lines_before = self._prepare(build_dir, lease, mark) if build_dir else None
        if lines_before is None:
            # There is no build directory to watch; the module knows best what to say about it.
            return self._execute_module(task_vars=variables)
        timeout = float(args.get("lease_timeout", self._default_lease()))
        args.update(lease_file=lease, lease_timeout=timeout)
        watch = Watch(
            stage=self._stage,
            label=self._label(variables),
            show=None if self._task.no_log else display.display,
            seen=lines_before,
            now=time.monotonic(),
        )
        job = ""
        try:
            started = self._start(args, variables)
            job = str(started.get("results_file", ""))
            if started.get("failed") or not job:
                return started
            return self._await(watch, build_dir, lease, job, mark, timeout)
        finally:
            # Also when the task runs into its own time limit: without its lease the module stops within a second.
            self._shell(f"rm -f {shlex.quote(lease)} {shlex.quote(job)}", quiet=True)

    def _build_directory(self, args: Result) -> str:
        """Return the build directory as the module will see it; empty when that cannot be told from here."""
        path = str(args.get("build_dir") or "")
        if path.startswith("~"):
            path = self._remote_expand_user(path)
        return path.rstrip("/") if path.startswith("/") and "$" not in path else ""

    def _default_lease(self) -> int:
        local = self._connection.transport == "local"
        return _LEASE_SECONDS_LOCAL if local else _LEASE_SECONDS_REMOTE

    def _label(self, variables: dict[str, t.Any]) -> str:
        host = str(variables.get("inventory_hostname", "localhost"))
        delegate = self._task.delegate_to
        return f"{host} -> {delegate}" if delegate else host

    def _prepare(self, build_dir: str, lease: str, mark: str) -> int | None:
        output = self._shell(
            _PREPARE.format(
                build_dir=shlex.quote(build_dir),
                lease=shlex.quote(lease),
                log=shlex.quote(f"{build_dir}/build.log"),
                mark=mark,
            )
        )
        for line in (output or "").splitlines():
            if line.startswith(mark):
                return int(line.rpartition(" ")[2])
        return None

    def _start(self, args: Result, variables: dict[str, t.Any]) -> Result:
        # The time limit of the background job is taken from the task. It must be gone again afterwards, or the
        # executor waits for the job once more.
        self._task.async_val = _TIME_LIMIT_SECONDS
        try:
            return t.cast(Result, self._execute_module(module_args=args, task_vars=variables, wrap_async=True))
        finally:
            self._task.async_val = 0

    def _await(self, watch: Watch, build_dir: str, lease: str, job: str, mark: str, timeout: float) -> Result:
        # A module that cannot be reached stops by itself after `timeout`; somewhat later its result can be fetched,
        # or the host is really gone.
        patience = max(timeout, _LEASE_SECONDS_REMOTE) + 60
        last_contact = time.monotonic()
        vanished = 0
        play = os.getppid()
        while True:
            if os.getppid() != play:
                # A killed play leaves its workers behind; this one must not keep the stage alive.
                raise AnsibleActionFail(f"The play that started {watch.stage} is gone.")
            now = time.monotonic()
            step = watch.step(now=now)
            try:
                output = self._shell(
                    _LOOK.format(
                        lease=shlex.quote(lease),
                        job=shlex.quote(job),
                        log=shlex.quote(f"{build_dir}/build.log"),
                        next_line=watch.seen + 1,
                        steps=int(_LOOK_SECONDS / step),
                        step=step,
                        mark=mark,
                    )
                )
                look = Look.parse(output, mark)
                if look is None:
                    raise AnsibleConnectionFailure("The answer of the build host was cut off.")
            except AnsibleConnectionFailure as exc:
                lost = time.monotonic() - last_contact
                if lost > patience:
                    raise
                display.warning(
                    f"[{watch.stage}] The connection to the build host was lost ({to_text(exc)}); "
                    f"the stage goes on there, trying again (since {format_elapsed(lost)})."
                )
                self._reconnect()
                time.sleep(_LOOK_SECONDS)
                continue
            last_contact = time.monotonic()
            watch.tell(look, now=last_contact)
            if look.finished:
                return self._result(look.job, watch.stage, build_dir)
            # The job file is written a moment after the process has ended.
            vanished = 0 if look.alive else vanished + 1
            if vanished > 3:
                return self._vanished(watch.stage, build_dir)
            if vanished or not look.job:
                time.sleep(0.2)

    def _reconnect(self) -> None:
        try:
            self._connection.reset()
        except Exception as exc:
            # Not every connection can be reset; the next command opens a new one anyway.
            display.vvv(f"Resetting the connection failed: {to_text(exc)}")

    def _result(self, job: str, stage: str, build_dir: str) -> Result:
        result: Result = self._parse_returned_data({"stdout": job, "rc": 0}, "legacy")
        if result.get("failed") and "data" in result and "ansible_job_id" in result:
            # The wrapper found no result in the module's output.
            vanished = self._vanished(stage, build_dir)
            return {**vanished, "module_stdout": result["data"], "module_stderr": result.get("stderr", "")}
        for key in ("ansible_job_id", "started", "finished", "results_file"):
            result.pop(key, None)
        for key in ("stdout", "stderr"):
            if key in result:
                result.setdefault(f"{key}_lines", str(result[key]).splitlines())
        remove_internal_keys(result)
        return result

    @staticmethod
    def _vanished(stage: str, build_dir: str) -> Result:
        return {
            "failed": True,
            "changed": True,
            "msg": (
                f"{stage} ended without a result: its process was killed, or the build host ran out of memory. "
                f"Its log is {build_dir}/log/{stage}.log. Run the play again: finished stages are kept."
            ),
            "log_path": f"{build_dir}/log/{stage}.log",
        }

    def _shell(self, script: str, *, quiet: bool = False) -> str:
        try:
            completed = self._low_level_execute_command(script)
        except AnsibleConnectionFailure:
            if quiet:
                return ""
            raise
        return str(completed.get("stdout", ""))


__all__ = ("HEARTBEAT_SECONDS", "Look", "ProgressActionBase", "Watch", "format_elapsed", "milestone_of")
