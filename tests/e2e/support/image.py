# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images that were built by the playbook, and machines that were booted from them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import re
import shutil
import subprocess
import time
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot_test.boot import booted_machine
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.console import LOGIN_PROMPT, Console
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.machine import MachineSpec
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.tests.e2e.support.template import PASSWORD, TestTemplate
from ansible_collections.os_image.composer.tests.support.product import product_digest
from ansible_collections.os_image.composer.tests.support.stage_driver import ROOT, Pipeline

_BOOT_SECONDS = 600.0
_COMMAND_SECONDS = 300.0
# The end-to-end tests and the matrix fetch packages into one cache.
_LOCK_SECONDS = 600


def call(*argv: str, check: bool = True, data: bytes | None = None) -> str:
    """Run a program of the host and return what it says, on either stream.

    :raises AssertionError: It ended with another status than 0, and C(check) is set.
    """
    done = subprocess.run(argv, input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = done.stdout.decode("utf-8", errors="replace")
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)} ended with status {done.returncode}:\n{text}")
    return text


# What the rotation of the matrix has meanwhile: its images, its small trees, and the emulation of other machines.
_OF_THE_MATRIX = re.compile(r"/matrix-|/pytest-of-|/binfmt_misc")


def host_state() -> dict[str, list[str]]:
    """Return what a build must leave as it was: loop devices with their files, and mounts."""
    with open("/proc/self/mountinfo", encoding="utf-8") as stream:
        # Mount point, file system, source.
        mounts = [" ".join((*line.split()[3:5], line.partition(" - ")[2])) for line in stream]
    devices = call("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE").splitlines()
    return {
        what: sorted(line for line in lines if not _OF_THE_MATRIX.search(line))
        for what, lines in (("loop devices", devices), ("mounts", mounts))
    }


@dataclasses.dataclass(frozen=True)
class Play:
    """A run of a playbook.

    :ivar recap: The counters of the last line, for example C(changed).
    """

    output: str
    recap: dict[str, int]
    seconds: float


