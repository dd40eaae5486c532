# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Kernel updates: what an image needs so that a kernel which is installed later gets to its bootloader.

The distribution's own means go on with what the build made: kernel-install reads its settings in /etc/kernel,
grub-mkconfig those in /etc/default/grub. What calls them when a kernel is installed is the hook of a package where the
image has it; otherwise there is a small one. Where the packages of kernels call nothing at all, as those of Azure
Linux, systemd watches the directories of kernels.
"""

from __future__ import annotations

import dataclasses
import shlex
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot import update_programs
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

_DEB = "deb"
_BY = "# Made when the image was built."
_SHELL = f"#!/bin/sh\n{_BY}\n"

_INSTALL_DIRECTORY = "/etc/kernel/install.d"
_WATCH = "os-image-kernels"
_HOOK = "zz-os-image"
_UNIT_DIRECTORY = "/etc/systemd/system"
_REFUSE_CHANGES = "/usr/libexec/os-image/refuse-changes"

_ADD = f'{_SHELL}exec {update_programs.BOOT_ENTRY} add "$1" "${{2:-/boot/vmlinuz-$1}}"\n'
# The script runs for an upgrade of the same package too, after which the kernel is still there.
_REMOVE = f"""\
{_SHELL}case ${{DEB_MAINT_PARAMS:-remove}} in
    *remove* | *purge*) exec {update_programs.BOOT_ENTRY} remove "$1" ;;
esac
"""
# While a kernel is being installed, the hook for that follows.
_INITRD_MADE = f"""\
{_SHELL}[ -z "${{DEB_MAINT_PARAMS:-}}" ] || exit 0
[ -f "/boot/vmlinuz-$1" ] || exit 0
exec {update_programs.BOOT_ENTRY} add "$1" "/boot/vmlinuz-$1"
"""
_PLUGIN = f"""\
{_SHELL}case $1 in
    add) exec {update_programs.BOOT_ENTRY} add "$2" "$4" ;;
    remove) exec {update_programs.BOOT_ENTRY} remove "$2" ;;
esac
"""
_REFUSE_PLUGIN = f"""\
{_SHELL}[ "$1" != add ] || exec {update_programs.BOOT_ENTRY} add "$2" "$4"
"""
_REFUSE_HOOK = f'{_SHELL}exec {update_programs.BOOT_ENTRY} add "$1"\n'
# Before apt has changed anything.
_REFUSE_ARCHIVES = f"""\
{_SHELL}sed -n 's,.*/linux-image-\\([0-9][^_]*\\)_.*,\\1,p' | grep -v -e '-dbg$' | while read -r version; do
    {update_programs.BOOT_ENTRY} add "$version"
