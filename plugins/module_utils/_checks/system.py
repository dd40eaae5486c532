# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The system's host name, time zone and locale."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._checks.packages import has_package
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, Subject

SUBJECT = Subject("Host name, time zone and locale")


@SUBJECT.rule(
    "systemConfig.hostname",
    example="""
    systemConfig:
      hostname: web_1
    """,
)
def hostname_has_its_form(template: LocatedMapping) -> t.Iterator[Finding]:
    """A host name consists of labels as RFC 1123 has them."""
    name = template["systemConfig"]["hostname"]
    labels = name.split(".")
    if name and not all(re.match(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z", label) for label in labels):
        yield (
            ("systemConfig", "hostname"),
            f"{name!r} is no host name. Use letters, digits and hyphens, in parts of at most 63 characters with dots "
            "between them.",
        )


@SUBJECT.advice(
    "systemConfig.hostname",
    example="""
    systemConfig:
      hostname: localhost
    """,
)
def hostname_names_the_host(template: LocatedMapping) -> t.Iterator[Finding]:
    """A host name is not the one that every host has for itself."""
    name = template["systemConfig"]["hostname"]
    if name.split(".")[0] == "localhost":
        yield (
            ("systemConfig", "hostname"),
            f"systemd takes the host name {name} for none at all, and lets DHCP decide. Give another one.",
        )


@SUBJECT.rule(
    "systemConfig.timezone",
    example="""
    systemConfig:
      timezone: Europe Berlin
    """,
)
def timezone_has_its_form(template: LocatedMapping) -> t.Iterator[Finding]:
    """A time zone is a name of the time zone database."""
    name = template["systemConfig"]["timezone"]
    if name and not re.match(r"[A-Za-z][A-Za-z0-9+_-]*(/[A-Za-z0-9+_-]+){0,2}\Z", name):
        yield ("systemConfig", "timezone"), f"{name!r} is no time zone. Use a name such as Europe/Berlin or Etc/UTC."


@SUBJECT.rule(
    "systemConfig.locale",
    "systemConfig.packages",
    example="""
    systemConfig:
      locale: de_DE.UTF-8
    """,
)
def locale_can_be_had(template: LocatedMapping) -> t.Iterator[Finding]:
    """A locale has its form, and the image has what makes it."""
    name = template["systemConfig"]["locale"]
    if not name or name in ("C", "POSIX", "C.UTF-8", "C.utf8"):
        return
    if not re.match(r"[a-z]{2,3}(_[A-Z]{2})?(\.[A-Za-z0-9-]+)?(@[a-z]+)?\Z", name):
        yield ("systemConfig", "locale"), f"{name!r} is no locale. Use a name such as de_DE.UTF-8 or C.UTF-8."
    elif not has_package(template, "locales", "locales-all", "glibc-langpack-*", "glibc-all-langpacks"):
        yield (
            ("systemConfig", "locale"),
            f"The locale {name} needs the package locales. Add it to systemConfig.packages, or use C.UTF-8.",
        )


__all__ = ("SUBJECT",)
