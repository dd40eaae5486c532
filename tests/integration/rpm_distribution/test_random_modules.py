# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The resolver's answers beside dnf's own, on repositories with modules that are drawn at random.

They have the shape of an Enterprise Linux with its BaseOS and AppStream: several streams of each module, most with a
default one, builds in several versions and contexts, packages of the same names outside of modules, streams that need
others. Every seed gives the same repositories again.
"""

from __future__ import annotations

import dataclasses
import pathlib
import random
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import Request
from ansible_collections.os_image.composer.tests.integration.rpm_distribution.test_random_metadata import (
    write_metadata,
)
from ansible_collections.os_image.composer.tests.support.rpm_index import resolver_of, rpm_repository

dnf = pytest.importorskip("dnf", reason="there is no dnf to compare with")

_MODULES = 8
_PLAIN = 12
_REQUESTS = 20


@dataclasses.dataclass
class _Repository:
    packages: list[str] = dataclasses.field(default_factory=list)
    documents: list[str] = dataclasses.field(default_factory=list)
    hotfixes: bool = False

    @property
    def text(self) -> str:
        # One of each name, version and architecture.
        return "\n\n".join({text.partition("\n")[0]: text for text in self.packages}.values())

    @property
    def modules(self) -> str | None:
        return "".join(self.documents) if self.documents else None


class _Dice:
    """Draws repositories."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.modules = {
            f"m{number}": ["1", "2", "3.10", "rhel"][: self.random.randint(1, 4)] for number in range(_MODULES)
        }
        self.plain = [f"p{number}" for number in range(_PLAIN)]
        self.profiles: dict[str, list[str]] = {}

    def chance(self, likely: float) -> bool:
        return self.random.random() < likely

    def names(self, module: str) -> list[str]:
        return [module, f"{module}-libs", f"{module}-devel"]

    def dependency(self) -> str:
        if self.chance(0.4):
            return self.random.choice(self.plain)
        name = self.random.choice(self.names(self.random.choice(list(self.modules))))
        if self.chance(0.3):
            name += f" {self.random.choice(['>=', '=', '<'])} {self.random.randint(1, 4)}"
        return name

    def package(self, name: str, evr: str, *, requires: float, arch: str = "x86_64") -> str:
        lines = [f"{name} {evr} {arch}"]
        if self.chance(requires):
            lines.append(f"Requires: {self.dependency()}")
        if self.chance(0.08):
            lines.append(f"Provides: {self.random.choice(self.names(self.random.choice(list(self.modules))))}")
        if self.chance(0.05):
            victim = self.random.choice(self.names(self.random.choice(list(self.modules))))
            lines.append(f"Obsoletes: {victim} < {self.random.randint(1, 5)}")
        return "\n".join(lines)

    def requires(self, module: str) -> str:
        needed = [f"platform: [{self.random.choice(['el9', 'el9', 'el9', 'el9', 'el8'])}]"]
        for other in self.random.sample(list(self.modules), 2):
            if other == module or not self.chance(0.25):
                continue
            streams = self.random.sample(self.modules[other], self.random.randint(0, len(self.modules[other])))
            if self.chance(0.15):
                streams = [f"-{streams[0]}"] if streams else []
            needed.append(f"{other}: [{', '.join(repr(stream) for stream in streams)}]")
        if self.chance(0.1):
            needed = needed[1:]
        return f"{{{', '.join(needed)}}}"

    def stream(self, repository: _Repository, module: str, stream: str, requires: str) -> None:
        """Draw a build of a stream, with its packages."""
        number = self.modules[module].index(stream) + 1
        version, context = self.random.randint(1, 3), self.random.choice(["aaaa", "bbbb", "cccc"])
        artifacts = []
        for name in self.names(module):
            epoch = self.random.choice(["", "", "1:"])
            release = f"{version}.module_el9_{context}"
            evr = f"{epoch}{number}.{self.random.randint(0, 2)}-{release}"
            artifacts.append(f"{name}-{epoch or '0:'}{evr.partition(':')[2] or evr}.x86_64")
            if self.chance(0.95):
                repository.packages.append(self.package(name, evr, requires=0.2))
        if self.chance(0.3):
            artifacts.append(f"{self.random.choice(self.plain)}-0:9.9-1.src")
        if self.chance(0.15):
            # A package of the distribution that a module has taken over.
            name = self.random.choice(self.plain)
            artifacts.append(f"{name}-0:{number}.5-1.x86_64")
            repository.packages.append(self.package(name, f"{number}.5-1", requires=0.1))
        profiles = {"common": [module], "devel": [module, f"{module}-devel"], "empty": []}
        if self.chance(0.1):
            profiles["common"].append(self.random.choice([*self.plain, "no-such-package"]))
        static = "  static_context: true\n" if self.chance(0.2) else ""
        demodularized = f"  demodularized:\n    rpms: [{module}-libs]\n" if self.chance(0.1) else ""
        listed = "".join(f"    - {artifact}\n" for artifact in artifacts)
        rpms = "".join(f"    {name}:\n      rpms: [{', '.join(content)}]\n" for name, content in profiles.items())
        repository.documents.append(
            f"---\ndocument: modulemd\nversion: 2\ndata:\n  name: {module}\n  stream: {stream!r}\n"
            f"  version: {version}\n  context: {context}\n{static}  arch: x86_64\n  summary: a module\n"
            f"  description: a module\n"
            f"  license:\n    module: [MIT]\n  xmd: {{a: [{{b: c}}]}}\n"
            f"  dependencies:\n  - requires: {requires}\n    buildrequires: {{platform: [el9]}}\n"
            f"  profiles:\n{rpms}{demodularized}  artifacts:\n    rpms:\n{listed}...\n"
        )

    def defaults(self, module: str) -> str:
        stream = self.random.choice(self.modules[module])
        chosen = f"  stream: {stream!r}\n" if self.chance(0.85) else ""
        profiles = self.profiles.setdefault(
            module,
            [self.random.choice(["common", "common", "common", "devel", "empty"]) for _stream in self.modules[module]],
        )
        lines = "".join(
            f"    {name!r}: [{profile}]\n" for name, profile in zip(self.modules[module], profiles) if name != "rhel"
        )
        modified = f"  modified: {self.random.randint(1, 3)}\n" if self.chance(0.5) else ""
        return (
            f"---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: {module}\n{modified}{chosen}"
            + (f"  profiles:\n{lines}" if lines else "")
            + "...\n"
        )

    def repositories(self) -> dict[str, _Repository]:
        base, stream, extra = _Repository(), _Repository(), _Repository(hotfixes=self.chance(0.5))
        provides = "Provides: system-release, base-module(platform:el9)"
        base.packages.append(
            f"centos-stream-release 9.0-1 noarch\n{provides}" if self.chance(0.9) else "other 1-1 noarch"
        )
        base.packages += [
            self.package(name, f"{self.random.randint(1, 3)}.{number}-1", requires=0.5)
            for name in self.plain
            for number in range(self.random.randint(1, 2))
        ]
        for module, streams in self.modules.items():
            for name in self.names(module):
                if self.chance(0.25):
                    target = self.random.choice([base, stream, extra])
                    target.packages.append(self.package(name, f"{self.random.randint(1, 6)}.0-0", requires=0.3))
            for name in streams:
                needed = [self.requires(module) for _context in range(self.random.choice([1, 1, 1, 2]))]
                for _build in range(self.random.randint(1, 3)):
                    target = extra if self.chance(0.15) else stream
                    self.stream(target, module, name, self.random.choice(needed))
            if self.chance(0.8):
                stream.documents.append(self.defaults(module))
            if self.chance(0.15):
                extra.documents.append(self.defaults(module))
        if self.chance(0.3):
            stream.documents.append("---\ndocument: modulemd\nversion: 2\ndata:\n  name: broken\n...\n")
            stream.documents.append(
                "---\ndocument: modulemd-obsoletes\nversion: 1\ndata:\n  module: m0\n  stream: '1'\n"
                "  modified: 2020-01-01T00:00Z\n  message: gone\n  obsoleted_by: {module: m0, stream: '2'}\n...\n"
            )
        extra.packages.append("extra 1-1 noarch")
        return {"base": base, "appstream": stream, "extra": extra}

    def request(self) -> tuple[list[str], list[str]]:
        """Draw what is asked for, and which streams are enabled."""
        everything = [*self.plain, *(name for module in self.modules for name in self.names(module))]
        wanted = [self.random.choice(everything) for _number in range(self.random.randint(1, 3))]
        enabled: list[str] = []
        for module in self.random.sample(list(self.modules), 2):
            stream = self.random.choice(self.modules[module])
            if self.chance(0.35):
                form = self.random.choice(["@{0}", "@{0}:{1}", "@{0}:{1}/common", "@{0}/devel", "@{0}:{1}/none"])
                wanted.append(form.format(module, stream))
            elif self.chance(0.35):
                enabled.append(f"{module}:{stream}")
        if self.chance(0.05):
            enabled.append("m0:none")
        return wanted, enabled


