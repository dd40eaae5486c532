# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A laboratory for rules about templates: a configuration with a small default template for each type of image.

It does not depend on the default templates that are shipped, so that what it finds only changes with the rules.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import shutil
import tempfile
import typing as t
from unittest import mock

import yaml
from ansible_collections.os_image.composer.plugins.module_utils._checks import assembly
from ansible_collections.os_image.composer.plugins.module_utils._checks.catalogue import ADVICE, RULES
from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.plugins.module_utils._template.located import from_data
from ansible_collections.os_image.composer.plugins.module_utils._template.references import file_references
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Rule

_CONFIG = pathlib.Path(__file__).resolve().parents[2] / "config" / "osv" / "debian"
_DIST = "debian12"

Part = dict[str, t.Any]


def basic() -> Part:
    """Return the least that a template must say."""
    return {
        "image": {"name": "web", "version": "1.0"},
        "target": {"os": "debian", "dist": _DIST, "arch": "x86_64", "imageType": "raw"},
    }


def _default(arch: str, kind: str) -> Part:
    partitions = [
        {"id": "boot", "type": "esp", "fsType": "fat32", "start": "1MiB", "end": "257MiB", "mountPoint": "/boot/efi"},
        {"id": "root", "fsType": "ext4", "end": "0", "mountPoint": "/"},
    ]
    disk = {"raw": {"size": "2GiB", "partitions": partitions}, "iso": {"partitions": partitions}, "initrd": {}}
    template = basic()
    template["target"].update(arch=arch, imageType=kind)
    kernel = {"packages": ["linux-image-amd64" if arch == "x86_64" else "linux-image-arm64"]}
    return {**template, "disk": disk[kind], "systemConfig": {"name": "default", "kernel": kernel}}


def make_configuration(directory: pathlib.Path) -> pathlib.Path:
    """Write a configuration directory."""
    target = directory / "config" / "osv" / "debian"
    shutil.copytree(_CONFIG / _DIST, target / _DIST)
    shutil.copytree(_CONFIG / "keys", target / "keys")
    defaults = target / _DIST / "imageconfigs" / "defaultconfigs"
    for arch in ("x86_64", "aarch64"):
        for kind in ("raw", "iso", "initrd"):
            path = defaults / f"default-{kind}-{arch}.yml"
            path.write_text(yaml.safe_dump(_default(arch, kind), sort_keys=False))
    return directory / "config"


def assemble(part: str | Part, directory: pathlib.Path, *, config: pathlib.Path) -> assembly.Assembly:
    """Assemble the least template with a part of one; the files that it names are there.

    :param part: As YAML, or what it means.
    :raises TemplateError: Something is wrong with it.
    """
    data = yaml.safe_load(part) if isinstance(part, str) else part
    template = basic()
    for section, value in data.items():
        template[section] = {**template[section], **value} if section in template else value
    for reference in file_references(from_data(template, file="template.yml")):
        path = directory / reference.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    path = directory / "template.yml"
    path.write_text(yaml.safe_dump(template, sort_keys=False))
    return assembly.assemble(str(path), config_dir=str(config))


def errors_and_warnings(part: str | Part, directory: pathlib.Path, *, config: pathlib.Path) -> list[str]:
    """Return what is wrong with a part of a template, else its warnings, each as C(path: message)."""
    try:
        assembled = assemble(part, directory, config=config)
    except TemplateError as exc:
        return [f"{error['path']}: {error['message']}" for error in exc.details["errors"]]
    # A warning begins with the file and the line.
    return [warning.split(": ", 1)[1] for warning in assembled.warnings]


@contextlib.contextmanager
def only(*rules: Rule) -> t.Iterator[None]:
    """Let these be the only rules."""
    with (
        mock.patch.object(assembly, "RULES", tuple(rule for rule in RULES if rule in rules)),
        mock.patch.object(assembly, "ADVICE", tuple(rule for rule in ADVICE if rule in rules)),
    ):
        yield


@functools.cache
def findings_of_example(rule: Rule) -> tuple[str, ...]:
    """Return what a rule, alone, says about its example."""
    with tempfile.TemporaryDirectory() as name, only(rule):
        directory = pathlib.Path(os.path.realpath(name))
        return tuple(errors_and_warnings(rule.example, directory, config=make_configuration(directory)))
