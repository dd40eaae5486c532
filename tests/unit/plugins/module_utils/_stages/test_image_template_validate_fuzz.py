# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import typing as t

import pytest
import yaml
from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.plugins.module_utils._stage import StageOptions
from ansible_collections.os_image.composer.plugins.module_utils._stages.image_template_validate import TemplateValidate
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils.conftest import CONFIG, ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TEMPLATES = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "image-templates").glob("*.yml"))]

FEW = settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=30),
    st.sampled_from(["", "0", "/", "..", "/../x", "4GiB", "999999999999TiB", "$6$", "en*", "root", "1MiB", "::1", "*"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value: t.Any, path: tuple[t.Any, ...] = ()) -> t.Iterator[tuple[t.Any, ...]]:
    """Yield the path of each value in a document."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*path, index))


def attempt(data: bytes) -> None:
    """Nothing but a located error may come out of a template."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "t.yml")
        path.write_bytes(data)
        try:
            TemplateValidate.open(
                str(path),
                config_dir=str(CONFIG),
                work_dir=directory,
                cache_dir=directory,
                overrides={},
                options=StageOptions(),
            )
        except TemplateError as exc:
            assert exc.details["errors"]
            for error in exc.details["errors"]:
                assert error["file"]
                assert error["path"]
                assert error["message"].endswith((".", "?", ")", '"')), error["message"]


@FEW
@given(st.data())
def test_mutated_templates(data: st.DataObject) -> None:
    template = copy.deepcopy(data.draw(st.sampled_from(TEMPLATES)))
    for _number in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(sorted(places(template), key=str)))
        holder = template
        for step in path[:-1]:
            holder = holder[step]
        action = data.draw(st.sampled_from(["replace", "remove", "repeat", "add"]))
        if action == "remove":
            del holder[path[-1]]
        elif action == "repeat" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[path[-1]]))
        elif action == "add" and isinstance(holder, dict):
            holder[data.draw(st.text(max_size=10))] = data.draw(VALUES)
        else:
            holder[path[-1]] = data.draw(VALUES)
        if not list(places(template)):
            break
    attempt(json.dumps(template).encode())


@FEW
@given(
    st.one_of(st.binary(max_size=200), st.text(alphabet="ab:-?[]{}&*!|>'\"#%@,. \n\t<", max_size=80).map(str.encode))
)
def test_random_bytes(data: bytes) -> None:
    attempt(data)


@FEW
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=8))
def test_templates_with_damaged_bytes(position: int, junk: bytes) -> None:
    text = (ROOT / "image-templates" / "debian12-x86_64-server-raw.yml").read_bytes()
    attempt(text[:position] + junk + text[position + len(junk) :])


def test_large_documents_are_refused_quickly() -> None:
    for text in (
        "packages: [" + "a, " * 340_000 + "]",
        "a: " + "{b: " * 250_000,
        "a: &a [" + "1," * 10_000 + "]\nb: [" + "*a," * 300_000 + "]",
        "image:\n" + "".join(f"  k{index}: 1\n" for index in range(60_000)),
        "x: '" + "y" * 1_000_000 + "'",
        "? " * 500_000,
    ):
        started = time.process_time()
        attempt(text.encode())
        assert time.process_time() - started < 1.0, text[:40]


_BEGIN = "image: {name: a, version: '1'}\ntarget: {os: debian, dist: debian12, arch: x86_64, imageType: raw}\n"

# The loader takes at most 20000 items, so this is the most of each kind that reaches schema, merge and checks.
_MOST = {
    "packages": ("systemConfig: {packages: [", "p{0}, ", "]}"),
    "removed packages": ("remove: {packages: [", "p{0}, ", "]}"),
    "removed globs": ("remove: {packages: [", "p*{0}, ", "]}"),
    "services": ("systemConfig: {services: {enable: [", "s{0}, ", "]}}"),
    "users": ("systemConfig: {users: [", "{{name: u{0}, sshKeys: [x]}}, ", "]}"),
    "one user": ("systemConfig: {users: [", "{{name: u}}, ", "]}"),
    "files": ("systemConfig: {additionalFiles: [", "{{local: f{0}, final: /a/{0}}}, ", "]}"),
    "partitions": ("disk: {size: 4GiB, partitions: [", "{{id: p{0}, size: 1MiB}}, ", "]}"),
    "interfaces": ("systemConfig: {network: {interfaces: [", "{{name: e{0}, addresses: [192.0.2.1/8]}}, ", "]}}"),
    "repositories": ("packageRepositories: [", "{{codename: c{0}, url: 'http://x'}}, ", "]"),
    "commands": ("systemConfig: {configurations: [", "{{cmd: '{0}'}}, ", "]}"),
    "unknown keys": ("systemConfig: {", "k{0}: 1, ", "}"),
}


@pytest.mark.parametrize("kind", _MOST)
def test_the_largest_templates_are_judged_in_a_second_and_200_mib(kind: str, tmp_path: pathlib.Path) -> None:
    begin, item, end = _MOST[kind]
    nodes = 2 * item.count("{{") + 2 * item.count(", ") + 1
    text = _BEGIN + begin + "".join(item.format(number) for number in range(19_900 // nodes)) + end
    # The process itself knows its peak; what wait4 tells includes that of this one, from before the exec.
    program = (
        f"import sys; from {__name__} import attempt; attempt(open(sys.argv[1], 'rb').read()); "
        "open(sys.argv[2], 'w').write(open('/proc/self/status').read())"
    )
    path, status_path = tmp_path / "large.yml", tmp_path / "status"
    path.write_text(text)
    process = subprocess.Popen([sys.executable, "-c", program, str(path), str(status_path)])
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    (peak,) = [line.split()[1] for line in status_path.read_text().splitlines() if line.startswith("VmHWM:")]
    assert int(peak) < 200 * 1024
    # Importing pytest and hypothesis takes about as long again as judging.
    assert usage.ru_utime + usage.ru_stime < 3.0
