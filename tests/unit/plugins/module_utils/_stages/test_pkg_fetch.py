# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stage pkg_fetch, from a lock to verified files, over real HTTP."""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import shutil
import time
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory, Facts
from ansible_collections.os_image.composer.plugins.module_utils._errors import (
    ChrootError,
    DocumentError,
    HostError,
    LockedError,
    RepositoryError,
    SignatureError,
)
from ansible_collections.os_image.composer.plugins.module_utils._filelock import file_lock
from ansible_collections.os_image.composer.plugins.module_utils._io import write_json
from ansible_collections.os_image.composer.plugins.module_utils._repository.keys import kept_key
from ansible_collections.os_image.composer.plugins.module_utils._stage import (
    Decision,
    Outcome,
    Stage,
    StageOptions,
    run_stage,
)
from ansible_collections.os_image.composer.plugins.module_utils._stages.pkg_fetch import PackageFetch
from ansible_collections.os_image.composer.tests.support.http_server import Fault, FileServer
from ansible_collections.os_image.composer.tests.support.rpm_repository import sign_package
from ansible_collections.os_image.composer.tests.support.signing_keys import Keys, SigningKey
from ansible_collections.os_image.composer.tests.support.template_data import whole_provider, whole_template
from ansible_collections.os_image.composer.tests.support.tiny_debian import Deb
from ansible_collections.os_image.composer.tests.support.tiny_rpm import Rpm

PROVIDER = "debian-debian12-x86_64"


class Producer(Stage):
    """Stands for an earlier stage: leaves a document."""

    def __init__(self, build: BuildDirectory, name: str, document: str, content: Facts) -> None:
        self.name = name  # type: ignore[misc]
        super().__init__(build, StageOptions())
        self._document = document
        self._content = content
        self.is_first = True  # type: ignore[misc]

    def inputs(self) -> Facts:
        return self._content

    def execute(self, decision: Decision) -> Outcome:
        path = self.build.join(self._document)
        write_json(path, self._content)
        return Outcome({}, {path: None})


class Site:
    """A repository with packages, and a build directory with a lock of them."""

    def __init__(self, server: FileServer, root: pathlib.Path, provider: Facts | None = None) -> None:
        self.provider = whole_provider(**{"arch": os.uname().machine, **(provider or {})})
        self.server = server
        self.root = root
        self.build = BuildDirectory(str(root / "build"))
        self.cache = root / "cache/pkgCache" / PROVIDER
        self.packages: list[Facts] = []
        self.repositories: list[Facts] = []
        self.configure()

    def configure(self, **system: t.Any) -> None:
        """Leave a template with parts of systemConfig."""
        template = {
            "schema_version": 1,
            "provider_id": PROVIDER,
            "provider": self.provider,
            "template": whole_template(systemConfig=system),
            "files": {},
            "sources": [],
            "warnings": [],
            "directories": {
                "cache_dir": str(self.root / "cache"),
                "work_dir": str(self.root),
                "config_dir": str(self.root),
            },
        }
        run_stage(Producer(self.build, "image_template_validate", "template.json", template))

    def add_rpm(self, package: Rpm, repository: str, key: SigningKey | None) -> None:
        """Add a package of the RPM family."""
        path = package.build(pathlib.Path(self.server.root))
        if key is not None:
            sign_package(str(path), key)
        entry = package.lock_entry(path, layer=1, repository=repository)
        self.packages.append({**entry, "url": f"{self.server.url}/{path.name}"})

    def add(self, name: str, version: str = "1.0", *, data: bytes | None = None) -> Facts:
        content = f"{name} {version}".encode() * 5000 if data is None else data
        upstream = version.partition(":")[2] or version
        path = pathlib.Path(self.server.root) / "pool" / f"{name}_{upstream}_amd64.deb"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        package = {
            "name": name,
            "version": version,
            "arch": "amd64",
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "url": f"{self.server.url}/pool/{path.name}",
            "filename": f"{name}_{version.replace(':', '%3a')}_amd64.deb",
        }
        self.packages = [*(other for other in self.packages if other["name"] != name), package]
        return package

    def lock(self) -> None:
        document = {"schema_version": 1, "provider_id": PROVIDER, "packages": self.packages}
        document["repositories"] = self.repositories
        run_stage(Producer(self.build, "pkg_resolve", "packages.lock.json", document))

    def fetch(self, *, offline: bool = False, peer_caches: t.Sequence[str] = (), **options: t.Any) -> Facts:
        stage_options = StageOptions(**{"workers": 4, "lock_timeout": 0, **options})
        return run_stage(PackageFetch(self.build, stage_options, offline=offline, peer_caches=peer_caches))

    def log(self) -> list[str]:
        lines = pathlib.Path(self.build.build_log).read_text().splitlines()
        return [line.partition("[Packages] ")[2] for line in lines]

    def cached(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.cache.iterdir() if not path.name.startswith(".")}


