# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Signatures of RPM packages, checked with the keys of a package's own repository and nothing else.

C(rpmkeys) verifies header and payload, with a key database of its own that lives as long as one verification; the
host's database, keyring and macros play no part. rpm takes whatever key it is given, and some of its versions neither
look at a key's expiry nor at its revocation; so GnuPG judges the keys first, and only good ones get into the database.
"""

from __future__ import annotations

import dataclasses
import os
import re
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._io import write_file
from ansible_collections.os_image.composer.plugins.module_utils._parallel import run_parallel
from ansible_collections.os_image.composer.plugins.module_utils._repository.key_bindings import weak_bindings
from ansible_collections.os_image.composer.plugins.module_utils._repository.public_keys import (
    PublicKey,
    normalised,
    read_keyring,
    read_public_keys,
)

_SHOWN = 10
# Fewer would cost more for starting the program than for the work.
_SMALLEST_BATCH = 16
_SIGNATURE = re.compile(
    r"(?P<what>[^,:]*\bsignature),? key (?:id|fingerprint):? (?P<key>[0-9a-f]+): (?P<verdict>\w+)",
    re.IGNORECASE,
)
_WEAK = re.compile(r"/(?P<digest>MD5|SHA-?1|RIPEMD160)\b", re.IGNORECASE)
_BAD = re.compile(r"\s+(?P<what>[^:]+): BAD\b")


@dataclasses.dataclass(frozen=True)
class SignedRepository:
    """A repository whose packages have to be signed.

    :ivar key_files: Paths of its public keys, armored or not.
    :ivar fingerprints: The only keys that may have signed; empty allows all in C(key_files).
    """

    name: str
    key_files: tuple[str, ...]
    fingerprints: tuple[str, ...]


#: Paths of packages by what messages call them (name and version).
Packages = t.Mapping[str, str]


class _KeyHome:
    """The usable keys of a repository in a database of their own."""

    def __init__(self, repository: SignedRepository, directory: str, *, runner: CommandRunner, now: int | None) -> None:
        self.repository = repository
        # rpm reads macros from the user's home.
        self._runner = runner.with_environment({"HOME": directory})
        self._database = os.path.join(directory, "db")
        self._rpmkeys = find_tool("rpmkeys")
        what = f"the repository {repository.name!r}"
        if not repository.key_files:
            raise SignatureError(
                f"For {what} no key is named, so the signatures of its packages cannot be checked.",
                remedy="Name its key files in the template, or set gpgcheck: false for this repository.",
            )
        keyring = read_keyring(repository.key_files, what=what)
        keys = read_public_keys(keyring, now=now)
        bindings = weak_bindings(keyring)
        pinned = normalised(repository.fingerprints)
        self._good: list[PublicKey] = []
        self._refused: dict[str, str] = {}
        for key in keys:
            # Who pins a primary key takes its subkeys as well.
            allowed = pinned if pinned and key.fingerprint not in pinned else key.fingerprints
            for fingerprint, own in key.subkeys.items():
                problem = key.problem or own
                if not problem and fingerprint not in pinned:
                    # A key that is named by its fingerprint needs nobody who vouches for it.
                    of_primary = "" if key.fingerprint in pinned else bindings.get(key.fingerprint, "")
                    problem = bindings.get(fingerprint, of_primary)
                if not problem and fingerprint not in allowed:
                    problem = f"is not one of the fingerprints allowed ({', '.join(sorted(pinned))})"
                if problem:
                    self._refused[fingerprint] = problem
            if not key.problem and allowed & key.fingerprints - self._refused.keys():
                self._good.append(key)
        if not self._good:
            reasons = "; ".join(f"the key {key.fingerprint} {self._refused[key.fingerprint]}" for key in keys)
            raise SignatureError(
                f"The signatures of the packages of {what} cannot be checked: {reasons or 'its key files are empty'}.",
                remedy="Get the present key from the repository's owner over a trusted way.",
            )
        os.mkdir(self._database)
        for number, key in enumerate(self._good):
            path = os.path.join(directory, f"{number}.asc")
            write_file(path, key.armored)
            self._run("--import", path)

    def _run(self, *arguments: str, check: bool = True) -> tuple[int, str]:
        done = self._runner.run(
            [self._rpmkeys, "--dbpath", self._database, *arguments],
            check=check,
            merge_output=True,
            what=f"Checking signatures of packages of the repository {self.repository.name!r}",
        )
        return done.rc, done.text

    def check(self, packages: t.Sequence[tuple[str, str]]) -> dict[str, str]:
        """Return what is wrong with packages, by their labels."""
        level = ("--define", "_pkgverify_level all", "--define", "_pkgverify_flags 0x0")
        rc, text = self._run(*level, "--checksig", "--verbose", *(path for _label, path in packages), check=False)
        if len(packages) > 1 and (rc or self._judge_all(packages, text)):
            # Only alone the exit status is about one package.
            return {label: problem for item in packages for label, problem in self.check([item]).items()}
        if len(packages) > 1:
            return {}
        (label, path) = packages[0]
        problem = self._judge(text, path, failed=rc != 0)
        return {label: problem} if problem else {}

    def _judge_all(self, packages: t.Sequence[tuple[str, str]], text: str) -> bool:
        """Tell whether rpm's words about several packages leave any doubt."""
        parts = re.split(r"^(?=\S)", text, flags=re.MULTILINE)
        said = {part.splitlines()[0].rstrip(":"): part for part in parts if part}
        return any(self._judge(said.get(path, ""), path, failed=False) for _label, path in packages)

    def _judge(self, text: str, path: str, *, failed: bool) -> str:
        """Return what is wrong with a package, in words that follow its name; nothing when it is good.

        :param text: What C(rpmkeys) says about it.
        """
        broken = next((match["what"] for match in map(_BAD.match, text.splitlines()) if match), None)
        if broken:
            return f"it was changed after it was signed ({_capital_less(broken)} does not match)"
        signatures = [match for match in map(_SIGNATURE.search, text.splitlines()) if match]
        problem = next(filter(None, map(self._signature_problem, signatures)), "")
        if problem:
            return problem
        if not signatures and "digest" in text.lower():
            return "it is not signed"
        if failed or not any(match["verdict"].upper() == "OK" for match in signatures):
            return _damage(text, path)
        return ""

    def _signature_problem(self, signature: re.Match[str]) -> str:
        """Return why a signature of a package does not count, in words that follow the package's name."""
        key = signature["key"].upper()
        refused = next((reason for fingerprint, reason in self._refused.items() if fingerprint.endswith(key)), None)
        if refused:
            return f"the key {key} that it is signed with {refused}"
        known = any(fingerprint.endswith(key) for good in self._good for fingerprint in good.subkeys)
        if not known or signature["verdict"].upper() == "NOKEY":
            return f"it is signed with the key {key}, which is not one of the repository's keys"
        weak = _WEAK.search(signature["what"])
        if weak:
            return f"its signature by the key {key} uses {weak['digest'].upper()}, which is broken"
        return ""


