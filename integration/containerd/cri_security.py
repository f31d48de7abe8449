"""Cases of CRI's security contexts and mounts; cri.py runs them."""

import json
import os
import subprocess

from cri_client import check, same, within

SLEEP = ("sleep", "100000")
POD, CONTAINER, NODE, TARGET = range(4)


def row(text, key):
    """A row of /proc/PID/status."""
    return next(line.split(None, 1)[1].strip() for line in text.splitlines() if line.startswith(key + ":"))


def own(kind):
    return os.readlink(f"/proc/self/ns/{kind}")


def identity(_client, pods):
    pod = pods("identity").run()
    security = {"run_as_user": {"value": 1000}, "run_as_group": {"value": 1234}, "supplemental_groups": [7777, 8888]}
    text = pod.says("id", security=security)
    check("cri run_as_user: uid and gid", "uid=1000" in text and "gid=1234" in text, text)
    check("cri supplemental_groups: all are there", "7777" in text and "8888" in text, text)
    text = pod.says("cat", "/proc/self/status", security=security)
    same("cri run_as_user: no effective capabilities", "0000000000000000", row(text, "CapEff"))
    same("cri run_as_username: the image's user", "keeper", pod.says("id", "-un", security={"run_as_username": "keeper"}))
    check("cri run_as_username: the image's groups", "2000" in pod.says("id", "-G", security={"run_as_username": "keeper"}))
    status = pod.says("cat", "/proc/self/status", security={"capabilities": {"add_capabilities": ["NET_ADMIN"], "drop_capabilities": ["CHOWN"]}})
    mask = int(row(status, "CapEff"), 16)
    same("cri capabilities: added and dropped", (1, 0), (mask >> 12 & 1, mask & 1))
    status = pod.says("cat", "/proc/self/status", security={"capabilities": {"drop_capabilities": ["ALL"]}})
    same("cri capabilities: ALL dropped", ("0" * 16, "0" * 16), (row(status, "CapEff"), row(status, "CapBnd")))
    same("cri no_new_privs: set", "1", row(pod.says("cat", "/proc/self/status", security={"no_new_privs": True}), "NoNewPrivs"))
    same("cri no_new_privs: not set", "0", row(pod.says("cat", "/proc/self/status"), "NoNewPrivs"))
    pod.gone()


def filters(_client, pods):
    pod = pods("filters").run()

    def filtered(kind, **more):
        return {"seccomp": {"profile_type": kind, **more}}

    same("cri seccomp: the default profile", "2", row(pod.says("cat", "/proc/self/status", security=filtered(0)), "Seccomp"))
    same("cri seccomp: unconfined", "0", row(pod.says("cat", "/proc/self/status", security=filtered(1)), "Seccomp"))
    path = os.path.join(pod.logs, "profile.json")
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}, file)
    text = pod.says("sh", "-c", "mkdir /tmp/a 2>&1", security=filtered(2, localhost_ref="localhost/" + path))
    if "not supported" not in text:  # later versions of containerd want the bare path
        text = pod.says("sh", "-c", "mkdir /tmp/a 2>&1", security=filtered(2, localhost_ref=path))
    check("cri seccomp: a profile of the node", "Operation not supported" in text, text)
    held = pod.start(*SLEEP, security=filtered(2, localhost_ref="localhost/" + path))
    answer = held.execute("mkdir", "/tmp/b")
    check("cri seccomp: the filter holds for ExecSync too", b"not supported" in answer.stderr, answer.stderr)
    pod.gone()


def files(_client, pods):
    pod = pods("files", privileged=True).run()
    text = pod.says("sh", "-c", "touch /file 2>&1", security={"readonly_rootfs": True})
    check("cri readonly_rootfs: the root cannot be written", "Read-only file system" in text, text)
    security = {"masked_paths": ["/etc/passwd", "/bin"], "readonly_paths": ["/var"]}
    probe = "wc -c </etc/passwd; echo /bin/*; echo x 2>&1 >/var/file"
    text = pod.says("/usr/local/sh", "-c", probe, security=security, mounts=[shell_mount(pod)])
    lines = text.splitlines()
    same("cri masked_paths: a file is empty, a folder is empty", ["0", "/bin/*"], lines[:2] if "wc" not in text else lines)
    check("cri readonly_paths: it cannot be written", "Read-only file system" in text, text)
    folder = os.path.join(pod.logs, "volume")
    os.makedirs(folder)
    bind = {"host_path": folder, "container_path": "/volume"}
    pod.says("touch", "/volume/made", mounts=[bind])
    check("cri mounts: what it wrote is on the host", os.path.exists(folder + "/made"))
    text = pod.says("sh", "-c", "touch /volume/other 2>&1", mounts=[{**bind, "readonly": True}])
    check("cri mounts: read-only", "Read-only file system" in text, text)
    propagation(pod, folder, bind)
    device = os.path.join(pod.logs, "device")
    os.mknod(device, 0o600 | 0o020000, os.makedev(1, 11))
    more = {"devices": [{"host_path": device, "container_path": "/dev/orlop", "permissions": "rw"}]}
    same("cri devices: it is there and can be opened", "opened", pod.says("sh", "-c", "test -c /dev/orlop && : >>/dev/orlop && echo opened", **more))
    pod.gone()


