# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The initramfs, made once, when everything that goes into it is in its place.

The initramfs holds the drivers that virtual machines and common storage need, and those that the template asks for, not
every driver there is: that saves nine tenths of the time, and three quarters of the size. The image's own configuration
in /etc stays as its packages and its template made it; what the template puts there has the last word.
"""

from __future__ import annotations

import abc
import dataclasses
import os
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot import verity
from ansible_collections.os_image.composer.plugins.module_utils._chroot.kernels import kernel_images
from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import file_system
from ansible_collections.os_image.composer.plugins.module_utils._io import digest_of
from ansible_collections.os_image.composer.plugins.module_utils._template.immutability import Protection
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

#: Drivers of the disks that images boot from, and of what stands between them and the processor.
STORAGE_MODULES: t.Mapping[str, tuple[str, ...]] = {
    "virtual machines": (
        "virtio_pci",
        "virtio_mmio",
        "virtio_blk",
        "virtio_scsi",
        "hv_vmbus",
        "hv_storvsc",
        "vmw_pvscsi",
        "mptspi",
        "mptsas",
        "xen_blkfront",
    ),
    "SATA, SCSI, NVMe": (
        "ahci",
        "ata_piix",
        "ata_generic",
        "sd_mod",
        "sr_mod",
        "nvme",
        "vmd",
        "megaraid_sas",
        "mpt3sas",
        "hpsa",
        "smartpqi",
        "aacraid",
    ),
    "MMC": ("mmc_block", "sdhci_pci", "sdhci_acpi"),
    "USB and keyboards": ("xhci_pci", "ehci_pci", "uhci_hcd", "usb_storage", "uas", "usbhid", "hid_generic"),
}

# Puts modules into the initramfs for udev to load when their devices are there; those in the file "modules" would be
# loaded always. Before version 0.148 initramfs-tools starts several programs for each module, which takes longer than
# all the rest; so they are copied at once.
_HOOK = """\
#!/bin/sh
[ "$1" != prereqs ] || exit 0
. /usr/share/initramfs-tools/hook-functions
modules="{modules}"
if command -v apply_add_modules >/dev/null; then
    manual_add_modules $modules
    exit 0
fi
{{
    modprobe --all --set-version="$version" --ignore-install --quiet --show-depends $modules
    modprobe --all --set-version="$version" --quiet --show-depends $modules
}} | sed -n 's,^insmod /\\([^ ]*\\).*,\\1,p' | sort -u > /run/composer.modules
cd /
cpio --quiet -pdm "$DESTDIR" < /run/composer.modules
xargs -r modinfo -k "$version" -F firmware < /run/composer.modules | sort -u | while read -r firmware; do
    add_firmware "$firmware" || true
