# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Expectations: files that the configuration of a tree finds there, and what is said when they are missing.

They are looked for in the lists of files of the packages before these are installed (M(_chroot.contents)), and once
more in the tree, where scripts may have made or removed some.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._template.model import SystemConfig, User

#: Where a tree has its time zones, locales and their sources.
ZONES = "/usr/share/zoneinfo"
LOCALES = "/usr/lib/locale"
LOCALE_SOURCES = "/usr/share/i18n"
#: Where a tree has its units.
UNIT_DIRECTORIES = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)

_SUFFIXES = (
    ".automount",
    ".device",
    ".mount",
    ".path",
    ".scope",
    ".service",
    ".slice",
    ".socket",
    ".swap",
    ".target",
    ".timer",
)
# Those that the C library has by itself.
_BUILT_IN_LOCALES = re.compile(r"^(C|POSIX|C\.(UTF-8|utf8))$")
# Made by this collection, for systems that need them.
_OWN_UNITS = re.compile(r"sshd-keygen\.service|os-image-.+")


@dataclasses.dataclass(frozen=True)
class Expectation:
    """Something that has to be in a tree.

    :ivar paths: Files of which one has to be there.
    :ivar directory: Where its like is, with a slash at the end.
    :ivar words: What the script of a package speaks of that makes such a file; empty where none does.
    :ivar name: What it is called beside its like.
    :ivar error: Returns what is said when it is missing, from the names of its like.
    """

    paths: t.Tuple[str, ...]
    directory: str
    words: t.Tuple[str, ...]
    name: str
    error: t.Callable[[t.Collection[str]], ChrootError]


def expectations_of(system: SystemConfig) -> t.List[Expectation]:
    """Return what the configuration of a system expects of its packages and additional files."""
    found = []
    if system.timezone:
        found.append(_zone(system.timezone))
    if system.locale and not is_built_in(system.locale):
        found.append(_locale(system.locale))
    services = system.services
    for verb, names in (("enable", services.enable), ("disable", services.disable), ("mask", services.mask)):
        units = dict.fromkeys(unit_name(name) for name in names)
        found += [_unit(verb, unit) for unit in units if not _OWN_UNITS.fullmatch(unit)]
    # Every system has a shell by this name, in packages as a link.
    found += [_shell(user, shell) for user in system.users if (shell := shell_of(user)) not in (None, "/bin/sh")]
    return found


def expected_of_packages(system: SystemConfig) -> t.List[Expectation]:
    """Return what no additional file of the system brings, so that packages have to.

    A script that runs before they are installed may bring anything, so nothing is expected of them then.
    """
    brought = {merged(file.final) for file in system.additional_files}
    if system.scripts.pre_install:
        return []
    return [item for item in expectations_of(system) if brought.isdisjoint(map(merged, item.paths))]


def _zone(timezone: str) -> Expectation:
    def error(known: t.Collection[str]) -> ChrootError:
        return unknown_zone(timezone, known)

    return Expectation((f"{ZONES}/{timezone}",), f"{ZONES}/", (), timezone, error)


def _locale(locale: str) -> Expectation:
    def error(known: t.Collection[str]) -> ChrootError:
        return wrong_locale(locale, known) if known else unknown_locale(locale)

    paths = [f"{LOCALES}/{variant}/LC_CTYPE" for variant in locale_variants(locale)]
    # One file with many locales, which no list tells, and what distributions make it from.
    paths += [f"{LOCALES}/locale-archive{ending}" for ending in ("", ".real", ".tmpl")]
    paths.append(f"{LOCALE_SOURCES}/locales/{locale_source(locale)}")
    return Expectation(tuple(paths), f"{LOCALE_SOURCES}/locales/", (), locale, error)


def _unit(verb: str, unit: str) -> Expectation:
    def error(known: t.Collection[str]) -> ChrootError:
        return unknown_unit(verb, unit, known)

    paths = [f"{directory}/{name}" for directory in UNIT_DIRECTORIES for name in unit_files(unit)]
    if unit.endswith(".service"):
        paths.append(f"/etc/init.d/{unit[: -len('.service')]}")
    return Expectation(tuple(paths), "/usr/lib/systemd/system/", (unit,), unit, error)


def _shell(user: User, shell: str) -> Expectation:
    def error(_known: t.Collection[str]) -> ChrootError:
        return missing_shell(user)

    forms = {shell, merged(shell), shell[len("/usr") :] if shell.startswith("/usr/") else shell}
    return Expectation((shell,), f"{shell.rpartition('/')[0]}/", tuple(sorted(forms)), shell, error)


