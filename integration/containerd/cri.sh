# cri.sh, sourced: containerd's CRI service with a network by CNI, driven by cri.py; its TAP lines are counted here.
cri_folder=$top/target/integration/cri

# cri_packages [VERSION]: grpcio and protobuf from PyPI, in a folder of the build's, for this python or another.
cri_packages() {
    local other=()
    if [ -n "${1-}" ]; then
        cri_folder+=-$1 other=(--python-version "$1" --only-binary=:all:)
        [ ! -e "$cri_folder/complete" ] || return 0
    else
        ! PYTHONPATH=$cri_folder python3 -c 'import grpc, google.protobuf' 2>/dev/null || return 0
    fi
    "$top/hack/need.sh" python3 python3-pip || return 1
    cri_install "${other[@]}" || { sleep 5; cri_install "${other[@]}"; }
}

# cri_install [pip option...]: the whole folder, with the file `complete` in it, or none.
cri_install() {
    local new=$cri_folder.new.$$
    rm -rf "$new"
    mkdir -p "$new"
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check \
        --target "$new" "$@" grpcio protobuf >&2 || { rm -rf "$new"; return 1; }
    : >"$new/complete"
    rm -rf "$cri_folder"
    mv "$new" "$cri_folder"
}

part_cri() {
    mkdir -p "$work/cni"
    cat >"$work/cni/10-orlop.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "orlop", "plugins": [
  {"type": "bridge", "bridge": "orlopbr0", "isGateway": true, "ipMasq": false,
   "ipam": {"type": "host-local", "dataDir": "$work/ipam", "ranges": [[{"subnet": "10.231.7.0/24"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}}]}
JSON
    # CRI has a namespace of its own for images.
    ctr -n k8s.io images import --base-name docker.io/local/busybox "$work/image.tar" >"$work/import.log" 2>&1
    run_cri
    run_cri before-restart
    stop_containerd
    sleep 1.5
    start_containerd
    run_cri after-restart
    nothing_left "containerd after cri"
    same "containerd after cri: no network namespace is left" "" \
        "$(ls /run/netns "$work/state/io.containerd.grpc.v1.cri/netns" 2>/dev/null | grep -v : | xargs)"
    same "containerd after cri: no address is left" "" "$(ls "$work/ipam/orlop" 2>/dev/null | grep '^10\.')"
}

# run_cri [PART]: counts the TAP lines of cri.py.
run_cri() {
    local line
    while IFS= read -r line; do
        case $line in
        "ok - "*"# SKIP "*) skip "$(sed 's/^ok - //; s/ # SKIP .*//' <<<"$line")" "${line#*# SKIP }" ;;
        "ok - "*) ok "${line#ok - }" ;;
        "not ok - "*) not_ok "${line#not ok - }" ;;
        *) echo "$line" ;;
        esac
    done < <(PYTHONPATH=$cri_folder:$here timeout -k 5 $((400 * ${CRI_PATIENCE:-1})) python3 "$here/cri.py" "$work/containerd.sock" "$work" "$tag" "$@" \
        2>&1 || echo "not ok - cri: the client comes to its end")
}
