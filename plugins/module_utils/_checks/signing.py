# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The keys that the build signs with."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._bootloader import SYSTEMD_BOOT
from ansible_collections.os_image.composer.plugins.module_utils._checks.boot import starts_by_shim_grub
from ansible_collections.os_image.composer.plugins.module_utils._signing.boot_chain import template_problem
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping, Path
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Bootloader, Kernel, Signing
from ansible_collections.os_image.composer.plugins.module_utils._template.references import is_token_key
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, Subject

SUBJECT = Subject("Signing")

_SECURE_BOOT: Path = ("systemConfig", "signing", "secureBoot")


def _private_keys(template: LocatedMapping) -> t.Iterator[t.Tuple[Path, str]]:
    for name in ("secureBoot", "checksums"):
        section = template["systemConfig"]["signing"].get(name)
        if section and "key" in section and not is_token_key(section["key"]):
            yield ("systemConfig", "signing", name, "key"), section["key"]


@SUBJECT.rule(
    "systemConfig.immutability",
    "systemConfig.signing",
    "systemConfig.kernel",
    "systemConfig.bootloader",
    example="""
    systemConfig:
      signing:
        secureBoot: {key: keys/db.key, certificate: keys/db.crt}
    """,
)
def keys_protect_the_boot_chain(template: LocatedMapping) -> t.Iterator[Finding]:
    """What Secure Boot keys sign is all that is booted."""
    system = template["systemConfig"]
    problem = template_problem(
        Signing.from_data(system["signing"]),
        Bootloader.from_data(system["bootloader"]),
        Kernel.from_data(system["kernel"]),
    )
    if problem:
        named = [word for word in ("key", "certificate", "generate") if word in system["signing"]["secureBoot"]]
        yield (*_SECURE_BOOT, *named[:1]), problem


@SUBJECT.rule(
    "systemConfig.immutability",
    "systemConfig.signing",
    example="""
    systemConfig:
      kernel:
        uki: true
      signing:
        secureBoot: {key: keys/db.key}
    """,
)
def keys_are_whole(template: LocatedMapping) -> t.Iterator[Finding]:
    """Keys for Secure Boot are a certificate with its key, a certificate whose key another host has, or generated."""
    keys = template["systemConfig"]["signing"].get("secureBoot")
    if keys is None:
        return
    named = [word for word in ("key", "certificate", "certificateDer") if word in keys]
    if keys.get("generate"):
        if named:
            yield (
                (*_SECURE_BOOT, named[0]),
                f"generate makes keys for tests, but {named[0]} names one. Remove one of the two.",
            )
        return
    if "certificate" not in keys:
        yield (
            _SECURE_BOOT,
            "No certificate says whose signature machines shall trust. Give certificate with key, or generate: true "
            "for a test.",
        )
    if "pin-value" in keys.get("key", ""):
        yield (
            (*_SECURE_BOOT, "key"),
            "The PIN of a token would be in documents and logs. Remove pin-value, and give the PIN by the option "
            "secure_boot_passphrase (of the role: image_build_secure_boot_passphrase).",
        )
    if "enrol" in keys and "key" not in keys:
        yield (
            (*_SECURE_BOOT, "enrol"),
            "What firmware enrols is signed with the key, which another host has. Remove enrol, and enrol the "
            "published certificate by hand, or give key.",
        )


@SUBJECT.rule(
    "systemConfig.immutability",
    "systemConfig.signing",
    "systemConfig.kernel",
    "systemConfig.bootloader",
    example="""
    systemConfig:
      bootloader:
        provider: grub
      kernel:
        uki: true
      signing:
        secureBoot: {key: keys/db.key, certificate: keys/db.crt, enrol: force}
    """,
)
def keys_are_enrolled_by_systemd_boot(template: LocatedMapping) -> t.Iterator[Finding]:
    """GRUB enrols no keys."""
    if starts_by_shim_grub(template) and "enrol" in template["systemConfig"]["signing"]["secureBoot"]:
        yield (
            (*_SECURE_BOOT, "enrol"),
            f"GRUB enrols no keys. Remove enrol, and enrol the published files by hand, or use bootloader.provider: "
            f"{SYSTEMD_BOOT}.",
        )