def merged(path: str) -> str:
    """Return a path as it is where /bin, /sbin and /lib are links into /usr."""
    return f"/usr{path}" if re.match(r"/(?:bin|sbin|lib|lib32|lib64|libx32)/", path) else path


# -- time zones and locales


def unknown_zone(timezone: str, known: t.Collection[str] = ()) -> ChrootError:
    """Return the error that says that there is no such time zone."""
    return ChrootError(
        f"The time zone {timezone!r} does not exist in the image.{_similar('time zones', timezone, known)}",
        remedy="Correct systemConfig.timezone, or add the package tzdata (tzdata-legacy for old names).",
    )


def is_built_in(locale: str) -> bool:
    """Tell whether the C library has a locale by itself."""
    return _BUILT_IN_LOCALES.match(locale) is not None


def locale_variants(locale: str) -> t.Set[str]:
    """Return the names under which a tree may have a locale."""
    name, _dot, charset = locale.partition(".")
    return {locale, f"{name}.{charset.lower().replace('-', '')}"}


def locale_source(locale: str) -> str:
    """Return the name of the file that a locale is made from."""
    modifier = f"@{locale.partition('@')[2]}" if "@" in locale else ""
    return locale.partition("@")[0].partition(".")[0] + modifier


def unknown_locale(locale: str) -> ChrootError:
    """Return the error that says that a locale is neither there nor can be made."""
    language = locale.partition("_")[0]
    return ChrootError(
        f"The locale {locale} is not in the image, and cannot be made without its sources.",
        remedy="Add the package that has it to systemConfig.packages (Debian and Ubuntu: locales; Fedora and "
        f"Enterprise Linux: glibc-langpack-{language}; Azure Linux: glibc-i18n), or take C.UTF-8 as "
        "systemConfig.locale.",
    )


def wrong_locale(locale: str, known: t.Collection[str] = ()) -> ChrootError:
    """Return the error that says that there is no such locale.

    :param known: The names of the files that locales are made from.
    """
    return ChrootError(
        f"The locale {locale!r} does not exist.{_similar('ones', locale_source(locale), known)}",
        remedy=f"Take one of those in {LOCALE_SOURCES}/SUPPORTED or {LOCALE_SOURCES}/locales of the image, such as "
        "en_US.UTF-8.",
    )


# -- units


def unit_name(name: str) -> str:
    """Return the full name of a unit: V(ssh) is V(ssh.service)."""
    return name if name.endswith(_SUFFIXES) else f"{name}.service"


def unit_files(unit: str) -> t.List[str]:
    """Return the names of the files that a unit may be: its own, or the template of an instance."""
    stem, at, rest = unit.partition("@")
    return [unit, f"{stem}@.{rest.rpartition('.')[2]}"] if at else [unit]


def unknown_unit(verb: str, unit: str, known: t.Collection[str]) -> ChrootError:
    """Return the error that says that there is no such unit.

    :param verb: The list of systemConfig.services that has it.
    """
    return ChrootError(
        f"The unit {unit} of systemConfig.services.{verb} does not exist in the image.{_similar('units', unit, known)}",
        remedy="Correct the name, or add the package that brings the unit to systemConfig.packages.",
    )


# -- shells


def shell_of(user: User) -> str | None:
    """Return the program that runs when the user logs in, as the template says; V(None) when it says nothing."""
    return user.startup_script or user.shell or None


def missing_shell(user: User) -> ChrootError:
    """Return the error that says that what runs when a user logs in is not there."""
    key = "startupScript" if user.startup_script else "shell"
    return ChrootError(
        f"The {key} {shell_of(user)} of the user {user.name} is not an executable file of the image.",
        remedy="Install the package that has it, or bring it by systemConfig.additionalFiles with mode 0755.",
    )


def _similar(what: str, name: str, known: t.Collection[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=3)
    return f" Similar {what} are {', '.join(near)}." if near else ""


__all__ = (
    "LOCALES",
    "LOCALE_SOURCES",
    "UNIT_DIRECTORIES",
    "ZONES",
    "Expectation",
    "expectations_of",
    "expected_of_packages",
    "is_built_in",
    "locale_source",
    "locale_variants",
    "merged",
    "missing_shell",
    "shell_of",
    "unit_files",
    "unit_name",
    "unknown_locale",
    "unknown_unit",
    "unknown_zone",
    "wrong_locale",
)
