#!/usr/bin/env python3
"""Cases of Kubernetes' container runtime interface: cri.py SOCKET FOLDER TAG [before-restart|after-restart]. Prints TAP lines."""

import os
import subprocess
import sys
import time

import cri_kubelet
import cri_security
from cri_client import PATIENCE, Client, Pod, case, check, same, skip, within

IMAGE = "docker.io/local/busybox:busybox"
SLEEP = ("sleep", "100000")


def service(client, _pods):
    answer = client.call("Version")
    same("cri Version: the service answers", "containerd", answer.runtime_name)
    ready = {c.type: c.status for c in client.call("Status").status.conditions}
    # Newer ones have more to say of themselves.
    ready = {name: ready.get(name) for name in ("RuntimeReady", "NetworkReady")}
    same("cri Status: runtime and network are ready", {"RuntimeReady": True, "NetworkReady": True}, ready)


def sandbox(_client, pods):
    pod = pods("sandbox").run()
    status, info = pod.status()
    same("cri RunPodSandbox: ready", 0, status.state)
    same("cri RunPodSandbox: by the handler that was asked for", "tested", status.runtime_handler)
    address = status.network.ip
    check("cri RunPodSandbox: an address of the network", address.startswith("10.231.7."), address)
    ping = subprocess.run(["/bin/busybox", "ping", "-c", "1", "-W", "5", address], capture_output=True, check=False)
    same("cri RunPodSandbox: the address answers", 0, ping.returncode)
    first = pod.start(*SLEEP)
    second = pod.start(*SLEEP)
    same("cri RunPodSandbox: the hostname", "sandbox-host\n", first.out("hostname"))
    check("cri RunPodSandbox: containers have the sandbox's address", address in first.out("ip", "-4", "addr"))

    def names(container, kind):
        return os.readlink(f"/proc/{container.pid()}/ns/{kind}")

    for kind in "net", "ipc", "uts":
        same(f"cri CreateContainer: two containers share the {kind} namespace", names(first, kind), names(second, kind))
        same(
            f"cri CreateContainer: the {kind} namespace is the sandbox's",
            os.readlink(f"/proc/{info['pid']}/ns/{kind}"),
            names(first, kind),
        )
    for kind in "mnt", "cgroup":
        if kind == "mnt" or os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
            check(f"cri CreateContainer: the {kind} namespace is its own", names(first, kind) != names(second, kind))
    first.execute("sh", "-c", "echo shared >/dev/shm/file")
    same("cri CreateContainer: /dev/shm is shared in the pod", "shared\n", second.out("cat", "/dev/shm/file"))
    check("cri CreateContainer: /etc/resolv.conf is there", first.execute("test", "-f", "/etc/resolv.conf").exit_code == 0)
    listed = [item.id for item in pod.client.call("ListPodSandbox").items]
    check("cri ListPodSandbox: the sandbox is in the list", pod.id in listed)
    netns = [n["path"] for n in info["runtimeSpec"]["linux"]["namespaces"] if n["type"] == "network"][0]
    pod.client.call("StopPodSandbox", pod_sandbox_id=pod.id)
    same("cri StopPodSandbox: not ready", 1, pod.status()[0].state)
    same("cri StopPodSandbox: its containers have ended", (2, 2), (first.status().state, second.status().state))
    check("cri StopPodSandbox: the network namespace is gone", not os.path.exists(netns), netns)
    pod.client.call("StopPodSandbox", pod_sandbox_id=pod.id)
    check("cri StopPodSandbox: twice is no error", True)
    pod.client.call("RemovePodSandbox", pod_sandbox_id=pod.id)
    listed = [item.id for item in pod.client.call("ListPodSandbox").items]
    check("cri RemovePodSandbox: the sandbox is not in the list", pod.id not in listed)
    listed = [item.id for item in pod.client.call("ListContainers").containers]
    check("cri RemovePodSandbox: its containers are gone too", first.id not in listed and second.id not in listed)
    pod.client.call("RemovePodSandbox", pod_sandbox_id=pod.id)
    check("cri RemovePodSandbox: twice is no error", True)
    pod.remove_cgroup()


def sysctls(_client, pods):
    pod = pods("sysctls")
    pod.config["linux"]["sysctls"] = {"kernel.shm_rmid_forced": "1", "net.ipv4.ip_local_port_range": "20000 30000"}
    pod.run(dns_config={"servers": ["10.9.8.7"], "searches": ["orlop.test"], "options": ["ndots:5"]})
    text = pod.says("cat", "/proc/sys/kernel/shm_rmid_forced", "/proc/sys/net/ipv4/ip_local_port_range")
    same("cri RunPodSandbox: sysctls", ["1", "20000", "30000"], text.split())
    text = pod.says("cat", "/etc/resolv.conf")
    check("cri RunPodSandbox: resolv.conf", "nameserver 10.9.8.7" in text and "search orlop.test" in text, text)
    pod.gone()


