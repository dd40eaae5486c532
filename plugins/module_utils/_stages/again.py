# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Stages that make an image again which was removed to save space, for the stages that come after them.

They are imported only where an image is made again: all other runs of those stages start sooner without their programs.
"""

from __future__ import annotations

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._stage import Stage, StageOptions


def compose_again(build: BuildDirectory, options: StageOptions) -> Stage:
    """Return the stage that composes the image."""
    from ansible_collections.os_image.composer.plugins.module_utils._stages.disk_compose import DiskCompose

    return DiskCompose(build, options)


def sign_again(build: BuildDirectory, options: StageOptions, *, passphrase: str | None) -> Stage:
    """Return the stage that signs the image.

    :param passphrase: See :class:`ImageSign`.
    """
    from ansible_collections.os_image.composer.plugins.module_utils._stages.image_sign import ImageSign

    return ImageSign(build, options, compose=compose_again, passphrase=passphrase)


__all__ = ("compose_again", "sign_again")
