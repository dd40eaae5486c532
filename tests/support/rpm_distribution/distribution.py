# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Composer Linux: an RPM distribution for tests, made of packages of Debian 13 from the build host's own mirror.

Nothing of it is mocked: rpmbuild makes the packages, rpmsign signs them, createrepo_c indexes them. What is built lies
in C(.cache/rpm-distribution/{digest}/) and is made anew when its inputs have changed: the packages of Debian, or this
program. C(current) links to the one that was used last; others go once no process uses them.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t

from ansible_collections.os_image.composer.tests.support.http_server import FileServer
from ansible_collections.os_image.composer.tests.support.rpm_distribution import debian_package, relations, rpm_package
from ansible_collections.os_image.composer.tests.support.rpm_distribution.catalogue import (
    CHANGES,
    DIRECTORIES,
    kernel_change,
    own_packages,
)
from ansible_collections.os_image.composer.tests.support.rpm_distribution.debian_package import Control, read_control
from ansible_collections.os_image.composer.tests.support.rpm_distribution.names import (
    DROPPED,
    KERNEL,
    WANTED,
    WANTED_APART,
    rpm_name,
)
from ansible_collections.os_image.composer.tests.support.rpm_distribution.relations import (
    Translator,
    parse,
    split_version,
)
from ansible_collections.os_image.composer.tests.support.rpm_distribution.rpm_package import Change, Plan, build
from ansible_collections.os_image.composer.tests.support.signing_keys import KeyRing
from ansible_collections.os_image.composer.tests.support.stage_driver import ROOT, Pipeline

CACHE = os.path.join(ROOT, ".cache", "rpm-distribution")

_TEMPLATE: t.Mapping[str, t.Any] = {
    "image": {"name": "rpm-distribution", "version": "1"},
    "target": {"os": "debian", "dist": "debian13", "arch": "x86_64", "imageType": "raw"},
    # The kernel of clouds is smaller, and another daemon may have the time.
    "remove": {"packages": ["linux-*", "systemd-timesyncd"], "services": ["systemd-timesyncd.service"]},
}
_WORKERS = 2

# Descriptors by directory, which hold a lock for as long as this process runs.
_IN_USE: dict[str, int] = {}


@dataclasses.dataclass(frozen=True)
class RpmDistribution:
    """A finished distribution.

    :ivar directory: What is served: C(packages/), C(repodata/) and C(key.asc).
    :ivar fingerprint: The fingerprint of the key that signs packages and repository.
    """

    directory: str
    fingerprint: str

    @property
    def key(self) -> str:
        """Path of the public key."""
        return os.path.join(self.directory, "key.asc")

    @property
    def secret_key(self) -> str:
        """Path of the secret key, for tests that change the repository and sign it again."""
        return os.path.join(self.directory, "secret-key.asc")

    def packages(self) -> list[str]:
        """Return the paths of all packages."""
        folder = os.path.join(self.directory, "packages")
        return sorted(os.path.join(folder, name) for name in os.listdir(folder))

    def serve(self) -> FileServer:
        """Return a server of the distribution; its C(url) is that of the repository."""
        return FileServer(self.directory)


def rpm_distribution() -> RpmDistribution:
    """Return the distribution; it is built when there is none yet for what is in the mirror today."""
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        plans = plan_distribution(fetch_debian_packages())
        builder = _builder()
        digests = {plan.name: plan.digest(builder) for plan in plans}
        digest = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()[:16]
        directory = os.path.join(CACHE, digest)
        if not os.path.isdir(directory):
            with tempfile.TemporaryDirectory(prefix="new-", dir=CACHE) as new:
                _build_all(plans, digests, new)
                _sign_and_index(new)
                os.chmod(new, 0o755)
                shutil.rmtree(directory + ".part", ignore_errors=True)
                shutil.copytree(new, directory + ".part", copy_function=os.link)
                os.rename(directory + ".part", directory)
        _point("current", digest)
        _use(directory)
        _forget_old(digest, digests.values())
        with open(os.path.join(directory, "fingerprint"), encoding="utf-8") as stream:
            return RpmDistribution(directory, stream.read().strip())


