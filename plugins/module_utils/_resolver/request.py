# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Requests to the resolver: the strings of templates and providers, and the packages that they mean."""

from __future__ import annotations

import abc
import dataclasses
import difflib
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import KEPT_OUT, PackagePool
from ansible_collections.os_image.composer.plugins.module_utils._template.model import SystemConfig
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import Provider

#: Why a package is in the image; of several reasons the first in this order is told.
REASONS: t.Tuple[str, ...] = ("essential", "kernel", "bootloader", "system", "dependency")

GLOB = re.compile(r"[*?\[]")

_SHOWN = 8


@dataclasses.dataclass(frozen=True)
class Request:
    """One string that asks for packages.

    :ivar text: As in the template; each family's finder says which forms it knows.
    :ivar reason: Who asks: one of C(REASONS), never C(dependency).
    :ivar version: A version that has to be met as well, of which only the beginning may be given (C(6.12)).
    """

    text: str
    reason: str
    version: str | None = None


#: Packages of which one has to be installed.
Choice = t.Tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Selection:
    """What requests mean.

    :ivar choices: What was asked for, in order, each once, with the best reason.
    """

    choices: t.Mapping[Choice, str]

    @property
    def solvables(self) -> dict[int, str]:
        """Every package that would meet a request, with its best reason."""
        found: dict[int, str] = {}
        for choice, reason in self.choices.items():
            for solvable in choice:
                found[solvable] = best_reason(found.get(solvable, reason), reason)
        return found

    def of_reason(self, reason: str) -> Selection:
        """Return the part that was asked for one reason."""
        return Selection({choice: known for choice, known in self.choices.items() if known == reason})


class Refused(Exception):
    """A request cannot be met; the message is a full sentence."""


def best_reason(*reasons: str) -> str:
    """Return the one that comes first in C(REASONS)."""
    return min(reasons, key=REASONS.index)


def requests_of(provider: Provider, system: SystemConfig, pool: PackagePool) -> list[Request]:
    """Return everything that goes into an image, the provider's part first."""
    names = pool.marked("essential")
    for priority in provider.essential.priorities:
        names.extend(pool.marked(priority))
    names.extend(provider.essential.packages)
    return [
        *(Request(name, "essential") for name in dict.fromkeys(names)),
        *template_requests(provider, system, kernel_prefix=pool.kernel_prefix),
    ]


def template_requests(provider: Provider, system: SystemConfig, *, kernel_prefix: str) -> list[Request]:
    """Return what the template and its bootloader ask for, without the provider's essential packages.

    :param kernel_prefix: How the names of those packages begin that C(systemConfig.kernel.version) is about.
    """
    version = system.kernel.version or None
    requests = [
        Request(name, "kernel", version if name.startswith(kernel_prefix) else None) for name in system.kernel.packages
    ]
    requests.extend(Request(name, "bootloader") for name in provider.bootloader_packages)
    requests.extend(Request(name, "system") for name in system.packages)
    return list(dict.fromkeys(requests))