def dnfs_answer(
    directory: pathlib.Path,
    repositories: t.Mapping[str, _Repository],
    wanted: t.Sequence[str],
    enabled: t.Sequence[str],
) -> set[str] | None:
    """Return what C(dnf module enable) and C(dnf install) give in an empty system; V(None) where they fail."""
    base = dnf.Base()
    conf = base.conf
    conf.installroot = str(directory / "root")
    conf.cachedir = str(directory / "cache")
    conf.persistdir = str(directory / "persist")
    conf.logdir = str(directory)
    conf.reposdir = []
    conf.pluginpath = []
    conf.gpgcheck = False
    conf.best = True
    conf.install_weak_deps = False
    conf.substitutions["arch"] = conf.substitutions["basearch"] = "x86_64"
    conf.substitutions["releasever"] = "9"
    for name, repository in repositories.items():
        repo = dnf.repo.Repo(name, conf)
        repo.baseurl = [f"file://{directory / name}"]
        repo.module_hotfixes = repository.hotfixes
        base.repos.add(repo)
    try:
        base.fill_sack(load_system_repo=False)
        modules = dnf.module.module_base.ModuleBase(base)
        for action, specs in (
            (modules.enable, enabled),
            (modules.install, [text[1:] for text in wanted if text.startswith("@")]),
        ):
            try:
                if specs:
                    action(list(specs))
            except dnf.exceptions.MarkingErrors as exc:
                # Default streams that do not fit are reported as well, and left out; so are newest builds.
                kinds = dnf.module.module_base.libdnf.module.ModulePackageContainer
                mended = (kinds.ModuleErrorType_ERROR_IN_DEFAULTS, kinds.ModuleErrorType_ERROR_IN_LATEST)
                broken = exc.module_depsolv_errors and exc.module_depsolv_errors[1] not in mended
                if exc.no_match_group_specs or exc.error_group_specs or broken:
                    return None
        for text in wanted:
            if not text.startswith("@"):
                base.install(text)
        base.resolve()
        return {f"{package.name}-{package.evr}.{package.arch}" for package in base.transaction.install_set}
    except dnf.exceptions.Error:
        return None
    finally:
        base.close()


@pytest.mark.parametrize("seed", range(12))
def test_the_answer_is_that_of_dnf(tmp_path: pathlib.Path, seed: int) -> None:
    dice = _Dice(seed)
    drawn = dice.repositories()
    for name, repository in drawn.items():
        write_metadata(tmp_path / "dnf" / name, repository.text, repository.modules)
    repositories = [
        rpm_repository(
            tmp_path, repository.text, name=name, modules=repository.modules, module_hotfixes=repository.hotfixes
        )
        for name, repository in drawn.items()
    ]
    solved, differing = 0, []
    for _number in range(_REQUESTS):
        wanted, enabled = dice.request()
        try:
            resolver = resolver_of(*repositories, modules=enabled)
            chosen = resolver.solve(resolver.select([Request(text, "system") for text in wanted]))
        except ResolveError:
            found = None
        else:
            solvables = [resolver.pool.solvable(number) for number in chosen]
            found = {f"{solvable.name}-{solvable.evr}.{solvable.arch}" for solvable in solvables}
            solved += 1
        expected = dnfs_answer(tmp_path / "dnf", drawn, wanted, enabled)
        if found != expected:
            differing.append((wanted, enabled, found, expected))
    assert not differing, f"seed {seed}"
    assert solved > 0
