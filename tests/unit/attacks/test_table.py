# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attacks on repositories: one of each kind in each family; C(make attacks) tries all of them."""

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.tests.attacks.build_host import Accepted
from ansible_collections.os_image.composer.tests.attacks.table import ATTACKS, FAMILIES, Attack, Ground
from ansible_collections.os_image.composer.tests.support.signing_keys import Keys

#: The names in The Update Framework's list.
NAMES = (
    *("arbitrary installation", "endless data", "extraneous dependencies", "fast-forward", "indefinite freeze"),
    *("malicious mirrors", "mix-and-match", "rollback", "slow retrieval", "vulnerability to key compromise"),
    "wrong software installation",
)


@pytest.fixture(scope="module")
def ground(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(keys, tmp_path_factory.mktemp("ground"))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_kind_of_attack_is_tried(family: str) -> None:
    assert list(dict.fromkeys(attack.name for attack in ATTACKS)) == list(NAMES)
    assert {attack.name for attack in ATTACKS if attack.short and family in attack.families} == set(NAMES)


@pytest.mark.parametrize(
    ("attack", "family"),
    [
        pytest.param(attack, family, id=f"{family}: {attack.name}, {attack.way}")
        for attack in ATTACKS
        if attack.short
        for family in attack.families
    ],
)
def test_an_attack_is_warded_off(ground: Ground, attack: Attack, family: str) -> None:
    message = ground.try_out(attack, family)
    assert bool(message) == bool(attack.words)


def test_an_attack_that_succeeds_is_told(ground: Ground) -> None:
    harmless = Attack("rollback", "nothing at all", "it is too old", lambda host: host.refused(), ("deb",), short=True)
    with pytest.raises(Accepted, match="an image with .*'base': '1.0'.* was built"):
        ground.try_out(harmless, "deb")
    other = Attack("rollback", "another reason", "it is too old", ATTACKS[0].run, ("deb",), short=True)
    with pytest.raises(Accepted, match="it was refused for another reason: The InRelease of the repository"):
        ground.try_out(other, "deb")