def run_playbook(name: str, variables: t.Mapping[str, t.Any], *options: str) -> Play:
    """Run a playbook of the checkout against this machine.

    :raises AssertionError: It has failed.
    """
    started = time.monotonic()
    environment = {**os.environ, "ANSIBLE_CONFIG": os.path.join(ROOT, "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    argv = ["ansible-playbook", os.path.join(ROOT, "playbooks", name), "-e", json.dumps(variables), *options]
    done = subprocess.run(
        argv,
        check=False,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, f"{name} ended with status {done.returncode}:\n{done.stdout}"
    recap = re.findall(r"(\w+)=(\d+)", done.stdout.rpartition("PLAY RECAP")[2])
    return Play(done.stdout, {key: int(value) for key, value in recap}, time.monotonic() - started)


@dataclasses.dataclass(frozen=True)
class BuiltImage:
    """A built image and its documents.

    :ivar variables: What the playbook was given.
    :ivar before: What the host was like before the build, see C(host_state).
    """

    template: TestTemplate
    output_dir: str
    variables: dict[str, t.Any]
    play: Play
    before: dict[str, list[str]]

    def path(self, suffix: str) -> str:
        """Return the path of an output by what follows the name and the version of the image."""
        version = self.template.content["image"]["version"]
        return os.path.join(self.output_dir, f"{self.template.name}-{version}{suffix}")

    @property
    def raw(self) -> str:
        """Path of the uncompressed disk image."""
        return self.path(".raw")

    @functools.cached_property
    def manifest(self) -> dict[str, t.Any]:
        """The manifest."""
        with open(self._only(".manifest.json"), encoding="utf-8") as stream:
            return t.cast("dict[str, t.Any]", json.load(stream))

    @functools.cached_property
    def sbom_path(self) -> str:
        """Path of the SBOM."""
        return self._only(".spdx.json")

    @functools.cached_property
    def lock(self) -> dict[str, t.Any]:
        """The package lock."""
        with open(os.path.join(self.output_dir, "packages.lock.json"), encoding="utf-8") as stream:
            return t.cast("dict[str, t.Any]", json.load(stream))

    @functools.cached_property
    def partitions(self) -> dict[str, dict[str, t.Any]]:
        """The partitions of the raw image as sfdisk reads them, by their names."""
        table = json.loads(call("sfdisk", "--json", self.raw))["partitiontable"]
        assert table["label"] == "gpt"
        return {partition["name"]: partition for partition in table["partitions"]}

    def extract(self, partition: str, directory: str) -> str:
        """Copy a partition out of the raw image and return the copy's path."""
        entry = self.partitions[partition]
        target = os.path.join(directory, f"{partition}.img")
        call(
            *("dd", f"if={self.raw}", f"of={target}", "bs=1M", "conv=sparse", "iflag=skip_bytes,count_bytes"),
            *(f"skip={entry['start'] * 512}", f"count={entry['size'] * 512}", "status=none"),
        )
        os.truncate(target, entry["size"] * 512)
        return target

    def _only(self, suffix: str) -> str:
        found = [name for name in os.listdir(self.output_dir) if name.endswith(suffix)]
        assert len(found) == 1, f"{self.output_dir} has {found}, and one file *{suffix} was expected"
        return os.path.join(self.output_dir, found[0])


@dataclasses.dataclass(frozen=True)
class Workspace:
    """The directories of the tests: below C(.cache), safe to delete at any time.

    What was built is shared between the tests and kept until the product changes.
    """

    root: str

    @classmethod
    def prepare(cls) -> Workspace:
        """Make the directories, and remove those of another state of the product."""
        parent = os.path.join(ROOT, ".cache", "e2e")
        workspace = cls(os.path.join(parent, product_digest()))
        for name in os.listdir(parent) if os.path.isdir(parent) else []:
            if name != os.path.basename(workspace.root):
                # The matrix may remove it at the same time.
                shutil.rmtree(os.path.join(parent, name), ignore_errors=True)
        for path in (workspace.work_dir, workspace.cache_dir, workspace.path("templates")):
            os.makedirs(path, exist_ok=True)
        return workspace

    @property
    def work_dir(self) -> str:
        """Build directories and layers; shared by all images, so that they share layers."""
        return self.path("work")

    @property
    def cache_dir(self) -> str:
        """The package cache, shared with C(make image)."""
        return os.path.join(ROOT, ".cache", "packages")

    def path(self, *parts: str) -> str:
        """Return a path in the workspace."""
        return os.path.join(self.root, *parts)

    def build(self, template: TestTemplate, **more: t.Any) -> BuiltImage:
        """Build the image of a template by the playbook.

        :param more: More variables for the playbook.
        """
        variables = {
            "image_build_template": template.write(self.path("templates")),
            "image_build_work_dir": self.work_dir,
            "image_build_cache_dir": self.cache_dir,
            "image_build_output_dir": self.path("images", template.name),
            "image_build_lock_timeout": _LOCK_SECONDS,
            **more,
        }
        before = host_state()
        play = run_playbook("build-image.yml", variables)
        return BuiltImage(template, variables["image_build_output_dir"], variables, play, before)

    def pipeline(self, template: TestTemplate, *, directory: str) -> Pipeline:
        """Return the stages for a template without a play, with a work directory of their own."""
        return Pipeline(
            template=template.write(self.path("templates")),
            work_dir=os.path.join(directory, "work"),
            cache_dir=self.cache_dir,
            output_dir=os.path.join(directory, "output", template.name),
            lock_timeout=_LOCK_SECONDS,
        )


@dataclasses.dataclass(frozen=True)
class Guest:
    """A booted image at whose console root is logged in."""

    console: Console

    def run(self, cmd: str) -> tuple[int, str]:
        """Run a command and return its exit status and what it said."""
        done = self.console.run(cmd, timeout=_COMMAND_SECONDS)
        return done.rc, done.output

    def say(self, cmd: str) -> str:
        """Run a command that has to succeed and return what it said."""
        rc, output = self.run(cmd)
        assert rc == 0, f"In the booted image, {cmd!r} ended with status {rc}:\n{output}"
        return output.strip()

    def lines(self, cmd: str) -> list[str]:
        """Run a command that has to succeed and return the lines that it said."""
        return [line.strip() for line in self.say(cmd).splitlines() if line.strip()]


@contextlib.contextmanager
def boot(image: BuiltImage, log_dir: str, *, disk: str | None = None, **machine_options: t.Any) -> t.Iterator[Guest]:
    """Boot an image and log root in.

    :param disk: The artifact to boot; the raw one by default.
    :param machine_options: Of the machine, as C(MachineSpec) has them.
    """
    path = disk or image.raw
    log_path = os.path.join(log_dir, f"{os.path.basename(path)}.console.log")
    with boot_disk(path, log_path, **machine_options) as guest:
        yield guest


@contextlib.contextmanager
def boot_disk(path: str, log_path: str, **machine_options: t.Any) -> t.Iterator[Guest]:
    """Boot a disk whose root has the password of the tests, and log root in.

    :param log_path: Gets what the console says.
    :param machine_options: Of the machine, as C(MachineSpec) has them.
    """
    os.makedirs(os.path.dirname(log_path), exist_ok=True)
    # With a kernel of its own, an initrd is no disk.
    spec = MachineSpec(None if machine_options.get("kernel") else path, "qcow2" if path.endswith(".qcow2") else "raw")
    spec = dataclasses.replace(spec, **machine_options)
    patterns = (LOGIN_PROMPT, r"Kernel panic|emergency mode")
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(log_path, "w", encoding="utf-8"))
        booted = stack.enter_context(
            booted_machine(spec, *patterns, timeout=_BOOT_SECONDS, runner=CommandRunner(), log=log)
        )
        console = booted.machine.console
        assert booted.found and booted.found[0] == 0, f"{path} did not boot, see {log_path}:\n{console.tail()}"
        console.log_in("root", PASSWORD, timeout=_COMMAND_SECONDS)
        guest = Guest(console)
        # Units may still be starting when getty already asks for a name.
        guest.run("systemctl is-system-running --wait")
        yield guest
