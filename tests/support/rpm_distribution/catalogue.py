# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The distribution's own: packages that Debian has not, and what its maintainer scripts would do."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.tests.support.rpm_distribution.relations import DIST
from ansible_collections.os_image.composer.tests.support.rpm_distribution.rpm_package import Change, File, Plan

_OS_RELEASE = """\
NAME="Composer Linux"
ID=composer-linux
VERSION="1"
VERSION_ID=1
PLATFORM_ID="platform:cl1"
PRETTY_NAME="Composer Linux 1"
HOME_URL="https://composer.invalid/"
"""

_PRESET = """\
enable NetworkManager.service
enable chronyd.service
enable crond.service
enable dbus.socket
enable getty@.service
enable logrotate.timer
enable sshd-keygen.service
enable sshd.service
"""

_PASSWD = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
sys:x:3:3:sys:/dev:/usr/sbin/nologin
man:x:6:12:man:/var/cache/man:/usr/sbin/nologin
mail:x:8:8:mail:/var/mail:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""

_GROUPS: t.Mapping[str, int] = {
    "root": 0,
    "daemon": 1,
    "bin": 2,
    "sys": 3,
    "adm": 4,
    "tty": 5,
    "disk": 6,
    "lp": 7,
    "mail": 8,
    "wheel": 11,
    "man": 12,
    "kmem": 15,
    "dialout": 20,
    "cdrom": 24,
    "floppy": 25,
    "tape": 26,
    "audio": 29,
    "shadow": 42,
    "utmp": 43,
    "video": 44,
    "staff": 50,
    "users": 100,
    "nogroup": 65534,
}

_PROFILE = """\
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin
export PATH
for part in /etc/profile.d/*.sh; do
    [ -r "$part" ] && . "$part"
done
unset part
"""

_NSSWITCH = """\
passwd: files systemd
group: files systemd
shadow: files
gshadow: files
hosts: files dns
networks: files
protocols: files
services: files
"""

_DIRECTORIES: t.Mapping[str, int] = {
    **dict.fromkeys(
        (
            *(
                "/boot",
                "/dev",
                "/etc",
                "/home",
                "/media",
                "/mnt",
                "/opt",
                "/proc",
                "/run",
                "/srv",
                "/sys",
                "/usr",
                "/var",
            ),
            *("/etc/default", "/etc/opt", "/etc/pki", "/etc/profile.d", "/etc/skel", "/etc/sysconfig", "/etc/xdg"),
            *("/usr/bin", "/usr/games", "/usr/include", "/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/libexec"),
            *(
                "/usr/local",
                "/usr/local/bin",
                "/usr/local/etc",
                "/usr/local/lib",
                "/usr/local/sbin",
                "/usr/local/share",
            ),
            *("/usr/sbin", "/usr/share", "/usr/share/bash-completion", "/usr/share/bash-completion/completions"),
            *("/usr/share/dict", "/usr/share/doc", "/usr/share/info", "/usr/share/licenses", "/usr/share/locale"),
            *("/usr/share/man", *(f"/usr/share/man/man{section}" for section in range(1, 9)), "/usr/share/misc"),
            *("/usr/share/pixmaps", "/usr/share/zsh", "/usr/src", "/usr/lib/modules", "/usr/lib/systemd"),
            *("/usr/lib/sysusers.d", "/usr/lib/tmpfiles.d", "/usr/lib/systemd/system"),
            *("/var/cache", "/var/lib", "/var/lib/misc", "/var/local", "/var/log", "/var/mail", "/var/opt"),
            "/var/spool",
        ),
        0o755,
    ),
    "/root": 0o700,
    "/tmp": 0o1777,
    "/var/tmp": 0o1777,
}

_FILE_CONTEXTS = """\
/.*                     system_u:object_r:default_t:s0
/                   -d  system_u:object_r:root_t:s0
/boot(/.*)?             system_u:object_r:boot_t:s0
/etc(/.*)?              system_u:object_r:etc_t:s0
/etc/shadow.*       --  system_u:object_r:shadow_t:s0
/home(/.*)?             system_u:object_r:user_home_dir_t:s0
/root(/.*)?             system_u:object_r:admin_home_t:s0
/usr(/.*)?              system_u:object_r:usr_t:s0
/usr/bin(/.*)?          system_u:object_r:bin_t:s0
/usr/lib(/.*)?          system_u:object_r:lib_t:s0
/usr/sbin(/.*)?         system_u:object_r:bin_t:s0
/var(/.*)?              system_u:object_r:var_t:s0
/var/log(/.*)?          system_u:object_r:var_log_t:s0
/proc                   <<none>>
/sys                    <<none>>
"""

