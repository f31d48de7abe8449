"""Cases of CRI as kubelet meets it: its own mounts, many pods at once, deaths from outside, a restart of containerd."""

import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

from cri_client import Container, check, same, within

SLEEP = ("sleep", "100000")


def kubelets_mounts(_client, pods):
    """What every pod gets: hosts, the termination message, the token of its account on a read-only tmpfs."""
    pod = pods("mounts").run()
    hosts, message, token = (os.path.join(pod.logs, name) for name in ("hosts", "message", "token"))
    for path in hosts, message:
        with open(path, "w", encoding="utf-8") as file:
            file.write("10.1.2.3 orlop.test\n" if path == hosts else "")
    os.makedirs(token)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", token], check=True)
    with open(token + "/token", "w", encoding="utf-8") as file:
        file.write("secret\n")
    mounts = [
        {"container_path": "/etc/hosts", "host_path": hosts},
        {"container_path": "/dev/termination-log", "host_path": message},
        {"container_path": "/var/run/secrets/kubernetes.io/serviceaccount", "host_path": token, "readonly": True},
    ]
    command = "cat /etc/hosts; cd /var/run/secrets/kubernetes.io/serviceaccount && cat token; touch x 2>&1; echo why >/dev/termination-log; exit 8"
    container = pod.start("sh", "-c", command, mounts=mounts, security={"readonly_rootfs": True})
    same("cri kubelet: the exit code of a pod with kubelet's mounts", 8, container.wait().exit_code)
    text = container.log("stdout")
    check("cri kubelet: /etc/hosts is the pod's", "10.1.2.3 orlop.test" in text, text)
    check("cri kubelet: the token is there and cannot be written", "secret" in text and "Read-only file system" in text, text)
    with open(message, encoding="utf-8") as file:
        same("cri kubelet: the termination message comes out", "why\n", file.read())
    status = {m.container_path: m.readonly for m in container.status().mounts}
    same("cri ContainerStatus: the mounts are told", [False, False, True], [status.get(m["container_path"]) for m in mounts])
    pod.gone()
    subprocess.run(["umount", token], check=True)


def many(_client, pods):
    """Six pods of two containers at once, from start to removal."""
    made = [pods(f"many{n}") for n in range(6)]

    def whole_life(pod):
        pod.run()
        first, second = pod.start(*SLEEP), pod.start("sh", "-c", "echo $HOSTNAME; exit 5")
        seen = first.out("hostname").strip(), second.wait(30).exit_code
        pod.gone()
        return seen

    with ThreadPoolExecutor(len(made)) as pool:
        seen = list(pool.map(whole_life, made))
    same("cri kubelet: six pods at once live and go", [(f"many{n}-host", 5) for n in range(6)], seen)
    pod = pods("crowd").run()
    containers = [pod.create(*SLEEP) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(Container.start, containers))
        outs = list(pool.map(lambda c: c.out("echo", "here"), containers))
        list(pool.map(Container.stop, containers))
    same("cri kubelet: eight containers of a pod at once", (["here\n"] * 8, {137}), (outs, {c.status().exit_code for c in containers}))
    pod.gone()


def deaths(_client, pods):
    pod = pods("deaths").run()
    container = pod.start(*SLEEP)
    os.kill(container.pid(), signal.SIGKILL)
    status = container.wait()
    same("cri ContainerStatus: killed from outside", (2, 137), (status.state, status.exit_code))
    container = pod.start("sh", "-c", 'trap "exit 6" TERM; while :; do sleep 0.1; done')
    within(5, lambda: container.execute("true").exit_code == 0)
    os.kill(container.pid(), signal.SIGTERM)
    same("cri ContainerStatus: ended by a signal from outside", 6, container.wait().exit_code)
    survivor = pod.start(*SLEEP)
    os.kill(pod.status()[1]["pid"], signal.SIGKILL)
    state = within(10, lambda: pod.status()[0].state)
    same("cri PodSandboxStatus: not ready after the death of its process", 1, state)
    pod.client.call("StopPodSandbox", pod_sandbox_id=pod.id)
    same("cri StopPodSandbox: ends the containers of a dead sandbox", 2, survivor.status().state)
    pod.gone()


def before_restart(_client, pods):
    pod = pods("restart").run()
    runs, ends = pod.start(*SLEEP), pod.start("sh", "-c", "sleep 1; exit 9")
    with open(note(pod), "w", encoding="utf-8") as file:
        json.dump({"pod": pod.id, "address": pod.status()[0].network.ip, "runs": runs.id, "pid": runs.pid(), "ends": ends.id}, file)


def after_restart(client, pods):
    """containerd was ended and started again meanwhile, and one of the containers has ended without it."""
    pod = pods("restart")
    with open(note(pod), encoding="utf-8") as file:
        wanted = json.load(file)
    pod.id = wanted["pod"]
    status, _ = pod.status()
    same("cri restart of containerd: the sandbox is ready, its address the same", (0, wanted["address"]), (status.state, status.network.ip))
    runs, ends = Container(pod, "c1", wanted["runs"]), Container(pod, "c2", wanted["ends"])
    same("cri restart of containerd: the container runs, its pid the same", (1, wanted["pid"]), (runs.status().state, runs.pid()))
    same("cri restart of containerd: ExecSync", "back\n", runs.out("echo", "back"))
    same("cri restart of containerd: who ended meanwhile has its exit code", (2, 9), (ends.wait().state, ends.status().exit_code))
    same("cri restart of containerd: a new container starts", "new", pod.says("echo", "new", name="c3"))
    runs.stop()
    same("cri restart of containerd: StopContainer", 137, runs.status().exit_code)
    check("cri restart of containerd: no process is left", not os.path.exists(f"/proc/{wanted['pid']}"))
    pod.gone()


def note(pod):
    return os.path.join(pod.logs, "before.json")


CASES = (kubelets_mounts, many, deaths)
RESTART = {"before-restart": (before_restart,), "after-restart": (after_restart,)}
