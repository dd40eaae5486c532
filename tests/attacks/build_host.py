# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A build host under attack: it resolves and fetches the packages of an image from a server that is not honest."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import time
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory, Facts
from ansible_collections.os_image.composer.plugins.module_utils._download.model import Limits
from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError
from ansible_collections.os_image.composer.plugins.module_utils._stage import StageOptions, run_stage
from ansible_collections.os_image.composer.plugins.module_utils._stages.pkg_fetch import PackageFetch
from ansible_collections.os_image.composer.plugins.module_utils._stages.pkg_resolve import PackageResolve
from ansible_collections.os_image.composer.tests.attacks.archive import Archive
from ansible_collections.os_image.composer.tests.support.build_state import leave
from ansible_collections.os_image.composer.tests.support.http_server import FileServer
from ansible_collections.os_image.composer.tests.support.signing_keys import Keys
from ansible_collections.os_image.composer.tests.support.template_data import whole_provider, whole_template

#: No refusal may take longer, in seconds; by default a build host is more patient.
PATIENCE = 20.0
_LIMITS = Limits(rate=20_000, window=0.5, file=3)
_ARCHITECTURES: t.Mapping[str, str] = {"deb": "amd64", "rpm": "x86_64"}
_DAY = 86400


class Accepted(Exception):
    """The build host has noticed nothing."""


class BuildHost:
    """A build host, the distribution's repository that it uses, and a vendor's.

    :ivar archive: The distribution's repository: the image needs C(base), C(app), and C(lib), which C(app) needs.
    :ivar vendor: A vendor's repository, which is only used by those attacks that add it.
    :ivar now: When the attack begins.
    """

    def __init__(
        self, archive: Archive, vendor: Archive, *, server: FileServer, keys: Keys, directory: pathlib.Path
    ) -> None:
        self.archive = archive
        self.vendor = vendor
        self.server = server
        self.keys = keys
        self.now = int(time.time())
        self._directory = directory
        #: As in template.json.
        self.repositories: list[Facts] = [
            self._described("base", archive, keys.archive.public, keys.archive.fingerprint)
        ]

    def _described(self, name: str, archive: Archive, public: str, fingerprint: str) -> Facts:
        suite = "stable" if archive.family == "deb" else ""
        place = {"url": f"{self.server.url}{archive.place}", "suite": suite, "components": ["main"]}
        return {"name": name, **place, "keys": [public], "fingerprints": [fingerprint]}

    def add_vendor(self, **settings: t.Any) -> None:
        """Use the vendor's repository too."""
        key = self.keys.stranger
        described = self._described("vendor", self.vendor, key.public, key.fingerprint)
        self.repositories.append({**described, "foreign": True, **settings})

    def path(self, name: str) -> str:
        """Return a path of this attack's own."""
        return os.path.join(self._directory, name)

    def publish(self, *, age: int = 3600, **settings: t.Any) -> None:
        """Publish the distribution's repository honestly.

        :param age: Seconds since its date.
        """
        self.archive.publish(self.keys.archive, date=self.now - age, **settings)

    def update(self) -> None:
        """Publish a newer version of C(lib) honestly."""
        self.archive.add("lib", "2.0", key=self.keys.archive)
        self.publish(age=60)

    def build(self) -> dict[str, str]:
        """Resolve and fetch; return the versions of the packages.

        :raises ComposerError: That is refused.
        """
        family = self.archive.family
        build = BuildDirectory(self.path("build"))
        document = {
            "provider_id": "toy-toy1-x86_64",
            "provider": whole_provider(
                family=family,
                arch=os.uname().machine,
                package_arch=_ARCHITECTURES[family],
                essential={"packages": ["base"]},
                repositories=self.repositories,
            ),
            "template": whole_template(systemConfig={"packages": ["app"]}),
            "files": {},
            "directories": {"cache_dir": self.path("cache"), "work_dir": "/w", "config_dir": "/c"},
            "sources": [],
            "warnings": [],
            "unsupported": [],
        }
        leave(build, "image_template_validate", document=("template.json", document))
        options = StageOptions(workers=4, rebuild="always")
        run_stage(PackageResolve(build, options, limits=_LIMITS, refresh_timeout=5))
        run_stage(PackageFetch(build, options, limits=_LIMITS))
        lock = json.loads(pathlib.Path(build.join("packages.lock.json")).read_text(encoding="utf-8"))
        return {package["name"]: package["version"].removesuffix("-1") for package in lock["packages"]}

    def refused(self) -> str:
        """Build, which has to be refused; return what the user reads.

        :raises Accepted: It was not, or not in time.
        """
        begin = time.monotonic()
        try:
            found = self.build()
        except ComposerError as exc:
            took = time.monotonic() - begin
            if took > PATIENCE:
                raise Accepted(f"it took {took:.0f} s to refuse it") from exc
            return str(exc)
        raise Accepted(f"an image with {found} was built")

    def forget_packages(self) -> None:
        """Let all packages be fetched again."""
        for suffix in ("deb", "rpm"):
            for path in pathlib.Path(self.path("cache")).glob(f"pkgCache/*/*.{suffix}"):
                path.unlink()
        shutil.rmtree(self.path("build"), ignore_errors=True)


__all__ = ("PATIENCE", "Accepted", "BuildHost")
