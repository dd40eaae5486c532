# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import json
import os
import pathlib
import shutil
import tarfile
import typing as t

import pytest
from ansible._internal._datatag._tags import VaultedValue
from ansible_collections.os_image.composer.plugins.module_utils._checks.assembly import assemble
from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.plugins.module_utils._template.inputs import InputStore
from ansible_collections.os_image.composer.plugins.plugin_utils._template_bundle import (
    OWN_CONFIG,
    Bundle,
    collect_content,
    collect_file,
)

TEMPLATE = """\
image: {name: a, version: "1"}
target: {os: debian, dist: debian12, arch: x86_64, imageType: raw}
systemConfig:
  additionalFiles:
    - {local: files/x, final: /x}
    - {local: ./files/x, final: /y}
    - {local: /etc/hosts, final: /z}
  scripts:
    postInstall:
      - file: run.sh
"""


def refuse(path: str) -> str:
    raise AssertionError(f"{path} is not encrypted")


def members(bundle: Bundle) -> dict[str, tuple[bytes, int]]:
    stream = io.BytesIO()
    bundle.write(stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as tar:
        found = {}
        for info in tar:
            content = tar.extractfile(info)
            assert content is not None
            found[info.name] = (content.read(), info.mode)
        return found


@pytest.fixture
def template(tmp_path: pathlib.Path) -> pathlib.Path:
    """A template with the files that it names."""
    folder = tmp_path / "in"
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "x").write_text("x")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o775)
    (folder / "unrelated").write_text("secret")
    (folder / "t.yml").write_text(TEMPLATE)
    return folder / "t.yml"


def test_what_is_collected(template: pathlib.Path) -> None:
    bundle = collect_file(str(template), config_dir=OWN_CONFIG, decrypt=refuse)
    found = members(bundle)
    assert {name for name in found if name.startswith("template/")} == {
        "template/t.yml",
        "template/files/x",
        "template/run.sh",
    }
    assert found["template/t.yml"] == (TEMPLATE.encode(), 0o600)
    assert found["template/run.sh"] == (b"#!/bin/sh\n", 0o755)
    assert "config/osv/debian/debian12/config.yml" in found
    assert "config/osv/debian/keys/bookworm-archive.asc" in found


def test_keys_of_repositories_come_from_the_controller(tmp_path: pathlib.Path) -> None:
    host, controller = tmp_path / "host", tmp_path / "controller"
    for folder in (host, controller):
        folder.mkdir()
    (controller / "a.asc").write_text("controller's")
    (controller / "b.asc").write_text("of both")
    repositories = [
        {"codename": "a", "url": "https://packages.example.org", "pkey": f"file://{controller}/a.asc"},
        {"codename": "b", "url": "https://packages.example.net", "pkey": f"{controller}/b.asc"},
        {"codename": "c", "url": "https://packages.example.com", "pkey": f"{controller}/c.asc"},
    ]
    content = {
        "image": {"name": "a", "version": "1"},
        "target": {"os": "debian", "dist": "debian12", "arch": "x86_64", "imageType": "raw"},
        "packageRepositories": repositories,
        "systemConfig": {"additionalFiles": [{"local": "/etc/hosts", "final": "/x"}]},
    }
    bundle = collect_content(content, base_dir=str(tmp_path), config_dir=OWN_CONFIG, decrypt=refuse)
    found = [name for name in bundle.contents if name.startswith("absolute/")]
    assert found == [f"absolute{controller}/a.asc", f"absolute{controller}/b.asc"]
    store = InputStore(str(tmp_path / "work"))
    with open(tmp_path / "bundle.tar", "wb") as stream:
        digest = bundle.write(stream)
    store.add(str(tmp_path / "bundle.tar"), digest)
    # On the build host one of them is not there, another is another one, and nobody has the third.
    (controller / "a.asc").unlink()
    (controller / "b.asc").write_text("the build host's")
    template = f"{store.path(digest)}/template/a.yml"
    with pytest.raises(
        TemplateError, match=r"packageRepositories\[2\]\.pkey: The file .*/c\.asc cannot be read: No such"
    ):
        assemble(template, config_dir=OWN_CONFIG, brought=store.absolute_folder(template))
    (controller / "c.asc").write_text("c")
    assembly = assemble(template, config_dir=OWN_CONFIG, brought=store.absolute_folder(template))
    keys = [pathlib.Path(item["pkey"]).read_text() for item in assembly.template["packageRepositories"]]
    assert keys == ["controller's", "the build host's", "c"]