@pytest.fixture
def site(server: FileServer, tmp_path: pathlib.Path) -> Site:
    result = Site(server, tmp_path)
    for name in ("alpha", "beta", "gamma"):
        result.add(name)
    result.add("epoch", "1:2.0+b1~x")
    result.lock()
    return result


def test_what_packages_do_not_bring_is_missed_before_they_are_installed(
    server: FileServer, tmp_path: pathlib.Path
) -> None:
    site = Site(server, tmp_path)
    files = {"/usr/share/zoneinfo/Europe/Berlin": "x", "/usr/lib/systemd/system/ssh.service": "x"}
    site.add("tzdata", data=Deb("tzdata", files=files).build(tmp_path).read_bytes())
    site.lock()
    site.configure(timezone="Europe/Berln")
    with pytest.raises(ChrootError, match="The time zone 'Europe/Berln' does not exist in the image. Similar time"):
        site.fetch()
    site.configure(timezone="Europe/Berlin", services={"enable": ["ssh"]})
    site.fetch()
    # Another setting is looked at again, though the packages are the same.
    site.configure(timezone="Europe/Berlin", services={"enable": ["nginx"]})
    with pytest.raises(ChrootError, match=r"The unit nginx\.service of systemConfig\.services\.enable does not exist"):
        site.fetch()
    site.configure(timezone="Europe/Berlin")
    result = site.fetch()
    assert result["rebuild_reason"] == "expected of the packages changed"
    assert result["changed"] is False


def counts(result: Facts) -> tuple[int, int, int, int]:
    return result["cached"], result["downloaded"], result["bytes"], result["verified"]


def test_everything_is_fetched_once(site: Site) -> None:
    total = sum(package["size"] for package in site.packages)
    first = site.fetch()
    assert counts(first) == (0, 4, total, 4)
    assert (first["changed"], first["rebuild_reason"]) == (True, "not built yet")
    assert first["diff"] == {"before": {}, "after": {"packages": 4, "size": total}}
    assert sorted(site.cached()) == sorted(package["filename"] for package in site.packages)
    assert "epoch_1%3a2.0+b1~x_amd64.deb" in site.cached()
    site.server.heal()
    second = site.fetch()
    # The result tells of this run, not of the one that did the work.
    assert counts(second) == (4, 0, 0, 4)
    assert (second["changed"], second["rebuild_reason"]) == (False, "")
    assert site.server.requests == []


def test_the_milestones_have_the_wording_of_the_original(site: Site) -> None:
    site.fetch()
    assert [line for line in site.log() if line][:2] == [
        "Starting: not built yet",
        "Downloading packages (0/4 cached)",
    ]
    assert "Downloading packages (4/4 cached)" in site.log()
    assert site.log()[-1] == "Verified 4 packages (0 cached, 4 downloaded, 0.2 MB)"


def test_a_new_lock_fetches_what_is_new(site: Site) -> None:
    site.fetch()
    site.server.heal()
    package = site.add("beta", "1.1")
    site.lock()
    result = site.fetch()
    assert result["rebuild_reason"] == "package lock changed: beta 1.0 -> 1.1"
    assert counts(result) == (3, 1, package["size"], 4)
    assert site.server.paths() == ["/pool/beta_1.1_amd64.deb"]


def test_check_mode_decides_and_writes_nothing(site: Site) -> None:
    result = site.fetch(check_mode=True)
    assert (result["changed"], result["rebuild_reason"]) == (True, "not built yet")
    assert result["diff"]["after"]["packages"] == 4
    assert counts(result) == (0, 4, sum(package["size"] for package in site.packages), 4)
    assert not site.cache.exists()
    assert site.server.requests == []
    site.fetch()
    assert site.fetch(check_mode=True)["changed"] is False


