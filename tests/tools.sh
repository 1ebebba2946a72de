#!/bin/sh
# tests/tools.sh: installs what is missing of the programs that end-to-end tests and benches run, on Debian, as root.
# Quiet when all are there. Starts no service.
set -eu

# Servers live in folders that a user's PATH often lacks.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# program:package
tools='dig:bind9-dnsutils kdig:knot-dnsutils knotd:knot nsd:nsd unbound:unbound dnsperf:dnsperf dnsdist:dnsdist valgrind:valgrind ip:iproute2 nft:nftables iptables:iptables curl:curl'

missing=
packages=
for tool in $tools; do
  if ! command -v "${tool%%:*}" >/dev/null; then
    missing="$missing ${tool%%:*}"
    packages="$packages ${tool##*:}"
  fi
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "tests/tools.sh: missing:$missing; this system has no apt-get, install them by its own means" >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "tests/tools.sh: missing:$missing; as root: apt-get install --no-install-recommends$packages" >&2
  exit 1
fi

# Packages of servers start them on installation unless this program says no (101). One that the system has decides itself.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi

log=$(mktemp)
# The lists may be old or absent: then once more after an update.
install() {
  # Unquoted: one word per package.
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends $packages >>"$log" 2>&1
}
if install || { apt-get update >>"$log" 2>&1 && install; }; then
  rm -f "$log"
  echo "tests/tools.sh: installed$packages" >&2
else
  echo "tests/tools.sh: could not install$packages; the last lines of $log:" >&2
  tail -n 15 "$log" >&2
  exit 1
fi