done
"""

# Settings of the packages that have the microcode of processors: all of it goes into the initramfs. By themselves they
# take what the processor of the build host needs, and nothing where that is of another maker.
_MICROCODE: t.Mapping[str, str] = {
    "/etc/default/amd64-microcode": "AMD64UCODE_INITRAMFS=early\n",
    "/etc/default/intel-microcode": "IUCODE_TOOL_INITRAMFS=early\nIUCODE_TOOL_SCANCPUS=no\n",
}

_DEFAULT_FILE_SYSTEM = "ext4"

#: Where configuration, and whatever else of the tree gets into an initramfs, is looked for in a layer. A change in
#: another place does not make a new initramfs.
RELEVANT_PATHS = (
    "etc/cmdline.d",
    "etc/console-setup",
    "etc/crypttab",
    "etc/cryptsetup-initramfs",
    "etc/default/amd64-microcode",
    "etc/default/console-setup",
    "etc/default/intel-microcode",
    "etc/default/keyboard",
    "etc/dracut.conf",
    "etc/dracut.conf.d",
    "etc/e2fsck.conf",
    "etc/fstab",
    "etc/initramfs-tools",
    "etc/iscsi",
    "etc/ld.so.conf",
    "etc/ld.so.conf.d",
    "etc/lvm",
    "etc/mdadm",
    "etc/mke2fs.conf",
    "etc/modprobe.d",
    "etc/modules",
    "etc/modules-load.d",
    "etc/multipath",
    "etc/multipath.conf",
    "etc/plymouth",
    "etc/sysctl.conf",
    "etc/sysctl.d",
    "etc/systemd/network",
    "etc/udev",
    "etc/vconsole.conf",
    "etc/veritytab",
    "boot",
    "usr",
)
_IRRELEVANT_PATHS = ("usr/share/doc", "usr/share/locale", "usr/share/man", "usr/lib/locale", "usr/share/zoneinfo")
# Names of interfaces are given in the initramfs too; their addresses are not.
_IRRELEVANT_SUFFIXES = (".network",)


@dataclasses.dataclass(frozen=True)
class InitramfsSettings:
    """What shapes the initramfs beside the tree.

    :ivar generator: V(initramfs-tools) or V(dracut).
    :ivar root_fs_type: The file system of the root partition.
    :ivar extra_modules: The template's C(kernel.enableExtraModules), and what a live system needs.
    :ivar name: Its name in /boot; C({}) is the version of the kernel.
    :ivar generator_modules: What the generator itself has to be told to put in; dracut's modules.
    :ivar protection: How a protected root file system is opened and changed; V(None) when it is not protected.
    :ivar state_fs_type: The file system that is mounted at /var, when it takes the changes of a protected one.
    """

    generator: str
    root_fs_type: str
    extra_modules: tuple[str, ...]
    name: str = "initrd.img-{}"
    generator_modules: tuple[str, ...] = ()
    protection: Protection | None = None
    state_fs_type: str = ""

    def modules(self) -> list[str]:
        """Return the names of the modules, without duplicates."""
        names = [name for group in STORAGE_MODULES.values() for name in group]
        # Those that are part of the kernel are skipped.
        names += file_system(self.root_fs_type).kernel_modules
        if self.protection is not None:
            names += verity.MODULES
            names += verity.OVERLAY_MODULES if self.protection.has_overlays else ()
            names += file_system(self.state_fs_type).kernel_modules if self.state_fs_type else ()
        return list(dict.fromkeys([*names, *self.extra_modules]))


class Generator(abc.ABC):
    """A program that makes an initramfs."""

    name: t.ClassVar[str]
    program: t.ClassVar[str]
    package: t.ClassVar[str]
    #: What opens a root file system that dm-verity protects, and what distributions call the package that has it.
    opener: t.ClassVar[str]
    opener_packages: t.ClassVar[tuple[str, ...]]
    #: Raised whenever the same tree and settings give another initramfs than before.
    revision: t.ClassVar[int] = 0

    def __init__(self, files: TreeFiles, sandbox: Sandbox, settings: InitramfsSettings) -> None:
        self._files = files
        self._sandbox = sandbox
        self._settings = settings

    @classmethod
    def is_installed(cls, files: TreeFiles) -> bool:
        """Tell whether the tree has the program."""
        return files.is_executable(cls.program)

    @classmethod
    @abc.abstractmethod
    def protection_files(cls, protection: Protection) -> t.Mapping[str, str]:
        """Return what it puts into the initramfs for a protected root file system: path, in its own terms -> content.

        A change of it makes another initramfs.
        """

    @classmethod
    def require_verity(cls, files: TreeFiles) -> None:
        """Check that the tree has what opens a protected root file system.

        :raises ChrootError: It has not.
        """
        if not files.is_executable(cls.opener):
            raise ChrootError(
                f"The root tree has no {cls.opener}, by which an initramfs of {cls.name} opens a root file system that "
                "dm-verity protects.",
                remedy=f"Add the package that has it to systemConfig.packages; distributions call it "
                f"{' or '.join(cls.opener_packages)}.",
            )

    @abc.abstractmethod
    def make(self, kernel: str, path: str) -> None:
        """Make the initramfs of one kernel.

        :param kernel: Its version, as in /lib/modules.
        :param path: The file to write, a path of the tree.
        """

    def _protection_files(self) -> t.Mapping[str, str]:
        protection = self._settings.protection
        return {} if protection is None else self.protection_files(protection)

    def _has(self, program: str) -> bool:
        return self._files.is_executable(f"/usr/bin/{program}")


class InitramfsTools(Generator):
    """Debian's own; see mkinitramfs(8) and initramfs.conf(5)."""

    name = "initramfs-tools"
    program = "/usr/sbin/mkinitramfs"
    package = "initramfs-tools"
    opener = "/usr/sbin/veritysetup"
    opener_packages = ("cryptsetup-bin",)
    revision = 1

    _CONFIGURATION = "/run/initramfs-tools"

    @classmethod
    def protection_files(cls, protection: Protection) -> t.Mapping[str, str]:
        scripts = {
            "hooks/os-image-verity": verity.hook(protection),
            "scripts/local-top/os-image-verity": verity.open_root(protection),
        }
        if protection.has_overlays:
            scripts["scripts/local-bottom/os-image-overlays"] = verity.local_bottom(protection)
        return scripts

    def make(self, kernel: str, path: str) -> None:
        compression = "zstd" if self._has("zstd") else "gzip"
        # conf.d is read after initramfs.conf in the order of names: this comes before what the template has there.
        settings = {
            "MODULES": "list",
            "COMPRESS": compression,
            "COMPRESSLEVEL": "1",
            "FSTYPE": self._settings.root_fs_type,
            # Otherwise the build host's swap devices would be looked at.
            "RESUME": "none",
        }
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        protection = self._protection_files()
        # What the template says in these files comes later, and counts. In the image they stay as they are: there it is
        # the machine's own processor that is looked at.
        changed = [
            (path, f"/run/composer.{os.path.basename(path)}") for path in _MICROCODE if self._files.is_file(path)
        ]
        script = [
            "set -e",
            *(f"cp -a {path} {kept}.kept && cat {kept} {kept}.kept > {path}" for path, kept in changed),
            f"mkdir {self._CONFIGURATION}",
            f"cp -a /etc/initramfs-tools/. {self._CONFIGURATION}/",
            f"mkdir -p {self._CONFIGURATION}/conf.d {self._CONFIGURATION}/hooks",
            f"cp /run/composer.conf {self._CONFIGURATION}/conf.d/00-os-image-composer",
            f"cp /run/composer.hook {self._CONFIGURATION}/hooks/os-image-composer",
            *(f"mkdir -p {self._CONFIGURATION}/{os.path.dirname(name)}" for name in protection),
            *(f"cp /run/composer.{number} {self._CONFIGURATION}/{name}" for number, name in enumerate(protection)),
            f"mkinitramfs -d {self._CONFIGURATION} -o {path} {kernel}",
            *(f"cp -a {kept}.kept {path}" for path, kept in changed),
        ]
        self._sandbox.run(
            ["/bin/sh", "-c", "\n".join(script)],
            files={
                "/run/composer.conf": text,
                **{kept: _MICROCODE[path] for path, kept in changed},
                "/run/composer.hook": _HOOK.format(modules=" ".join(self._settings.modules())),
                **{f"/run/composer.{number}": text for number, text in enumerate(protection.values())},
            },
            environment={"TMPDIR": "/tmp"},  # noqa: S108  (a tmpfs of the sandbox)
            what=f"Making the initramfs of kernel {kernel}",
        )


