# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A root tree that is small and has everything a disk is composed from, and the composer for it."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import stat
import subprocess
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.tree import RootTree
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._compose.disk import (
    BootOptions,
    DiskComposer,
    DiskIdentity,
)
from ansible_collections.os_image.composer.plugins.module_utils._compose.image_type import ComposedBoot
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import DiskLayout, disk_layout
from ansible_collections.os_image.composer.plugins.module_utils._disk.selinux import FileContexts
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress
from ansible_collections.os_image.composer.plugins.module_utils._template.immutability import Protection
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles
from ansible_collections.os_image.composer.tests.support.template_data import whole_part

EPOCH = 1_700_000_000
BUILD_DIGEST = "5e" * 32
KERNEL = "6.1.0-35-amd64"

ESP: t.Mapping[str, t.Any] = {
    "id": "boot",
    "type": "esp",
    "fsType": "fat32",
    "fsLabel": "ESP",
    "start": "1MiB",
    "end": "41MiB",
    "mountPoint": "/boot/efi",
    "mountOptions": "umask=0077",
}
ROOT: t.Mapping[str, t.Any] = {
    "id": "rootfs",
    "type": "linux-root-amd64",
    "fsType": "ext4",
    "fsLabel": "root",
    "start": "41MiB",
    "end": "80MiB",
    "mountPoint": "/",
}
DISK: t.Mapping[str, t.Any] = {"size": "96MiB", "partitions": [ESP, ROOT]}

_EFI = "usr/lib/systemd/boot/efi"


def make_tree(path: pathlib.Path) -> pathlib.Path:
    """Make a root tree: a kernel that is none, the build host's own EFI programs, and awkward files."""
    for name in ("boot", "etc", "home", "opt/tool", "root", "tmp", "usr/bin", "usr/lib/modules", "var/log", _EFI):
        (path / name).mkdir(parents=True)
    (path / "tmp").chmod(0o1777)
    (path / "root").chmod(0o700)
    (path / f"boot/vmlinuz-{KERNEL}").write_bytes(b"kernel " * 60_000)
    (path / f"boot/initrd.img-{KERNEL}").write_bytes(b"initrd " * 40_000)
    (path / "usr/lib/os-release").write_text('ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    (path / "etc/os-release").symlink_to("../usr/lib/os-release")
    (path / "etc/fstab").write_text("# UNCONFIGURED FSTAB\n")
    for name in ("systemd-bootx64.efi", "linuxx64.efi.stub"):
        shutil.copy(f"/{_EFI}/{name}", path / _EFI / name)
    (path / "usr/lib/grub").mkdir()
    (path / "usr/lib/grub/x86_64-efi").symlink_to("../grub-modules")
    shutil.copytree("/usr/lib/grub/x86_64-efi", path / "usr/lib/grub-modules")
    shutil.copytree("/usr/lib/grub/i386-pc", path / "usr/lib/grub/i386-pc")
    (path / "opt/tool/data").write_bytes(os.urandom(1) * 50_000)
    (path / "var/log/first").write_text("linked twice\n")
    os.link(path / "var/log/first", path / "var/log/second")
    with open(path / "var/log/lastlog", "wb") as stream:
        stream.truncate(64 << 20)
        stream.seek(32 << 20)
        stream.write(b"login")
    (path / "usr/bin/ping").write_bytes(b"ping")
    subprocess.run(["setcap", "cap_net_raw=ep", str(path / "usr/bin/ping")], check=True)
    os.chown(path / "home", 1000, 1001)
    os.mknod(path / "var/log/pipe", stat.S_IFIFO | 0o640)
    for parent, directories, names in os.walk(path):
        for name in [*directories, *names]:
            os.utime(os.path.join(parent, name), (EPOCH - 5, EPOCH - 5), follow_symlinks=False)
    # Newer than anything in an image may be.
    os.utime(path / "usr/bin/ping", (EPOCH + 99, EPOCH + 99))
    return path


@dataclasses.dataclass(frozen=True)
class Composed:
    """A composed disk.

    :ivar log: Everything that the programs said.
    """

    image: str
    layout: DiskLayout
    identity: DiskIdentity
    boot: ComposedBoot
    log: str

    def file_system(self, name: str) -> str:
        """The address of a partition's file system for the programs of e2fsprogs."""
        partition = next(partition for partition in self.layout.partitions if partition.id == name)
        return f"{self.image}?offset={partition.offset}"

    def esp(self) -> str:
        """The address of the EFI system partition for mtools."""
        assert self.layout.esp is not None
        return f"{self.image}@@{self.layout.esp.offset}"

    def read_esp(self, path: str) -> bytes:
        """Read a file of the EFI system partition by mtools."""
        return subprocess.run(["mtype", "-i", self.esp(), f"::{path}"], check=True, capture_output=True).stdout

    def debugfs(self, name: str, request: str) -> str:
        """Ask debugfs about a partition."""
        command = ["debugfs", "-R", request, self.file_system(name)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def compose(
    tree: pathlib.Path,
    directory: pathlib.Path,
    disk: t.Mapping[str, t.Any] | None = None,
    *,
    boot_type: str = "efi",
    provider: str = "systemd-boot",
    arch: str = "x86_64",
    use_uki: bool = False,
    use_signed: bool = False,
    timeout: int | None = None,
    default: str = "",
    cmdline: str = "console=ttyS0",
    kernel_version: str = "",
    epoch: int = EPOCH,
    build_digest: str = BUILD_DIGEST,
    family: str = "deb",
    is_signed: bool = False,
    own_files: t.Collection[str] = (),
    protection: Protection | None = None,
) -> Composed:
    """Compose a disk in C(directory)."""
    layout = disk_layout(whole_part(Disk, DISK if disk is None else disk))
    identity = DiskIdentity.derive(layout, build_digest)
    paths = {name: directory / name for name in ("work", "upper", "overlay")}
    for path in paths.values():
        path.mkdir(parents=True)
    paths["upper"].chmod(0o755)
    progress = Progress("disk_compose", stage_log=str(directory / "log"), build_log=str(directory / "build.log"))
    composer = DiskComposer(
        layout,
        identity,
        BootOptions(
            boot_type,
            provider,
            arch,
            cmdline,
            kernel_version,
            use_uki,
            security_words=(),
            use_signed=use_signed,
            timeout=timeout,
            default=default,
            family=family,
            is_signed=is_signed,
            own_files=own_files,
            protection=protection,
        ),
        epoch=epoch,
        scratch=str(paths["work"]),
        runner=CommandRunner(log=progress),
        progress=progress,
    )
    image = str(directory / "image.raw")
    contexts = FileContexts.of(TreeFiles(str(tree)))
    mounted = RootTree([str(tree)]).mounted(
        upper=str(paths["upper"]), work=str(paths["overlay"]), only_metadata=contexts is not None
    )
    with mounted as root:
        boot = composer.compose(root, image, contexts)
    return Composed(image, composer.layout, composer.identity, boot, (directory / "log").read_text())
