# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The packages that are asked for."""

from __future__ import annotations

import fnmatch
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping, Path
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, Subject, doubles

SUBJECT = Subject("Packages")

# A glob with less than this in front of it asks for a good part of the repository.
_LEAST_PREFIX = 3


def has_package(template: LocatedMapping, *names: str) -> bool:
    """Tell whether one of some packages is asked for by its name, or by a glob."""
    asked = [package.split("=")[0].split(":")[0] for package in template["systemConfig"]["packages"]]
    # Both may be globs: libssl* asks for what is wanted as libssl3.
    return any(
        fnmatch.fnmatchcase(given, name) or fnmatch.fnmatchcase(name.rstrip("*"), given)
        for given in asked
        for name in names
    )


def _lists(template: LocatedMapping) -> t.Iterator[t.Tuple[Path, t.Sequence[str]]]:
    config = template["systemConfig"]
    yield ("systemConfig", "packages"), config["packages"]
    yield ("systemConfig", "kernel", "packages"), config["kernel"]["packages"]


def _names(template: LocatedMapping) -> t.Iterator[t.Tuple[Path, str]]:
    for path, packages in _lists(template):
        for index, value in enumerate(packages):
            yield (*path, index), value


@SUBJECT.rule(
    "systemConfig.packages",
    "systemConfig.kernel",
    example="""
    systemConfig:
      packages:
        - curl=7.88.1-10
        - curl=8.14.1-2
    """,
)
def packages_are_named_once(template: LocatedMapping) -> t.Iterator[Finding]:
    """No package is asked for twice, or in two versions."""
    for path, packages in _lists(template):
        for place, value in doubles(((*path, index), name) for index, name in enumerate(packages)):
            yield place, f"The package {value} is named twice. Remove one."
        pinned: t.Dict[str, str] = {}
        for index, value in enumerate(packages):
            name, equals, version = value.partition("=")
            if not equals:
                continue
            if not version or not name or "=" in version:
                yield (*path, index), f"{value!r} is no package with a version. Write name=version."
            elif pinned.setdefault(name, version) != version:
                yield (
                    (*path, index),
                    f"The package {name} is asked for in the versions {pinned[name]} and {version}. Keep one.",
                )


@SUBJECT.rule(
    "systemConfig.packages",
    "systemConfig.kernel",
    example="""
    systemConfig:
      packages:
        - "python3[0-9"
    """,
)
def package_patterns_are_whole(template: LocatedMapping) -> t.Iterator[Finding]:
    """Brackets of a glob come in pairs."""
    for path, value in _names(template):
        if not re.match(r"[^\[\]]*(\[[^\[\]]+\][^\[\]]*)*\Z", value):
            yield path, f"The brackets of {value!r} do not belong together. Write a glob such as lib[ab]*."


@SUBJECT.advice(
    "systemConfig.packages",
    "systemConfig.kernel",
    example="""
    systemConfig:
      packages:
        - "g*"
    """,
)
def package_patterns_are_narrow(template: LocatedMapping) -> t.Iterator[Finding]:
    """A glob says enough about the packages that are meant."""
    for path, value in _names(template):
        prefix = re.split(r"[*?\[]", value)[0]
        if prefix != value and len(prefix) < _LEAST_PREFIX:
            yield path, f"{value!r} asks for every package whose name begins with {prefix!r}. Write more of the name."


__all__ = ("SUBJECT", "has_package")