def test_a_full_cache_is_not_changed(site: Site, tmp_path: pathlib.Path) -> None:
    site.fetch()
    stamp = pathlib.Path(site.build.join("stages", "pkg_fetch.json"))
    index = site.cache / ".verified.json"
    message = "pkg_fetch: nothing to do: all packages are in the cache, intact"
    for check_mode in (True, False):
        stamp.unlink()
        index.unlink()
        result = site.fetch(check_mode=check_mode)
        assert (result["changed"], result["msg"]) == (False, message)
        # A check leaves nothing.
        assert (stamp.exists(), index.exists()) == (not check_mode, not check_mode)
        if check_mode:
            stamp.touch()
            index.touch()
    # Another lock may have only what other images have brought.
    site.packages.pop()
    site.lock()
    assert site.fetch(check_mode=True)["changed"] is False
    assert site.fetch()["changed"] is False


def test_check_mode_tells_a_damaged_package(site: Site) -> None:
    site.fetch()
    pathlib.Path(site.build.join("stages", "pkg_fetch.json")).unlink()
    (site.cache / "beta_1.0_amd64.deb").write_bytes(b"X")
    checked = site.fetch(check_mode=True)
    assert checked["msg"] == "pkg_fetch: would build: not built yet"
    # What would be done, not what the last run did.
    assert counts(checked)[:2] == (3, 1)


@pytest.mark.parametrize("damage", ["content", "size"])
def test_a_damaged_package_is_replaced(site: Site, damage: str) -> None:
    site.fetch()
    good = site.cached()
    path = site.cache / "beta_1.0_amd64.deb"
    data = path.read_bytes()
    time.sleep(0.02)
    path.write_bytes(b"X" + data[1:] if damage == "content" else data[:10])
    result = site.fetch()
    assert counts(result)[:2] == (3, 1)
    assert site.cached() == good
    words = "its SHA-256 is" if damage == "content" else "it has 10 bytes instead of"
    assert any(
        line.startswith(f"WARN: Replacing the damaged cached package beta_1.0_amd64.deb: {words}")
        for line in site.log()
    )


def test_a_package_that_was_removed_is_fetched_again(site: Site) -> None:
    site.fetch()
    (site.cache / "beta_1.0_amd64.deb").unlink()
    result = site.fetch()
    assert result["changed"]
    assert "beta_1.0_amd64.deb is missing" in result["rebuild_reason"]
    assert site.fetch()["changed"] is False


def test_another_cache_directory_is_filled(site: Site, tmp_path: pathlib.Path) -> None:
    site.fetch()
    document = site.build.read_document("template.json")
    document["directories"]["cache_dir"] = str(tmp_path / "elsewhere")
    run_stage(Producer(site.build, "image_template_validate", "template.json", document))
    assert site.fetch()["downloaded"] == 4
    assert len(list((tmp_path / "elsewhere/pkgCache" / PROVIDER).glob("*.deb"))) == 4


def test_rebuild_always_hashes_everything(site: Site) -> None:
    site.fetch()
    site.server.heal()
    result = site.fetch(rebuild="always")
    assert counts(result) == (4, 0, 0, 4)
    assert site.server.requests == []


def test_offline_with_everything_there(site: Site) -> None:
    site.fetch()
    site.server.heal()
    assert counts(site.fetch(offline=True, rebuild="always")) == (4, 0, 0, 4)
    assert site.server.requests == []


def test_offline_names_what_is_missing(site: Site) -> None:
    site.fetch()
    site.add("delta", "3.0")
    site.lock()
    (site.cache / "beta_1.0_amd64.deb").write_bytes(b"damaged")
    before = site.cached()
    site.server.heal()
    with pytest.raises(RepositoryError) as caught:
        site.fetch(offline=True)
    assert str(caught.value) == (
        f"2 packages are missing or damaged in the package cache {site.cache}, and this is an offline run: "
        "beta 1.0 (amd64), delta 3.0 (amd64). Run os_image.composer.pkg_fetch once with offline: false, or copy the "
        "files into the cache."
    )
    assert caught.value.details["missing"] == ["beta 1.0 (amd64)", "delta 3.0 (amd64)"]
    assert site.cached() == before
    assert site.server.requests == []


def test_nothing_is_fetched_for_a_machine_that_cannot_be_emulated(server: FileServer, tmp_path: pathlib.Path) -> None:
    site = Site(server, tmp_path, {"arch": "s390x", "family": "deb", "repositories": []})
    site.add("alpha")
    site.lock()
    with pytest.raises(
        HostError, match=r"^The image is for s390x, and this build host \(\w+\) cannot run its programs"
    ):
        site.fetch()
    assert server.requests == []
    assert not site.cache.exists()


