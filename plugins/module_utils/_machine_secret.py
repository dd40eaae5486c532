# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Machine secrets: the keys and identities that packages make when they are installed, and each machine has its own of.

One table for all families of packages. Who brings a file, and how it is made, is in the maintainer scripts (Debian 12
and 13) and scriptlets (Fedora, Enterprise Linux, Azure Linux) of the packages named.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import typing as t


@dataclasses.dataclass(frozen=True)
class MachineSecret:
    """Files that belong to one machine, and how a machine makes them.

    :ivar name: Of the unit that makes them; unique in the table, but for those that do the same in different trees.
    :ivar packages: Who makes the files at the installation.
    :ivar files: Patterns of their paths; no part but the last has wildcards.
    :ivar maker: Who makes them when they are missing, in words; empty when a unit of the build's own does.
    :ivar needs: Programs, by name, and other files, by path, without which they are not made.
    :ivar command: Shell commands that make them, with all that has been there as C($files).
    :ivar each: Shell commands that make C($file), one of them.
    :ivar lines: How the only lines of the files begin that belong to the machine. The rest of them stays.
    :ivar proof: Patterns of paths that tell by their presence that a machine has made them; by default, all that were
        there.
    :ivar is_identity: Whether machines are told apart by it, so that no template has a reason to bring it.
    :ivar before: Units that need them and are started before sysinit.target.
    """

    name: str
    packages: str
    files: t.Tuple[str, ...]
    maker: str = ""
    needs: t.Tuple[str, ...] = ()
    command: str = ""
    each: str = ""
    lines: t.Tuple[str, ...] = ()
    proof: t.Tuple[str, ...] = ()
    is_identity: bool = False
    before: t.Tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """The unit that makes them; empty when somebody else does."""
        return "" if self.maker else f"machine-secret-{self.name}.service"

    def names(self, path: str) -> bool:
        """Tell whether a path of a tree, without symbolic links, is one of the files."""
        directory = path.rpartition("/")[0]
        return any(
            pattern.rpartition("/")[0] == directory and fnmatch.fnmatchcase(path, pattern) for pattern in self.files
        )


# The name is no longer than a certificate takes.
_SELF_SIGNED = """\
name=$(uname -n | cut -c1-64)
openssl req -new -x509 -newkey rsa:2048 -nodes -sha256 -days 3650 -subj "/CN=$name" \
-addext "subjectAltName=DNS:$name" -keyout {key} -out {certificate}"""
_RANDOM_BASE64 = 'head -c 32 /dev/urandom | base64 > "$file"'


def _self_signed(name: str, packages: str, key: str, certificate: str = "") -> MachineSecret:
    """Return what openssl makes: a certificate with its key, or one file with both."""
    command = _SELF_SIGNED.format(key=key, certificate=certificate or key)
    if not certificate:
        # Both would write over each other in one file.
        command = _SELF_SIGNED.format(key=key, certificate=f"{key}.new")
        command += f"\ncat {key}.new >> {key}\nrm {key}.new"
    files = (key, certificate) if certificate else (key,)
    return MachineSecret(name, packages, files, needs=("openssl",), command=command)


