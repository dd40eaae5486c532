# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The network, set up by systemd-networkd and systemd-resolved."""

from __future__ import annotations

import re

from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Interface, Network
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

_NETWORKD = "/usr/lib/systemd/systemd-networkd"
_RESOLVED = "/usr/lib/systemd/systemd-resolved"
_STUB = "../run/systemd/resolve/stub-resolv.conf"


def render_network(interface: Interface) -> str:
    """Return the systemd.network(5) file of an interface of the template."""
    lines = ["[Match]", f"Name={_pattern(interface)}", "", "[Network]"]
    if interface.dhcp4 or interface.dhcp6:
        both = interface.dhcp4 and interface.dhcp6
        lines.append(f"DHCP={'yes' if both else 'ipv4' if interface.dhcp4 else 'ipv6'}")
    lines += [f"Address={address}" for address in interface.addresses]
    lines += [f"Gateway={gateway}" for gateway in (interface.gateway4, interface.gateway6) if gateway]
    lines += [f"DNS={server}" for server in interface.nameservers]
    if interface.domains:
        lines.append(f"Domains={' '.join(interface.domains)}")
    for route in interface.routes:
        lines += ["", "[Route]"]
        if route.to != "default":
            lines.append(f"Destination={route.to}")
        lines.append(f"Gateway={route.via}")
    return "\n".join(lines) + "\n"


def network_file_name(index: int, interface: Interface) -> str:
    """Return the name of an interface's file; those of the template come before those of packages, in its order."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", _pattern(interface)).strip("-") or "all"
    return f"{10 + index:02d}-{name}.network"


def _pattern(interface: Interface) -> str:
    """Return which interfaces of the machine are meant: a name, or a pattern of names."""
    return interface.name or interface.match or ""


def configure_network(files: TreeFiles, network: Network) -> tuple[list[str], list[str]]:
    """Write the network's files; returns the units to enable, and warnings.

    :param network: The template's C(systemConfig.network).
    :raises ChrootError: systemd-networkd is not in the image.
    """
    interfaces = network.interfaces
    if not interfaces:
        return [], []
    if not files.exists(_NETWORKD):
        raise ChrootError(
            "The template sets up the network by systemd-networkd, which is not installed in the image.",
            remedy="Add the package that has it (systemd, or systemd-networkd) to systemConfig.packages, or take "
            "systemConfig.network away.",
        )
    for index, interface in enumerate(interfaces):
        files.write(f"/etc/systemd/network/{network_file_name(index, interface)}", render_network(interface))
    units = ["systemd-networkd.service"]
    warnings = []
    if files.exists(_RESOLVED):
        files.link("/etc/resolv.conf", _STUB)
        units.append("systemd-resolved.service")
    else:
        servers = [server for interface in interfaces for server in interface.nameservers]
        domains = [domain for interface in interfaces for domain in interface.domains]
        if servers:
            lines = [f"nameserver {server}" for server in dict.fromkeys(servers)]
            if domains:
                lines.insert(0, f"search {' '.join(dict.fromkeys(domains))}")
            files.write("/etc/resolv.conf", "\n".join(lines) + "\n")
        elif any(interface.dhcp4 or interface.dhcp6 for interface in interfaces):
            warnings.append(
                "Host names will not be resolved in the image: nothing takes the DNS servers from DHCP. "
                "Add the package systemd-resolved, or name servers in systemConfig.network.interfaces[].nameservers"
            )
    return units, warnings


__all__ = ("configure_network", "network_file_name", "render_network")
