# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The targets of the fuzzer: every parser of bytes that somebody else has made, with corpora made at run time."""

from __future__ import annotations

import bz2
import contextlib
import dataclasses
import functools
import gzip
import hashlib
import io
import json
import lzma
import os
import pathlib
import random
import re
import stat
import struct
import subprocess
import tarfile
import tempfile
import types
import typing as t
import zlib

import yaml
from ansible_collections.os_image.composer.plugins.module_utils._artifact.license import declared_license
from ansible_collections.os_image.composer.plugins.module_utils._artifact.publish import publish, staging
from ansible_collections.os_image.composer.plugins.module_utils._artifact.rpm_license import tagged_license
from ansible_collections.os_image.composer.plugins.module_utils._boot.fat_directories import refuse_circles
from ansible_collections.os_image.composer.plugins.module_utils._boot.uki import read_sections
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._chroot import rpm_header
from ansible_collections.os_image.composer.plugins.module_utils._chroot.deb_archive import (
    DebArchive,
    build_date,
    parse_control,
    read_tar,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError
from ansible_collections.os_image.composer.plugins.module_utils._image.boot_entry import grub_entries, loader_entry
from ansible_collections.os_image.composer.plugins.module_utils._image.efi import parse_os_release
from ansible_collections.os_image.composer.plugins.module_utils._image.identifiers import sbom_content
from ansible_collections.os_image.composer.plugins.module_utils._image.inspection import Inspection, inspect_image
from ansible_collections.os_image.composer.plugins.module_utils._image.packages import read_packages
from ansible_collections.os_image.composer.plugins.module_utils._image.root_hash_signature import read_signature
from ansible_collections.os_image.composer.plugins.module_utils._image.sandbox import ParserSandbox
from ansible_collections.os_image.composer.plugins.module_utils._image.table import TablePartition
from ansible_collections.os_image.composer.plugins.module_utils._image.verity import read_superblock
from ansible_collections.os_image.composer.plugins.module_utils._repository import key_bindings
from ansible_collections.os_image.composer.plugins.module_utils._repository.deb import DebRepository
from ansible_collections.os_image.composer.plugins.module_utils._repository.indexes import fetch_indexes
from ansible_collections.os_image.composer.plugins.module_utils._repository.mirrors import Mirrors
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import PackageIndex
from ansible_collections.os_image.composer.plugins.module_utils._repository.public_keys import (
    dearmor,
    read_public_keys,
    select_keys,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.repository import (
    Candidate,
    Documents,
    Listed,
    WantedIndex,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.rpm import RpmRepository
from ansible_collections.os_image.composer.plugins.module_utils._repository.signature import (
    SignedContent,
    verify_clearsigned,
    verify_detached,
)
from ansible_collections.os_image.composer.plugins.module_utils._resolver.apart import run_apart
from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_pool import DebPool
from ansible_collections.os_image.composer.plugins.module_utils._resolver.families import RESOLVERS
from ansible_collections.os_image.composer.plugins.module_utils._resolver.lock import read_lock
from ansible_collections.os_image.composer.plugins.module_utils._resolver.modulemd import read_modules
from ansible_collections.os_image.composer.plugins.module_utils._resolver.modules import Modules
from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import At
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import Request
from ansible_collections.os_image.composer.plugins.module_utils._resolver.rpm_pool import RpmPool
from ansible_collections.os_image.composer.plugins.module_utils._stage import StageOptions
from ansible_collections.os_image.composer.plugins.module_utils._stages.image_template_validate import TemplateValidate
from ansible_collections.os_image.composer.plugins.module_utils._template.loader import parse_yaml
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import (
    Repository as RepositoryConfig,
)
from ansible_collections.os_image.composer.tests.fuzz import mutation
from ansible_collections.os_image.composer.tests.fuzz.harness import Target
from ansible_collections.os_image.composer.tests.support import package_index, rpm_index
from ansible_collections.os_image.composer.tests.support.signing_keys import KeyRing
from ansible_collections.os_image.composer.tests.support.template_data import repositories
from ansible_collections.os_image.composer.tests.support.tiny_debian import Deb
from ansible_collections.os_image.composer.tests.support.tiny_rpm import Rpm

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_KIB, _MIB = 1 << 10, 1 << 20
_SHA256 = hashlib.sha256(b"").hexdigest()
_FINGERPRINT = "A" * 40
_PROVIDER = "debian-debian12-x86_64"


def _run(*argv: str | pathlib.Path, data: bytes | None = None) -> bytes:
    return subprocess.run(argv, input=data, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def _texts(*texts: str) -> t.Callable[[pathlib.Path], t.Sequence[bytes]]:
    return lambda _place: [text.encode("utf-8") for text in texts]


# -- repositories


def _configured(**more: t.Any) -> RepositoryConfig:
    data = {
        "name": "stable",
        "url": "http://mirror.example.org",
        "suite": "bookworm",
        "components": ["main", "contrib"],
    }
    (repository,) = repositories({**data, **more})
    return repository


_RELEASE = f"""\
Origin: Debian
Label: Debian
Suite: stable
Codename: bookworm
Date: Sat, 09 Nov 2024 10:11:12 UTC
Valid-Until: Sat, 16 Nov 2024 10:11:12 UTC
Acquire-By-Hash: yes
No-Support-for-Architecture-all: Packages
Architectures: all amd64 arm64
Components: main contrib
SHA256:
 {_SHA256}  1484 main/binary-amd64/Packages.xz
 {_SHA256}  9484 main/binary-amd64/Packages
 {_SHA256}   484 contrib/binary-amd64/Packages.gz
 {_SHA256}   484 contrib/binary-all/Packages.gz
"""


def _parse_release(data: bytes, place: pathlib.Path) -> None:
    repository = DebRepository(_configured(), metadata_dir=str(place), mirrors=Mirrors())
    content = repository.unsigned(Documents("http://mirror.example.org", {"InRelease": data}, {}, fresh=True))
    release = repository.parse(content, where="the repository")
    repository.check_release(release, where="the repository")
    documents = Documents("http://mirror.example.org", {}, {}, fresh=True)
    repository.wanted(Candidate(repository, documents, SignedContent(content, ()), release), "amd64")


def _signed(form: str) -> t.Callable[[pathlib.Path], t.Sequence[bytes]]:
    """Make a document, its signature and its key; they follow each other in an input, with their sizes before them."""

    def corpus(_place: pathlib.Path) -> t.Sequence[bytes]:
        inputs = []
        with KeyRing() as ring:
            for algorithm in ("ed25519", "rsa2048"):
                key = ring.make_key(f"{algorithm} <archive@example.org>", algorithm=algorithm)
                public = ring.gpg("--export", key.fingerprint)
                data = _RELEASE.encode()
                signature = key.clearsign(data) if form == "clear" else key.detach(data)
                inputs.append(struct.pack("<II", len(public), len(signature)) + public + signature)
        return inputs

    return corpus


def _parse_signed(form: str) -> t.Callable[[bytes, pathlib.Path], None]:
    def parse(data: bytes, _place: pathlib.Path) -> None:
        sizes = data[:8].ljust(8, b"\0")
        end = 8 + struct.unpack("<II", sizes)[0]
        keyring, signature = data[8:end], data[end:]
        what = "The Release of the repository"
        if form == "clear":
            verify_clearsigned(signature, keyring=keyring, fingerprints=(), what=what)
        else:
            verify_detached(_RELEASE.encode(), signature, keyring=keyring, fingerprints=(), what=what)

    return parse


_STANZAS = """
    hello
    Depends: libc6 (>= 2.36), bash | dash (<< 1:2~), perl:any, foo [amd64] <!nocheck>
    Pre-Depends: dpkg (>= 1.17)
    Recommends: world
    Provides: greeting (= 2.0), mail
    Conflicts: goodbye
    Description: says hello

    bash
    Version: 5.2.15-2+b7
    Essential: yes
    Priority: required

    libc6
    Version: 2:2.36-9+deb12u9
    Source: glibc (2.36)

    dash

    dpkg
    Version: 1.21.22

    perl
    Multi-Arch: allowed
"""


def _metadata(path: pathlib.Path, data: bytes, *, component: str = "main", arch: str = "amd64") -> PackageIndex:
    path.write_bytes(data)
    return PackageIndex(
        path=str(path), sha256=hashlib.sha256(data).hexdigest(), component=component, arch=arch, size=len(data)
    )


def _parse_packages(data: bytes, place: pathlib.Path) -> None:
    metadata = package_index.repository(place, "hello")
    index = _metadata(place / "Packages", data)
    pool = DebPool(arch="amd64", cache_dir=str(place))
    pool.load([_with_indexes(metadata, index)])
    for solvable in pool.pool.solvables_iter():
        number = solvable.id
        with contextlib.suppress(ComposerError):
            pool.package(number)
        for read in (pool.requirements, pool.pre_requirements, pool.conflicts, pool.recommendations):
            with contextlib.suppress(ComposerError):
                read(number)
    names = sorted(pool.names())[:3]
    for name in names:
        pool.candidate(name)
        pool.is_named_first(name, "bash")
    # What is kept is read again.
    DebPool(arch="amd64", cache_dir=str(place)).load([_with_indexes(metadata, index)])


def _with_indexes(metadata: t.Any, index: PackageIndex, **more: t.Any) -> t.Any:
    return dataclasses.replace(metadata, indexes=(index,), **more)


_REPOMD = f"""\
<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
  <revision>1700000000</revision>
  <tags><content>binary</content><distro cpeid="cpe:/o:x">X</distro></tags>
  <data type="primary">
    <checksum type="sha256">{_SHA256}</checksum>
    <open-checksum type="sha256">{_SHA256}</open-checksum>
    <location href="repodata/primary.xml.gz"/>
    <timestamp>1700000000.5</timestamp><size>1484</size><open-size>9484</open-size>
  </data>
  <data type="filelists">
    <checksum type="sha256">{_SHA256}</checksum>
    <location href="repodata/filelists.xml.zst"/>
    <timestamp>1700000001</timestamp><size>484</size>
  </data>
</repomd>
"""


def _parse_repomd(data: bytes, place: pathlib.Path) -> None:
    repository = RpmRepository(_configured(suite=""), metadata_dir=str(place), mirrors=Mirrors())
    release = repository.parse(data, where="the repository")
    documents = Documents("http://mirror.example.org", {}, {}, fresh=True)
    candidate = Candidate(repository, documents, SignedContent(data, ()), release)
    repository.wanted(candidate, "x86_64")
    repository.optional(candidate, "x86_64")


_RPMS = """
    hello 2.0-1 x86_64
    Requires: libc.so.6, bash >= 1:2, (a if b), /usr/lib/helper
    Requires(pre): shadow
    Provides: greeting = 2
    Obsoletes: goodbye < 3
    Files: /usr/bin/hello /usr/share/doc/hello/README

    bash 5.2-1 x86_64
    Provides: libc.so.6
    Files: /usr/bin/bash /usr/lib/helper
"""


def _resolved_debs(_place: pathlib.Path) -> t.Sequence[bytes]:
    return [package_index.index_text(_STANZAS + "\nfoo").encode()]


def _resolved_rpms(_place: pathlib.Path) -> t.Sequence[bytes]:
    packages = _RPMS.replace("bash 5.2", "bash 1:5.2").replace("/bash /usr/lib/helper", "/bash /usr/bin/helper")
    return [rpm_index.index_texts(packages.replace("/usr/lib/", "/usr/bin/") + "\n    shadow")["primary"].encode()]


def _mutate_relations(rng: random.Random, corpus: t.Sequence[bytes]) -> bytes:
    """Make dependencies large and deep, and what a package says of itself odd."""
    data = bytearray(mutation.text(rng, corpus) if rng.random() < 0.5 else rng.choice(corpus))
    places = [match.start(2) for match in _RELATION_TEXT.finditer(data)]
    for _number in range(rng.choice((1, 1, 2))):
        if places:
            place = rng.choice(places)
            data[place:place] = _relation(rng)
    return bytes(data)


_RELATION_TEXT = re.compile(rb"((?:Depends|Provides|Conflicts|Version|Package|Filename|Size): |=\")(.)")


def _relation(rng: random.Random) -> bytes:
    number = rng.choice((1, 2, 5, 40, 1500, 30_000))
    words = rng.choice((b"b", b"hello", b"libc6", b"x" * 300, b"<NULL>", b"a/b", b"../..", b"\x7f", b"-1", b"9" * 25))
    operator = rng.choice((b" or ", b" and ", b" if ", b" unless ", b" with ", b" else "))
    return rng.choice(
        (
            b" | ".join((words,) * number) + b", ",
            b", ".join((words,) * number) + b", ",
            b"(" * number + words + (operator + b"c)") * number,
            b"(" + operator.join((words,) * (number + 1)) + b")",
            b"(" + b" or ".join((b"(a and " + words + b")",) * min(number, 40)) + b")",
            b"(" * number,
            b"&#40;" * number + words,
            words * min(number, 1500),
        )
    )


def _resolve(family: str) -> t.Callable[[bytes, pathlib.Path], None]:
    """Resolve in the process apart, as the stage does: no end of it is anything but an error of ours."""

    def parse(data: bytes, place: pathlib.Path) -> None:
        index = _metadata(place / "index", data, component="main", arch="amd64" if family == "deb" else "")
        known = package_index.repository(place, "x") if family == "deb" else rpm_index.rpm_repository(place, "x")
        resolver = RESOLVERS[family]()(arch="amd64" if family == "deb" else "x86_64", cache_dir=str(place))

        def work(at: At) -> t.Dict[str, t.Any]:
            resolver.pool.at = at
            resolver.pool.load([_with_indexes(known, index)])
            at("solving")
            selection = resolver.select([Request("hello", "system")])
            return {"packages": [resolver.pool.package(number).url for number in resolver.solve(selection)]}

        run_apart(work, memory=400 << 20, seconds=8, log=_unexpected)

    return parse


def _unexpected(text: str) -> t.NoReturn:
    raise AssertionError(text)


_MODULES = """---
document: modulemd
version: 2
data:
  name: hello
  stream: "1"
  version: 20240101
  context: c0ffee
  arch: x86_64
  summary: Greetings
  description: Greetings
  license:
    module: [MIT]
  dependencies:
  - requires: {platform: [el9], other: ["-2"]}
  profiles:
    common:
      rpms: [hello]
  artifacts:
    rpms:
    - hello-0:1.0-1.x86_64
...
---
document: modulemd-defaults
version: 1
data:
  module: hello
  modified: 1
  stream: "1"
  profiles:
    "1": [common]
...
"""


def _parse_modules(data: bytes, place: pathlib.Path) -> None:
    index = _metadata(place / "modules", data, component="modules", arch="")
    pool = RpmPool(arch="x86_64", cache_dir=str(place))
    modules = Modules(pool.solv, "x86_64", [(read_modules(index, repository="fuzz"), False)])
    modules.decide({}, "el9")
    modules.owned(outsider=False)


def _rpm_indexes(kind: str) -> t.Callable[[pathlib.Path], t.Sequence[bytes]]:
    return lambda _place: [rpm_index.index_texts(_RPMS)[kind].encode("utf-8")]


def _parse_rpm_index(kind: str) -> t.Callable[[bytes, pathlib.Path], None]:
    sound = {name: text.encode("utf-8") for name, text in rpm_index.index_texts(_RPMS).items()}

    def parse(data: bytes, place: pathlib.Path) -> None:
        indexes = {
            name: _metadata(place / name, data if name == kind else text, component=name, arch="")
            for name, text in sound.items()
        }
        metadata = rpm_index.rpm_repository(place, "hello")
        pool = RpmPool(arch="x86_64", cache_dir=str(place))
        guard = RpmRepository(_configured(suite=""), metadata_dir=str(place), mirrors=Mirrors()).guard()
        if guard is None:
            raise AssertionError("XML has a guard")
        try:
            guard.feed(data)
        except ValueError:
            # As when an index is unpacked: libsolv does not see it.
            return
        pool.load([_with_indexes(metadata, indexes["primary"], further=indexes.get)])
        pool.add_files(["/usr/lib/helper", "/opt/x"])
        for solvable in pool.pool.solvables_iter():
            for read in (pool.package, pool.requirements, pool.pre_requirements):
                with contextlib.suppress(ComposerError):
                    read(solvable.id)
            pool.obsoleters([solvable.id])
        pool.providers("greeting")
        pool.providers("/usr/bin/hello")
        pool.names()

    return parse


_SUFFIXES = (".xz", ".gz", ".bz2", ".zst", "")


def _compressed_indexes(_place: pathlib.Path) -> t.Sequence[bytes]:
    text = package_index.index_text(_STANZAS).encode()
    bomb = bytes(8 * _MIB)
    made = []
    for content in (text, bomb):
        packed = (
            lzma.compress(content),
            gzip.compress(content),
            bz2.compress(content),
            _run("zstd", "-cq", data=content),
            content[: 64 * _KIB],
        )
        made += [bytes((number,)) + data for number, data in enumerate(packed)]
    return made


def _parse_compressed(data: bytes, place: pathlib.Path) -> None:
    suffix = _SUFFIXES[data[0] % len(_SUFFIXES)] if data else ""
    repository = RpmRepository(_configured(suite=""), metadata_dir=str(place), mirrors=Mirrors())
    # Document types are another matter.
    repository.guard = lambda _name: None  # type: ignore[method-assign,assignment,return-value]
    index = WantedIndex("main", "amd64", f"Packages{suffix}", "main", ("http://x",), Listed(_SHA256, len(data)), None)

    class Fetched:
        workers = 1

        @staticmethod
        def fetch_all(downloads: t.Sequence[t.Any]) -> None:
            for download in downloads:
                pathlib.Path(download.destination).write_bytes(data[1:])

    fetch_indexes([(repository, index)], t.cast(t.Any, Fetched), None)


def _keys(_place: pathlib.Path) -> t.Sequence[bytes]:
    with KeyRing() as ring:
        keys = [ring.make_key(f"{name} <k@example.org>", algorithm=name) for name in ("ed25519", "rsa2048")]
        binary = [ring.gpg("--export", key.fingerprint) for key in keys]
        return [*(pathlib.Path(key.public).read_bytes() for key in keys), *binary, b"".join(binary)]


def _parse_armor(data: bytes, _place: pathlib.Path) -> None:
    dearmor(data, path="key.asc", what="the repository")


def _parse_bindings(data: bytes, _place: pathlib.Path) -> None:
    list(key_bindings._packets(data))  # noqa: SLF001
    key_bindings._written(data)  # noqa: SLF001


def _parse_keys(data: bytes, _place: pathlib.Path) -> None:
    keyring = dearmor(data, path="key.asc", what="the repository")
    read_public_keys(keyring)
    select_keys(keyring, [_FINGERPRINT])


# -- packages


def _tar(members: t.Mapping[str, bytes | None]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type = tarfile.DIRTYPE
            elif content.startswith(b"-> "):
                member.type, member.linkname = tarfile.SYMTYPE, content[3:].decode()
            elif content.startswith(b"=> "):
                member.type, member.linkname = tarfile.LNKTYPE, content[3:].decode()
            elif content.startswith(b"dev"):
                member.type, member.devmajor, member.devminor = tarfile.CHRTYPE, 1, 3
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content or b"") if member.isreg() else None)
    return stream.getvalue()


_CONTROL = b"Package: tiny\nVersion: 1.0-1\nArchitecture: amd64\nDescription: tiny\n A package.\n .\n End.\n"
_CONTROL_FILES = {
    "./": None,
    "./control": _CONTROL,
    "./conffiles": b"/etc/tiny.conf\nremove-on-upgrade /etc/old\n",
    "./md5sums": b"d41d8cd98f00b204e9800998ecf8427e  usr/bin/tiny\n",
    "./postinst": b"#!/bin/sh\nexit 0\n",
    "./triggers": b"interest-noawait /usr/lib/x\n",
}
_DATA_FILES = {
    "./": None,
    "./usr/": None,
    "./usr/bin/tiny": b"#!/bin/sh\n" * 100,
    "./usr/bin/link": b"-> tiny",
    "./usr/bin/same": b"=> ./usr/bin/tiny",
    "./dev/null": b"dev",
    "./usr/share/" + "long/" * 40 + "name": b"x",
    "./usr/bin/far": b"-> " + b"far/" * 40 + b"away",
}
_PACKERS: t.Mapping[str, t.Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": functools.partial(gzip.compress, mtime=0),
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}


def _ar(members: t.Sequence[t.Tuple[str, bytes]]) -> bytes:
    data = bytearray(b"!<arch>\n")
    for name, content in members:
        data += b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name.encode(), 1700000000, 0, 0, b"100644", len(content))
        data += content + b"\n" * (len(content) & 1)
    return bytes(data)


def _debs(place: pathlib.Path) -> t.Sequence[bytes]:
    control, data = _tar(_CONTROL_FILES), _tar(_DATA_FILES)
    made = [
        _ar([("debian-binary", b"2.0\n"), (f"control.tar{suffix}", pack(control)), (f"data.tar{suffix}", pack(data))])
        for suffix, pack in _PACKERS.items()
    ]
    package = Deb("tiny", {"/usr/bin/tiny": "x\n", "/etc/tiny.conf": "y\n"}, {"conffiles": "/etc/tiny.conf\n"})
    return [*made, package.build(place, compression="zstd").read_bytes()]


_FIELDS = (b"\xff" * 12, b"\x80" + bytes(10) + b"\1", b"9999999", b"-1", b"../x", b"/", b"", b"7" * 12)


def _mutate_tar(rng: random.Random, data: bytes) -> bytes:
    """Damage an archive's headers, and let their checksums be right most of the time."""
    archive = bytearray(data)
    for _number in range(rng.choice((1, 1, 2, 3))):
        start = 512 * rng.randrange(max(1, len(archive) // 512))
        header = bytearray(archive[start : start + 512])
        if len(header) < 512:
            continue
        action = rng.random()
        if action < 0.4:
            begin, end = rng.choice(((0, 100), (100, 108), (108, 124), (124, 136), (136, 148), (157, 257), (329, 345)))
            value = rng.choice(_FIELDS)
            header[begin:end] = value[: end - begin].ljust(end - begin, b"\0")
        elif action < 0.6:
            header[156] = rng.choice(b"01234567LKxgSDV\0")
        else:
            header = bytearray(mutation.binary(rng, [bytes(header)])[:512].ljust(512, b"\0"))
        if rng.random() < 0.9:
            header[148:156] = b"%06o\0 " % ((sum(header) - sum(header[148:156]) + 256) % (1 << 18))
        archive[start : start + 512] = header
    if rng.random() < 0.1:
        del archive[rng.randrange(len(archive)) :]
    return bytes(archive)


def _mutate_deb(rng: random.Random, corpus: t.Sequence[bytes]) -> bytes:
    action = rng.random()
    if action < 0.3:
        return mutation.binary(rng, corpus)
    if action < 0.45:
        # The directory of the outer archive.
        data = bytearray(rng.choice(corpus))
        start = rng.choice((8, 72, 132))
        part = mutation.text(rng, [bytes(data[start : start + 60])])
        data[start : start + 60] = part
        return bytes(data)
    control, files = dict(_CONTROL_FILES), dict(_DATA_FILES)
    if action < 0.65:
        name = rng.choice([name for name, content in control.items() if content])
        control[name] = mutation.text(rng, [t.cast(bytes, control[name])])
    packed_control, packed_data = _tar(control), _tar(files)
    if action >= 0.65:
        if rng.random() < 0.5:
            packed_control = _mutate_tar(rng, packed_control)
        else:
            packed_data = _mutate_tar(rng, packed_data)
    suffix = rng.choice(list(_PACKERS)) if rng.random() < 0.2 else ""
    pack = _PACKERS[suffix]
    members = [(f"control.tar{suffix}", pack(packed_control)), (f"data.tar{suffix}", pack(packed_data))]
    return _ar([("debian-binary", b"2.0\n"), *members])


def _parse_deb(data: bytes, place: pathlib.Path) -> None:
    path = place / "tiny.deb"
    path.write_bytes(data)
    build_date(str(path))
    with DebArchive(str(path)) as archive:
        archive.conffiles()
        (place / "control").mkdir()
        directory = os.open(place / "control", os.O_RDONLY | os.O_DIRECTORY)
        try:
            archive.write_control(directory)
        finally:
            os.close(directory)
        stream = archive.data()
        try:
            for member in read_tar(stream):
                stream.skip(member.size)
                stream.skip(-member.size % 512)
                stat.S_IMODE(member.mode)
        except EOFError:
            # Who reads on says which package is cut short.
            return


def _parse_control(data: bytes, _place: pathlib.Path) -> None:
    parse_control(data.decode("utf-8", errors="replace"))


def _rpms(place: pathlib.Path) -> t.Sequence[bytes]:
    package = Rpm("tiny", {"/usr/bin/tiny": "x\n", "/etc/tiny": "y\n"}, tags=["Requires: bash"])
    return [package.build(place).read_bytes()]


_TAGS = (rpm_header.NAME, rpm_header.SUMMARY, rpm_header.BUILD_TIME, rpm_header.VENDOR, rpm_header.LICENSE)


def _parse_rpm(data: bytes, place: pathlib.Path) -> None:
    path = place / "tiny.rpm"
    path.write_bytes(data)
    rpm_header.read_header(str(path), _TAGS)
    rpm_header.read_files(str(path), rpm_header.SCRIPTS)


def _headers(place: pathlib.Path) -> t.Sequence[bytes]:
    data = _rpms(place)[0]
    count, size = struct.unpack_from(">II", data, 96 + 8)
    start = 96 + 16 + 16 * count + size
    start += -start % 8 + 8
    count, size = struct.unpack_from(">II", data, start)
    return [data[start : start + 8 + 16 * count + size]]


def _parse_header(data: bytes, _place: pathlib.Path) -> None:
    rpm_header.parse_header(data, _TAGS)


def _parse_license(data: bytes, _place: pathlib.Path) -> None:
    declared_license("tiny", data)
    tagged_license(data.decode("utf-8", errors="replace")[-200:])


_COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Files: *
Copyright: 2020 Somebody
License: GPL-2+ or (MIT and BSD-3-clause) with OpenSSL exception, Artistic

License: GPL-2+
 This is free software.
 .
 (GPL-2.0-or-later AND MIT) OR Apache-2.0 WITH LLVM-exception
"""


# -- documents


def _templates(_place: pathlib.Path) -> t.Sequence[bytes]:
    extra = "a: &a [1, 0x1f, 1.5, ~, yes, 'x', \"\\u00e9\"]\nb: {c: *a, 'd e': []}\nf: |\n  text\n"
    return [path.read_bytes() for path in sorted((_ROOT / "image-templates").glob("*.yml"))] + [extra.encode()]


def _parse_template(data: bytes, _place: pathlib.Path) -> None:
    parse_yaml(data, path="template.yml", what="The image template")


def _template_documents(_place: pathlib.Path) -> t.Sequence[bytes]:
    # Those that another one extends lie beside it.
    loaded = [yaml.safe_load(path.read_bytes()) for path in sorted((_ROOT / "image-templates").glob("*.yml"))]
    words = ("extends", "local", "file", "immutability", "signing", "pkey")
    alone = [text for text in map(json.dumps, loaded) if not any(f'"{word}"' in text for word in words)]
    return [text.encode() for text in alone]


def _validate(data: bytes, place: pathlib.Path) -> None:
    path = place / "template.yml"
    path.write_bytes(data)
    TemplateValidate.open(
        str(path),
        config_dir=str(_ROOT / "config"),
        work_dir=str(place),
        cache_dir=str(place),
        overrides={},
        options=StageOptions(),
    )


_PACKAGE = {
    "name": "bash",
    "version": "5.2.15-2+b7",
    "arch": "amd64",
    "sha256": _SHA256,
    "size": 1490,
    "url": "http://mirror.example.org/bash.deb",
    "repository": "stable",
    "reason": "essential",
    "depends": [],
    "layer": 0,
    "installed_size": 4096,
    "source": "bash",
    "filename": "bash_5.2.15-2+b7_amd64.deb",
}
_LOCK = {
    "schema_version": 1,
    "provider_id": _PROVIDER,
    "repositories": [
        {
            "name": "stable",
            "url": "http://mirror.example.org/debian",
            "suite": "bookworm",
            "metadata_digest": _SHA256,
            "signed_by": [_FINGERPRINT],
            "gpgcheck": True,
        }
    ],
    "requested": ["bash"],
    "packages": [_PACKAGE, {**_PACKAGE, "name": "dash", "depends": ["bash"]}],
    "source_date_epoch": 1700000000,
}


def _parse_lock(data: bytes, place: pathlib.Path) -> None:
    path = place / "packages.lock.json"
    path.write_bytes(data)
    read_lock(str(path), provider_id=_PROVIDER)


_MANIFEST = {"schema_version": 1, "artifacts": [{"path": "web-1.0.raw"}, {"path": "web-1.0.qcow2"}], "packages": []}


def _publish(name: str) -> t.Callable[[bytes, pathlib.Path], None]:
    """Publish beside what an earlier publication is said to have left."""

    def parse(data: bytes, place: pathlib.Path) -> None:
        (place / name).write_bytes(data)
        (place / "other-1.0.raw").touch()
        with staging(str(place), "web-1.0") as stage:
            publish(stage, "web-1.0", [stage.write("web-1.0.raw", b"x")], who="tests", lock_timeout=0)

    return parse


_STAMP = {
    "schema_version": 1,
    "stage": "pkg_resolve",
    "fingerprint": _SHA256,
    "inputs": {"template": "x"},
    "outputs": [{"path": "packages.lock.json", "size": 2, "mtime_ns": 1, "sha256": _SHA256, "released": False}],
    "result": {},
    "facts": {},
    "duration": 1.0,
}


def _parse_stamp(data: bytes, place: pathlib.Path) -> None:
    build = BuildDirectory(str(place))
    build.prepare()
    (place / "stages" / "pkg_resolve.json").write_bytes(data)
    (place / "packages.lock.json").write_bytes(b"{}")
    stamp = build.stamp("pkg_resolve")
    if stamp is not None:
        for output in stamp.outputs:
            output.problem(relative_to=str(place))
        build.release_outputs("pkg_resolve")


def _documents(*documents: t.Any) -> t.Callable[[pathlib.Path], t.Sequence[bytes]]:
    return lambda _place: [json.dumps(document).encode() for document in documents]


_SPDX = {
    "documentNamespace": "https://example.org/1",
    "creationInfo": {"created": "2024-01-01T00:00:00Z"},
    "packages": [{"name": "image"}, {"name": "bash"}],
}
_CYCLONEDX = {"serialNumber": "urn:uuid:1", "metadata": {"timestamp": "x"}, "components": [{"name": "bash"}]}


def _parse_sbom(data: bytes, _place: pathlib.Path) -> None:
    sbom_content(data)


# -- images


def _tree(place: pathlib.Path) -> pathlib.Path:
    tree = place / "tree"
    for name, content in {
        "etc/os-release": 'NAME="Tiny"\nVERSION_ID=1\n',
        "etc/fstab": "UUID=0 / ext4 defaults 0 1\nLABEL=x /boot vfat ro 0 2\n",
        "usr/share/sbom/x.spdx.json": json.dumps(_SPDX),
        "var/lib/dpkg/status": _STATUS,
        "loader/entries/a.conf": _LOADER_ENTRY,
        "grub/grub.cfg": _GRUB,
    }.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tree / "EFI").mkdir()
    (tree / "EFI" / "tiny.efi").write_bytes(_programs(place)[0])
    return tree


_STATUS = """\
Package: bash
Status: install ok installed
Version: 5.2
Architecture: amd64

Package: x
Status: deinstall
"""
_LOADER_ENTRY = "title Tiny\nversion 1\nlinux /vmlinuz\ninitrd /initrd.img\noptions root=LABEL=x roothash=" + "a" * 64
_GRUB = "menuentry 'Tiny' {\n  linux /vmlinuz root=LABEL=x\n  initrd /a /b\n}\n"


def _file_system(kind: str) -> t.Callable[[pathlib.Path], t.Sequence[bytes]]:
    def corpus(place: pathlib.Path) -> t.Sequence[bytes]:
        tree, image = _tree(place), place / "image"
        if kind != "vfat":
            (tree / "link").symlink_to("etc/os-release")
            (tree / "long").symlink_to("x" * 100)
        if kind.startswith("ext"):
            image.write_bytes(bytes(_MIB))
            _run("mke2fs", "-q", "-F", "-t", kind, "-d", tree, image)
        elif kind == "squashfs":
            _run("mksquashfs", tree, image, "-quiet", "-no-progress", "-processors", "1")
        elif kind == "erofs":
            _run("mkfs.erofs", "--quiet", image, tree)
        elif kind == "vfat":
            image.write_bytes(bytes(_MIB))
            _run("mkfs.vfat", image)
            _run("env", "MTOOLS_SKIP_CHECK=1", "mcopy", "-s", "-i", image, *sorted(tree.iterdir()), "::/")
        else:
            _run("xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", image, tree)
        return [image.read_bytes()]

    return corpus


def _disk(place: pathlib.Path, label: str) -> pathlib.Path:
    path = place / f"{label}.raw"
    path.write_bytes(bytes(2 * _MIB))
    esp = "U" if label == "gpt" else "ef"
    table = f"label: {label}\n,512K,{esp},*\n,,L\n"
    _run("sfdisk", "-q", "--no-reread", "--no-tell-kernel", path, data=table.encode())
    ext = _file_system("ext4")(pathlib.Path(tempfile.mkdtemp(dir=place)))[0]
    data = bytearray(path.read_bytes())
    start = 2048 * 512
    data[start : start + 512 * _KIB] = ext[: 512 * _KIB]
    path.write_bytes(data)
    return path


def _disks(place: pathlib.Path) -> t.Sequence[bytes]:
    return [_disk(place, label).read_bytes() for label in ("gpt", "dos")]


def _mutate_disk(rng: random.Random, corpus: t.Sequence[bytes]) -> bytes:
    """Damage a partition table, and let the checksums of a GPT be right most of the time."""
    data = bytearray(mutation.head(34 * 512, every=512)(rng, corpus))
    if rng.random() < 0.5:
        entry = 1024 + 128 * rng.randrange(3)
        part = mutation.binary(rng, [bytes(data[entry : entry + 128])])[:128].ljust(128, b"\0")
        data[entry : entry + 128] = part
    if data[512:520] == b"EFI PART" and rng.random() < 0.9:
        count, size = struct.unpack_from("<II", data, 512 + 80)
        entries = bytes(data[1024 : 1024 + min(count * size, _MIB)])
        struct.pack_into("<I", data, 512 + 88, zlib.crc32(entries))
        header = bytearray(data[512 : 512 + min(max(struct.unpack_from("<I", data, 524)[0], 92), 512)])
        header[16:20] = bytes(4)
        struct.pack_into("<I", data, 512 + 16, zlib.crc32(header))
    return bytes(data)


def _parse_table(data: bytes, place: pathlib.Path) -> None:
    with _inspected(data, place) as image:
        for partition in image.table.partitions if image.table else ():
            partition.as_facts()
        json.dumps([superblock.as_facts() for superblock in image.superblocks])


@contextlib.contextmanager
def _inspected(data: bytes, place: pathlib.Path) -> t.Iterator[Inspection]:
    path, temporary = place / "image", place / "temporary"
    path.write_bytes(data)
    temporary.mkdir()
    with inspect_image(str(path), temp_dir=str(temporary)) as image:
        yield image


def _inspect(data: bytes, place: pathlib.Path) -> None:
    with _inspected(data, place) as image:
        image.as_facts()
        for volume in image.volumes:
            if volume.reader is not None:
                entries = volume.reader.entries
                files = [path for path, entry in entries.items() if entry.kind == "file" and entry.size < _MIB]
                volume.reader.digests(files[:5])
                volume.reader.find("/link")


def _converted(driver: str, *options: str) -> t.Callable[[pathlib.Path], t.Sequence[bytes]]:
    def corpus(place: pathlib.Path) -> t.Sequence[bytes]:
        disk, image = _disk(place, "gpt"), place / "image"
        _run("qemu-img", "convert", "-f", "raw", "-O", driver, *options, disk, image)
        return [image.read_bytes()]

    return corpus


def _wrapped(place: pathlib.Path) -> t.Sequence[bytes]:
    disk = _disk(place, "gpt").read_bytes()
    return [gzip.compress(disk), lzma.compress(disk), _run("zstd", "-cq", data=disk)]


def _superblock(_place: pathlib.Path) -> t.Sequence[bytes]:
    form = struct.Struct("<8sII16s32sIIQH6x256s")
    return [form.pack(b"verity\0\0", 1, 1, bytes(16), b"sha256", 4096, 4096, 100, 32, bytes(256))]


def _parse_superblock(data: bytes, place: pathlib.Path) -> None:
    path = place / "disk"
    path.write_bytes(data)
    found = read_superblock(str(path), TablePartition(1, 0, len(data), "", "", "", ()))
    if found is not None:
        json.dumps(found.as_facts())


_ROOT_HASH_SIGNATURE = {"rootHash": _SHA256, "signature": "MIIBAA==", "certificateFingerprint": _SHA256}


def _parse_root_hash_signature(data: bytes, place: pathlib.Path) -> None:
    path = place / "disk"
    path.write_bytes(data + bytes(512))
    found = read_signature(str(path), TablePartition(1, 0, len(data) + 512, "", "", "", ()))
    if found is not None:
        json.dumps([found.root_hash, found.certificate, found.pkcs7.hex()])


def _programs(_place: pathlib.Path) -> t.Sequence[bytes]:
    sections = {b".linux": b"k" * 64, b".initrd": b"i" * 64, b".cmdline": b"root=x", b".osrel": b"ID=x\n"}
    head = bytearray(b"MZ".ljust(64, b"\0"))
    struct.pack_into("<I", head, 0x3C, 64)
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, len(sections), 0, 0, 0, 112, 0x22E)
    optional = struct.pack("<H", 0x20B).ljust(112, b"\0")
    table, body = b"", b""
    start = 64 + len(coff) + len(optional) + 40 * len(sections)
    for name, content in sections.items():
        table += struct.pack("<8sIIIIIIHHI", name, len(content), 0, len(content), start + len(body), 0, 0, 0, 0, 0)
        body += content
    return [bytes(head) + coff + optional + table + body]


def _parse_program(data: bytes, place: pathlib.Path) -> None:
    path = place / "program.efi"
    path.write_bytes(data)
    for start, size in read_sections(str(path)).values():
        assert 0 <= start <= start + size <= len(data)


def _parse_boot_files(data: bytes, _place: pathlib.Path) -> None:
    text = data.decode("utf-8", errors="replace")
    loader_entry(text, "/loader/entries/a.conf", 1)
    grub_entries(text, "/grub/grub.cfg", 1)
    parse_os_release(text)


def _parse_status(data: bytes, place: pathlib.Path) -> None:
    files = types.SimpleNamespace(read=lambda path: data if path.endswith("status") else None)
    read_packages(files, temp_dir=str(place), runner=ParserSandbox())


def _parse_directories(data: bytes, place: pathlib.Path) -> None:
    path = place / "volume"
    path.write_bytes(data)
    refuse_circles(str(path), 0)


def _file_systems() -> t.Iterator[Target]:
    for kind in ("ext4", "ext2", "squashfs", "vfat", "erofs", "iso9660"):
        mutate = mutation.head(4096, every=1024) if kind in ("ext4", "ext2", "vfat", "iso9660") else mutation.binary
        yield Target(kind, _file_system(kind), mutate, _inspect, weight=8)


def _formats() -> t.Iterator[Target]:
    for name, driver, *options in (
        ("qcow2", "qcow2"),
        ("vhd", "vpc"),
        ("vhdx", "vhdx"),
        ("vmdk", "vmdk", "-o", "subformat=streamOptimized"),
        ("vdi", "vdi"),
    ):
        yield Target(name, _converted(driver, *options), mutation.head(4096, every=65536), _inspect, weight=4)


TARGETS: t.Sequence[Target] = (
    Target("release", _texts(_RELEASE), mutation.text, _parse_release),
    Target("inrelease", _signed("clear"), mutation.binary, _parse_signed("clear"), weight=8),
    Target("release-gpg", _signed("detached"), mutation.binary, _parse_signed("detached"), weight=8),
    Target("packages", lambda _place: [package_index.index_text(_STANZAS).encode()], mutation.text, _parse_packages),
    Target("resolve-deb", _resolved_debs, _mutate_relations, _resolve("deb"), weight=100),
    Target("resolve-rpm", _resolved_rpms, _mutate_relations, _resolve("rpm"), weight=100),
    Target("repomd", _texts(_REPOMD), mutation.text, _parse_repomd),
    Target("primary", _rpm_indexes("primary"), mutation.text, _parse_rpm_index("primary"), weight=500),
    Target("filelists", _rpm_indexes("filelists"), mutation.text, _parse_rpm_index("filelists"), weight=500),
    Target("modules", _texts(_MODULES), mutation.text, _parse_modules, weight=100),
    Target("compressed-index", _compressed_indexes, mutation.binary, _parse_compressed, weight=100),
    Target("key-armor", _keys, mutation.text, _parse_armor),
    Target("key", _keys, mutation.binary, _parse_keys, weight=8),
    Target("key-bindings", _keys, mutation.binary, _parse_bindings),
    Target("deb", _debs, _mutate_deb, _parse_deb),
    Target("control", lambda _place: [_CONTROL], mutation.text, _parse_control),
    Target("rpm", _rpms, mutation.binary, _parse_rpm),
    Target("rpm-header", _headers, mutation.binary, _parse_header),
    Target("license", _texts(_COPYRIGHT), mutation.text, _parse_license),
    Target("yaml", _templates, mutation.text, _parse_template, weight=300),
    Target("template", _template_documents, mutation.document, _validate, weight=50),
    Target("lock", _documents(_LOCK), mutation.document, _parse_lock),
    Target("manifest", _documents(_MANIFEST), mutation.document, _publish("web-1.0.manifest.json"), weight=500),
    Target(
        "checksums",
        _texts(f"{_SHA256}  other-1.0.raw\n{_SHA256} *web-1.0.raw\n"),
        mutation.text,
        _publish("SHA256SUMS"),
        weight=500,
    ),
    Target("stamp", _documents(_STAMP), mutation.document, _parse_stamp),
    Target("sbom", _documents(_SPDX, _CYCLONEDX), mutation.document, _parse_sbom),
    Target("partition-table", _disks, _mutate_disk, _parse_table, weight=30),
    Target("verity", _superblock, mutation.binary, _parse_superblock),
    Target("root-hash-signature", _documents(_ROOT_HASH_SIGNATURE), mutation.document, _parse_root_hash_signature),
    Target("efi-program", _programs, mutation.binary, _parse_program),
    Target("boot-files", _texts(_LOADER_ENTRY, _GRUB), mutation.text, _parse_boot_files),
    Target("dpkg-status", _texts(_STATUS), mutation.text, _parse_status),
    Target("raw", _disks, _mutate_disk, _inspect, weight=4),
    Target("compressed-image", _wrapped, mutation.binary, _inspect, weight=4),
    Target("fat-directories", _file_system("vfat"), mutation.head(8192, every=512), _parse_directories, weight=100),
    *_formats(),
    *_file_systems(),
)

__all__ = ("TARGETS",)