def _damage(text: str, path: str) -> str:
    """Say what rpm found wrong with a file that is no good package."""
    lines = (line.strip() for line in text.replace(path, os.path.basename(path)).splitlines())
    said = next((line for line in lines if line.startswith("error:")), "")
    return f"it is damaged, or no RPM package{f' ({said[7:]})' if said else ''}"


def verify_packages(
    packages: t.Mapping[SignedRepository, Packages],
    *,
    runner: CommandRunner,
    workers: int,
    now: int | None = None,
    temp_dir: str | None = None,
) -> int:
    """Check the signatures of packages, each with the keys of its own repository.

    :param packages: The packages of each repository; one whose signatures nobody wants to see is left out.
    :param workers: How many programs run at once, at most.
    :param now: Seconds since 1970 to check expiry dates against, instead of the clock.
    :param temp_dir: Where the key databases lie for a while.
    :returns: How many packages were checked.
    :raises SignatureError: Packages are not signed as they should be; the message names them, and why.
    """
    problems: list[str] = []
    count = 0
    with tempfile.TemporaryDirectory(prefix="os-image-composer-rpmkeys-", dir=temp_dir) as scratch:
        batches: list[tuple[_KeyHome, list[tuple[str, str]]]] = []
        at_once = max(1, min(workers, os.cpu_count() or 1))
        for number, (repository, paths) in enumerate(packages.items()):
            if not paths:
                continue
            directory = os.path.join(scratch, str(number))
            os.mkdir(directory)
            home = _KeyHome(repository, directory, runner=runner, now=now)
            # Large packages take longest, and are spread first.
            items = sorted(paths.items(), key=lambda item: -_size(item[1]))
            parts = min(at_once, -(-len(items) // _SMALLEST_BATCH))
            batches += [(home, items[part::parts]) for part in range(parts)]
            count += len(items)
        for (home, _items), found in zip(
            batches, run_parallel(lambda batch: batch[0].check(batch[1]), batches, workers=at_once)
        ):
            problems += [f"{label} (repository {home.repository.name}): {text}" for label, text in found.items()]
    if problems:
        problems.sort()
        more = f"\n- and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        what = "One package is" if len(problems) == 1 else f"{len(problems)} packages are"
        lines = "\n".join(f"- {problem}" for problem in problems[:_SHOWN])
        raise SignatureError(
            f"{what} not signed as the repository demands:\n{lines}{more}",
            remedy="Do not install them. Use another mirror; if the repository has changed its keys, get the new key "
            "from its owner over a trusted way.",
            details={"packages": problems},
        )
    return count


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _capital_less(text: str) -> str:
    return text[:1].lower() + text[1:]


__all__ = ("Packages", "SignedRepository", "verify_packages")
