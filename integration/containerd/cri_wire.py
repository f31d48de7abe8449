"""The messages of Kubernetes' container runtime interface (CRI) that the tests use, as protobuf classes.

Facts about the wire format, written down from the interface's description: package runtime.v1,
https://github.com/kubernetes/cri-api, pkg/apis/runtime/v1/api.proto (as of Kubernetes 1.23 .. 1.29). A field is
`number name type`; `*` is repeated, `{}` a map of strings. Fields that no test needs are left out; protobuf ignores them
when they come. Enumerations are int32 on the wire, and here.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "runtime.v1"

MESSAGES = """
VersionRequest: 1 version string
VersionResponse: 1 version string, 2 runtime_name string, 3 runtime_version string, 4 runtime_api_version string
StatusRequest: 1 verbose bool
StatusResponse: 1 status RuntimeStatus, 2 info {}
RuntimeStatus: 1 conditions *RuntimeCondition
RuntimeCondition: 1 type string, 2 status bool, 3 reason string, 4 message string

Int64Value: 1 value int64
UInt64Value: 1 value uint64
KeyValue: 1 key string, 2 value string
DNSConfig: 1 servers *string, 2 searches *string, 3 options *string
PortMapping: 1 protocol int32, 2 container_port int32, 3 host_port int32, 4 host_ip string
Mount: 1 container_path string, 2 host_path string, 3 readonly bool, 4 selinux_relabel bool, 5 propagation int32
NamespaceOption: 1 network int32, 2 pid int32, 3 ipc int32, 4 target_id string
SecurityProfile: 1 profile_type int32, 2 localhost_ref string
Capability: 1 add_capabilities *string, 2 drop_capabilities *string
Device: 1 container_path string, 2 host_path string, 3 permissions string
ImageSpec: 1 image string
LinuxContainerResources: 1 cpu_period int64, 2 cpu_quota int64, 3 cpu_shares int64, 4 memory_limit_in_bytes int64,
    5 oom_score_adj int64, 6 cpuset_cpus string, 7 cpuset_mems string, 9 unified {}, 10 memory_swap_limit_in_bytes int64

PodSandboxMetadata: 1 name string, 2 uid string, 3 namespace string, 4 attempt uint32
LinuxSandboxSecurityContext: 1 namespace_options NamespaceOption, 3 run_as_user Int64Value, 4 readonly_rootfs bool,
    5 supplemental_groups *int64, 6 privileged bool, 8 run_as_group Int64Value, 9 seccomp SecurityProfile
LinuxPodSandboxConfig: 1 cgroup_parent string, 2 security_context LinuxSandboxSecurityContext, 3 sysctls {}
PodSandboxConfig: 1 metadata PodSandboxMetadata, 2 hostname string, 3 log_directory string, 4 dns_config DNSConfig,
    5 port_mappings *PortMapping, 6 labels {}, 7 annotations {}, 8 linux LinuxPodSandboxConfig
RunPodSandboxRequest: 1 config PodSandboxConfig, 2 runtime_handler string
RunPodSandboxResponse: 1 pod_sandbox_id string
StopPodSandboxRequest: 1 pod_sandbox_id string
StopPodSandboxResponse:
RemovePodSandboxRequest: 1 pod_sandbox_id string
RemovePodSandboxResponse:
PodSandboxStatusRequest: 1 pod_sandbox_id string, 2 verbose bool
PodSandboxNetworkStatus: 1 ip string
PodSandboxStatus: 1 id string, 2 metadata PodSandboxMetadata, 3 state int32, 4 created_at int64,
    5 network PodSandboxNetworkStatus, 9 runtime_handler string
PodSandboxStatusResponse: 1 status PodSandboxStatus, 2 info {}
ListPodSandboxRequest:
PodSandbox: 1 id string, 2 metadata PodSandboxMetadata, 3 state int32
ListPodSandboxResponse: 1 items *PodSandbox

LinuxContainerSecurityContext: 1 capabilities Capability, 2 privileged bool, 3 namespace_options NamespaceOption,
    5 run_as_user Int64Value, 6 run_as_username string, 7 readonly_rootfs bool, 8 supplemental_groups *int64,
    11 no_new_privs bool, 12 run_as_group Int64Value, 13 masked_paths *string, 14 readonly_paths *string,
    15 seccomp SecurityProfile
LinuxContainerConfig: 1 resources LinuxContainerResources, 2 security_context LinuxContainerSecurityContext
ContainerMetadata: 1 name string, 2 attempt uint32
ContainerConfig: 1 metadata ContainerMetadata, 2 image ImageSpec, 3 command *string, 4 args *string, 5 working_dir string,
    6 envs *KeyValue, 7 mounts *Mount, 8 devices *Device, 9 labels {}, 10 annotations {}, 11 log_path string,
    12 stdin bool, 13 stdin_once bool, 14 tty bool, 15 linux LinuxContainerConfig
