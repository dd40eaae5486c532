# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The forms in which packages of RPM distributions are asked for."""

from __future__ import annotations

import fnmatch
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._resolver.modulemd import Artifact, Stream
from ansible_collections.os_image.composer.plugins.module_utils._resolver.modules import PLATFORM
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import (
    GLOB,
    Choice,
    Finder,
    Refused,
    Request,
    begins_with,
    listed,
    same_version,
    version_forms,
)
from ansible_collections.os_image.composer.plugins.module_utils._resolver.rpm_pool import RpmPool, is_primary_file

# What a name may end in; other words after a dot belong to the name.
_ARCHITECTURES = frozenset(
    {"aarch64", "armv7hl", "i386", "i586", "i686", "ppc64le", "riscv64", "s390x", "src", "x86_64"}
)


# Without "=" alone, which is about the versions of a package first.
_CONDITION = re.compile(r"(?P<name>[^\s<>=]+)\s*(?P<operator><=|>=|==|<|>)\s*(?P<version>[^\s<>=]+)")


class RpmFinder(Finder):
    """Knows C(name), C(name.arch), C(name=version), C(name-version[-release][.arch]), globs, files, provides, relations
    such as C(name >= version), and streams of modules.

    As with dnf, one of all packages that fit has to be installed, the best one; what obsoletes a package that is asked
    for by its name fits as well.
    """

    def __init__(self, pool: RpmPool) -> None:
        super().__init__(pool)
        self._pool: RpmPool = pool

    def select_files(self, requests: t.Iterable[Request]) -> None:
        """Look for the files that are asked for."""
        texts = [request.text.strip() for request in requests]
        files = [text for text in texts if text.startswith("/") and not is_primary_file(text)]
        if files:
            self._pool.add_files([*files, *self._pool.unknown_files()])

    def enable_modules(self, streams: t.Iterable[str], requests: t.Iterable[Request]) -> None:
        """Enable the streams of modules that are asked for: by their names alone, or together with packages of them.

        :param streams: C(module:stream).
        :raises ResolveError: Some cannot be enabled; the message names all of them.
        """
        problems: dict[str, str] = {}
        wanted: list[tuple[str, str]] = []
        for text in streams:
            name, _colon, stream = text.partition(":")
            wanted.append((name, stream))
        for request in requests:
            if request.text.startswith("@"):
                try:
                    wanted.append(self._stream(request.text.strip(), wanted))
                except Refused as exc:
                    problems[request.text] = str(exc)
        enabled: dict[str, str] = {}
        for name, stream in wanted:
            try:
                self._check_module(name, stream)
                before = enabled.setdefault(name, stream)
                if before != stream:
                    raise ValueError(
                        f"The module {name!r} is asked for in the streams {before!r} and {stream!r}; keep one."
                    )
            except ValueError as exc:
                problems[f"{name}:{stream}"] = str(exc)
        if problems:
            raise self._refusal(problems)
        self._pool.enable_modules(enabled)

    def _check_module(self, name: str, stream: str) -> None:
        if name == PLATFORM:
            return
        if self._pool.modules is None:
            raise ValueError(f"There is no module {name!r}: no repository has modules.")
        self._pool.modules.check(name, stream)

    def _stream(self, text: str, enabled: t.Sequence[tuple[str, str]]) -> tuple[str, str]:
        """Return the module and the stream that a request means."""
        name, stream, _profile = module_parts(text)
        if stream:
            return name, stream
        modules = self._pool.modules
        known = [] if modules is None else modules.streams_of(name)
        chosen = dict(enabled).get(name) or (modules.default_stream(name) if modules is not None else None)
        if not known:
            there = "" if modules is None else f"; modules: {listed(modules.names())}"
            raise Refused(f"There is no module {name!r}{there}. Groups of packages (comps) are not known.")
        if chosen is None and len(known) > 1:
            raise Refused(
                f"The module {name!r} has the streams {listed(known)}, and none of them is the default; ask for one: "
                f"@{name}:{known[-1]}."
            )
        return name, chosen or known[0]

    def _of_module(self, text: str, *, active: t.Sequence[Stream]) -> list[Choice]:
        """Return the packages of a profile, one choice for each."""
        name, _stream, profile = module_parts(text)
        modules = self._pool.modules
        builds = [stream for stream in active if stream.name == name]
        if modules is None or not builds:
            raise Refused(f"The module stream {text[1:]!r} cannot be active, because what it needs is not.")
        newest = max(builds, key=lambda build: build.version)
        profiles = [profile] if profile else modules.default_profiles(name, newest.stream)
        missing = [wanted for wanted in profiles if wanted not in newest.profiles]
        if missing or not profiles:
            what = f"no profile {missing[0]!r}" if missing else "no default profile"
            raise Refused(
                f"The module stream {newest.label} has {what}; there is: {listed(sorted(newest.profiles)) or 'none'}. "
                f"To enable it alone, name it in systemConfig.modules."
            )
        artifacts = {artifact for build in builds for artifact in build.artifacts}
        packages = dict.fromkeys(package for wanted in profiles for package in newest.profiles[wanted])
        return [self._of_artifacts(package, artifacts, newest) for package in packages]

    def _of_artifacts(self, package: str, artifacts: t.AbstractSet[Artifact], stream: Stream) -> Choice:
        """Return a stream's packages of a name; those of others where it has none."""
        versions = self._pool.versions(package)
        own = [
            number
            for number in versions
            if self._pool.artifact(number) in artifacts or self._pool.repository(number).module_hotfixes
        ]
        if not versions:
            raise Refused(f"The module stream {stream.label} asks for the package {package!r}, which is not there.")
        return tuple(own or versions)

    def find(self, request: Request) -> list[Choice]:
        text = request.text.strip()
        if text.startswith("@"):
            modules = self._pool.modules
            return self._of_module(text, active=[] if modules is None else modules.active)
        if text.endswith(".rpm"):
            text = text[: -len(".rpm")]
        found = self._by_condition(text) or self._by_name(text) or self._with_relation(text) or self._with_version(text)
        if not found and GLOB.search(text.partition("=")[0]):
            found = self._by_glob(text)
        if not found:
            found = self._provided(text)
        if not found:
            raise Refused(self._missing(text))
        if request.version:
            wanted = request.version
            found = [self._of_versions(choice, wanted) for choice in found]
        return found

    def _by_name(self, text: str) -> list[Choice]:
        """Read C(name) and C(name.arch)."""
        versions = self._pool.versions(text)
        if versions:
            return [self._with_obsoleters(versions)]
        name, arch = self._split_arch(text)
        versions = self._of_arch(self._pool.versions(name), arch) if arch else []
        return [tuple(versions)] if versions else []

    def _with_obsoleters(self, versions: t.Sequence[int]) -> Choice:
        return tuple(dict.fromkeys([*versions, *self._pool.obsoleters(versions)]))

    def _split_arch(self, text: str) -> tuple[str, str]:
        """Take the architecture off the end.

        :raises Refused: It is not one that the image can have.
        """
        name, _dot, arch = text.rpartition(".")
        if arch in (self._pool.arch, "noarch"):
            return name, arch
        if name and arch in _ARCHITECTURES and self._pool.versions(name):
            raise Refused(
                f"The package {text!r} is asked for the architecture {arch!r}, but this image is for "
                f"{self._pool.arch!r}."
            )
        return text, ""

    def _of_arch(self, solvables: t.Iterable[int], arch: str) -> list[int]:
        return [number for number in solvables if not arch or self._pool.solvable(number).arch == arch]

    def _with_relation(self, text: str) -> list[Choice]:
        """Read C(name=version), where the version may be a glob."""
        name, equals, version = text.partition("=")
        name, version = name.strip(), version.strip()
        if not equals or not version or GLOB.search(name):
            return []
        name, arch = self._split_arch(name)
        versions = self._of_arch(self._pool.versions(name), arch)
        if not versions:
            return self._meeting(self._pool.relation(name, "=", version))
        fitting = self._fitting(versions, version)
        if not fitting:
            raise Refused(
                f"The package {name!r} is not available in the version {version!r}; available: "
                f"{self._available(versions)}."
            )
        return [fitting]

    def _by_condition(self, text: str) -> list[Choice]:
        """Read C(name >= version), and rich dependencies, of which what they lead to is taken, as dnf does."""
        if text.startswith("("):
            dep = self._pool.rich(text)
            if dep is None:
                raise Refused(f"{text!r} is not written as a dependency: ask for '(this or that)', for example.")
            if " and " in text:
                raise Refused(f"{text!r} asks for several packages at once; name each of them on its own.")
            return self._meeting(dep)
        match = _CONDITION.fullmatch(text)
        if match is None:
            return []
        name, operator, version = match["name"], match["operator"], match["version"]
        found = self._meeting(self._pool.relation(name, operator, version))
        versions = self._pool.versions(name)
        if not found and versions:
            raise Refused(
                f"The package {name!r} is not available in a version {operator} {version}; available: "
                f"{self._available(versions)}."
            )
        return found

    def _meeting(self, dep: t.Any) -> list[Choice]:
        found = self._pool.meeting(dep)
        return [tuple(found)] if found else []

    def _fitting(self, solvables: t.Iterable[int], version: str) -> Choice:
        """Return the packages of a version, which may be a glob."""
        with_epoch = ":" in version

        def fits(known: str) -> bool:
            # An epoch that nobody wrote is no part of what "1*" is about.
            forms = (form for form in version_forms(known) if (":" in form) == with_epoch)
            return any(fnmatch.fnmatchcase(form, version) for form in forms)

        return tuple(solvable for solvable in solvables if fits(self._pool.version(solvable)))

    def _with_version(self, text: str) -> list[Choice]:
        """Read C(name-version-release) and C(name-version), both with C(.arch)."""
        for name, version, arch in self._versioned_forms(text):
            versions = self._of_arch(self._pool.versions(name), arch)
            fitting = [number for number in versions if same_version(self._pool.version(number), version)]
            if fitting:
                return [tuple(fitting)]
        return []

    def _versioned_forms(self, text: str) -> t.Iterator[tuple[str, str, str]]:
        """Yield name, version and architecture as a request may mean them, in dnf's order: first with a release."""
        forms = [(text, "")]
        name, arch = self._split_arch(text)
        if arch:
            forms.append((name, arch))
        for hyphens in (2, 1):
            for form, wanted in forms:
                name, *version = form.rsplit("-", hyphens)
                if name and len(version) == hyphens and all(version):
                    yield name, "-".join(version), wanted

    def _by_glob(self, text: str) -> list[Choice]:
        pattern, equals, version = text.partition("=")
        if equals:
            found = self._of_glob(pattern, version)
        else:
            names = sorted(fnmatch.filter(self.names, pattern))
            found = [self._with_obsoleters(self._pool.versions(name)) for name in names]
            if not found:
                found = next(filter(None, (self._of_glob(*form) for form in self._versioned_forms(text))), [])
        if not found:
            place = self._pool.elsewhere.place_of(text)
            more = f" Packages that do are in {place}." if place else ""
            raise Refused(f"No package matches the pattern {text!r}.{more}")
        return found

    def _of_glob(self, pattern: str, version: str, arch: str = "") -> list[Choice]:
        """Return the packages whose names and versions match."""
        names = sorted(fnmatch.filter(self.names, pattern))
        choices = [self._fitting(self._of_arch(self._pool.versions(name), arch), version) for name in names]
        return [choice for choice in choices if choice]

    def _provided(self, text: str) -> list[Choice]:
        """Take what provides a name, or has a file; the solver decides between several."""
        found = self._pool.providers(text)
        return [tuple(found)] if found else []

    def _of_versions(self, choice: Choice, wanted: str) -> Choice:
        """Return the kernels of a choice whose version begins as it has to."""
        fitting = tuple(number for number in choice if begins_with(self._pool.version(number), wanted))
        return fitting or (self._of_version(choice[0], wanted),)

    def _missing(self, text: str) -> str:
        if text.startswith("/"):
            return f"No package has the file {text!r}."
        streams = self._pool.inactive_streams(text)
        if streams:
            return (
                f"The package {text!r} is of the module streams {listed(streams)}, which are not active; enable one in "
                f"systemConfig.modules, or ask for @{streams[-1]}."
            )
        return self._kept_out(text, text) or super()._missing(text)


def module_parts(text: str) -> tuple[str, str, str]:
    """Return module, stream and profile of C(@module:stream/profile), of which the last two may be missing."""
    stream, _slash, profile = text[1:].partition("/")
    name, _colon, stream = stream.partition(":")
    return name, stream, profile


__all__ = ("RpmFinder", "module_parts")
