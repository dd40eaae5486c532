#!/usr/bin/env bash
# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The forms of a template that the role takes: a file, a mapping, a text; with secrets from a vault in each of them.

set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
output=$work/output
unset OS_IMAGE_COMPOSER_CONFIG
secret=Tr0ub4dor-and-3
export EXPECTED_TOKEN=k33p-this-hidden

play() {
    ANSIBLE_NOCOLOR=1 ansible-playbook -i "${INVENTORY:-../../inventory}" "${PLAYBOOK:-validate.yml}" -e work="$work" \
        -e ansible_python_interpreter=/usr/bin/python3 --vault-password-file "$work/vault-password" --diff -vvv "$@" \
        >"$output" 2>&1
}

fail() {
    echo "FAILED: $1" >&2
    cat "$output" >&2
    exit 1
}

# hidden TEXT: neither shown, nor in a log, a result, or a document
hidden() {
    if grep -qF -- "$1" "$output"; then fail "a secret was shown"; fi
    if grep -rlF -- "$1" "$work/builds" | grep -vE '/inputs/[0-9a-f]{64}/template/'; then fail "a secret was written"; fi
}

# has_password: the document has the hash of the password
has_password() {
    local hash
    hash=$(python3 -c 'import json, sys
print(json.load(open(sys.argv[1]))["template"]["systemConfig"]["users"][0]["password"])' \
        "$work/builds/debian-debian12-x86_64/imagebuild/kiosk/template.json")
    [ "$(openssl passwd -6 -salt "$(cut -d '$' -f 3 <<<"$hash")" -stdin <<<"$secret")" = "$hash" ] ||
        fail "the password did not reach the template"
}

# What the template and the files beside it hold: a plain and an encrypted file, a script, a key.
printf 'vault password\n' >"$work/vault-password"
mkdir -p "$work/beside/files"
encrypt() { ansible-vault encrypt --vault-password-file "$work/vault-password" "$@" 2>/dev/null; }
printf 'Hello\n' >"$work/beside/files/motd"
printf '#!/bin/sh\ntrue\n' >"$work/beside/setup.sh"
chmod 755 "$work/beside/setup.sh"
printf '%s\n' "$EXPECTED_TOKEN" >"$work/beside/files/token"
encrypt "$work/beside/files/token"
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=test -days 2 -keyout "$work/beside/db.key" -out "$work/beside/db.crt" \
    2>/dev/null
encrypt "$work/beside/db.key"

# template PASSWORD: a template that names them
template() {
    cat <<END
image: {name: kiosk, version: "1.0"}
target: {os: debian, dist: debian12, arch: x86_64, imageType: raw}
systemConfig:
  hostname: kiosk
  users:
    - name: root
      password: $1
  additionalFiles:
    - {local: files/motd, final: /etc/motd}
    - {local: files/token, final: /etc/token, mode: "0600"}
  scripts:
    postInstall:
      - file: setup.sh
  kernel: {uki: true}
  signing:
    secureBoot: {key: db.key, certificate: db.crt}
END
}

echo "A file that is encrypted as a whole"
template "$secret" >"$work/beside/whole.yml"
encrypt "$work/beside/whole.yml"
play -e image_build_template="$work/beside/whole.yml" -e name=whole || fail "the play failed"
has_password
hidden "$EXPECTED_TOKEN"
hidden "$secret"

echo "A mapping, whose password is encrypted"
value=$(printf %s "$secret" | ansible-vault encrypt_string --vault-password-file "$work/vault-password" 2>/dev/null)
{
    echo "image_build_template_dir: $work/beside"
    echo "image_build_template:"
    template "$value" | sed 's/^/  /'
} >"$work/mapping.yml"
grep -q '!vault' "$work/mapping.yml" || fail "there is no encrypted value"
play -e @"$work/mapping.yml" -e name=kiosk || fail "the play failed"
has_password
hidden "$EXPECTED_TOKEN"
hidden "$secret"

echo "A text, encrypted or not"
{
    echo "image_build_template_dir: $work/beside"
    echo "image_build_template: |"
    template '"*"' | sed 's/^/  /'
} >"$work/text.yml"
play -e @"$work/text.yml" -e name=kiosk || fail "the play failed"
hidden "$EXPECTED_TOKEN"
{
    echo "image_build_template_dir: $work/beside"
    printf 'image_build_template: '
    template "$secret" | ansible-vault encrypt_string --vault-password-file "$work/vault-password" 2>/dev/null
} >"$work/encrypted-text.yml"
play -e @"$work/encrypted-text.yml" -e name=kiosk || fail "the play failed"
has_password
hidden "$EXPECTED_TOKEN"
hidden "$secret"

echo "A mapping with a secret that results would show"
{
    echo "image_build_template:"
    echo "  image: {name: kiosk, version: '1.0'}"
    echo "  target: {os: debian, dist: debian12, arch: x86_64, imageType: raw}"
    echo "  systemConfig:"
    echo "    configurations:"
    printf '      - cmd: %s\n' "$value"
} >"$work/shown.yml"
play -e @"$work/shown.yml" -e name=kiosk && fail "the play did not fail"
grep -qF "systemConfig.configurations[0].cmd: The value is encrypted by ansible-vault" "$output" || fail "the value is not told"
hidden "$secret"

echo "A build that fails"
template '"*"' >"$work/beside/plain.yml"
for options in "" "--tags sign" "--check"; do
    # shellcheck disable=SC2086
    PLAYBOOK=build.yml play -e image_build_template="$work/beside/plain.yml" $options && fail "the play did not fail: $options"
    [ -n "$options" ] || grep -q 'offline' "$output" || fail "the failure is hidden"
    grep -qF 'failed=1' "$output" || fail "more than the build failed: $options"
    if find "$work/builds/inputs" -name '*.key' | grep .; then fail "the key was left: $options"; fi
    grep -rqE --include=private-keys.json '"template/db.key": "[0-9a-f]{64}"' "$work/builds/inputs" ||
        fail "the key is not noted: $options"
done
