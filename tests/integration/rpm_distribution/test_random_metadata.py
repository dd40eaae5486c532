# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The resolver's answers beside dnf's own, on repositories that are drawn at random.

A real repository leaves a solver hardly a choice; these are made of choices: several versions, virtual packages, rich
dependencies, files, conflicts, obsoletes. Every seed gives the same repositories again.
"""

from __future__ import annotations

import hashlib
import pathlib
import random
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import Request
from ansible_collections.os_image.composer.tests.support.rpm_index import index_texts, resolver_of, rpm_repository

dnf = pytest.importorskip("dnf", reason="there is no dnf to compare with")

_NAMES = 120
_REQUESTS = 25


class _Dice:
    """Draws a repository."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.names = [f"p{number}" for number in range(_NAMES)]
        self.virtual = [f"v{number}" for number in range(15)]
        self.files = [f"/opt/f{number}" for number in range(15)] + [f"/usr/bin/b{number}" for number in range(15)]

    def version(self) -> str:
        epoch = self.random.choice(["", "", "", "1:"])
        suffix = self.random.choice(["", "", "", "~rc1", "^git2"])
        return f"{epoch}{self.random.randint(1, 3)}.{self.random.randint(0, 12)}{suffix}-{self.random.randint(1, 2)}"

    def simple(self) -> str:
        """Draw a dependency on one thing."""
        kind = self.random.random()
        if kind < 0.15:
            return self.random.choice(self.virtual)
        if kind < 0.3:
            return self.random.choice(self.files)
        name = self.random.choice(self.names)
        if kind < 0.6:
            return name
        operator = self.random.choice([">=", "<=", "=", "<", ">"])
        return f"{name} {operator} {self.random.randint(1, 3)}.{self.random.randint(0, 9)}"

    def dependency(self) -> str:
        if self.random.random() < 0.75:
            return self.simple()
        one, two, three = self.simple(), self.simple(), self.simple()
        forms = [f"({one} or {two})", f"({one} if {two})", f"({one} and {two})", f"({one} if {two} else {three})"]
        return self.random.choice(forms)

    def package(self, name: str) -> str:
        # Of other architectures dnf takes account in its own ways: it falls back to i686, and fails where the best
        # candidate is for aarch64.
        arch = self.random.choice(["x86_64", "noarch"])
        lines = [f"{name} {self.version()} {arch}"]

        def add(field: str, draw: t.Callable[[], str], chance: float, most: int) -> None:
            if self.random.random() < chance:
                lines.append(f"{field}: {', '.join(draw() for _number in range(self.random.randint(1, most)))}")

        add("Requires", self.dependency, 0.6, 3)
        add("Requires(pre)", self.simple, 0.1, 1)
        add("Recommends", self.simple, 0.3, 2)
        add("Supplements", lambda: self.random.choice(self.names), 0.05, 1)
        add("Conflicts", self.simple, 0.1, 1)
        add("Obsoletes", lambda: f"{self.random.choice(self.names)} < {self.random.randint(1, 3)}", 0.05, 1)
        add("Provides", lambda: self.random.choice([*self.virtual, f"{self.random.choice(self.virtual)} = 1"]), 0.2, 2)
        if self.random.random() < 0.4:
            lines.append("Files: " + " ".join(self.random.sample(self.files, self.random.randint(1, 2))))
        return "\n".join(lines)

    def repository(self) -> str:
        """Draw a repository."""
        packages = [self.package(name) for name in self.names for _version in range(self.random.randint(1, 3))]
        # One of each name, version and architecture.
        return "\n\n".join({text.partition("\n")[0]: text for text in packages}.values())

    def request(self) -> list[str]:
        """Draw what is asked for."""
        wanted = [self.random.choice(self.names) for _number in range(self.random.randint(1, 3))]
        if self.random.random() < 0.2:
            wanted.append(self.random.choice([*self.virtual, *self.files]))
        return wanted


