# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The families of packages, by the name that a provider gives them.

Only the one that is asked for is imported: a run that has nothing to do starts sooner without the other.
"""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.installer import Installer


def _deb() -> type[Installer]:
    from ansible_collections.os_image.composer.plugins.module_utils._chroot.deb import DebInstaller

    return DebInstaller


def _rpm() -> type[Installer]:
    from ansible_collections.os_image.composer.plugins.module_utils._chroot.rpm import RpmInstaller

    return RpmInstaller


#: What returns the installer of each family.
INSTALLERS: t.Mapping[str, t.Callable[[], type[Installer]]] = {"deb": _deb, "rpm": _rpm}


def installer_of(family: str) -> type[Installer]:
    """Return what installs the packages of a family."""
    return INSTALLERS[family]()


__all__ = ("INSTALLERS", "installer_of")
