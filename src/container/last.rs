//! What init hands to the last stage, and what the last stage's failures mean in words.
//!
//! `lay_out` runs in init (N6); the words are made in the runtime (`create`, from a message) or in
//! `start` (from the status page).

use crate::error::{Error, errno_text};
use crate::plan::hooks::HookPlan;
use crate::plan::process::ProcessPlan;
use crate::plan::seccomp::SeccompPlan;
use crate::security::labels::ExecLabel;
use crate::sys::last_stage::image::Builder;
use crate::sys::last_stage::layout::{self, Hook, Op, Page, Plan};
use crate::sys::process::Ended;
use std::os::fd::RawFd;

/// Descriptors of init that the last stage uses; -1 = none.
#[derive(Debug, Clone, Copy)]
pub struct StageFds {
    pub channel: RawFd,
    pub start: RawFd,
    pub page: RawFd,
    /// This process's own attr directory.
    pub attr: RawFd,
    pub hook_stdin: RawFd,
}

/// All that the last stage needs, still as plain values.
#[derive(Debug)]
pub struct Stage<'a> {
    pub process: Option<&'a ProcessPlan>,
    /// The user namespace denies setgroups(2).
    pub groups_denied: bool,
    /// The environment, HOME included.
    pub env: &'a [String],
    pub seccomp: Option<&'a SeccompPlan>,
    pub hooks: &'a [HookPlan],
    pub label: Option<&'a ExecLabel>,
    pub fds: StageFds,
}

/// Lays the plan out for memory that begins at `base`.
pub fn lay_out(stage: &Stage, base: u64) -> Vec<u8> {
    let mut builder = Builder::new(base);
    let mut plan = Plan {
        channel: stage.fds.channel,
        start: stage.fds.start,
        page: stage.fds.page,
        label_dir: stage.fds.attr,
        hook_stdin: stage.fds.hook_stdin,
        first_closed: 3,
        ..Plan::default()
    };
    match stage.process {
        Some(process) => lay_out_process(&mut builder, &mut plan, process, stage),
        None => plan.flags |= layout::NO_PROCESS,
    }
    if let Some(seccomp) = stage.seccomp {
        lay_out_seccomp(&mut builder, &mut plan, seccomp);
    }
    if let Some(label) = stage.label {
        plan.label = builder.bytes(&label.text);
        plan.label_len = label.text.len() as u64;
        plan.label_files = builder.strings(label.files);
    }
    let hooks: Vec<Hook> = stage
        .hooks
        .iter()
        .map(|hook| Hook {
            path: builder.string(&hook.path),
            argv: builder.strings(&hook.args),
            envp: match &hook.env {
                Some(env) => builder.strings(env),
                // De facto: the container's environment when the hook has none.
                None => plan.envp,
            },
            timeout: u64::from(hook.timeout.unwrap_or(0)) * 1000,
        })
        .collect();
    plan.hooks = builder.hooks(&hooks);
    plan.hook_count = hooks.len() as u64;
    builder.finish(&plan)
}

fn lay_out_process(builder: &mut Builder, plan: &mut Plan, process: &ProcessPlan, stage: &Stage) {
    let capabilities = &process.capabilities;
    plan.uid = process.uid;
    plan.gid = process.gid;
    let groups: Vec<u8> = process.groups.iter().flat_map(|group| group.to_ne_bytes()).collect();
    plan.groups = builder.bytes(&groups);
    plan.group_count = process.groups.len() as u64;
    plan.bounding = capabilities.bounding;
    plan.effective = capabilities.effective;
    plan.permitted = capabilities.permitted;
    plan.inheritable = capabilities.inheritable;
    plan.ambient = capabilities.ambient;
    plan.first_closed = process.fds.first_closed();
    for (wanted, flag) in [
        (process.set_groups, layout::SET_GROUPS),
        (process.groups_optional && stage.groups_denied, layout::GROUPS_OPTIONAL),
        (process.no_new_privs, layout::NO_NEW_PRIVS),
        (given_as_path(process), layout::PATH_GIVEN),
    ] {
        if wanted {
            plan.flags |= flag;
        }
    }
    plan.cwd = builder.string(&process.cwd);
    plan.candidates = builder.strings(&candidates(process));
    plan.argv = builder.strings(&process.argv);
    plan.envp = builder.strings(stage.env);
}

