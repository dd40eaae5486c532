# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Contents of packages that are not installed yet: what the configuration expects is missed before they are.

RPM packages list all of their files in their headers. DEB packages list what is no link in their control archive, which
is enough for nearly everything; only when that does not do, the list of the data archive is read, which has to be
decompressed. What scripts of packages may make, which no list has, is left to the configuration itself.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.deb_archive import (
    TAR_BLOCK,
    ByteStream,
    DebArchive,
    DebFormatError,
    TarMember,
    read_tar,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.expectations import (
    LOCALE_SOURCES,
    UNIT_DIRECTORIES,
    ZONES,
    Expectation,
    expected_of_packages,
    is_built_in,
    merged,
    wrong_locale,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.rpm_header import (
    SCRIPTS,
    read_files,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._parallel import run_parallel
from ansible_collections.os_image.composer.plugins.module_utils._template.model import SystemConfig

_SUPPORTED = f"{LOCALE_SOURCES}/SUPPORTED"
# What messages name similar things from.
_INTERESTING = (f"{ZONES}/", f"{LOCALE_SOURCES}/locales/", *(f"{directory}/" for directory in UNIT_DIRECTORIES))
_UNIT_PLACES = tuple(f"{merged(directory)}/" for directory in UNIT_DIRECTORIES)
# Units have some hundred bytes; more is none.
_UNIT_LIMIT = 1 << 16
_ALIAS = re.compile(rb"^Alias=(.*)$", re.MULTILINE)
# Names that packages enable their units by as well; of RPM packages, the units themselves are not read.
_RPM_ALIASES = re.compile(r"dbus(-.+)?\.service|display-manager\.service|syslog\.service|default\.target|autovt@.*")
# Read at a time before looking whether that is enough.
_CHUNK = 8


@dataclasses.dataclass(frozen=True)
class Listing:
    """What a package holds, as far as somebody asks.

    :ivar paths: Those of its files that are expected, or are like those.
    :ivar scripts: Its scripts.
    """

    paths: t.FrozenSet[str]
    scripts: str = ""


#: Tells whether a path is worth to be kept.
Wanted = t.Callable[[str], bool]


def check_contents(system: SystemConfig, paths: t.Sequence[str], *, family: str, workers: int) -> None:
    """Check that packages hold what the configuration of a system expects of them.

    :param paths: The files of all packages of the image.
    :raises ChrootError: They do not; the message names all that is missing.
    """
    asked = expected_of_packages(system)
    if not asked:
        return
    errors = _Search(asked, paths, family=family, workers=workers).errors()
    if not errors and family == "deb" and system.locale and not is_built_in(system.locale):
        errors = _locale_errors(system.locale, paths, workers=workers)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        lines = "\n".join(f"- {error}" for error in errors)
        raise ChrootError(f"No package of the image brings what its configuration needs:\n{lines}")


class _Search:
    """Looks through packages until everything is found."""

    def __init__(self, asked: t.Sequence[Expectation], paths: t.Sequence[str], *, family: str, workers: int) -> None:
        self._asked = asked
        self._paths = paths
        self._family = family
        self._workers = workers
        self._expected = {merged(path) for item in asked for path in item.paths}
        self._listings: t.List[Listing] = []

    def errors(self) -> t.List[ChrootError]:
        """Return what is said of everything that no package has."""
        brief = _brief_deb if self._family == "deb" else _rpm
        self._listings = run_parallel(
            lambda path: brief(path, self._is_wanted), list(self._paths), workers=self._workers
        )
        scripts = "\n".join(listing.scripts for listing in self._listings)
        missing = [item for item in self._missing() if not self._may_be_made(item, scripts)]
        if missing and self._family == "deb":
            missing = self._look_closer(missing)
        names = [path for listing in self._listings for path in listing.paths]
        return [item.error(_alike(item, names)) for item in missing]

    def _is_wanted(self, path: str) -> bool:
        return path in self._expected or path.startswith(_INTERESTING)

    def _missing(self, among: t.Sequence[Expectation] | None = None) -> t.List[Expectation]:
        there = frozenset().union(*(listing.paths for listing in self._listings))
        return [
            item
            for item in (self._asked if among is None else among)
            # The list of an RPM package has directories, too; a part of a time zone's name is one.
            if not any(path in there and not _is_directory(path, there) for path in map(merged, item.paths))
        ]

    def _look_closer(self, missing: t.Sequence[Expectation]) -> t.List[Expectation]:
        """Read the whole lists of packages, likely ones first, and return what is missing still."""

        def rank(index: int) -> t.Tuple[bool, float]:
            name = os.path.basename(self._paths[index]).partition("_")[0]
            has_like = any(path.startswith(item.directory) for item in missing for path in self._listings[index].paths)
            words = [item.name.rpartition("/")[2].partition(".")[0] for item in missing]
            return not has_like, -max(difflib.SequenceMatcher(None, name, word).ratio() for word in words)

        order = sorted(range(len(self._paths)), key=rank)
        left = list(missing)
        for start in range(0, len(order), _CHUNK):
            chunk = order[start : start + _CHUNK]
            whole = run_parallel(
                lambda index: _whole_deb(self._paths[index], self._is_wanted), chunk, workers=self._workers
            )
            for index, paths in zip(chunk, whole):
                before = self._listings[index]
                self._listings[index] = dataclasses.replace(before, paths=before.paths | paths)
            left = self._missing(missing)
            if not left:
                break
        return left

    def _may_be_made(self, item: Expectation, scripts: str) -> bool:
        if self._family == "rpm" and _RPM_ALIASES.fullmatch(item.name):
            return True
        return any(re.search(rf"(?<![\w@.+/-]){re.escape(word)}(?![\w@.+-])", scripts) for word in item.words)


def _is_directory(path: str, paths: t.Iterable[str]) -> bool:
    return path.startswith(f"{ZONES}/") and any(other.startswith(f"{path}/") for other in paths)


def _alike(item: Expectation, paths: t.Iterable[str]) -> t.Set[str]:
    """Return the names of what is like something expected."""
    places = _UNIT_PLACES if item.directory in _UNIT_PLACES else (item.directory,)
    names = {path[len(place) :] for path in paths for place in places if path.startswith(place)}
    directories = {name.rpartition("/")[0] for name in names}
    # posix/ and right/ have the same time zones once more, in another way of counting.
    return {name for name in names - directories if not name.startswith(("posix/", "right/"))}


# -- DEB packages


def _brief_deb(path: str, is_wanted: Wanted) -> Listing:
    with DebArchive(path) as archive:
        sums = archive.control.get("md5sums")
        lines = sums.data.decode("utf-8", errors="surrogateescape").splitlines() if sums else []
        names = [*(f"/{line.partition('  ')[2]}" for line in lines), *archive.conffiles()]
        scripts = [
            member.data.decode("utf-8", errors="replace")
            for name, member in archive.control.items()
            if name in ("preinst", "postinst", "triggers")
        ]
    return Listing(_kept(names, is_wanted), "\n".join(scripts))


def _whole_deb(path: str, is_wanted: Wanted) -> t.FrozenSet[str]:
    names: t.List[str] = []
    for member, stream in _members(path):
        if member.file_type != stat.S_IFDIR:
            names.append(member.path)
        is_unit = member.file_type == stat.S_IFREG and merged(member.path).startswith(_UNIT_PLACES)
        if is_unit and member.size <= _UNIT_LIMIT:
            names += _aliases(stream.read(member.size))
        else:
            stream.skip(member.size)
    return _kept(names, is_wanted)


def _members(path: str) -> t.Iterator[t.Tuple[TarMember, ByteStream]]:
    """Yield the files of the data archive; whoever gets one reads or skips its bytes."""
    try:
        with DebArchive(path) as archive:
            stream = archive.data()
            for member in read_tar(stream):
                yield member, stream
                stream.skip(-member.size % TAR_BLOCK)
    except EOFError as exc:
        raise DebFormatError(f"The package {path} is cut short.") from exc


def _aliases(unit: bytes) -> t.Iterator[str]:
    """Yield the links that are made when a unit is enabled, which packages do; see systemd.unit(5)."""
    for match in _ALIAS.finditer(unit):
        for name in match[1].decode("utf-8", errors="replace").split():
            yield f"{UNIT_DIRECTORIES[0]}/{name}"


def _locale_errors(locale: str, paths: t.Sequence[str], *, workers: int) -> t.List[ChrootError]:
    """Look whether the locale is one of those that the sources of Debian list, where they are there."""
    listings = run_parallel(lambda path: _brief_deb(path, _SUPPORTED.__eq__), list(paths), workers=workers)
    for path, listing in zip(paths, listings):
        if listing.paths:
            supported = _content(path, _SUPPORTED).decode("utf-8", errors="replace")
            if locale not in (line.partition(" ")[0] for line in supported.splitlines()):
                return [wrong_locale(locale)]
    return []


def _content(path: str, wanted: str) -> bytes:
    for member, stream in _members(path):
        if member.path == wanted:
            return stream.read(member.size)
        stream.skip(member.size)
    return b""


# -- RPM packages


def _rpm(path: str, is_wanted: Wanted) -> Listing:
    names, texts = read_files(path, SCRIPTS)
    return Listing(_kept(names, is_wanted), "\n".join(texts))


def _kept(names: t.Iterable[str], is_wanted: Wanted) -> t.FrozenSet[str]:
    return frozenset(path for name in names if is_wanted(path := merged(name)))


__all__ = ("check_contents",)
