# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""systemd-boot: with entries of the Boot Loader Specification, or with unified kernel images.

U(https://uapi-group.org/specifications/specs/boot_loader_specification/)
"""

from __future__ import annotations

import gzip
import os
import shutil
import typing as t
import zlib

from ansible_collections.os_image.composer.plugins.module_utils._boot.bootloader import (
    BootContext,
    BootFiles,
    Bootloader,
    os_release,
    os_release_text,
)
from ansible_collections.os_image.composer.plugins.module_utils._boot.esp import efi_name, fallback_path
from ansible_collections.os_image.composer.plugins.module_utils._boot.kernel import Kernel
from ansible_collections.os_image.composer.plugins.module_utils._boot.kernel_updates import (
    UpdateFiles,
    systemd_boot_files,
)
from ansible_collections.os_image.composer.plugins.module_utils._boot.uki import Section, write_uki
from ansible_collections.os_image.composer.plugins.module_utils._bootloader import EFI, SYSTEMD_BOOT
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError

_DIRECTORY = "/usr/lib/systemd/boot/efi"
# Debian's, Fedora's and Azure Linux's names.
_PACKAGES = ("systemd-boot-efi", "systemd-boot-unsigned", "systemd-boot")
# What may follow a number in a version; a hyphen stands last in a set.
_AFTER_NUMBER = ".+~_-"
_GZIP = b"\x1f\x8b"


class SystemdBoot(Bootloader):
    """systemd-boot, from the image's own systemd."""

    name = SYSTEMD_BOOT
    boot_type = EFI

    def add_files(self, context: BootContext, files: BootFiles) -> None:
        arch = efi_name(context.arch)
        loader = context.path(context.in_tree(f"{_DIRECTORY}/systemd-boot{arch}.efi", packages=_PACKAGES))
        files.esp.add(fallback_path(context.arch), loader)
        # Where bootctl looks when it updates the bootloader of the running system.
        files.esp.add(f"EFI/systemd/systemd-boot{arch}.efi", loader)
        release = os_release(context.tree)
        token = _token(release)
        if context.use_uki:
            self.add_ukis(context, files)
        else:
            for kernel in context.kernels:
                entry = f"{token}-{kernel.version}{_suffix(context)}"
                self._add_entry(files, context, kernel, f"loader/entries/{entry}", token, release)
                files.entries.append(entry)
        # With a command line of their own anybody at the console would be root.
        lines = [
            f"default {_default(context, token)}",
            f"timeout {context.timeout or 0}",
            "console-mode keep",
            "editor no",
        ]
        files.esp.add_text("loader/loader.conf", "".join(f"{line}\n" for line in lines))

    def add_ukis(self, context: BootContext, files: BootFiles) -> t.List[str]:
        """Add a unified kernel image of each kernel, and return their paths on the EFI system partition."""
        token, paths = _token(os_release(context.tree)), []
        for kernel in context.kernels:
            entry = f"{token}-{kernel.version}{_suffix(context)}"
            paths.append(f"EFI/Linux/{entry}")
            self._add_uki(files, context, kernel, paths[-1], efi_name(context.arch))
            files.entries.append(entry)
        return paths

    def update_files(self, context: BootContext) -> UpdateFiles:
        esp = context.layout.esp
        stub = f"{_DIRECTORY}/linux{efi_name(context.arch)}.efi.stub"
        return systemd_boot_files(
            context.files,
            family=context.family,
            esp=(esp.mount_point if esp is not None else None) or "",
            token=_token(os_release(context.tree)),
            cmdline=context.cmdline,
            stub=stub if context.use_uki else "",
            is_signed=context.is_signed,
        )

    @staticmethod
    def _program(context: BootContext, kernel: Kernel) -> str:
        """Return the host's path of a kernel as firmware starts it: for Arm it may be packed in a gzip file."""
        path = context.path(kernel.image)
        with open(path, "rb") as stream:
            if stream.read(2) != _GZIP:
                return path
        plain = os.path.join(context.scratch, f"vmlinux-{kernel.version}")
        if not os.path.exists(plain):
            try:
                with gzip.open(path) as packed, open(plain, "wb") as target:
                    shutil.copyfileobj(packed, target, 1 << 20)
            except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
                raise BootError(
                    f"The kernel {kernel.image} cannot be unpacked: {exc}.",
                    remedy="Look for what damages it: a script or an additional file of the template.",
                ) from exc
        return plain

    def _add_uki(self, files: BootFiles, context: BootContext, kernel: Kernel, path: str, arch: str) -> None:
        stub = context.path(context.in_tree(f"{_DIRECTORY}/linux{arch}.efi.stub", packages=_PACKAGES))
        sections = [
            Section(".osrel", os_release_text(context.tree).encode("utf-8")),
            Section(".cmdline", context.cmdline.encode("utf-8") + b"\0"),
            Section(".uname", kernel.version.encode("utf-8")),
            Section(".initrd", context.path(kernel.initrd)),
            Section(".linux", self._program(context, kernel)),
        ]
        made = files.esp.new_file(path)
        write_uki(stub, made, sections)
        files.esp.add(path, made)

    def _add_entry(
        self,
        files: BootFiles,
        context: BootContext,
        kernel: Kernel,
        path: str,
        token: str,
        release: t.Mapping[str, str],
    ) -> None:
        places = []
        # Names, keys and places are those of kernel-install, which goes on with them in the running system.
        for source, name in ((kernel.image, "linux"), (kernel.initrd, os.path.basename(kernel.initrd))):
            place = context.on_esp(source)
            if place is None:
                place = f"{token}/{kernel.version}/{name}"
                files.esp.add(place, self._program(context, kernel) if name == "linux" else context.path(source))
            places.append(place)
        lines = [
            f"title {release.get('PRETTY_NAME') or 'Linux'}",
            f"version {kernel.version}",
            f"sort-key {release.get('IMAGE_ID') or token}",
            f"linux /{places[0]}",
            f"initrd /{places[1]}",
            f"options {context.cmdline}",
        ]
        files.esp.add_text(path, "".join(f"{line}\n" for line in lines))


def _token(release: t.Mapping[str, str]) -> str:
    """Return what the names of entries begin with."""
    return release.get("ID") or "linux"


def _default(context: BootContext, token: str) -> str:
    """Return a pattern for the default entry: of those that it stands for, systemd-boot takes the newest."""
    wanted, first = context.wanted, context.kernels[0].version
    # With another digit it would be another version. systemd-boot knows no negated sets.
    after, rest = (f"[{_AFTER_NUMBER}]" if wanted[-1:].isdigit() else ""), first[len(wanted) :]
    if wanted and (not rest or (after and rest[0] not in _AFTER_NUMBER)):
        return f"{token}-{first}{_suffix(context)}"
    return f"{token}-{wanted}{after}*{_suffix(context)}"


def _suffix(context: BootContext) -> str:
    return ".efi" if context.use_uki else ".conf"


__all__ = ("SystemdBoot",)