def life(client, pods):
    pod = pods("life").run()
    one = pod.create("sh", "-c", "echo begun; exec sleep 100000", envs=[{"key": "COLOUR", "value": "green"}])
    same("cri CreateContainer: the state is created", 0, one.status().state)
    one.start()
    status = one.status()
    same("cri StartContainer: the state is running", 1, status.state)
    check("cri StartContainer: times are in order", status.created_at <= status.started_at and status.finished_at == 0)
    error = client.fails("StartContainer", container_id=one.id)
    check("cri StartContainer: twice is an error", error != "", error)
    same("cri CreateContainer: the environment", "green\n", one.out("sh", "-c", "echo $COLOUR"))
    one.stop(timeout=0)
    status = one.status()
    same("cri StopContainer: without a time it is killed", (2, 137), (status.state, status.exit_code))
    same("cri StopContainer: the reason", "Error", status.reason)
    one.stop()
    check("cri StopContainer: twice is no error", True)
    one.remove()
    check("cri RemoveContainer: the container is gone", "not found" in client.fails("ContainerStatus", container_id=one.id))
    one.remove()
    check("cri RemoveContainer: twice is no error", True)
    polite = pod.start("sh", "-c", 'trap "echo bye; exit 4" TERM; echo up; while :; do sleep 0.1; done')
    within(10, lambda: polite.log("stdout"))
    polite.stop(timeout=10 * PATIENCE)
    within(10, lambda: "bye" in polite.log("stdout"))
    same("cri StopContainer: SIGTERM first", (4, "up\nbye"), (polite.status().exit_code, polite.log("stdout")))
    deaf = pod.start("sh", "-c", 'trap "" TERM; echo up; while :; do sleep 0.1; done')
    within(10, lambda: deaf.log("stdout"))
    begun = time.monotonic()
    deaf.stop(timeout=2)
    spent = time.monotonic() - begun
    check("cri StopContainer: SIGKILL when the time is over", 1.8 < spent < 6 * PATIENCE and deaf.status().exit_code == 137, spent)
    status = pod.start("true").wait()
    same("cri ContainerStatus: ended well", (0, "Completed"), (status.exit_code, status.reason))
    status = pod.start("sh", "-c", "exit 42").wait()
    same("cri ContainerStatus: ended with an error", (42, "Error"), (status.exit_code, status.reason))
    # What kubelet does for restartPolicy: a new container of the same name, next attempt.
    for attempt in 0, 1, 2:
        again = pod.start("sh", "-c", "exit 3", name="again", attempt=attempt)
        code = again.wait().exit_code
        again.remove()
    same("cri StartContainer: restarted by a next attempt", 3, code)
    running = pod.start(*SLEEP)
    running.remove()
    check("cri RemoveContainer: a running one is removed by force", "not found" in client.fails("ContainerStatus", container_id=running.id))
    pod.gone()


def logs(client, pods):
    pod = pods("logs").run()
    container = pod.start("sh", "-c", "echo out; echo err >&2; sleep 1000")
    within(10, lambda: container.log("stderr") and container.log("stdout"))
    with open(container.log_path(), encoding="utf-8") as file:
        first = file.readline().split(" ")
    check("cri log: a line is time, stream, tag, text", len(first) == 4 and first[0].startswith("20") and first[2] == "F", first)
    same("cri log: stderr is marked", "err", container.log("stderr"))
    same("cri log: stdout is marked", "out", container.log("stdout"))
    os.rename(container.log_path(), container.log_path() + ".1")
    client.call("ReopenContainerLog", container_id=container.id)
    check("cri ReopenContainerLog: a new file is there", os.path.exists(container.log_path()))
    same("cri log: a line without an end is kept", "unfinished", pod.says("printf", "unfinished"))
    same("cri log: a long line is kept whole", 50000, len(pod.says("sh", "-c", "head -c 50000 /dev/zero | tr '\\0' x")))
    terminal = pod.start("sh", "-c", "tty; test -t 1 && echo yes", tty=True)
    terminal.wait()
    text = terminal.log("stdout").replace("\r", "")
    same("cri CreateContainer: a terminal", ["/dev/pts/0", "yes"], text.split())
    pod.gone()