# Fedora's own does the same for the same reason: an unpacked directory cannot become a link.
_FILESYSTEM_PRETRANS = """\
%pretrans -p <lua>
for _, name in ipairs({"bin", "sbin", "lib"}) do
    local found = posix.stat("/" .. name)
    if found and found.type == "directory" then
        error("/" .. name .. " is a directory; it has to be a link to usr/" .. name)
    end
end
posix.mkdir("/proc")
posix.mkdir("/sys")"""

_SHELLS = """\
%post -p <lua>
local shells = {}
local file = io.open("/etc/shells", "r")
if file then
    for line in file:lines() do shells[line] = true end
    file:close()
end
file = assert(io.open("/etc/shells", "a"))
for _, shell in ipairs({"/bin/sh", "/bin/bash", "/usr/bin/sh", "/usr/bin/bash"}) do
    if not shells[shell] then file:write(shell, "\\n") end
end
file:close()"""

_LDCONFIG = """\
%transfiletriggerin -P 2000000 -p <lua> -- /usr/lib
assert(rpm.execute("/usr/sbin/ldconfig") == 0, "ldconfig failed")

%transfiletriggerpostun -P 2000000 -p <lua> -- /usr/lib
assert(rpm.execute("/usr/sbin/ldconfig") == 0, "ldconfig failed")"""

_SYSTEMD = """\
%post
if [ $1 -eq 1 ]; then
    [ -s /etc/machine-id ] || /usr/bin/systemd-machine-id-setup >/dev/null 2>&1 || :
    /usr/bin/systemctl --no-reload preset-all >/dev/null 2>&1 || :
fi

%transfiletriggerin -P 1000700 -- /usr/lib/sysusers.d
/usr/bin/systemd-sysusers || :

%transfiletriggerin -P 1000500 -- /usr/lib/tmpfiles.d
# What needs the kernel of the running system cannot be made now.
/usr/bin/systemd-tmpfiles --create --exclude-prefix=/dev --exclude-prefix=/proc --exclude-prefix=/run \\
    --exclude-prefix=/sys 2>/dev/null || :

%transfiletriggerin -P 1000400 -- /usr/lib/systemd/catalog
/usr/bin/journalctl --update-catalog || :"""

_HWDB = """\
%transfiletriggerin -P 1000300 -- /usr/lib/udev/hwdb.d
/usr/bin/systemd-hwdb update --usr || :"""

_CERTIFICATES = """\
%post
cd /usr/share/ca-certificates && find . -name '*.crt' | sed 's,^[.]/,,' | LC_ALL=C sort > /etc/ca-certificates.conf
/usr/sbin/update-ca-certificates --fresh >/dev/null"""

_INITRAMFS = """\
%transfiletriggerin -P 100 -- /usr/lib/modules /usr/lib/dracut /etc/dracut.conf.d
[ -e /etc/os-release ] || exit 0
for directory in /usr/lib/modules/*/; do
    kernel=$(basename "$directory")
    if [ -e "/boot/vmlinuz-$kernel" ]; then
        /usr/bin/dracut --force --quiet --kver "$kernel" "/boot/initramfs-$kernel.img"
    fi
done"""


def _user(name: str, home: str = "/", *groups: str) -> str:
    """Return a C(%pre) that makes a system user with a group of its own."""
    lines = [f"getent group {group} >/dev/null || groupadd --system {group}" for group in (name, *groups)]
    lines.append(
        f"getent passwd {name} >/dev/null || useradd --system --gid {name} --home-dir {home} --no-create-home "
        f"--shell /usr/sbin/nologin {name}"
    )
    return "%pre\n" + "\n".join(lines)


_CRONTAB = "%pre\ngetent group crontab >/dev/null || groupadd --system crontab"
_NEEDS_USERS = ("shadow-utils", "glibc-common")