fn lay_out_seccomp(builder: &mut Builder, plan: &mut Plan, seccomp: &SeccompPlan) {
    let program: Vec<u8> = seccomp
        .program
        .iter()
        .flat_map(|insn| {
            let [a, b] = insn.code.to_ne_bytes();
            let [w, x, y, z] = insn.k.to_ne_bytes();
            [a, b, insn.jt, insn.jf, w, x, y, z]
        })
        .collect();
    plan.program = builder.bytes(&program);
    plan.program_len = seccomp.program.len() as u64;
    plan.filter_flags = seccomp.flags;
    // Without no_new_privs the kernel wants CAP_SYS_ADMIN for it (seccomp(2)): before identity then.
    plan.flags |= match plan.flags & layout::NO_NEW_PRIVS {
        0 => layout::SECCOMP_FIRST,
        _ => layout::SECCOMP_LAST,
    };
    if seccomp.flags_default {
        plan.flags |= layout::SECCOMP_FLAGS_OPTIONAL;
    }
    if seccomp.notify {
        plan.flags |= layout::SECCOMP_LISTENER;
    }
}

fn given_as_path(process: &ProcessPlan) -> bool {
    process.argv.first().is_some_and(|name| name.contains('/'))
}

/// Where args[0] may lie, in the order of execvp(3); an empty entry of the search path is the cwd.
fn candidates(process: &ProcessPlan) -> Vec<String> {
    let name = process.argv.first().map(String::as_str).unwrap_or_default();
    if given_as_path(process) {
        return vec![name.to_owned()];
    }
    if name.is_empty() {
        return Vec::new();
    }
    process
        .env
        .search_path
        .split(':')
        .map(|dir| if dir.is_empty() { format!("./{name}") } else { format!("{dir}/{name}") })
        .collect()
}

/// A failure of the last stage in words; `name` is args[0].
pub fn failure(op: u32, errno: i32, detail: i32, process: Option<&ProcessPlan>) -> Error {
    let name = process.and_then(|p| p.argv.first()).map(String::as_str).unwrap_or_default();
    let sys = |call: &'static str, phrase: &'static str, field: &'static str| {
        Error::sys(call, errno).at(field).doing(phrase)
    };
    match Op::from_code(op) {
        Some(Op::Lookup) => lookup_failure(name, errno),
        Some(Op::NotFoundInPath) => Error::new(format!("exec: {name:?}: executable file not found in $PATH")),
        Some(Op::Execve) => execve_failure(name, errno),
        Some(Op::NoProcess) => Error::new("process: is missing from config.json, nothing to start"),
        Some(Op::Label) => label_failure(errno, detail, process),
        Some(Op::Seccomp) => seccomp_failure(errno),
        Some(Op::Uid) if errno == libc::EINVAL => {
            Error::new("cannot setuid to unmapped uid").at("process.user.uid")
        }
        Some(Op::Uid) => sys("setresuid", "set the user id", "process.user.uid"),
        Some(Op::Gid) => sys("setresgid", "set the group id", "process.user.gid"),
        Some(Op::Groups) => sys("setgroups", "set the supplementary groups", "process.user.additionalGids"),
        Some(Op::Bounding) => {
            sys("prctl(PR_CAPBSET_DROP)", "drop a capability", "process.capabilities.bounding")
        }
        Some(Op::Capabilities) => sys("capset", "set the capabilities", "process.capabilities"),
        Some(Op::NoNewPrivs) => sys("prctl", "set no_new_privs", "process.noNewPrivileges"),
        Some(Op::Cwd) => {
            let cwd = process.map(|p| p.cwd.as_str()).unwrap_or_default();
            let phrase = format!("enter the working directory {cwd}");
            Error::sys("chdir", errno).at("process.cwd").doing(phrase.trim_end().to_owned())
        }
        Some(Op::Gate) => Error::sys("read", errno).at("linux.seccomp").doing("wait at the start gate").hint(
            "the profile forbids a system call that entering the container needs (read, close, execve)",
        ),
        Some(Op::CwdOutside) => Error::new("lies outside the container").at("process.cwd"),
        Some(op) => Error::sys("last stage", errno).at(format!("{op:?} {detail}")),
        None => Error::new(format!("init failed in operation {op} (errno {errno})")),
    }
}

/// The kernel's answers to a write into attr/exec: of AppArmor (aa_change_profile) and of SELinux, one of which is on.
fn label_failure(errno: i32, detail: i32, process: Option<&ProcessPlan>) -> Error {
    let profile = process.and_then(|process| process.apparmor_profile.as_deref());
    let label = process.and_then(|process| process.selinux_label.as_deref());
    let call = if detail == layout::LABEL_NOT_OPENED { "openat" } else { "write" };
    let error = Error::sys(call, errno);
    match (profile, label, errno) {
        _ if detail == layout::LABEL_NOT_OPENED => error.doing("open attr/exec for the label of the process"),
        (_, Some(label), _) => {
            let error = error.at("process.selinuxLabel").doing(format!("set the SELinux label {label}"));
            match errno {
                libc::EINVAL => error.hint("the loaded policy has no such user, role, type or level"),
                libc::EACCES => error.hint("the policy does not let this process choose a label (setexec)"),
                _ => error,
            }
        }
        (profile, None, _) => {
            let profile = profile.unwrap_or_default();
            let error =
                error.at("process.apparmorProfile").doing(format!("set the AppArmor profile {profile}"));
            match errno {
                libc::ENOENT => {
                    error.hint("the kernel has no profile of that name: load it by apparmor_parser")
                }
                libc::EACCES => {
                    error.hint("the profile that this process runs under does not allow the change")
                }
                _ => error,
            }
        }
    }
}

