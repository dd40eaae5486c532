# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults of a build host: killed stages, full disks, missing tools, two builds at once, no root.

Each time the message names the thing and the way out, and nothing that was good before is lost.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import pathlib
import re
import shlex
import shutil
import time
import typing as t

import pytest
from ansible_collections.os_image.composer.tests.e2e.support.image import (
    BuiltImage,
    Workspace,
    call,
    host_state,
)
from ansible_collections.os_image.composer.tests.e2e.support.template import TestTemplate, raw_template
from ansible_collections.os_image.composer.tests.support.stage_driver import (
    STAGES,
    Pipeline,
    finished_module,
    run_module,
    start_module,
)

pytestmark = pytest.mark.case("faults")

# When to kill each stage: as soon as its log says this. Some stages are killed more than once.
_MOMENTS: t.Sequence[tuple[str, str]] = (
    ("image_template_validate", r"Starting: "),
    ("pkg_resolve", r"Starting: "),
    ("pkg_fetch", r"Downloading packages"),
    ("chroot_configure", r"Starting: "),
    ("chroot_configure", r"Configuring \d+ packages"),
    ("chroot_configure", r"(?s)Configuring \d+ packages.*Configuring \d+ packages"),
    ("chroot_configure", r"[Ii]nitramfs"),
    ("disk_compose", r"Writing partition"),
    ("image_sign", r"Starting: "),
    ("image_finalize", r"Starting: "),
    ("image_finalize", r"Writing e2e-debian12-1.2.3.raw.zst|Converting"),
)

_QUICK = ("image_template_validate", "pkg_resolve", "image_sign")


@pytest.fixture(scope="module")
def image(build: t.Callable[[TestTemplate], BuiltImage]) -> BuiltImage:
    """The image that was built without any fault."""
    return build(raw_template("debian12"))


@pytest.fixture(scope="module")
def directory(workspace: Workspace, image: BuiltImage) -> t.Iterator[str]:
    """A directory for builds with faults, with a package cache of its own that lacks some packages."""
    path = workspace.path("faults")
    shutil.rmtree(path, ignore_errors=True)
    packages = os.path.join("pkgCache", image.lock["provider_id"])
    os.makedirs(os.path.join(path, "cache", "pkgCache"))
    source = os.path.join(workspace.cache_dir, packages)
    call("cp", "--archive", source, os.path.join(path, "cache", "pkgCache"))
    for package in image.lock["packages"][::8]:
        os.unlink(os.path.join(path, "cache", packages, package["filename"]))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def pipeline(workspace: Workspace, image: BuiltImage, directory: str) -> Pipeline:
    """The stages of the same image in that directory."""
    own = workspace.pipeline(image.template, directory=directory)
    lock = os.path.join(image.output_dir, "packages.lock.json")
    return Pipeline(
        template=own.template,
        work_dir=own.work_dir,
        cache_dir=os.path.join(directory, "cache"),
        output_dir=own.output_dir,
        stage_args={"pkg_resolve": {"lock_file": lock}},
    )


@pytest.fixture(scope="module")
def build_dir(pipeline: Pipeline) -> str:
    """The build directory, whether or not it exists yet."""
    found = run_module("image_template_validate", pipeline.args("image_template_validate", ""), check_mode=True)
    assert not found.failed, found.message
    return str(found.result["build_dir"])


@contextlib.contextmanager
def _host_left_alone(directory: str) -> t.Iterator[None]:
    """Check that the host is in the end as it was: mounts, loop devices, processes."""
    before = host_state()
    yield
    for _attempt in range(50):
        left = [path for path in glob.glob("/proc/[0-9]*/root") if _belongs_to(path, directory)]
        if not left:
            break
        time.sleep(0.1)
    assert left == [], "processes are left behind"
    assert host_state() == before


def _belongs_to(root: str, directory: str) -> bool:
    try:
        with open(os.path.join(os.path.dirname(root), "cmdline"), "rb") as stream:
            words = stream.read()
        return directory.encode() in words or os.readlink(root).startswith(directory)
    except OSError:
        return False


def _digests(directory: str) -> dict[str, str]:
    digests = {}
    for path in sorted(glob.glob(os.path.join(directory, "*"))):
        if os.path.isfile(path):
            digests[os.path.basename(path)] = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
    return digests


