# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Spellings of the same, written in one of them: the stages know a single word for each thing.

Values keep the place where they were written, so that messages about them name what the user wrote.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._bootloader import BOOTLOADERS
from ansible_collections.os_image.composer.plugins.module_utils._compression import compression_name
from ansible_collections.os_image.composer.plugins.module_utils._image_type import IMAGE_TYPES
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedList, LocatedMapping

_IMAGE_TYPES = {alias: name for name, traits in IMAGE_TYPES.items() for alias in traits.aliases}

_BOOTLOADERS = {alias: name for name, traits in BOOTLOADERS.items() for alias in traits.aliases}

# A repository in the words of dnf -> in those of packageRepositories.
_DNF_WORDS: t.Mapping[str, str] = {
    "name": "codename",
    "baseurl": "url",
    "metalink": "metalink",
    "mirrorlist": "mirrorlist",
    "gpgcheck": "gpgcheck",
    "repo_gpgcheck": "repoGpgcheck",
    "gpgkey": "pkey",
    "fingerprints": "fingerprints",
    "module_hotfixes": "moduleHotfixes",
}

# The keys for Secure Boot as immutability has them -> as signing.secureBoot does.
_SECURE_BOOT_WORDS: t.Mapping[str, str] = {
    "secureBootDBKey": "key",
    "secureBootDBCrt": "certificate",
    "secureBootDBCer": "certificateDer",
}

# The URLs of lists of mirrors say what they are, on all hosts that have such; dnf goes by that too.
_LIST_URL = re.compile(r"https?://(?:[^/?#]*\.)?(?:[^?#]*/)?(metalink|mirrorlist)(?:[./?].*)?\Z", re.IGNORECASE)

_UNIT_SUFFIXES = ("service", "socket", "timer", "path", "target", "mount", "automount", "swap", "slice")


def full_unit_name(name: str) -> str:
    """Return a unit's name with its suffix; C(.service) when it has none."""
    return name if name.rpartition(".")[2] in _UNIT_SUFFIXES else f"{name}.service"


def translate(template: LocatedMapping) -> None:
    """Translate, in place, what decides how a template is merged: the type of image, units, and C(repositories).

    :param template: Its sections have their forms, or are not there.
    """
    _replace(template.get("target", {}), "imageType", _IMAGE_TYPES)
    for units in template.get("systemConfig", {}).get("services", {}).values():
        units[:] = [full_unit_name(unit) for unit in units]
    if "repositories" not in template:
        return
    own = template.get("packageRepositories")
    merged = own.copy() if isinstance(own, LocatedList) else LocatedList(template["repositories"].origin)
    for item, origin in template["repositories"].entries():
        entry = LocatedMapping(item.origin)
        for key in item:
            entry.put(_DNF_WORDS[key], item[key], item.origins[key])
        merged.add(entry, origin)
    template.put("packageRepositories", merged, template.origins["repositories"])
    template.drop("repositories")


def normalise(template: LocatedMapping) -> None:
    """Write everything else, in place, in the one way that the stages know.

    :param template: A merged template with all defaults.
    """
    for artifact in template["disk"]["artifacts"]:
        if "compression" in artifact:
            artifact["compression"] = compression_name(artifact["compression"])
    for repository in template["packageRepositories"]:
        match = _LIST_URL.match(repository.get("url", ""))
        if match is not None:
            repository.put(match[1].lower(), repository["url"], repository.origins["url"])
            repository.drop("url")
    config = template["systemConfig"]
    _replace(config["bootloader"], "provider", _BOOTLOADERS)
    _move_secure_boot_keys(config)


def _replace(holder: t.Dict[str, t.Any], key: str, words: t.Mapping[str, str]) -> None:
    if key in holder:
        holder[key] = words.get(holder[key], holder[key])


def _move_secure_boot_keys(config: LocatedMapping) -> None:
    """Put the keys of immutability where those of signing are; signing's own win."""
    old, new = config["immutability"], config["signing"]
    origin = config.origins["immutability"]
    moved = LocatedMapping(origin)
    for key, word in _SECURE_BOOT_WORDS.items():
        if key in old:
            moved.put(word, old[key], old.origins[key])
            old.drop(key)
    if moved and "secureBoot" not in new:
        new.put("secureBoot", moved, origin)


__all__ = ("full_unit_name", "normalise", "translate")