def exec_sync(client, pods):
    pod = pods("exec").run()
    container = pod.start(*SLEEP)
    answer = container.execute("sh", "-c", "echo out; echo err >&2; exit 7")
    same("cri ExecSync: stdout", b"out\n", answer.stdout)
    same("cri ExecSync: stderr", b"err\n", answer.stderr)
    same("cri ExecSync: exit code", 7, answer.exit_code)
    answer = container.execute("head", "-c", "1000000", "/dev/zero")
    same("cri ExecSync: a megabyte of output", 1000000, len(answer.stdout))
    error = client.fails("ExecSync", container_id=container.id, cmd=["/no/such"], timeout=10)
    check("cri ExecSync: a missing program is named", "/no/such" in error and "no such file or directory" in error.lower(), error)
    begun = time.monotonic()
    error = client.fails("ExecSync", container_id=container.id, cmd=["sleep", "4444"], timeout=1)
    check("cri ExecSync: the timeout is an error", "timeout" in error and time.monotonic() - begun < 10 * PATIENCE, error)
    gone = within(5, lambda: "4444" not in container.out("ps", "-o", "args"))
    check("cri ExecSync: the program of a timeout is killed", gone)
    shim = int(subprocess.run(["pgrep", "-f", f"containerd-shim-runc-v2 .*-id {pod.id}"], capture_output=True, check=True).stdout.split()[0])

    def used():
        return len(os.listdir(f"/proc/{shim}/fd")), container.out("sh", "-c", "echo /proc/[0-9]*").count("/proc/")

    container.execute("true")
    within(5, lambda: used()[1] == 2)  # the program and this shell
    before = used()
    codes = {container.execute("test", "-d", "/proc").exit_code for _ in range(20)}
    same("cri ExecSync: twenty probes in a row succeed", {0}, codes)
    within(3, lambda: used() == before)
    same("cri ExecSync: twenty probes leave no descriptor and no process", before, used())
    container.stop()
    error = client.fails("ExecSync", container_id=container.id, cmd=["true"], timeout=5)
    check("cri ExecSync: refused in a stopped container", "not running" in error or "exited" in error.lower(), error)
    pod.gone()


def statistics(client, pods):
    pod = pods("stats").run()
    container = pod.start("sh", "-c", "dd if=/dev/zero of=/tmp/file bs=1M count=4 2>/dev/null; exec sleep 100000")
    same("cri ContainerStats: of the container", container.id, client.call("ContainerStats", container_id=container.id).stats.attributes.id)

    def stats():
        return client.call("ContainerStats", container_id=container.id).stats

    within(3, lambda: stats().cpu.usage_core_nano_seconds.value > 0)
    now = stats()
    check("cri ContainerStats: processor time", now.cpu.usage_core_nano_seconds.value > 0)
    check("cri ContainerStats: memory", now.memory.working_set_bytes.value > 0)
    # containerd's own collector of the writable layer runs every ten seconds.
    full = within(25, lambda: stats().writable_layer.used_bytes.value >= 4 << 20)
    check("cri ContainerStats: the writable layer", full, stats().writable_layer.used_bytes.value)
    listed = {s.attributes.id: s.memory.working_set_bytes.value for s in client.call("ListContainerStats").stats}
    check("cri ListContainerStats: memory of the container", listed.get(container.id, 0) > 0, listed)
    try:
        linux = client.call("PodSandboxStats", pod_sandbox_id=pod.id).stats.linux
        check("cri PodSandboxStats: memory", linux.memory.working_set_bytes.value > 0)
    except Exception as error:  # which kind depends on the version of containerd
        skip("cri PodSandboxStats: memory", f"not served: {str(error)[:80]!r}")
    pod.gone()


