# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What is asked of the resolver: the strings of templates and providers, and the packages that they mean."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError, ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import PackagePool

#: Why a package is in the image; of several reasons the first in this order is told.
REASONS: t.Tuple[str, ...] = ("essential", "kernel", "bootloader", "system", "dependency")

_SHOWN = 8
_GLOB = re.compile(r"[*?\[]")
_KERNEL_PREFIX = "linux-"


@dataclasses.dataclass(frozen=True)
class Request:
    """One string that asks for packages.

    :ivar text: As in the template: C(name), C(name=version), C(name-version), C(name_version), C(name:arch),
        C(name/repository), or a glob.
    :ivar reason: Who asks: one of C(REASONS), never C(dependency).
    :ivar version: A version that has to be met as well, of which only the beginning may be given (C(6.12)).
    """

    text: str
    reason: str
    version: str | None = None


@dataclasses.dataclass(frozen=True)
class Selection:
    """What requests mean.

    :ivar solvables: The packages that were asked for, in order, each once, with the best reason.
    """

    solvables: t.Mapping[int, str]

    def by_reason(self, reason: str) -> list[int]:
        """Return the packages of one reason."""
        return [solvable for solvable, known in self.solvables.items() if known == reason]


class _Refused(Exception):
    """A request cannot be met; the message is a full sentence."""


def requests_of(provider: t.Mapping[str, t.Any], template: t.Mapping[str, t.Any], pool: PackagePool) -> list[Request]:
    """Return everything that goes into an image, the provider's part first.

    :param provider: C(provider) of C(template.json).
    :param template: C(template) of C(template.json).
    """
    essential = provider.get("essential") or {}
    names = pool.marked("essential")
    for priority in essential.get("priorities") or ():
        names.extend(pool.marked(priority))
    names.extend(essential.get("packages") or ())
    return [
        *(Request(name, "essential") for name in dict.fromkeys(names)),
        *template_requests(provider, template),
    ]


def template_requests(provider: t.Mapping[str, t.Any], template: t.Mapping[str, t.Any]) -> list[Request]:
    """Return what the template and its bootloader ask for, without the provider's essential packages."""
    system = template.get("systemConfig") or {}
    kernel = system.get("kernel") or {}
    version = str(kernel.get("version") or "") or None
    requests = [
        Request(name, "kernel", version if name.startswith(_KERNEL_PREFIX) else None)
        for name in kernel.get("packages") or ()
    ]
    requests.extend(Request(name, "bootloader") for name in provider.get("bootloader_packages") or ())
    requests.extend(Request(name, "system") for name in system.get("packages") or ())
    return list(dict.fromkeys(requests))


def select(pool: PackagePool, requests: t.Sequence[Request]) -> Selection:
    """Find the packages that the requests mean.

    :raises ResolveError: Some cannot be met; the message names all of them.
    """
    chosen: dict[int, str] = {}
    problems: dict[str, str] = {}
    finder = _Finder(pool)
    for request in requests:
        try:
            for solvable in finder.find(request):
                reason = min(chosen.get(solvable, request.reason), request.reason, key=REASONS.index)
                chosen[solvable] = reason
        except _Refused as exc:
            problems.setdefault(request.text, str(exc))
    if not problems:
        problems = _version_clashes(pool, chosen)
    if problems:
        count = len(problems)
        what = "One requested package cannot" if count == 1 else f"{count} requested packages cannot"
        lines = "\n".join(f"- {message}" for message in problems.values())
        raise ResolveError(
            f"{what} be had:\n{lines}\nRepositories searched: {pool.searched()}.",
            remedy="Correct the names in the template, or add the repository that has them to packageRepositories.",
            details={"missing": list(problems)},
        )
    return Selection(chosen)


def _version_clashes(pool: PackagePool, chosen: t.Iterable[int]) -> dict[str, str]:
    versions: dict[str, list[int]] = {}
    for solvable in chosen:
        versions.setdefault(pool.name(solvable), []).append(solvable)
    return {
        name: f"The package {name!r} is asked for in several versions at once: "
        f"{', '.join(sorted(pool.version(solvable) for solvable in solvables))}."
        for name, solvables in versions.items()
        if len(solvables) > 1
    }


