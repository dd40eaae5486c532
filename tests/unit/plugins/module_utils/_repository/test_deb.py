# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real signed repositories over real HTTP, good ones and bad ones."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pathlib
import re
import shutil
import time
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._download.downloader import Downloader
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError, SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._repository import deb
from ansible_collections.os_image.composer.plugins.module_utils._repository.mirrors import Mirrors
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import (
    RepositoryMetadata,
    metadata_fingerprint,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.refresh import refresh_repositories
from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_pool import DebPool
from ansible_collections.os_image.composer.tests.support.apt_oracle import AptOracle
from ansible_collections.os_image.composer.tests.support.deb_repository import DebRepository
from ansible_collections.os_image.composer.tests.support.http_server import Fault, FileServer, make_certificate
from ansible_collections.os_image.composer.tests.support.repository_site import RepositorySite
from ansible_collections.os_image.composer.tests.support.signing_keys import KeyRing, Keys, SigningKey
from ansible_collections.os_image.composer.tests.support.template_data import repositories

PACKAGES = "dists/stable/main/binary-amd64/Packages"


class Site(RepositorySite):
    """A repository of the DEB family."""

    kind = deb.DebRepository
    package_arch = "amd64"
    unverified = (".part",)

    def __init__(self, server: FileServer, keys: Keys, directory: pathlib.Path) -> None:
        super().__init__(server, keys, directory)
        self.repository = DebRepository(server.root)
        self.config.update(suite="stable", components=["main"])


@pytest.fixture(scope="module")
def published(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Make the repository that most tests begin with once."""
    root = tmp_path_factory.mktemp("published")
    repository = DebRepository(str(root))
    repository.add_package("hello", "1.0")
    repository.publish(keys.archive)
    return root


@pytest.fixture
def site(published: pathlib.Path, server: FileServer, keys: Keys, tmp_path: pathlib.Path) -> Site:
    shutil.copytree(published, server.root, dirs_exist_ok=True)
    return Site(server, keys, tmp_path)


def names_in(metadata: RepositoryMetadata) -> list[str]:
    text = "".join(pathlib.Path(index.path).read_text() for index in metadata.indexes)
    return sorted(f"{name} {version}" for name, version in re.findall(r"Package: (.+)\n(?:.+\n)*?Version: (.+)", text))


def test_everything_is_verified_and_described(site: Site) -> None:
    metadata = site.refresh()
    assert names_in(metadata) == ["hello 1.0"]
    (index,) = metadata.indexes
    data = pathlib.Path(index.path).read_bytes()
    assert data == pathlib.Path(site.repository.path("main/binary-amd64/Packages")).read_bytes()
    assert (index.component, index.arch, index.size) == ("main", "amd64", len(data))
    assert index.sha256 == hashlib.sha256(data).hexdigest()
    assert metadata.base_url == site.server.url
    assert metadata.signed_by == (site.keys.archive.fingerprint,)
    assert metadata.valid_until is None
    assert abs(metadata.date - time.time()) < 120
    signed = site.keys.ring.gpg("--decrypt", site.repository.path("InRelease"))
    assert metadata.metadata_digest == hashlib.sha256(signed).hexdigest()
    assert metadata_fingerprint([metadata]) == {
        "test": {
            "metadata": metadata.metadata_digest,
            "indexes": [index.sha256],
            "priority": 500,
            "allow_packages": [],
            "exclude_packages": [],
        }
    }
    digest = hashlib.sha256(pathlib.Path(site.repository.path("main/binary-amd64/Packages.xz")).read_bytes())
    assert site.server.paths() == [
        "/dists/stable/InRelease",
        f"/dists/stable/main/binary-amd64/by-hash/SHA256/{digest.hexdigest()}",
    ]


def test_unchanged_metadata_costs_one_conditional_request(site: Site) -> None:
    first = site.refresh()
    before = site.snapshot()
    site.server.heal()
    assert site.refresh() == first
    assert [(request.path, request.status) for request in site.server.requests] == [("/dists/stable/InRelease", 304)]
    assert site.snapshot() == before


def test_a_server_without_validators_costs_no_more_downloads(site: Site) -> None:
    first = site.refresh()
    site.server.heal()
    site.server.validators = False
    assert site.refresh() == first
    assert site.server.paths() == ["/dists/stable/InRelease"]


def test_new_metadata_replaces_the_old(site: Site) -> None:
    old = site.refresh()
    site.repository.add_package("world", "2.0")
    site.repository.publish(site.keys.archive)
    new = site.refresh()
    assert names_in(new) == ["hello 1.0", "world 2.0"]
    assert new.metadata_digest != old.metadata_digest
    # Another build may be reading the old one; it goes some time later.
    assert pathlib.Path(old.indexes[0].path).exists()
    ago = time.time() - 7200
    os.utime(old.indexes[0].path, (ago, ago))
    site.repository.add_package("third", "3.0")
    site.repository.publish(site.keys.archive)
    site.refresh()
    assert not pathlib.Path(old.indexes[0].path).exists()
    assert pathlib.Path(new.indexes[0].path).exists()


@pytest.mark.parametrize("suffix", [".xz", ".lzma", ".gz", ".bz2", ".zst", ""])
@pytest.mark.parametrize("by_hash", [True, False])
def test_all_compressions(site: Site, suffix: str, by_hash: bool) -> None:
    site.repository.compressions = (suffix,)
    site.repository.by_hash = by_hash
    site.repository.publish(site.keys.archive)
    assert names_in(site.refresh()) == ["hello 1.0"]
    assert ("by-hash" in site.server.paths()[-1]) == by_hash


def test_an_index_that_is_there_in_a_form_that_cannot_be_read_only(site: Site) -> None:
    site.repository.by_hash = False
    site.repository.compressions = ()
    site.repository.publish(None)
    for name in ("Packages.lz4", "Packages.diff"):
        pathlib.Path(site.repository.path("main/binary-amd64", name)).write_bytes(b"hello")
    site.repository.release(site.keys.archive)
    message = site.refused()
    assert "has the index of 'main' for amd64 only as Packages.diff and Packages.lz4, which cannot be read" in message
    assert "Packages.xz, Packages.zst, Packages.lzma, Packages.gz, Packages.bz2, Packages" in message


def test_an_index_of_a_repository_without_components_that_cannot_be_read(site: Site) -> None:
    site.repository = DebRepository(site.server.root + "/flat", suite="./", compressions=(), by_hash=False)
    site.repository.publish(None)
    pathlib.Path(site.repository.path("Packages.lz4")).write_bytes(b"hello")
    site.repository.release(site.keys.archive)
    assert "has its index only as Packages.lz4, which cannot" in site.refused(url=f"{site.server.url}/flat", suite="./")


_LINE = rb"(?m)^([A-Za-z][A-Za-z0-9-]*):"


def _case(change: t.Callable[[bytes], bytes]) -> t.Callable[[bytes], bytes]:
    return lambda data: re.sub(_LINE, lambda match: change(match[1]) + b":", data)


# Ways to write down the same, all of which apt takes.
FORMS: t.Mapping[str, t.Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "lines of Windows": lambda data: data.replace(b"\n", b"\r\n"),
    "empty lines of Windows": lambda data: data.replace(b"\n\n", b"\n\r\n"),
    "lower case": _case(bytes.lower),
    "upper case": _case(bytes.upper),
    "other case": _case(bytes.capitalize),
    "a tab behind the colon": lambda data: re.sub(_LINE + rb" ", rb"\1:\t", data),
    "tabs between the words of lists": lambda data: re.sub(rb"(?m)^ (\S+) +(\d+) ", rb"\t\1\t\2\t", data),
    "tabs in relations": lambda data: data.replace(b" (", b"\t(").replace(b">= ", b">=\t"),
    "nothing behind the colon": lambda data: re.sub(_LINE + rb" ", rb"\1:", data),
    "blanks behind the colon": lambda data: re.sub(_LINE + rb" ", rb"\1:   ", data),
    "a blank before the colon": lambda data: re.sub(_LINE, rb"\1 :", data),
    "blanks at the ends": lambda data: re.sub(rb"(?m)(?<=\S)$", rb" \t", data),
    "relations in several lines": lambda data: data.replace(b"), ", b"),\n\t"),
    "a relation in the next line": lambda data: re.sub(rb"(?m)^Depends: ", b"Depends:\n ", data),
    "more empty lines": lambda data: data.replace(b"\n\n", b"\n\n\n\n"),
    "Latin-1": lambda data: re.sub(rb"(?m)^(Label|Maintainer): .*", b"\\1: Jos\xe9 \x85 <j@example.org>", data),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("document", ["index", "release"])
def test_every_form_that_apt_takes(site: Site, tmp_path: pathlib.Path, form: str, document: str) -> None:
    repository = site.repository
    repository.add_package("world", "2.0", fields={"essential": "yes", "Multi-Arch": "foreign"})
    repository.add_package("peer", "3.0", architecture="all")
    repository.add_package("asker", "1.0", fields={"Depends": "world (>= 1.0), peer (>= 2), hello"})
    repository.fields = {"Label": "Test"}
    setattr(repository, f"edit_{document}", FORMS[form])
    repository.publish(site.keys.archive)
    oracle = AptOracle(tmp_path / "apt", f"file:{site.server.root} stable main", site.keys.archive.public)
    oracle.update()
    metadata = site.refresh()
    assert names_in(metadata) == ["asker 1.0", "hello 1.0", "peer 3.0", "world 2.0"]
    pool = DebPool(arch="amd64", cache_dir=None)
    pool.load([metadata])
    asker = pool.candidate("asker")
    assert asker is not None
    needed = [pool.label(alternative.solvables[0]) for (alternative,) in pool.requirements(asker)]
    assert needed == ["world 2.0", "peer 3.0", "hello 1.0"]
    assert sorted({"asker 1.0", *needed}) == oracle.installs("asker")
    assert pool.package(asker).size == os.path.getsize(repository.path("../../pool/main/asker_1.0_amd64.deb"))
    assert pool.marked("essential") == ["world"]


@pytest.mark.parametrize("by_hash", [True, False])
def test_a_release_with_sha512_alone(site: Site, by_hash: bool, tmp_path: pathlib.Path) -> None:
    site.repository.digest = "SHA512"
    site.repository.by_hash = by_hash
    site.repository.publish(site.keys.archive)
    AptOracle(tmp_path / "apt", f"file:{site.server.root} stable main", site.keys.archive.public).update()
    first = site.refresh()
    assert names_in(first) == ["hello 1.0"]
    assert ("/by-hash/SHA512/" in site.server.paths()[-1]) == by_hash
    assert site.refresh(offline=True) == first
    # The digest is demanded, of the compressed and of the decompressed file.
    site.repository.add_package("world", "2.0")
    site.repository.by_hash = False
    site.repository.publish(site.keys.archive)
    path = pathlib.Path(site.repository.path("main/binary-amd64/Packages.xz"))
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"x")
    assert re.search(r"its content has the SHA-512 [0-9a-f]{128}, but [0-9a-f]{128} is demanded", site.refused())
    path.write_bytes(data)
    plain = pathlib.Path(site.repository.path("main/binary-amd64/Packages"))
    plain.write_bytes(plain.read_bytes().replace(b"hello", b"hallo"))
    site.repository.release(site.keys.archive)
    with pytest.raises(RepositoryError, match="decompressed it has another SHA-512 than the Release says"):
        site.refresh()


def test_sha256_counts_where_both_are_there(site: Site) -> None:
    both = b"SHA512:\n " + b"0" * 128 + b" 1 main/binary-amd64/Packages\n"
    site.repository.edit_release = lambda data: data + both
    site.repository.publish(site.keys.archive)
    assert names_in(site.refresh()) == ["hello 1.0"]


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_without_a_date_that_of_the_signature_counts(site: Site, date: str, tmp_path: pathlib.Path) -> None:
    now = int(time.time())
    site.repository.fields = {"Date": date}
    site.repository.publish(site.keys.archive, signed_at=now - 100)
    AptOracle(tmp_path / "apt", f"file:{site.server.root} stable main", site.keys.archive.public).update()
    assert site.refresh().date == now - 100
    site.repository.add_package("world", "2.0")
    site.repository.publish(site.keys.archive, signed_at=now - 50)
    assert site.refresh().date == now - 50
    # Nor can somebody show the older one again.
    site.repository.publish(site.keys.archive, signed_at=now - 80)
    assert "it is too old" in site.refused()


def test_without_a_date_and_a_signature_the_age_is_not_known(site: Site) -> None:
    site.repository.fields = {"Date": ""}
    site.repository.publish(None)
    trusting = {"gpgcheck": False, "keys": [], "fingerprints": []}
    assert site.refresh(**trusting).date == 0
    message = site.refused(**trusting, max_age=10)
    assert "does not say when it was published, so nobody can tell its age" in message
    assert "maxAge: 0" in message


def test_an_index_that_is_not_there_by_hash_is_taken_by_name(site: Site) -> None:
    for path in pathlib.Path(site.repository.path("main/binary-amd64/by-hash/SHA256")).iterdir():
        path.unlink()
    assert names_in(site.refresh()) == ["hello 1.0"]


def test_a_detached_signature(site: Site) -> None:
    site.repository.publish(site.keys.archive, inline=False)
    first = site.refresh()
    assert first.signed_by == (site.keys.archive.fingerprint,)
    release = pathlib.Path(site.repository.path("Release")).read_bytes()
    assert first.metadata_digest == hashlib.sha256(release).hexdigest()
    assert site.refresh(offline=True) == first
    # The same repository, signed inline from now on.
    site.repository.publish(site.keys.archive)
    site.refresh()
    assert sorted(path.name for path in site.metadata_dir.glob("test-*/*Release*")) == ["InRelease"]


def test_several_components_and_repositories(site: Site, tmp_path: pathlib.Path) -> None:
    site.repository.components = ("main", "contrib")
    site.repository.add_package("extra", component="contrib")
    site.repository.publish(site.keys.archive)
    updates = DebRepository(site.repository.root, suite="stable-updates", codename="codename-updates")
    updates.publish(site.keys.archive)
    result = site.refresh_all(
        {**site.config, "components": ["main", "contrib"]},
        {**site.config, "name": "updates", "suite": "stable-updates", "priority": 900, "allow_packages": ["hel*"]},
    )
    assert [metadata.name for metadata in result] == ["test", "updates"]
    assert [index.component for index in result[0].indexes] == ["main", "contrib"]
    assert names_in(result[0]) == ["extra 1.0", "hello 1.0"]
    assert (result[1].priority, result[1].allow_packages) == (900, ("hel*",))


def test_components_that_nobody_asked_for(site: Site) -> None:
    site.repository.components = ("main", "contrib", "non-free/x", "main/debian-installer")
    site.repository.add_package("extra", component="contrib")
    site.repository.publish(site.keys.archive)
    site.server.requests.clear()
    metadata = site.refresh()
    assert [index.component for index in metadata.indexes] == ["main"]
    assert list(metadata.other_components) == ["contrib", "non-free/x"]
    assert not [path for path in site.server.paths() if "contrib" in path]
    # They are fetched when somebody asks, and verified as the others are.
    with pytest.raises(RepositoryError, match="and this is an offline run: test: contrib/binary-amd64/Packages"):
        site.refresh(offline=True).other_components["contrib"]()
    (index,) = metadata.other_components["contrib"]()
    assert "Package: extra\n" in pathlib.Path(index.path).read_text()
    assert site.refresh(offline=True).other_components["contrib"]() == (index,)
    # What the answer is made from is the same as before.
    assert metadata_fingerprint([site.refresh()]) == metadata_fingerprint([metadata])
    os.unlink(index.path)
    for name in os.listdir(site.repository.path("contrib/binary-amd64")):
        path = pathlib.Path(site.repository.path("contrib/binary-amd64", name))
        if path.is_file():
            path.write_bytes(bytes(len(path.read_bytes())))
    shutil.rmtree(site.repository.path("contrib/binary-amd64/by-hash"), ignore_errors=True)
    with pytest.raises(RepositoryError, match="contrib"):
        site.refresh().other_components["contrib"]()


@pytest.mark.parametrize("suite", ["./", "/", "deb/", "./deb/amd64/"])
def test_a_flat_repository(site: Site, suite: str) -> None:
    flat = DebRepository(os.path.join(site.repository.root, "flat"), suite=suite)
    flat.add_package("flat")
    flat.publish(site.keys.archive)
    metadata = site.refresh(url=f"{site.server.url}/flat", suite=suite, components=[])
    assert names_in(metadata) == ["flat 1.0"]
    (filename,) = re.findall("Filename: (.+)", pathlib.Path(metadata.indexes[0].path).read_text())
    # Packages lie below the base URL.
    assert os.path.exists(os.path.join(flat.root, filename))
    assert metadata.base_url == f"{site.server.url}/flat"


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_a_directory_with_an_index_alone(site: Site, suffix: str) -> None:
    flat = DebRepository(os.path.join(site.repository.root, "lone"), suite="./", compressions=(suffix,))
    flat.add_package("lone")
    flat.publish(None)
    os.unlink(flat.path("Release"))
    settings = {"url": f"{site.server.url}/lone", "suite": "./", "components": [], "keys": [], "fingerprints": []}
    message = "There is no repository at http"
    assert site.refused(**settings).startswith(message)
    metadata = site.refresh(**settings, gpgcheck=False)
    assert names_in(metadata) == ["lone 1.0"]
    assert metadata_fingerprint([site.refresh(**settings, gpgcheck=False)]) == metadata_fingerprint([metadata])
    assert names_in(site.refresh(**settings, gpgcheck=False, offline=True)) == ["lone 1.0"]
    flat.add_package("lone", "2.0")
    flat.publish(None)
    os.unlink(flat.path("Release"))
    assert names_in(site.refresh(**settings, gpgcheck=False)) == ["lone 1.0", "lone 2.0"]
    # It has no suites, and so no other way.
    assert site.refused(**{**settings, "suite": "stable", "gpgcheck": False}).startswith(message)


@pytest.mark.parametrize(("field", "expected"), [("", ["amd64", "all"]), ("Packages", ["amd64"])])
def test_packages_for_all_architectures(site: Site, field: str, expected: list[str]) -> None:
    site.repository.fields = {"Architectures": "all amd64", "No-Support-for-Architecture-all": field}
    DebRepository(site.repository.root, architecture="all").publish(None)
    os.unlink(site.repository.path("Release"))
    site.repository.publish(site.keys.archive)
    assert [index.arch for index in site.refresh().indexes] == expected


def test_a_mirror_name(site: Site) -> None:
    config = {**site.config, "mirror": "debian"}
    del config["url"]
    result = site.refresh_all(config, mirrors={"debian": f"{site.server.url}/"})
    assert result[0].base_url == site.server.url
    with pytest.raises(RepositoryError, match="No mirror is known for 'other'"):
        site.refresh_all({**config, "mirror": "other"})


def test_a_key_from_the_network(site: Site, tmp_path: pathlib.Path) -> None:
    path = pathlib.Path(site.server.root) / "key.asc"
    path.write_bytes(pathlib.Path(site.keys.archive.public).read_bytes())
    key = f"{site.server.url}/key.asc"
    assert site.refresh(keys=[key]).signed_by == (site.keys.archive.fingerprint,)
    assert site.refresh(keys=[key], offline=True).signed_by == (site.keys.archive.fingerprint,)
    with pytest.raises(SignatureError, match=r"is fetched from the network, and no fingerprint is given: whoever"):
        site.refresh(keys=[key], fingerprints=[])


def test_a_key_from_the_network_that_got_a_new_subkey(site: Site) -> None:
    with KeyRing() as ring:
        born = int(time.time()) - 86400
        key = ring.make_key("Rotates <rotates@example.org>", when=born, usage="cert")
        site.repository.publish(_with_new_subkey(key, born, site))
        changes = {"keys": [f"{site.server.url}/key.asc"], "fingerprints": [key.fingerprint]}
        assert site.refresh(**changes).signed_by == (key.fingerprint,)
        # Signed by what the kept key does not have yet: it is fetched again, once.
        site.repository.publish(_with_new_subkey(key, born + 60, site))
        site.server.heal()
        assert site.refresh(**changes).signed_by == (key.fingerprint,)
        assert site.server.paths().count("/key.asc") == 1
        site.server.heal()
        site.refresh(**changes)
        assert "/key.asc" not in site.server.paths()
        # Where nothing new is to be had, the first answer stands.
        site.repository.publish(site.keys.stranger)
        assert f"signed with the key {site.keys.stranger.fingerprint}" in site.refused(**changes)


def _with_new_subkey(key: SigningKey, when: int, site: Site) -> SigningKey:
    """Give a key another subkey, with which it signs from now on, and publish it."""
    key.keyring.gpg("--passphrase", "", "--quick-add-key", key.fingerprint, "ed25519", "sign", "never", when=when)
    exported = key.keyring.gpg("--armor", "--export", key.fingerprint)
    (pathlib.Path(site.server.root) / "key.asc").write_bytes(exported)
    return key


# What must be refused.


def test_an_unknown_key(site: Site) -> None:
    site.refresh()
    site.repository.publish(site.keys.stranger)
    message = site.refused()
    assert message.startswith(f"The InRelease of the repository 'test' ({site.server.url}) has no valid signature: ")
    assert f"signed with the key {site.keys.stranger.fingerprint}, which is not one of the repository's keys" in message


def test_a_key_that_is_not_pinned(site: Site) -> None:
    site.repository.publish(site.keys.stranger)
    message = site.refused(keys=[site.keys.archive.public, site.keys.stranger.public])
    assert f"the only fingerprints allowed are {site.keys.archive.fingerprint}" in message


def test_an_expired_key(site: Site) -> None:
    site.repository.publish(site.keys.expired, signed_at=Keys.before_expiry)
    message = site.refused(keys=[site.keys.expired.public], fingerprints=[])
    assert f"the key {site.keys.expired.fingerprint} has expired on 2021-05-31. Get the renewed key" in message


def test_a_revoked_key_condemns_stored_metadata_too(site: Site) -> None:
    with KeyRing() as ring:
        key = ring.make_key("Soon revoked <x@example.org>")
        site.repository.publish(key)
        site.refresh(keys=[key.public], fingerprints=[key.fingerprint])
        revoked = ring.revoke(key)
        assert "was revoked" in site.refused(keys=[revoked.public], fingerprints=[key.fingerprint])
        assert "was revoked" in site.refused(keys=[revoked.public], fingerprints=[], offline=True)


def test_no_signature(site: Site) -> None:
    site.repository.publish(None)
    assert site.refused() == (
        f"The repository 'test' ({site.server.url}) is not signed: it has neither an InRelease nor a Release.gpg file. "
        "Check the URL; a repository without signatures needs gpgcheck: false in the template."
    )


def test_no_keys(site: Site) -> None:
    assert "no key is named, so its signature cannot be checked. Name its key files" in site.refused(keys=[])


def test_unsigned_metadata_is_no_choice(site: Site) -> None:
    with pytest.raises(
        RepositoryError, match=r"repoGpgcheck: false has no meaning for the repository 'test': DEB pack"
    ):
        site.refresh(repo_gpgcheck=False)


@pytest.mark.parametrize("form", ["none", "inline", "detached"])
def test_gpgcheck_false_is_possible_and_told(site: Site, form: str) -> None:
    site.repository.publish(None if form == "none" else site.keys.stranger, inline=form == "inline")
    metadata = site.refresh(gpgcheck=False, keys=[])
    assert (metadata.gpgcheck, metadata.signed_by) == (False, ())
    assert names_in(metadata) == ["hello 1.0"]
    assert (
        "[Packages] WARN: The signature of the repository 'test' is not checked, as the template says (gpgcheck: false)"
        in site.log()
    )


def tamper(path: str, old: bytes, new: bytes) -> None:
    data = pathlib.Path(path).read_bytes()
    assert old in data
    pathlib.Path(path).write_bytes(data.replace(old, new, 1))


def test_a_tampered_inrelease(site: Site) -> None:
    site.refresh()
    tamper(site.repository.path("InRelease"), b"Origin: Test", b"Origin: Evil")
    message = site.refused()
    assert f"The InRelease of the repository 'test' ({site.server.url}) does not match its signature" in message
    assert "Do not trust this copy. Try again, or use another mirror." in message


def test_a_tampered_stored_inrelease(site: Site) -> None:
    site.refresh()
    (stored,) = site.metadata_dir.glob("test-*/InRelease")
    tamper(str(stored), b"Origin: Test", b"Origin: Evil")
    # The server says that nothing has changed, and still nothing unsigned is believed.
    assert "does not match its signature" in site.refused()
    assert "does not match its signature" in site.refused(offline=True)


def test_a_tampered_release(site: Site) -> None:
    site.repository.publish(site.keys.archive, inline=False)
    tamper(site.repository.path("Release"), b"Origin: Test", b"Origin: Evil")
    assert f"The Release of the repository 'test' ({site.server.url}) does not match its signature" in site.refused()


def test_tampered_packages(site: Site) -> None:
    site.refresh()
    site.repository.by_hash = False
    site.repository.add_package("world")
    site.repository.publish(site.keys.archive)
    path = pathlib.Path(site.repository.path("main/binary-amd64/Packages.xz"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    message = site.refused()
    assert "The package index main/binary-amd64/Packages.xz of the repository 'test' could not be downloaded" in message
    assert "its content has the SHA-256" in message
    # And the old state is still of use.
    assert names_in(site.refresh(offline=True)) == ["hello 1.0"]


def test_packages_of_another_size(site: Site) -> None:
    site.repository.by_hash = False
    site.repository.publish(site.keys.archive)
    with open(site.repository.path("main/binary-amd64/Packages.xz"), "ab") as stream:
        stream.write(b"more")
    assert "are demanded" in site.refused()


def test_a_tampered_stored_index_is_made_anew(site: Site) -> None:
    first = site.refresh()
    path = pathlib.Path(first.indexes[0].path)
    good = path.read_bytes()
    path.write_bytes(good.replace(b"hello", b"evil!"))
    assert "Package indexes are not in the cache, and this is an offline run: test: main/binary-amd64/Packages.xz." in (
        site.refused(offline=True)
    )
    assert site.refresh() == first
    assert path.read_bytes() == good


def test_an_untouched_index_is_not_hashed_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    first = site.refresh()
    hashed: list[str] = []
    module = "ansible_collections.os_image.composer.plugins.module_utils._repository.indexes"

    def sha256_file(path: str) -> str:
        hashed.append(path)
        return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()

    monkeypatch.setattr(f"{module}.sha256_file", sha256_file)
    site.refresh()
    assert hashed == []
    os.utime(first.indexes[0].path)
    assert site.refresh() == first
    assert hashed == [first.indexes[0].path]
    site.refresh()
    assert len(hashed) == 1


def test_expired_metadata(site: Site) -> None:
    now = int(time.time())
    site.repository.publish(site.keys.archive, date=now - 86400, valid_until=now + 600)
    metadata = site.refresh()
    assert metadata.valid_until == now + 600
    message = site.refused(now=now + 601)
    assert re.fullmatch(
        rf"The Release of the repository 'test' \({site.server.url}\) has expired: it was valid until "
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC. The mirror is no longer updated, or somebody withholds updates: use "
        r"another mirror, and check the clock of the build host.",
        message,
    )
    # Without a network the metadata cannot be fresher than it is.
    assert site.refresh(offline=True, now=now + 601) == metadata
    assert "it is used because this is an offline run" in site.log()[-1]


def test_a_rollback(site: Site) -> None:
    now = time.time()
    site.repository.publish(site.keys.archive, date=now - 86400)
    old = {path.name: path.read_bytes() for path in pathlib.Path(site.repository.directory).iterdir() if path.is_file()}
    site.refresh()
    site.repository.add_package("hello", "1.1")
    site.repository.publish(site.keys.archive, date=now - 60)
    site.refresh()
    for name, data in old.items():
        pathlib.Path(site.repository.path(name)).write_bytes(data)
    message = site.refused()
    assert "but this build host has seen one of" in message
    archive, place = sorted(site.metadata_dir.glob("seen/*.json"))
    assert message.endswith(f"if the older state is really wanted, remove {place} and {archive}.")
    # Lost metadata does not help an attacker.
    for path in site.metadata_dir.glob("test-*/*"):
        path.unlink()
    assert "it is too old" in site.refused()


@pytest.mark.parametrize(
    "spelled",
    ["http://127.0.0.1:{port}/", "HTTP://127.0.0.1:{port}//", "http://127.0.0.1:{port}/./", "http://localhost:{port}"],
    ids=["a slash", "upper case", "a dot", "another mirror"],
)
def test_another_spelling_of_the_url_is_no_other_repository(site: Site, spelled: str) -> None:
    now = time.time()
    site.repository.publish(site.keys.archive, date=now - 60)
    site.refresh()
    site.repository.publish(site.keys.archive, date=now - 86400)
    assert "it is too old" in site.refused(url=spelled.format(port=site.server.port))


def test_another_name_of_a_repository_is_no_other_place(site: Site) -> None:
    now = time.time()
    site.repository.publish(site.keys.archive, date=now - 60)
    site.refresh()
    site.repository.publish(site.keys.archive, date=now - 86400)
    assert "it is too old" in site.refused(name="other")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b'{"date": "x"}', b"\xff"])
@pytest.mark.parametrize("kind", ["place", "archive"])
def test_a_damaged_memory_is_an_error(site: Site, damage: bytes, kind: str) -> None:
    site.refresh()
    (seen,) = site.metadata_dir.glob(f"seen/{kind}-*.json")
    seen.write_bytes(damage)
    message = site.refused()
    assert message.startswith(f"What this build host remembers of the repository 'test' cannot be read ({seen}): ")
    assert message.endswith(
        "Without it, old metadata would pass for new. Make sure that the mirror is up to date, then remove the file."
    )
    seen.unlink()
    site.refresh()


def test_a_date_ahead_of_its_time_does_not_make_what_follows_too_old(site: Site) -> None:
    now = int(time.time())
    site.repository.publish(site.keys.archive, date=now - 7200)
    site.refresh(now=now)
    site.repository.publish(site.keys.archive, date=now + 3000)
    site.refresh(now=now)
    site.repository.publish(site.keys.archive, date=now - 3600)
    assert site.refresh(now=now).date == now - 3600
    # When its time has come it counts.
    site.repository.publish(site.keys.archive, date=now + 3000)
    site.refresh(now=now + 3001)
    site.repository.publish(site.keys.archive, date=now - 3600)
    assert "it is too old" in site.refused(now=now + 3001)


@pytest.mark.parametrize("field", ["Origin", "Label", "Codename"])
def test_another_repository_of_the_same_key(site: Site, field: str) -> None:
    fields = {"Origin": "Ours", "Label": "Ours", "Codename": "ours"}
    site.repository.fields = fields
    site.repository.publish(site.keys.archive)
    site.refresh()
    site.repository.fields = {**fields, field: "theirs"}
    site.repository.publish(site.keys.archive, date=time.time())
    message = site.refused()
    known = fields[field]
    assert (
        f"The Release of the repository 'test' ({site.server.url}) is that of another repository: it has {field} "
        f"'theirs', but this build host knows it with {field} '{known}'. The mirror gives one repository out for "
        "another: use another mirror." in message
    )
    (place,) = site.metadata_dir.glob("seen/place-*.json")
    assert f"remove {place}." in message
    place.unlink()
    site.refresh()


def test_a_suite_may_grow_old(site: Site) -> None:
    # Asked for by its code name.
    site.repository.fields = {"Codename": "stable", "Suite": "newest"}
    site.repository.publish(site.keys.archive)
    site.refresh()
    site.repository.fields = {"Codename": "stable", "Suite": "oldest", "Label": "new"}
    site.repository.publish(site.keys.archive)
    site.refresh()


def test_the_name_of_a_suite_may_not_move_on(site: Site) -> None:
    site.repository.fields = {"Codename": "bookworm", "Suite": "stable"}
    site.repository.publish(site.keys.archive)
    site.refresh()
    site.repository.fields = {"Codename": "trixie", "Suite": "stable"}
    site.repository.publish(site.keys.archive)
    assert "it has Codename 'trixie', but this build host knows it with Codename 'bookworm'" in site.refused()


def test_the_age_that_metadata_may_have(site: Site) -> None:
    now = int(time.time())
    site.repository.publish(site.keys.archive, date=now - 8 * 86400)
    site.refresh(now=now, max_age=11)
    assert not [line for line in site.log() if "maxAge" in line]
    site.refresh(now=now, max_age=10)
    assert site.log()[-1].endswith(
        f"The Release of the repository 'test' ({site.server.url}) is 8 days old; from 11 days on it is refused "
        "(maxAge)"
    )
    assert site.refused(now=now, max_age=7) == (
        f"The Release of the repository 'test' ({site.server.url}) is 8 days old, and more than 7 are not taken "
        "(maxAge). The mirror is no longer updated, or somebody withholds updates: use another mirror. If the state is "
        "old on purpose, give a repository with the name test and a larger maxAge in packageRepositories."
    )
    # Without a network the metadata cannot be fresher than it is.
    site.refresh(now=now, max_age=7, offline=True)


def test_the_memory_belongs_to_the_mirror_not_to_its_address(site: Site) -> None:
    now = time.time()
    config = {**site.config, "mirror": "debian"}
    del config["url"]
    site.refresh_all(config, mirrors={"debian": site.server.url})
    site.repository.publish(site.keys.archive, date=now - 86400)
    with pytest.raises(RepositoryError, match="it is too old"):
        site.refresh_all(config, mirrors={"debian": f"http://localhost:{site.server.port}"})


def test_what_a_key_of_the_provider_signs_is_the_providers(site: Site) -> None:
    root = f"{site.repository.root}/vendor"
    vendor = {**site.config, "name": "vendor", "url": f"{site.server.url}/vendor", "foreign": True}
    stranger = {"keys": [site.keys.stranger.public], "fingerprints": [site.keys.stranger.fingerprint]}
    for key, config, expected in (
        (site.keys.archive, vendor, [False, False]),
        (site.keys.stranger, {**vendor, **stranger}, [False, True]),
        # A key that is named, and has not signed, vouches for nothing.
        (site.keys.stranger, {**vendor, "keys": [*site.config["keys"], *stranger["keys"]], "fingerprints": []}, [0, 1]),
        (None, {**vendor, "gpgcheck": False}, [False, True]),
    ):
        DebRepository(root).publish(key)
        found = site.refresh_all(site.config, config)
        assert [metadata.foreign for metadata in found] == expected
        assert found[1].fingerprint().get("foreign", False) == expected[1]
        # For a provider without any, the first of the template stands.
        assert [metadata.foreign for metadata in site.refresh_all({**site.config, "foreign": True}, config)] == expected


def test_a_release_from_the_future(site: Site) -> None:
    site.repository.publish(site.keys.archive, date=time.time() + 86400)
    message = site.refused()
    assert "which lies in the future. Check the clock of the build host: it says" in message


def test_another_suite(site: Site) -> None:
    other = DebRepository(site.repository.root, suite="oldstable", codename="buster")
    other.publish(site.keys.archive)
    os.rename(other.path("InRelease"), site.repository.path("InRelease"))
    assert (
        f"At the repository 'test' ({site.server.url}) lies the suite buster / oldstable, but stable was asked for."
        in (site.refused())
    )


def test_an_unknown_component(site: Site) -> None:
    assert site.refused(components=["main", "universe"]) == (
        f"The repository 'test' ({site.server.url}, suite stable) has no component 'universe', only main. "
        "Correct the repository's components in the template."
    )


def test_another_architecture(site: Site) -> None:
    for path in pathlib.Path(site.repository.directory).iterdir():
        if path.is_dir():
            os.rename(path / "binary-amd64", path / "binary-arm64")
    site.repository.release(site.keys.archive)
    assert "has no packages of 'main' for amd64, only for arm64" in site.refused()


def test_no_repository_there(site: Site) -> None:
    message = site.refused(suite="none")
    assert message.startswith(f"There is no repository at {site.server.url}/dists/none")
    assert "it has neither an InRelease nor a Release file (repository 'test'). Check the URL and the suite" in message


def test_a_repository_that_is_down(site: Site) -> None:
    site.refresh()
    message = site.refused(url="http://127.0.0.1:9")
    assert message == (
        "The InRelease of the repository 'test' could not be downloaded from "
        "http://127.0.0.1:9/dists/stable/InRelease: 127.0.0.1:9 refuses connections. "
        "Check that the server runs and that the URL is right."
    )


def test_a_repository_with_an_untrusted_certificate(site: Site, tmp_path: pathlib.Path) -> None:
    with FileServer(site.repository.root, certificate=make_certificate(tmp_path / "tls.pem")) as server:
        message = site.refused(url=server.url)
    assert f"the TLS certificate of 127.0.0.1:{server.port} is not trusted: self-signed certificate" in message


def test_truncated_packages_are_continued(site: Site) -> None:
    site.repository.by_hash = False
    site.repository.publish(site.keys.archive)
    site.server.fail(f"/{PACKAGES}.xz", Fault(truncate=100))
    assert names_in(site.refresh()) == ["hello 1.0"]
    assert [request.status for request in site.server.requests] == [200, 200, 206]


def test_packages_that_never_come_whole(site: Site) -> None:
    site.repository.by_hash = False
    site.repository.publish(site.keys.archive)
    site.server.fail(f"/{PACKAGES}.xz", Fault(truncate=0, times=None))
    assert "the answer ended after 0 of" in site.refused()


def test_a_mirror_in_the_middle_of_an_update(site: Site) -> None:
    for path in pathlib.Path(site.repository.path("main/binary-amd64")).rglob("*"):
        if path.is_file():
            path.unlink()
    assert "The mirror may be in the middle of an update: try again in some minutes" in site.refused()


def test_a_decompression_bomb(site: Site) -> None:
    repository = site.repository
    repository.by_hash = False
    repository.compressions = (".gz", "")
    repository.publish(site.keys.archive)
    # The Release tells the size of the plain file: what grows beyond it is not read to its end.
    with gzip.open(repository.path("main/binary-amd64/Packages.gz"), "wb") as stream:
        stream.write(b"\0" * 50_000_000)
    repository.release(site.keys.archive)
    with pytest.raises(RepositoryError, match=r"cannot be decompressed: it grows beyond the \d+ bytes"):
        site.refresh()
    assert not [path for path in site.metadata_dir.rglob("*") if re.search(r"_Packages\.[0-9a-f]{16}$", path.name)]


def test_a_damaged_compressed_index(site: Site) -> None:
    site.repository.by_hash = False
    site.repository.publish(site.keys.archive)
    pathlib.Path(site.repository.path("main/binary-amd64/Packages.xz")).write_bytes(b"no xz")
    site.repository.release(site.keys.archive)
    with pytest.raises(RepositoryError, match=r"Packages.xz of the repository 'test' cannot be decompressed: Input"):
        site.refresh()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"Origin: x\nDate: Mon, 23 Nov 2020 08:00:00 UTC\n", "it lists no SHA256 or SHA512 digests"),
        (b"Valid-Until: tomorrow\nSHA256:\n", "bad date 'tomorrow'"),
        (b"Date: Mon, 23 Nov 2020 08:00:00 UTC\nSHA256:\n abc 1 Packages\n", "bad line 'abc 1 Packages'"),
        (b"SHA512:\n %s 1 Packages\n" % (b"a" * 64), f"bad line '{'a' * 64} 1 Packages'"),
        (b"\xff\xfe", "bad line '\xff\xfe'"),
        (b"no colon\n", "bad line 'no colon'"),
    ],
)
def test_a_release_that_cannot_be_understood(site: Site, content: bytes, words: str) -> None:
    pathlib.Path(site.repository.path("InRelease")).write_bytes(site.keys.archive.clearsign(content))
    message = site.refused()
    assert f"The Release of the repository 'test' ({site.server.url}) cannot be understood: " in message
    assert words in message


def test_an_oversized_inrelease(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "ansible_collections.os_image.composer.plugins.module_utils._repository.deb"
    monkeypatch.setattr(f"{module}._RELEASE_LIMIT", 100)
    assert "it has more than the 100 bytes that such a document may have" in site.refused()


def test_credentials_in_the_url(site: Site) -> None:
    message = site.refused(url="https://user:secret@example.org/debian")
    assert "The URL of the repository 'test' (https://example.org/debian) holds credentials" in message
    assert "/etc/apt/auth.conf.d" in message


def test_offline(site: Site) -> None:
    message = site.refused(offline=True)
    assert message.startswith("The metadata of the repository 'test' is not in the cache (")
    assert message.endswith("Run os_image.composer.pkg_resolve once with a network for the same repositories.")
    online = site.refresh()
    site.server.heal()
    assert site.refresh(offline=True) == online
    assert site.server.requests == []


def test_offline_names_missing_indexes(site: Site) -> None:
    site.repository.components = ("main", "contrib")
    site.repository.add_package("extra", component="contrib")
    site.repository.publish(site.keys.archive)
    site.refresh()
    assert "this is an offline run: test: contrib/binary-amd64/Packages.xz." in (
        site.refused(offline=True, components=["main", "contrib"])
    )


def test_a_damaged_state_is_made_anew(site: Site) -> None:
    first = site.refresh()
    for path in site.metadata_dir.glob("test-*/*.json"):
        path.write_text("{")
    assert site.refresh() == first
    for path in site.metadata_dir.rglob("*.json"):
        json.loads(path.read_text())


def test_the_mirrors_of_the_host_may_be_shared(site: Site) -> None:
    with Downloader() as downloader:
        result = refresh_repositories(
            deb.DebRepository,
            repositories({**site.config, "url": None, "mirror": "mine"}),
            package_arch="amd64",
            metadata_dir=str(site.metadata_dir),
            mirrors=Mirrors({"mine": site.server.url}),
            downloader=downloader,
        )
    assert names_in(result[0]) == ["hello 1.0"]


@pytest.mark.parametrize("name", ["InRelease", "Release", "Release.gpg"])
def test_a_web_page_in_the_place_of_metadata(site: Site, name: str) -> None:
    site.repository.publish(site.keys.archive, inline=name == "InRelease")
    pathlib.Path(site.repository.path(name)).write_text("<!doctype HTML><head><title>Log in</title>")
    assert site.refused() == (
        f"The {name} of the repository 'test' could not be downloaded from {site.server.url}/dists/stable/{name}: "
        "there is a web page ('Log in') in its place. Check the URL of the repository in a browser: it may have moved, "
        "or a proxy, or the login of a network, answers for the server."
    )
