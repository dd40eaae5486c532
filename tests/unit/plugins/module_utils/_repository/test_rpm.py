# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real signed RPM repositories over real HTTP, good ones and bad ones."""

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
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError, SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._repository import rpm
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import RepositoryMetadata
from ansible_collections.os_image.composer.plugins.module_utils._repository.xml_guard import XmlGuard
from ansible_collections.os_image.composer.tests.support.http_server import Fault, FileServer
from ansible_collections.os_image.composer.tests.support.repository_site import RepositorySite
from ansible_collections.os_image.composer.tests.support.rpm_repository import BUILT, RpmRepository, run
from ansible_collections.os_image.composer.tests.support.signing_keys import KeyRing, Keys

REPOMD = "/repodata/repomd.xml"


class Site(RepositorySite):
    """A repository of the RPM family."""

    kind = rpm.RpmRepository
    package_arch = "x86_64"
    unverified = (".part", ".download")

    def __init__(self, server: FileServer, keys: Keys, directory: pathlib.Path) -> None:
        super().__init__(server, keys, directory)
        self.repository = RpmRepository(server.root)

    @property
    def place(self) -> pathlib.Path:
        """The memory of the place of the repository."""
        names = {path: json.loads(path.read_text())["shown"] for path in self.metadata_dir.glob("seen/place-*.json")}
        return next(path for path, shown in names.items() if shown == "repository 'test'")