CreateContainerRequest: 1 pod_sandbox_id string, 2 config ContainerConfig, 3 sandbox_config PodSandboxConfig
CreateContainerResponse: 1 container_id string
StartContainerRequest: 1 container_id string
StartContainerResponse:
StopContainerRequest: 1 container_id string, 2 timeout int64
StopContainerResponse:
RemoveContainerRequest: 1 container_id string
RemoveContainerResponse:
ListContainersRequest:
Container: 1 id string, 2 pod_sandbox_id string, 3 metadata ContainerMetadata, 6 state int32
ListContainersResponse: 1 containers *Container
ContainerStatusRequest: 1 container_id string, 2 verbose bool
ContainerStatus: 1 id string, 2 metadata ContainerMetadata, 3 state int32, 4 created_at int64, 5 started_at int64,
    6 finished_at int64, 7 exit_code int32, 10 reason string, 11 message string, 14 mounts *Mount, 15 log_path string
ContainerStatusResponse: 1 status ContainerStatus, 2 info {}
UpdateContainerResourcesRequest: 1 container_id string, 2 linux LinuxContainerResources
UpdateContainerResourcesResponse:
ReopenContainerLogRequest: 1 container_id string
ReopenContainerLogResponse:
ExecSyncRequest: 1 container_id string, 2 cmd *string, 3 timeout int64
ExecSyncResponse: 1 stdout bytes, 2 stderr bytes, 3 exit_code int32

FilesystemUsage: 1 timestamp int64, 3 used_bytes UInt64Value, 4 inodes_used UInt64Value
CpuUsage: 1 timestamp int64, 2 usage_core_nano_seconds UInt64Value, 3 usage_nano_cores UInt64Value
MemoryUsage: 1 timestamp int64, 2 working_set_bytes UInt64Value, 3 available_bytes UInt64Value, 4 usage_bytes UInt64Value,
    5 rss_bytes UInt64Value
ContainerAttributes: 1 id string, 2 metadata ContainerMetadata
ContainerStats: 1 attributes ContainerAttributes, 2 cpu CpuUsage, 3 memory MemoryUsage, 4 writable_layer FilesystemUsage
ContainerStatsRequest: 1 container_id string
ContainerStatsResponse: 1 stats ContainerStats
ListContainerStatsRequest:
ListContainerStatsResponse: 1 stats *ContainerStats
ProcessUsage: 1 timestamp int64, 2 process_count UInt64Value
LinuxPodSandboxStats: 1 cpu CpuUsage, 2 memory MemoryUsage, 4 process ProcessUsage, 5 containers *ContainerStats
PodSandboxStats: 2 linux LinuxPodSandboxStats
PodSandboxStatsRequest: 1 pod_sandbox_id string
PodSandboxStatsResponse: 1 stats PodSandboxStats
"""

FIELD = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "string": FIELD.TYPE_STRING,
    "bytes": FIELD.TYPE_BYTES,
    "bool": FIELD.TYPE_BOOL,
    "int32": FIELD.TYPE_INT32,
    "int64": FIELD.TYPE_INT64,
    "uint32": FIELD.TYPE_UINT32,
    "uint64": FIELD.TYPE_UINT64,
}


def add_field(message, number, name, kind):
    field = message.field.add(name=name, number=int(number), label=FIELD.LABEL_OPTIONAL)
    if kind == "{}":  # a map is a repeated message of a key and a value
        entry = message.nested_type.add(name=name.title().replace("_", "") + "Entry")
        entry.options.map_entry = True
        add_field(entry, 1, "key", "string")
        add_field(entry, 2, "value", "string")
        field.label, field.type = FIELD.LABEL_REPEATED, FIELD.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{message.name}.{entry.name}"
        return
    if kind.startswith("*"):
        field.label, kind = FIELD.LABEL_REPEATED, kind[1:]
    if kind in SCALARS:
        field.type = SCALARS[kind]
    else:
        field.type, field.type_name = FIELD.TYPE_MESSAGE, f".{PACKAGE}.{kind}"


def classes():
    """Name -> message class."""
    file = descriptor_pb2.FileDescriptorProto(name="cri.proto", package=PACKAGE, syntax="proto3")
    for line in MESSAGES.replace(",\n", ",").strip().splitlines():
        if not line.strip():
            continue
        name, fields = line.split(":", 1)
        message = file.message_type.add(name=name)
        for field in filter(None, map(str.strip, fields.split(","))):
            add_field(message, *field.split())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = [message.name for message in file.message_type]
    return {n: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{n}")) for n in names}
