#!/usr/bin/env bash
# Prints what a nimsync registry says of its channels, as JSON: Varlink is NUL-terminated JSON on a Unix socket. Needs
# netcat-openbsd. tests/varlink/go runs it.
#
#     list_channels.sh /run/nimsync/registry.sock
set -euo pipefail
printf '{"method":"io.nimsync.registry.List","parameters":{"pattern":""}}\0' |
  nc -U -q 1 "$1" | tr '\0' '\n'
