# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands in a tree, and what they cannot do there."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError, CommandError
from ansible_collections.os_image.composer.tests.support.host_network import HostNetwork, host_network
from ansible_collections.os_image.composer.tests.support.tiny_debian import (
    PYTHON_ENVIRONMENT,
    copy_programs,
    needs_root,
)

pytestmark = needs_root
__all__ = ("host_network",)


def shell(sandbox: Sandbox, script: str) -> str:
    """Run a script and return what it says."""
    return sandbox.run(["/bin/sh", "-c", script]).text


def test_the_host_is_out_of_sight(sandbox: Sandbox, tmp_path: pathlib.Path) -> None:
    seen = shell(sandbox, "cat /proc/self/mounts; ls /; ls /proc | grep -c '^[0-9]'")
    assert str(tmp_path) not in seen
    assert "tests" not in shell(sandbox, "cd /; ls -d ../../../../* ; ls /proc/1/root/")
    mounts = [line.split()[1] for line in seen.splitlines() if line.count(" ") == 5]
    assert mounts[0] == "/"
    assert {mount for mount in mounts if mount.count("/") == 1} == {"/", "/dev", "/proc", "/run", "/sys", "/tmp"}


def test_only_harmless_devices(sandbox: Sandbox) -> None:
    devices = shell(sandbox, "ls /dev").split()
    assert set(devices) == {
        *("fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero")
    }
    assert shell(sandbox, "echo x > /dev/null && ls /dev/pts") == "ptmx\n"


def test_the_environment_is_empty_but_for_ours(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "x")
    names = {line.partition("=")[0] for line in shell(sandbox, "env").splitlines()}
    assert "SECRET_OF_THE_HOST" not in names
    assert {"DEBIAN_FRONTEND", "SOURCE_DATE_EPOCH", "SYSTEMD_OFFLINE", "PATH"} <= names


def test_sysfs_cannot_be_written(sandbox: Sandbox) -> None:
    assert "Read-only file system" in shell(sandbox, "chmod 700 /sys/kernel 2>&1 || true")


def test_only_a_loopback_device(sandbox: Sandbox) -> None:
    seen = shell(sandbox, "cat /proc/net/dev")
    assert [line.split(":")[0].strip() for line in seen.splitlines()[2:]] == ["lo"]
    assert "UP" in shell(sandbox, "ip -o link show lo")


