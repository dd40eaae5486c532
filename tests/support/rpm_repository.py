# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signed RPM repositories for tests, made by the real tools: rpmbuild, rpmsign, createrepo_c, gpg."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import typing as t

from ansible_collections.os_image.composer.tests.support.signing_keys import SigningKey

_COMPRESSORS: t.Mapping[str, t.Sequence[str]] = {
    ".xz": ("xz", "-0c"),
    ".gz": ("gzip", "-nc1"),
    ".bz2": ("bzip2", "-c1"),
    ".zst": ("zstd", "-qc1"),
    "": ("cat",),
}
#: Packages are built at this time (2023-11-14).
BUILT = 1_700_000_000


@dataclasses.dataclass
class RpmRepository:
    """A repository in a directory.

    :ivar root: What is served; the base URL of the repository.
    """

    root: str

    @property
    def repodata(self) -> str:
        """Where the metadata lies."""
        return os.path.join(self.root, "repodata")

    def path(self, *parts: str) -> str:
        """Return a path in C(repodata)."""
        return os.path.join(self.repodata, *parts)

    def data(self, kind: str) -> str:
        """Return the path of an index."""
        (name,) = (name for name in os.listdir(self.repodata) if name.partition("-")[2].startswith(f"{kind}.xml"))
        return self.path(name)

    def add_package(
        self,
        name: str,
        version: str = "1.0-1",
        *,
        key: SigningKey | None = None,
        arch: str = "noarch",
        tags: t.Mapping[str, str] | None = None,
        files: t.Mapping[str, str] | None = None,
        scripts: t.Mapping[str, str] | None = None,
        built: int = BUILT,
    ) -> str:
        """Build a package into the repository and return its path.

        :param version: C([epoch:]version-release).
        :param key: Signs it.
        :param tags: More tags (C(Requires), C(Provides), ...); commas separate several values.
        :param files: Contents by absolute path in the installed system.
        :param scripts: Scriptlets by name, for example C(post).
        :param built: The time of the build, in seconds since 1970.
        """
        path = build_package(self.root, name, version, arch=arch, tags=tags, files=files, scripts=scripts, built=built)
        if key is not None:
            sign_package(path, key)
        return path

    def publish(
        self,
        key: SigningKey | None,
        *,
        revision: int = BUILT,
        compression: str = ".gz",
        options: t.Sequence[str] = (),
    ) -> None:
        """Write the metadata.

        :param key: Signs it; V(None) leaves it unsigned.
        :param revision: Revision and dates of the metadata.
        :param compression: The suffix of its files.
        :param options: More options of createrepo_c.
        """
        shutil.rmtree(self.repodata, ignore_errors=True)
        os.makedirs(self.root, exist_ok=True)
        dates = ("--revision", str(revision), "--set-timestamp-to-revision")
        run("createrepo_c", "--quiet", "--no-database", *dates, *options, self.root)
        if compression != ".gz":
            self.recompress(compression)
        self.sign(key)

    def recompress(self, suffix: str) -> None:
        """Compress the indexes in another way; createrepo_c knows zstd in its newer versions only."""
        text = self.read_repomd()
        for kind in ("primary", "filelists", "other"):
            old = self.data(kind)
            data = run(*_COMPRESSORS[suffix], data=run("gzip", "-dc", old))
            digest = hashlib.sha256(data).hexdigest()
            new = self.path(f"{digest}-{kind}.xml{suffix}")
            before, size = os.path.basename(old), os.path.getsize(old)
            text = text.replace(before, os.path.basename(new)).replace(before.partition("-")[0], digest)
            text = text.replace(f"<size>{size}</size>", f"<size>{len(data)}</size>")
            os.unlink(old)
            write(new, data)
        write(self.path("repomd.xml"), text.encode())

    def replace_index(self, kind: str, content: bytes, *, honest: bool = True) -> None:
        """Put another content in the place of an index.

        :param honest: Let the repomd.xml describe it; it has to be signed anew then.
        """
        old = self.data(kind)
        data = run("gzip", "-nc", data=content)
        if not honest:
            write(old, data)
            return
        text = self.read_repomd()
        match = re.search(rf'<data type="{kind}">.*?</data>', text, re.DOTALL)
        assert match is not None
        entry = match[0]
        for tag, value in (
            ("checksum", hashlib.sha256(data).hexdigest()),
            ("open-checksum", hashlib.sha256(content).hexdigest()),
            ("size", str(len(data))),
            ("open-size", str(len(content))),
        ):
            entry = re.sub(rf"(<{tag}(?: [^>]*)?>)[^<]*", rf"\g<1>{value}", entry)
        write(old, data)
        write(self.path("repomd.xml"), text.replace(match[0], entry).encode())

    def read_repomd(self) -> str:
        """Return the repomd.xml."""
        with open(self.path("repomd.xml"), encoding="utf-8") as stream:
            return stream.read()

    def write_repomd(self, text: str, key: SigningKey | None) -> None:
        """Replace the repomd.xml, and sign it."""
        write(self.path("repomd.xml"), text.encode())
        self.sign(key)

    def sign(self, key: SigningKey | None, *, when: int | None = None) -> None:
        """Sign the repomd.xml as it is.

        :param when: Seconds since 1970 to be taken for the present time.
        """
        signature = self.path("repomd.xml.asc")
        if os.path.exists(signature):
            os.unlink(signature)
        if key is not None:
            with open(self.path("repomd.xml"), "rb") as stream:
                write(signature, key.detach(stream.read(), when=when))


