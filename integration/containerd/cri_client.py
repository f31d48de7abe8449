"""A client of containerd's CRI service, and the TAP lines of its cases; cri.sh counts them."""

import contextlib
import glob
import json
import os
import subprocess
import time

import grpc
from google.protobuf import json_format

import cri_wire

CLASSES = cri_wire.classes()
# Times on a fast machine, times this on a slow one (an emulated processor).
PATIENCE = int(os.environ.get("CRI_PATIENCE", "1"))


class Client:
    """call("RunPodSandbox", config={...}) gives the response message. Field names are the interface's."""

    def __init__(self, socket):
        self.channel = grpc.insecure_channel("unix://" + socket)
        self.service = f"/{cri_wire.PACKAGE}.RuntimeService/"

    def call(self, method, limit=30, **fields):
        answer = CLASSES[method + "Response"]
        send = self.channel.unary_unary(
            self.service + method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return send(json_format.ParseDict(fields, CLASSES[method + "Request"]()), timeout=limit * PATIENCE)

    def fails(self, method, **fields):
        """The error's text; empty when there is none."""
        try:
            self.call(method, **fields)
        except grpc.RpcError as error:
            return error.details()
        return ""


def lines(text):
    for line in str(text).splitlines()[-20:]:
        print(f"#   {line}")


def check(name, good, text=""):
    print(("ok" if good else "not ok") + " - " + name, flush=True)
    if not good:
        lines(text)


def same(name, wanted, got):
    check(name, wanted == got, f"wanted: {wanted!r}\ngot: {got!r}")


def skip(name, why):
    print(f"ok - {name} # SKIP {why}", flush=True)


def within(seconds, question):
    """The first true answer, or the last one."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        answer = question()
        if answer or time.monotonic() > end:
            return answer
        time.sleep(0.1)


def case(function, *arguments):
    """A case that cannot go on is a failed case, not the end of the others."""
    try:
        function(*arguments)
    except (grpc.RpcError, OSError, ValueError, LookupError) as error:
        detail = error.details() if isinstance(error, grpc.RpcError) else repr(error)
        check(f"cri: {function.__name__.replace('_', ' ')} can be gone through", False, detail)


class Pod:
    """A sandbox whose configuration is passed again with each container, as kubelet does."""

    count = 0

    def __init__(self, client, image, work, tag, name, **security):
        Pod.count += 1
        self.client, self.image = client, image
        self.logs = os.path.join(work, "logs", name)
        os.makedirs(self.logs, exist_ok=True)
        # kubelet with systemd's driver gives the path of a slice, whose unit systemd makes with the first scope in it.
        self.slice = f"{tag.removesuffix('.slice')}-{name.replace('-', '_')}.slice" if tag.endswith(".slice") else None
        self.parent = f"/{tag}/{self.slice or name}"
        self.config = {
            "metadata": {"name": name, "uid": f"uid-{Pod.count}", "namespace": "default", "attempt": 0},
            "log_directory": self.logs,
            "labels": {"app": name},
            "linux": {"cgroup_parent": self.parent, "security_context": security},
        }
        if security.get("namespace_options", {}).get("network") != 2:
            self.config["hostname"] = name + "-host"
        self.id = None
        self.names = 0

    def run(self, **more):
        self.config.update(more)
        self.id = self.client.call("RunPodSandbox", config=self.config, runtime_handler="tested").pod_sandbox_id
        return self

    def status(self):
        answer = self.client.call("PodSandboxStatus", pod_sandbox_id=self.id, verbose=True)
        return answer.status, json.loads(answer.info["info"])

    def create(self, *command, security=None, resources=None, **more):
        self.names += 1
        name = more.pop("name", f"c{self.names}")
        config = {
            "metadata": {"name": name, "attempt": more.pop("attempt", 0)},
            "image": {"image": self.image},
            "command": list(command),
            "log_path": f"{name}.log",
            "linux": {"security_context": security or {}, "resources": resources or {}},
            **more,
        }
        answer = self.client.call("CreateContainer", pod_sandbox_id=self.id, config=config, sandbox_config=self.config)
        return Container(self, name, answer.container_id)

    def start(self, *command, **more):
        container = self.create(*command, **more)
        container.start()
        return container

    def says(self, *command, **more):
        """What a container that runs to its end writes on stdout."""
        container = self.start(*command, **more)
        container.wait()
        text = container.log("stdout")
        container.remove()
        return text

    def gone(self):
        self.client.call("StopPodSandbox", pod_sandbox_id=self.id)
        self.client.call("RemovePodSandbox", pod_sandbox_id=self.id)
        self.remove_cgroup()

    def remove_cgroup(self):
        # The pod's own cgroup is kubelet's to make and to remove: so here ours. What is in it still is found at the end.
        if self.slice:
            subprocess.run(["systemctl", "stop", self.slice], check=False)
            return
        for folder in glob.glob("/sys/fs/cgroup" + self.parent) + glob.glob("/sys/fs/cgroup/*" + self.parent):
            if os.path.isdir(folder):  # the mounts of cpu and cpuacct can be one
                with contextlib.suppress(OSError):
                    os.rmdir(folder)


class Container:
    def __init__(self, pod, name, identity):
        self.pod, self.client, self.name, self.id = pod, pod.client, name, identity

    def start(self):
        self.client.call("StartContainer", container_id=self.id)

    def status(self):
        return self.client.call("ContainerStatus", container_id=self.id).status

    def pid(self):
        return json.loads(self.client.call("ContainerStatus", container_id=self.id, verbose=True).info["info"])["pid"]

    def wait(self, seconds=15):
        within(seconds, lambda: self.status().state == 2)
        return self.status()

    def stop(self, timeout=0):
        self.client.call("StopContainer", container_id=self.id, timeout=timeout)

    def remove(self):
        self.client.call("RemoveContainer", container_id=self.id)

    def execute(self, *command, timeout=10):
        return self.client.call("ExecSync", container_id=self.id, cmd=list(command), timeout=timeout * PATIENCE)

    def out(self, *command):
        return self.execute(*command).stdout.decode()

    def log_path(self):
        return os.path.join(self.pod.logs, self.name + ".log")

    def log(self, stream):
        """The text of one stream out of a file of lines `TIME STREAM F|P TEXT`."""
        text = ""
        with open(self.log_path(), encoding="utf-8") as file:
            for line in file:
                _, which, flag, rest = line.rstrip("\n").split(" ", 3)
                if which == stream:
                    text += rest + ("\n" if flag == "F" else "")
        return text.strip()

    def cgroup(self, controller):
        """The folder of the container's cgroup in v1's hierarchy of the controller, or in v2's."""
        for line in open(f"/proc/{self.pid()}/cgroup", encoding="utf-8"):
            _, names, path = line.rstrip("\n").split(":", 2)
            if controller in names.split(","):
                return f"/sys/fs/cgroup/{controller}{path}"
        return f"/sys/fs/cgroup{path}"

    def limit(self, controller, v1, v2):
        folder = self.cgroup(controller)
        name = v1 if os.path.exists(f"{folder}/{v1}") else v2
        with open(f"{folder}/{name}", encoding="utf-8") as file:
            return file.read().strip()