#: By RPM name: how packages of Debian become those of the distribution.
CHANGES: t.Mapping[str, Change] = {
    "NetworkManager": Change(directories={"/etc/NetworkManager/system-connections": 0o700}),
    "bash": Change(links={"/usr/bin/sh": "bash"}, provides=("/bin/sh", "/bin/bash"), scriptlets=(_SHELLS,)),
    "ca-certificates": Change(
        requires=("coreutils", "findutils", "sed", "grep"),
        directories={"/etc/ssl": 0o755, "/etc/ssl/certs": 0o755, "/etc/ca-certificates/update.d": 0o755},
        scriptlets=(_CERTIFICATES,),
    ),
    "chrony": Change(
        requires_pre=_NEEDS_USERS,
        moves={"/usr/lib/systemd/system/chrony.service": "/usr/lib/systemd/system/chronyd.service"},
        edits={"/usr/lib/systemd/system/chronyd.service": [("Alias=chronyd.service\n", "")]},
        copies={
            "/usr/share/chrony/chrony.conf": "/etc/chrony/chrony.conf",
            "/usr/share/chrony/chrony.keys": "/etc/chrony/chrony.keys",
        },
        owners={
            "/etc/chrony/chrony.keys": (0o640, "root", "_chrony"),
            "/var/lib/chrony": (0o750, "_chrony", "_chrony"),
        },
        scriptlets=(_user("_chrony", "/var/lib/chrony"),),
    ),
    "coreutils": Change(provides=("coreutils-single",)),
    "cronie": Change(
        provides=("cronie-anacron",),
        moves={"/usr/lib/systemd/system/cronie.service": "/usr/lib/systemd/system/crond.service"},
        requires_pre=_NEEDS_USERS,
        owners={
            "/usr/bin/crontab": (0o2755, "root", "crontab"),
            "/var/spool/cron/crontabs": (0o1730, "root", "crontab"),
        },
        scriptlets=(_CRONTAB,),
    ),
    "crontabs": Change(
        requires_pre=_NEEDS_USERS,
        owners={"/var/spool/cron/crontabs": (0o1730, "root", "crontab")},
        scriptlets=(_CRONTAB,),
    ),
    "cryptsetup": Change(provides=("veritysetup",)),
    "dbus": Change(
        requires_pre=_NEEDS_USERS,
        owners={"/usr/lib/dbus-1.0/dbus-daemon-launch-helper": (0o4754, "root", "messagebus")},
        scriptlets=(_user("messagebus"),),
    ),
    "dnf": Change(provides=("tdnf",)),
    "gawk": Change(links={"/usr/bin/awk": "gawk"}),
    "glibc": Change(provides=("rtld(GNU_HASH)", "glibc-minimal-langpack")),
    "glibc-common": Change(
        provides=("/sbin/ldconfig",),
        files={"/etc/nsswitch.conf": File(_NSSWITCH, config=True)},
        scriptlets=(_LDCONFIG,),
    ),
    "grub2-efi": Change(provides=("grub2-efi-x64", "grub2-efi-x64-modules")),
    "grub2-efi-binary": Change(
        conflicts=("systemd-boot",),
        leave_out=("/usr/lib/grub",),
        copies={"/usr/lib/grub/x86_64-efi/monolithic/grubx64.efi": "/boot/efi/EFI/BOOT/grubx64.efi"},
    ),
    "grub2-pc": Change(provides=("grub2-pc-modules",)),
    "kmod": Change(provides=("/sbin/depmod", "/sbin/modprobe")),
    "openssh-server": Change(
        moves={"/usr/lib/systemd/system/ssh.service": "/usr/lib/systemd/system/sshd.service"},
        edits={
            "/usr/lib/systemd/system/sshd.service": [("Alias=sshd.service\n", "")],
            "/usr/lib/systemd/system/sshd-keygen.service": [
                ("WantedBy=ssh.service ", "WantedBy="),
                ("ConditionFirstBoot=yes", "ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key"),
            ],
        },
        copies={"/usr/share/openssh/sshd_config": "/etc/ssh/sshd_config"},
    ),
    "pam": Change(
        files={
            "/etc/pam.d/common-auth": File(
                "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\n"
                "auth required pam_permit.so\n",
                config=True,
            ),
            "/etc/pam.d/common-account": File("account required pam_unix.so\n", config=True),
            "/etc/pam.d/common-password": File("password required pam_unix.so obscure yescrypt\n", config=True),
            "/etc/pam.d/common-session": File(
                "session required pam_unix.so\nsession optional pam_umask.so\n-session optional pam_systemd.so\n",
                config=True,
            ),
            "/etc/pam.d/common-session-noninteractive": File(
                "session required pam_unix.so\nsession optional pam_umask.so\n", config=True
            ),
        },
    ),
    "shim": Change(provides=("shim-x64",), copies={"/usr/lib/shim/shimx64.efi": "/boot/efi/EFI/BOOT/bootx64.efi"}),
    "sudo": Change(
        files={"/etc/sudoers.d/wheel": File("%wheel ALL=(ALL:ALL) ALL\n", mode=0o440, config=True)},
        owners={"/etc/sudoers": (0o440, "root", "root")},
    ),
    "systemd": Change(
        requires=("systemd-sysv", "systemd-pam", "systemd-udev", "dbus"),
        owners={
            "/etc/credstore": (0o700, "root", "root"),
            "/etc/credstore.encrypted": (0o700, "root", "root"),
        },
        scriptlets=(_SYSTEMD,),
        presets=False,
    ),
    "systemd-boot": Change(provides=("systemd-boot-unsigned",)),
    "systemd-udev": Change(scriptlets=(_HWDB,)),
    "util-linux": Change(requires=("util-linux-mount", "util-linux-bsd", "util-linux-fdisk", "login")),
    "vim-minimal": Change(links={"/usr/bin/vi": "vim.tiny"}),
    "which": Change(links={"/usr/bin/which": "which.gnu"}),
}


