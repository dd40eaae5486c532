# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Templates, providers and repositories as C(template.json) has them: whole, with the defaults of their schemas."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import Facts
from ansible_collections.os_image.composer.plugins.module_utils._template import schema
from ansible_collections.os_image.composer.plugins.module_utils._template.located import from_data
from ansible_collections.os_image.composer.plugins.module_utils._template.part import AnyPart, Part, field_name
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import (
    DEFAULT_PRIORITY,
    Repository,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.schema import SECTIONS, Schema
from ansible_collections.os_image.composer.plugins.module_utils._template.validation import fill_defaults


def whole_template(**sections: t.Any) -> Facts:
    """Return a merged template; what is not said has its default."""
    return _filled({"target": {**_TARGET, **sections.pop("target", {})}, **sections}, {"properties": SECTIONS})


def whole_part(kind: type[AnyPart], data: t.Mapping[str, t.Any]) -> AnyPart:
    """Read a part of a template; what is not said has its default."""
    return kind.from_data(_filled(data, form_of(kind)))


def form_of(kind: type[Part]) -> Schema:
    """Return the schema of a part of a template, which has its name in other letters."""
    return t.cast(Schema, getattr(schema, field_name(kind.__name__).upper()))


def whole_provider(**settings: t.Any) -> Facts:
    """Return a provider of Debian 12; what is not said is as a configuration without it has it."""
    essential = {"priorities": [], "packages": [], **settings.pop("essential", {})}
    found = [_whole_repository(entry) for entry in settings.pop("repositories", [])]
    return {**_PROVIDER, **settings, "essential": essential, "repositories": found}


def repositories(*entries: t.Mapping[str, t.Any]) -> t.Tuple[Repository, ...]:
    """Read repositories of C(template.json); what is not said is as a configuration without it has it."""
    return tuple(Repository.from_data(_whole_repository(entry)) for entry in entries)


_TARGET = {"os": "debian", "dist": "debian12", "arch": "x86_64", "imageType": "raw"}
_PROVIDER = {
    **{"os": "debian", "dist": "debian12", "arch": "x86_64", "package_arch": "amd64", "family": "deb"},
    **{"release_version": "12", "codename": "", "initramfs": {"generator": "auto"}, "bootloader_packages": []},
}
_REPOSITORY = {
    **{"components": [], "priority": DEFAULT_PRIORITY, "allow_packages": [], "exclude_packages": []},
    **{"gpgcheck": True, "repo_gpgcheck": True, "keys": [], "fingerprints": []},
}


def _whole_repository(entry: t.Mapping[str, t.Any]) -> Facts:
    return {**_REPOSITORY, **entry}


def _filled(data: t.Mapping[str, t.Any], form: Schema) -> Facts:
    located = from_data(data, file="a test")
    fill_defaults(located, form)
    return t.cast(Facts, json.loads(json.dumps(located)))


__all__ = ("form_of", "repositories", "whole_part", "whole_provider", "whole_template")
