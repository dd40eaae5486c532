# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Stricter settings: what C(systemConfig.security.hardening) becomes in the tree.

They are what the Kernel Self-Protection Project, the CIS benchmarks and systemd recommend, less what common uses need:
routing (containers), router advertisements, user namespaces, several ways to a network. Each setting stands in its file
below a comment that says what it does. The files come before the template's own, so that those can say otherwise; their
names sort so that a file of the template can come after them, or before them where the first one counts (sshd).

The set C(kernel) is words on the kernel command line, see M(_boot.cmdline).
"""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.blocked_modules import BLOCKED_MODULES
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

#: A comment, and the lines that it is about.
Setting = t.Tuple[str, t.Tuple[str, ...]]

_SYSCTL_FILE = "/etc/sysctl.d/60-hardening.conf"
_CORE_SYSCTL_FILE = "/etc/sysctl.d/60-hardening-coredumps.conf"
_MODPROBE_FILE = "/etc/modprobe.d/hardening.conf"
_COREDUMP_FILE = "/etc/systemd/coredump.conf.d/60-hardening.conf"
_MANAGER_FILE = "/etc/systemd/system.conf.d/60-hardening.conf"
_LIMITS_FILE = "/etc/security/limits.d/60-hardening.conf"
_SSHD_FILE = "/etc/ssh/sshd_config.d/10-hardening.conf"

_SSHD = "/usr/sbin/sshd"
_SSHD_CONFIGS = ("/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config")
_SYSTEMD_COREDUMP = "/usr/lib/systemd/systemd-coredump"

# A hyphen before a name: kernels that do not know it are not complained about. A * is each network interface, and what
# later ones begin with; "all" alone would leave interfaces as they are that the initramfs has brought up.
_SYSCTL: t.Tuple[Setting, ...] = (
    ("Addresses of the kernel are shown to nobody, not even to root.", ("kernel.kptr_restrict = 2",)),
    ("Only root reads the kernel's messages.", ("kernel.dmesg_restrict = 1",)),
    ("Only root measures performance; kernels without a level 3 take it for 2.", ("kernel.perf_event_paranoid = 3",)),
    (
        "Another kernel cannot be loaded into the running one. This rules out kdump and kexec.",
        ("-kernel.kexec_load_disabled = 1",),
    ),
    ("Addresses of programs, their libraries and their heap are random.", ("kernel.randomize_va_space = 2",)),
    (
        "Programs are traced by their parents only: gdb starts programs, but does not attach to them.",
        ("-kernel.yama.ptrace_scope = 1",),
    ),
    (
        "Only root loads BPF programs, and their machine code is blinded.",
        ("-kernel.unprivileged_bpf_disabled = 1", "-net.core.bpf_jit_harden = 2"),
    ),
    ("Only root handles page faults of the kernel in user space.", ("-vm.unprivileged_userfaultfd = 0",)),
    (
        "Line disciplines of terminals are not loaded on demand, and nobody types into another's terminal.",
        ("-dev.tty.ldisc_autoload = 0", "-dev.tty.legacy_tiocsti = 0"),
    ),
    (
        "Links in directories that all may write to are followed for their owners only.",
        ("fs.protected_symlinks = 1", "fs.protected_hardlinks = 1"),
    ),
    (
        "Files and pipes of others in such directories are not opened by mistake.",
        ("fs.protected_fifos = 2", "fs.protected_regular = 2"),
    ),
    (
        "Redirects are neither believed nor sent.",
        (
            "net.ipv4.conf.*.accept_redirects = 0",
            "net.ipv4.conf.*.secure_redirects = 0",
            "net.ipv4.conf.*.send_redirects = 0",
            "-net.ipv6.conf.*.accept_redirects = 0",
        ),
    ),
    (
        "Senders do not choose the route of their packets.",
        ("net.ipv4.conf.*.accept_source_route = 0", "-net.ipv6.conf.*.accept_source_route = 0"),
    ),
    (
        "Packets from addresses that no interface leads to are dropped. The strict form (1) would break hosts with\n"
        'several ways to a network. Not "all": container networks turn it off for single interfaces.',
        ("net.ipv4.conf.default.rp_filter = 2", "net.ipv4.conf.*.rp_filter = 2", "-net.ipv4.conf.all.rp_filter"),
    ),
    ("A flood of connection attempts does not shut out honest ones.", ("net.ipv4.tcp_syncookies = 1",)),
    (
        "Pings to everybody are not answered, and senseless errors not logged.",
        ("net.ipv4.icmp_echo_ignore_broadcasts = 1", "net.ipv4.icmp_ignore_bogus_error_responses = 1"),
    ),
)

_CORE_SYSCTL: t.Tuple[Setting, ...] = (
    ("Programs that have changed their privileges leave no core dump.", ("fs.suid_dumpable = 0",)),
)
_NO_CORE_PATTERN: Setting = ("Core dumps go nowhere.", ("kernel.core_pattern = |/bin/false",))
_COREDUMP: t.Tuple[Setting, ...] = (
    ("A crash is logged, its memory is neither read nor kept.", ("Storage=none", "ProcessSizeMax=0")),
)
_MANAGER: t.Tuple[Setting, ...] = (("Services leave no core dumps.", ("DefaultLimitCORE=0",)),)
_LIMITS: t.Tuple[Setting, ...] = (
    ("Sessions leave no core dumps; * does not stand for root.", ("* hard core 0", "root hard core 0")),
)
_SSHD_SETTINGS: t.Tuple[Setting, ...] = (
    ("root logs in by way of another user.", ("PermitRootLogin no",)),
    ("Keys only: a password can be guessed.", ("PasswordAuthentication no", "KbdInteractiveAuthentication no")),
    ("Programs of the server do not reach the screen of the client.", ("X11Forwarding no",)),
)


def harden(files: TreeFiles, sets: t.Collection[str]) -> None:
    """Write the files of some sets of stricter settings.

    :param sets: The template's C(systemConfig.security.hardening).
    :raises ChrootError: The set V(ssh) is asked for, and there is no OpenSSH server.
    """
    if "sysctl" in sets:
        files.write(_SYSCTL_FILE, _render("sysctl", _SYSCTL))
    if "modules" in sets:
        blocked = [(comment, (f"install {name} /bin/false",)) for name, comment in BLOCKED_MODULES.items()]
        files.write(_MODPROBE_FILE, _render("modules", blocked))
    if "coredumps" in sets:
        # The pattern of systemd-coredump stays: it logs the crash.
        pattern = () if files.exists(_SYSTEMD_COREDUMP) else (_NO_CORE_PATTERN,)
        files.write(_CORE_SYSCTL_FILE, _render("coredumps", (*_CORE_SYSCTL, *pattern)))
        files.write(_COREDUMP_FILE, _render("coredumps", _COREDUMP, section="Coredump"))
        files.write(_MANAGER_FILE, _render("coredumps", _MANAGER, section="Manager"))
        files.write(_LIMITS_FILE, _render("coredumps", _LIMITS))
    if "ssh" in sets:
        if not files.exists(_SSHD):
            raise ChrootError(
                "systemConfig.security.hardening has ssh, but the image has no OpenSSH server.",
                remedy="Add the package openssh-server to systemConfig.packages, or take ssh out of the list.",
            )
        files.write(_SSHD_FILE, _render("ssh", _SSHD_SETTINGS))


def _render(name: str, settings: t.Iterable[Setting], *, section: str | None = None) -> str:
    lines = [f"# Made from systemConfig.security.hardening ({name}) of the image's template."]
    if section:
        lines += ["", f"[{section}]"]
    for comment, values in settings:
        lines += ["", *(f"# {line}" for line in comment.split("\n")), *values]
    return "\n".join(lines) + "\n"


def check_hardening(files: TreeFiles, sets: t.Collection[str]) -> None:
    """Check that the settings count, once all files are there.

    :raises ChrootError: sshd would not read its file, or would read something else first.
    """
    if "ssh" not in sets:
        return
    remedy = (
        f"Put the line 'Include {_SSHD_FILE.rpartition('/')[0]}/*.conf' at the beginning of that file, or take ssh out "
        "of systemConfig.security.hardening."
    )
    path = next((path for path in _SSHD_CONFIGS if files.exists(path)), _SSHD_CONFIGS[0])
    ours = {line.split()[0].lower() for _comment, lines in _SSHD_SETTINGS for line in lines}
    for line in files.read(path).splitlines():
        # sshd takes the first value that it reads; from a Match block on, nothing is for everybody.
        words = line.replace("=", " ", 1).replace('"', "").split()
        keyword = words[0].lower() if words else ""
        if keyword == "include" and any(word in (_SSHD_FILE, "/etc/ssh/sshd_config.d/*.conf") for word in words[1:]):
            return
        if keyword == "match":
            break
        if keyword in ours:
            raise ChrootError(
                f"{path} of the image has its own {words[0]} before it includes {_SSHD_FILE}, so that the stricter "
                "setting would have no effect.",
                remedy=remedy,
            )
    raise ChrootError(f"{path} of the image does not include {_SSHD_FILE}, so that it has no effect.", remedy=remedy)


__all__ = ("check_hardening", "harden")
