# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Time zone and locale."""

from __future__ import annotations

from ansible_collections.os_image.composer.plugins.module_utils._chroot.expectations import (
    LOCALE_SOURCES,
    LOCALES,
    ZONES,
    is_built_in,
    locale_source,
    locale_variants,
    unknown_locale,
    unknown_zone,
    wrong_locale,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles


def set_timezone(files: TreeFiles, timezone: str, *, name_file: str | None = None) -> None:
    """Set the system's time zone.

    :param name_file: Where its name is written as well.
    :raises ChrootError: The image does not know it.
    """
    if not timezone:
        return
    zone = f"{ZONES}/{timezone}"
    # The first part of most names is a directory.
    if not files.is_file(zone):
        raise unknown_zone(timezone)
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
    if not is_built_in(locale) and not _has_locale(files, sandbox, locale):
        _make_locale(files, sandbox, locale)
    files.write(path, f"LANG={locale}\n", follow=True)


def _has_locale(files: TreeFiles, sandbox: Sandbox, locale: str) -> bool:
    variants = locale_variants(locale)
    if any(files.exists(f"{LOCALES}/{variant}/LC_CTYPE") for variant in variants):
        return True
    # One file with many locales: Debian's locales-all, and the C library of other distributions.
    if not files.exists(f"{LOCALES}/locale-archive"):
        return False
    done = sandbox.run(["localedef", "--list-archive"], check=False, log_output=False, what="Listing the locales")
    return bool(variants.intersection(done.text.split()))


def _make_locale(files: TreeFiles, sandbox: Sandbox, locale: str) -> None:
    if not files.glob(f"{LOCALE_SOURCES}/locales", "*"):
        raise unknown_locale(locale)
    name, charset = _supported(files, locale)
    source = locale_source(name)
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
    for line in files.read(f"{LOCALE_SOURCES}/SUPPORTED").splitlines():
        name, _blank, charset = line.partition(" ")
        if name == locale:
            return name, charset
    _base, dot, charset = locale.partition("@")[0].partition(".")
    source = f"{LOCALE_SOURCES}/locales/{locale_source(locale)}"
    if files.exists(f"{LOCALE_SOURCES}/SUPPORTED") or not dot or not files.exists(source):
        raise wrong_locale(locale)
    return locale, charset


__all__ = ("set_locale", "set_timezone")
