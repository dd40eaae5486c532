# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The catalogue of the shipped templates, C(image-templates/README.md), made from the templates themselves.

It is written together with the rest of the documentation by C(template_docs). A unit test keeps it equal to the
templates, and a test against a real mirror the numbers of packages.
"""

from __future__ import annotations

import functools
import pathlib
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._checks.assembly import Assembly, assemble
from ansible_collections.os_image.composer.plugins.module_utils._resolver.families import RESOLVERS
from ansible_collections.os_image.composer.tests.support.page import LICENSE

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
CATALOGUE_FILE = ROOT / "image-templates" / "README.md"

#: Every shipped template.
TEMPLATES: t.Sequence[pathlib.Path] = sorted((ROOT / "image-templates").glob("*.yml"))

#: The releases by C(target.dist), in the order of the catalogue.
RELEASES: t.Mapping[str, str] = {
    "debian13": "Debian 13",
    "debian12": "Debian 12",
    "ubuntu26": "Ubuntu 26.04",
    "ubuntu24": "Ubuntu 24.04",
    "elxr12": "eLxr 12",
    "azl3": "Azure Linux 3.0",
    "emt3": "Edge Microvisor Toolkit 3.0",
    "el10": "CentOS Stream 10",
}

#: About how many packages an image has, where a mirror to count them is at hand: one of Debian.
PACKAGE_COUNTS: t.Mapping[str, int] = {
    "debian12-aarch64-minimal-raw": 145,
    "debian12-x86_64-container-raw": 205,
    "debian12-x86_64-edge-raw": 230,
    "debian12-x86_64-immutable-raw": 160,
    "debian12-x86_64-minimal-initrd": 160,
    "debian12-x86_64-minimal-iso": 163,
    "debian12-x86_64-minimal-raw": 145,
    "debian12-x86_64-server-raw": 177,
    "debian13-aarch64-minimal-raw": 125,
    "debian13-x86_64-container-raw": 196,
    "debian13-x86_64-desktop-raw": 463,
    "debian13-x86_64-edge-raw": 228,
    "debian13-x86_64-immutable-raw": 146,
    "debian13-x86_64-minimal-initrd": 144,
    "debian13-x86_64-minimal-iso": 147,
    "debian13-x86_64-minimal-raw": 125,
}

#: Operating systems whose images the tests build and boot.
_TRIED = ("debian",)

_HEADER = """\

# The image templates

Build one as it is, or begin with a copy: each says only what differs from the default template of its release, and
why. All keys are in [the reference](../docs/template-reference.md).

```console
$ make image TEMPLATE=image-templates/debian13-x86_64-minimal-raw.yml
```

No template has a password. The minimal ones let nobody log in. The others have a user with an SSH key that only stands
for yours: replace it before you build.

## Names

A file is called `{dist}-{arch}-{purpose}-{imageType}.yml`. `{dist}`, `{arch}` and `{imageType}` are the keys of
`target` with these names; `target.os` is left out, as each release belongs to one operating system:

@RELEASES@

`image.name` is `{dist}-{purpose}`. The build directory is named after `systemConfig.name`, which is `image.name` by
default; images other than raw ones add their type to it, so that those of one name do not share a directory.

| purpose | what it is |
|---|---|
| `minimal` | what boots to a login, and nothing else |
| `edge` | a headless node: SSH by key, DHCP, containers, a watchdog, stricter settings |
| `server` | a small web server, which shows most of what a template can say |
| `container` | a host of containers, with and without root |
| `desktop` | a graphical desktop |
| `immutable` | a root file system that dm-verity protects |

## What there is

All of them can be validated and merged. The last column says how far this version gets beyond that:

- **buildable**: the tests build and boot its distribution.
- **untried**: can be built too, but the tests build and boot Debian and an RPM distribution of their own, and not this
  one.
- **validated**: its packages cannot be resolved before you name a repository of it that you trust.

The number of packages is about right; it changes with the distribution.

"""


@functools.cache
def assembled(path: pathlib.Path) -> Assembly:
    """Return a shipped template merged over its default."""
    return assemble(str(path), config_dir=str(CONFIG))


def purpose(path: pathlib.Path) -> str:
    """Return what a template is for, as its name says it."""
    return path.stem.split("-")[2]


def status(assembly: Assembly) -> str:
    """Say how far this version gets with a template."""
    if assembly.provider.data["family"] not in RESOLVERS:
        return "validated"
    if not assembly.provider.data["repositories"] and not assembly.template["packageRepositories"]:
        return "validated: add `packageRepositories`"
    return "buildable" if assembly.template["target"]["os"] in _TRIED else "untried"


def _releases() -> t.Iterator[str]:
    yield "| `{dist}` | release | `target.os` |"
    yield "|---|---|---|"
    for dist, release in RELEASES.items():
        names = {assembled(path).template["target"]["os"] for path in of_release(dist)}
        yield f"| `{dist}` | {release} | {', '.join(f'`{name}`' for name in sorted(names))} |"


def of_release(dist: str) -> list[pathlib.Path]:
    """Return the templates of a release."""
    return [path for path in TEMPLATES if path.stem.split("-")[0] == dist]


def _tables() -> t.Iterator[str]:
    for dist, release in RELEASES.items():
        yield f"### {release}\n"
        yield "| template | what it is | packages | this version |"
        yield "|---|---|---|---|"
        for path in of_release(dist):
            assembly = assembled(path)
            what = assembly.template["metadata"]["description"]
            count = PACKAGE_COUNTS.get(path.stem, "")
            yield f"| [{path.stem}]({path.name}) | {what} | {count} | {status(assembly)} |"
        yield ""


def catalogue_text() -> str:
    """Return the content of the catalogue."""
    return LICENSE + _HEADER.replace("@RELEASES@", "\n".join(_releases())) + "\n".join(_tables())


__all__ = (
    "CATALOGUE_FILE",
    "CONFIG",
    "PACKAGE_COUNTS",
    "RELEASES",
    "ROOT",
    "TEMPLATES",
    "assembled",
    "catalogue_text",
    "of_release",
    "purpose",
    "status",
)