def shell_mount(pod):
    """A shell from outside, where /bin is masked."""
    return {"host_path": "/bin/busybox", "container_path": "/usr/local/sh", "readonly": True}


def propagation(pod, folder, bind):
    subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
    subprocess.run(["mount", "--make-shared", folder], check=True)
    for number, name in enumerate(("private", "host_to_container", "bidirectional")):
        container = pod.start(*SLEEP, mounts=[{**bind, "propagation": number}], security={"privileged": number == 2})
        below = f"{folder}/{name}"
        os.mkdir(below)
        subprocess.run(["mount", "-t", "tmpfs", "from-host", below], check=True)
        seen = "from-host" in container.out("cat", "/proc/mounts")
        same(f"cri mount propagation {name}: a later mount of the host", number > 0, seen)
        subprocess.run(["umount", below], check=True)
        if number == 2:
            container.execute("mkdir", "/volume/inner")
            container.execute("mount", "-t", "tmpfs", "from-inside", "/volume/inner")
            with open("/proc/self/mounts", encoding="utf-8") as file:
                seen = "from-inside" in file.read()
            check("cri mount propagation bidirectional: the host sees the container's mount", seen)
            container.execute("umount", "/volume/inner")
        container.stop()
        container.remove()
    subprocess.run(["umount", "-l", folder], check=True)


def privileged(client, pods):
    pod = pods("privileged", privileged=True).run()
    security = {"privileged": True}
    with open("/proc/self/status", encoding="utf-8") as file:
        ours = row(file.read(), "CapPrm")
    container = pod.create("sh", "-c", "cat /proc/self/status; echo x >/proc/sys/kernel/domainname && echo written", security=security)
    error = client.fails("StartContainer", container_id=container.id)
    if error:
        check("cri privileged: it starts", False, error)
    else:
        check("cri privileged: it starts", True)
        container.wait()
        text = container.log("stdout")
        same("cri privileged: all the capabilities that the host has", ours, row(text, "CapEff"))
        check("cri privileged: /proc/sys can be written", "written" in text)
    text = pod.says("sh", "-c", "ls /dev | wc -l; test -w /sys/kernel && echo writable", security=security)
    check("cri privileged: sysfs can be written", "writable" in text, text)
    check("cri privileged: the host's devices are there", int(text.split()[0]) > 30, text)
    pod.gone()


def host_namespaces(_client, pods):
    options = {"network": NODE, "pid": NODE, "ipc": NODE}
    pod = pods("host", namespace_options=options).run()
    container = pod.start(*SLEEP, security={"namespace_options": options})
    for kind in "net", "pid", "ipc":
        same(f"cri namespace_options: the host's {kind} namespace", own(kind), os.readlink(f"/proc/{container.pid()}/ns/{kind}"))
    check("cri namespace_options: the host's processes are seen", "containerd --config" in container.out("ps", "-o", "args"))
    pid = container.pid()
    container.stop()
    same("cri StopContainer: ends in the host's pid namespace", 137, container.status().exit_code)
    check("cri StopContainer: no process is left there", not os.path.exists(f"/proc/{pid}"))
    forked = pod.start("sh", "-c", "sleep 6543 & wait", security={"namespace_options": options})
    within(3, lambda: sleepers() != [])
    forked.stop()
    within(5, lambda: sleepers() == [])
    same("cri StopContainer: children in the host's pid namespace end too", [], sleepers())
    pod.gone()


def sleepers():
    return subprocess.run(["pgrep", "-fx", "sleep 6543"], capture_output=True, check=False).stdout.split()


def shared_processes(_client, pods):
    options = {"pid": POD}
    pod = pods("together", namespace_options=options).run()
    first = pod.start("sleep", "111111", security={"namespace_options": options})
    second = pod.start("sleep", "222222", security={"namespace_options": options})
    text = second.out("ps", "-o", "pid,args")
    check("cri namespace_options: a shared process namespace", "111111" in text and "222222" in text, text)
    check("cri namespace_options: pid 1 is the sandbox's", "1 /bin/sleep 1000000" in " ".join(text.split()), text)
    killer = "for d in /proc/[0-9]*; do if grep -q 111111 $d/cmdline; then kill -9 ${d#/proc/}; fi; done"
    # The killer's own command line has the number too: it is ended by its own signal unless it is kept out.
    code = second.execute("sh", "-c", killer.replace("111111", "11111[1]")).exit_code
    same("cri namespace_options: one container kills another's process", (0, 137), (code, first.wait().exit_code))
    same("cri namespace_options: the other goes on", 1, second.status().state)
    apart = {"pid": CONTAINER}
    alone = pod.start(*SLEEP, security={"namespace_options": apart})
    text = alone.out("ps", "-o", "args")
    check("cri namespace_options: a process namespace of its own", "222222" not in text, text)
    target = {"pid": TARGET, "target_id": alone.id}
    debug = pod.start("sleep", "333333", security={"namespace_options": target})
    text = debug.out("ps", "-o", "pid,args")
    check("cri namespace_options: another container's processes as target", "1 sleep 100000" in " ".join(text.split()), text)
    pod.gone()


CASES = (identity, filters, files, privileged, host_namespaces, shared_processes)
