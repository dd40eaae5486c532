# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Time zone and locale."""

from __future__ import annotations

import re

from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

_ZONES = "/usr/share/zoneinfo"
_LOCALES = "/usr/lib/locale"
_SOURCES = "/usr/share/i18n"
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
    if not _BUILT_IN_LOCALES.match(locale) and not _has_locale(files, sandbox, locale):
        _make_locale(files, sandbox, locale)
    files.write(path, f"LANG={locale}\n", follow=True)


def _has_locale(files: TreeFiles, sandbox: Sandbox, locale: str) -> bool:
    name, _dot, charset = locale.partition(".")
    variants = {locale, f"{name}.{charset.lower().replace('-', '')}"}
    if any(files.exists(f"{_LOCALES}/{variant}/LC_CTYPE") for variant in variants):
        return True
    # One file with many locales: Debian's locales-all, and the C library of other distributions.
    if not files.exists(f"{_LOCALES}/locale-archive"):
        return False
    done = sandbox.run(["localedef", "--list-archive"], check=False, log_output=False, what="Listing the locales")
    return bool(variants.intersection(done.text.split()))


def _make_locale(files: TreeFiles, sandbox: Sandbox, locale: str) -> None:
    language = locale.partition("_")[0]
    if not files.glob(f"{_SOURCES}/locales", "*"):
        raise ChrootError(
            f"The locale {locale} is not in the image, and cannot be made without its sources.",
            remedy="Add the package that has it to systemConfig.packages (Debian and Ubuntu: locales; Fedora and "
            f"Enterprise Linux: glibc-langpack-{language}; Azure Linux: glibc-i18n), or take C.UTF-8 as "
            "systemConfig.locale.",
        )
    name, charset = _supported(files, locale)
    modifier = f"@{name.partition('@')[2]}" if "@" in name else ""
    source = name.partition("@")[0].partition(".")[0] + modifier
    if files.exists("/usr/sbin/locale-gen"):
        line = f"{name} {charset}"
        entries = files.read("/etc/locale.gen").splitlines()
        if line not in (entry.strip() for entry in entries):
            # Later upgrades of the C library make the locale again from this list.
            files.write("/etc/locale.gen", "\n".join([*entries, line]) + "\n")
    aliases = "/usr/share/locale/locale.alias"
    options = ["-A", aliases] if files.exists(aliases) else []
    sandbox.run(
        ["localedef", "-i", source, "-c", "-f", charset, *options, name],
        what=f"Making the locale {locale}",
    )


def _supported(files: TreeFiles, locale: str) -> tuple[str, str]:
    """Return the name and the character set of a locale.

    :raises ChrootError: The sources do not have it.
    """
    # Debian lists what there is; elsewhere a locale's own name tells.
    for line in files.read(f"{_SOURCES}/SUPPORTED").splitlines():
        name, _blank, charset = line.partition(" ")
        if name == locale:
            return name, charset
    base, dot, charset = locale.partition("@")[0].partition(".")
    modifier = f"@{locale.partition('@')[2]}" if "@" in locale else ""
    if files.exists(f"{_SOURCES}/SUPPORTED") or not dot or not files.exists(f"{_SOURCES}/locales/{base}{modifier}"):
        raise ChrootError(
            f"The locale {locale!r} does not exist.",
            remedy=f"Take one of those in {_SOURCES}/SUPPORTED or {_SOURCES}/locales of the image, such as "
            "en_US.UTF-8.",
        )
    return locale, charset


__all__ = ("set_locale", "set_timezone")
