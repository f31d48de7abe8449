#!/bin/bash
# static.sh BINARY: fail unless it runs without any shared library or program interpreter.
set -eu
dynamic=$(LC_ALL=C readelf -dW "$1" | grep 'NEEDED' || true)
interpreter=$(LC_ALL=C readelf -lW "$1" | grep 'INTERP' || true)
if [ -n "$dynamic$interpreter" ]; then
    printf '%s is not static:\n%s\n%s\n' "$1" "$interpreter" "$dynamic" >&2
    exit 1
fi
echo "$1: static, $(stat -c %s "$1") bytes"
