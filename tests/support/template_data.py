# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Templates, providers and repositories as C(template.json) has them: whole, with the defaults of their schemas."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import Facts
from ansible_collections.os_image.composer.plugins.module_utils._template.located import from_data
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import Repository
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_schema import PROVIDER
from ansible_collections.os_image.composer.plugins.module_utils._template.schema import SECTIONS, Schema
from ansible_collections.os_image.composer.plugins.module_utils._template.validation import fill_defaults


def whole_template(**sections: t.Any) -> Facts:
    """Return a merged template; what is not said has its default."""
    return _filled({"target": {**_TARGET, **sections.pop("target", {})}, **sections}, {"properties": SECTIONS})


def whole_provider(**settings: t.Any) -> Facts:
    """Return a provider of Debian 12; what is not said has its default."""
    return _filled({**_PROVIDER, **settings}, PROVIDER)


def repositories(*entries: t.Mapping[str, t.Any]) -> t.Tuple[Repository, ...]:
    """Read repositories of C(template.json)."""
    return tuple(Repository.from_data(entry) for entry in entries)


_TARGET = {"os": "debian", "dist": "debian12", "arch": "x86_64", "imageType": "raw"}
_PROVIDER = {
    **{"os": "debian", "dist": "debian12", "arch": "x86_64", "package_arch": "amd64", "family": "deb"},
    "release_version": "12",
}


def _filled(data: Facts, form: Schema) -> Facts:
    located = from_data(data, file="a test")
    fill_defaults(located, form)
    return t.cast(Facts, json.loads(json.dumps(located)))


__all__ = ("repositories", "whole_provider", "whole_template")
