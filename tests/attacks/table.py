# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The attacks on repositories that The Update Framework lists, each in one or more ways, tried on a build host.

See https://theupdateframework.io/docs/security/. An attack is warded off when the build host refuses in good time, with
the words that belong to it, or when it does what it would have done without the attack.
"""

from __future__ import annotations

import dataclasses
import gzip
import pathlib
import re
import shutil
import tempfile
import typing as t

from ansible_collections.os_image.composer.tests.attacks.archive import Archive, DebArchive, RpmArchive
from ansible_collections.os_image.composer.tests.attacks.build_host import Accepted, BuildHost
from ansible_collections.os_image.composer.tests.support.http_server import Fault, FileServer
from ansible_collections.os_image.composer.tests.support.signing_keys import Keys

FAMILIES: t.Mapping[str, t.Type[Archive]] = {"deb": DebArchive, "rpm": RpmArchive}
_DAY = 86400


@dataclasses.dataclass(frozen=True)
class Attack:
    """One way to attack.

    :ivar name: The name that The Update Framework has for the attack.
    :ivar way: What the attacker does.
    :ivar words: What the refusal says, as a regular expression; empty where nothing has to be refused.
    :ivar run: Attacks, and returns the refusal.
    :ivar families: The package families that it is about.
    :ivar short: Whether it is tried in each C(make test).
    """

    name: str
    way: str
    words: str
    run: t.Callable[[BuildHost], str]
    families: t.Tuple[str, ...]
    short: bool


ATTACKS: t.List[Attack] = []

Run = t.Callable[[BuildHost], str]


def _attack(
    name: str, way: str, words: str, *, families: t.Tuple[str, ...] = ("deb", "rpm"), short: bool = False
) -> t.Callable[[Run], Run]:
    def add(run: Run) -> Run:
        ATTACKS.append(Attack(name, way, words, run, families, short))
        return run

    return add


def _unharmed(host: BuildHost, expected: t.Mapping[str, str]) -> str:
    found = host.build()
    if found != expected:
        raise Accepted(f"an image with {found} was built")
    return ""


_IMAGE = {"base": "1.0", "app": "1.0", "lib": "1.0"}


# ---- arbitrary installation: the attacker's own package


@_attack("arbitrary installation", "metadata signed by somebody else", "not one of the repository's keys", short=True)
def _other_signer(host: BuildHost) -> str:
    host.archive.publish(host.keys.stranger, date=host.now)
    return host.refused()


@_attack("arbitrary installation", "metadata without a signature", "is not signed")
def _unsigned(host: BuildHost) -> str:
    host.archive.publish(None, date=host.now)
    return host.refused()


@_attack("arbitrary installation", "signed metadata that was changed", "was changed after it was signed|does not match")
def _changed_document(host: BuildHost) -> str:
    path = pathlib.Path(host.archive.file(host.archive.document))
    path.write_bytes(path.read_bytes().replace(b"lib", b"lob").replace(b"gz", b"xz", 1))
    return host.refused()


@_attack("arbitrary installation", "another package index", "its content has the SHA-256|bytes, but .* are demanded")
def _changed_index(host: BuildHost) -> str:
    path = pathlib.Path(host.archive.file(host.archive.index))
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"app", b"evl"), mtime=0))
    return host.refused()


@_attack("arbitrary installation", "another package of the same size", "its content has the SHA-256", short=True)
def _changed_package(host: BuildHost) -> str:
    path = pathlib.Path(host.archive.file(host.archive.package("lib")))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    return host.refused()


@_attack("arbitrary installation", "a package that is not signed", "it is not signed", families=("rpm",))
def _unsigned_package(host: BuildHost) -> str:
    host.archive.add("lib", "2.0", key=None)
    host.publish(age=60)
    return host.refused()


# ---- endless data


@_attack("endless data", "a signed document without an end", "more than the [0-9]+ bytes that such a document may have")
def _endless_document(host: BuildHost) -> str:
    host.server.fail(host.archive.document, Fault(endless=True, piece=1 << 20, times=None))
    return host.refused()


@_attack(
    "endless data", "a package index without an end", "sends more than the [0-9]+ bytes that are demanded", short=True
)
def _endless_index(host: BuildHost) -> str:
    host.server.fail(host.archive.index, Fault(endless=True, piece=1 << 20, times=None))
    return host.refused()


@_attack("endless data", "a package without an end", "sends more than the [0-9]+ bytes that are demanded")
def _endless_package(host: BuildHost) -> str:
    host.server.fail(host.archive.package("lib"), Fault(endless=True, piece=1 << 20, times=None))
    return host.refused()


# ---- extraneous dependencies


@_attack("extraneous dependencies", "a dependency more in the index", "SHA-256|bytes, but .* are demanded", short=True)
def _extra_dependency(host: BuildHost) -> str:
    path = pathlib.Path(host.archive.file(host.archive.index))
    text = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(re.sub(rb"(Depends: |name=\")lib", rb"\1evil", text), mtime=0))
    return host.refused()


@_attack("extraneous dependencies", "a vendor's package that calls itself essential", "", families=("deb",))
def _essential_of_a_vendor(host: BuildHost) -> str:
    host.vendor.add("evil", key=host.keys.stranger, essential=True)
    host.vendor.publish(host.keys.stranger, date=host.now - 60)
    host.add_vendor()
    return _unharmed(host, _IMAGE)


@_attack("extraneous dependencies", "a vendor's package that provides what others need", "")
def _provider_of_a_vendor(host: BuildHost) -> str:
    host.vendor.add("aaa", "9.0", key=host.keys.stranger, provides="lib")
    host.vendor.publish(host.keys.stranger, date=host.now - 60)
    host.add_vendor(priority=990)
    return _unharmed(host, _IMAGE)


# ---- fast-forward


@_attack("fast-forward", "metadata of tomorrow", "lies in the future", short=True)
def _of_tomorrow(host: BuildHost) -> str:
    host.archive.publish(host.keys.archive, date=host.now + _DAY)
    return host.refused()


@_attack("fast-forward", "metadata dated half an hour ahead, so that all that follows seems old", "")
def _ahead(host: BuildHost) -> str:
    host.archive.publish(host.keys.archive, date=host.now + 1800)
    host.build()
    host.update()
    return _unharmed(host, {**_IMAGE, "lib": "2.0"})


# ---- indefinite freeze


@_attack("indefinite freeze", "metadata that has expired", "has expired: it was valid until", families=("deb",))
def _expired(host: BuildHost) -> str:
    host.publish(age=5 * _DAY, valid_until=host.now - 60)
    return host.refused()


@_attack("indefinite freeze", "metadata older than maxAge", "is 9 days old, and more than 7 are not taken", short=True)
def _aged(host: BuildHost) -> str:
    host.publish(age=9 * _DAY)
    host.repositories[0]["max_age"] = 7
    return host.refused()


# ---- malicious mirrors


@_attack("malicious mirrors", "a mirror that is always busy", "the server answers 503 Service Unavailable", short=True)
def _busy(host: BuildHost) -> str:
    host.server.fail("*", Fault(status=503, headers={"Retry-After": "100"}, times=None))
    return host.refused()


@_attack("malicious mirrors", "a mirror that is busy for a day", "wants no further request for 86400 s")
def _busy_for_a_day(host: BuildHost) -> str:
    host.server.fail("*", Fault(status=503, headers={"Retry-After": "86400"}, times=None))
    return host.refused()


@_attack("malicious mirrors", "a mirror that redirects in circles", "redirects in circles")
def _circles(host: BuildHost) -> str:
    place = f"{host.server.url}{host.archive.document}"
    host.server.fail(host.archive.document, Fault(status=302, headers={"Location": place}, times=None))
    return host.refused()


@_attack("malicious mirrors", "a mirror that redirects to a file of the build host", "not a URL that can be fetched")
def _to_a_file(host: BuildHost) -> str:
    place = f"file://{host.archive.file(host.archive.document)}"
    host.server.fail(host.archive.document, Fault(status=302, headers={"Location": place}, times=None))
    return host.refused()


@_attack("malicious mirrors", "a mirror that withholds a package", "The repository has replaced this version since")
def _withheld(host: BuildHost) -> str:
    pathlib.Path(host.archive.file(host.archive.package("lib"))).unlink()
    return host.refused()


@_attack("malicious mirrors", "a mirror that hangs up", "could not be downloaded")
def _hangs_up(host: BuildHost) -> str:
    host.server.fail(host.archive.index, Fault(reset=True, times=None))
    return host.refused()


# ---- mix-and-match


@_attack(
    "mix-and-match",
    "the package index of yesterday",
    "its content has the SHA-256|bytes, but .* are demanded",
    short=True,
)
def _old_index(host: BuildHost) -> str:
    before = pathlib.Path(host.archive.file(host.archive.index)).read_bytes()
    host.update()
    pathlib.Path(host.archive.file(host.archive.index)).write_bytes(before)
    return host.refused()


@_attack(
    "mix-and-match",
    "newer metadata of another repository, by the same key",
    "is that of another repository",
    short=True,
)
def _other_identity(host: BuildHost) -> str:
    host.publish(identity="ours")
    host.build()
    host.publish(age=60, identity="theirs")
    return host.refused()


@_attack(
    "mix-and-match",
    "what another repository of the same key has today",
    "this build host knows it as that of the",
    families=("rpm",),
)
def _other_repository(host: BuildHost) -> str:
    host.vendor.add("other", key=host.keys.archive)
    host.vendor.publish(host.keys.archive, date=host.now - 600)
    key = host.keys.archive
    host.add_vendor(keys=[key.public], fingerprints=[key.fingerprint])
    host.build()
    shutil.rmtree(host.archive.metadata)
    shutil.copytree(host.vendor.metadata, host.archive.metadata)
    return host.refused()


# ---- rollback


@_attack("rollback", "metadata of yesterday", "it is too old", short=True)
def _rollback(host: BuildHost) -> str:
    host.archive.save(host.path("yesterday"))
    host.update()
    host.build()
    host.archive.restore(host.path("yesterday"))
    return host.refused()


@_attack("rollback", "metadata of yesterday, at another spelling of the URL", "it is too old")
def _rollback_elsewhere(host: BuildHost) -> str:
    host.archive.save(host.path("yesterday"))
    host.update()
    host.build()
    host.archive.restore(host.path("yesterday"))
    host.repositories[0].update(url=host.repositories[0]["url"].replace("http:", "HTTP:") + "//", name="renamed")
    return host.refused()


@_attack("rollback", "metadata of yesterday, at another mirror", "it is too old")
def _rollback_at_another_mirror(host: BuildHost) -> str:
    host.archive.save(host.path("yesterday"))
    host.update()
    host.build()
    host.archive.restore(host.path("yesterday"))
    host.repositories[0]["url"] = host.repositories[0]["url"].replace("127.0.0.1", "localhost")
    return host.refused()


@_attack(
    "rollback", "metadata of yesterday, after the memory was damaged", "Without it, old metadata would pass for new"
)
def _rollback_with_a_damaged_memory(host: BuildHost) -> str:
    host.build()
    for path in pathlib.Path(host.path("cache")).rglob("seen/*.json"):
        path.write_bytes(path.read_bytes()[:20])
    return host.refused()


# ---- slow retrieval


def _slow(path: t.Callable[[BuildHost], str], fault: t.Callable[[], Fault]) -> Run:
    def run(host: BuildHost) -> str:
        host.server.fail(path(host), fault())
        return host.refused()

    return run


_TOO_SLOW = "sends less than 20000 bytes per second|not there within the time"
for _what, _path in (
    ("a signed document", lambda host: host.archive.document),
    ("a package index", lambda host: host.archive.index),
    ("a package", lambda host: host.archive.package("lib")),
):
    _attack("slow retrieval", f"{_what}, a byte now and then", _TOO_SLOW, short=_what == "a package index")(
        _slow(_path, lambda: Fault(pace=0.2, piece=1, times=None))
    )
    _attack("slow retrieval", f"{_what}, the head of the answer byte by byte", "not there within the time")(
        _slow(_path, lambda: Fault(head_pace=0.2, times=None))
    )
    _attack(
        "slow retrieval", f"{_what}, hardly faster than what is too slow", "not there within the time|more than the"
    )(_slow(_path, lambda: Fault(endless=True, pace=0.2, piece=6000, content=b"", times=None)))


# ---- vulnerability to key compromise


@_attack(
    "vulnerability to key compromise",
    "the key of a vendor signs for the distribution",
    "not one of the repository's keys",
)
def _key_of_another(host: BuildHost) -> str:
    host.vendor.publish(host.keys.stranger, date=host.now - 60)
    host.add_vendor()
    host.archive.publish(host.keys.stranger, date=host.now - 60)
    return host.refused()


@_attack("vulnerability to key compromise", "the key of a vendor brings another base package", "", short=True)
def _base_of_a_vendor(host: BuildHost) -> str:
    for name in ("base", "lib"):
        host.vendor.add(name, "99.0", key=host.keys.stranger, essential=True)
    host.vendor.publish(host.keys.stranger, date=host.now - 60)
    host.add_vendor(priority=990)
    return _unharmed(host, _IMAGE)


@_attack("vulnerability to key compromise", "a key that has expired", "has expired on 2021-05-31", short=True)
def _expired_key(host: BuildHost) -> str:
    key = host.keys.expired
    host.archive.publish(key, date=host.now - 60, when=Keys.before_expiry)
    host.repositories[0].update(keys=[key.public], fingerprints=[key.fingerprint])
    return host.refused()


@_attack("vulnerability to key compromise", "a key that was revoked", "was revoked")
def _revoked_key(host: BuildHost) -> str:
    key = host.keys.ring.make_key(f"{host.archive.family} of a thief", when=host.now - _DAY)
    host.archive.publish(key, date=host.now - 60)
    host.repositories[0].update(keys=[host.keys.ring.revoke(key).public], fingerprints=[key.fingerprint])
    return host.refused()


@_attack(
    "vulnerability to key compromise", "a key that can be broken", "RSA key of 1024 bits, and fewer than 2048 can be"
)
def _weak_key(host: BuildHost) -> str:
    key = host.keys.ring.make_key(f"{host.archive.family} of 1024 bits", algorithm="rsa1024")
    host.archive.publish(key, date=host.now - 60)
    host.repositories[0].update(keys=[key.public], fingerprints=[key.fingerprint])
    return host.refused()


# ---- wrong software installation


@_attack(
    "wrong software installation",
    "another package of the same distribution",
    "SHA-256|bytes, but .* are demanded",
    short=True,
)
def _other_package(host: BuildHost) -> str:
    shutil.copyfile(host.archive.file(host.archive.package("app")), host.archive.file(host.archive.package("lib")))
    return host.refused()


@_attack("wrong software installation", "an older version of the same package", "SHA-256|bytes, but .* are demanded")
def _older_package(host: BuildHost) -> str:
    host.update()
    old, new = (host.archive.file(host.archive.package("lib", version)) for version in ("1.0", "2.0"))
    shutil.copyfile(old, new)
    return host.refused()


@_attack(
    "wrong software installation",
    "another suite of the same distribution",
    "but stable was asked for",
    families=("deb",),
)
def _other_suite(host: BuildHost) -> str:
    path = pathlib.Path(host.archive.file(host.archive.document))
    release = path.read_bytes().partition(b"\n\n")[2].partition(b"-----BEGIN PGP SIGNATURE")[0]
    path.write_bytes(host.keys.archive.clearsign(release.replace(b": stable\n", b": testing\n")))
    return host.refused()


# ---- trying


class Ground:
    """Where attacks are tried: honest repositories of both families, made once and copied for each attack.

    :param directory: An empty directory.
    """

    def __init__(self, keys: Keys, directory: pathlib.Path) -> None:
        self._keys = keys
        self._directory = directory

    def _honest(self, family: str) -> pathlib.Path:
        root = self._directory / f"honest-{family}"
        if not root.exists():
            archive = FAMILIES[family](str(root), "/base")
            archive.add("base", key=self._keys.archive, essential=True)
            archive.add("app", key=self._keys.archive, needs="lib")
            archive.add("lib", key=self._keys.archive)
        return root

    def try_out(self, attack: Attack, family: str) -> str:
        """Try an attack; return what the user reads.

        :raises Accepted: It has succeeded.
        """
        directory = pathlib.Path(tempfile.mkdtemp(dir=self._directory))
        try:
            root = directory / "served"
            shutil.copytree(self._honest(family), root)
            with FileServer(root) as server:
                kind = FAMILIES[family]
                archive, vendor = kind(str(root), "/base"), kind(str(root), "/vendor")
                host = BuildHost(archive, vendor, server=server, keys=self._keys, directory=directory)
                host.publish()
                message = attack.run(host)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        if not re.search(attack.words, message):
            raise Accepted(f"it was refused for another reason: {message}")
        return message


__all__ = ("ATTACKS", "FAMILIES", "Attack", "Ground")