def test_a_network_of_its_own_when_asked_for(sandbox: Sandbox, tree: pathlib.Path) -> None:
    (tree / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    done = sandbox.run(["cat", "/proc/net/dev", "/etc/resolv.conf"], network=True)
    assert [line.split(":")[0].strip() for line in done.text.splitlines() if ":" in line] == ["lo", "tap0"]
    assert "nameserver 10.0.2.3" in done.text


@pytest.mark.parametrize("target", ["/proc/1/root/etc/hosts", "/proc/self/fd/0", "/dev/fd/0", "../sys/x"])
def test_a_resolver_that_leads_into_the_kernels_directories(sandbox: Sandbox, tree: pathlib.Path, target: str) -> None:
    (tree / "etc/resolv.conf").symlink_to(target)
    with pytest.raises(ChrootError, match=r"^The path /etc/resolv\.conf of the image leads to /\w+/\S+, which is the"):
        sandbox.run(["true"], network=True)
    with pytest.raises(ChrootError, match=r"^The path /etc/resolv\.conf of the image leads to /\w+/\S+, which is the"):
        sandbox.run(["true"], binds={"/etc/resolv.conf": "/etc/hosts"})


def test_no_resolver_is_left_behind(sandbox: Sandbox, tree: pathlib.Path) -> None:
    done = sandbox.run(["cat", "/etc/resolv.conf"], network=True)
    assert done.text == "nameserver 10.0.2.3\n"
    assert not (tree / "etc/resolv.conf").exists()


def test_what_the_network_reaches(tree: pathlib.Path, runner: CommandRunner, host_network: HostNetwork) -> None:
    """From a host with a neighbour that serves something; the neighbour also has a metadata service's address."""
    copy_programs(tree, ["curl"])
    script = "; ".join(f"curl -sS -m 5 -o /dev/null {url} && echo {url} reached" for url in host_network.urls)
    said = host_network.run_in(str(tree), ["/bin/sh", "-c", f"{script}; true"])
    assert f"{host_network.neighbour} reached" in said
    for url in (host_network.loopback, host_network.metadata):
        assert f"{url} reached" not in said
    # From the host itself all can be reached, so the test would notice.
    for url in host_network.urls:
        assert host_network.fetch(url) == 0
    # Not even by the address that slirp4netns has for the host.
    hosts = host_network.loopback.replace("127.0.0.1", "10.0.2.2")
    said = host_network.run_in(str(tree), ["curl", "-sS", "-m", "5", hosts])
    assert "curl:" in said


def test_abstract_sockets_of_the_host_are_not_there(sandbox: Sandbox) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0os-image-composer-{os.getpid()}")
        assert "os-image-composer" in pathlib.Path("/proc/net/unix").read_text()
        for network in (False, True):
            assert "os-image-composer" not in sandbox.run(["cat", "/proc/net/unix"], network=network).text


def test_nothing_but_the_tree_is_left(sandbox: Sandbox, tree: pathlib.Path) -> None:
    shell(sandbox, "touch /etc/kept /run/gone /tmp/gone /dev/gone; (sleep 1000 &)")
    assert (tree / "etc/kept").exists()
    assert [os.listdir(tree / name) for name in ("run", "tmp", "dev", "proc", "sys")] == [[], [], [], [], []]
    assert str(tree) not in pathlib.Path("/proc/self/mounts").read_text()
    assert _processes("sleep 1000") == []


def test_an_absolute_link_does_not_lead_a_stub_to_the_host(sandbox: Sandbox, tree: pathlib.Path) -> None:
    (tree / "usr/bin/true").unlink()
    (tree / "usr/bin/true").symlink_to("/usr/bin/false")
    done = sandbox.run(["/usr/bin/true"], stubs=["/usr/bin/true", "/usr/bin/no-such-program"])
    assert done.rc == 0
    assert sandbox.run(["/usr/bin/true"], check=False).rc == 1
    assert subprocess.run(["/usr/bin/false"], check=False).returncode == 1


def test_files_and_input(sandbox: Sandbox) -> None:
    files = {"/run/some/script": "#!/bin/sh\ncat; echo $0\n"}
    assert sandbox.run(["/run/some/script"], files=files, data=b"secret\n").text == "secret\n/run/some/script\n"


@pytest.mark.parametrize(("script", "status"), [("exit 3", 3), ("kill -9 $$", 137), ("exec /no/such/program", 127)])
def test_failures_say_what_was_tried(sandbox: Sandbox, script: str, status: int) -> None:
    with pytest.raises(CommandError, match=f"^Doing this ended with status {status}") as caught:
        sandbox.run(["/bin/sh", "-c", script], what="Doing this")
    assert caught.value.details["rc"] == status


def test_sync_costs_nothing(sandbox: Sandbox, tree: pathlib.Path) -> None:
    shell(sandbox, "sync; sync -f /etc/passwd; sync -d /etc/passwd")
    # A program that looks at what fsync returns, and one that is not there at all.
    assert "Function not implemented" not in shell(sandbox, "cp /etc/passwd /tmp/x && sync /tmp/x 2>&1")


def test_kill_leaves_no_process_and_no_mount(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    script = (
        "from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox\n"
        "from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner\n"
        f"Sandbox({str(tree)!r}, CommandRunner(), source_date_epoch=0).run(\n"
        "    ['/bin/sh', '-c', 'touch /etc/started; (sleep 4321 &); sleep 4321; true'])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], env=PYTHON_ENVIRONMENT)
    try:
        _wait_for((tree / "etc/started").exists)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    _wait_for(lambda: not _processes("sleep 4321"))
    assert str(tree) not in pathlib.Path("/proc/self/mounts").read_text()
    assert os.listdir(tree / "proc") == []


def _processes(command: str) -> list[str]:
    lines = subprocess.run(["ps", "-eo", "args"], stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
    return [line for line in lines if line == command]


def _wait_for(condition: object) -> None:
    assert callable(condition)
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
