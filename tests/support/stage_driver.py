# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A driver of modules: runs them as Ansible does, as processes of the distribution's Python, and measures them."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
import typing as t

#: The checkout.
ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))

#: The seven stages, in their order.
STAGES: t.Sequence[str] = (
    "image_template_validate",
    "pkg_resolve",
    "pkg_fetch",
    "chroot_configure",
    "disk_compose",
    "image_sign",
    "image_finalize",
)

Result = t.Dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Run:
    """What a module did.

    :ivar result: What it returned.
    :ivar wall: Seconds from its start to its end.
    :ivar cpu: User and system seconds of the module and of all programs that it waited for.
    :ivar peak: KiB of resident memory of the module or of its largest program.
    """

    result: Result
    wall: float
    cpu: float
    peak: int

    @property
    def failed(self) -> bool:
        """Whether the module has failed."""
        return bool(self.result.get("failed"))

    @property
    def message(self) -> str:
        """What the module says to the user."""
        return str(self.result.get("msg", ""))


def module_argv(name: str) -> t.List[str]:
    """Return the command line of a module; its arguments go to its standard input."""
    return [sys.executable, os.path.join(ROOT, "plugins", "modules", f"{name}.py")]


def module_environment() -> t.Dict[str, str]:
    """Return an environment in which a module finds its collection."""
    return {**os.environ, "PYTHONPATH": os.path.join(ROOT, "collections"), "PYTHONDONTWRITEBYTECODE": ""}


def module_input(args: t.Mapping[str, t.Any], *, check_mode: bool = False) -> bytes:
    """Return what a module reads from its standard input."""
    internal = {"_ansible_check_mode": check_mode, "_ansible_diff": True}
    return json.dumps({"ANSIBLE_MODULE_ARGS": {**args, **internal}}).encode("utf-8")


def start_module(
    name: str, args: t.Mapping[str, t.Any], *, check_mode: bool = False, prefix: t.Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """Start a module in the background.

    :param prefix: A program that runs it (C(unshare ...), C(setpriv ...)).
    """
    process = subprocess.Popen(
        [*prefix, *module_argv(name)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=module_environment(),
    )
    assert process.stdin is not None
    process.stdin.write(module_input(args, check_mode=check_mode))
    process.stdin.close()
    # communicate() must not write to it again.
    process.stdin = None
    return process


def finished_module(process: subprocess.Popen[bytes], *, started: float) -> Run:
    """Wait for a module and return what it did."""
    assert process.stdout is not None and process.stderr is not None
    stdout = process.stdout.read()
    stderr = process.stderr.read()
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    process.stderr.close()
    wall = time.monotonic() - started
    lines = [line for line in stdout.decode("utf-8", errors="replace").splitlines() if line.startswith("{")]
    if not lines:
        raise AssertionError(
            f"The module returned nothing (status {process.returncode}):\n{stderr.decode('utf-8', errors='replace')}"
        )
    return Run(json.loads(lines[-1]), round(wall, 3), round(usage.ru_utime + usage.ru_stime, 3), usage.ru_maxrss)


def run_module(
    name: str, args: t.Mapping[str, t.Any], *, check_mode: bool = False, prefix: t.Sequence[str] = ()
) -> Run:
    """Run a module to its end."""
    started = time.monotonic()
    return finished_module(start_module(name, args, check_mode=check_mode, prefix=prefix), started=started)


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """The seven stages for one template, with directories of their own.

    :ivar template: Path of the template.
    :ivar stage_args: More arguments by stage, for example C({"pkg_fetch": {"offline": True}}).
    """

    template: str
    work_dir: str
    cache_dir: str
    output_dir: str
    stage_args: t.Mapping[str, Result] = dataclasses.field(default_factory=dict)
    config_dir: str = os.path.join(ROOT, "config")
    lock_timeout: float = 60

    def args(self, stage: str, build_dir: str) -> Result:
        """Return the arguments of a stage."""
        own: Result = {"build_dir": build_dir, "lock_timeout": self.lock_timeout}
        if stage == "image_template_validate":
            own = {
                "template": self.template,
                "config_dir": self.config_dir,
                "work_dir": self.work_dir,
                "cache_dir": self.cache_dir,
                "lock_timeout": self.lock_timeout,
            }
        elif stage == "image_finalize":
            own["output_dir"] = self.output_dir
        return {**own, **self.stage_args.get(stage, {})}

    def run(self, *, until: str = STAGES[-1]) -> t.Dict[str, Run]:
        """Run the stages one after the other, up to C(until).

        :raises AssertionError: One has failed.
        """
        runs: t.Dict[str, Run] = {}
        build_dir = ""
        for stage in STAGES[: STAGES.index(until) + 1]:
            run = run_module(stage, self.args(stage, build_dir))
            if run.failed:
                raise AssertionError(f"{stage} failed: {run.message}\n{run.result.get('exception', '')}")
            build_dir = build_dir or str(run.result["build_dir"])
            runs[stage] = run
        return runs


def main() -> None:
    """Run the stages for a template and show what each took: C(stage_driver.py TEMPLATE [DIRECTORY [LAST_STAGE]])."""
    template = os.path.abspath(sys.argv[1])
    directory = os.path.abspath(sys.argv[2] if len(sys.argv) > 2 else os.path.join(ROOT, ".cache", "driver"))
    until = sys.argv[3] if len(sys.argv) > 3 else STAGES[-1]
    pipeline = Pipeline(
        template=template,
        work_dir=os.path.join(directory, "work"),
        cache_dir=os.path.join(ROOT, ".cache", "packages"),
        output_dir=os.path.join(directory, "output", os.path.splitext(os.path.basename(template))[0]),
    )
    started = time.monotonic()
    for stage, run in pipeline.run(until=until).items():
        what = run.result.get("rebuild_reason") or "nothing to do"
        print(f"{stage:25} {run.wall:7.2f} s wall {run.cpu:7.2f} s cpu {run.peak // 1024:5} MiB  {what}")
    print(f"{'all':25} {time.monotonic() - started:7.2f} s wall")


if __name__ == "__main__":
    main()
