# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Time zone and locale."""

from __future__ import annotations

import re

from ansible_collections.os_image.composer.plugins.module_utils._chroot.files import TreeFiles
from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError

_ZONES = "/usr/share/zoneinfo"
# Those that the C library has by itself.
_BUILT_IN_LOCALES = re.compile(r"^(C|POSIX|C\.(UTF-8|utf8))$")


def set_timezone(files: TreeFiles, timezone: str, *, name_file: str | None = None) -> None:
    """Set the system's time zone.

    :param name_file: Where its name is written as well.
    :raises ChrootError: The image does not know it.
    """
    if not timezone:
        return
    zone = f"{_ZONES}/{timezone}"
    if not files.exists(zone):
        raise ChrootError(
            f"The time zone {timezone!r} does not exist in the image.",
            remedy="Correct systemConfig.timezone, or add the package tzdata (tzdata-legacy for old names).",
        )
    files.link("/etc/localtime", zone)
    if name_file:
        files.write(name_file, f"{timezone}\n")


def set_locale(files: TreeFiles, sandbox: Sandbox, locale: str, *, path: str) -> None:
    """Set the system's locale, and make it where the image only has its sources.

    :param path: Where the system's locale is written.
    :raises ChrootError: The image has neither.
    """
    if not locale:
        return
    if not _BUILT_IN_LOCALES.match(locale) and not _has_locale(files, locale):
        _make_locale(files, sandbox, locale)
    files.write(path, f"LANG={locale}\n", follow=True)


def _has_locale(files: TreeFiles, locale: str) -> bool:
    name, _dot, charset = locale.partition(".")
    variants = {locale, f"{name}.{charset.lower().replace('-', '')}"}
    return any(files.exists(f"/usr/lib/locale/{variant}/LC_CTYPE") for variant in variants) or files.exists(
        "/usr/share/doc/locales-all"
    )


def _make_locale(files: TreeFiles, sandbox: Sandbox, locale: str) -> None:
    supported = files.read("/usr/share/i18n/SUPPORTED").splitlines()
    if not supported:
        raise ChrootError(
            f"The locale {locale} is not in the image, and cannot be made without the package locales.",
            remedy="Add the package locales to systemConfig.packages, or take C.UTF-8 as systemConfig.locale.",
        )
    line = next((entry for entry in supported if entry.split(" ")[0] == locale), None)
    if line is None:
        raise ChrootError(
            f"The locale {locale!r} does not exist.",
            remedy="Take one of those in /usr/share/i18n/SUPPORTED of the package locales, such as en_US.UTF-8.",
        )
    name, charset = line.split(" ", 1)
    modifier = f"@{name.partition('@')[2]}" if "@" in name else ""
    source = name.partition("@")[0].partition(".")[0] + modifier
    entries = files.read("/etc/locale.gen").splitlines()
    if line not in (entry.strip() for entry in entries):
        # Later upgrades of the C library make the locale again from this list.
        files.write("/etc/locale.gen", "\n".join([*entries, line]) + "\n")
    sandbox.run(
        ["localedef", "-i", source, "-c", "-f", charset, "-A", "/usr/share/locale/locale.alias", name],
        what=f"Making the locale {locale}",
    )


__all__ = ("set_locale", "set_timezone")
