# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A machine whose kernels are packages: a root directory with the build host's programs, and its own /etc and /boot."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shlex
import subprocess
import textwrap
import typing as t

# Mounts are the machine's alone, and end with its last process. The EFI system partition is a file system of its own,
# with the files of a directory of the host.
_ENTER = """\
set -e
mount -t overlay overlay -o lowerdir=/usr,upperdir={root}.usr,workdir={root}.work {root}/usr
mkdir -p {root}/boot/efi
if [ -e {root}.esp ]; then
    mount -t tmpfs esp {root}/boot/efi
    cp -a {root}.esp/. {root}/boot/efi
fi
mount --bind /dev {root}/dev
mount -t proc proc {root}/proc
status=0
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin {environment} chroot {root} /bin/sh -c {command} || status=$?
if [ -e {root}.esp ]; then
    rm -rf {root}.esp
    cp -a {root}/boot/efi {root}.esp
fi
exit $status
"""

# As Debian's kernels do; see their scripts preinst, postinst and postrm.
_DEB_SCRIPT = """\
#!/bin/sh
set -e
case {name}:$1 in
    preinst:* | postinst:configure | postrm:*) ;;
    *) exit 0 ;;
esac
if [ {name} = postinst ]; then
    {initrd}
fi
if [ -d /etc/kernel/{name}.d ]; then
    DEB_MAINT_PARAMS="$*" run-parts --report --exit-on-error --arg={version} --arg=/boot/vmlinuz-{version} \\
        /etc/kernel/{name}.d
fi
"""


@dataclasses.dataclass(frozen=True)
class Machine:
    """A machine.

    :ivar root: Its root directory on the host; beside it lie C({root}.usr), what it has in /usr of its own, and
        C({root}.esp), its EFI system partition.
    """

    root: pathlib.Path

    @classmethod
    def make(cls, directory: pathlib.Path) -> Machine:
        """Make one without any kernel."""
        root = directory / "machine"
        for name in ("dev", "proc", "etc", "boot", "tmp", "usr", "var/lib", "run"):
            (root / name).mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        for suffix in ("usr", "work", "esp"):
            (directory / f"machine.{suffix}").mkdir()
        machine = cls(root)
        for name in ("ld.so.cache", "passwd", "group"):
            (root / "etc" / name).write_bytes(pathlib.Path("/etc", name).read_bytes())
        # Hooks of the host's own packages are not part of it.
        (machine.usr / "lib/modules").mkdir(parents=True)
        dpkg = root / "var/lib/dpkg"
        for name in ("info", "updates", "triggers"):
            (dpkg / name).mkdir(parents=True)
        (dpkg / "status").touch()
        return machine

    @property
    def usr(self) -> pathlib.Path:
        """What it has in /usr beside the host's programs."""
        return self.root.with_name("machine.usr")

    @property
    def esp(self) -> pathlib.Path:
        """Its EFI system partition."""
        return self.root.with_name("machine.esp")

    def write(self, path: str, text: str | bytes, mode: int = 0o644) -> None:
        """Write a file of the machine."""
        place = self.usr / path[len("/usr/") :] if path.startswith("/usr/") else self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
        place.chmod(mode)

    def run(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the shell in it."""
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
        script = _ENTER.format(root=shlex.quote(str(self.root)), command=shlex.quote(command), environment=variables)
        return subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def say(self, command: str, **environment: str) -> str:
        """Run a command that has to succeed, and return what it said."""
        done = self.run(command, **environment)
        assert done.returncode == 0, f"{command!r} ended with status {done.returncode}:\n{done.stdout}"
        return done.stdout

    def add_kernel(self, version: str, *, in_boot: bool = True) -> None:
        """Put a kernel there without telling anybody."""
        self.write(f"/usr/lib/modules/{version}/kernel/a.ko", "")
        self.write(
            f"/boot/vmlinuz-{version}" if in_boot else f"/usr/lib/modules/{version}/vmlinuz", f"kernel {version}"
        )
        self.write(f"/boot/initrd.img-{version}", f"initrd {version}")

    def kernel_deb(self, version: str) -> str:
        """Make the package of a kernel, in the machine's /root; returns its path there."""
        tree = self.root.with_name(f"deb-{version}")
        name = f"linux-image-{version}"
        for path, text in (
            (f"boot/vmlinuz-{version}", f"kernel {version}"),
            (f"usr/lib/modules/{version}/kernel/a.ko", ""),
        ):
            (tree / path).parent.mkdir(parents=True)
            (tree / path).write_text(text)
        control = tree / "DEBIAN"
        control.mkdir()
        (control / "control").write_text(
            textwrap.dedent(f"""\
                Package: {name}
                Version: 1
                Architecture: all
                Maintainer: Nobody <nobody@example.org>
                Description: A kernel that is none
                """)
        )
        for script in ("preinst", "postinst", "postrm"):
            initrd = f"echo initrd {version} >/boot/initrd.img-{version}"
            (control / script).write_text(_DEB_SCRIPT.format(name=script, version=version, initrd=initrd))
            (control / script).chmod(0o755)
        (self.root / "root").mkdir(exist_ok=True)
        path = f"/root/{name}_1_all.deb"
        command = ["dpkg-deb", "--root-owner-group", "-Znone", "-b", os.fspath(tree), f"{self.root}{path}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return path

    def esp_files(self) -> t.Set[str]:
        """Return the paths of the files on its EFI system partition."""
        return {str(path.relative_to(self.esp)) for path in self.esp.rglob("*") if path.is_file()}


__all__ = ("Machine",)
