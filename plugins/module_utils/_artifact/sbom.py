# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The bills of materials of an image: those inside it, and those that are published with its artifacts.

What lies in the image is part of what makes it reproducible. It knows nothing of artifacts, and nothing of what a
template only says for people. Stages that make the tree of an image final write :meth:`Bill.inside` into it.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._artifact.checksums import FileChecksums, tree_checksums
from ansible_collections.os_image.composer.plugins.module_utils._artifact.cyclonedx import build_cyclonedx
from ansible_collections.os_image.composer.plugins.module_utils._artifact.description import DESCRIPTIONS, LayeredTree
from ansible_collections.os_image.composer.plugins.module_utils._artifact.manifest import Artifact
from ansible_collections.os_image.composer.plugins.module_utils._artifact.sbom_documents import (
    CYCLONEDX,
    DIRECTORY,
    SPDX,
)
from ansible_collections.os_image.composer.plugins.module_utils._artifact.spdx import (
    ImageIdentity,
    PackageDescription,
    build_sbom,
)
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import Facts
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument
from ansible_collections.os_image.composer.plugins.module_utils._version import COLLECTION_VERSION


@dataclasses.dataclass(frozen=True)
class Bill:
    """What the bills of materials of one image tell.

    :ivar identity: What they are about, without what the template says for people.
    :ivar description: What the template says for people.
    :ivar packages: The packages of the lock.
    :ivar descriptions: What packages say about themselves, by name.
    :ivar public_repositories: The names of the repositories whose URLs may be told.
    :ivar has_cyclonedx: Whether there is a CycloneDX document beside the SPDX one.
    :ivar lists_files: Whether the SPDX document lists all files.
    """

    identity: ImageIdentity
    description: str
    packages: t.Sequence[t.Mapping[str, t.Any]]
    descriptions: t.Mapping[str, PackageDescription]
    public_repositories: t.Sequence[str]
    has_cyclonedx: bool
    lists_files: bool

    @classmethod
    def of(cls, document: TemplateDocument, lock: Facts, layers: t.Sequence[str]) -> Bill:
        """Collect what there is to tell.

        :param layers: The directories of the root tree's layers, lowest first.
        """
        image, system, provider = document.image, document.system, document.provider
        return cls(
            identity=ImageIdentity(
                name=image.name,
                version=image.version,
                os=provider.os,
                release_version=provider.release_version,
                package_type=provider.family,
                build_digest=document.build_digest(lock),
                collection_version=COLLECTION_VERSION,
                epoch=lock["source_date_epoch"],
            ),
            description=system.description,
            packages=lock["packages"],
            descriptions=DESCRIPTIONS[provider.family](LayeredTree(layers), lock["packages"]),
            public_repositories=[
                repository.name
                for repository in provider.repositories
                if repository.url or repository.metalink or repository.mirrorlist
            ],
            has_cyclonedx=system.sbom.cyclonedx,
            lists_files=system.sbom.files,
        )

    @property
    def base_name(self) -> str:
        """The image's name and version."""
        return f"{self.identity.name}-{self.identity.version}"

    def checksums(self, tree: str, *, workers: int) -> t.List[FileChecksums] | None:
        """Return the checksums of the files of a tree without its bill; V(None) when nobody asked for them."""
        return tree_checksums(tree, workers=workers) if self.lists_files else None

    def inside(self, files: t.Sequence[FileChecksums] | None = None) -> t.Dict[str, bytes]:
        """Return the documents that lie in the image, by their absolute paths in it.

        :param files: All files of the tree beside these documents, when the bill lists files.
        """
        documents = self._documents(self.identity, (), files)
        return {f"{DIRECTORY}/{self.base_name}{kind}": data for kind, data in documents.items()}

    def published(
        self, artifacts: t.Sequence[Artifact], files: t.Sequence[FileChecksums] | None = None
    ) -> t.Dict[str, bytes]:
        """Return the documents that are published, by their file names: the SPDX one first."""
        identity = dataclasses.replace(self.identity, description=self.description)
        documents = self._documents(identity, artifacts, files)
        return {f"{self.base_name}{kind}": data for kind, data in documents.items()}

    def _documents(
        self, identity: ImageIdentity, artifacts: t.Sequence[Artifact], files: t.Sequence[FileChecksums] | None
    ) -> t.Dict[str, bytes]:
        kinds = [SPDX, *([CYCLONEDX] if self.has_cyclonedx else [])]
        documents = {
            SPDX: build_sbom(
                identity,
                self.packages,
                self.descriptions,
                public_repositories=self.public_repositories,
                artifacts=artifacts,
                files=files,
                excluded=[f"{DIRECTORY}/{self.base_name}{kind}" for kind in kinds],
            )
        }
        if self.has_cyclonedx:
            documents[CYCLONEDX] = build_cyclonedx(identity, self.packages, self.descriptions, artifacts=artifacts)
        return documents


__all__ = ("Bill",)
