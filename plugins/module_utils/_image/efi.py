# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""EFI programs: what they consist of, what a unified kernel image says, and who signed them."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot.uki import read_sections
from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError
from ansible_collections.os_image.composer.plugins.module_utils._image.sandbox import ParserSandbox
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file

_CHUNK = 1 << 20
# What sbverify puts before a subject and an issuer.
_SUBJECT, _ISSUER = "- subject:", "issuer:"


@dataclasses.dataclass(frozen=True)
class Signature:
    """A certificate that an EFI program is signed with, or that belongs to the chain of one."""

    subject: str
    issuer: str


@dataclasses.dataclass(frozen=True)
class EfiProgram:
    """An EFI program.

    :ivar path: Its path, with a leading slash.
    :ivar partition: The number of the partition; V(None) when it lies in an ISO.
    :ivar sections: Name -> SHA-256 of the content; empty when it is damaged.
    :ivar cmdline: The kernel command line of a unified kernel image; empty for others.
    :ivar os_release: The section C(.osrel) of a unified kernel image.
    :ivar kernel_version: The section C(.uname) of a unified kernel image.
    :ivar signatures: By signature, the certificates that it brings.
    """

    path: str
    partition: int | None
    size: int
    sha256: str
    sections: t.Mapping[str, str]
    cmdline: str
    os_release: t.Mapping[str, str]
    kernel_version: str
    signatures: t.Sequence[Signature]

    @property
    def is_uki(self) -> bool:
        """Whether it is a unified kernel image."""
        return {".linux", ".initrd"} <= self.sections.keys()

    def as_facts(self) -> t.Dict[str, t.Any]:
        """Return the form of results."""
        return {
            "path": self.path,
            "partition": self.partition,
            "size": self.size,
            "sha256": self.sha256,
            "kind": "uki" if self.is_uki else "program",
            "sections": list(self.sections),
            "cmdline": self.cmdline,
            "os_release": dict(self.os_release),
            "kernel_version": self.kernel_version,
            "signatures": [dataclasses.asdict(signature) for signature in self.signatures],
        }


def parse_os_release(text: str) -> t.Dict[str, str]:
    """Return the fields of os-release(5)."""
    fields = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            fields[name] = value.strip("\"'")
    return fields


def read_program(file: str, path: str, partition: int | None, runner: ParserSandbox) -> EfiProgram:
    """Look at an EFI program.

    :param file: Where it lies on the host.
    :param path: Where it lies in the image.
    """
    digests: t.Dict[str, str] = {}
    texts: t.Dict[str, str] = {}
    try:
        sections = read_sections(file)
    except BootError:
        sections = {}
    with open(file, "rb") as stream:
        for name, (offset, length) in sections.items():
            stream.seek(offset)
            digest = hashlib.sha256()
            left = length
            while left:
                data = stream.read(min(left, _CHUNK))
                digest.update(data)
                left -= len(data)
            digests[name] = digest.hexdigest()
            if name in (".cmdline", ".osrel", ".uname"):
                stream.seek(offset)
                texts[name] = stream.read(length).rstrip(b"\0").decode("utf-8", errors="replace").strip()
    return EfiProgram(
        path=path,
        partition=partition,
        size=os.stat(file).st_size,
        sha256=sha256_file(file),
        sections=digests,
        cmdline=texts.get(".cmdline", ""),
        os_release=parse_os_release(texts.get(".osrel", "")),
        kernel_version=texts.get(".uname", ""),
        signatures=_signatures(file, runner) if sections else (),
    )


def _signatures(file: str, runner: ParserSandbox) -> t.List[Signature]:
    sbverify = find_tool("sbverify")
    # Its status is 1 when there is no signature.
    done = runner.reading(file).run([sbverify, "--list", file], check=False, merge_output=True)
    found = []
    subject = ""
    for line in done.text.splitlines():
        words = line.strip()
        if words.startswith(_SUBJECT):
            subject = words[len(_SUBJECT) :].strip()
        elif words.startswith(_ISSUER) and subject:
            found.append(Signature(subject, words[len(_ISSUER) :].strip()))
            subject = ""
    return found


__all__ = ("EfiProgram", "Signature", "parse_os_release", "read_program")
