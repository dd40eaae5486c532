# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys that are named by URL, from a real server."""

from __future__ import annotations

import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._download.downloader import Downloader
from ansible_collections.os_image.composer.plugins.module_utils._download.model import Timeouts
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError, SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._repository.key_download import local_keys
from ansible_collections.os_image.composer.plugins.module_utils._repository.keys import kept_key, with_kept_keys
from ansible_collections.os_image.composer.tests.support.http_server import Fault, FileServer
from ansible_collections.os_image.composer.tests.support.signing_keys import Keys, SigningKey
from ansible_collections.os_image.composer.tests.support.template_data import repositories


class Site:
    """A server with a key file, and a build host that wants keys of it."""

    def __init__(self, server: FileServer, metadata_dir: pathlib.Path) -> None:
        self.server = server
        self.metadata_dir = str(metadata_dir)
        self.url = f"{server.url}/keys.asc"

    def publish(self, *keys: SigningKey) -> None:
        """Put some keys into the file on the server."""
        data = b"".join(pathlib.Path(key.public).read_bytes() for key in keys)
        (pathlib.Path(self.server.root) / "keys.asc").write_bytes(data)
        self.server.heal()

    def get(self, *pinned: SigningKey, keys: t.Sequence[str] | None = None, **options: t.Any) -> list[str]:
        """Return the paths of the keys."""
        with Downloader(workers=1, attempts=1, backoff=0.01, timeouts=Timeouts(connect=2, read=2)) as downloader:
            return local_keys(
                [self.url] if keys is None else keys,
                [key.fingerprint for key in pinned],
                metadata_dir=self.metadata_dir,
                what="the repository 'test'",
                downloader=downloader,
                **options,
            )


@pytest.fixture
def site(server: FileServer, tmp_path: pathlib.Path) -> Site:
    return Site(server, tmp_path / "metadata")


def fingerprints(path: str) -> list[str]:
    """Return what gpg finds in a key file."""
    command = ["gpg", "--batch", "--with-colons", "--show-keys", path]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split(":")[9] for line in shown.splitlines() if line.startswith("fpr:")]


def test_files_are_left_alone(site: Site) -> None:
    assert site.get(keys=["/some/key.asc", "/other.gpg"]) == ["/some/key.asc", "/other.gpg"]
    assert not pathlib.Path(site.metadata_dir).exists()


def test_a_key_is_fetched_once_and_kept_without_the_others_that_lie_there(site: Site, keys: Keys) -> None:
    site.publish(keys.stranger, keys.archive)
    (path,) = site.get(keys.archive)
    assert fingerprints(path) == [keys.archive.fingerprint]
    assert pathlib.Path(path).read_text().startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
    assert path == kept_key(site.url, [keys.archive.fingerprint.lower()], metadata_dir=site.metadata_dir)
    assert site.get(keys.archive) == [path]
    assert site.get(keys.archive, offline=True) == [path]
    assert site.server.paths() == ["/keys.asc"]
    local = keys.stranger.public
    assert site.get(keys.archive, keys=[local, site.url]) == [local, path]
    data = {"name": "x", "keys": [local, site.url], "fingerprints": [keys.archive.fingerprint]}
    (repository,) = repositories(data)
    assert with_kept_keys(repository, metadata_dir=site.metadata_dir).keys == (local, path)


def test_a_binary_key_becomes_an_armored_one(site: Site, keys: Keys) -> None:
    target = pathlib.Path(site.server.root) / "keys.asc"
    subprocess.run(["gpg", "--batch", "--dearmor", "-o", str(target), keys.archive.public], check=True)
    (path,) = site.get(keys.archive)
    assert pathlib.Path(path).read_text().startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")


def test_other_fingerprints_are_another_key(site: Site, keys: Keys) -> None:
    site.publish(keys.stranger, keys.archive)
    first, second = site.get(keys.archive), site.get(keys.stranger)
    assert first != second
    assert fingerprints(second[0]) == [keys.stranger.fingerprint]
    # Those of the first are still there: two repositories may share a URL.
    assert fingerprints(first[0]) == [keys.archive.fingerprint]


@pytest.mark.parametrize("damage", ["", "no key", "other key"])
def test_a_kept_file_without_a_pinned_key_is_fetched_again(site: Site, keys: Keys, damage: str) -> None:
    site.publish(keys.archive)
    (path,) = site.get(keys.archive)
    content = pathlib.Path(keys.stranger.public).read_text() if damage == "other key" else damage
    pathlib.Path(path).write_text(content)
    with pytest.raises(
        SignatureError, match=r"is not in the cache, and this is an offline run\. Run .*pkg_resolve once"
    ):
        site.get(keys.archive, offline=True)
    assert fingerprints(site.get(keys.archive)[0]) == [keys.archive.fingerprint]


def test_a_pinned_key_that_was_not_there_is_asked_for_again(site: Site, keys: Keys) -> None:
    site.publish(keys.archive)
    (path,) = site.get(keys.archive, keys.stranger)
    assert fingerprints(path) == [keys.archive.fingerprint]
    # The server is down: what is kept is used.
    site.server.fail("/keys.asc", Fault(status=503, times=None))
    assert site.get(keys.archive, keys.stranger) == [path]
    site.publish(keys.archive, keys.stranger)
    assert site.get(keys.archive, keys.stranger) == [path]
    assert sorted(fingerprints(path)) == sorted([keys.archive.fingerprint, keys.stranger.fingerprint])
    site.server.heal()
    site.get(keys.archive, keys.stranger)
    assert site.server.paths() == []


def test_an_expired_key_is_fetched_again(site: Site, keys: Keys) -> None:
    site.publish(keys.expired)
    site.get(keys.expired, now=Keys.before_expiry)
    site.server.heal()
    site.get(keys.expired, now=Keys.before_expiry)
    assert site.server.paths() == []
    site.get(keys.expired)
    assert site.server.paths() == ["/keys.asc"]


def test_a_url_without_a_fingerprint_is_not_even_asked(site: Site) -> None:
    with pytest.raises(
        SignatureError, match=r"no fingerprint is given: whoever controls the server.* Add its fingerprint"
    ):
        site.get()
    assert site.server.paths() == []


def test_another_key_at_the_url(site: Site, keys: Keys) -> None:
    site.publish(keys.stranger)
    message = f"lies none of the keys that are pinned for the repository 'test', but {keys.stranger.fingerprint}"
    with pytest.raises(SignatureError, match=f"At {site.url} {message}"):
        site.get(keys.archive)
    (pathlib.Path(site.server.root) / "keys.asc").write_text("<html>no</html>")
    with pytest.raises(SignatureError, match=r"holds no OpenPGP public key"):
        site.get(keys.archive)
    site.server.fail("/keys.asc", Fault(status=404, times=None))
    with pytest.raises(RepositoryError, match="The key of the repository 'test' could not be downloaded"):
        site.get(keys.archive)
    assert not pathlib.Path(site.metadata_dir).exists()