def fetch_debian_packages() -> dict[str, str]:
    """Fetch the packages of Debian by the stages themselves.

    :returns: Their paths, with their SHA-256.
    """
    found: dict[str, str] = {}
    for name, wanted in (("all", WANTED), ("apart", WANTED_APART)):
        directory = os.path.join(CACHE, "debian", name)
        os.makedirs(directory, exist_ok=True)
        template = {
            **_TEMPLATE,
            "systemConfig": {"name": "rpm-distribution", "packages": list(wanted), "kernel": {"packages": [KERNEL]}},
        }
        # As JSON, which is YAML as well.
        with open(os.path.join(directory, "template.yml"), "w", encoding="utf-8") as stream:
            json.dump(template, stream)
        cache_dir = os.path.join(ROOT, ".cache", "packages")
        pipeline = Pipeline(
            template=os.path.join(directory, "template.yml"),
            work_dir=os.path.join(directory, "work"),
            cache_dir=cache_dir,
            output_dir=os.path.join(directory, "output"),
        )
        runs = pipeline.run(until="pkg_fetch")
        build_dir = str(runs["image_template_validate"].result["build_dir"])
        with open(os.path.join(build_dir, "packages.lock.json"), encoding="utf-8") as stream:
            lock = json.load(stream)
        folder = os.path.join(cache_dir, "pkgCache", lock["provider_id"])
        found.update({os.path.join(folder, entry["filename"]): entry["sha256"] for entry in lock["packages"]})
    return found


def plan_distribution(debs: t.Mapping[str, str]) -> list[Plan]:
    """Decide what the distribution consists of.

    :param debs: Paths of Debian packages, with their SHA-256.
    """
    controls = {path: read_control(path) for path in debs}
    kept = {path: control for path, control in controls.items() if control.fields["Package"] not in DROPPED}
    names = {control.fields["Package"]: rpm_name(control.fields["Package"]) for control in kept.values()}
    if len(set(names.values())) != len(names):
        doubled = sorted(name for name in names.values() if list(names.values()).count(name) > 1)
        raise ValueError(f"several packages of Debian would be called {', '.join(sorted(set(doubled)))}")
    virtual: dict[str, bool] = {}
    dropped = set(DROPPED)
    for path, control in controls.items():
        for group in parse(control.fields.get("Provides", "")):
            for relation in group:
                if path not in kept:
                    dropped.add(relation.name)
                else:
                    virtual[relation.name] = virtual.get(relation.name, False) or bool(relation.version)
    translator = Translator(names, virtual, dropped)
    plans = {plan.name: plan for plan in own_packages()}
    for path, control in kept.items():
        plan = _plan(path, debs[path], control, translator)
        plans[plan.name] = plan
    roots = {names[name] for name in (*WANTED, *WANTED_APART) if name in names} | {"kernel"}
    return [plans[name] for name in sorted(_needed(plans, roots | {plan.name for plan in own_packages()}))]


def _plan(path: str, digest: str, control: Control, translator: Translator) -> Plan:
    fields = control.fields
    name = translator.names[fields["Package"]]
    epoch, version, release = split_version(fields["Version"])
    change = CHANGES.get(name, Change())
    if name == "kernel":
        change = kernel_change(fields["Package"].removeprefix("linux-image-"))
    broken = [fields.get(field, "") for field in ("Conflicts", "Breaks")]
    return Plan(
        name=name,
        epoch=epoch,
        version=version,
        release=release,
        arch={"amd64": "x86_64", "all": "noarch"}[fields["Architecture"]],
        summary=control.summary,
        description=control.description,
        url=fields.get("Homepage", ""),
        requires=translator.requires(fields.get("Depends", "")),
        requires_pre=["filesystem", *translator.requires(fields.get("Pre-Depends", ""))],
        recommends=translator.weak(fields.get("Recommends", "")),
        suggests=translator.weak(fields.get("Suggests", "")),
        provides=translator.provides(fields.get("Provides", ""), own=name),
        conflicts=translator.conflicts(broken, own=name),
        obsoletes=translator.obsoletes(fields.get("Replaces", ""), broken, own=name),
        deb=path,
        deb_digest=digest,
        conffiles=control.conffiles,
        change=change,
        foreign_directories=DIRECTORIES,
        # Its thousands of modules depend on nothing that rpmbuild could find.
        auto=name != "kernel",
    )


def _needed(plans: t.Mapping[str, Plan], roots: t.Iterable[str]) -> set[str]:
    """Return what the roots need; of alternatives all, so that there is something to choose."""
    providers: dict[str, set[str]] = {}
    for plan in plans.values():
        for word in (plan.name, *plan.provides, *plan.change.provides):
            providers.setdefault(word.split()[0], set()).add(plan.name)
    found: set[str] = set()
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        plan = plans[name]
        for requirement in (
            *(*plan.requires, *plan.requires_pre),
            *(*plan.change.requires, *plan.change.requires_pre),
        ):
            for word in requirement.strip("()").split(" or "):
                todo.extend(providers[word.split()[0]])
    return found


def _builder() -> str:
    """Return what stands for this program and rpmbuild in digests."""
    summed = hashlib.sha256(subprocess.run(["rpmbuild", "--version"], capture_output=True, check=True).stdout)
    for module in (debian_package, relations, rpm_package):
        with open(str(module.__file__), "rb") as stream:
            summed.update(stream.read())
    return summed.hexdigest()