done
"""
_APT_ARCHIVES = "/usr/libexec/os-image/refuse-kernels"

_IMMUTABLE = (
    "This system is immutable: its packages lie on a root file system that is read-only, and it is updated as a whole. "
    "Build a new image with the packages that are wanted, and put it in the place of this one."
)


@dataclasses.dataclass(frozen=True)
class UpdateFile:
    """A file for the root tree."""

    text: str
    mode: int = 0o644


UpdateFiles = t.Dict[str, UpdateFile]


@dataclasses.dataclass(frozen=True)
class GrubMenu:
    """GRUB's menu, for whoever makes it again.

    :ivar path: Of C(grub.cfg).
    :ivar header: The lines before the entries.
    :ivar title: What the names of entries begin with, without quotes.
    :ivar distributor: The distribution's name.
    :ivar partition: The identifier of the file system that has /boot.
    :ivar root: The identifier of the one that has C(/).
    :ivar prefix: What of a path in /boot is not part of it on that partition.
    :ivar cmdline: The kernel command line in GRUB's script language.
    :ivar pinned: The version of the kernel that the template asks for; empty for the newest.
    :ivar timeout: Seconds.
    :ivar is_shown: Whether the menu is shown meanwhile.
    :ivar serial: How GRUB sets up a serial port, when it talks on one.
    """

    path: str
    header: str
    title: str
    distributor: str
    partition: str
    root: str
    prefix: str
    cmdline: str
    pinned: str
    timeout: int
    is_shown: bool
    serial: str


def systemd_boot_files(
    files: TreeFiles,
    *,
    family: str,
    esp: str,
    token: str,
    cmdline: str,
    stub: str,
    is_signed: bool,
) -> UpdateFiles:
    """Return what brings kernels to systemd-boot.

    :param files: The root tree.
    :param family: Of its packages: V(deb) or V(rpm).
    :param esp: Where the EFI system partition is mounted; empty when it is not.
    :param token: What the names of entries begin with.
    :param stub: systemd's stub, of which unified kernel images are made; empty when there are none.
    :param is_signed: Whether they are signed with a key that machines do not have.
    """
    layout, entries, suffix = ("uki", "EFI/Linux", ".efi") if stub else ("bls", "loader/entries", ".conf")
    place = f"BOOT_ROOT={esp}\n" if esp else ""
    made = {
        "/etc/kernel/cmdline": UpdateFile(f"{cmdline}\n"),
        "/etc/kernel/entry-token": UpdateFile(f"{token}\n"),
        "/etc/kernel/install.conf": UpdateFile(f"{_BY}\nlayout={layout}\n{place}"),
    }
    if stub:
        plugin = f"{_SHELL}stub={shlex.quote(stub)}\n{update_programs.UKI_PLUGIN}"
        # Behind what makes an initramfs, and before what copies the unified kernel image.
        made[f"{_INSTALL_DIRECTORY}/89-os-image-uki.install"] = UpdateFile(plugin, 0o755)
    settings = {"esp": esp, "token": token, "entries": entries, "suffix": suffix}
    refuse = update_programs.REFUSE if is_signed else ""
    made.update(_program(family, settings, update_programs.KERNEL_INSTALL + refuse))
    if family != _DEB:
        made.update(_watch())
        if is_signed:
            made[f"{_INSTALL_DIRECTORY}/05-os-image-signed.install"] = UpdateFile(_REFUSE_PLUGIN, 0o755)
    elif is_signed:
        made.update(_refusals())
    elif not files.exists("/etc/kernel/postinst.d/zz-systemd-boot"):
        made.update(_kernel_hooks())
    return made


def grub_files(files: TreeFiles, *, family: str, menu: GrubMenu) -> UpdateFiles:
    """Return what brings kernels to GRUB's menu.

    :param files: The root tree.
    :param family: Of its packages: V(deb) or V(rpm).
    """
    present = files.read("/etc/default/grub") or ""
    made = {"/etc/default/grub": UpdateFile(f"{present}{_grub_defaults(menu)}")}
    places = [f"/usr/{place}/{name}" for name in ("grub2-mkconfig", "grub-mkconfig") for place in ("sbin", "bin")]
    settings = {"menu": menu.path, "mkconfig": next((place for place in places if files.exists(place)), "")}
    for name in ("header", "title", "partition", "prefix", "cmdline", "pinned"):
        settings[name] = getattr(menu, name)
    made.update(_program(family, settings, update_programs.GRUB))
    if family != _DEB:
        made.update(_watch())
        made["/etc/kernel/install.conf"] = UpdateFile(f"{_BY}\nlayout=other\n")
        made[f"{_INSTALL_DIRECTORY}/95-os-image-grub.install"] = UpdateFile(_PLUGIN, 0o755)
    else:
        # Behind the distribution's own, where it has some: they do what these have not done.
        made.update(_kernel_hooks(f"z{_HOOK}", of_initrd=False))
    return made


def beside(made: UpdateFiles) -> UpdateFiles:
    """Return what brings kernels to a second bootloader, under names of its own.

    How kernel-install lays out its entries is the first one's business.
    """

    def renamed(text: str) -> str:
        for name in (update_programs.BOOT_ENTRY, _WATCH, _HOOK):
            text = text.replace(name, f"{name}-beside")
        return text

    return {
        renamed(path): UpdateFile(renamed(file.text), file.mode)
        for path, file in made.items()
        if path != "/etc/kernel/install.conf"
    }


def immutable_files(family: str) -> UpdateFiles:
    """Return what says, when packages are to be installed, that the system is updated as a whole."""
    if family != _DEB:
        # rpm reads it when a transaction begins.
        return {"/etc/rpm/macros.os-image": UpdateFile(f"%_rpmlock_path %{{error:{_IMMUTABLE}}}\n")}
    program = f"{_SHELL}cat >&2 <<'END'\n{_IMMUTABLE}\nEND\nexit 1\n"
    return {
        _REFUSE_CHANGES: UpdateFile(program, 0o755),
        "/etc/dpkg/dpkg.cfg.d/os-image": UpdateFile(f"{_BY}\npre-invoke={_REFUSE_CHANGES}\n"),
    }


def _program(family: str, settings: t.Mapping[str, str], functions: str) -> UpdateFiles:
    assigned = "".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items())
    own = update_programs.DEB if family == _DEB else update_programs.RPM
    text = f"{update_programs.HEAD}{assigned}{own}{functions}{update_programs.TAIL}"
    return {update_programs.BOOT_ENTRY: UpdateFile(text, 0o755)}


def _kernel_hooks(name: str = _HOOK, *, of_initrd: bool = True) -> UpdateFiles:
    """Return hooks for packages of Debian's kernels; see chapter 4 of the Debian kernel handbook."""
    made = {
        # Behind those that make an initramfs.
        f"/etc/kernel/postinst.d/{name}": UpdateFile(_ADD, 0o755),
        f"/etc/kernel/postrm.d/{name}": UpdateFile(_REMOVE, 0o755),
    }
    if of_initrd:
        made["/etc/initramfs/post-update.d/os-image"] = UpdateFile(_INITRD_MADE, 0o755)
    return made


