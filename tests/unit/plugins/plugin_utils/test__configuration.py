# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import sys
import typing as t

import pytest
import yaml
from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.plugins.plugin_utils import _configuration
from ansible_collections.os_image.composer.plugins.plugin_utils._configuration import (
    OWN_FILE,
    SETTINGS,
    find_configuration,
    read_configuration,
    setting_of,
)

OWN = {
    "workers": 8,
    "config_dir": "",
    "cache_dir": "/var/cache/os-image-composer",
    "work_dir": "/var/lib/os-image-composer/work",
    "temp_dir": "",
    "download.min_rate": 1000,
    "download.timeout": 3600,
    "download.refresh_timeout": 1800,
    "logging.level": "info",
    "logging.file": "",
}


@pytest.fixture
def places(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[[str], pathlib.Path]:
    """Make a file in one of the places that are searched, each below a directory of this test."""
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(
        _configuration, "STANDARD_PLACES", ("~/.config/os-image-composer/config", str(tmp_path / "etc" / "config"))
    )
    for name in ("playbook", "current"):
        (tmp_path / name).mkdir()

    def make(name: str) -> pathlib.Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("workers: 1\n")
        return path

    return make


def write(path: pathlib.Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def find(tmp_path: pathlib.Path, named: str | None = None) -> str:
    return find_configuration(named, [str(tmp_path / "playbook"), str(tmp_path / "current")])


def test_the_own_file_has_every_setting() -> None:
    assert read_configuration(OWN_FILE) == OWN
    assert list(OWN) == list(SETTINGS)


def test_the_first_file_counts(places: t.Callable[[str], pathlib.Path], tmp_path: pathlib.Path) -> None:
    assert find(tmp_path) == OWN_FILE
    for name in (
        "etc/config.yaml",
        "etc/config.yml",
        "home/.config/os-image-composer/config.yaml",
        "home/.config/os-image-composer/config.yml",
        "current/os-image-composer.yaml",
        "current/os-image-composer.yml",
        "playbook/os-image-composer.yaml",
        "playbook/os-image-composer.yml",
    ):
        path = places(name)
        assert find(tmp_path) == str(path)


def test_a_named_file(places: t.Callable[[str], pathlib.Path], tmp_path: pathlib.Path) -> None:
    places("playbook/os-image-composer.yml")
    for name in ("current/mine.yml", "playbook/mine.yml"):
        path = places(name)
        assert find(tmp_path, "mine.yml") == str(path)
        assert find(tmp_path, str(path)) == str(path)
    path = places("home/x.yml")
    assert find(tmp_path, "~/x.yml") == str(path)
    with pytest.raises(TemplateError, match="The global configuration none.yml does not exist; it was looked for as"):
        find(tmp_path, "none.yml")


def test_what_anybody_may_have_put_there_is_refused(
    places: t.Callable[[str], pathlib.Path], tmp_path: pathlib.Path
) -> None:
    path = places("current/os-image-composer.yml")
    path.parent.chmod(0o1777)
    with pytest.raises(TemplateError, match="is not used, because everybody may write into"):
        find(tmp_path)
    assert find(tmp_path, str(path)) == str(path)


def test_values_and_relative_paths(tmp_path: pathlib.Path) -> None:
    path = write(
        tmp_path / "c.yml",
        "workers: 16\nconfig_dir: ./config\ncache_dir: cache\nwork_dir: /srv/composer/\ntemp_dir: ~/tmp\n"
        "logging: {level: debug}\n",
    )
    assert read_configuration(path) == {
        **OWN,
        "workers": 16,
        "config_dir": str(tmp_path / "config"),
        "cache_dir": str(tmp_path / "cache"),
        "work_dir": "/srv/composer",
        "temp_dir": "~/tmp",
        "logging.level": "debug",
    }


def test_everything_that_is_wrong_is_told(tmp_path: pathlib.Path) -> None:
    path = write(
        tmp_path / "c.yml",
        "worker: 3\nworkers: 101\nwork_dir: ''\ncache_dir:\ntemp_dir: 7\nlogging: {level: warning, fil: x}\n"
        "ai: {provider: ollama}\n",
    )
    with pytest.raises(TemplateError) as caught:
        read_configuration(path)
    assert str(caught.value).splitlines() == [
        f"The global configuration {path} is not valid (8 errors):",
        f"{path}:1: worker: Unknown key 'worker'. Did you mean 'workers'?",
        f"{path}:2: workers: 101 is out of range. Give a number between 1 and 100.",
        f"{path}:3: work_dir: The text is empty. Give a directory, or remove the key.",
        f"{path}:4: cache_dir: The value is empty, but must be a text. Give one, or remove the key.",
        f"{path}:5: temp_dir: The value is the number 7, but must be a text.",
        f"{path}:6: logging.level: 'warning' is not known here. Did you mean 'warn'?",
        f"{path}:6: logging.fil: Unknown key 'fil'. Did you mean 'file'?",
        f"{path}:7: ai: Unknown key 'ai'. Known are: workers, config_dir, cache_dir, work_dir, temp_dir, "
        "download, logging.",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workers: yes\n", "workers: The value is the boolean true, but must be a whole number."),
        ("workers: 0\n", "0 is out of range"),
        ("workers: '8'\n", "workers: The value is the text '8', but must be a whole number."),
        ("logging: info\n", "logging: The value is the text 'info', but must be a mapping."),
        ('temp_dir: "/a\\n/b"\n', "is no path"),
        ("- workers\n", "The top level must be a mapping with keys such as workers and work_dir."),
        ("workers: 1\nworkers: 2\n", "The key 'workers' is given twice"),
        ("workers: !!python/object 1\n", "is not allowed here"),
    ],
)
def test_what_is_refused(tmp_path: pathlib.Path, text: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        read_configuration(write(tmp_path / "c.yml", text))
    assert message in str(caught.value)


def test_a_symbolic_link_is_refused(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "real.yml", "workers: 1\n")
    (tmp_path / "link.yml").symlink_to("real.yml")
    with pytest.raises(TemplateError, match="symbolic link"):
        read_configuration(str(tmp_path / "link.yml"))


def test_a_file_is_read_again_when_it_has_changed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    original = _configuration.load_yaml

    def counting(path: str, **kwargs: t.Any) -> t.Any:
        reads.append(path)
        return original(path, **kwargs)

    monkeypatch.setattr(_configuration, "load_yaml", counting)
    path = tmp_path / "c.yml"
    write(path, "workers: 1\n")
    read_configuration(OWN_FILE)
    reads.clear()
    assert [read_configuration(str(path))["workers"] for _time in range(3)] == [1, 1, 1]
    assert reads == [str(path)]
    write(path, "workers: 2\n")
    os.utime(path, ns=(1, 1))
    assert read_configuration(str(path))["workers"] == 2


def test_nothing_but_ansible_core_is_needed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(TemplateError):
        read_configuration(write(tmp_path / "c.yml", "workers: x\nfoo: 1\n"))


def test_names_of_settings() -> None:
    assert setting_of(OWN, "logging.level") == "info"
    with pytest.raises(TemplateError, match="has no setting 'log_level'. Did you mean 'logging.level'"):
        setting_of(OWN, "log_level")


def test_the_own_file_is_plain_yaml() -> None:
    assert yaml.safe_load(pathlib.Path(OWN_FILE).read_text())["logging"] == {"level": "info", "file": ""}