def write_metadata(directory: pathlib.Path, packages: str, modules: str | None = None) -> None:
    """Write the metadata of a repository, as dnf wants it.

    :param modules: The content of its modules.yaml.
    """
    repodata = directory / "repodata"
    repodata.mkdir(parents=True)
    entries = ""
    indexes = {f"{kind}.xml": text for kind, text in index_texts(packages).items()}
    if modules is not None:
        indexes["modules.yaml"] = modules
    for name, text in indexes.items():
        kind = name.partition(".")[0]
        (repodata / name).write_text(text)
        digest, size = hashlib.sha256(text.encode()).hexdigest(), len(text.encode())
        entries += (
            f'<data type="{kind}"><checksum type="sha256">{digest}</checksum><open-checksum type="sha256">{digest}'
            f'</open-checksum><location href="repodata/{name}"/><timestamp>1</timestamp><size>{size}</size>'
            f"<open-size>{size}</open-size></data>"
        )
    (repodata / "repomd.xml").write_text(
        f'<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision>{entries}</repomd>'
    )


class Dnf:
    """dnf with some repositories, and an empty system."""

    def __init__(self, directory: pathlib.Path, repositories: t.Mapping[str, tuple[str, int]]) -> None:
        self.base = dnf.Base()
        conf = self.base.conf
        conf.installroot = str(directory / "root")
        conf.cachedir = str(directory / "cache")
        conf.persistdir = str(directory / "persist")
        conf.logdir = str(directory)
        conf.reposdir = []
        conf.pluginpath = []
        conf.gpgcheck = False
        conf.best = True
        conf.substitutions["arch"] = conf.substitutions["basearch"] = "x86_64"
        conf.substitutions["releasever"] = "1"
        for name, (packages, priority) in repositories.items():
            write_metadata(directory / name, packages)
            repo = dnf.repo.Repo(name, conf)
            repo.baseurl = [f"file://{directory / name}"]
            # dnf prefers the smaller number.
            repo.priority = 1000 - priority
            self.base.repos.add(repo)
        self.base.fill_sack(load_system_repo=False)

    def close(self) -> None:
        self.base.close()

    def solve(self, texts: t.Sequence[str], *, weak: bool) -> set[str] | None:
        """Return what dnf installs; V(None) when it cannot."""
        self.base.reset(goal=True)
        self.base.conf.install_weak_deps = weak
        try:
            for text in texts:
                self.base.install(text)
            self.base.resolve()
        except (dnf.exceptions.MarkingError, dnf.exceptions.DepsolveError):
            return None
        return {f"{package.name}-{package.evr}.{package.arch}" for package in self.base.transaction.install_set}


@pytest.mark.parametrize("weak", [False, True], ids=["strong", "weak"])
@pytest.mark.parametrize("seed", range(20))
def test_the_answer_is_that_of_dnf(tmp_path: pathlib.Path, seed: int, weak: bool) -> None:
    dice = _Dice(seed)
    drawn = {"base": (dice.repository(), 500)}
    if seed % 3 == 0:
        drawn["extra"] = (dice.repository(), dice.random.choice([500, 900]))
    oracle = Dnf(tmp_path / "dnf", drawn)
    solved = 0
    try:
        repositories = [
            rpm_repository(tmp_path, packages, name=name, priority=priority)
            for name, (packages, priority) in drawn.items()
        ]
        for _number in range(_REQUESTS):
            texts = dice.request()
            # Each on its own: what one request needs of the file lists must not help the next.
            resolver = resolver_of(*repositories, weak=weak, cache_dir=tmp_path / "solv")
            try:
                chosen = resolver.solve(resolver.select([Request(text, "system") for text in texts]))
            except ResolveError:
                found = None
            else:
                solvables = [resolver.pool.solvable(number) for number in chosen]
                found = {f"{solvable.name}-{solvable.evr}.{solvable.arch}" for solvable in solvables}
                solved += 1
            expected = oracle.solve(texts, weak=weak)
            assert found == expected, f"seed {seed}: {texts}"
    finally:
        oracle.close()
    assert solved > 0