/// Go's words, by which Docker and Podman choose 126 and 127.
fn lookup_failure(name: &str, errno: i32) -> Error {
    match errno {
        libc::ENOENT => Error::new(format!("exec: {name:?}: stat {name}: no such file or directory")),
        // A directory is "permission denied" to runc's callers, whatever the kernel says.
        libc::EISDIR | libc::EACCES => Error::new(format!("exec: {name:?}: permission denied")),
        other => Error::new(format!("exec: {name:?}: {}", errno_text(other))),
    }
}

fn execve_failure(name: &str, errno: i32) -> Error {
    let error = Error::new(format!("exec: {name:?}: {}", errno_text(errno)));
    match errno {
        libc::ENOENT => error.hint("the file is there, but its interpreter (#! line or ELF loader) is not"),
        libc::ENOEXEC => error.hint("neither a program for this architecture nor a script with a #! line"),
        _ => error,
    }
}

fn seccomp_failure(errno: i32) -> Error {
    let error = Error::sys("seccomp", errno).at("linux.seccomp").doing("load the filter");
    match errno {
        libc::EACCES => error.hint("without noNewPrivileges this needs CAP_SYS_ADMIN"),
        libc::EINVAL => error.hint("this kernel does not know one of linux.seccomp.flags"),
        _ => error,
    }
}

/// What the status page tells after the gate: None = nothing failed.
pub fn page_failure(page: &Page, argv0: &str, hooks: &[HookPlan]) -> Option<Error> {
    let op = Op::from_code(page.failed)?;
    let hook = hooks.get(page.hook as usize);
    let field = hook.map(|hook| hook.field.clone()).unwrap_or_default();
    let phrase = hook.map(|hook| format!("run hook {}", hook.path)).unwrap_or_default();
    let text = page.text.get(..page.text_len as usize).unwrap_or_default();
    Some(match op {
        Op::HookStatus if page.errno != 0 => Error::sys("execve", page.errno).at(field).doing(phrase),
        Op::HookStatus => {
            let ended = match page.detail & 0x7f {
                0 => Ended::Exited(page.detail >> 8 & 0xff),
                signal => Ended::Killed(signal),
            };
            let text = super::hooks::ended_text(ended, &String::from_utf8_lossy(text));
            Error::new(text).at(field).doing(phrase)
        }
        Op::HookTimeout => Error::new("did not end in time and was killed").at(field).doing(phrase),
        Op::HookStart => Error::sys("clone", page.errno).at(field).doing(phrase),
        Op::Execve => execve_failure(argv0, page.errno),
        _ => failure(page.failed, page.errno, page.detail, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_find_their_words() {
        let text = |op: Op, errno| failure(op as u32, errno, 0, None).to_string();
        assert!(text(Op::Lookup, libc::ENOENT).contains("no such file or directory"));
        assert!(text(Op::Lookup, libc::EISDIR).contains("permission denied"));
        assert!(text(Op::NotFoundInPath, 0).contains("executable file not found in $PATH"));
        assert!(text(Op::Uid, libc::EINVAL).contains("cannot setuid to unmapped uid"));
        assert!(text(Op::Cwd, libc::EACCES).contains("process.cwd, chdir"));
    }

    #[test]
    fn a_refused_label_names_its_field() {
        let process = |key: &str, value: &str| {
            let mut all = serde_json::json!({"ociVersion": "1.3.0",
                "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/"}});
            all["process"][key] = value.into();
            let spec = serde_json::from_value(all).unwrap();
            let options = crate::plan::process::Options::default();
            crate::plan::process::plan(&spec, &[], &options, &mut Vec::new()).unwrap().unwrap()
        };
        let text =
            |process, errno, detail| failure(Op::Label as u32, errno, detail, Some(process)).to_string();
        let profile = process("apparmorProfile", "lost");
        let said = text(&profile, libc::ENOENT, 0);
        let wanted = "set the AppArmor profile lost: no such file or directory (process.apparmorProfile, write); \
                      hint: the kernel has no profile of that name";
        assert!(said.starts_with(wanted), "{said}");
        let said = text(&profile, libc::ENOENT, layout::LABEL_NOT_OPENED);
        assert!(said.starts_with("open attr/exec for the label of the process: no such file"), "{said}");
        let said = text(&process("selinuxLabel", "a:b:c:s0"), libc::EINVAL, 0);
        let wanted = "set the SELinux label a:b:c:s0: invalid argument (process.selinuxLabel, write); hint: the loaded";
        assert!(said.starts_with(wanted), "{said}");
    }
}
