#!/bin/sh
# Builds the kernel of the guest (User-Mode Linux) from Debian's own sources and keeps it in the cache:
#
#   build-kernel.sh           builds it unless it is there; prints where it is
#   build-kernel.sh --name    prints its file name
#
# It takes about five minutes on two cores, at the lowest priority, and a download of 150 MB. As root it installs what it
# needs. Where it fails, the reason is kept beside, and tests that need the kernel are skipped with it.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
series=6.12
name=linux-$series-$(sha256sum "$here/kernel.config" | cut -c1-16)
if [ "${1:-}" = --name ]; then
  echo "$name"
  exit 0
fi

cache=${SUBM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}}/subm/guest
kernel=$cache/$name
mkdir -p "$cache"
# Two of these at once: the second waits, and finds it done.
exec 9>"$cache/lock"
flock 9
if [ -x "$kernel" ]; then
  echo "$kernel"
  exit 0
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/subm-guest-kernel.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
log=$work/log

fail() {
  echo "$1" >"$kernel.failed"
  echo "tests/guest/build-kernel.sh: $1" >&2
  [ ! -s "$log" ] || tail -n 15 "$log" >&2
  exit 1
}

command -v apt-get >/dev/null || fail "this system has no apt-get to fetch linux-source-$series with"
packages='gcc libc6-dev make flex bison bc xz-utils'
missing=
for tool in gcc make flex bison bc xz; do
  command -v "$tool" >/dev/null || missing="$missing $tool"
done
[ -e /usr/include/stdio.h ] || missing="$missing libc6-dev"
if [ -n "$missing" ]; then
  [ "$(id -u)" -eq 0 ] || fail "missing:$missing; as root: apt-get install --no-install-recommends $packages"
  # Unquoted: one word per package. The lists may be old or absent: then once more after an update.
  install() {
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends $packages >>"$log" 2>&1
  }
  install || { apt-get update >>"$log" 2>&1 && install; } || fail "could not install$missing"
fi

echo "tests/guest/build-kernel.sh: building $name, which is kept in $cache" >&2
cd "$work"
fetch() {
  apt-get download "linux-source-$series" >>"$log" 2>&1
}
fetch || { apt-get update >>"$log" 2>&1 && fetch; } || fail "could not fetch linux-source-$series"
dpkg -x linux-source-*.deb package && rm linux-source-*.deb
tar -xf "package/usr/src/linux-source-$series.tar.xz" && rm -rf package
cd "linux-source-$series"
{
  make ARCH=um tinyconfig
  scripts/kconfig/merge_config.sh -m .config "$here/kernel.config"
  make ARCH=um olddefconfig
} >>"$log" 2>&1 || fail "could not configure it"
# A name that the series no longer knows is dropped without a word.
for option in WIREGUARD VXLAN VETH DUMMY TUN BRIDGE NET_SCH_NETEM NF_TABLES_INET NF_TABLES_NETDEV NETFILTER_EGRESS NFT_NAT \
  NFT_NUMGEN NFT_COMPAT INET_ESP XFRM_USER HOSTFS OVERLAY_FS IPV6_MULTIPLE_TABLES; do
  grep -q "^CONFIG_$option=y" .config || fail "the configuration lacks $option"
done
nice -n 19 make -s ARCH=um -j"$(nproc)" linux >>"$log" 2>&1 || fail "it does not compile"
strip -o "$kernel.new" linux
# In one step: a build that is cut off never looks like a kernel.
mv "$kernel.new" "$kernel"
rm -f "$kernel.failed"
echo "$kernel"