class _Finder:
    """Finds packages by the strings of templates."""

    def __init__(self, pool: PackagePool) -> None:
        self._pool = pool
        self._names: set[str] | None = None

    @property
    def names(self) -> set[str]:
        """The names of all packages; only asked for where a request is unusual, for it takes a while."""
        if self._names is None:
            self._names = self._pool.names()
        return self._names

    def find(self, request: Request) -> list[int]:
        text = request.text.strip()
        if text.endswith(".deb"):
            text = text[: -len(".deb")]
        found = self._literal(text)
        if not found and _GLOB.search(text.partition("=")[0]):
            found = self._by_glob(text)
        if not found:
            found = self._with_version(text) or self._virtual(text)
        if not found:
            raise _Refused(self._missing(text))
        if request.version:
            found = [self._of_version(solvable, request.version) for solvable in found]
        return found

    def _literal(self, text: str) -> list[int]:
        """Read C(name), C(name:arch), C(name/repository) and C(name=version)."""
        name, _equals, version = text.partition("=")
        name, _slash, origin = name.partition("/")
        name, _colon, arch = name.partition(":")
        if arch and arch not in (self._pool.arch, "all", "any", "native"):
            raise _Refused(
                f"The package {text!r} is asked for the architecture {arch!r}, but this image is for "
                f"{self._pool.arch!r}."
            )
        versions = self._pool.versions(name)
        if not versions:
            return []
        if origin:
            versions = [number for number in versions if self._comes_from(number, origin)]
            if not versions:
                known = sorted({self._pool.repository(number).name for number in self._pool.versions(name)})
                raise _Refused(f"The repository {origin!r} has no package {name!r}; it is in {_listed(known)}.")
        if not version:
            return versions[:1]
        for number in versions:
            if _same_version(self._pool.version(number), version) or fnmatch.fnmatchcase(
                self._pool.version(number), version
            ):
                return [number]
        raise _Refused(
            f"The package {name!r} is not available in the version {version!r}; available: {self._available(versions)}."
        )

    def _comes_from(self, solvable: int, origin: str) -> bool:
        repository = self._pool.repository(solvable)
        return origin in (repository.name, repository.suite)

    def _by_glob(self, text: str) -> list[int]:
        pattern, _equals, version = text.partition("=")
        matching = sorted(fnmatch.filter(self.names, pattern))
        if not matching:
            raise _Refused(f"No package matches the pattern {text!r}.")
        suffix = f"={version}" if version else ""
        return [number for name in matching for number in self._literal(name + suffix)]

    def _with_version(self, text: str) -> list[int]:
        """Read C(name-version) and C(name_version[_arch]): the longest name that has such a version."""
        arch = text.rpartition("_")[2]
        if arch in (self._pool.arch, "all"):
            text = text[: -len(arch) - 1]
        for match in reversed(list(re.finditer(r"[-_]", text))):
            name, version = text[: match.start()], text[match.end() :]
            for number in self._pool.versions(name):
                if version and _same_version(self._pool.version(number), version.replace("%3a", ":")):
                    return [number]
        return []

    def _virtual(self, text: str) -> list[int]:
        """Take the only package that provides a name; of several nobody can tell which is meant."""
        try:
            providers = self._pool.alternative(text).solvables
        except RepositoryError:
            return []
        candidates = [number for number in providers if self._pool.candidate(self._pool.name(number)) == number]
        names = sorted({self._pool.name(number) for number in candidates})
        if len(names) > 1:
            raise _Refused(
                f"{text!r} is a virtual package, provided by {_listed(names)}; ask for the one that is wanted."
            )
        return candidates[:1]

    def _of_version(self, solvable: int, wanted: str) -> int:
        name = self._pool.name(solvable)
        versions = self._pool.versions(name)
        for number in versions:
            if _begins_with(self._pool.version(number), wanted):
                return number
        raise _Refused(
            f"The kernel package {name!r} is not available in the version {wanted!r} that systemConfig.kernel.version "
            f"asks for; available: {self._available(versions)}."
        )

    def _available(self, versions: t.Sequence[int]) -> str:
        return _listed([f"{self._pool.version(number)} ({self._pool.repository(number).name})" for number in versions])

    def _missing(self, text: str) -> str:
        name = re.split(r"[=:/]", text)[0]
        for match in reversed(list(re.finditer(r"[-_](?=\d)", name))):
            versions = self._pool.versions(name[: match.start()])
            if versions:
                return (
                    f"There is no package {text!r}. If the version {name[match.end() :]!r} of "
                    f"{name[: match.start()]!r} is meant, available are: {self._available(versions)}."
                )
        near = difflib.get_close_matches(name, sorted(self._alike(name)), n=3, cutoff=0.75)
        hint = f" Similar names: {_listed(near)}." if near else ""
        return f"There is no package {text!r}.{hint}"

    def _alike(self, name: str) -> t.Iterator[str]:
        # Comparing with every name would take seconds.
        for other in self.names:
            if abs(len(other) - len(name)) <= 4 and (other[:2] == name[:2] or other[-3:] == name[-3:]):
                yield other


def _listed(items: t.Sequence[str]) -> str:
    shown = ", ".join(items[:_SHOWN])
    return f"{shown} and {len(items) - _SHOWN} more" if len(items) > _SHOWN else shown


def _same_version(version: str, wanted: str) -> bool:
    """Compare versions as people write them: the epoch and Debian's revision may be left out."""
    without_epoch = version.partition(":")[2] or version
    return wanted in (version, without_epoch, version.rpartition("-")[0], without_epoch.rpartition("-")[0])


def _begins_with(version: str, wanted: str) -> bool:
    for form in (version, version.partition(":")[2]):
        if form.startswith(wanted) and (len(form) == len(wanted) or not form[len(wanted)].isalnum()):
            return True
    return False


__all__ = ("REASONS", "Request", "Selection", "requests_of", "select", "template_requests")
