# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Commands and scripts of the template, run in the tree."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Configuration, Script
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

_SCRIPT = "/run/script"
_COMMAND = "/run/command"


def run_configurations(
    files: TreeFiles, sandbox: Sandbox, entries: t.Sequence[Configuration], *, progress: Progress
) -> None:
    """Run the commands of C(systemConfig.configurations) in their order.

    :raises CommandError: One failed; the message names it.
    """
    shell = "/bin/bash" if files.is_executable("/bin/bash") else "/bin/sh"
    for index, entry in enumerate(entries):
        progress.milestone("Chroot", f"Running configuration command {index + 1}/{len(entries)}")
        # Not as an argument, which anybody on the build host could read in /proc, and which is in logs and errors: what
        # commands set up has passwords and tokens in it.
        sandbox.run(
            [shell, "-c", f". {_COMMAND}"],
            files={_COMMAND: f"{entry.cmd}\n"},
            what=f"The command systemConfig.configurations[{index}]",
        )


def run_scripts(sandbox: Sandbox, entries: t.Sequence[Script], *, moment: str, progress: Progress) -> None:
    """Run the scripts of the template.

    :param moment: V(preInstall) or V(postInstall).
    :raises CommandError: One failed; the message names it.
    """
    for index, entry in enumerate(entries):
        name = entry.name or os.path.basename(entry.file or "") or f"number {index + 1}"
        progress.milestone("Chroot", f"Running script {name}")
        if entry.file:
            try:
                with open(entry.file, encoding="utf-8") as stream:
                    content = stream.read()
            except (OSError, ValueError) as exc:
                raise ChrootError(f"The script {entry.file} cannot be read: {exc}.") from exc
        else:
            content = entry.inline or ""
        if not content.startswith("#!"):
            content = f"#!/bin/sh\n{content}"
        sandbox.run(
            [_SCRIPT],
            files={_SCRIPT: content},
            network=entry.network,
            what=f"The script systemConfig.scripts.{moment}[{index}] ({name})",
        )


__all__ = ("run_configurations", "run_scripts")