def resources(client, pods):
    pod = pods("resources").run()
    container = pod.start(
        *SLEEP,
        resources={"cpu_period": 100000, "cpu_quota": 50000, "cpu_shares": 512, "memory_limit_in_bytes": 64 << 20, "oom_score_adj": 900},
    )
    folder = container.cgroup("memory")
    check("cri CreateContainer: below the pod's cgroup", f"{pod.parent}/" in folder, folder)
    same("cri CreateContainer: memory limit", str(64 << 20), container.limit("memory", "memory.limit_in_bytes", "memory.max"))
    check("cri CreateContainer: quota", container.limit("cpu", "cpu.cfs_quota_us", "cpu.max") in ("50000", "50000 100000"))
    # cgroup v2: as runc turns shares into weights today, and as it did.
    check("cri CreateContainer: shares", container.limit("cpu", "cpu.shares", "cpu.weight") in ("512", "59", "20"))
    with open(f"/proc/{container.pid()}/oom_score_adj", encoding="utf-8") as file:
        same("cri CreateContainer: OOM score", "900", file.read().strip())
    changed = {"cpu_period": 100000, "cpu_quota": 75000, "cpu_shares": 256, "memory_limit_in_bytes": 96 << 20}
    client.call("UpdateContainerResources", container_id=container.id, linux=changed)
    same("cri UpdateContainerResources: memory limit", str(96 << 20), container.limit("memory", "memory.limit_in_bytes", "memory.max"))
    check("cri UpdateContainerResources: quota", container.limit("cpu", "cpu.cfs_quota_us", "cpu.max") in ("75000", "75000 100000"))
    check("cri UpdateContainerResources: shares", container.limit("cpu", "cpu.shares", "cpu.weight") in ("256", "35", "10"))
    client.call("UpdateContainerResources", container_id=container.id, linux={"cpuset_cpus": "0"})
    same("cri UpdateContainerResources: cpuset", "0", container.limit("cpuset", "cpuset.cpus", "cpuset.cpus"))
    same("cri UpdateContainerResources: what was not named is kept", str(96 << 20), container.limit("memory", "memory.limit_in_bytes", "memory.max"))
    made = pod.create(*SLEEP)
    client.call("UpdateContainerResources", container_id=made.id, linux={"memory_limit_in_bytes": 32 << 20})
    made.start()
    same("cri UpdateContainerResources: before the start", str(32 << 20), made.limit("memory", "memory.limit_in_bytes", "memory.max"))
    # containerd may hear of the end of pid 1 before it hears of the killing, on a busy host even when the shell outlives dd
    # by a second: it is asked up to three times.
    command = "dd if=/dev/zero of=/dev/null bs=100M count=1; code=$?; sleep 1; exit $code"
    for _ in range(3):
        hungry = pod.start("sh", "-c", command, resources={"memory_limit_in_bytes": 32 << 20})
        status = hungry.wait()
        if status.reason == "OOMKilled":
            break
    same("cri ContainerStatus: killed for memory", (137, "OOMKilled"), (status.exit_code, status.reason))
    pod.gone()


def failures(client, pods):
    pod = pods("failures").run()

    def failing(name, text, *command, code=128, **more):
        """What kubelet shows: the error of StartContainer, and in the status StartError with the same words."""
        container = pod.create(*command, **more)
        error = client.fails("StartContainer", container_id=container.id)
        check(f"cri StartContainer: {name}: the error's text", text in error.lower(), error)
        status = container.status()
        same(f"cri ContainerStatus: {name}: exit code and reason", (2, code, "StartError"), (status.state, status.exit_code, status.reason))
        check(f"cri ContainerStatus: {name}: the message", text in status.message.lower(), status.message)
        container.remove()

    failing("a missing program", "no such file or directory", "/no/such")
    failing("a program that is not in PATH", "not found in $path", "no-such")
    failing("a file that is not executable", "permission denied", "/etc/text")
    failing("a directory as program", "permission denied", "/etc")
    failing("a script without its interpreter", "no such file or directory", "/bin/orphan")
    failing("a memory limit that is too low", "memory", *SLEEP, resources={"memory_limit_in_bytes": 4096})
    error = ""
    try:
        pod.create(*SLEEP, security={"run_as_username": "nobody-such"})
    except Exception as failure:  # a gRPC error: containerd looks the name up itself
        error = failure.details()
    check("cri CreateContainer: a user that is not there", "no users found" in error, error)
    error = client.fails("RunPodSandbox", config=pods("handler").config, runtime_handler="no-such")
    check("cri RunPodSandbox: an unknown handler", "no runtime for" in error, error)
    same("cri StartContainer: failures leave the pod ready", 0, pod.status()[0].state)
    same("cri StartContainer: after failures the next one runs", "well", pod.says("echo", "well"))
    pod.gone()


def main():
    socket, work, tag, *part = sys.argv[1:]
    client = Client(socket)
    # The socket is there before the service is: "server is not initialized yet".
    within(30, lambda: not client.fails("Status"))

    def pods(name, **security):
        return Pod(client, IMAGE, work, tag, name, **security)

    usual = (service, sandbox, sysctls, life, logs, exec_sync, statistics, resources, failures)
    cases = cri_kubelet.RESTART[part[0]] if part else (*usual, *cri_security.CASES, *cri_kubelet.CASES)
    for function in cases:
        case(function, client, pods)
    if part == ["before-restart"]:
        return
    for item in client.call("ListPodSandbox").items:  # of cases that could not be gone through
        client.call("StopPodSandbox", pod_sandbox_id=item.id)
        client.call("RemovePodSandbox", pod_sandbox_id=item.id)


if __name__ == "__main__":
    main()