def build_package(
    directory: str,
    name: str,
    version: str = "1.0-1",
    *,
    arch: str = "noarch",
    tags: t.Mapping[str, str] | None = None,
    files: t.Mapping[str, str] | None = None,
    scripts: t.Mapping[str, str] | None = None,
    built: int = BUILT,
) -> str:
    """Build a package and return its path; see :meth:`RpmRepository.add_package`."""
    epoch, _colon, rest = version.rpartition(":")
    upstream, _dash, release = rest.rpartition("-")
    contents = {f"/usr/share/{name}/data": name} if files is None else files
    lines = [
        f"Name: {name}",
        f"Version: {upstream}",
        f"Release: {release}",
        *([f"Epoch: {epoch}"] if epoch else []),
        f"Summary: test package {name}",
        "License: MIT",
        "AutoReqProv: no",
        *(f"{tag}: {value}" for tag, value in (tags or {}).items()),
        "%description",
        f"test package {name}",
        *(line for script, text in (scripts or {}).items() for line in (f"%{script}", text)),
        "%files",
        *contents,
    ]
    os.makedirs(directory, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        spec = os.path.join(work, "package.spec")
        write(spec, ("\n".join(lines) + "\n").encode())
        for path, text in contents.items():
            write(os.path.join(work, "root", path.lstrip("/")), text.encode())
        os.makedirs(os.path.join(work, "root"), exist_ok=True)
        macros = {
            "_topdir": work,
            "_rpmdir": directory,
            "_dbpath": os.path.join(work, "db"),
            "_build_name_fmt": "%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm",
            "_buildhost": "build.example.org",
            "_binary_payload": "w1.gzdio",
            "__os_install_post": "%{nil}",
            "__check_files": "%{nil}",
            "debug_package": "%{nil}",
            "_build_id_links": "none",
            "use_source_date_epoch_as_buildtime": "1",
            "clamp_mtime_to_source_date_epoch": "1",
        }
        defines = [word for macro, value in macros.items() for word in ("--define", f"{macro} {value}")]
        run(
            "rpmbuild", "-bb", "--quiet", "--nodeps", "--target", arch, "--buildroot", os.path.join(work, "root"),
            *defines, spec, environment={"SOURCE_DATE_EPOCH": str(built)},
        )  # fmt: skip
    return os.path.join(directory, f"{name}-{upstream}-{release}.{arch}.rpm")


def sign_package(path: str, key: SigningKey, *, when: int | None = None, digest: str = "sha256") -> None:
    """Sign a package, header and payload.

    :param when: Seconds since 1970 to be taken for the present time.
    :param digest: The hash of the signature.
    """
    faked = f" --faked-system-time {when}!" if when is not None else ""
    macros = {
        "_gpg_name": key.fingerprint,
        "_gpg_path": key.keyring.home,
        # Debian's rpm expects a program of another name.
        "__gpg": "/usr/bin/gpg",
        "_gpg_sign_cmd_extra_args": f"--batch --no-tty --pinentry-mode loopback{faked}",
        "_gpg_digest_algo": digest,
        "_dbpath": os.path.join(key.keyring.home, "rpmdb"),
    }
    defines = [word for macro, value in macros.items() for word in ("--define", f"{macro} {value}")]
    run("rpmsign", *defines, "--addsign", path)


def write(path: str, data: bytes) -> None:
    """Write a file, and the directories that it needs."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(data)


def run(*argv: str, data: bytes | None = None, environment: t.Mapping[str, str] | None = None) -> bytes:
    """Run a program to its end; return its standard output."""
    done = subprocess.run(argv, input=data, capture_output=True, check=False, env={**os.environ, **(environment or {})})
    assert done.returncode == 0, f"{argv}: {done.stderr.decode(errors='replace')}"
    return done.stdout


__all__ = ("BUILT", "RpmRepository", "build_package", "run", "sign_package", "write")
