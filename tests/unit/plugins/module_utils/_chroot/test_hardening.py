# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stricter settings in the tree, read by the programs that they are for where those are at hand."""

from __future__ import annotations

import configparser
import pathlib
import re
import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.blocked_modules import BLOCKED_MODULES
from ansible_collections.os_image.composer.plugins.module_utils._chroot.hardening import check_hardening, harden
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles
from ansible_collections.os_image.composer.tests.support.tiny_debian import needs_root

pytestmark = needs_root

ALL = ["sysctl", "kernel", "modules", "ssh", "coredumps"]
SSHD_CONFIG = "/etc/ssh/sshd_config"
INCLUDE = "Include /etc/ssh/sshd_config.d/*.conf\n"


@pytest.fixture
def files(tmp_path: pathlib.Path) -> TreeFiles:
    """Return a tree that has nothing but an SSH server."""
    made = TreeFiles(str(tmp_path / "root"))
    pathlib.Path(made.root).mkdir()
    made.write("/usr/sbin/sshd", "", mode=0o755)
    made.write(SSHD_CONFIG, f"# Debian's\n\n{INCLUDE}\nKbdInteractiveAuthentication yes\n")
    return made


def written(files: TreeFiles) -> dict[str, str]:
    """Return all files of the tree by path."""
    root = pathlib.Path(files.root)
    return {f"/{path.relative_to(root)}": path.read_text() for path in root.rglob("*") if path.is_file()}