def test_a_tampered_package_is_refused_and_the_cache_stays(site: Site) -> None:
    site.fetch()
    before = site.cached()
    package = site.add("beta", "1.1")
    site.lock()
    site.server.fail("/pool/beta_1.1_amd64.deb", Fault(content=b"E" * package["size"], times=None))
    with pytest.raises(RepositoryError) as caught:
        site.fetch()
    assert f"The package beta 1.1 (amd64) could not be downloaded from {package['url']}: its content has" in str(
        caught.value
    )
    assert site.cached() == before
    stamp = site.build.stamp("pkg_fetch")
    assert stamp is not None and stamp.inputs["package lock"]["beta"] == "1.0"


def test_a_package_that_the_repository_has_replaced(site: Site) -> None:
    for path in (pathlib.Path(site.server.root) / "pool").glob("beta*"):
        path.unlink()
    with pytest.raises(RepositoryError) as caught:
        site.fetch()
    assert str(caught.value).endswith(
        "the server answers 404 Not Found. The repository has replaced this version since the lock was made: run "
        "os_image.composer.pkg_resolve again."
    )
    # The others are kept for the next run.
    assert len([name for name in site.cached() if name.endswith(".deb")]) == 3


def test_peers_come_first_and_are_not_trusted(site: Site, tmp_path: pathlib.Path) -> None:
    peer_root = tmp_path / "peer"
    (peer_root / PROVIDER).mkdir(parents=True)
    for package in site.packages:
        source = pathlib.Path(site.server.root) / "pool" / os.path.basename(package["url"])
        (peer_root / PROVIDER / package["filename"]).write_bytes(source.read_bytes())
    (peer_root / PROVIDER / "alpha_1.0_amd64.deb").write_bytes(b"E" * site.packages[0]["size"])
    (peer_root / PROVIDER / "beta_1.0_amd64.deb").unlink()
    with FileServer(peer_root) as peer:
        result = site.fetch(peer_caches=["http://127.0.0.1:9/", f"{peer.url}/"])
        asked = sorted(peer.paths())
    assert counts(result)[:2] == (0, 4)
    # The file's own name has an escaped colon, which is escaped once more in a URL.
    assert f"/{PROVIDER}/epoch_1%253a2.0%2Bb1~x_amd64.deb" in asked
    assert sorted(site.server.paths()) == ["/pool/alpha_1.0_amd64.deb", "/pool/beta_1.0_amd64.deb"]
    for package in site.packages:
        assert hashlib.sha256((site.cache / package["filename"]).read_bytes()).hexdigest() == package["sha256"]


def test_what_a_mirror_lacks_comes_from_the_next_of_its_repository(site: Site, tmp_path: pathlib.Path) -> None:
    roots = [tmp_path / name for name in ("behind", "full", "other")]
    for root in roots:
        shutil.copytree(site.server.root, root)
    shutil.rmtree(roots[0] / "pool")
    with FileServer(roots[0]) as behind, FileServer(roots[1]) as full, FileServer(roots[2]) as other:
        site.repositories = [
            {"name": "foreign", "url": other.url, "mirrors": [other.url]},
            {"name": "own", "url": site.server.url, "mirrors": ["http://127.0.0.1:9", behind.url, full.url, other.url]},
        ]
        for package in site.packages:
            package["repository"] = "own"
        (pathlib.Path(site.server.root) / "pool" / "alpha_1.0_amd64.deb").write_bytes(b"damaged")
        (pathlib.Path(site.server.root) / "pool" / "beta_1.0_amd64.deb").unlink()
        site.lock()
        assert counts(site.fetch())[:2] == (0, 4)
        assert sorted(full.paths()) == ["/pool/alpha_1.0_amd64.deb", "/pool/beta_1.0_amd64.deb"]
        assert sorted(behind.paths()) == sorted(full.paths())
        assert other.paths() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("filename", "../evil.deb"), ("filename", "/etc/evil.deb"), ("filename", ".lock"), ("sha256", "abc")],
)
def test_a_lock_that_points_elsewhere_is_refused(site: Site, field: str, value: str) -> None:
    site.packages[0][field] = value
    site.lock()
    with pytest.raises(DocumentError, match="Use a lock that os_image.composer.pkg_resolve has written"):
        site.fetch()
    assert site.server.requests == []


def test_without_a_lock_the_earlier_stage_is_named(site: Site) -> None:
    os.unlink(site.build.join("stages", "pkg_resolve.json"))
    with pytest.raises(DocumentError, match="Run the module os_image.composer.pkg_resolve for this build directory"):
        site.fetch()