@pytest.fixture(scope="module")
def published(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Make the repository that most tests begin with once."""
    root = tmp_path_factory.mktemp("published")
    repository = RpmRepository(str(root))
    repository.add_package("hello")
    repository.publish(keys.archive)
    return root


@pytest.fixture
def site(published: pathlib.Path, server: FileServer, keys: Keys, tmp_path: pathlib.Path) -> Site:
    shutil.copytree(published, server.root, dirs_exist_ok=True)
    return Site(server, keys, tmp_path)


def names_in(metadata: RepositoryMetadata) -> list[str]:
    text = pathlib.Path(metadata.indexes[0].path).read_text()
    return re.findall(r"<name>(.+)</name>", text)


def primary(site: Site) -> bytes:
    return gzip.decompress(pathlib.Path(site.repository.data("primary")).read_bytes())


def test_everything_is_verified_and_described(site: Site) -> None:
    metadata = site.refresh()
    assert names_in(metadata) == ["hello"]
    (index,) = metadata.indexes
    data = pathlib.Path(index.path).read_bytes()
    assert data == primary(site)
    assert (index.component, index.arch, index.size) == ("primary", "", len(data))
    assert index.sha256 == hashlib.sha256(data).hexdigest()
    assert metadata.base_url == site.server.url
    assert metadata.signed_by == (site.keys.archive.fingerprint,)
    assert (metadata.date, metadata.valid_until) == (BUILT, None)
    assert metadata.metadata_digest == hashlib.sha256(site.repository.read_repomd().encode()).hexdigest()


def test_file_lists_are_fetched_when_somebody_asks(site: Site) -> None:
    metadata = site.refresh()
    assert not any("filelists" in path for path in site.server.paths())
    assert metadata.further is not None
    for _time in range(2):
        index = metadata.further("filelists")
        assert index is not None
        assert index.component == "filelists"
        assert b"<file>/usr/share/hello/data</file>" in pathlib.Path(index.path).read_bytes()
    assert sum("filelists" in path for path in site.server.paths()) == 1
    assert metadata.further("other") is None
    # Offline, and after a further refresh, they are still there.
    os.utime(index.path, (1, 1))
    site.refresh()
    offline = site.refresh(offline=True)
    assert offline.further is not None
    assert offline.further("filelists") is not None
    assert sum("filelists" in path for path in site.server.paths()) == 1


@pytest.mark.parametrize("options", [("--no-compress",), ("--compress-type", "gz"), ("--compress-type", "xz")])
def test_modules_are_fetched_when_somebody_asks(site: Site, tmp_path: pathlib.Path, options: tuple[str, ...]) -> None:
    path = tmp_path / "modules.yaml"
    path.write_text("---\ndocument: modulemd-defaults\n# No <!DOCTYPE here.\n...\n")
    run("modifyrepo_c", "--mdtype", "modules", *options, str(path), site.repository.repodata)
    site.repository.sign(site.keys.archive)
    metadata = site.refresh()
    assert metadata.further is not None
    index = metadata.further("modules")
    assert index is not None
    assert pathlib.Path(index.path).read_text() == path.read_text()


def test_modules_that_cannot_be_verified(site: Site, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "modules.yaml"
    path.write_text("---\n...\n")
    run("modifyrepo_c", "--mdtype", "modules", "--checksum", "sha1", str(path), site.repository.repodata)
    site.repository.sign(site.keys.archive)
    assert "lists no usable module metadata: its checksum is of the kind SHA-1" in site.refused()


def test_tampered_file_lists(site: Site) -> None:
    metadata = site.refresh()
    site.repository.replace_index("filelists", b"<filelists/>", honest=False)
    assert metadata.further is not None
    with pytest.raises(RepositoryError, match=r"^The package index repodata/[0-9a-f]+-filelists\.xml\.gz"):
        metadata.further("filelists")


def test_unchanged_metadata_costs_one_conditional_request(site: Site) -> None:
    first = site.refresh()
    site.server.heal()
    assert site.refresh() == first
    assert [(request.path, request.status) for request in site.server.requests] == [(REPOMD, 304)]


def test_a_server_without_validators_costs_no_more_downloads(site: Site) -> None:
    site.server.validators = False
    first = site.refresh()
    site.server.heal()
    assert site.refresh() == first
    assert site.server.paths() == [REPOMD]


def test_new_metadata_replaces_the_old(site: Site) -> None:
    old = site.refresh()
    site.repository.add_package("news")
    site.repository.publish(site.keys.archive, revision=BUILT + 1)
    new = site.refresh()
    assert names_in(new) == ["hello", "news"]
    # Another build may be about to read the old one.
    assert os.path.exists(old.indexes[0].path)
    os.utime(old.indexes[0].path, (1, 1))
    site.repository.publish(site.keys.archive, revision=BUILT + 2, options=["--compress-type", "xz"])
    site.refresh()
    assert not os.path.exists(old.indexes[0].path)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst", ".bz2", ""])
def test_all_compressions(site: Site, suffix: str) -> None:
    site.repository.publish(site.keys.archive, compression=suffix)
    metadata = site.refresh()
    assert names_in(metadata) == ["hello"]
    assert any(path.endswith(f"primary.xml{suffix}") for path in site.server.paths())
    assert metadata.further is not None
    assert metadata.further("filelists") is not None


def test_several_repositories_have_keys_of_their_own(site: Site, tmp_path: pathlib.Path) -> None:
    other = RpmRepository(os.path.join(site.server.root, "other"))
    other.add_package("other")
    other.publish(site.keys.stranger)
    config = {
        "name": "other",
        "url": f"{site.server.url}/other/",
        "keys": [site.keys.stranger.public],
        "allow_packages": ["oth*"],
        "priority": 900,
    }
    first, second = site.refresh_all(site.config, config)
    assert (names_in(first), names_in(second)) == (["hello"], ["other"])
    assert second.base_url == f"{site.server.url}/other"
    assert (second.priority, second.allow_packages) == (900, ("oth*",))
    other.sign(site.keys.archive)
    shutil.rmtree(site.metadata_dir)
    with pytest.raises(SignatureError, match=r"'other'.*not one of the repository's keys"):
        site.refresh_all(site.config, config)


def test_a_mirror_name(site: Site) -> None:
    config = {key: value for key, value in site.config.items() if key != "url"}
    config["mirror"] = "vendor"
    (metadata,) = site.refresh_all(config, mirrors={"vendor": site.server.url})
    assert metadata.base_url == site.server.url


def test_unsigned_metadata_is_taken_where_the_packages_are_signed(site: Site) -> None:
    (metadata,) = site.refresh_all({**site.config, "repo_gpgcheck": False})
    assert metadata.gpgcheck
    assert metadata.signed_by == ()
    assert not any(path.endswith(".asc") for path in site.server.paths())


def test_a_mirror_of_ones_own_for_a_repository_with_a_url(site: Site) -> None:
    config = {**site.config, "url": "https://vendor.invalid/packages"}
    (metadata,) = site.refresh_all(config, mirrors={config["name"]: site.server.url})
    assert metadata.base_url == site.server.url


# ---- signatures


def test_an_unknown_key(site: Site) -> None:
    site.repository.sign(site.keys.stranger)
    message = site.refused()
    assert message.startswith("The repomd.xml of the repository 'test' (http://127.0.0.1:")
    assert f"{site.keys.stranger.fingerprint}, which is not one of the repository's keys" in message


def test_a_key_that_is_not_pinned(site: Site) -> None:
    keys = site.keys
    site.repository.sign(keys.stranger)
    message = site.refused(keys=[keys.archive.public, keys.stranger.public])
    assert f"the only fingerprints allowed are {keys.archive.fingerprint}" in message


def test_an_expired_key(site: Site) -> None:
    keys = site.keys
    site.repository.sign(keys.expired, when=Keys.before_expiry)
    message = site.refused(keys=[keys.expired.public], fingerprints=[keys.expired.fingerprint])
    assert f"the key {keys.expired.fingerprint} has expired on 2021-05-31" in message


def test_a_revoked_key_condemns_stored_metadata_too(site: Site) -> None:
    with KeyRing() as ring:
        key = ring.make_key("Revoked <revoked@example.org>", when=int(time.time()) - 86400)
        site.repository.sign(key)
        site.refresh(keys=[key.public], fingerprints=[])
        revoked = ring.revoke(key)
        assert f"the key {key.fingerprint} was revoked" in site.refused(keys=[revoked.public], fingerprints=[])


def test_a_missing_signature(site: Site) -> None:
    site.repository.sign(None)
    assert "is not signed: it has no repodata/repomd.xml.asc file. Check the URL" in site.refused()


def test_a_signature_that_came_later(site: Site) -> None:
    site.refresh(gpgcheck=False, keys=[], fingerprints=[])
    assert site.refresh().signed_by == (site.keys.archive.fingerprint,)


def test_the_same_metadata_with_another_signature(site: Site) -> None:
    site.refresh()
    site.repository.sign(site.keys.stranger)
    new = {"keys": [site.keys.stranger.public], "fingerprints": [site.keys.stranger.fingerprint]}
    assert site.refresh(**new).signed_by == (site.keys.stranger.fingerprint,)
    assert site.refresh(offline=True, **new).signed_by == (site.keys.stranger.fingerprint,)
    assert "which is not one of the repository's keys" in site.refused()


def test_no_keys(site: Site) -> None:
    assert "no key is named" in site.refused(keys=[], fingerprints=[])


def test_gpgcheck_false_is_possible_and_told(site: Site) -> None:
    site.repository.sign(None)
    metadata = site.refresh(gpgcheck=False, keys=[], fingerprints=[])
    assert (metadata.gpgcheck, metadata.signed_by) == (False, ())
    assert any("is not checked, as the template says (gpgcheck: false)" in line for line in site.log())


def test_a_tampered_repomd(site: Site) -> None:
    text = site.repository.read_repomd()
    path = pathlib.Path(site.repository.path("repomd.xml"))
    path.write_text(text.replace(f"<revision>{BUILT}", f"<revision>{BUILT + 1}"))
    assert "does not match its signature by the key" in site.refused()


def test_a_tampered_stored_repomd(site: Site) -> None:
    site.refresh()
    (path,) = site.metadata_dir.rglob("repomd.xml")
    path.write_bytes(path.read_bytes() + b"\n")
    assert "does not match its signature by the key" in site.refused(offline=True)


# ---- indexes


@pytest.mark.parametrize("change", [b"", b"x", None])
def test_a_tampered_primary(site: Site, change: bytes | None) -> None:
    path = pathlib.Path(site.repository.data("primary"))
    data = bytearray(path.read_bytes())
    if change is None:
        data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data[:-9]) if change == b"" else bytes(data) + (change or b""))
    message = site.refused()
    assert message.startswith("The package index repodata/")
    assert "could not be downloaded" in message
    assert "delivers another file" in message


def test_a_compressed_index_that_holds_something_else(site: Site) -> None:
    """The digest of the decompressed file counts, too."""
    text = site.repository.read_repomd()
    digest = hashlib.sha256(primary(site)).hexdigest()
    site.repository.write_repomd(text.replace(digest, "0" * 64), site.keys.archive)
    assert "decompressed it has another SHA-256 than the repomd.xml says" in site.refused()


def test_a_decompression_bomb(site: Site) -> None:
    size = len(primary(site))
    site.repository.replace_index("primary", primary(site) + b" " * (64 << 20))
    text = site.repository.read_repomd()
    bomb = re.sub(r"(primary.*?<open-size>)\d+", rf"\g<1>{size}", text, flags=re.DOTALL)
    site.repository.write_repomd(bomb, site.keys.archive)
    assert f"it grows beyond the {size} bytes that it may have" in site.refused()


@pytest.mark.parametrize("tag", ["size", "open-size"])
def test_an_oversized_index(site: Site, tag: str) -> None:
    text = re.sub(rf"<{tag}>\d+", f"<{tag}>{3 << 30}", site.repository.read_repomd())
    site.repository.write_repomd(text, site.keys.archive)
    assert f"is said to have {3 << 30} bytes, more than the {512 << 20} that an index may have" in site.refused()


def test_an_index_without_its_decompressed_size(site: Site) -> None:
    """As createrepo of long ago wrote it."""
    text = re.sub(r"\s*<open-(?:size|checksum).*?</open-(?:size|checksum)>", "", site.repository.read_repomd())
    site.repository.write_repomd(re.sub(r"(<timestamp>\d+)", r"\1.25", text), site.keys.archive)
    metadata = site.refresh()
    assert names_in(metadata) == ["hello"]
    assert metadata.date == BUILT


@pytest.mark.parametrize(
    "prologue",
    [
        b'<!DOCTYPE metadata [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        b'<!DOCTYPE metadata SYSTEM "file:///etc/passwd">',
    ],
)
def test_entity_tricks_in_an_index(site: Site, prologue: bytes) -> None:
    data = primary(site).replace(b"<metadata", prologue + b"\n<metadata", 1)
    site.repository.replace_index("primary", data)
    site.repository.sign(site.keys.archive)
    assert "it holds <!DOCTYPE, which package metadata has no use for" in site.refused()


def test_another_encoding_hides_nothing(site: Site) -> None:
    text = primary(site).decode().replace('encoding="UTF-8"', 'encoding="UTF-16"')
    site.repository.replace_index("primary", text.encode("utf-16"))
    site.repository.sign(site.keys.archive)
    assert "it is not XML in UTF-8" in site.refused()


@pytest.mark.parametrize("split", range(1, 60, 7))
def test_the_guard_sees_what_comes_in_pieces(split: int) -> None:
    data = b'<?xml version="1.0"?>\n<!DOCTYPE a>\n<a/>'
    guard = XmlGuard()
    with pytest.raises(ValueError, match="DOCTYPE"):  # noqa: PT012
        guard.feed(data[:split])
        guard.feed(data[split:])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("</repomd>", "", "cannot be understood: no element found"),
        ("<repomd", "<!DOCTYPE repomd>\n<repomd", "it holds <!DOCTYPE, which package metadata has no use for"),
        ("repomd", "metadata", "its root element is 'metadata'"),
        ('"primary"', '"secondary"', "lists no usable primary index: it is not listed"),
        ('"sha256"', '"sha"', "its checksum is of the kind SHA-1, which is broken"),
        ('"sha256"', '"sha512"', "it has no SHA-256 checksum"),
        ('href="', 'href="../', "its location is '../repodata"),
        ('href="', 'href="http://example.org/', "its location is 'http://example.org/"),
        (".xml.gz", ".xml.lz", "is compressed in a way that is not known"),
        ("<size>", "<size>a", "its size is 'a"),
        ("<timestamp>", "<timestamp>-", "its timestamp is '-"),
    ],
)
def test_a_repomd_that_cannot_be_understood(site: Site, old: str, new: str, words: str) -> None:
    site.repository.write_repomd(site.repository.read_repomd().replace(old, new), site.keys.archive)
    assert words in site.refused()


def test_an_index_without_size(site: Site) -> None:
    text = re.sub(r"<size>\d+</size>", "", site.repository.read_repomd())
    site.repository.write_repomd(text, site.keys.archive)
    assert "The repomd.xml of the repository 'test' does not tell the size of repodata/" in site.refused()


def test_an_oversized_repomd(site: Site) -> None:
    pathlib.Path(site.repository.path("repomd.xml")).write_bytes(b"x" * (5 << 20))
    assert "the repomd.xml of the repository 'test'" in site.refused().replace("The", "the", 1)


# ---- age, place, network


def test_a_rollback(site: Site) -> None:
    site.repository.publish(site.keys.archive, revision=BUILT + 86400)
    site.refresh()
    site.repository.publish(site.keys.archive, revision=BUILT)
    message = site.refused()
    assert "is dated 2023-11-14 22:13:20 UTC, but this build host has seen one of 2023-11-15 22:13:20 UTC" in message
    archive, place = sorted(site.metadata_dir.glob("seen/*.json"))
    assert f"remove {place} and {archive}." in message
    archive.unlink()
    assert f"remove {place}." in site.refused()
    place.unlink()
    assert site.refresh().date == BUILT


@pytest.mark.parametrize("options", ["--content=binary", "--repo=ours", "--distro=cpe:/o:vendor:ours:9,Ours 9"])
def test_another_repository_of_the_same_key(site: Site, options: str) -> None:
    site.repository.publish(site.keys.archive, options=[options])
    site.refresh()
    # What is newer in the next minor release is the same distribution.
    minor = options.replace(":9,Ours 9", ":9.1,Ours 9.1")
    site.repository.publish(site.keys.archive, revision=BUILT + 1, options=[minor])
    site.refresh()
    theirs = options.replace("ours", "theirs").replace("binary", "source")
    site.repository.publish(site.keys.archive, revision=BUILT + 2, options=[theirs])
    message = site.refused()
    assert (
        f"The repomd.xml of the repository 'test' ({site.server.url}) is that of another repository: it has " in message
    )
    (place,) = site.metadata_dir.glob("seen/place-*.json")
    assert message.endswith(f"has moved on to the next release, remove {place}.")


def swapped(site: Site) -> tuple[RpmRepository, dict[str, t.Any]]:
    """Publish a second repository of the same key, newer than the first."""
    other = RpmRepository(f"{site.repository.root}/other")
    other.add_package("other")
    other.publish(site.keys.archive, revision=BUILT + 100)
    return other, {**site.config, "name": "other", "url": f"{site.server.url}/other"}


def test_the_metadata_that_another_repository_had(site: Site) -> None:
    other, config = swapped(site)
    site.refresh_all(site.config, config)
    shutil.rmtree(site.repository.repodata)
    shutil.copytree(other.repodata, site.repository.repodata)
    assert site.refused() == (
        f"The repomd.xml of the repository 'test' ({site.server.url}) is that of another repository: this build host "
        "knows it as that of the repository 'other'. The mirror gives one repository out for another: use another "
        f"mirror. If the two have become one, remove {site.place}."
    )


def test_the_metadata_that_another_repository_has(site: Site) -> None:
    other, config = swapped(site)
    site.refresh_all(site.config, config)
    other.publish(site.keys.archive, revision=BUILT + 200)
    shutil.rmtree(site.repository.repodata)
    shutil.copytree(other.repodata, site.repository.repodata)
    with pytest.raises(RepositoryError, match="knows it as that of the repository 'other'"):
        site.refresh_all(site.config, config)


def test_one_repository_may_have_two_names(site: Site) -> None:
    twin = {**site.config, "name": "twin", "url": f"http://localhost:{site.server.port}"}
    site.refresh_all(site.config, twin)
    site.repository.publish(site.keys.archive, revision=BUILT + 100)
    site.refresh_all(site.config, twin)


def test_a_revision_may_be_anything(site: Site) -> None:
    text = site.repository.read_repomd()
    site.repository.write_repomd(re.sub("<timestamp>[^<]*", f"<timestamp>{10**17}", text), site.keys.archive)
    assert f"is dated {10**17} s after 1970, which lies in the future." in site.refused()


def test_of_one_date_the_revision_counts(site: Site) -> None:
    text = site.repository.read_repomd()
    site.repository.write_repomd(text.replace(f"<revision>{BUILT}", "<revision>7"), site.keys.archive)
    site.refresh()
    site.repository.write_repomd(text.replace(f"<revision>{BUILT}", "<revision>6"), site.keys.archive)
    assert "(revision 6), but this build host has seen one of 2023-11-14 22:13:20 UTC (revision 7)" in site.refused()


def test_a_repomd_from_the_future(site: Site) -> None:
    site.repository.publish(site.keys.archive, revision=int(time.time()) + 86400)
    assert "which lies in the future. Check the clock of the build host" in site.refused()


def test_no_repository_there(site: Site) -> None:
    message = site.refused(url=f"{site.server.url}/nowhere")
    assert message.startswith(f"There is no repository at {site.server.url}/nowhere: it has no repodata/repomd.xml")


def test_a_mirror_in_the_middle_of_an_update(site: Site) -> None:
    os.unlink(site.repository.data("primary"))
    assert "The mirror may be in the middle of an update" in site.refused()


def test_truncated_metadata_is_continued(site: Site) -> None:
    path = "/repodata/" + os.path.basename(site.repository.data("primary"))
    site.server.fail(path, Fault(truncate=100))
    assert names_in(site.refresh()) == ["hello"]


def test_offline(site: Site) -> None:
    first = site.refresh()
    site.server.heal()
    assert site.refresh(offline=True) == first
    assert site.server.paths() == []


def test_offline_without_anything(site: Site) -> None:
    assert "is not in the cache" in site.refused(offline=True)


def test_offline_without_file_lists(site: Site) -> None:
    site.refresh()
    metadata = site.refresh(offline=True)
    assert metadata.further is not None
    with pytest.raises(RepositoryError, match=r"not in the cache, and this is an offline run: test: repodata/"):
        metadata.further("filelists")


def test_a_damaged_state_is_made_anew(site: Site) -> None:
    first = site.refresh()
    (path,) = site.metadata_dir.rglob("state.json")
    path.write_text("{")
    assert site.refresh() == first
    assert json.loads(path.read_text())["base_url"] == site.server.url


def metalink(site: Site, *bases: str, digests: t.Sequence[str] | None = None, more: str = "") -> str:
    """Publish a metalink as MirrorManager writes it, and return its URL."""
    repomd = pathlib.Path(site.repository.path("repomd.xml")).read_bytes()
    if digests is None:
        digests = [
            f'<hash type="md5">{"0" * 32}</hash>',
            f'<hash type="sha256">{hashlib.sha256(repomd).hexdigest()}</hash>',
        ]
    urls = [
        f'<url protocol="http" type="http" location="DE" preference="{100 - number}">{base}{REPOMD}</url>'
        for number, base in enumerate(bases)
    ]
    text = f"""<?xml version="1.0" encoding="utf-8"?>
<metalink version="3.0" xmlns="http://www.metalinker.org/" type="dynamic" generator="mirrormanager"
    xmlns:mm0="http://fedorahosted.org/mirrormanager">
  <files><file name="repomd.xml">
    <mm0:timestamp>1</mm0:timestamp><size>{len(repomd)}</size>
    <verification>{"".join(digests)}</verification>{more}
    <resources maxconnections="1"><url protocol="rsync" type="rsync">rsync://mirror.example/x{REPOMD}</url>{"".join(urls)}</resources>
  </file></files>
</metalink>
"""
    pathlib.Path(site.server.root, "metalink").write_text(text)
    return f"{site.server.url}/metalink?repo=test&arch=x86_64"


def mirrorlist(site: Site, *lines: str) -> str:
    """Publish a list of mirrors, and return its URL."""
    pathlib.Path(site.server.root, "mirrorlist").write_text("".join(f"{line}\n" for line in lines))
    return f"{site.server.url}/mirrorlist?repo=test&arch=x86_64"


def elsewhere(site: Site, name: str) -> str:
    """Copy the repository, and return the base URL of the copy."""
    shutil.copytree(
        site.server.root,
        f"{site.server.root}/{name}",
        ignore=lambda _path, names: [other for other in names if other.startswith("mirror") or other == "metalink"],
    )
    return f"{site.server.url}/{name}"


def test_the_mirrors_of_a_metalink_are_asked_in_order(site: Site) -> None:
    first, second = elsewhere(site, "mirror-1"), elsewhere(site, "mirror-2")
    metadata = site.refresh(url=None, metalink=metalink(site, first, second))
    assert names_in(metadata) == ["hello"]
    assert (metadata.base_url, metadata.mirrors) == (first, (second,))
    assert metadata.signed_by == (site.keys.archive.fingerprint,)
    primary = os.path.basename(site.repository.data("primary"))
    assert site.server.paths() == [
        "/metalink?repo=test&arch=x86_64",
        f"/mirror-1{REPOMD}",
        f"/mirror-1{REPOMD}.asc",
        f"/mirror-1/repodata/{primary}",
    ]
    # What the metalink describes is here already; nobody else is asked, nor is the order of the day of any matter.
    site.server.heal()
    again = site.refresh(url=None, metalink=metalink(site, second, first))
    assert (again.base_url, again.mirrors, again.metadata_digest) == (first, (second,), metadata.metadata_digest)
    assert site.server.paths() == ["/metalink?repo=test&arch=x86_64"]
    assert site.refresh(url=None, metalink=metalink(site, second, first), offline=True).base_url == first


def test_a_mirror_that_is_down_or_behind_or_lies_is_passed_over(site: Site) -> None:
    behind = elsewhere(site, "mirror-behind")
    site.repository.add_package("world")
    site.repository.publish(site.keys.archive, revision=BUILT + 1)
    portal, good = elsewhere(site, "mirror-portal"), elsewhere(site, "mirror-good")
    pathlib.Path(f"{site.server.root}/mirror-portal{REPOMD}").write_text("<!DOCTYPE html><title>Log in</title>")
    down = "http://127.0.0.1:9/nobody"
    missing = f"{site.server.url}/mirror-missing"
    metadata = site.refresh(url=None, metalink=metalink(site, down, missing, portal, behind, good))
    assert set(names_in(metadata)) == {"hello", "world"}
    assert metadata.base_url == good
    # Its indexes may still be had from another.
    shutil.rmtree(site.metadata_dir)
    pathlib.Path(
        f"{site.server.root}/mirror-good/repodata/{os.path.basename(site.repository.data('primary'))}"
    ).unlink()
    full = elsewhere(site, "mirror-full")
    assert set(names_in(site.refresh(url=None, metalink=metalink(site, good, full)))) == {"hello", "world"}


def test_without_a_mirror_that_has_what_the_metalink_describes(site: Site) -> None:
    bases = [elsewhere(site, f"mirror-{number}") for number in range(9)]
    wrong = f'<hash type="sha256">{"a" * 64}</hash>'
    message = site.refused(url=None, metalink=metalink(site, *bases, digests=[wrong]))
    assert f"The repomd.xml of the repository 'test' could not be downloaded: {bases[0]}{REPOMD}: it is not" in message
    assert "it is not what the metalink describes, by its digest" in message
    assert "5 more places. The mirrors may be in the middle of an update" in message


def test_an_older_state_that_the_metalink_allows(site: Site) -> None:
    old = hashlib.sha256(pathlib.Path(site.repository.path("repomd.xml")).read_bytes()).hexdigest()
    behind = elsewhere(site, "mirror-behind")
    site.repository.publish(site.keys.archive, revision=BUILT + 1)
    more = (
        "<mm0:alternates><mm0:alternate><mm0:timestamp>0</mm0:timestamp>"
        f'<verification><hash type="sha256">{old}</hash></verification></mm0:alternate></mm0:alternates>'
    )
    assert site.refresh(url=None, metalink=metalink(site, behind, more=more)).base_url == behind
    # But never one that is older than what was seen.
    site.refresh(url=None, metalink=metalink(site, elsewhere(site, "mirror-good"), more=more))
    assert "it is too old" in site.refused(url=None, metalink=metalink(site, behind, more=more))


def test_what_was_seen_belongs_to_the_list_and_not_to_the_mirror(site: Site) -> None:
    behind = elsewhere(site, "mirror-behind")
    site.repository.publish(site.keys.archive, revision=BUILT + 1)
    site.refresh(url=None, mirrorlist=mirrorlist(site, elsewhere(site, "mirror-good")))
    assert "it is too old" in site.refused(url=None, mirrorlist=mirrorlist(site, behind))
    # Another list of the same server is another place.
    other = f"{site.server.url}/mirrorlist?repo=other"
    assert site.refresh(url=None, mirrorlist=other, name="other").base_url == behind


def test_the_signature_counts_whatever_the_metalink_says(site: Site) -> None:
    site.repository.publish(site.keys.stranger)
    base = elsewhere(site, "mirror-1")
    assert "is signed with the key" in site.refused(url=None, metalink=metalink(site, base))
    site.repository.publish(None)
    assert "is not signed" in site.refused(url=None, metalink=metalink(site, elsewhere(site, "mirror-2")))


def test_a_metalink_vouches_for_metadata_without_a_signature(site: Site) -> None:
    site.repository.publish(None)
    base = elsewhere(site, "mirror-1")
    config = {"url": None, "repo_gpgcheck": False}
    assert names_in(site.refresh(**config, metalink=metalink(site, base))) == ["hello"]
    weak = [f'<hash type="md5">{"0" * 32}</hash>']
    message = site.refused(**config, metalink=metalink(site, base, digests=weak))
    assert "it tells no SHA-256 or SHA-512 digest of the repomd.xml, whose signature is not checked" in message


def test_the_digest_is_the_strongest(site: Site) -> None:
    data = pathlib.Path(site.repository.path("repomd.xml")).read_bytes()
    base = elsewhere(site, "mirror-1")
    digests = [
        f'<hash type="sha256">{"0" * 64}</hash>',
        f'<hash type="sha-512">{hashlib.sha512(data).hexdigest()}</hash>',
    ]
    assert names_in(site.refresh(url=None, metalink=metalink(site, base, digests=digests))) == ["hello"]


def test_a_metalink_of_rfc_5854(site: Site) -> None:
    data = pathlib.Path(site.repository.path("repomd.xml")).read_bytes()
    first, second = elsewhere(site, "mirror-1"), elsewhere(site, "mirror-2")
    text = f"""<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="repomd.xml">
    <hash type="sha-256">{hashlib.sha256(data).hexdigest()}</hash>
    <url priority="2">{second}{REPOMD}</url><url priority="1">{first}{REPOMD}</url></file></metalink>"""
    pathlib.Path(site.server.root, "metalink").write_text(text)
    metadata = site.refresh(url=None, metalink=f"{site.server.url}/metalink")
    assert (metadata.base_url, metadata.mirrors) == (first, (second,))


def test_the_lines_of_a_mirrorlist(site: Site) -> None:
    first, second = elsewhere(site, "mirror-x86_64"), elsewhere(site, "mirror-2")
    lines = (
        "# a comment",
        "",
        f"{first.replace('x86_64', '$basearch')}/",
        f"  {second}{REPOMD}\r",
        "ftp://x/y",
        "http://u:p@h/",
    )
    metadata = site.refresh(url=None, mirrorlist=mirrorlist(site, *lines))
    assert (metadata.base_url, metadata.mirrors) == (first, (second,))
    # The same metadata from the same mirror, however the list is sorted.
    assert site.refresh(url=None, mirrorlist=mirrorlist(site, *reversed(lines))).base_url == first


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "it names no mirror by http or https or file"),
        ("# nobody\n", "it names no mirror"),
        ("rsync://mirror.example/x\n", "it names no mirror"),
        ("Bad arch - foo\n", "'Bad arch - foo' is no URL"),
        ("<metalink/>", "it does not list a repomd.xml"),
        ("<repomd/>", "its root element is 'repomd'"),
        ("<metalink>", "no element found"),
        ("<!DOCTYPE x><metalink/>", "it holds <!DOCTYPE"),
        (
            '<metalink><file name="repomd.xml"><hash type="sha256">xyz</hash></file></metalink>',
            "'xyz' is no sha256 digest",
        ),
        ("<html><head><title>Not\n found</title></head>", "there is a web page ('Not found') in its place"),
    ],
)
def test_a_list_that_cannot_be_used(site: Site, content: str, words: str) -> None:
    pathlib.Path(site.server.root, "list").write_text(content)
    message = site.refused(url=None, mirrorlist=f"{site.server.url}/list")
    assert words in message
    assert "list of mirrors of the repository 'test'" in message
    assert f"{site.server.url}/list" in message


def test_unsigned_packages_come_from_mirrors_by_https_only(site: Site) -> None:
    trusting = {"url": None, "gpgcheck": False, "keys": [], "fingerprints": []}
    message = site.refused(**trusting, mirrorlist=mirrorlist(site, site.server.url))
    assert "it names no mirror by https" in message


def test_a_mirror_of_the_build_host_comes_before_the_list(site: Site) -> None:
    (metadata,) = site.refresh_all(
        {**site.config, "url": None, "metalink": "http://127.0.0.1:9/metalink"}, mirrors={"test": site.server.url}
    )
    assert metadata.base_url == site.server.url


PAGES = (
    b"<!DOCTYPE html>\n<html><head><title>Log in &amp; pay</title></head><body></body></html>",
    b'<?xml version="1.0"?>\n<!-- x -->\n<HTML lang="en"><TITLE lang="en">Log in &amp;\n pay</TITLE></HTML>',
    b"\xef\xbb\xbf\n <html><title>Log in &#38; pay</title>",
)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(("name", "checked"), [("repomd.xml", True), ("repomd.xml", False), ("repomd.xml.asc", True)])
def test_a_web_page_in_the_place_of_metadata(site: Site, page: bytes, name: str, checked: bool) -> None:
    pathlib.Path(site.repository.path(name)).write_bytes(page)
    message = site.refused(**({} if checked else {"gpgcheck": False, "keys": [], "fingerprints": []}))
    assert message == (
        f"The {name} of the repository 'test' could not be downloaded from {site.server.url}/repodata/{name}: there is "
        "a web page ('Log in & pay') in its place. Check the URL of the repository in a browser: it may have moved, or "
        "a proxy, or the login of a network, answers for the server."
    )


@pytest.mark.parametrize("kind", ["group", "updateinfo", "primary_db", "prestodelta", ""])
@pytest.mark.parametrize(
    "content",
    [
        "",
        "<timestamp>-1</timestamp><size>-5</size>",
        '<location href="http://[::1"/><checksum type="md5">x</checksum>',
        '<location href="../../etc/passwd"/><open-size>99999999999999999999999</open-size>',
    ],
)
def test_what_is_wrong_with_indexes_that_nobody_reads_does_no_harm(site: Site, kind: str, content: str) -> None:
    text = site.repository.read_repomd()
    site.repository.write_repomd(
        text.replace("</repomd>", f'<data type="{kind}">{content}</data></repomd>'), site.keys.archive
    )
    assert names_in(site.refresh()) == ["hello"]
