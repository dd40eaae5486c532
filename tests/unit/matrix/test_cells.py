# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dealing of what takes long: nothing is left out by all turns, and each turn boots one of each kind."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.tests.matrix.cells import BOOTS, LOADERS, WHOLE, Boot
from ansible_collections.os_image.composer.tests.support.stage_driver import ROOT
from ansible_collections.os_image.composer.tests.support.turn import TURNS

_KINDS: t.Mapping[str, t.Callable[[Boot], bool]] = {
    "systemd-boot": lambda boot: boot.loader == "systemd-boot",
    "a unified kernel image": lambda boot: boot.loader == "uki",
    "GRUB on UEFI": lambda boot: boot.loader in ("grub-efi", "grub-signed"),
    "GRUB on a BIOS": lambda boot: boot.loader == "grub-bios" and boot.firmware == "bios",
    "RPM packages": lambda boot: boot.of_rpm,
    "another architecture": lambda boot: boot.arch != "x86_64",
}


def test_every_boot_has_its_turn() -> None:
    assert {boot.turn for boot in BOOTS} == set(TURNS)
    assert {whole.turn for whole in WHOLE} - {None} == set(TURNS)


def test_every_cell_is_named_by_an_end_to_end_test() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in pathlib.Path(ROOT, "tests/e2e").glob("test_*.py"))
    assert [whole.name for whole in WHOLE if f'"{whole.name}"' not in text] == []


def test_every_bootloader_is_booted() -> None:
    assert {boot.loader for boot in BOOTS} == set(LOADERS)


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("kind", _KINDS)
def test_each_turn_boots_one_of_each_kind(turn: int, kind: str) -> None:
    assert [boot.name for boot in BOOTS if boot.turn == turn and _KINDS[kind](boot)] != []


def test_no_turn_boots_more_than_its_share() -> None:
    assert max(sum(boot.turn == turn for boot in BOOTS) for turn in TURNS) == -(-len(BOOTS) // len(TURNS))


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("of_rpm", [False, True])
def test_each_turn_has_an_iso_of_each_package_family(turn: int, of_rpm: bool) -> None:
    cases = {whole.case for whole in WHOLE if whole.turn == turn and whole.name.startswith("RPM") == of_rpm}
    assert {case for case in cases if case.endswith("-iso")} != set()


@pytest.mark.parametrize("turn", TURNS)
def test_no_turn_has_both_installers(turn: int) -> None:
    """They take longest."""
    assert len({whole.case for whole in WHOLE if whole.turn == turn and "installer" in whole.case}) <= 1


def test_a_disk_is_judged_in_the_turn_of_the_installer_that_writes_it() -> None:
    for case in {whole.case for whole in WHOLE if "installer" in whole.case}:
        assert len({whole.turn for whole in WHOLE if whole.case == case}) == 1
