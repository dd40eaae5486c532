# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation: its templates are valid, its commands are those that there are, its links lead somewhere."""

from __future__ import annotations

import pathlib
import re
import shlex
import typing as t

import pytest
import yaml
from ansible_collections.os_image.composer.plugins.module_utils._checks.assembly import assemble
from ansible_collections.os_image.composer.tests.support.documentation import PAGES, Block, blocks
from ansible_collections.os_image.composer.tests.support.stage_driver import ROOT

#: Something to stand for the beginning of a key, as an example has it.
PUBLIC_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIPK5OmcOSwyCMN7vWOrXOphj1KOtLQBn+9NL2Cz2Vyxp"
#: Distributions that readers make up with the page.
MADE_UP = ("toy-linux", "toy-enterprise", "toy1", "te9")
PLAYBOOKS = {path.stem for path in pathlib.Path(ROOT, "playbooks").glob("*.yml")}


class Loader(yaml.SafeLoader):
    """YAML as Ansible reads it, with encrypted values."""


Loader.add_constructor("!vault", lambda _loader, _node: "decrypted")


def loaded(block: Block) -> t.Any:
    """Return what a block of YAML holds."""
    return yaml.load(block.text, Loader)  # noqa: S506


def is_template(content: t.Any) -> bool:
    """Tell whether a block is a template, or a part of one."""
    return isinstance(content, dict) and bool({"systemConfig", "disk", "target"} & content.keys())


TEMPLATES = [block for block in blocks("yaml") if is_template(loaded(block))]
TEMPLATES = [block for block in TEMPLATES if not set(MADE_UP) & set(loaded(block).get("target", {}).values())]
COMMANDS = [(block, command) for block in blocks("console") for command in block.commands]
each_template = pytest.mark.parametrize("block", TEMPLATES, ids=str)
each_command = pytest.mark.parametrize(
    ("block", "command"), COMMANDS, ids=[f"{block}-{cmd}" for block, cmd in COMMANDS]
)


@each_template
def test_a_template_is_valid(block: Block, tmp_path: pathlib.Path) -> None:
    content = loaded(block)
    whole = {
        "image": {"name": "example", "version": "1.0"},
        "target": {"os": "debian", "dist": "debian12", "arch": "x86_64", "imageType": "raw"},
        **content,
    }
    text = yaml.safe_dump(whole, sort_keys=False).replace("AAAA...", PUBLIC_KEY)
    path = tmp_path / "template.yml"
    path.write_text(text)
    for name in re.findall(r"local: (\S+)", text) + re.findall(r"(?:key|certificate): ((?!pkcs11:)[\w./-]+)", text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assemble(str(path), config_dir=str(pathlib.Path(ROOT, "config")))


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_can_be_read(block: Block) -> None:
    assert loaded(block) is not None


@each_command
def test_a_command_is_there(block: Block, command: str) -> None:
    if command.split()[0] not in ("make", "ansible-playbook", "ansible"):
        return
    words = shlex.split(command, comments=True)
    if words[0] == "make":
        makefile = pathlib.Path(ROOT, "Makefile").read_text(encoding="utf-8")
        assert re.search(rf"^{re.escape(words[1])}:", makefile, re.MULTILINE), f"{block}: make has no {words[1]}"
    elif words[0] == "ansible-playbook":
        named = [word for word in words if word.startswith(("playbooks/", "os_image.composer."))]
        for name in named:
            assert pathlib.PurePath(name.removeprefix("os_image.composer.")).stem in PLAYBOOKS, f"{block}: {name}"
    elif words[0] == "ansible":
        module = words[words.index("-m") + 1].rpartition(".")[2]
        source = pathlib.Path(ROOT, "plugins", "modules", f"{module}.py").read_text(encoding="utf-8")
        options = yaml.safe_load(re.findall(r'DOCUMENTATION = r"""(.*?)"""', source, re.DOTALL)[0])["options"]
        given = {word.partition("=")[0] for word in shlex.split(words[words.index("-a") + 1])}
        assert given <= options.keys(), f"{block}: {module} has no {sorted(given - options.keys())}"


@each_command
def test_the_variables_of_a_command_are_those_of_the_roles(block: Block, command: str) -> None:
    known = set()
    for path in pathlib.Path(ROOT, "roles").glob("*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            known |= set(entry.get("options", {}))
    said = set(re.findall(r"\b((?:image_build|image_boot_test|build_host)_\w+)(?=[=\"'])", command))
    assert said <= known, f"{block}: no role has {sorted(said - known)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _hash, anchor = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        assert other.exists(), f"{page.name} links to {target}"
        if anchor and other.suffix == ".md":
            there = other.read_text(encoding="utf-8")
            headings = re.findall(r"^#+ (.*)$", there, re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            anchors.update(re.findall(r'<a id="([^"]+)"></a>', there))
            assert anchor in anchors, f"{page.name} links to {target}"
