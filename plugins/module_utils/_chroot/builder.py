# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The builder of a root tree's layers."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import Facts
from ansible_collections.os_image.composer.plugins.module_utils._chroot.chroot_tarball import ChrootTarball
from ansible_collections.os_image.composer.plugins.module_utils._chroot.cleanup import clean_up
from ansible_collections.os_image.composer.plugins.module_utils._chroot.configuration import (
    CONFIGURATION_KEYS,
    configure,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.families import installer_of
from ansible_collections.os_image.composer.plugins.module_utils._chroot.host_name import (
    LOCALHOST,
    PLACEHOLDER,
    NamedLayerError,
    named,
    require_nameless,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.initramfs import (
    Generator,
    InitramfsSettings,
    choose_generator,
    file_system_at,
    make_initramfs,
    relevant_content,
    root_file_system,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.installer import (
    Installer,
    LockedPackage,
    Repositories,
    SpoiledTreeError,
    missing_file,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.kernels import kernel_images
from ansible_collections.os_image.composer.plugins.module_utils._chroot.layers import (
    LAYER_VERSION,
    Draft,
    Layer,
    LayerStore,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.live_system import LIVE_MODULES, live_system
from ansible_collections.os_image.composer.plugins.module_utils._chroot.package_sources import fetched_keys
from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._chroot.scripts import run_scripts
from ansible_collections.os_image.composer.plugins.module_utils._chroot.shared_secrets import BROUGHT, KEPT, MADE
from ansible_collections.os_image.composer.plugins.module_utils._chroot.tree import RootTree
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._image_type import IMAGE_TYPES
from ansible_collections.os_image.composer.plugins.module_utils._io import digest_of
from ansible_collections.os_image.composer.plugins.module_utils._repository.keys import with_kept_keys
from ansible_collections.os_image.composer.plugins.module_utils._stage import Stage
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument
from ansible_collections.os_image.composer.plugins.module_utils._template.immutability import PERSISTENT, Protection
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles, remove_tree


class TreeBuilder:
    """Makes the layers of one image, or finds them.

    :ivar differing: Names of layers -> the files that are others in a second one.
    :param install_twice: Make each layer a second time, and compare.
    """

    def __init__(self, document: TemplateDocument, lock: Facts, stage: Stage, *, install_twice: bool = False) -> None:
        self.chrootenv_reused = False
        self.differing: t.Dict[str, t.List[str]] = {}
        self._install_twice = install_twice
        self._document = document
        self._system = document.system
        # As it is written: for the digests of layers.
        self._config = document.section("systemConfig")
        self._progress = stage.progress
        self._workers = stage.options.workers
        self._epoch = int(lock["source_date_epoch"])
        self._modules = list(lock.get("modules", []))
        self._family = installer_of(document.provider.family)
        cache = document.package_cache
        entries = [(package["layer"], LockedPackage.of(package, cache)) for package in lock["packages"]]
        self._packages = {number: [package for layer, package in entries if layer == number] for number in (0, 1)}
        environment = {"TZ": "UTC", "SOURCE_DATE_EPOCH": str(self._epoch)}
        self._runner = CommandRunner(log=stage.progress, environment=environment)
        self.store = LayerStore(os.path.join(document.provider_work, "chrootenv"), who=stage.name)
        self._tarball = ChrootTarball(os.path.join(document.provider_work, "chrootbuild"), self._runner)

    def build(self) -> list[Layer]:
        """Return the layers, the lowest first."""
        chrootenv = self._chroot_environment()
        packages = self._package_layer(chrootenv)
        configuration = self._configuration_layer(chrootenv, packages)
        layers = [chrootenv, packages, configuration]
        # An initrd is unpacked by the kernel itself, and needs no initramfs.
        if IMAGE_TYPES[self._document.target.image_type].starts_by_itself:
            initramfs = self._initramfs_layer(chrootenv, packages, configuration)
            if initramfs is not None:
                layers.append(initramfs)
        return layers

    def _get_or_build(
        self,
        name: str,
        digest: str,
        build: t.Callable[[Draft], None],
        *,
        newest: int,
        reusing: str,
        from_nothing: t.Callable[[Draft], None] | None = None,
    ) -> tuple[Layer, bool]:
        """Return a layer, and whether it was there.

        :param reusing: The milestone when it was.
        :param from_nothing: Builds it without any copy of it, where that is something else.
        """
        layer, found = self.store.get_or_build(name, digest, build, newest=newest)
        if found:
            self._progress.milestone("Chroot", reusing)
        if self._install_twice:
            self._progress.milestone("Chroot", f"Comparing the {name} layer with a second one")
            self.differing[name] = self.store.compare(layer, from_nothing or build)
        return layer, found

    def _sandbox(self, root: str, epoch: int, hostname: str = LOCALHOST) -> Sandbox:
        return Sandbox(root, self._runner, source_date_epoch=epoch, hostname=hostname)

    def _installer(self, root: str, epoch: int, hostname: str = LOCALHOST) -> Installer:
        return self._family(
            root,
            self._sandbox(root, epoch, hostname),
            arch=self._document.provider.package_arch,
            newest=epoch,
            workers=self._workers,
            progress=self._progress,
            repositories=self._usable_repositories(),
            documentation=self._system.documentation,
        )

    def _usable_repositories(self) -> Repositories:
        metadata_dir = self._document.metadata_dir
        return [with_kept_keys(entry, metadata_dir=metadata_dir) for entry in self._document.provider.repositories]

    def _layer_inputs(self, packages: t.Sequence[LockedPackage]) -> Facts:
        inputs = self._family.layer_inputs(self._document.provider.repositories, packages)
        if not self._system.documentation:
            inputs["documentation"] = False
        return t.cast(Facts, self._document.fingerprint(inputs))

    def _date(self, *groups: t.Sequence[LockedPackage]) -> int:
        """Return the date of a layer of packages: that of its newest package.

        The lock's own date changes with every update of a repository. A layer that does not change with it can be
        shared between images, and used for longer.
        """
        dates = [self._epoch]
        for group in groups:
            for package in group:
                try:
                    dates.append(self._family.build_date(package.path))
                except OSError:
                    raise missing_file(package) from None
        return min(self._epoch, max(dates[1:], default=self._epoch))

    def _chroot_environment(self) -> Layer:
        packages = self._packages[0]
        epoch = self._date(packages)
        digest = digest_of(
            {
                "layer": "chrootenv",
                "version": LAYER_VERSION,
                "packages": [[package.name, package.version, package.arch, package.sha256] for package in packages],
                "date": epoch,
                "architecture": self._document.provider.package_arch,
                **self._layer_inputs(packages),
            }
        )
        restored = False

        def install(draft: Draft) -> None:
            self._progress.milestone("Chroot", f"Creating the chroot environment ({len(packages)} packages)")
            self._install_chroot_environment(draft, packages, epoch)

        def build(draft: Draft) -> None:
            nonlocal restored
            restored = self._restore_chroot_environment(draft, digest)
            if not restored:
                install(draft)

        reusing = f"Reusing the chroot environment ({len(packages)} packages)"
        layer, found = self._get_or_build(
            "chrootenv", digest, build, newest=epoch, reusing=reusing, from_nothing=install
        )
        self.chrootenv_reused = found or restored
        if not self.chrootenv_reused:
            self._tarball.write(layer.root, digest)
        return layer

    def _restore_chroot_environment(self, draft: Draft, digest: str) -> bool:
        if not self._tarball.holds(digest):
            return False
        self._progress.milestone("Chroot", "Restoring the chroot environment from its tarball")
        try:
            self._tarball.restore(draft.root)
        except ChrootError as exc:
            self._progress.milestone("Chroot", f"{exc} It is made again", level="warn")
            _empty(draft.root)
            return False
        return True

    def _install_chroot_environment(self, draft: Draft, packages: list[LockedPackage], epoch: int) -> None:
        installer = self._installer(draft.root, epoch)
        installer.verify(packages)
        for again in (False, True):
            installer.prepare()
            if self._install(installer, packages, again=again):
                break
            _empty(draft.root)
        installer.check({package.name: package for package in packages})
        clean_up(TreeFiles(draft.root), self._family.leftovers)

    def _install(self, installer: Installer, packages: list[LockedPackage], *, again: bool) -> bool:
        """Install packages; returns V(False) when it has to be tried again in a new tree."""
        try:
            installer.install(packages, again=again)
        except SpoiledTreeError as exc:
            self._progress.write(f"{exc}\n")
            return False
        return True

    def _package_layer(self, chrootenv: Layer) -> Layer:
        packages = self._packages[1]
        epoch = self._date(self._packages[0], packages)
        inputs = {
            "layer": "packages",
            "version": LAYER_VERSION,
            "below": chrootenv.digest,
            "packages": [[package.name, package.version, package.arch, package.sha256] for package in packages],
            "scripts": self._document.fingerprint(self._config["scripts"]["preInstall"]),
            "date": epoch,
            **self._layer_inputs(packages),
        }
        name = self._system.hostname or LOCALHOST
        # Scripts may do this or that on a host of this name, which nobody could see from what they leave.
        shared = None if self._system.scripts.pre_install else self._nameless_layer(chrootenv, packages, epoch, inputs)
        if shared is not None:
            return shared

        def build(draft: Draft) -> None:
            self._progress.milestone("Chroot", f"Installing {len(packages)} packages on the host {name}")
            self._install_packages(draft, chrootenv, packages, epoch, name)

        digest = digest_of({**inputs, "host name": name})
        return self._get_or_build("packages", digest, build, newest=epoch, reusing=_reusing(packages))[0]

    def _nameless_layer(
        self, chrootenv: Layer, packages: list[LockedPackage], epoch: int, inputs: Facts
    ) -> Layer | None:
        """Return the layer of packages that are configured in the same way on all hosts; V(None) when these are not."""
        digest = digest_of({**inputs, "host name": None})
        # That they are not is remembered by an empty layer.
        known = digest_of({"layer": "host name", "of": digest})
        if self.store.find(known) is not None:
            return None

        def build(draft: Draft) -> None:
            self._progress.milestone("Chroot", f"Installing {len(packages)} packages")
            self._install_packages(draft, chrootenv, packages, epoch, PLACEHOLDER)
            require_nameless(TreeFiles(draft.root))

        try:
            return self._get_or_build("packages", digest, build, newest=epoch, reusing=_reusing(packages))[0]
        except NamedLayerError as exc:
            self._progress.milestone(
                "Chroot", f"{exc.path} is made of the host name, so the packages are configured for this one"
            )
        self.store.get_or_build("host name", known, lambda draft: None, newest=epoch)
        return None

    def _install_packages(
        self, draft: Draft, chrootenv: Layer, packages: list[LockedPackage], epoch: int, hostname: str
    ) -> None:
        for again in (False, True):
            with RootTree([chrootenv.root]).mounted(upper=draft.root, work=draft.work) as root:
                files = TreeFiles(root)
                installer = self._installer(root, epoch, hostname)
                installer.verify(packages)
                is_done = not packages
                with named(files, hostname):
                    with self._family.forbidden_services(root):
                        sandbox, scripts = self._sandbox(root, epoch, hostname), self._system.scripts.pre_install
                        run_scripts(sandbox, scripts, moment="preInstall", progress=self._progress)
                    if packages:
                        is_done = self._install(installer, packages, again=again)
                if is_done:
                    everything = [*self._packages[0], *packages]
                    installer.check({package.name: package for package in everything})
                    clean_up(files, self._family.leftovers)
                    return
            _empty(draft.root)
            _empty(draft.work)

    def _configuration_layer(self, chrootenv: Layer, packages: Layer) -> Layer:
        settings = {key: self._config[key] for key in CONFIGURATION_KEYS}
        settings["scripts"] = self._config["scripts"]["postInstall"]
        modules = self._modules
        digest = digest_of(
            {
                "layer": "configuration",
                "version": LAYER_VERSION,
                "below": packages.digest,
                "settings": self._document.fingerprint(settings),
                "repositories": self._document.provider_fingerprint["repositories"],
                "keys": fetched_keys(self._document.provider.repositories, metadata_dir=self._document.metadata_dir),
                "date": self._epoch,
                **({"modules": modules} if modules else {}),
            }
        )

        def build(draft: Draft) -> None:
            self._progress.milestone("Chroot", "Configuring the system")
            tree = RootTree([chrootenv.root, packages.root])
            with tree.mounted(upper=draft.root, work=draft.work) as root:
                secrets = configure(
                    root,
                    self._sandbox(root, self._epoch, self._system.hostname or LOCALHOST),
                    self._system,
                    self._usable_repositories(),
                    family=self._family,
                    progress=self._progress,
                    modules=modules,
                )
                draft.notes.update({MADE: secrets.made, KEPT: secrets.kept, BROUGHT: sorted(secrets.brought)})

        reusing = "Reusing the configured system"
        return self._get_or_build("configuration", digest, build, newest=self._epoch, reusing=reusing)[0]

    def _initramfs_layer(self, chrootenv: Layer, packages: Layer, configuration: Layer) -> Layer | None:
        tree = RootTree([chrootenv.root, packages.root, configuration.root])
        with tree.mounted() as root:
            files = TreeFiles(root)
            if not kernel_images(root):
                return None
            wanted = self._system.initramfs.generator
            if wanted == "auto":
                wanted = self._document.provider.initramfs.generator
            live = live_system(root, wanted) if IMAGE_TYPES[self._document.target.image_type].is_medium else None
            generator = choose_generator(files, live.generator if live else wanted)
            disk = self._document.disk
            protection = Protection.of(self._system.immutability, disk)
            if protection is not None and generator is not None:
                generator.require_verity(files)
        if generator is None:
            self._progress.milestone(
                "Chroot", "The image has a kernel, but no initramfs: no generator is installed", level="warn"
            )
            return None
        extra = self._system.kernel.enable_extra_modules.split()
        settings = InitramfsSettings(
            generator.name,
            root_file_system(disk),
            (*(LIVE_MODULES if live else ()), *extra),
            self._family.initramfs_name,
            tuple(live.generator_module.split()) if live else (),
            protection,
            file_system_at("/var", disk) if protection is not None and protection.etc == PERSISTENT else "",
        )
        digest = digest_of(
            {
                "layer": "initramfs",
                "version": LAYER_VERSION,
                "below": packages.digest,
                "generator": settings.generator,
                **({"revision": generator.revision} if generator.revision else {}),
                "modules": [*settings.modules(), *settings.generator_modules],
                "file system": settings.root_fs_type,
                **({"protection": self._protection_inputs(generator, protection, settings)} if protection else {}),
                "configuration": relevant_content([configuration.root]),
            }
        )
        # Not the date of the lock: see _date().
        epoch = self._date(self._packages[0], self._packages[1])

        def build(draft: Draft) -> None:
            self._progress.milestone("Chroot", f"Making the initramfs with {settings.generator}")
            with tree.mounted(upper=draft.root, work=draft.work) as root:
                files = TreeFiles(root)
                make_initramfs(files, self._sandbox(root, epoch), settings)
                clean_up(files, self._family.leftovers, brought=configuration.notes.get(BROUGHT, ()))

        reusing = "Reusing the initramfs"
        return self._get_or_build("initramfs", digest, build, newest=epoch, reusing=reusing)[0]

    @staticmethod
    def _protection_inputs(generator: type[Generator], protection: Protection, settings: InitramfsSettings) -> Facts:
        return {"files": dict(generator.protection_files(protection)), "state": settings.state_fs_type}


def _reusing(packages: t.Sequence[LockedPackage]) -> str:
    return f"Reusing the layer of {len(packages)} packages"


def _empty(directory: str) -> None:
    remove_tree(directory)
    os.mkdir(directory, 0o755)


__all__ = ("LAYER_VERSION", "TreeBuilder")
