# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The version of ansible-core on the controller.

Ansible only warns where a collection wants a newer one (C(requires_ansible) in meta/runtime.yml), and goes on to an
ImportError or another error that nobody understands. So the plugins that every build begins with ask here first.
"""

from __future__ import annotations

from ansible import __version__
from ansible.errors import AnsibleError

#: The oldest version that will do, as in meta/runtime.yml.
REQUIRED = (2, 19)


def require_version(version: str = __version__) -> None:
    """Check a version of ansible-core.

    :raises AnsibleError: It is too old.
    """
    if tuple(int(part) for part in version.split(".")[:2]) < REQUIRED:
        wanted = ".".join(map(str, REQUIRED))
        raise AnsibleError(
            f"os_image.composer needs ansible-core {wanted} or newer, and this is {version}. Install a newer one, for "
            f"example by: python3 -m pip install 'ansible-core>={wanted}'"
        )


__all__ = ("REQUIRED", "require_version")