def _refusals() -> UpdateFiles:
    """Return what refuses kernels before their packages are unpacked; and what removes the entries of old ones."""
    apt = f'// Made when the image was built.\nDPkg::Pre-Install-Pkgs {{ "{_APT_ARCHIVES}"; }};\n'
    return {
        "/etc/kernel/preinst.d/os-image": UpdateFile(_REFUSE_HOOK, 0o755),
        f"/etc/kernel/postrm.d/{_HOOK}": UpdateFile(_REMOVE, 0o755),
        "/etc/apt/apt.conf.d/60os-image": UpdateFile(apt),
        _APT_ARCHIVES: UpdateFile(_REFUSE_ARCHIVES, 0o755),
    }


def _watch() -> UpdateFiles:
    """Return the units that look for kernels whose packages say nothing, and once at each start."""
    service = (
        f"{_BY}\n[Unit]\nDescription=Bring the installed kernels to the bootloader\n"
        "RequiresMountsFor=/boot /boot/efi\nStartLimitIntervalSec=0\n"
        f"\n[Service]\nType=oneshot\nExecStart={update_programs.BOOT_ENTRY} sync\n"
    )
    path = (
        f"{_BY}\n[Unit]\nDescription=Look for kernels that are installed or removed\n"
        "\n[Path]\nPathChanged=/usr/lib/modules\nPathChanged=/boot\n"
    )
    wanted = f"{_BY}\n[Unit]\nWants={_WATCH}.path {_WATCH}.service\n"
    return {
        f"{_UNIT_DIRECTORY}/{_WATCH}.service": UpdateFile(service),
        f"{_UNIT_DIRECTORY}/{_WATCH}.path": UpdateFile(path),
        f"{_UNIT_DIRECTORY}/multi-user.target.d/{_WATCH}.conf": UpdateFile(wanted),
    }


def _grub_defaults(menu: GrubMenu) -> str:
    default = f"gnulinux-advanced-{menu.root}>gnulinux-{menu.pinned}-advanced-{menu.root}" if menu.pinned else "0"
    settings = {
        "GRUB_DEFAULT": default,
        "GRUB_TIMEOUT": str(menu.timeout),
        "GRUB_TIMEOUT_STYLE": "menu" if menu.is_shown else "hidden",
        # Ubuntu's, for a start behind one that failed.
        "GRUB_RECORDFAIL_TIMEOUT": str(menu.timeout),
        "GRUB_DISTRIBUTOR": menu.distributor,
        "GRUB_CMDLINE_LINUX_DEFAULT": "",
        "GRUB_CMDLINE_LINUX": menu.cmdline,
        "GRUB_TERMINAL": "console serial" if menu.serial else "console",
        **({"GRUB_SERIAL_COMMAND": menu.serial} if menu.serial else {}),
        # A menu of kernels, as the build wrote it; Fedora's reads entries that others make.
        "GRUB_DISABLE_OS_PROBER": "true",
        "GRUB_DISABLE_RECOVERY": "true",
        "GRUB_ENABLE_BLSCFG": "false",
    }
    lines = [
        "# Made when the image was built: update-grub or grub2-mkconfig makes the menu that the image began with.",
        *(f"{name}={shlex.quote(value)}" for name, value in settings.items()),
    ]
    return "".join(f"{line}\n" for line in lines)


__all__ = ("GrubMenu", "UpdateFile", "UpdateFiles", "beside", "grub_files", "immutable_files", "systemd_boot_files")