@SUBJECT.advice(
    "systemConfig.immutability",
    "systemConfig.signing",
    example="""
    systemConfig:
      kernel:
        uki: true
      signing:
        secureBoot: {generate: true}
    """,
)
def generated_keys_are_for_tests(template: LocatedMapping) -> t.Iterator[Finding]:
    """Generated keys protect nothing: they lie in the work directory."""
    if template["systemConfig"]["signing"].get("secureBoot", {}).get("generate"):
        yield (
            (*_SECURE_BOOT, "generate"),
            "The boot chain is signed with keys for tests, which lie in the work directory. Name keys of your own for "
            "machines that matter.",
        )


@SUBJECT.rule(
    "systemConfig.immutability",
    "systemConfig.signing",
    "systemConfig.additionalFiles",
    example="""
    systemConfig:
      kernel:
        uki: true
      signing:
        secureBoot: {key: keys/db.key, certificate: keys/db.crt}
      additionalFiles:
        - {local: keys/db.key, final: /etc/keys/db.key}
    """,
)
def private_keys_stay_out_of_the_image(template: LocatedMapping) -> t.Iterator[Finding]:
    """The keys that sign an image are not in it."""
    secrets = {name for _path, name in _private_keys(template)}
    for index, item in enumerate(template["systemConfig"]["additionalFiles"]):
        if item["local"] in secrets:
            yield (
                ("systemConfig", "additionalFiles", index, "local"),
                "This is a private key that the build signs with: whoever has the image could sign as you. "
                "Remove the file.",
            )


@SUBJECT.rule(
    "systemConfig.immutability",
    "systemConfig.signing",
    example="""
    systemConfig:
      kernel:
        uki: true
      signing:
        secureBoot: {key: keys/signing.key, certificate: keys/db.crt}
        checksums: {key: keys/signing.key}
    """,
)
def each_signature_has_its_key(template: LocatedMapping) -> t.Iterator[Finding]:
    """Secure Boot and checksums have keys of their own: one is PEM, the other one OpenPGP."""
    keys = list(_private_keys(template))
    if len(keys) > 1 and keys[0][1] == keys[1][1]:
        yield (
            keys[1][0],
            "secureBoot and checksums name the same file, but one needs a PEM key and the other an OpenPGP key. "
            "Name the OpenPGP key here.",
        )


def _checksums(template: LocatedMapping) -> LocatedMapping | None:
    section: LocatedMapping | None = template["systemConfig"]["signing"].get("checksums")
    return section


@SUBJECT.rule(
    "systemConfig.signing",
    example="""
    systemConfig:
      signing:
        checksums: {key: "pkcs11:token=images;object=release"}
    """,
)
def keys_on_tokens_have_certificates(template: LocatedMapping) -> t.Iterator[Finding]:
    """Who checks a signature by a key on a token does it with the key's certificate."""
    section = _checksums(template)
    if section is None:
        return
    path = ("systemConfig", "signing", "checksums")
    if "certificate" in section and not is_token_key(section.get("key", "")):
        yield (*path, "certificate"), "Only a key on a token (a PKCS#11 URI) has a certificate. Remove it."
    elif "certificate" not in section and is_token_key(section.get("key", "")):
        yield (*path, "key"), "A key on a token needs its certificate, which others check the signature with. Name it."


@SUBJECT.rule(
    "systemConfig.signing",
    example="""
    systemConfig:
      signing:
        checksums: {key: "pkcs11:token=images;object=release?pin-value=1234", certificate: keys/images.crt}
    """,
)
def pins_are_not_in_templates(template: LocatedMapping) -> t.Iterator[Finding]:
    """The PIN of a token is given to the stage, and not written into the template."""
    section = _checksums(template)
    if section is not None and "pin-value=" in section.get("key", ""):
        yield (
            ("systemConfig", "signing", "checksums", "key"),
            "The PIN would be in documents and logs. Remove pin-value, and give the PIN by the option "
            "signing_passphrase of image_finalize (of the role: image_build_signing_passphrase).",
        )


__all__ = ("SUBJECT",)