def _build_all(plans: t.Sequence[Plan], digests: t.Mapping[str, str], directory: str) -> None:
    """Put all packages into a directory, unsigned; those that were built before are taken from the cache."""
    folder = os.path.join(directory, "packages")
    os.makedirs(os.path.join(CACHE, "unsigned"), exist_ok=True)
    os.makedirs(folder)

    def provide(plan: Plan) -> None:
        cached = _unsigned(digests[plan.name])
        if not os.path.exists(cached):
            build(plan, cached)
        shutil.copyfile(cached, os.path.join(folder, plan.filename))

    # The big ones first, so that no worker ends with one of them alone.
    order = sorted(plans, key=lambda plan: -os.path.getsize(plan.deb) if plan.deb else 0)
    with concurrent.futures.ThreadPoolExecutor(_WORKERS) as pool:
        jobs = [pool.submit(provide, plan) for plan in order]
        failures = [str(job.exception()) for job in concurrent.futures.as_completed(jobs) if job.exception()]
    if failures:
        raise RuntimeError("\n".join(failures))


def _unsigned(digest: str) -> str:
    return os.path.join(CACHE, "unsigned", f"{digest}.rpm")


def unsigned_package(plan: Plan) -> str:
    """Return the path of a package of the distribution as it was before it was signed."""
    return _unsigned(plan.digest(_builder()))


def _sign_and_index(directory: str) -> None:
    with KeyRing() as ring:
        key = ring.make_key("Composer Linux (throw-away) <nobody@composer.invalid>", algorithm="rsa3072")
        folder = os.path.join(directory, "packages")
        subprocess.run(
            ["rpmsign", "--addsign", "--define", "__gpg /usr/bin/gpg", "--define", f"_gpg_path {ring.home}"]
            + ["--define", f"_gpg_name {key.fingerprint}"]
            + sorted(os.path.join(folder, name) for name in os.listdir(folder)),
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": ring.home, "GPG_TTY": "none"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        revision = str(int(time.time()))
        subprocess.run(
            ["createrepo_c", "--quiet", "--no-database", "--revision", revision, "--set-timestamp-to-revision"]
            + ["--simple-md-filenames", directory],
            check=True,
            capture_output=True,
        )
        repomd = os.path.join(directory, "repodata", "repomd.xml")
        with open(repomd, "rb") as stream:
            signature = key.detach(stream.read())
        _write(f"{repomd}.asc", signature)
        with open(key.public, "rb") as stream:
            _write(os.path.join(directory, "key.asc"), stream.read())
        _write(os.path.join(directory, "fingerprint"), f"{key.fingerprint}\n".encode())
        secret = ring.gpg("--armor", "--export-secret-keys", key.fingerprint)
        _write(os.path.join(directory, "secret-key.asc"), secret, mode=0o600)


def _write(path: str, data: bytes, *, mode: int = 0o644) -> None:
    with open(path, "wb") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(data)


def _point(name: str, target: str) -> None:
    link = os.path.join(CACHE, name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(link + ".new")
    os.symlink(target, link + ".new")
    os.replace(link + ".new", link)


def _use(directory: str) -> None:
    """Keep a distribution from being removed by others for as long as this process runs."""
    if directory not in _IN_USE:
        _IN_USE[directory] = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(_IN_USE[directory], fcntl.LOCK_SH)


def _forget_old(digest: str, digests: t.Collection[str]) -> None:
    """Remove other distributions that nobody uses, and packages that are in none."""
    kept = {digest, "current", "debian", "lock", "unsigned"}
    for entry in list(os.scandir(CACHE)):
        if entry.name in kept or not entry.is_dir(follow_symlinks=False):
            continue
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # Nobody begins to use it now: that needs the lock of the whole cache.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(entry.path)
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)
    for name in os.listdir(os.path.join(CACHE, "unsigned")):
        path = os.path.join(CACHE, "unsigned", name)
        if name.removesuffix(".rpm") not in digests and os.path.getmtime(path) < time.time() - 86400:
            os.unlink(path) if os.path.isfile(path) else shutil.rmtree(path)


def main() -> None:
    """Build the distribution, and say what it is."""
    started = time.monotonic()
    distribution = rpm_distribution()
    times = os.times()
    packages = distribution.packages()
    size = sum(os.path.getsize(path) for path in packages) >> 20
    cpu = times.user + times.system + times.children_user + times.children_system
    print(f"{distribution.directory}: {len(packages)} packages, {size} MiB, signed by {distribution.fingerprint}")
    print(f"{time.monotonic() - started:.1f} s wall, {cpu:.1f} s cpu", file=sys.stderr)


if __name__ == "__main__":
    main()

__all__ = (
    "CACHE",
    "RpmDistribution",
    "fetch_debian_packages",
    "plan_distribution",
    "rpm_distribution",
    "unsigned_package",
)
