# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of several floors: a valid template, trees of a tiny distribution, a finished build."""

from __future__ import annotations

import pathlib
import shutil
import typing as t

import pytest
import yaml
from ansible_collections.os_image.composer.plugins.module_utils._artifact.compression import CODECS
from ansible_collections.os_image.composer.plugins.module_utils._checks.assembly import Assembly, assemble
from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.tests.support.finished_build import MIB, FinishedBuild
from ansible_collections.os_image.composer.tests.support.tiny_debian import EPOCH, Deb, Log, fill_tree
from ansible_collections.os_image.composer.tests.support.tiny_rpm import Rpm

ROOT = pathlib.Path(__file__).resolve().parents[4]
CONFIG = ROOT / "config"

#: Writes a template and assembles it; keywords become its sections.
Build = t.Callable[..., Assembly]


def basic() -> dict[str, t.Any]:
    """Return the least that a template must say."""
    return {
        "image": {"name": "web", "version": "1.0"},
        "target": {"os": "debian", "dist": "debian12", "arch": "x86_64", "imageType": "raw"},
    }


@pytest.fixture
def build(tmp_path: pathlib.Path) -> Build:
    """Assemble a template of the sections that are given; C(systemConfig) gets a user, so that nothing is warned of."""

    def run(*, text: str | None = None, overrides: dict[str, t.Any] | None = None, **sections: t.Any) -> Assembly:
        path = tmp_path / "web.yml"
        path.write_text(text if text is not None else yaml.safe_dump({**basic(), **sections}, sort_keys=False))
        return assemble(str(path), config_dir=str(CONFIG), overrides=overrides)

    return run


@pytest.fixture
def errors(build: Build) -> t.Callable[..., list[str]]:
    """Assemble a template that is wrong, and return its errors, each as "path: message"."""

    def run(**sections: t.Any) -> list[str]:
        with pytest.raises(TemplateError) as caught:
            build(**sections)
        return [f"{error['path']}: {error['message']}" for error in caught.value.details["errors"]]

    return run


@pytest.fixture
def log() -> Log:
    """Return an empty log."""
    return Log()


@pytest.fixture
def runner(log: Log) -> CommandRunner:
    """Return a runner that writes to the log."""
    return CommandRunner(log=log)


@pytest.fixture(scope="session")
def pristine_tree(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Return a tree with programs; not to be written to."""
    root = tmp_path_factory.mktemp("pristine") / "root"
    root.mkdir()
    fill_tree(root)
    return root


@pytest.fixture
def tree(pristine_tree: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a tree with programs, for one test alone."""
    root = tmp_path / "tree"
    shutil.copytree(pristine_tree, root, symlinks=True)
    return root


@pytest.fixture
def sandbox(tree: pathlib.Path, runner: CommandRunner) -> Sandbox:
    """Return a sandbox in the tree."""
    return Sandbox(str(tree), runner, source_date_epoch=EPOCH)


@pytest.fixture(scope="session")
def base_deb(pristine_tree: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Deb, pathlib.Path]:
    """Return the package that a tree needs to run anything: shell, coreutils, dpkg."""
    source = tmp_path_factory.mktemp("base") / "root"
    shutil.copytree(pristine_tree, source, symlinks=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (source / name).unlink()
    for name in ("tmp", "root"):
        (source / name).rmdir()
    deb = Deb("dpkg", fields={"Essential": "yes"}, version="1.21.22")
    return deb, deb.build(tmp_path_factory.mktemp("debs"), tree=source, compression="none")


@pytest.fixture(scope="session")
def base_rpm(pristine_tree: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Rpm, pathlib.Path]:
    """Return the package that a tree of RPM packages needs to run anything."""
    source = tmp_path_factory.mktemp("rpm-base") / "root"
    shutil.copytree(pristine_tree, source, symlinks=True)
    (source / "tmp").rmdir()
    (source / "root").rmdir()
    rpm = Rpm("base", arch="x86_64", tags=["Provides: /bin/sh"])
    return rpm, rpm.build(tmp_path_factory.mktemp("rpms"), tree=source)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small files have several parts."""
    for codec in CODECS.values():
        monkeypatch.setattr(codec, "part_size", MIB)


@pytest.fixture
def finished_build(tmp_path: pathlib.Path, sparse_image: pathlib.Path, small_parts: None) -> FinishedBuild:
    """Make a build that only lacks image_finalize."""
    return FinishedBuild(tmp_path, sparse_image)
