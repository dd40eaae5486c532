# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A build whose stages before image_finalize are complete."""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_bytes
from ansible_collections.os_image.composer.plugins.module_utils._stage import (
    Decision,
    Outcome,
    Stage,
    StageOptions,
    run_stage,
)
from ansible_collections.os_image.composer.tests.support.template_data import whole_provider, whole_template

MIB = 1 << 20

COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: {name}

Files: *
Copyright: 2026 Somebody
License: GPL-2+

Files: vendored/*
Copyright: 2026 Somebody else
License: {name}-terms or Expat

License: {name}-terms
 You may do what you like.
 .
 Really.
"""


class _Done(Stage):
    """Stands for an earlier stage that leaves fixed outputs."""

    def __init__(self, name: str, build: BuildDirectory, outcome: Outcome, inputs: dict[str, t.Any]) -> None:
        # The name is the class's in real stages.
        self.name = name  # type: ignore[misc]
        super().__init__(build, StageOptions(rebuild="always"))
        self._outcome = outcome
        self._inputs = inputs

    def inputs(self) -> dict[str, t.Any]:
        return self._inputs

    def execute(self, decision: Decision) -> Outcome:
        self.work()
        return self._outcome

    def work(self) -> None:
        """What is done beside: nothing."""


class FinishedBuild:
    """A build directory as the stages before image_finalize leave it."""

    def __init__(self, root: pathlib.Path, image: pathlib.Path) -> None:
        self.root = root
        self.directory = BuildDirectory(str(root / "build"))
        self.output_dir = root / "output"
        self.layer = root / "layer"
        self.image = root / "build" / "disk" / "image.raw"
        self.image.parent.mkdir(parents=True)
        subprocess.run(["cp", "--sparse=always", str(image), str(self.image)], check=True)
        self.artifacts: list[dict[str, t.Any]] = [{"type": "raw"}]
        self.version = "1.0"
        self.image_type = "raw"
        #: What disk_compose has returned beside.
        self.composed: dict[str, t.Any] = {}
        #: What chroot_configure has returned beside.
        self.configured: dict[str, t.Any] = {}
        #: What image_sign has returned beside.
        self.signed: dict[str, t.Any] = {}
        self.metadata: dict[str, t.Any] = {}
        self.config: dict[str, t.Any] = {}
        self.files: dict[str, str] = {}
        self.repositories: list[dict[str, t.Any]] = [
            {"name": "stable", "mirror": "debian", "suite": "bookworm", "gpgcheck": True}
        ]
        self.packages: list[dict[str, t.Any]] = [
            self._package("base-files", "12.4", []),
            self._package("libstdc++6", "12.2.0-14", ["base-files"]),
            self._package("openssl", "1:3.0.17-1~deb12u1", ["base-files", "libstdc++6"]),
        ]
        for package in self.packages:
            self._install(package["name"])
        self.write_documents()

    @staticmethod
    def _package(name: str, version: str, depends: list[str]) -> dict[str, t.Any]:
        return {
            "name": name,
            "version": version,
            "arch": "amd64",
            "sha256": sha256_bytes(name.encode()),
            "size": 1000,
            "url": f"http://mirror.internal.example/pool/{name}.deb",
            "repository": "stable",
            "reason": "system" if depends else "essential",
            "depends": depends,
            "source": "gcc-12" if name.startswith("lib") else name,
            "filename": f"{name}.deb",
        }

    def _install(self, name: str) -> None:
        doc = self.layer / "usr/share/doc" / name
        doc.mkdir(parents=True)
        (doc / "copyright").write_text(COPYRIGHT.format(name=name))
        status = self.layer / "var/lib/dpkg/status"
        status.parent.mkdir(parents=True, exist_ok=True)
        with status.open("a") as stream:
            stream.write(
                f"Package: {name}\nMaintainer: {name} Team <team@example.org>\nHomepage: https://example.org/{name}\n"
                f"Description: does what {name} does\n and more\n\n"
            )

    def _complete(self, name: str, result: dict[str, t.Any], outputs: dict[str, t.Any], **inputs: t.Any) -> None:
        run_stage(_Done(name, self.directory, Outcome(result, outputs), inputs))

    def write_documents(self) -> None:
        """Write the documents and stamps again from the attributes."""
        build = self.directory
        build.prepare()
        template = {
            "schema_version": 1,
            "provider_id": "debian-debian12-x86_64",
            "provider": whole_provider(codename="bookworm", repositories=self.repositories),
            "template": whole_template(
                metadata=self.metadata,
                image={"name": "appliance", "version": self.version},
                target={"imageType": self.image_type},
                disk={"name": "d", "artifacts": self.artifacts},
                systemConfig={"name": "minimal", **self.config},
            ),
            "files": self.files,
            "directories": {
                "cache_dir": str(self.root / "cache"),
                "work_dir": str(self.root / "work"),
                "config_dir": str(self.root / "config"),
            },
            "sources": [],
            "warnings": [],
        }
        lock = {
            "schema_version": 1,
            "provider_id": "debian-debian12-x86_64",
            "repositories": [
                {
                    "name": repository["name"],
                    "url": "http://mirror.internal.example/debian",
                    "suite": "bookworm",
                    "metadata_digest": "ab" * 32,
                    "signed_by": ["CD" * 20],
                    "gpgcheck": repository["gpgcheck"],
                }
                for repository in self.repositories
            ],
            "requested": ["openssl"],
            "packages": self.packages,
            "source_date_epoch": 1700000000,
        }
        for name, stage, document in (
            ("template.json", "image_template_validate", template),
            ("packages.lock.json", "pkg_resolve", lock),
        ):
            path = build.join(name)
            pathlib.Path(path).write_text(json.dumps(document))
            self._complete(stage, {}, {path: None}, document=document)
        pathlib.Path(build.join("chrootpkgs.dot")).write_text("digraph {}\n")
        layers = [{"name": "packages", "digest": "ef" * 32, "path": str(self.layer)}]
        self._complete("chroot_configure", {"layers": layers, **self.configured}, {}, layers=["ef" * 32])
        self.compose()

    def stage_that_writes(self, content: bytes) -> t.Callable[[BuildDirectory, StageOptions], Stage]:
        """Return what stands for the classes of disk_compose and image_sign: it makes the image with this content."""
        names = ["disk_compose", "image_sign"]
        test = self

        class Writer(_Done):
            def work(self) -> None:
                if self.name == "disk_compose":
                    test.image.write_bytes(content)

        def make(build: BuildDirectory, options: StageOptions) -> Stage:
            name = names.pop(0)
            return Writer(name, build, *self._image_stages()[name])

        return make

    def compose(self) -> None:
        """Complete disk_compose and image_sign with the image as it is."""
        for name, (outcome, inputs) in self._image_stages().items():
            run_stage(_Done(name, self.directory, outcome, inputs))

    def _image_stages(self) -> dict[str, tuple[Outcome, dict[str, t.Any]]]:
        image = str(self.image)
        partitions = [{"id": "rootfs", "number": 1, "start": MIB, "size": 8 * MIB, "uuid": "u", "mount_point": "/"}]
        boot = {"loader": "systemd-boot", "entries": ["e"], "kernel_version": "6.1", "cmdline": "quiet"}
        composed = {"image": image, "partitions": partitions, "boot": boot, **self.composed}
        signed = {"signed": [], "certificates": [], "image": image, **self.signed}
        return {
            "disk_compose": (
                Outcome(composed, {image: None}),
                {"root tree": "1", "host tools": {"mke2fs": "1.47.0"}},
            ),
            "image_sign": (Outcome(signed), {"keys": []}),
        }