def _state(directory: str) -> dict[str, tuple[int, int, int]]:
    """Return what tells whether somebody has touched the finished files."""
    return {
        entry.name: (entry.stat().st_ino, entry.stat().st_size, entry.stat().st_mtime_ns)
        for entry in os.scandir(directory)
        if not entry.name.startswith(".")
    }


def _kill(stage: str, args: t.Mapping[str, t.Any], log: str, moment: str) -> None:
    """Start a stage and kill it, without a warning, when its log says C(moment).

    :raises AssertionError: It ended before that.
    """
    begin = os.path.getsize(log) if os.path.exists(log) else 0
    process = start_module(stage, args)
    try:
        while process.poll() is None:
            if os.path.exists(log):
                with open(log, "rb") as stream:
                    stream.seek(begin)
                    if re.search(moment, stream.read().decode("utf-8", errors="replace")):
                        break
            time.sleep(0.005)
        else:
            assert process.stdout is not None
            raise AssertionError(f"{stage} ended before it said {moment!r}: {process.stdout.read()!r}")
        # In the middle of what it has just announced.
        time.sleep(0.1 if stage == "chroot_configure" else 0.02)
    finally:
        process.kill()
        process.communicate()


def test_killed_stages(pipeline: Pipeline, build_dir: str, image: BuiltImage, directory: str) -> None:
    packages = os.path.join(pipeline.cache_dir, "pkgCache", image.lock["provider_id"])
    cached = {name: digest for name, digest in _digests(packages).items() if name.endswith(".deb")}
    for stage in STAGES:
        args = pipeline.args(stage, build_dir)
        for moment in [text for name, text in _MOMENTS if name == stage]:
            with _host_left_alone(directory):
                _kill(stage, args, os.path.join(build_dir, "log", f"{stage}.log"), moment)
            _require_honest_stamp(stage, args, build_dir, moment)
        run = run_module(stage, args)
        assert not run.failed, run.message
    after = _digests(packages)
    assert {name: after.get(name) for name in cached} == cached
    assert sorted(os.listdir(pipeline.output_dir)) == sorted(os.listdir(image.output_dir))
    # The same bytes as without all that.
    assert _digests(pipeline.output_dir) == _digests(image.output_dir)


def _require_honest_stamp(stage: str, args: t.Mapping[str, t.Any], build_dir: str, moment: str) -> None:
    """Check that a killed stage says that it is done only when it is.

    A quick one may have ended in the moment between its last words and the kill.
    """
    if os.path.exists(os.path.join(build_dir, "stages", f"{stage}.json")):
        assert stage in _QUICK, f"{stage} was killed at {moment!r}, and says that it is done"
        run = run_module(stage, args)
        assert not run.failed and not run.result["changed"], f"{moment!r}: {run.message}"


def test_finished_output_survives_a_killed_build(pipeline: Pipeline, build_dir: str, directory: str) -> None:
    finished = _state(pipeline.output_dir)
    assert finished, "this test goes on from where the one before it has ended"
    args = {**pipeline.args("image_finalize", build_dir), "rebuild": "always"}
    with _host_left_alone(directory):
        _kill("image_finalize", args, os.path.join(build_dir, "log", "image_finalize.log"), "Writing|Converting")
    assert _state(pipeline.output_dir) == finished
    run = run_module("image_finalize", pipeline.args("image_finalize", build_dir))
    assert not run.failed and not run.result["changed"], run.message
    call("sh", "-c", f"cd {shlex.quote(pipeline.output_dir)} && sha256sum --check --strict --quiet SHA256SUMS")


def test_damaged_package_in_the_cache(pipeline: Pipeline, build_dir: str, image: BuiltImage) -> None:
    packages = os.path.join(pipeline.cache_dir, "pkgCache", image.lock["provider_id"])
    victim = os.path.join(packages, image.lock["packages"][1]["filename"])
    good = pathlib.Path(victim).read_bytes()
    pathlib.Path(victim).write_bytes(b"x" + good[1:])
    run = run_module("pkg_fetch", {**pipeline.args("pkg_fetch", build_dir), "rebuild": "always"})
    assert not run.failed, run.message
    assert pathlib.Path(victim).read_bytes() == good


