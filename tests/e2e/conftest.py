# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cases by name, and the images that the tests share."""

from __future__ import annotations

import datetime
import os
import shutil
import typing as t

import pytest
from ansible_collections.os_image.composer.tests.e2e.support.image import BuiltImage, Guest, Workspace, boot
from ansible_collections.os_image.composer.tests.e2e.support.template import TestTemplate
from ansible_collections.os_image.composer.tests.matrix.cells import WHOLE
from ansible_collections.os_image.composer.tests.matrix.state import MatrixState

_STATE = pytest.StashKey[MatrixState]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--only", default="", help="names of cases, with commas between them")
    parser.addoption("--docs", action="store_true", help="note in docs/matrix.json what passes, not in build/matrix")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "case(name): the case that a test belongs to")
    config.addinivalue_line(
        "markers", "cells(names, steps=...): the cells of the matrix whose steps have passed when the test has"
    )
    config.stash[_STATE] = MatrixState(datetime.date.today())
    config.addinivalue_line("markers", "rotates(group): of the tests of a group, one runs a day; all, when asked for")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    cases = {item.nodeid: mark.args[0] for item in items if (mark := item.get_closest_marker("case"))}
    nameless = [item.nodeid for item in items if item.nodeid not in cases]
    if nameless:
        raise pytest.UsageError(f"These tests belong to no case: {', '.join(nameless)}")
    _check_cells(items, cases)
    wanted = {name for name in config.getoption("--only").replace(",", " ").split() if name}
    unknown = wanted - set(cases.values())
    if unknown:
        raise pytest.UsageError(
            f"There is no case {', '.join(sorted(unknown))}. The cases: {', '.join(sorted(set(cases.values())))}."
        )
    if wanted:
        config.hook.pytest_deselected(items=[item for item in items if cases[item.nodeid] not in wanted])
        items[:] = [item for item in items if cases[item.nodeid] in wanted]
    else:
        _rotate(config, items)


def _check_cells(items: list[pytest.Item], cases: dict[str, str]) -> None:
    """Check that the tests know the cells that the matrix has, by their names and cases."""
    known = {whole.name: whole.case for whole in WHOLE}
    for item in items:
        for mark in item.iter_markers("cells"):
            wrong = [name for name in mark.args if known.get(name) != cases[item.nodeid]]
            if wrong:
                raise pytest.UsageError(f"{item.nodeid}: the matrix has no cell {wrong} of its case.")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> t.Generator[None, t.Any, None]:
    outcome = yield
    report, state = outcome.get_result(), item.config.stash[_STATE]
    for mark in item.iter_markers("cells"):
        for name in mark.args:
            if report.failed:
                state.failed(name, mark.kwargs["steps"])
            elif report.passed and report.when == "call":
                for step in mark.kwargs["steps"]:
                    state.passed(name, step)


def pytest_sessionfinish(session: pytest.Session) -> None:
    session.config.stash[_STATE].write(everything=session.config.getoption("--docs"))


def _rotate(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep one test of each group: ways of doing the same that take long, another one each day."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        if mark := item.get_closest_marker("rotates"):
            groups.setdefault(mark.args[0], []).append(item)
    day = datetime.datetime.now(tz=datetime.timezone.utc).toordinal()
    left_out = [item for group in groups.values() for item in group if item is not group[day % len(group)]]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def workspace() -> Workspace:
    """The directories that all end-to-end tests share."""
    if shutil.which("ansible-playbook") is None:
        pytest.exit("ansible-playbook is not in PATH; run the tests by make e2e.", returncode=2)
    return Workspace.prepare()


@pytest.fixture(scope="session")
def build(workspace: Workspace) -> t.Callable[[TestTemplate], BuiltImage]:
    """Build the image of a template, once a session."""
    built: dict[str, BuiltImage] = {}

    def build_once(template: TestTemplate) -> BuiltImage:
        if template.name not in built:
            built[template.name] = workspace.build(template)
        return built[template.name]

    return build_once


@pytest.fixture(scope="module")
def image(request: pytest.FixtureRequest, build: t.Callable[[TestTemplate], BuiltImage]) -> BuiltImage:
    """The image of the template that the test module is about (a parameter, or C(TEMPLATE))."""
    return build(getattr(request, "param", None) or request.module.TEMPLATE)


@pytest.fixture(scope="module")
def guest(image: BuiltImage) -> t.Iterator[Guest]:
    """The image, booted, with root logged in at its serial console."""
    with boot(image, os.path.join(image.output_dir, "..", "boot-test")) as machine:
        yield machine
