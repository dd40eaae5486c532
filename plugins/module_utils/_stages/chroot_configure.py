# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The stage C(chroot_configure): from package files to a configured root tree in layers.

    chrootenv      the provider's essential packages; also kept as C(chrootbuild/chrootenv.tar.gz)
    packages       scripts.preInstall, then the image's packages
    configuration  everything else of systemConfig, scripts.postInstall last
    initramfs      the initramfs, made from the tree of the three others

Each layer is known by the digest of what it is made from, the layers below it among that, and is made again only when
that changes. The initramfs comes last, because the configuration may change what goes into it; it is known by just
that part of the configuration, so that another host name or file does not make it again.
"""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory, Facts
from ansible_collections.os_image.composer.plugins.module_utils._chroot.configuration import CONFIGURATION_KEYS
from ansible_collections.os_image.composer.plugins.module_utils._chroot.families import installer_of
from ansible_collections.os_image.composer.plugins.module_utils._chroot.initramfs import (
    protection_inputs,
    root_file_system,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.installer import Installer
from ansible_collections.os_image.composer.plugins.module_utils._chroot.layers import LAYER_VERSION
from ansible_collections.os_image.composer.plugins.module_utils._chroot.package_sources import fetched_keys
from ansible_collections.os_image.composer.plugins.module_utils._command import tool_version
from ansible_collections.os_image.composer.plugins.module_utils._emulation import require_emulation
from ansible_collections.os_image.composer.plugins.module_utils._io import digest_of
from ansible_collections.os_image.composer.plugins.module_utils._namespace import enter_mount_namespace
from ansible_collections.os_image.composer.plugins.module_utils._stage import (
    Decision,
    Outcome,
    Stage,
    StageOptions,
    describe_change,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument
from ansible_collections.os_image.composer.plugins.module_utils._template.immutability import READ_ONLY, Protection


class ChrootConfigure(Stage):
    """Makes the root tree.

    :param strict: What the machines that are made from the image would share is an error.
    :param install_twice: Make all layers a second time, and compare.
    """

    name = "chroot_configure"
    topic = "Chroot"

    def __init__(
        self, build: BuildDirectory, options: StageOptions, *, strict: bool = False, install_twice: bool = False
    ) -> None:
        super().__init__(build, options)
        self._strict = strict
        self._install_twice = install_twice or strict

    def inputs(self) -> Facts:
        document, lock = self._documents()
        system, config = document.system, document.section("systemConfig")
        protection = Protection.of(system.immutability, document.disk)
        packages = lock["packages"]
        tools = _tool_versions(installer_of(document.provider.family))
        return {
            "package lock": {_key(package): package["version"] for package in packages},
            "package files": digest_of([[package["sha256"], package["layer"]] for package in packages]),
            "systemConfig": {
                **{key: document.fingerprint(config[key]) for key in CONFIGURATION_KEYS},
                "documentation": system.documentation,
                "scripts": document.fingerprint(config["scripts"]),
                "initramfs": system.initramfs.generator,
                "kernel.enableExtraModules": system.kernel.enable_extra_modules,
            },
            "file system of the root partition": root_file_system(document.disk),
            **({"protection": protection_inputs(protection)} if protection else {}),
            "image type": document.target.image_type,
            "package repositories": document.provider_fingerprint["repositories"],
            "repository keys from the network": fetched_keys(
                document.provider.repositories, metadata_dir=document.metadata_dir
            ),
            "provider": {"family": document.provider.family, "package_arch": document.provider.package_arch},
            **({"host tools": tools} if tools else {}),
            "source date epoch": lock["source_date_epoch"],
            **({"modules": lock["modules"]} if lock.get("modules") else {}),
            "layer version": LAYER_VERSION,
            **({"checks": {"strict": self._strict, "install_twice": True}} if self._install_twice else {}),
        }

    def describe_change(self, name: str, before: t.Any, after: t.Any) -> str:
        """Say which part of systemConfig has changed."""
        if name == "systemConfig" and isinstance(before, dict):
            changed = [key for key in after if before.get(key) != after[key]]
            return f"{', '.join(f'systemConfig.{key}' for key in changed)} changed"
        return describe_change(name, before, after)

    def plan(self) -> Facts:
        _document, lock = self._documents()
        return _facts(lock)

    def execute(self, decision: Decision) -> Outcome:
        # A run that has nothing to do starts sooner without it.
        from ansible_collections.os_image.composer.plugins.module_utils._chroot.builder import TreeBuilder
        from ansible_collections.os_image.composer.plugins.module_utils._chroot.shared_secrets import (
            MADE,
            shared_secrets,
            strict_error,
        )

        document, lock = self._documents()
        require_emulation(document.provider.arch, directory=self.build.path)
        enter_mount_namespace()
        work = TreeBuilder(document, lock, self, install_twice=self._install_twice)
        layers = work.build()
        shared = shared_secrets(
            layers,
            differing=work.differing,
            has_writable_etc=not _is_read_only(Protection.of(document.system.immutability, document.disk)),
        )
        if shared and self._strict:
            raise strict_error(shared)
        for problem in shared:
            self.progress.milestone("Chroot", problem, level="warn")
        made = {path: who for layer in layers for path, who in layer.notes.get(MADE, {}).items()}
        store = work.store
        for digest in store.prune({layer.digest for layer in layers}):
            self.progress.write(f"Removed the layer {digest}, which was not used for the longest time.\n")
        return Outcome(
            result={
                "installed": len(lock["packages"]),
                "chrootenv_reused": work.chrootenv_reused,
                "machine_secrets": dict(sorted(made.items())),
                "shared_secrets": shared,
                "layers": [{"name": layer.name, "digest": layer.digest, "path": layer.root} for layer in layers],
            },
            outputs={layer.document: None for layer in layers},
            facts=_facts(lock),
        )

    def _documents(self) -> tuple[TemplateDocument, Facts]:
        return TemplateDocument.read(self.build), self.build.read_document("packages.lock.json")


def _is_read_only(protection: Protection | None) -> bool:
    return protection is not None and protection.etc == READ_ONLY


def _key(package: t.Mapping[str, t.Any]) -> str:
    return str(package["name"])


def _facts(lock: Facts) -> Facts:
    return {"packages": {_key(package): package["version"] for package in lock["packages"]}}


def _tool_versions(family: type[Installer]) -> dict[str, str]:
    """Return the versions of the programs of the build host that shape the tree."""
    return {name: tool_version(name) for name in sorted(family.shaping_tools)}


__all__ = ("ChrootConfigure",)
