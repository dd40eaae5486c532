# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The families of packages, by the name that a provider gives them."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.deb import DebInstaller
from ansible_collections.os_image.composer.plugins.module_utils._chroot.installer import Installer
from ansible_collections.os_image.composer.plugins.module_utils._chroot.rpm import RpmInstaller

#: The installer of each family.
INSTALLERS: t.Mapping[str, type[Installer]] = {"deb": DebInstaller, "rpm": RpmInstaller}

__all__ = ("INSTALLERS",)
