# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils._checks.conftest import (
    Approve,
    Judge,
    Part,
    Right,
    interfaces,
    neighbours,
)

STATIC = {"name": "a", "addresses": ["10.1.2.3/16"]}

WRONG: list[tuple[Part, str]] = [
    (interfaces({"name": "a"}, {"name": "a"}), "The interface a is described twice."),
    (interfaces({"name": "a", "addresses": ["10.0.0.1"]}), "has no prefix length."),
    (interfaces({"name": "a", "addresses": ["10.0.0.999/8"]}), "is no IP address with a prefix length"),
    (interfaces({**STATIC, "gateway4": "::1"}), "must be an IPv4 one."),
    (interfaces({"name": "a", "gateway6": "fe80::1"}), "gateway6 needs an IPv6 address"),
    (interfaces({"name": "a", "nameservers": ["dns"]}), "nameservers[0]: 'dns' is no IP address."),
    (interfaces({**STATIC, "routes": [{"to": "10.0.0.1/8", "via": "10.1.0.1"}]}), "is no network."),
    (interfaces({**STATIC, "routes": [{"to": "10.0.0.0/8", "via": "::1"}]}), "must be an IPv4 address"),
    (interfaces({**STATIC, "addresses": ["10.1.255.255/16"]}), "is the broadcast address of its network."),
    (interfaces({**STATIC, "addresses": ["10.1.0.0/16"]}), "is the network itself, not a host in it."),
    (interfaces(STATIC, {**STATIC, "name": "b"}), "interfaces[1].addresses[0]: The address 10.1.2.3 is given twice."),
    (interfaces({**STATIC, "gateway4": "10.2.0.1"}), "The gateway 10.2.0.1 lies in no network of this interface"),
    (interfaces({**STATIC, "gateway4": "10.1.2.3"}), "The gateway 10.1.2.3 is this interface itself."),
    (
        interfaces({**STATIC, "routes": [{"to": "default", "via": "192.0.2.1"}]}),
        "interfaces[0].routes[0].via: The gateway 192.0.2.1 lies in no network",
    ),
    (interfaces({"match": "!lo", "dhcp4": True}, STATIC), "The entry for !lo stands before this one and matches a too"),
    (interfaces({"match": "l* en*", "dhcp4": True}), "l* en* matches the loopback interface"),
    (interfaces({"name": "a"}), "This interface gets no address."),
    (interfaces({**STATIC, "dhcp4": True}), "This interface has an IPv4 address, and asks DHCP for a second one."),
    (
        interfaces(
            {"name": "a", "addresses": ["2001:db8::2/64"], "gateway6": "fe80::1"},
            {"name": "b", "addresses": ["2001:db8::3/64"], "gateway6": "fe80::1"},
        ),
        "interfaces[1].gateway6: Two interfaces have a gateway6",
    ),
]

FULL = {
    "name": "eth0",
    "addresses": ["10.1.2.3/16", "2001:db8::2/64"],
    "gateway4": "10.1.0.1",
    "gateway6": "fe80::1",
    "nameservers": ["10.1.0.53"],
    "domains": ["example.org"],
    "routes": [{"to": "10.9.0.0/16", "via": "10.1.0.9"}, {"to": "default", "via": "10.1.0.2"}],
}

RIGHT: Right = {
    "network_is_consistent": [interfaces(FULL), interfaces({"match": "en*", "dhcp4": True})],
    "addresses_are_those_of_hosts": [
        interfaces({"name": "a", "addresses": ["10.0.0.0/31"]}, {"name": "b", "addresses": ["10.0.0.7/32"]})
    ],
    "gateways_can_be_reached": [
        interfaces(FULL),
        interfaces({**STATIC, "dhcp4": True, "routes": [{"to": "10.9.0.0/16", "via": "192.0.2.1"}]}),
    ],
    "entries_are_not_hidden": [
        interfaces(STATIC, {"match": "!lo", "dhcp4": True}),
        interfaces({"match": "en*", "dhcp4": True}, STATIC),
    ],
    "patterns_leave_the_loopback_alone": [
        interfaces({"match": "en* eth*", "dhcp4": True}),
        interfaces({"match": "!lo", "dhcp4": True}),
    ],
    "addresses_come_from_one_place": [
        interfaces(STATIC, {"match": "en*", "dhcp6": True}),
        interfaces({**STATIC, "dhcp6": True}),
    ],
    "default_gateway_is_one": [
        interfaces({**STATIC, "gateway4": "10.1.0.1"}, {"name": "b", "addresses": ["10.2.0.2/16"]})
    ],
}


@pytest.mark.parametrize(("part", "expected"), WRONG, ids=[text[:60] for _part, text in WRONG])
def test_wrong(part: Part, expected: str, judge: Judge) -> None:
    found = judge(part)
    assert any(expected in line for line in found), found


@pytest.mark.parametrize(("name", "part"), neighbours(RIGHT))
def test_right(name: str, part: Part, approve: Approve) -> None:
    approve(name, part)