def settings(text: str) -> dict[str, str]:
    """Return the settings of a sysctl.d(5) file."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name.strip(): value.strip() for name, _equals, value in (line.partition("=") for line in lines)}


def test_nothing_is_written_without_being_asked_for(files: TreeFiles) -> None:
    before = written(files)
    harden(files, [])
    # The set kernel is words on the command line.
    harden(files, ["kernel"])
    assert written(files) == before


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sysctl", ["/etc/sysctl.d/60-hardening.conf"]),
        ("modules", ["/etc/modprobe.d/hardening.conf"]),
        ("ssh", ["/etc/ssh/sshd_config.d/10-hardening.conf"]),
        (
            "coredumps",
            [
                "/etc/security/limits.d/60-hardening.conf",
                "/etc/sysctl.d/60-hardening-coredumps.conf",
                "/etc/systemd/coredump.conf.d/60-hardening.conf",
                "/etc/systemd/system.conf.d/60-hardening.conf",
            ],
        ),
    ],
)
def test_each_set_has_its_files(files: TreeFiles, name: str, expected: list[str]) -> None:
    before = written(files)
    harden(files, [name])
    assert sorted(set(written(files)) - set(before)) == expected


def test_every_setting_stands_below_a_comment(files: TreeFiles) -> None:
    before = written(files)
    harden(files, ALL)
    for path, text in written(files).items():
        if path in before:
            continue
        head, *blocks = text.rstrip("\n").split("\n\n")
        assert re.fullmatch(r"# Made from systemConfig\.security\.hardening \([a-z]+\) .+", head)
        for block in blocks:
            lines = block.splitlines()
            assert lines[0].startswith("# ") or re.fullmatch(r"\[[A-Z][a-z]+\]", block), (path, block)
            assert len(lines) > 1 or lines[0].startswith("["), (path, block)


def test_sysctl_sets_what_is_recommended_and_leaves_the_network_working(files: TreeFiles) -> None:
    harden(files, ["sysctl"])
    values = settings(files.read("/etc/sysctl.d/60-hardening.conf"))
    for name, value in (
        ("kernel.kptr_restrict", "2"),
        ("kernel.dmesg_restrict", "1"),
        ("-kernel.yama.ptrace_scope", "1"),
        ("fs.protected_symlinks", "1"),
        ("net.ipv4.conf.*.accept_redirects", "0"),
        ("net.ipv4.conf.default.rp_filter", "2"),
        # Named without a value: the pattern does not touch it.
        ("-net.ipv4.conf.all.rp_filter", ""),
    ):
        assert values[name] == value
    # Containers route and have user namespaces, and IPv6 hosts get their addresses from routers.
    assert not [name for name in values if re.search(r"forward|accept_ra|userns|user_namespaces|disable_ipv6", name)]


def test_modprobe_itself_refuses_the_modules(files: TreeFiles, tmp_path: pathlib.Path) -> None:
    harden(files, ["modules"])
    command = ["modprobe", "--config", files.host_path("/etc/modprobe.d"), "--showconfig"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rules = dict(re.findall(r"^install (\S+) (.+)$", shown, re.MULTILINE))
    assert rules == dict.fromkeys(BLOCKED_MODULES, "/bin/false")
    # Containers, cloud images and live systems need these.
    assert not BLOCKED_MODULES.keys() & {
        "overlay",
        "squashfs",
        "udf",
        "isofs",
        "llc",
        "bridge",
        "br_netfilter",
        "vsock",
    }


def test_core_dumps_are_neither_made_nor_kept(files: TreeFiles) -> None:
    harden(files, ["coredumps"])
    for path, section, expected in (
        ("coredump.conf.d", "Coredump", {"Storage": "none", "ProcessSizeMax": "0"}),
        ("system.conf.d", "Manager", {"DefaultLimitCORE": "0"}),
    ):
        parser = configparser.ConfigParser()
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        parser.read_string(files.read(f"/etc/systemd/{path}/60-hardening.conf"))
        assert dict(parser[section]) == expected
    assert "\n* hard core 0\nroot hard core 0\n" in files.read("/etc/security/limits.d/60-hardening.conf")
    values = settings(files.read("/etc/sysctl.d/60-hardening-coredumps.conf"))
    assert values == {"fs.suid_dumpable": "0", "kernel.core_pattern": "|/bin/false"}
    # Where systemd logs crashes, it goes on doing so.
    files.write("/usr/lib/systemd/systemd-coredump", "", mode=0o755)
    harden(files, ["coredumps"])
    assert settings(files.read("/etc/sysctl.d/60-hardening-coredumps.conf")) == {"fs.suid_dumpable": "0"}


def test_ssh_takes_keys_only_and_not_of_root(files: TreeFiles) -> None:
    harden(files, ["ssh"])
    check_hardening(files, ["ssh"])
    lines = files.read("/etc/ssh/sshd_config.d/10-hardening.conf").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == [
        "PermitRootLogin no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "X11Forwarding no",
    ]


def test_ssh_needs_a_server(files: TreeFiles) -> None:
    files.remove("/usr/sbin/sshd")
    with pytest.raises(ChrootError, match=r"the image has no OpenSSH server\. Add the package openssh-server"):
        harden(files, ["ssh"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("", "does not include /etc/ssh/sshd_config.d/10-hardening.conf, so that it has no effect. Put the line"),
        (f"Match User x\n{INCLUDE}", "does not include"),
        ("Include /etc/ssh/other.d/*.conf\n", "does not include"),
        (f"permitrootlogin yes\n{INCLUDE}", "has its own permitrootlogin before it includes"),
        (f"PasswordAuthentication=yes\n{INCLUDE}", "has its own PasswordAuthentication before it includes"),
    ],
)
def test_ssh_settings_that_would_not_count(files: TreeFiles, config: str, message: str) -> None:
    harden(files, ["ssh"])
    files.write(SSHD_CONFIG, config)
    with pytest.raises(ChrootError) as caught:
        check_hardening(files, ["ssh"])
    assert message in str(caught.value)
    check_hardening(files, ["sysctl"])


def test_the_configuration_may_lie_where_vendors_have_it(files: TreeFiles) -> None:
    harden(files, ["ssh"])
    files.remove(SSHD_CONFIG)
    files.write(f"/usr{SSHD_CONFIG}", f'Include "/etc/ssh/sshd_config.d/*.conf"\nPermitRootLogin yes\n{INCLUDE}')
    check_hardening(files, ["ssh"])