def test_offline_names_what_is_missing(pipeline: Pipeline, build_dir: str, image: BuiltImage) -> None:
    package = image.lock["packages"][2]
    victim = os.path.join(pipeline.cache_dir, "pkgCache", image.lock["provider_id"], package["filename"])
    os.rename(victim, f"{victim}.away")
    try:
        run = run_module("pkg_fetch", {**pipeline.args("pkg_fetch", build_dir), "offline": True})
    finally:
        os.rename(f"{victim}.away", victim)
    assert run.failed
    assert package["name"] in run.message
    assert "offline" in run.message


def test_two_builds_of_one_build_directory(pipeline: Pipeline, build_dir: str) -> None:
    args = {**pipeline.args("image_finalize", build_dir), "rebuild": "always"}
    started = time.monotonic()
    first = start_module("image_finalize", args)
    try:
        _wait_for_lock(os.path.join(build_dir, ".lock"), first.pid)
        second = run_module("disk_compose", {**pipeline.args("disk_compose", build_dir), "lock_timeout": 0.3})
    finally:
        ended = finished_module(first, started=started)
    assert second.failed
    assert f"The build directory {build_dir} is in use by process {first.pid} (image_finalize" in second.message
    assert "lock_timeout" in second.message
    assert not ended.failed, ended.message


def _wait_for_lock(path: str, pid: int) -> None:
    for _attempt in range(1000):
        if f'"pid": {pid},' in pathlib.Path(path).read_text(encoding="utf-8"):
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} never took the lock {path}")


def _in_namespace(*commands: str) -> list[str]:
    """Return a prefix that runs a module after some commands in a mount namespace of its own."""
    script = " && ".join([*commands, 'exec "$@"'])
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]


@pytest.mark.parametrize(
    ("stage", "where", "megabytes"),
    [
        ("chroot_configure", "{work}/chrootenv", 120),
        ("disk_compose", "{build}/disk", 40),
        ("image_finalize", "{output}", 60),
    ],
    ids=["root tree", "disk", "artifacts"],
)
def test_full_disk(
    pipeline: Pipeline, build_dir: str, image: BuiltImage, directory: str, stage: str, where: str, megabytes: int
) -> None:
    """Only some space is left where the stage writes."""
    finished = _state(pipeline.output_dir)
    # Without the tarball, the chroot environment is made anew.
    work = os.path.join(pipeline.work_dir, image.lock["provider_id"])
    target = where.format(work=work, build=build_dir, output=pipeline.output_dir)
    hidden = os.path.join(work, "chrootbuild")
    prefix = _in_namespace(
        f"mount -t tmpfs -o size={megabytes}m,mode=0755 full {shlex.quote(target)}",
        f"mount -t tmpfs empty {shlex.quote(hidden)}",
    )
    with _host_left_alone(directory):
        run = run_module(stage, {**pipeline.args(stage, build_dir), "rebuild": "always"}, prefix=prefix)
    assert run.failed
    assert re.search(r"[Nn]o space (is )?left|only [\d.]+ MiB are free", run.message), run.message
    assert target in run.message, run.message
    assert _state(pipeline.output_dir) == finished


@pytest.mark.parametrize(
    ("tool", "package", "stage"),
    [
        ("setpriv", "util-linux", "chroot_configure"),
        ("mke2fs", "e2fsprogs", "disk_compose"),
        ("mcopy", "mtools", "disk_compose"),
        ("sfdisk", "fdisk", "disk_compose"),
        ("qemu-img", "qemu-utils", "image_finalize"),
    ],
)
def test_missing_tool(pipeline: Pipeline, build_dir: str, tool: str, package: str, stage: str) -> None:
    finished = _state(pipeline.output_dir)
    path = shutil.which(tool)
    assert path is not None
    hide = f"mount --bind /dev/null {shlex.quote(os.path.realpath(path))}"
    run = run_module(stage, {**pipeline.args(stage, build_dir), "rebuild": "always"}, prefix=_in_namespace(hide))
    assert run.failed, f"{stage} works without {tool}"
    assert f"The program {tool!r} was not found on the build host" in run.message
    assert f"{package!r}" in run.message and "os_image.composer.build_host" in run.message
    assert _state(pipeline.output_dir) == finished


def test_not_root(pipeline: Pipeline, build_dir: str) -> None:
    # The checkout may be in a home directory of root, where nobody else reads.
    readable = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *readable, "--"]
    run = run_module("chroot_configure", pipeline.args("chroot_configure", build_dir), prefix=nobody)
    assert run.failed
    assert "runs as user 65534" in run.message
    assert "become: true" in run.message