class Dracut(Generator):
    """See dracut(8)."""

    name = "dracut"
    program = "/usr/bin/dracut"
    package = "dracut"
    opener = "/usr/lib/systemd/systemd-veritysetup"
    opener_packages = ("systemd-cryptsetup", "systemd-udev", "systemd")
    revision = 1

    @classmethod
    def protection_files(cls, protection: Protection) -> t.Mapping[str, str]:
        return verity.dracut_files(protection)

    def make(self, kernel: str, path: str) -> None:
        compression = "zstd -3" if self._has("zstd") else "gzip -1 -n"
        modules = list(self._settings.generator_modules)
        file_systems = filter(None, (self._settings.root_fs_type, self._settings.state_fs_type))
        if self._settings.protection is not None:
            modules += verity.DRACUT_MODULES
        programs = verity.dracut_programs(self._settings.protection)
        protection = self._protection_files()
        included = [("--include", f"/run/composer.{number}", name) for number, name in enumerate(protection)]
        self._sandbox.run(
            [
                "dracut",
                "--force",
                "--no-hostonly",
                "--reproducible",
                "--kver",
                kernel,
                "--compress",
                compression,
                "--tmpdir",
                "/tmp",  # noqa: S108  (a tmpfs of the sandbox)
                "--filesystems",
                " ".join(dict.fromkeys(file_systems)),
                "--drivers",
                " ".join(self._settings.modules()),
                *(["--add", " ".join(modules)] if modules else []),
                *(word for words in included for word in words),
                *(["--install", " ".join(programs)] if programs else []),
                path,
            ],
            files={f"/run/composer.{number}": text for number, text in enumerate(protection.values())},
            what=f"Making the initramfs of kernel {kernel}",
        )


GENERATORS: tuple[type[Generator], ...] = (InitramfsTools, Dracut)


