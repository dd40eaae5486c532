# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The document C(template.json): what all later stages know about the image."""

from __future__ import annotations

import dataclasses
import functools
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._errors import DocumentError
from ansible_collections.os_image.composer.plugins.module_utils._io import digest_of, sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._template.model import (
    Disk,
    Image,
    Iso,
    SystemConfig,
    Target,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.part import AnyPart
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import Provider

DOCUMENT = "template.json"

# Where a package comes from may differ between build hosts; these may not.
_PACKAGE_IDENTITY = ("name", "version", "arch", "sha256")

# What of a template decides how the image is published and described, and not what it is.
_NOT_OF_THE_IMAGE = (
    ("metadata",),
    ("disk", "artifacts"),
    ("disk", "name"),
    ("systemConfig", "description"),
    ("systemConfig", "kernel", "name"),
    ("systemConfig", "signing", "checksums"),
    ("systemConfig", "signing", "provenance"),
)

# What of a repository decides which of its metadata and packages are taken, and is in the lock by its outcome.
_NOT_OF_THE_PROVIDER = frozenset({"foreign", "max_age"})


@dataclasses.dataclass(frozen=True)
class TemplateDocument:
    """The merged template, its provider, and the files that it names.

    Whoever acts on the template or its provider reads the typed properties. The mappings that they come from are for
    digests, fingerprints and what is published.

    :ivar provider_id: C({os}-{dist}-{arch}).
    :ivar provider_data: The mapping of the provider: architecture, family, essential packages, repositories.
    :ivar template: The merged template with all defaults; local files by absolute paths; passwords are hashes.
    :ivar files: Absolute paths of the files that the template and the provider name, with their SHA-256.
    """

    provider_id: str
    provider_data: t.Dict[str, t.Any]
    template: t.Dict[str, t.Any]
    files: t.Dict[str, str]
    cache_dir: str
    work_dir: str
    config_dir: str
    sources: t.Tuple[t.Mapping[str, str], ...] = ()
    warnings: t.Tuple[str, ...] = ()

    @classmethod
    def read(cls, build: BuildDirectory) -> TemplateDocument:
        """Read the document of a build.

        :raises DocumentError: It is missing, or not what image_template_validate wrote.
        """
        return cls.from_data(build.read_document(DOCUMENT))

    @classmethod
    def from_data(cls, data: t.Mapping[str, t.Any]) -> TemplateDocument:
        """Take the document out of its JSON form."""
        return cls(
            provider_id=data["provider_id"],
            provider_data=data["provider"],
            template=data["template"],
            files=data["files"],
            **data["directories"],
            sources=tuple(data["sources"]),
            warnings=tuple(data["warnings"]),
        )

    def as_data(self, *, schema_version: int) -> t.Dict[str, t.Any]:
        """Return the JSON form of the document."""
        return {
            "schema_version": schema_version,
            "provider_id": self.provider_id,
            "provider": self.provider_data,
            "template": self.template,
            "files": self.files,
            "directories": {"cache_dir": self.cache_dir, "work_dir": self.work_dir, "config_dir": self.config_dir},
            "sources": [dict(source) for source in self.sources],
            "warnings": list(self.warnings),
        }

    @property
    def package_cache(self) -> str:
        """The directory of the provider's packages."""
        return os.path.join(self.cache_dir, "pkgCache", self.provider_id)

    @property
    def metadata_dir(self) -> str:
        """The directory of what is known of the provider's repositories."""
        return os.path.join(self.package_cache, "metadata")

    @property
    def provider_work(self) -> str:
        """The directory of the provider's layers and builds."""
        return os.path.join(self.work_dir, self.provider_id)

    @functools.cached_property
    def provider(self) -> Provider:
        """The provider."""
        return Provider.from_data(self.provider_data)

    @functools.cached_property
    def image(self) -> Image:
        """What the image is called."""
        return self._read("image", Image)

    @functools.cached_property
    def target(self) -> Target:
        """What the image is built for."""
        return self._read("target", Target)

    @functools.cached_property
    def disk(self) -> Disk:
        """The disk, its partitions and artifacts."""
        return self._read("disk", Disk)

    @functools.cached_property
    def iso(self) -> Iso:
        """What the ISO is."""
        return self._read("iso", Iso)

    @functools.cached_property
    def system(self) -> SystemConfig:
        """What the system in the image is."""
        return self._read("systemConfig", SystemConfig)

    def _read(self, section: str, kind: t.Type[AnyPart]) -> AnyPart:
        return kind.from_data(self.template.get(section, {}))

    def section(self, *names: str) -> t.Any:
        """Return a part of the merged template as it is written, for example C(section("systemConfig", "users")).

        It is for fingerprints and for what is published; whoever acts on it reads the typed properties.
        """
        value: t.Any = self.template
        for name in names:
            value = value[name]
        return value

    def fingerprint(self, value: t.Any) -> t.Any:
        """Return a JSON value with the path of each known file replaced by its digest.

        Paths depend on the build host; what a file holds does not.
        """
        if isinstance(value, dict):
            return {key: self.fingerprint(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fingerprint(item) for item in value]
        if isinstance(value, str) and value in self.files:
            return f"sha256:{self.files[value]}"
        return value

    def require_unchanged_key(self, path: str) -> None:
        """Check that the file of a key or certificate is as it was validated.

        :raises DocumentError: It is another one, or is not there; the message says what brings it back.
        """
        if not os.path.isfile(path):
            raise DocumentError(
                f"The key file {path} is not there: a build that ends removes the keys that were copied for it.",
                remedy="Run the role image_build, or the module os_image.composer.image_template_copy, again, which "
                "puts them back. A key of the build host itself has to stay where the template says.",
            )
        if sha256_file(path) != self.files.get(path):
            raise DocumentError(
                f"The key file {path} has changed since the template was validated.",
                remedy="Run the module os_image.composer.image_template_validate again.",
            )

    @property
    def provider_fingerprint(self) -> t.Dict[str, t.Any]:
        """What of the provider shapes an image, for digests and fingerprints."""
        repositories = [
            {key: value for key, value in entry.items() if key not in _NOT_OF_THE_PROVIDER}
            for entry in self.provider_data.get("repositories", ())
        ]
        found = {key: value for key, value in self.provider_data.items() if key != "optional_repositories"}
        if repositories:
            found["repositories"] = repositories
        return t.cast(t.Dict[str, t.Any], self.fingerprint(found))

    def build_digest(self, lock: t.Mapping[str, t.Any]) -> str:
        """Return the digest (64 hexadecimal digits) of everything that makes the image what it is.

        Identifiers in the image derive from it, so it depends on no path, host or time.

        :param lock: The content of C(packages.lock.json).
        """
        template = self.fingerprint(self.template)
        for path in _NOT_OF_THE_IMAGE:
            holder = template
            for key in path[:-1]:
                holder = holder.get(key, {})
            holder.pop(path[-1], None)
        return digest_of(
            {
                "template": template,
                "provider": self.provider_fingerprint,
                "packages": [[package[key] for key in _PACKAGE_IDENTITY] for package in lock["packages"]],
            }
        )


__all__ = ("DOCUMENT", "TemplateDocument")