def kernel_change(version: str) -> Change:
    """Return what the kernel of a version (C(uname -r)) has beside Debian's."""
    return Change(
        requires=("coreutils", "kmod"),
        provides=tuple(f"{name} = %{{version}}-%{{release}}" for name in ("kernel-core", "kernel-modules")),
        copies={f"/boot/vmlinuz-{version}": f"/usr/lib/modules/{version}/vmlinuz"},
        scriptlets=(
            f"%post\n/sbin/depmod {version}",
            f"%postun\nrm -f /usr/lib/modules/{version}/modules.* 2>/dev/null || :",
        ),
    )


def _own(name: str, summary: str, *, version: str = "1", **more: t.Any) -> Plan:
    return Plan(name=name, epoch="", version=version, release=f"1{DIST}", arch="noarch", summary=summary, **more)


def _configuration(name: str, summary: str, file: str, content: str) -> Plan:
    change = Change(files={file: File(content, config=True)}, directories={"/etc/dracut.conf.d": 0o755})
    return _own(name, summary, requires=("dracut",), change=change)


def own_packages() -> list[Plan]:
    """Return the packages that are not made of Debian's."""
    groups = "".join(f"{name}:x:{number}:\n" for name, number in _GROUPS.items())
    users = [line.partition(":")[0] for line in _PASSWD.splitlines()]
    filesystem = Change(
        directories=_DIRECTORIES,
        links={
            "/bin": "usr/bin",
            "/lib": "usr/lib",
            "/lib64": "usr/lib",
            "/sbin": "usr/sbin",
            "/usr/lib64": "lib",
            "/usr/tmp": "../var/tmp",
            "/var/lock": "../run/lock",
            "/var/run": "../run",
        },
        files={
            "/etc/passwd": File(_PASSWD, config=True),
            "/etc/group": File(groups, config=True),
            "/etc/shadow": File("".join(f"{name}:*:20000:0:99999:7:::\n" for name in users), 0o600, config=True),
            "/etc/gshadow": File("".join(f"{name}:*::\n" for name in _GROUPS), 0o600, config=True),
            "/etc/fstab": File("", config=True),
            "/etc/host.conf": File("multi on\n", config=True),
            "/etc/hosts": File("127.0.0.1 localhost\n::1 localhost\n", config=True),
            "/etc/profile": File(_PROFILE, config=True),
            "/etc/shells": File("", config=True),
        },
        provides=("basesystem = 1", "setup = 1"),
        scriptlets=(_FILESYSTEM_PRETRANS,),
    )
    release = Change(
        files={
            "/usr/lib/os-release": File(_OS_RELEASE),
            "/etc/composer-release": File("Composer Linux release 1\n"),
            "/etc/issue": File("Composer Linux 1 \\n \\l\n\n", config=True),
            "/usr/lib/systemd/system-preset/80-composer.preset": File(_PRESET),
            "/usr/lib/systemd/system-preset/99-default-disable.preset": File("disable *\n"),
        },
        directories={"/usr/lib/systemd/system-preset": 0o755},
        links={"/etc/os-release": "../usr/lib/os-release", "/etc/system-release": "composer-release"},
        provides=(
            "system-release = 1",
            "azurelinux-release = 3.0",
            "centos-stream-release = 10.0",
            "edge-release = 3.0",
        ),
    )
    repositories = Change(
        directories={"/etc/yum.repos.d": 0o755},
        provides=("azurelinux-repos = 3.0", "centos-gpg-keys = 10.0", "centos-stream-repos = 10.0", "edge-repos = 3.0"),
    )
    policy = Change(
        files={
            "/etc/selinux/config": File("SELINUX=permissive\nSELINUXTYPE=targeted\n", config=True),
            "/etc/selinux/targeted/contexts/files/file_contexts": File(_FILE_CONTEXTS),
        },
        directories={
            "/etc/selinux": 0o755,
            "/etc/selinux/targeted": 0o755,
            "/etc/selinux/targeted/contexts": 0o755,
            "/etc/selinux/targeted/contexts/files": 0o755,
        },
        provides=("selinux-policy",),
    )
    container = (
        *("filesystem", "composer-release", "bash", "coreutils", "glibc", "rpm", "sed", "grep", "gawk", "gzip"),
        *("findutils", "tar", "which", "shadow-utils", "ca-certificates"),
    )
    base_image = (
        *("core-packages-container", "cpio", "cryptsetup", "dbus", "e2fsprogs", "iproute", "iputils", "kmod"),
        *(
            "procps-ng",
            "sudo",
            "systemd",
            "systemd-resolved",
            "systemd-timesyncd",
            "tzdata",
            "util-linux",
            "xz",
            "zstd",
        ),
    )
    return [
        _own("filesystem", "The directories and the first users of the system", change=filesystem, auto=False),
        _own("composer-release", "What this distribution is", change=release, requires=("filesystem",)),
        _own("composer-repos", "Where this distribution has its repositories", change=repositories),
        _own("core-packages-container", "Packages of every container", requires=container),
        _own("core-packages-base-image", "Packages of every image", requires=base_image),
        _own(
            "initramfs",
            "Makes an initramfs for every kernel that is installed",
            requires=("coreutils", "dracut"),
            change=Change(scriptlets=(_INITRAMFS,)),
        ),
        # Debian's systemd has both daemons of the network; other distributions have them, and that of the time, apart.
        _own(
            "systemd-networkd",
            "The daemons of systemd for a machine in a network",
            requires=("systemd", "systemd-timesyncd"),
        ),
        _own("selinux-policy-targeted", "Contexts of files", change=policy, requires=("policycoreutils",)),
        _configuration(
            "dracut-config-generic",
            "Lets dracut make an initramfs for every machine",
            "/etc/dracut.conf.d/02-generic-image.conf",
            'hostonly="no"\n',
        ),
        _configuration(
            "dracut-hostonly",
            "Lets dracut make an initramfs for this machine only",
            "/etc/dracut.conf.d/00-hostonly.conf",
            'hostonly="yes"\n',
        ),
        _configuration(
            "dracut-hyperv",
            "Drivers for the initramfs of machines of Hyper-V",
            "/etc/dracut.conf.d/10-hyperv.conf",
            'add_drivers+=" hv_utils hv_vmbus hv_storvsc hv_netvsc "\n',
        ),
        _configuration(
            "dracut-virtio",
            "Drivers for the initramfs of virtual machines",
            "/etc/dracut.conf.d/10-virtio.conf",
            'add_drivers+=" virtio_blk virtio_net virtio_pci virtio_scsi "\n',
        ),
        _configuration(
            "dracut-vrf",
            "Drivers of virtual routing for the initramfs",
            "/etc/dracut.conf.d/10-vrf.conf",
            'add_drivers+=" vrf "\n',
        ),
        _configuration(
            "dracut-xen",
            "Drivers for the initramfs of machines of Xen",
            "/etc/dracut.conf.d/10-xen.conf",
            'add_drivers+=" xen-blkfront xen-netfront "\n',
        ),
    ]


#: Directories that only C(filesystem) owns.
DIRECTORIES: t.Collection[str] = frozenset(_DIRECTORIES)

__all__ = ("CHANGES", "DIRECTORIES", "kernel_change", "own_packages")
