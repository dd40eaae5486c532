# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A hostile program in each place where programs of a tree run: whatever it tries is refused."""

from __future__ import annotations

import os
import pathlib
import shutil
import stat
import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.deb import DebInstaller
from ansible_collections.os_image.composer.plugins.module_utils._chroot.initramfs import (
    InitramfsSettings,
    make_initramfs,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.rpm import RpmInstaller
from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles
from ansible_collections.os_image.composer.tests.support.sandbox_probe import build_probe, judge
from ansible_collections.os_image.composer.tests.support.template_data import repositories
from ansible_collections.os_image.composer.tests.support.tiny_debian import EPOCH, Deb, needs_root
from ansible_collections.os_image.composer.tests.support.tiny_rpm import Rpm

pytestmark = needs_root

PROBE = "/usr/bin/probe"
REPORT = "/var/log/probe"


@pytest.fixture
def host_file(tmp_path: pathlib.Path) -> pathlib.Path:
    """Make a file of the host that nobody in a sandbox may see."""
    path = tmp_path / "of-the-host"
    path.write_text("secret\n")
    return path


def put(probe: pathlib.Path, tree: pathlib.Path) -> None:
    """Put the program into a tree, and a node of the host's first disk, as if a package had brought it."""
    shutil.copy2(probe, tree / PROBE[1:])
    os.mknod(tree / "probe-node", stat.S_IFBLK | 0o666, os.makedev(8, 0))
    os.mknod(tree / "var/probe-node", stat.S_IFCHR | 0o666, os.makedev(1, 3))


def script(host_file: pathlib.Path) -> str:
    """Return a shell script that runs the program and keeps what it says."""
    return f"{PROBE} {host_file} {host_file.parent} > {REPORT} 2>&1 || true\n"


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Build the program."""
    return build_probe(tmp_path_factory.mktemp("probe"))


def test_the_probe_can_tell(probe: pathlib.Path) -> None:
    """Outside of a sandbox root gets these things done."""
    command = [
        "unshare",
        "--mount",
        "--net",
        "--uts",
        "--ipc",
        "--pid",
        "--fork",
        str(probe),
        "--harmless",
        "/etc/passwd",
    ]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout.decode()
    for attempt in ("mount tmpfs", "unshare mount", "mknod of a disk", "sethostname", "see the host's /etc/passwd"):
        assert f"DONE {attempt}" in said


@pytest.mark.parametrize("network", [False, True])
def test_commands_and_scripts(
    sandbox: Sandbox, tree: pathlib.Path, probe: pathlib.Path, host_file: pathlib.Path, network: bool
) -> None:
    put(probe, tree)
    sandbox.run(["/bin/sh", "-c", script(host_file)], network=network)
    judge((tree / REPORT[1:]).read_text())


def test_programs_of_the_host(
    sandbox: Sandbox, tree: pathlib.Path, probe: pathlib.Path, host_file: pathlib.Path
) -> None:
    """A scriptlet that has got out of the root directory that rpm gave it."""
    put(probe, tree)
    done = sandbox.run(
        ["/packages/probe", str(host_file), str(host_file.parent)],
        outside=True,
        binds={"/packages": str(probe.parent)},
        check=False,
    )
    judge(done.text)


def test_maintainer_scripts_of_dpkg(
    base_deb: tuple[Deb, pathlib.Path],
    tmp_path: pathlib.Path,
    runner: CommandRunner,
    probe: pathlib.Path,
    host_file: pathlib.Path,
) -> None:
    root, cache = tmp_path / "root", tmp_path / "cache"
    root.mkdir()
    cache.mkdir()
    hostile = Deb("hostile", control={"postinst": f"#!/bin/sh\n{script(host_file)}"})
    sandbox = Sandbox(str(root), runner, source_date_epoch=EPOCH)
    installer = DebInstaller(
        str(root), sandbox, arch="amd64", newest=EPOCH, workers=2, progress=Progress("test"), documentation=True
    )
    installer.prepare()
    installer.install([base_deb[0].locked(base_deb[1])])
    put(probe, root)
    installer.install([hostile.locked(hostile.build(cache))])
    judge((root / REPORT[1:]).read_text())


def test_scriptlets_of_rpm(
    base_rpm: tuple[Rpm, pathlib.Path],
    tmp_path: pathlib.Path,
    runner: CommandRunner,
    probe: pathlib.Path,
    host_file: pathlib.Path,
) -> None:
    root, cache = tmp_path / "root", tmp_path / "cache"
    root.mkdir()
    cache.mkdir()
    os.link(base_rpm[1], cache / base_rpm[1].name)
    hostile = Rpm("hostile", tags=["Requires: base"], scripts={"%post": script(host_file)})
    sandbox = Sandbox(str(root), runner, source_date_epoch=EPOCH)
    installer = RpmInstaller(
        str(root),
        sandbox,
        arch="x86_64",
        newest=EPOCH,
        workers=2,
        progress=Progress("test"),
        repositories=repositories({"name": "tiny", "gpgcheck": False}),
        documentation=True,
    )
    installer.prepare()
    installer.install([base_rpm[0].locked(cache / base_rpm[1].name)])
    put(probe, root)
    installer.install([hostile.locked(hostile.build(cache))])
    judge((root / REPORT[1:]).read_text())


def test_what_makes_the_initramfs(
    sandbox: Sandbox, tree: pathlib.Path, probe: pathlib.Path, host_file: pathlib.Path
) -> None:
    put(probe, tree)
    files = TreeFiles(str(tree))
    files.write("/boot/vmlinuz-6.1.0-1-amd64", "")
    files.write("/usr/lib/modules/6.1.0-1-amd64/modules.dep", "")
    for name in ("/usr/bin/dracut", "/usr/sbin/depmod"):
        files.write(
            name, f'#!/bin/sh\n{script(host_file)}for word; do echo x > "$word"; done 2>/dev/null; true\n', mode=0o755
        )
    make_initramfs(files, sandbox, InitramfsSettings("dracut", "ext4", ()))
    judge((tree / REPORT[1:]).read_text())