MACHINE_SECRETS: t.Tuple[MachineSecret, ...] = (
    # What each system has
    MachineSecret("machine-id", "systemd", ("/etc/machine-id",), maker="systemd", is_identity=True),
    MachineSecret("dbus", "dbus", ("/var/lib/dbus/machine-id",), maker="a link to /etc/machine-id", is_identity=True),
    MachineSecret(
        "random-seed",
        "systemd",
        ("/var/lib/systemd/random-seed",),
        maker="systemd-random-seed.service",
        is_identity=True,
    ),
    MachineSecret(
        "credentials", "systemd", ("/var/lib/systemd/credential.secret",), maker="systemd-creds", is_identity=True
    ),
    MachineSecret(
        "openssh",
        "openssh-server",
        ("/etc/ssh/ssh_host_*_key", "/etc/ssh/ssh_host_*_key.pub"),
        maker="sshd-keygen.service",
        is_identity=True,
    ),
    MachineSecret(
        "networkmanager",
        "network-manager, NetworkManager",
        ("/var/lib/NetworkManager/secret_key",),
        maker="NetworkManager.service",
    ),
    MachineSecret("dhcpcd", "dhcpcd", ("/etc/dhcpcd.duid", "/var/lib/dhcpcd/duid"), maker="dhcpcd"),
    MachineSecret("openssl", "openssl, by the scripts that run it", ("/root/.rnd",), maker="openssl"),
    # Storage
    MachineSecret(
        "nvme",
        "nvme-cli",
        ("/etc/nvme/hostnqn", "/etc/nvme/hostid"),
        # The two have to agree. gen-hostnqn takes the UUID of the firmware, which machines may share.
        command="""\
uuid=$(cat /proc/sys/kernel/random/uuid)
echo "nqn.2014-08.org.nvmexpress:uuid:$uuid" > /etc/nvme/hostnqn
echo "$uuid" > /etc/nvme/hostid""",
        is_identity=True,
        before=("nvmf-autoconnect.service", "nvmefc-boot-connections.service"),
    ),
    MachineSecret(
        "iscsi",
        "open-iscsi, iscsi-initiator-utils",
        ("/etc/iscsi/initiatorname.iscsi",),
        needs=("iscsi-iname",),
        # The prefix that Debian's package gives; others have theirs in the program.
        command="""\
[ ! -e /etc/debian_version ] || set -- -p iqn.1993-08.org.debian:01
echo "InitiatorName=$(iscsi-iname "$@")" > /etc/iscsi/initiatorname.iscsi""",
        is_identity=True,
        before=("iscsid.service", "iscsid.socket", "iscsiuio.service", "iscsi-init.service", "open-iscsi.service"),
    ),
    MachineSecret(
        "hostid", "zfsutils-linux, zfs", ("/etc/hostid",), each='head -c 4 /dev/urandom > "$file"', is_identity=True
    ),
    # Remote access
    MachineSecret(
        "dropbear",
        "dropbear, dropbear-bin",
        ("/etc/dropbear/dropbear_*_host_key",),
        is_identity=True,
        needs=("dropbearkey",),
        each="""\
type=${file##*/dropbear_}
rm -f "$file"
dropbearkey -t "${type%_host_key}" -f "$file" > /dev/null""",
    ),
    MachineSecret(
        "dropbear-initramfs",
        "dropbear-initramfs",
        ("/etc/dropbear/initramfs/dropbear_*_host_key", "/etc/dropbear-initramfs/dropbear_*_host_key"),
        needs=("dropbearkey",),
        each="""\
type=${file##*/dropbear_}
rm -f "$file"
dropbearkey -t "${type%_host_key}" -f "$file" > /dev/null""",
    ),
    MachineSecret(
        "xrdp",
        "xrdp",
        ("/etc/xrdp/rsakeys.ini",),
        needs=("xrdp-keygen",),
        each='xrdp-keygen xrdp "$file"',
    ),
    _self_signed("xrdp-certificate", "xrdp", "/etc/xrdp/key.pem", "/etc/xrdp/cert.pem"),
    MachineSecret(
        "cockpit",
        "cockpit-ws",
        (
            "/etc/cockpit/ws-certs.d/0-self-signed.cert",
            "/etc/cockpit/ws-certs.d/0-self-signed.key",
            "/etc/cockpit/ws-certs.d/0-self-signed-ca.pem",
        ),
        maker="cockpit.service",
    ),
    # Certificates for all kinds of servers
    MachineSecret(
        "ssl-cert",
        "ssl-cert; and with it apache2, postfix, dovecot, postgresql, xrdp, freeradius",
        ("/etc/ssl/private/ssl-cert-snakeoil.key", "/etc/ssl/certs/ssl-cert-snakeoil.pem"),
        needs=("make-ssl-cert", "openssl"),
        command="make-ssl-cert generate-default-snakeoil --force-overwrite",
    ),
    MachineSecret(
        "httpd",
        "mod_ssl",
        ("/etc/pki/tls/private/localhost.key", "/etc/pki/tls/certs/localhost.crt"),
        maker="httpd-init.service",
        needs=("/usr/lib/systemd/system/httpd-init.service",),
    ),
    _self_signed("httpd", "mod_ssl", "/etc/pki/tls/private/localhost.key", "/etc/pki/tls/certs/localhost.crt"),
    _self_signed("postfix", "postfix", "/etc/pki/tls/private/postfix.key", "/etc/pki/tls/certs/postfix.pem"),
    _self_signed("sendmail", "sendmail", "/etc/pki/tls/private/sendmail.key", "/etc/pki/tls/certs/sendmail.pem"),
    MachineSecret(
        "exim",
        "exim",
        ("/etc/pki/tls/private/exim.pem", "/etc/pki/tls/certs/exim.pem"),
        maker="exim-gencert.service",
        needs=("/usr/lib/systemd/system/exim-gencert.service",),
    ),
    _self_signed("exim", "exim", "/etc/pki/tls/private/exim.pem", "/etc/pki/tls/certs/exim.pem"),
    MachineSecret(
        "dovecot",
        "dovecot",
        ("/etc/pki/dovecot/private/dovecot.pem", "/etc/pki/dovecot/certs/dovecot.pem"),
        maker="dovecot-init.service",
        needs=("/usr/lib/systemd/system/dovecot-init.service",),
    ),
    _self_signed("dovecot", "dovecot", "/etc/pki/dovecot/private/dovecot.pem", "/etc/pki/dovecot/certs/dovecot.pem"),
    MachineSecret(
        "cyrus-imapd",
        "cyrus-imapd",
        ("/etc/pki/cyrus-imapd/cyrus-imapd.pem", "/etc/pki/cyrus-imapd/cyrus-imapd-key.pem"),
        maker="cyrus-imapd-init.service",
        needs=("/usr/lib/systemd/system/cyrus-imapd-init.service",),
    ),
    _self_signed("quassel", "quassel-core", "/var/lib/quassel/quasselCert.pem"),
    MachineSecret(
        "ircd-hybrid",
        "ircd-hybrid",
        ("/etc/ircd-hybrid/key/ircd.key", "/etc/ircd-hybrid/key/ircd.pem"),
        needs=("openssl",),
        command="""\
cd /etc/ircd-hybrid
openssl genrsa -out key/ircd.key 2048
openssl req -config cert.cnf -new -x509 -key key/ircd.key -out key/ircd.pem -days 365""",
    ),
    MachineSecret(
        "openvswitch-pki",
        "openvswitch-pki",
        (
            "/var/lib/openvswitch/pki/controllerca/*",
            "/var/lib/openvswitch/pki/controllerca/newcerts/*",
            "/var/lib/openvswitch/pki/controllerca/private/*",
            "/var/lib/openvswitch/pki/switchca/*",
            "/var/lib/openvswitch/pki/switchca/newcerts/*",
            "/var/lib/openvswitch/pki/switchca/private/*",
        ),
        needs=("ovs-pki", "openssl"),
        command="rm -rf /var/lib/openvswitch/pki\novs-pki init",
        proof=("/var/lib/openvswitch/pki/controllerca/cacert.pem", "/var/lib/openvswitch/pki/switchca/cacert.pem"),
    ),
    # Keys between the parts of one service
    MachineSecret(
        "bind",
        "bind",
        ("/etc/rndc.key",),
        maker="named-setup-rndc.service",
        needs=("/usr/lib/systemd/system/named-setup-rndc.service",),
    ),
    MachineSecret(
        "bind",
        "bind9",
        ("/etc/bind/rndc.key", "/etc/rndc.key"),
        needs=("rndc-confgen",),
        each='rndc-confgen -a -c "$file"',
    ),
    MachineSecret(
        "unbound",
        "unbound",
        (
            "/etc/unbound/unbound_control.key",
            "/etc/unbound/unbound_control.pem",
            "/etc/unbound/unbound_server.key",
            "/etc/unbound/unbound_server.pem",
        ),
        needs=("unbound-control-setup", "openssl"),
        command="rm -f $files\nunbound-control-setup",
    ),
    MachineSecret(
        "nsd",
        "nsd",
        (
            "/etc/nsd/nsd_control.key",
            "/etc/nsd/nsd_control.pem",
            "/etc/nsd/nsd_server.key",
            "/etc/nsd/nsd_server.pem",
        ),
        needs=("nsd-control-setup", "openssl"),
        command="rm -f $files\nnsd-control-setup",
    ),
    MachineSecret(
        "munge",
        "munge",
        ("/etc/munge/munge.key",),
        each='head -c 1024 /dev/urandom > "$file"',
    ),
    MachineSecret("rabbitmq", "rabbitmq-server", ("/var/lib/rabbitmq/.erlang.cookie",), each=_RANDOM_BASE64),
    MachineSecret(
        "phpmyadmin",
        "phpmyadmin",
        ("/var/lib/phpmyadmin/blowfish_secret.inc.php",),
        each="""\
secret=$(head -c 24 /dev/urandom | base64)
printf '<?php\\n$cfg["blowfish_secret"] = "%s";\\n' "$secret" > "$file\"""",
    ),
    # Signatures
    MachineSecret("dkms", "dkms", ("/var/lib/dkms/mok.key", "/var/lib/dkms/mok.pub"), maker="dkms"),
    MachineSecret(
        "shim-signed",
        "shim-signed",
        ("/var/lib/shim-signed/mok/MOK.priv", "/var/lib/shim-signed/mok/MOK.der"),
        maker="update-secureboot-policy",
    ),
    MachineSecret(
        "akmods",
        "akmods",
        ("/etc/pki/akmods/private/*", "/etc/pki/akmods/certs/*"),
        maker="akmods-keygen@akmods-keygen.service",
        needs=("/usr/lib/systemd/system/akmods-keygen@.service",),
    ),
    MachineSecret(
        "tang",
        "tang",
        ("/var/lib/tang/*.jwk", "/var/db/tang/*.jwk"),
        needs=("/usr/libexec/tangd-keygen",),
        # The files are called by their thumbprints.
        command="""\
directory=${files%/*}
directory=${directory##* }
/usr/libexec/tangd-keygen "$directory"
chown --reference="$directory" "$directory"/*.jwk
chmod 0440 "$directory"/*.jwk""",
        proof=("/var/lib/tang/*.jwk", "/var/db/tang/*.jwk"),
    ),
    # Identities in networks
    MachineSecret(
        "popularity-contest",
        "popularity-contest",
        ("/etc/popularity-contest.conf",),
        # The day of the week spreads the load of who counts.
        lines=("MY_HOSTID=", "DAY="),
        each="""\
id=$(tr -d - < /proc/sys/kernel/random/uuid)
printf 'MY_HOSTID="%s"\\nDAY="%s"\\n' "$id" "$(shuf -i 0-6 -n 1)" >> "$file\"""",
    ),
    MachineSecret("tor", "tor", ("/var/lib/tor/keys/*", "/var/lib/tor/fingerprint*"), maker="tor.service"),
    MachineSecret("openvswitch", "openvswitch-switch", ("/etc/openvswitch/system-id.conf",), maker="ovs-ctl"),
    MachineSecret("docker", "docker.io, docker-ce", ("/etc/docker/key.json",), maker="docker.service"),
    MachineSecret("certmonger", "certmonger", ("/var/lib/certmonger/local/creds",), maker="certmonger.service"),
    MachineSecret("pcs", "pcs", ("/var/lib/pcsd/pcsd.key", "/var/lib/pcsd/pcsd.crt"), maker="pcsd.service"),
    MachineSecret("insights", "insights-client", ("/etc/insights-client/machine-id",), maker="insights-client"),
    MachineSecret(
        "salt",
        "salt-minion",
        ("/etc/salt/pki/minion/minion.pem", "/etc/salt/pki/minion/minion.pub", "/etc/salt/minion_id"),
        maker="salt-minion.service",
    ),
    MachineSecret(
        "puppet",
        "puppet-agent",
        tuple(
            f"{directory}/{kind}/*.pem"
            for directory in ("/etc/puppetlabs/puppet/ssl", "/var/lib/puppet/ssl", "/etc/puppet/ssl")
            for kind in ("certs", "private_keys", "public_keys", "certificate_requests")
        ),
        maker="the agent",
    ),
    MachineSecret("samba", "samba, winbind", ("/var/lib/samba/private/secrets.tdb",), maker="smbd.service"),
    MachineSecret("matrix", "matrix-synapse", ("/etc/matrix-synapse/homeserver.signing.key",), maker="the service"),
    MachineSecret(
        "mysql",
        "mysql-server",
        ("/var/lib/mysql/auto.cnf", "/var/lib/mysql/*-key.pem", "/var/lib/mysql/*-cert.pem", "/var/lib/mysql/ca.pem")
        + ("/var/lib/mysql/private_key.pem", "/var/lib/mysql/public_key.pem"),
        maker="mysqld",
    ),
)


def machine_secret(path: str) -> MachineSecret | None:
    """Return what the table says of a path of a tree, without symbolic links."""
    return next((secret for secret in MACHINE_SECRETS if secret.names(path)), None)


__all__ = ("MACHINE_SECRETS", "MachineSecret", "machine_secret")