def choose_generator(files: TreeFiles, wanted: str) -> type[Generator] | None:
    """Return the generator that the template asks for, or the one that the tree has; V(None) when it has none.

    :param wanted: V(auto) or a generator's name.
    :raises ChrootError: The one that the template asks for is not there.
    """
    installed = [generator for generator in GENERATORS if generator.is_installed(files)]
    if wanted == "auto":
        return installed[0] if installed else None
    for generator in installed:
        if generator.name == wanted:
            return generator
    package = next(generator.package for generator in GENERATORS if generator.name == wanted)
    raise ChrootError(
        f"systemConfig.initramfs.generator is {wanted}, which is not installed in the image.",
        remedy=f"Add the package {package} to systemConfig.packages, or take auto.",
    )


def protection_inputs(protection: Protection) -> dict[str, t.Any]:
    """Return what shapes the initramfs of a protected system, whichever generator the tree turns out to have."""
    files = {generator.name: dict(generator.protection_files(protection)) for generator in GENERATORS}
    return {**protection.as_facts(), "files": digest_of(files)}


def root_file_system(disk: Disk) -> str:
    """Return the file system of the root partition, whose driver an initramfs needs.

    :param disk: The template's; without a root partition, as an ISO has none, the driver is ext4's.
    """
    return file_system_at("/", disk) or _DEFAULT_FILE_SYSTEM


def file_system_at(mount_point: str, disk: Disk) -> str:
    """Return the file system that a disk has at a place; empty when no partition is mounted there."""
    return next((item.fs_type or "" for item in disk.partitions if item.mount_point == mount_point), "")


def relevant_content(layers: t.Sequence[str]) -> dict[str, str]:
    """Return what layers above the packages hold of :data:`RELEVANT_PATHS`: a digest or mode by path."""
    content: dict[str, str] = {}
    for number, layer in enumerate(layers):
        files = TreeFiles(layer)
        for start in RELEVANT_PATHS:
            for name, status in _walk(files, start.strip("/")):
                if name.startswith(_IRRELEVANT_PATHS) or name.endswith(_IRRELEVANT_SUFFIXES):
                    continue
                described = f"{status.st_mode:o} {status.st_rdev}"
                if stat.S_ISLNK(status.st_mode):
                    described += f" {files.link_target(name)}"
                elif stat.S_ISREG(status.st_mode):
                    described += f" {files.sha256(name)}"
                content[f"{number}/{name}"] = described
    return content


def _walk(files: TreeFiles, path: str) -> t.Iterator[tuple[str, os.stat_result]]:
    """Yield a file, or all that a directory holds but directories, with what it is; sorted in each directory."""
    status = files.status(path, follow_last=False)
    if status is None:
        return
    if not stat.S_ISDIR(status.st_mode):
        yield path, status
        return
    directories = []
    for name in files.names(path):
        below = f"{path}/{name}"
        status = files.status(below, follow_last=False)
        if status is not None and stat.S_ISDIR(status.st_mode):
            directories.append(below)
        elif status is not None:
            yield below, status
    for below in directories:
        yield from _walk(files, below)


def make_initramfs(files: TreeFiles, sandbox: Sandbox, settings: InitramfsSettings) -> list[str]:
    """Make the initramfs of each kernel in the tree; returns the files' paths.

    :raises CommandError: A generator failed.
    """
    generator_class = next(entry for entry in GENERATORS if entry.name == settings.generator)
    generator = generator_class(files, sandbox, settings)
    made = []
    for kernel, image in kernel_images(files.root).items():
        if not image.startswith("/boot/"):
            # As kernel-install does, which packages of other distributions than Debian's leave it to.
            with files.open(image) as source:
                mode = stat.S_IMODE(os.fstat(source.fileno()).st_mode)
                files.copy(source, f"/boot/vmlinuz-{kernel}", mode=mode, uid=0, gid=0)
        path = f"/boot/{settings.name.format(kernel)}"
        generator.make(kernel, path)
        if not files.is_file(path):
            raise ChrootError(f"{settings.generator} left no initramfs {path} for the kernel {kernel}.")
        files.set_mode(path, 0o644)
        made.append(path)
    for suffix in ("", ".old"):
        # Debian's links in the root directory: the kernel package makes the one, and expects the other.
        target = files.link_target(f"/vmlinuz{suffix}")
        if target is not None and not files.is_link(f"/initrd.img{suffix}"):
            files.link(f"/initrd.img{suffix}", target.replace("vmlinuz-", "initrd.img-", 1))
    return made


__all__ = (
    "GENERATORS",
    "RELEVANT_PATHS",
    "STORAGE_MODULES",
    "Dracut",
    "Generator",
    "InitramfsSettings",
    "InitramfsTools",
    "choose_generator",
    "file_system_at",
    "make_initramfs",
    "protection_inputs",
    "relevant_content",
    "root_file_system",
)