def test_the_archive_depends_on_contents_alone(template: pathlib.Path) -> None:
    one, two = io.BytesIO(), io.BytesIO()
    first = collect_file(str(template), config_dir=OWN_CONFIG, decrypt=refuse).write(one)
    (template.parent / "files" / "x").touch()
    assert collect_file(str(template), config_dir=OWN_CONFIG, decrypt=refuse).write(two) == first
    assert one.getvalue() == two.getvalue()
    (template.parent / "files" / "x").write_text("y")
    assert collect_file(str(template), config_dir=OWN_CONFIG, decrypt=refuse).write(io.BytesIO()) != first


def test_what_default_templates_may_extend_is_collected(template: pathlib.Path, tmp_path: pathlib.Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(OWN_CONFIG, config)
    shared = config / "osv" / "common" / "test.yml"
    shared.parent.mkdir(exist_ok=True)
    shared.write_text("systemConfig: {}\n")
    bundle = collect_file(str(template), config_dir=str(config), decrypt=refuse)
    systems = {name.split("/")[2] for name in members(bundle) if name.startswith("config/")}
    assert systems == {"common", "debian"}
    assert members(bundle)["config/osv/common/test.yml"][0] == b"systemConfig: {}\n"
    before = bundle.write(io.BytesIO())
    shared.write_text("systemConfig: {hostname: a}\n")
    assert bundle.write(io.BytesIO()) != before
    # It is no operating system.
    template.write_text(TEMPLATE.replace("os: debian", "os: common"))
    names = members(collect_file(str(template), config_dir=str(config), decrypt=refuse))
    assert "config/osv/debian/debian13/config.yml" in names
    assert "config/osv/common/test.yml" not in names


@pytest.mark.parametrize(
    ("os_name", "dist"), [path.parts[-3:-1] for path in sorted(pathlib.Path(OWN_CONFIG).glob("osv/*/*/config.yml"))]
)
def test_the_default_template_is_whole_on_the_build_host(os_name: str, dist: str, tmp_path: pathlib.Path) -> None:
    target = {"os": os_name, "dist": dist, "arch": "x86_64", "imageType": "raw"}
    content = {"image": {"name": "a", "version": "1"}, "target": target}
    bundle = collect_content(content, base_dir=str(tmp_path), config_dir=OWN_CONFIG, decrypt=refuse)
    archive = tmp_path / "input.tar"
    with archive.open("wb") as stream:
        digest = bundle.write(stream)
    store = InputStore(str(tmp_path / "work"))
    store.add(str(archive), digest)
    template, config = (os.path.join(store.path(digest), folder) for folder in ("template", "config"))
    there = assemble(os.path.join(template, bundle.name), config_dir=config)
    (tmp_path / bundle.name).write_text(json.dumps(content))
    here = assemble(str(tmp_path / bundle.name), config_dir=OWN_CONFIG)
    assert len(there.levels) > 1
    assert [os.path.relpath(path, config) for path in there.levels] == [
        os.path.relpath(path, OWN_CONFIG) for path in here.levels
    ]
    assert there.template == here.template


def test_private_keys_are_told(template: pathlib.Path, tmp_path: pathlib.Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(OWN_CONFIG, config)
    defaults = config / "osv/debian/debian12/imageconfigs/defaultconfigs"
    (defaults / "own.key").write_text("secret")
    (defaults / "mine.yml").write_text("systemConfig: {signing: {checksums: {key: own.key}}}\n")
    (defaults / "broken.yml").write_text("systemConfig: {signing: {checksums: {key: \n")
    for name in ("db.key", "db.crt", "old.key", "sign.key"):
        (template.parent / name).write_text(name)
    template.write_text(
        f"""{TEMPLATE}
  immutability: {{secureBootDBKey: old.key, secureBootDBCrt: db.crt}}
  signing:
    secureBoot: {{key: ./db.key, certificate: db.crt}}
    checksums: {{key: {template.parent}/sign.key}}
"""
    )
    bundle = collect_file(str(template), config_dir=str(config), decrypt=refuse)
    # One that lies on the build host by its absolute path is not copied.
    assert bundle.private_keys == [
        "config/osv/debian/debian12/imageconfigs/defaultconfigs/own.key",
        "template/db.key",
        "template/old.key",
    ]
    assert {"template/db.crt", *bundle.private_keys} <= members(bundle).keys()
    assert "template/sign.key" not in members(bundle)


def test_a_template_without_keys_has_none(template: pathlib.Path) -> None:
    assert collect_file(str(template), config_dir=OWN_CONFIG, decrypt=refuse).private_keys == []


def test_all_missing_files_are_named(template: pathlib.Path) -> None:
    (template.parent / "files" / "x").unlink()
    (template.parent / "run.sh").unlink()
    with pytest.raises(TemplateError) as caught:
        collect_file(str(template), config_dir=OWN_CONFIG, decrypt=refuse)
    assert [error["path"] for error in caught.value.details["errors"]] == [
        "systemConfig.additionalFiles[0].local",
        "systemConfig.additionalFiles[1].local",
        "systemConfig.scripts.postInstall[0].file",
    ]
    assert "t.yml:5: systemConfig.additionalFiles[0].local: The file" in str(caught.value)


def test_nothing_outside_is_collected(template: pathlib.Path) -> None:
    (template.parent.parent / "secret").write_text("secret")
    (template.parent / "run.sh").unlink()
    (template.parent / "run.sh").symlink_to("../secret")
    template.write_text(TEMPLATE.replace("./files/x", "../secret"))
    with pytest.raises(TemplateError) as caught:
        collect_file(str(template), config_dir=OWN_CONFIG, decrypt=refuse)
    assert "The path '../secret' leaves the directory" in str(caught.value)
    assert "The path 'run.sh' leaves the directory" in str(caught.value)


def test_encrypted_files_are_decrypted(template: pathlib.Path, tmp_path: pathlib.Path) -> None:
    plain = {"t.yml": TEMPLATE.encode(), "x": b"decrypted"}
    for path in (template, template.parent / "files" / "x"):
        path.write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n")
        (tmp_path / path.name).write_bytes(plain[path.name])
    bundle = collect_file(
        str(template), config_dir=OWN_CONFIG, decrypt=lambda path: str(tmp_path / pathlib.Path(path).name)
    )
    found = members(bundle)
    assert found["template/t.yml"][0] == TEMPLATE.encode()
    assert found["template/files/x"][0] == b"decrypted"


def test_a_template_as_data(template: pathlib.Path) -> None:
    content = {
        "image": {"name": "a"},
        "target": {"os": "nowhere"},
        "systemConfig": {"additionalFiles": [{"local": "files/x", "final": "/x"}]},
    }
    bundle = collect_content(content, base_dir=str(template.parent), config_dir=OWN_CONFIG, decrypt=refuse)
    found = members(bundle)
    assert bundle.name == "a.yml"
    assert found["template/files/x"][0] == b"x"
    # An unknown operating system: enough to tell which ones are known.
    assert "config/osv/debian/debian13/config.yml" in found
    assert "config/osv/debian/keys/bookworm-archive.asc" not in found


def test_a_template_as_text(template: pathlib.Path) -> None:
    bundle = collect_content(TEMPLATE, base_dir=str(template.parent), config_dir=OWN_CONFIG, decrypt=refuse)
    assert bundle.name == "a.yml"
    assert members(bundle)["template/a.yml"][0] == TEMPLATE.encode()
    with pytest.raises(TemplateError, match="content:2: .*This is not valid YAML"):
        collect_content("image: {\n", base_dir="/", config_dir=OWN_CONFIG, decrypt=refuse)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", 7, "a/b", None])
def test_a_template_whose_image_has_no_name_for_a_file(name: t.Any) -> None:
    bundle = collect_content({"image": {"name": name}}, base_dir="/", config_dir=OWN_CONFIG, decrypt=refuse)
    assert bundle.name == "template.yml"


def test_encrypted_values_of_a_template_as_data() -> None:
    secret = VaultedValue(ciphertext="$ANSIBLE_VAULT;1.1;AES256\n6162\n").tag("s3cret")
    users = [{"name": "root", "password": secret}]
    content = {"image": {"name": "a"}, "systemConfig": {"users": users}}
    found = members(collect_content(content, base_dir="/", config_dir=OWN_CONFIG, decrypt=refuse))
    assert b'"password": "s3cret"' in found["template/a.yml"][0]
    content["systemConfig"]["configurations"] = [{"cmd": secret}]
    with pytest.raises(TemplateError, match="only passwords of users are hidden") as caught:
        collect_content(content, base_dir="/", config_dir=OWN_CONFIG, decrypt=refuse)
    assert [error["path"] for error in caught.value.details["errors"]] == ["systemConfig.configurations[0].cmd"]
    assert "s3cret" not in str(caught.value)


def test_a_directory_without_providers(template: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(TemplateError, match="holds no providers. Let config_dir name a directory with osv/"):
        collect_file(str(template), config_dir=str(tmp_path), decrypt=refuse)


def catalogue(tmp_path: pathlib.Path, *names: str) -> tuple[str, list[pathlib.Path]]:
    """Make a catalogue of templates with shared files, and a template in it that names some files."""
    root = tmp_path / "catalogue"
    folder = root / "debian12"
    (folder / "files").mkdir(parents=True)
    (root / "shared" / "files").mkdir(parents=True)
    (root / "shared" / "files" / "a").write_text("shared a")
    (root / "shared" / "top").write_text("shared top")
    (root / "shared" / "key").write_text("secret key")
    (folder / "files" / "own").write_text("own")
    (tmp_path / "outside").write_text("outside")
    (root / "shared" / "link").symlink_to("../../outside")
    entries = [{"local": name, "final": f"/x{number}"} for number, name in enumerate(names)]
    content = {
        "image": {"name": "a", "version": "1"},
        "target": {"os": "debian", "dist": "debian12", "arch": "x86_64", "imageType": "raw"},
        "systemConfig": {"additionalFiles": entries},
    }
    (folder / "t.yml").write_text(json.dumps(content))
    return str(folder / "t.yml"), [root, root / "shared"]


def contents_on_host(bundle: Bundle, tmp_path: pathlib.Path) -> list[str]:
    """Bring a bundle to a build host, and return what the files hold that the template names."""
    store = InputStore(str(tmp_path / "work"))
    with open(tmp_path / "bundle.tar", "wb") as stream:
        digest = bundle.write(stream)
    store.add(str(tmp_path / "bundle.tar"), digest)
    template = f"{store.path(digest)}/template/{bundle.name}"
    assembly = assemble(template, config_dir=f"{store.path(digest)}/config", assets=store.asset_folder(template))
    places = [
        item["local"] for item in assembly.template["systemConfig"]["additionalFiles"] if item["final"][:2] == "/x"
    ]
    assert all(place in assembly.files for place in places)
    return [pathlib.Path(place).read_text() for place in places]


def test_files_that_templates_share(tmp_path: pathlib.Path) -> None:
    names = ("files/own", "../shared/top", "files/a", "top", "../debian12/files/own")
    expected = ["own", "shared top", "shared a", "shared top", "own"]
    path, roots = catalogue(tmp_path, *names)
    with pytest.raises(TemplateError) as caught:
        collect_file(path, config_dir=OWN_CONFIG, decrypt=refuse)
    assert {error["path"] for error in caught.value.details["errors"]} == {
        f"systemConfig.additionalFiles[{number}].local" for number in (1, 2, 3)
    }
    assert "lies in among the asset roots (image_build_asset_roots)" in str(caught.value)
    bundle = collect_file(path, config_dir=OWN_CONFIG, decrypt=refuse, asset_roots=[str(root) for root in roots])
    assert {name for name in bundle.contents if name.startswith("assets/")} == {
        "assets/up-0/files/a",
        "assets/up-0/top",
        "assets/up-1/debian12/files/own",
        "assets/up-1/shared/top",
    }
    # Nothing of the controller is there any more.
    written = members(bundle)
    assert contents_on_host(bundle, tmp_path) == expected
    assert written["assets/up-0/top"][0] == b"shared top"
    # On the build host itself, they are where they are.
    assembly = assemble(path, config_dir=OWN_CONFIG, asset_roots=[str(root) for root in roots])
    places = [item["local"] for item in assembly.template["systemConfig"]["additionalFiles"]]
    assert [pathlib.Path(place).read_text() for place in places[-5:]] == expected


@pytest.mark.parametrize(
    "name", ["../../outside", "link", "../shared/link", "../shared", "missing", "../shared/missing"]
)
def test_nothing_outside_of_shared_directories_is_collected(tmp_path: pathlib.Path, name: str) -> None:
    path, roots = catalogue(tmp_path, name)
    with pytest.raises(TemplateError, match=r"additionalFiles\[0\]\.local"):
        collect_file(path, config_dir=OWN_CONFIG, decrypt=refuse, asset_roots=[str(root) for root in roots])
    with pytest.raises(TemplateError, match=r"additionalFiles\[\d\]\.local"):
        assemble(path, config_dir=OWN_CONFIG, asset_roots=[str(root) for root in roots])


def test_files_beside_the_default_template(tmp_path: pathlib.Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(OWN_CONFIG, config)
    folder = config / "osv/debian/debian12/imageconfigs"
    (folder / "additionalfiles").mkdir()
    (folder / "additionalfiles" / "dhcp.network").write_text("dhcp")
    path, _roots = catalogue(tmp_path, "../additionalfiles/dhcp.network", "files/own")
    bundle = collect_file(path, config_dir=str(config), decrypt=refuse)
    assert not [name for name in bundle.contents if name.startswith("assets/")]
    assert contents_on_host(bundle, tmp_path) == ["dhcp", "own"]
    above, _roots = catalogue(tmp_path / "more", "../../../../../../outside")
    with pytest.raises(TemplateError, match="leaves the directory"):
        collect_file(above, config_dir=str(config), decrypt=refuse)


def test_private_keys_that_templates_share(tmp_path: pathlib.Path) -> None:
    path, roots = catalogue(tmp_path)
    content = json.loads(pathlib.Path(path).read_text())
    content["systemConfig"] = {"signing": {"checksums": {"key": "../shared/key"}}}
    pathlib.Path(path).write_text(json.dumps(content))
    bundle = collect_file(path, config_dir=OWN_CONFIG, decrypt=refuse, asset_roots=[str(roots[0])])
    assert bundle.private_keys == ["assets/up-1/shared/key"]
    store = InputStore(str(tmp_path / "work"))
    with open(tmp_path / "bundle.tar", "wb") as stream:
        digest = bundle.write(stream)
    store.add(str(tmp_path / "bundle.tar"), digest, bundle.private_keys)
    template = f"{store.path(digest)}/template/t.yml"
    store.remove_keys(digest)
    assembly = assemble(
        template,
        config_dir=OWN_CONFIG,
        absent_files=store.removed_keys(template),
        assets=store.asset_folder(template),
    )
    assert assembly.template["systemConfig"]["signing"]["checksums"]["key"] == (
        f"{store.path(digest)}/assets/up-1/shared/key"
    )
