# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A template that is valid, and ways to spoil it."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml
from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.plugins.module_utils._template.assembly import Assembly, assemble

ROOT = pathlib.Path(__file__).resolve().parents[5]
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
