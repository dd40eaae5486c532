# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What goes into the image beside packages: additional files, commands, scripts."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._template.checks.partitions import is_esp, partitions
from ansible_collections.os_image.composer.plugins.module_utils._template.checks.paths import (
    VIRTUAL,
    enclosing,
    is_normal,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.checks.rule import Finding, Subject, doubles
from ansible_collections.os_image.composer.plugins.module_utils._template.located import Mapping, Path

SUBJECT = Subject("Files, commands and scripts")


@SUBJECT.rule("systemConfig.additionalFiles", "disk")
def final_paths_are_sound(template: Mapping) -> t.Iterator[Finding]:
    """Files go to absolute, normalised paths that the image keeps, each of them once."""
    base: Path = ("systemConfig", "additionalFiles")
    finals = [
        ((*base, index, "final"), item["final"])
        for index, item in enumerate(template["systemConfig"]["additionalFiles"])
    ]
    esp = [item["mountPoint"] for _path, item in partitions(template) if is_esp(item)]
    for path, value in doubles(finals):
        yield path, f"Two files go to {value}. Remove one of them."
    names = {value for _path, value in finals}
    for path, value in finals:
        parent = value.rpartition("/")[0]
        while parent and parent not in names:
            parent = parent.rpartition("/")[0]
        virtual = enclosing(value, VIRTUAL)
        if value == "/" or not is_normal(value):
            yield (
                path,
                f"The path {value!r} must name a file, without //, . and .. in it. Correct it.",
            )
        elif parent:
            yield path, f"{value} lies below {parent}, to which a file goes too. Change one of them."
        elif virtual:
            yield path, f"{value} would not stay in the image, as {virtual} is empty there. Use another directory."
        elif value == "/etc/fstab":
            yield path, "/etc/fstab is written by the build from disk.partitions. Change those instead."
        elif enclosing(value, [point for point in esp if point]):
            yield (
                path,
                f"{value} lies on the EFI system partition, which the build fills itself. Use another directory.",
            )


@SUBJECT.rule("systemConfig.configurations", "systemConfig.scripts")
def commands_say_something(template: Mapping) -> t.Iterator[Finding]:
    """Commands and scripts are not blank."""
    config = template["systemConfig"]
    for index, item in enumerate(config["configurations"]):
        if not item["cmd"].strip():
            yield (
                ("systemConfig", "configurations", index, "cmd"),
                "The command is blank. Give one, or remove the entry.",
            )
    for key in ("preInstall", "postInstall"):
        for index, item in enumerate(config["scripts"][key]):
            if not item.get("inline", "x").strip():
                yield ("systemConfig", "scripts", key, index, "inline"), "The script is blank. Write one, or remove it."


__all__ = ("SUBJECT",)
