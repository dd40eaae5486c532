# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Documentation that is left out of a tree of DEB packages, by the path filters of dpkg(1)."""

from __future__ import annotations

import fnmatch
import re
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.deb_archive import TarMember

#: Where the image's own dpkg reads what it leaves out.
DOCUMENTATION_FILTER = "/etc/dpkg/dpkg.cfg.d/documentation"

# The last that matches a path counts. The licences stay, and so do the manual's directories: update-alternatives wants
# them for links to pages that lie elsewhere.
_RULES: t.Sequence[t.Tuple[str, str]] = (
    ("exclude", "/usr/share/doc/*"),
    ("include", "/usr/share/doc/*/copyright"),
    ("exclude", "/usr/share/man/*/*"),
    ("exclude", "/usr/share/doc-base/*"),
    ("exclude", "/usr/share/groff/*"),
    ("exclude", "/usr/share/info/*"),
    ("exclude", "/usr/share/lintian/*"),
)
_PATTERNS = tuple((action == "include", re.compile(fnmatch.translate(glob))) for action, glob in _RULES)
_INCLUDED_BELOW = tuple(glob.partition("*")[0].rstrip("/") for action, glob in _RULES if action == "include")

#: What is written there.
FILTER_TEXT = "".join(f"path-{action}={glob}\n" for action, glob in _RULES)


def is_kept(member: TarMember) -> bool:
    """Tell whether dpkg with this filter would unpack something: see filter_should_skip() in its src/main/filters.c."""
    kept = True
    for included, pattern in _PATTERNS:
        if pattern.match(member.path):
            kept = included
    # Something in a directory, or behind a link to one, may be included.
    return kept or (member.file_type in (stat.S_IFDIR, stat.S_IFLNK) and member.path.startswith(_INCLUDED_BELOW))


__all__ = ("DOCUMENTATION_FILTER", "FILTER_TEXT", "is_kept")
