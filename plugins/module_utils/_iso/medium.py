# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The ISO itself: one file that is a CD, and a disk on a USB stick; for the BIOS and for UEFI."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._disk.content import measure_tree
from ansible_collections.os_image.composer.plugins.module_utils._disk.space import require_space
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.usage import Usage
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.vfat import Fat16
from ansible_collections.os_image.composer.plugins.module_utils._identity import derive_hex
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._iso.menu import GrubFiles
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.vfat import VfatMaker
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.volume import Source, Volume
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import ESP
from ansible_collections.os_image.composer.plugins.module_utils._size import MIB, align_up

_ELTORITO = "boot/grub/eltorito.img"
# "Microsoft basic data": what firmware and other systems take for a partition with files.
_BASIC_DATA = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"


#: The checksums of all files of the ISO, under a name that live-boot looks for.
CHECKSUMS = "SHA256SUMS"


class IsoMedium:
    """The files of an ISO on their way.

    :param directory: An empty directory that becomes the root directory of the ISO.
    """

    def __init__(self, directory: str, *, epoch: int) -> None:
        self.directory = directory
        self._epoch = epoch

    def path(self, name: str) -> str:
        """Return where to make the file C(name) of the ISO; its directory is made."""
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        return path

    def add_text(self, name: str, text: str) -> None:
        """Add a text file."""
        with open(self.path(name), "w", encoding="utf-8", newline="") as stream:
            stream.write(text)

    def write(
        self, path: str, grub: GrubFiles, *, volume_id: str, build_digest: str, scratch: str, runner: CommandRunner
    ) -> None:
        """Write the ISO.

        :param path: The file to write.
        :param scratch: A directory for temporary files.
        :raises DiskError: There is no room for it.
        """
        require_space(os.path.dirname(path), measure_tree(self.directory).size, what="The ISO")
        esp = _make_esp(grub, scratch, build_digest=build_digest, epoch=self._epoch, runner=runner)
        # Without Secure Boot, who copies the files of an ISO onto a FAT stick boots from it as well.
        _copy(grub.efi, self.path(grub.efi_path))
        command = [find_tool("xorriso"), "-as", "mkisofs", "-quiet", "-iso-level", "3", "-r"]
        command += ["-J", "-joliet-long", "-V", volume_id, "-o", path, "-partition_offset", "16"]
        if grub.eltorito is not None and grub.hybrid is not None:
            _copy(grub.eltorito, self.path(_ELTORITO))
            command += ["--grub2-mbr", grub.hybrid, "-b", _ELTORITO, "-c", "boot/boot.cat", "-no-emul-boot"]
            command += ["-boot-load-size", "4", "-boot-info-table", "--grub2-boot-info", "-eltorito-alt-boot"]
        command += ["-append_partition", "2", ESP.upper(), esp, "-appended_part_as_gpt"]
        command += ["-iso_mbr_part_type", _BASIC_DATA, "-e", "--interval:appended_partition_2:all::", "-no-emul-boot"]
        self._add_checksums()
        self._settle()
        # All dates and identifiers of xorriso follow from this one.
        runner = runner.with_environment({"SOURCE_DATE_EPOCH": str(self._epoch)})
        runner.run([*command, self.directory], what="Writing the ISO")

    def _add_checksums(self) -> None:
        """Let who has the medium check it: live-boot does with C(verify-checksums), everybody by C(sha256sum --check).

        xorriso's own MD5 sums would cost as much as half of the squashfs.
        """
        lines = []
        for parent, _directories, names in os.walk(self.directory):
            for name in names:
                path = os.path.join(parent, name)
                shown = os.path.relpath(path, self.directory)
                # xorriso writes into this one where it lies in the ISO.
                if shown != _ELTORITO:
                    lines.append(f"{sha256_file(path)}  {shown}\n")
        self.add_text(CHECKSUMS, "".join(sorted(lines, key=lambda line: line[66:])))

    def _settle(self) -> None:
        """Give everything one time and plain permissions."""
        for parent, directories, names in os.walk(self.directory):
            for name in names:
                os.chmod(os.path.join(parent, name), 0o644)
            for name in (*directories, *names):
                os.utime(os.path.join(parent, name), (self._epoch, self._epoch))
        for parent, _directories, _names in os.walk(self.directory):
            os.chmod(parent, 0o755)
            os.utime(parent, (self._epoch, self._epoch))


def _make_esp(grub: GrubFiles, scratch: str, *, build_digest: str, epoch: int, runner: CommandRunner) -> str:
    path = os.path.join(scratch, "esp.img")
    size = max(align_up(os.path.getsize(grub.efi) + MIB, MIB), Fat16.least_size + MIB)
    with open(path, "xb") as stream:
        stream.truncate(size)
    serial = derive_hex(build_digest, "iso/esp", 8).upper()
    volume = Volume(
        name="esp",
        image=path,
        offset=0,
        size=size,
        label="ESP",
        identifier=f"{serial[:4]}-{serial[4:]}",
        seed="",
        epoch=epoch,
        scratch=scratch,
    )
    VfatMaker(Fat16(Fat16.names[0])).write(volume, Source(None, {grub.efi_path: grub.efi}, Usage()), runner)
    return path


def _copy(source: str, destination: str) -> None:
    with open(source, "rb") as reader, open(destination, "xb") as writer:
        data: t.Any = reader.read()
        writer.write(data)


__all__ = ("CHECKSUMS", "IsoMedium")
