#!/usr/bin/env bash
# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What playbooks/validate-template.yml shows.

set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
output=$work/output
unset OS_IMAGE_COMPOSER_CONFIG

play() {
    ANSIBLE_NOCOLOR=1 ansible-playbook -i "${INVENTORY:-../../inventory}" ../../../../playbooks/validate-template.yml \
        -e target=testhost -e ansible_python_interpreter=/usr/bin/python3 -e image_build_work_dir="$work/work" \
        -e image_build_cache_dir="$work/cache" -e image_build_template="$work/kiosk.yml" "$@" >"$output" 2>&1
}

fail() {
    echo "FAILED: $1" >&2
    cat "$output" >&2
    exit 1
}

# has TEXT: these very lines, one after the other
has() {
    python3 -c 'import sys; sys.exit(sys.argv[1] not in open(sys.argv[2]).read())' $'\n'"$1"$'\n' "$output" ||
        fail "the output lacks: $1"
}
lacks() { if grep -qF -- "$1" "$output"; then fail "the output has: $1"; fi; }

mkdir "$work/files"
echo Hello >"$work/files/motd"
cat >"$work/kiosk.yml" <<'END'
image: {name: kiosk, version: "1.0"}
target: {os: debian, dist: debian12, arch: x86_64, imageType: raw}
systemConfig:
  hostname: kiosk
  packages: [curl]
  users:
    - {name: root, password: Tr0ub4dor-and-3}
  additionalFiles:
    - {local: files/motd, final: /etc/motd}
END

echo "In check mode it shows the template, and writes nothing"
play --check || fail "the play failed"
has '[testhost] kiosk.yml, merged over the default template of debian-debian12-x86_64:
image:
  name: kiosk
  version: '\''1.0'\''
target:
  os: debian'
has '  hostname: kiosk
  timezone: Etc/UTC'
has '    - iproute2
    - curl'
has '    - name: root
      password: (hidden)
      sudo: false'
has '    - local: files/motd
      final: /etc/motd'
lacks "What it changes"
if [ -e "$work/work" ] || [ -e "$work/cache" ]; then fail "something was written"; fi

# The second time nothing changes, and it is shown all the same.
for time in first second; do
    echo "It shows the difference to the default template, the $time time"
    play --diff || fail "the play failed"
    has '[testhost] kiosk.yml, merged over the default template of debian-debian12-x86_64:'
    has '[testhost] What it changes in the default template:
--- default-raw-x86_64.yml (extends debian/common/raw-x86_64.yml, common/deb.yml)
+++ kiosk.yml
@@ -1,6 +1,6 @@
 image:
-  name: debian12-default-x86_64
-  version: '\''12'\''
+  name: kiosk
+  version: '\''1.0'\''
 target:'
    has '-  hostname: debian
+  hostname: kiosk
   timezone: Etc/UTC'
    has '     - iproute2
+    - curl'
    [ "$(grep -c '^--- ' "$output")" = 1 ] || fail "the difference is shown twice"
    lacks Tr0ub4dor
done
grep -q 'changed=0' "$output" || fail "the second time something has changed"

echo "It shows warnings"
sed -i '/users:/d; /name: root/d' "$work/kiosk.yml"
play || fail "the play failed"
grep -q 'WARNING.*No user has a password or an SSH key' "$output" || fail "the warning is not shown"

echo "It tells all errors"
sed -i 's/hostname/hostnam/; s/\[curl\]/7/' "$work/kiosk.yml"
play && fail "the play did not fail"
grep -q 'kiosk.yml:4: systemConfig.hostnam: Unknown key' "$output" || fail "the first error is not told"
grep -q 'kiosk.yml:5: systemConfig.packages: The value is the number 7' "$output" || fail "the second error is not told"
lacks "merged over"

echo "An encrypted template is not taken for validated in check mode"
echo "# Another one, which was not copied before" >>"$work/kiosk.yml"
printf 'vault password\n' >"$work/vault-password"
ansible-vault encrypt --vault-password-file "$work/vault-password" "$work/kiosk.yml" 2>/dev/null
play --check --vault-password-file "$work/vault-password" || fail "the play failed"
grep -qF '[testhost] kiosk.yml was not validated: in check mode it is not copied' "$output" || fail "that is not told"

echo "A misspelt variable, and a misspelt tag, are errors"
if play -e image_build_ovrrides='{}'; then fail "an unknown variable passes"; fi
grep -qF 'The role os_image.composer.image_build has no variable image_build_ovrrides. What it has is shown by: ' "$output" ||
    fail "the message does not name the variable"
if ansible-playbook -i "${INVENTORY:-../../inventory}" ../../../../playbooks/build-image.yml -e target=testhost \
    --tags resolv,fetch >"$output" 2>&1; then
    fail "an unknown tag passes"
fi
grep -qF 'This playbook has no tag resolv. Its tags are build_host, validate, resolve, ' "$output" ||
    fail "the message does not name the tag"
