# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The configuration of the installed tree: all of C(systemConfig) that is done there, in its order.

Accounts come before files, because files have owners; files come after everything that this collection writes by
itself, so that the template has the last word; services and access control come after files, because files may be
units and policies; commands and scripts come last.
"""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.access_control import set_up_access_control
from ansible_collections.os_image.composer.plugins.module_utils._chroot.additional_files import install_additional_files
from ansible_collections.os_image.composer.plugins.module_utils._chroot.cleanup import (
    clean_up,
    generate_host_keys_at_boot,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.hardening import check_hardening, harden
from ansible_collections.os_image.composer.plugins.module_utils._chroot.host_name import host_files
from ansible_collections.os_image.composer.plugins.module_utils._chroot.installer import Installer, Repositories
from ansible_collections.os_image.composer.plugins.module_utils._chroot.localization import set_locale, set_timezone
from ansible_collections.os_image.composer.plugins.module_utils._chroot.machine_secrets import MachineSecrets
from ansible_collections.os_image.composer.plugins.module_utils._chroot.network import configure_network
from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._chroot.scripts import run_configurations, run_scripts
from ansible_collections.os_image.composer.plugins.module_utils._chroot.services import set_up_services
from ansible_collections.os_image.composer.plugins.module_utils._chroot.users import check_shells, create_users
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress
from ansible_collections.os_image.composer.plugins.module_utils._template.model import SystemConfig
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

#: The parts of systemConfig that the configuration layer is made from.
CONFIGURATION_KEYS = (
    "additionalFiles",
    "configurations",
    "hostname",
    "locale",
    "network",
    "security",
    "services",
    "timezone",
    "users",
)


def configure(
    root: str,
    sandbox: Sandbox,
    system: SystemConfig,
    repositories: Repositories,
    *,
    family: type[Installer],
    progress: Progress,
    modules: t.Sequence[t.Mapping[str, t.Any]] = (),
) -> MachineSecrets:
    """Apply C(systemConfig) to a tree in which all packages are installed; returns what has become of its secrets.

    :param root: Absolute path of the tree.
    :param repositories: The provider's and the template's, as in C(template.json), with keys that are paths.
    :param family: Knows where things are in trees of its packages.
    :raises ChrootError: Something of it cannot be done; the message names it.
    :raises CommandError: A command of the template or of the tree failed.
    """
    files = TreeFiles(root)
    brought = {files.resolve(entry.final, follow_last=False) for entry in system.additional_files}
    secrets = MachineSecrets(files, brought)
    with family.forbidden_services(root):
        if system.hostname:
            for path, content in host_files(system.hostname).items():
                files.write(path, content)
        set_timezone(files, system.timezone, name_file=family.timezone_file)
        set_locale(files, sandbox, system.locale, path=family.locale_file)
        create_users(files, sandbox, system.users)
        units, warnings = configure_network(files, system.network)
        for warning in warnings:
            progress.milestone("Chroot", warning, level="warn")
        family.configure_sources(files, repositories)
        family.enable_modules(files, modules)
        harden(files, system.security.hardening)
        secrets.make_units()
        install_additional_files(files, system.additional_files)
        generate_host_keys_at_boot(files)
        services = system.services
        unwanted = {*services.disable, *services.mask}
        own = [unit for unit in units if unit not in unwanted and unit.partition(".")[0] not in unwanted]
        set_up_services(files, sandbox, services.replace(enable=(*own, *services.enable)))
        check_shells(files, system.users)
        check_hardening(files, system.security.hardening)
        set_up_access_control(files, system.security)
        run_configurations(files, sandbox, system.configurations, progress=progress)
        run_scripts(sandbox, system.scripts.post_install, moment="postInstall", progress=progress)
    # First, as it knows more of the machine's ID than to remove it.
    clean_up(files, family.leftovers, brought=brought)
    secrets.remove()
    return secrets


__all__ = ("CONFIGURATION_KEYS", "configure")
