#!/usr/bin/env bash
# Serves this folder on $LISTEN (127.0.0.1:5300) and prints what to try. `make run` calls it.
set -euo pipefail
cd "$(dirname "$0")/.."
listen=${LISTEN:-127.0.0.1:5300}
host=${listen%:*} port=${listen##*:}
cat <<TRY
Serving examples/ as cluster east of three on $listen. Try in another terminal:

  dig @$host -p $port +short web.shop.svc.clusterset.local            # one address for the whole cluster set
  dig @$host -p $port +short cart.shop.svc.clusterset.local           # ask again: south has twice the turns of west
  dig @$host -p $port +short db.shop.svc.clusterset.local             # headless: every ready pod
  dig @$host -p $port +short _sql._tcp.db.shop.svc.clusterset.local SRV
  dig @$host -p $port +short db-0.west.db.shop.svc.clusterset.local   # one pod of one cluster

Ctrl-C ends it.
TRY
exec "${CARGO_TARGET_DIR:-target}/debug/lighthouse-dns" --manifests examples --listen "$listen" --workers 1 --health off --ready off --metrics off