def test_a_cache_that_is_being_cleaned_is_waited_for(site: Site) -> None:
    site.cache.mkdir(parents=True)
    with (
        file_lock(str(site.cache / ".lock"), what="package cache", who="cache cleaning", timeout=0),
        pytest.raises(LockedError, match=r"The package cache .* is in use by process \d+ \(cache cleaning"),
    ):
        site.fetch()


def test_an_unchanged_run_is_cheap(server: FileServer, tmp_path: pathlib.Path) -> None:
    site = Site(server, tmp_path)
    for number in range(155):
        site.add(f"package{number}", data=os.urandom(20_000))
    site.lock()
    site.fetch()
    begin = time.process_time()
    assert site.fetch()["changed"] is False
    # Measured: 0.02 s.
    assert time.process_time() - begin < 0.5


# Packages that are signed themselves


@pytest.fixture
def rpm_site(server: FileServer, tmp_path: pathlib.Path, keys: Keys) -> Site:
    """Return a site with one repository that is checked, and one that is not."""
    metadata_dir = tmp_path / "cache/pkgCache" / PROVIDER / "metadata"
    kept = pathlib.Path(kept_key(KEY_URL, [keys.archive.fingerprint], metadata_dir=str(metadata_dir)))
    kept.parent.mkdir(parents=True)
    kept.write_bytes(pathlib.Path(keys.archive.public).read_bytes())
    repositories = [
        {"name": "base", "gpgcheck": True, "keys": [KEY_URL], "fingerprints": [keys.archive.fingerprint]},
        {"name": "loose", "gpgcheck": False, "keys": [], "fingerprints": []},
    ]
    return Site(server, tmp_path, {"family": "rpm", "repositories": repositories})


KEY_URL = "https://keys.example.org/base.asc"


def test_each_package_is_checked_with_the_keys_of_its_repository(rpm_site: Site, keys: Keys) -> None:
    rpm_site.add_rpm(Rpm("good"), "base", keys.archive)
    rpm_site.add_rpm(Rpm("unsigned"), "loose", None)
    rpm_site.lock()
    assert rpm_site.fetch()["verified"] == 2
    assert "Checked the signatures of 1 packages" in rpm_site.log()
    assert not rpm_site.fetch()["changed"]


@pytest.mark.parametrize(("key", "reason"), [(None, "it is not signed"), ("stranger", "it is signed with the key")])
def test_a_package_with_another_signature_is_refused(rpm_site: Site, keys: Keys, key: str | None, reason: str) -> None:
    rpm_site.add_rpm(Rpm("good"), "base", keys.archive)
    rpm_site.add_rpm(Rpm("bad"), "base", keys.stranger if key else None)
    rpm_site.lock()
    with pytest.raises(SignatureError, match=rf"- bad 1\.0-1 \(repository base\): {reason}") as caught:
        rpm_site.fetch()
    assert "good" not in str(caught.value)


def test_an_rpm_that_the_repository_has_replaced(rpm_site: Site, keys: Keys) -> None:
    rpm_site.add_rpm(Rpm("kept"), "base", keys.archive)
    rpm_site.add_rpm(Rpm("gone"), "base", keys.archive)
    rpm_site.lock()
    for path in pathlib.Path(rpm_site.server.root).rglob("gone*.rpm"):
        path.unlink()
    with pytest.raises(RepositoryError) as caught:
        rpm_site.fetch()
    message = str(caught.value)
    assert re.search(r"gone-1\.0-1\.noarch\.rpm.* the server answers 404 Not Found\.", message)
    assert message.endswith("replaced this version since the lock was made: run os_image.composer.pkg_resolve again.")
    assert [path.name[:4] for path in (rpm_site.root / "cache").rglob("*.rpm")] == ["kept"]


def test_other_keys_are_a_reason_to_check_again(rpm_site: Site, keys: Keys) -> None:
    rpm_site.add_rpm(Rpm("good"), "base", keys.archive)
    rpm_site.lock()
    rpm_site.fetch()
    other = {"keys": [keys.archive.public], "fingerprints": [keys.stranger.fingerprint]}
    repositories = [{**rpm_site.provider["repositories"][0], **other}]
    again = Site(rpm_site.server, rpm_site.root, {"family": "rpm", "repositories": repositories})
    again.packages = rpm_site.packages
    again.lock()
    with pytest.raises(SignatureError, match="is not one of the fingerprints allowed"):
        again.fetch()
