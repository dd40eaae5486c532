# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of templates, made from the schema and the rules. Unit tests keep the files equal.

To write the files anew, with C(collections) on the Python path:
C(python -m ansible_collections.os_image.composer.tests.support.template_docs)
"""

from __future__ import annotations

import json
import pathlib
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._checks.catalogue import RULES, SUBJECTS
from ansible_collections.os_image.composer.plugins.module_utils._template import merge, schema
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Rule
from ansible_collections.os_image.composer.tests.support.page import LICENSE
from ansible_collections.os_image.composer.tests.support.template_catalogue import CATALOGUE_FILE, catalogue_text
from ansible_collections.os_image.composer.tests.support.template_laboratory import findings_of_example

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMA_FILE = ROOT / "docs" / "schema" / "os-image-template.schema.json"
REFERENCE_FILE = ROOT / "docs" / "template-reference.md"
CHECKS_FILE = ROOT / "docs" / "template-checks.md"

_HEADER = """\
# Image templates

A template is one YAML file (UTF-8, at most 1 MiB, no symbolic link). It is merged over the default template of its
operating system, `config/osv/{os}/{dist}/imageconfigs/defaultconfigs/default-{imageType}-{arch}.yml`, and the result
is checked. Everything that is wrong is reported at once, with file, line and YAML path. Begin with a copy of
`image-templates/debian12-x86_64-minimal-raw.yml`, or of another from [the catalogue](../image-templates/README.md):

```yaml
# yaml-language-server: $schema=@SCHEMA@
image:
  name: kiosk
  version: "1.0.0"
target:
  os: debian
  dist: debian12
  arch: x86_64
  imageType: raw
systemConfig:
  hostname: kiosk
  packages:
    - openssh-server
  users:
    - name: admin
      sshKeys:
        - ssh-ed25519 AAAA... admin@example.org
```

The first line lets editors complete and check the file while you write; the schema is
[schema/os-image-template.schema.json](schema/os-image-template.schema.json).

"""

_MERGE = """\
## How the template goes over the default template

Values of your template win. A text or list that is empty says nothing. Lists keep the order of the default template,
followed by what yours adds. The role variable `image_build_overrides` is merged over the result by the same rules.

| part | rule |
|---|---|
| `disk` | with `partitions`, yours replaces the default's whole; without, field by field, `mounts` by their places |
| `iso` | field by field |
| `systemConfig.name` | by default `image.name`; the build directory is named after it |
| `systemConfig.packages` | both lists, each package once |
| `systemConfig.kernel` | field by field; your list of packages replaces the default's |
| `systemConfig.bootloader`, `initramfs`, `immutability` | field by field |
| `systemConfig.users` | by `name`, field by field; `groups` and `sshKeys` of both |
| `systemConfig.network.interfaces` | your list replaces the default's |
| `systemConfig.services` | both lists; what you say about a unit takes it out of the default's other lists |
| `systemConfig.additionalFiles` | by `final`; your entry replaces the default's |
| `systemConfig.configurations`, `scripts` | the default's, then yours |
| `systemConfig.security`, `signing` | field by field; `hardening` of both |
| `packageRepositories`, `repositories` | by `name`, else `codename`; your entry replaces the default's |
| `metadata` | yours |

What the default template has and you do not want is named under `remove`; it is gone before yours is merged. An entry
of your own with the same name then is not merged with the default's, but stands alone. Naming what is not there is an
error.

```yaml
remove:
  packages: [systemd-timesyncd, "python3-*"]
  services: [systemd-timesyncd]
  users: [installer]
  additionalFiles: [/etc/motd]
  configurations: ["ssh-keygen -A"]
  partitions: [userdata]
```

