# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Private keys in files, known by how they begin, whatever the files are called."""

from __future__ import annotations

import os
import re
import typing as t

# Smaller files hold no key: one of X25519 in base64 is 44 bytes long.
_SMALLEST = 40
# What people and scripts write: keys may stand behind a certificate or a comment.
_MOST_READ = 256 << 10
# What packages bring below /usr: a file that is a key begins with it, and is not larger than this.
_LARGEST_KEY = 64 << 10
_HEAD = 64

_PEM = b"-----BEGIN "
# The marker alone is in many programs and manuals. RFC 7468: a line of base64 follows, maybe after headers (RFC 1421).
_PEM_KEY = re.compile(
    rb"-----BEGIN (?P<kind>(?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?)-----[ \t]*\r?\n"
    rb"(?:[A-Za-z-]{1,30}:[^\n]{0,200}\n){0,6}\s{0,8}[A-Za-z0-9+/]{38}"
)
_WIREGUARD = re.compile(rb"^[ \t]*(?:PrivateKey|PresharedKey)[ \t]*=[ \t]*[A-Za-z0-9+/]{43}=", re.MULTILINE)
_BASE64_KEY = re.compile(rb"[A-Za-z0-9+/]{43}=\s*\Z")

_PEM_KINDS: t.Mapping[bytes, str] = {
    b"OPENSSH PRIVATE KEY": "an OpenSSH private key",
    b"PGP PRIVATE KEY BLOCK": "an OpenPGP private key",
}
_HEADS: t.Tuple[t.Tuple[bytes, str], ...] = (
    # dropbear's signkey.c: the length of the name, and the name.
    (b"\0\0\0\x07ssh-rsa", "a private key of Dropbear"),
    (b"\0\0\0\x07ssh-dss", "a private key of Dropbear"),
    (b"\0\0\0\x0bssh-ed25519", "a private key of Dropbear"),
    (b"\0\0\0\x13ecdsa-sha2-nistp", "a private key of Dropbear"),
    # GnuPG's agent/keyformat.txt.
    (b"(11:private-key", "a private key of GnuPG"),
    (b"(21:protected-private-key", "a private key of GnuPG"),
    (b"PuTTY-User-Key-File-", "a private key of PuTTY"),
    (b"Private-key-format: v1.", "a DNSSEC private key"),
    (b"== ed25519v1-secret: ", "a private key of Tor"),
    (b"AGE-SECRET-KEY-1", "a private key of age"),
)
# GnuPG's agent/keyformat.txt, the extended form: "Key:" may stand behind other names.
_EXTENDED_KEY = re.compile(rb"^Key: \((?:protected-)?private-key", re.MULTILINE)
# RFC 8017 (two primes), RFC 5958 and RFC 5915 in DER, after the outer header.
_DER_KEY = re.compile(
    rb"\x30(?:[\x20-\x7f]|\x81.|\x82..)"
    rb"(?:\x02\x01\x00\x02(?:[\x20-\x7f]|\x81.|\x82..)\x00?[\x80-\xff]"
    rb"|\x02\x01[\x00\x01]\x30[\x05-\x20]\x06[\x03-\x0b]"
    rb"|\x02\x01\x01\x04[\x1c\x20\x30\x42])",
    re.DOTALL,
)
# RFC 9580, 4.2: a secret-key packet of version 4 in the old or the new form, with a plausible time and algorithm.
_OPENPGP_KEY = re.compile(
    rb"(?:\x94.|\x95..|\xc5(?:[\x00-\xbf]|[\xc0-\xdf].|\xff....))\x04[\x30-\xff]...[\x01-\x1c]", re.DOTALL
)

# What is many and large in a tree and never a key as a whole.
_OTHER_SUFFIXES = re.compile(
    r"\.(?:so[.0-9]*|ko|xz|zst|gz|bz2|mo|pyc?|p[ml]|rb|js|h|hpp|cc?|html|svg|png|list|md5sums|json|xml|service|target"
    r"|socket|timer|hwdb|rules|vim|lua|[to]tf|pcf|bin|fw|deb|rpm|sh|tcl|elc?|go|rs|l?a|mod|typelib|desktop|po)\Z"
)

# Databases of packages: thousands of lists and scripts.
_DATABASES = ("/var/lib/dpkg/", "/var/lib/rpm/", "/usr/lib/sysimage/rpm/")


def private_key_in(directory: int, name: str, path: str, size: int) -> str:
    """Return what private key a file holds, in words with an article; nothing when it holds none.

    :param directory: The descriptor of the directory that has the file, a regular one.
    :param path: Its path in the tree.
    """
    if size < _SMALLEST or path.startswith(_DATABASES):
        return ""
    # Packages bring megabytes of texts with keys in examples below /usr; only files that are keys count there.
    is_a_packages = path.startswith(("/usr/", "/boot/")) and not path.startswith("/usr/local/")
    if is_a_packages and (size > _LARGEST_KEY or _OTHER_SUFFIXES.search(name)):
        return ""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return ""
    try:
        data = os.read(descriptor, _HEAD if is_a_packages else _MOST_READ)
        if not is_a_packages:
            return private_key(data)
        if data.lstrip().startswith(_PEM) or name.endswith((".key", ".pem", ".p8")):
            data += os.read(descriptor, _LARGEST_KEY)
        elif not _may_begin_a_key(data):
            return ""
        return private_key(data)
    finally:
        os.close(descriptor)


def _may_begin_a_key(head: bytes) -> bool:
    return head[0] in b"\x30\x94\x95\xc5" or head.startswith(_HEAD_WORDS)


def private_key(data: bytes) -> str:
    """Return what private key a content is, in words with an article; nothing when there is none in it."""
    if b"PRIVATE KEY" in data:
        found = _PEM_KEY.search(data)
        if found:
            return _PEM_KINDS.get(found["kind"], "a private key (PEM)")
    for head, kind in _HEADS:
        if data.startswith(head):
            return kind
    if _EXTENDED_KEY.search(data):
        return "a private key of GnuPG"
    if _DER_KEY.match(data):
        return "a private key (DER)"
    if _OPENPGP_KEY.match(data):
        return "an OpenPGP private key"
    if _WIREGUARD.search(data) or (len(data) <= 46 and _BASE64_KEY.match(data)):
        return "a private key of WireGuard"
    return ""


_HEAD_WORDS = tuple(head for head, _kind in _HEADS)

__all__ = ("private_key", "private_key_in")