class Finder(abc.ABC):
    """Finds packages by the strings of templates."""

    def __init__(self, pool: PackagePool) -> None:
        self._pool = pool
        self._names: set[str] | None = None

    @abc.abstractmethod
    def find(self, request: Request) -> list[Choice]:
        """Return what a request means.

        :raises Refused: It cannot be met.
        """

    def select(self, requests: t.Sequence[Request]) -> Selection:
        """Find the packages that the requests mean.

        :raises ResolveError: Some cannot be met; the message names all of them.
        """
        chosen: dict[Choice, str] = {}
        problems: dict[str, str] = {}
        for request in requests:
            try:
                for choice in self.find(request):
                    chosen[choice] = best_reason(chosen.get(choice, request.reason), request.reason)
            except Refused as exc:
                problems.setdefault(request.text, str(exc))
        if not problems:
            problems = self._version_clashes(chosen)
        if problems:
            raise self._refusal(problems)
        return Selection(chosen)

    def _refusal(self, problems: t.Mapping[str, str]) -> ResolveError:
        """Return what to raise when requests cannot be met.

        :param problems: Full sentences by the text of the request.
        """
        count = len(problems)
        what = "One requested package cannot" if count == 1 else f"{count} requested packages cannot"
        lines = "\n".join(f"- {message}" for message in problems.values())
        return ResolveError(
            f"{what} be had:\n{lines}\nRepositories searched: {self._pool.searched()}.",
            remedy="Correct the names in the template, or add the repository that has them to packageRepositories.",
            details={"missing": list(problems)},
        )

    def _version_clashes(self, chosen: t.Iterable[Choice]) -> dict[str, str]:
        """Find what is asked for in two versions by name; only where there is no choice it is clear that none fits."""
        versions: dict[str, list[int]] = {}
        for choice in chosen:
            if len(choice) == 1:
                versions.setdefault(self._pool.name(choice[0]), []).append(choice[0])
        return {
            name: f"The package {name!r} is asked for in several versions at once: "
            f"{', '.join(sorted(self._pool.version(solvable) for solvable in solvables))}."
            for name, solvables in versions.items()
            if len(solvables) > 1
        }

    @property
    def names(self) -> set[str]:
        """The names of all packages; only asked for where a request is unusual, for it takes a while."""
        if self._names is None:
            self._names = self._pool.names()
        return self._names

    def _of_version(self, solvable: int, wanted: str) -> int:
        """Return the version of a kernel package that begins as it has to."""
        name = self._pool.name(solvable)
        versions = self._pool.versions(name)
        for number in versions:
            if begins_with(self._pool.version(number), wanted):
                return number
        raise Refused(
            f"The kernel package {name!r} is not available in the version {wanted!r} that systemConfig.kernel.version "
            f"asks for; available: {self._available(versions)}."
        )

    def _available(self, versions: t.Sequence[int]) -> str:
        return listed([f"{self._pool.version(number)} ({self._pool.repository(number).name})" for number in versions])

    def _missing(self, text: str) -> str:
        name = re.split(r"[=:/]", text)[0] or text
        place = self._pool.elsewhere.place_of(name)
        if place:
            return f"The package {text!r} is in {place}."
        for match in reversed(list(re.finditer(r"[-_](?=\d)", name))):
            versions = self._pool.versions(name[: match.start()])
            if versions:
                return (
                    f"There is no package {text!r}. If the version {name[match.end() :]!r} of "
                    f"{name[: match.start()]!r} is meant, available are: {self._available(versions)}."
                )
        near = difflib.get_close_matches(name, sorted(self._alike(name)), n=3, cutoff=0.75)
        hint = f" Similar names: {listed(near)}." if near else ""
        return f"There is no package {text!r}.{hint}"

    def _kept_out(self, text: str, wanted: str) -> str:
        """Say that what is asked for is there, and may not be chosen; empty where it is not there."""
        others = self._pool.kept_out(wanted)
        excluded = listed(list(dict.fromkeys(repository for _arch, repository, installable in others if installable)))
        if excluded:
            return f"The package {text!r} is in {excluded}, but {KEPT_OUT} keeps it out."
        if others:
            found = listed([f"{arch} ({repository})" for arch, repository, _installable in others])
            return f"The package {text!r} is there for another architecture only: {found}."
        return ""

    def _alike(self, name: str) -> t.Iterator[str]:
        # Comparing with every name would take seconds.
        for other in self.names:
            if abs(len(other) - len(name)) <= 4 and (other[:2] == name[:2] or other[-3:] == name[-3:]):
                yield other


def listed(items: t.Sequence[str]) -> str:
    """Return the first items, and how many more there are."""
    shown = ", ".join(items[:_SHOWN])
    return f"{shown} and {len(items) - _SHOWN} more" if len(items) > _SHOWN else shown


def version_forms(version: str) -> t.Tuple[str, ...]:
    """Return how people write a version: the epoch, and the revision or release, may be left out.

    Tools also write the epoch 0, which means none.
    """
    full = version if ":" in version else f"0:{version}"
    upstream = full.rpartition("-")[0]
    return tuple(form for both in (full, upstream) if both for form in (both, both.partition(":")[2]))


def same_version(version: str, wanted: str) -> bool:
    """Compare versions as people write them."""
    return wanted in version_forms(version)


def begins_with(version: str, wanted: str) -> bool:
    """Tell whether a version begins with another, at the border of a part."""
    for form in (version, version.partition(":")[2]):
        if form.startswith(wanted) and (len(form) == len(wanted) or not form[len(wanted)].isalnum()):
            return True
    return False


__all__ = (
    "GLOB",
    "REASONS",
    "Choice",
    "Finder",
    "Refused",
    "Request",
    "Selection",
    "begins_with",
    "best_reason",
    "listed",
    "requests_of",
    "same_version",
    "template_requests",
    "version_forms",
)
