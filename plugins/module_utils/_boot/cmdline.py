# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The kernel command line."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError
from ansible_collections.os_image.composer.plugins.module_utils._template.immutability import (
    ROOT_DEVICE,
    ROOT_HASH_SIGNATURE,
    SIGNATURE_WORD,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Security

# COMMAND_LINE_SIZE of the kernel on x86 and arm64, less the final zero byte.
_LIMIT = 2047

# The kernel's own rule: blanks separate, double quotes hold blanks together.
_WORD = re.compile(r'(?:[^\s"]|"[^"]*"?)+')

# Behind this word everything is for the program init.
_END_OF_KERNEL_WORDS = "--"

# What the Kernel Self-Protection Project recommends and a general-purpose kernel can do, by architecture ("" for all):
# memory is cleared when it is taken and when it is given back; slabs of one size are not shared; free pages are
# shuffled; copies from and to user space stay within their objects; each system call has its stack at another place;
# there are no vsyscalls, which programs of before 2011 use (glibc 2.13 and older: containers of CentOS 6).
_HARDENING: t.Mapping[str, t.Tuple[str, ...]] = {
    "": (
        "init_on_alloc=1",
        "init_on_free=1",
        "slab_nomerge",
        "page_alloc.shuffle=1",
        "hardened_usercopy=1",
        "randomize_kstack_offset=on",
    ),
    "x86_64": ("vsyscall=none",),
}

# Not lsm=, which would replace the whole list of the kernel's modules (Landlock, Yama and others) by one that only fits
# some kernels; security= chooses among SELinux, AppArmor and their like. No enforcing=: the mode
# is that of /etc/selinux/config, where the running system may change it.
_ACCESS_CONTROL: t.Mapping[t.Tuple[str, str], t.Tuple[str, ...]] = {
    ("selinux", "enforcing"): ("security=selinux", "selinux=1"),
    ("selinux", "permissive"): ("security=selinux", "selinux=1"),
    ("selinux", "disabled"): ("selinux=0",),
    ("apparmor", "enabled"): ("security=apparmor", "apparmor=1"),
    ("apparmor", "disabled"): ("apparmor=0",),
}


def access_control_words(security: Security) -> t.List[str]:
    """Return what the kernel is told about SELinux and AppArmor."""
    said = (("selinux", security.selinux), ("apparmor", security.apparmor))
    return [word for module, mode in said if mode is not None for word in _ACCESS_CONTROL[module, mode]]


def security_words(security: Security, *, arch: str) -> t.List[str]:
    """Return all words of the command line that C(systemConfig.security) asks for.

    :param arch: For example V(x86_64).
    """
    words = access_control_words(security)
    if "kernel" in security.hardening:
        words += [*_HARDENING[""], *_HARDENING.get(arch, ())]
    return words


def verity_words(root_hash: str, signature: str = "") -> t.List[str]:
    """Return what the kernel and the initramfs are told about a root file system that dm-verity protects.

    :param signature: The PARTUUID of the partition with the signature that the kernel shall demand; empty for none.

    Wherever it cannot be opened or read as it was, the machine starts again: by default initramfs-tools and dracut
    would show a shell instead, in which anybody at the console is root.
    """
    demanded = f",root-hash-signature={ROOT_HASH_SIGNATURE}" if signature else ""
    return [
        f"root={ROOT_DEVICE}",
        "ro",
        f"roothash={root_hash}",
        f"systemd.verity_root_options=panic-on-corruption{demanded}",
        *([f"{SIGNATURE_WORD}={signature}"] if signature else []),
        "panic=5",
        "rd.shell=0",
        "rd.emergency=reboot",
    ]


def words_of(given: str) -> t.List[str]:
    """Return the words of a command line, as the kernel tells them apart."""
    return _WORD.findall(given)


def word_name(word: str) -> str:
    """Return what a word is about; for the kernel, hyphens and underscores in it are the same."""
    return word.partition("=")[0].strip('"').replace("-", "_")


def kernel_command_line(root_partition_uuid: str | None, given: str, further: t.Sequence[str] = ()) -> str:
    """Return the kernel command line of an image.

    The root file system is found by its PARTUUID, unless the template names another one itself; of several the last
    counts, as it does for the kernel. What is written twice is kept once, in its last place.

    :param root_partition_uuid: V(None) when nothing but the template tells where the root file system is.
    :param given: The template's C(kernel.cmdline).
    :param further: Words that are added, except for those about which C(given) says something itself: what the disk
        demands (C(rootfstype=squashfs)), what C(systemConfig.security) asks for.
    :raises BootError: The kernel could not read it.
    """
    bad = next((char for char in given if ord(char) < 32 and char not in "\t\n\r"), None)
    if bad is not None:
        raise BootError(
            f"The kernel command line has the control character {bad!r}.", remedy="Remove it from kernel.cmdline."
        )
    words = words_of(given)
    end = words.index(_END_OF_KERNEL_WORDS) if _END_OF_KERNEL_WORDS in words else len(words)
    for_init, words = words[end:], words[:end]
    said = {word_name(word) for word in words}
    words += [word for word in further if word_name(word) not in said]
    roots = [word for word in words if word.startswith("root=")]
    if not roots and root_partition_uuid is not None:
        roots = [f"root=PARTUUID={root_partition_uuid}"]
    rest = [word for word in words if not word.startswith("root=")]
    kept = [word for index, word in enumerate(rest) if word not in rest[index + 1 :]]
    line = " ".join([*roots[-1:], *kept, *for_init])
    if len(line.encode("utf-8")) > _LIMIT:
        raise BootError(
            f"The kernel command line has {len(line.encode('utf-8'))} bytes, but the kernel reads only {_LIMIT}.",
            remedy="Shorten kernel.cmdline.",
        )
    return line


__all__ = ("access_control_words", "kernel_command_line", "security_words", "verity_words", "word_name", "words_of")