A default template may be made of several files, each of which `extends` another one by these same rules:
[add a distribution](tasks/add-a-distribution.md#4-what-an-image-begins-with) shows how. A template of your own cannot
extend another one.

## Files

Relative paths begin at the directory of the template and may not leave it, by `..` or by symbolic links. The role
copies such files to the build host together with the template, and decrypts those that ansible-vault has encrypted.
Absolute paths name files of the build host. The permissions of an additional file are those that it has, without write
permission for group and others, unless `mode` says otherwise; its owner is root unless `owner` and `group` say
otherwise.

## Passwords

Give the hash that `openssl passwd -6` prints. Plain text works too: it is hashed before anything is written, with a
salt that depends on the image and the user, so that building again gives the same image. A user without a password is
locked for passwords.

"""


def _kind(field: schema.Schema) -> str:
    if "enum" in field:
        return " \\| ".join(f"`{value}`" for value in field["enum"])
    names = {"string": "text", "boolean": "true or false", "integer": "whole number", "object": "mapping"}
    if field["type"] == "array":
        return f"list of {_kind(field['items'])}" if field["items"]["type"] != "object" else "list of mappings"
    return names[str(field["type"])]


def _default(field: schema.Schema) -> str:
    default = field.get("default")
    if default in (None, "", [], {}):
        return ""
    return f"`{json.dumps(default)}`"


def _rows(fields: schema.Schema, prefix: str, required: t.Collection[str]) -> t.Iterator[str]:
    for name, field in fields.items():
        path = f"{prefix}{name}"
        mark = " *" if name in required else ""
        text = field["description"]
        if "patternErrorMessage" in field:
            text += f" It must be {field['patternErrorMessage']}."
        text = text.replace("|", "\\|")
        yield f"| `{path}`{mark} | {_kind(field)} | {_default(field)} | {text} |"
        inner = field["items"] if field["type"] == "array" else field
        if inner["type"] == "object":
            suffix = "[]." if field["type"] == "array" else "."
            yield from _rows(inner["properties"], path + suffix, inner.get("required", ()))


def _sections() -> t.Iterator[str]:
    for name, section in {**schema.SECTIONS, **schema.MERGE_SECTIONS}.items():
        yield f"## `{name}`\n"
        yield f"{section['description']} Keys with * are required.\n"
        yield "| key | value | default | meaning |"
        yield "|---|---|---|---|"
        inner = section["items"] if section["type"] == "array" else section
        yield from _rows(inner["properties"], "[]." if section["type"] == "array" else "", inner.get("required", ()))
        yield ""


def _more() -> t.Iterator[str]:
    yield "## What is checked beside the form\n"
    yield (
        "Whether the parts of a template agree with each other, and mean something that can be built and booted: "
        "[all rules with examples](template-checks.md). Every local file must exist, be readable, and lie where it may."
    )


_CHECKS = """\
# What is checked in a template

Beside its form (see [the reference](template-reference.md)), a template has to make sense as a whole: these rules are
held against the result of merging it over the default template. Each has a part of a template that does not live up to
it, and what is said of that. An error has the file and the line before it, and no image is built. A warning is for
what works, but probably not as it was meant; it is repeated in the result and in the log of each build.

"""


def _rule(rule: Rule) -> t.Iterator[str]:
    yield f"### `{rule.name}`\n"
    yield f"{rule.sentence} This is {'an error' if rule in RULES else 'a warning'}:\n"
    yield f"```yaml\n{rule.example}\n```\n"
    yield "```text\n{}\n```\n".format("\n".join(findings_of_example(rule)))


def _checks() -> t.Iterator[str]:
    for subject in SUBJECTS:
        yield f"## {subject.title}\n"
        for rule in (*subject.rules, *subject.advices):
            yield from _rule(rule)


def schema_text() -> str:
    """Return the content of the schema file."""
    return json.dumps(schema.json_schema(), indent=2, ensure_ascii=False) + "\n"


def reference_text() -> str:
    """Return the content of the reference page."""
    assert set(merge.SECTION_RULES) == set(schema.SECTIONS)
    header = LICENSE + "\n" + _HEADER.replace("@SCHEMA@", schema.SCHEMA_ID)
    return header + _MERGE + "\n".join([*_sections(), *_more()]) + "\n"


def checks_text() -> str:
    """Return the content of the page with all rules."""
    return LICENSE + "\n" + _CHECKS + "\n".join(_checks())


def main() -> None:
    """Write the files."""
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
    REFERENCE_FILE.write_text(reference_text(), encoding="utf-8")
    CHECKS_FILE.write_text(checks_text(), encoding="utf-8")
    CATALOGUE_FILE.write_text(catalogue_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
