# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Additional files of the template, copied into a root tree."""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.homes import homes, make_parents
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._template.model import AdditionalFile
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles


def install_additional_files(files: TreeFiles, entries: t.Sequence[AdditionalFile]) -> None:
    """Copy the template's additional files into the tree.

    :param entries: The template's C(systemConfig.additionalFiles).
    :raises ChrootError: A file is missing, an owner does not exist, or the path cannot be.
    """
    known = homes(files)
    for entry in entries:
        local, final = entry.local, entry.final
        try:
            mode = os.stat(local).st_mode
            uid = files.account_id("passwd", entry.owner)
            gid = files.account_id("group", entry.group)
            for kind, account, number in (("owner", entry.owner, uid), ("group", entry.group, gid)):
                if number is None:
                    raise ChrootError(
                        f"The additional file {final} shall have the {kind} {account!r}, who does not exist in the "
                        "image.",
                        remedy="Name the user in systemConfig.users, or install the package that makes the account.",
                    )
            if uid is None:
                raise AssertionError("uid is known here")
            if gid is None:
                raise AssertionError("gid is known here")
            # Who may write the original does not matter in the image; whether it is a program does.
            wanted = int(entry.mode, 8) if entry.mode else stat.S_IMODE(mode) & 0o755
            with open(local, "rb") as source:
                make_parents(files, final, known)
                files.copy(source, final, mode=wanted, uid=uid, gid=gid)
        except OSError as exc:
            raise ChrootError(
                f"The additional file {local} cannot be copied to {final} of the image: {exc.strerror}."
            ) from exc


__all__ = ("install_additional_files",)
