# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The stage disk_compose: from the root tree to the image, whose type does the work."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._artifact.checksums import (
    CHECKSUMS_OF_FILES,
    write_checksums,
)
from ansible_collections.os_image.composer.plugins.module_utils._boot.cmdline import security_words
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import Facts
from ansible_collections.os_image.composer.plugins.module_utils._chroot.tree import RootTree
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._compose.kinds import image_of
from ansible_collections.os_image.composer.plugins.module_utils._compose.workplace import Workplace
from ansible_collections.os_image.composer.plugins.module_utils._io import write_file
from ansible_collections.os_image.composer.plugins.module_utils._stage import Decision, Outcome, Stage
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument
from ansible_collections.os_image.composer.plugins.module_utils._template.immutability import Protection
from ansible_collections.os_image.composer.plugins.module_utils._version import COLLECTION_VERSION

if t.TYPE_CHECKING:
    from ansible_collections.os_image.composer.plugins.module_utils._artifact.sbom import Bill


class DiskCompose(Stage):
    """Composes the image."""

    name = "disk_compose"
    topic = "Disk"
    version = 4

    def inputs(self) -> Facts:
        document = TemplateDocument.read(self.build)
        chroot = self.build.require("chroot_configure")
        lock = self.build.read_document("packages.lock.json")
        image = image_of(document)
        protection = Protection.of(document.system.immutability, document.disk)
        words = security_words(document.system.security, arch=document.provider.arch)
        return {
            **image.inputs(),
            "root tree": {layer["name"]: layer["digest"] for layer in chroot.result["layers"]},
            "disk": _without(document.section("disk"), "artifacts", "name"),
            "bootloader": document.section("systemConfig", "bootloader"),
            "kernel": _without(document.section("systemConfig", "kernel"), "name"),
            **({"protection": protection.as_facts()} if protection else {}),
            "kernel words of systemConfig.security": words,
            "build digest": document.build_digest(lock),
            "source date": lock["source_date_epoch"],
            "host tools": image.tool_versions(),
            # The bill of materials in the image names it.
            "collection": {"version": COLLECTION_VERSION},
        }

    def plan(self) -> Facts | None:
        return image_of(TemplateDocument.read(self.build)).facts()

    def execute(self, decision: Decision) -> Outcome:
        # A run that has nothing to do starts sooner without it.
        from ansible_collections.os_image.composer.plugins.module_utils._artifact.sbom import Bill

        document = TemplateDocument.read(self.build)
        lock = self.build.read_document("packages.lock.json")
        tree = RootTree.from_stamp(self.build.require("chroot_configure"))
        bill = Bill.of(document, lock, tree.layers)
        directory = self.build.join("disk")
        os.makedirs(directory, mode=0o700, exist_ok=True)
        image = image_of(document)
        composed = image.compose(
            Workplace(
                document,
                lock,
                tree,
                directory,
                self.options.workers,
                CommandRunner(log=self.progress),
                self.progress,
                lambda root: self._bills(bill, root),
            )
        )
        files = [*composed.files.values(), *([self.build.join(*CHECKSUMS_OF_FILES)] if bill.lists_files else [])]
        return Outcome(result=composed.result, outputs=dict.fromkeys(files), facts=image.facts())

    def _bills(self, bill: Bill, root: str) -> t.Mapping[str, bytes]:
        """Return the bills of materials that go into a tree."""
        self.progress.milestone(self.topic, "Writing the bill of materials")
        checksums = bill.checksums(root, workers=self.options.workers)
        if checksums is not None:
            write_file(self.build.join(*CHECKSUMS_OF_FILES), write_checksums(checksums))
        return bill.inside(checksums)


def _without(section: t.Mapping[str, t.Any], *keys: str) -> t.Dict[str, t.Any]:
    return {key: value for key, value in section.items() if key not in keys}


__all__ = ("DiskCompose",)
