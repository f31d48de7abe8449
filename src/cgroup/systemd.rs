//! Units of systemd: made with their first process, given properties, stopped. The plan has every word that is said.
//!
//! In the runtime. A scope begins with a process, and no process of the container may exist before its cgroup does: so
//! a child of ours that only sleeps is its first, until init has been born in it. systemd lets an empty scope go by
//! itself, so whenever we are killed before that, the sleeper dies with us (PR_SET_PDEATHSIG) and nothing is left.

use super::dbus::{Bus, Failure, Message, Target};
use crate::error::{Doing, Error, Result};
use crate::plan::cgroup::attach::AttachPlan;
use crate::plan::cgroup::unit::{Property, Unit, UnitPlan, in_order};
use crate::plan::cgroup::value::Value;
use crate::sys::clone::{Child, Clone, clone3};
use crate::sys::pidfd::end_child;
use crate::sys::process::{close_all_but, descriptors_end, die_with_parent, reset_signals, set_name};
use rustix::thread::Timespec;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long systemd may take over a call, or over a job: as long as runc gives it. As process 1 it answers nobody while it
/// loads its units anew, on a busy host for twenty seconds.
const PATIENCE: Duration = Duration::from_secs(30);

const DESTINATION: &str = "org.freedesktop.systemd1";
const MANAGER: Target<'_> = Target {
    destination: DESTINATION,
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};
const BUS: Target<'_> = Target {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};
const JOB_REMOVED: &str = "type='signal',sender='org.freedesktop.systemd1',\
    interface='org.freedesktop.systemd1.Manager',member='JobRemoved',path='/org/freedesktop/systemd1'";

/// The process that keeps a new scope open; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Sleeper(Child);

impl Sleeper {
    fn new() -> Result<Self> {
        let parent = std::process::id() as i32;
        let child = clone3(&Clone::default(), |_| {
            set_name(c"orlop:[scope]");
            reset_signals();
            die_with_parent(parent);
            close_all_but(0, descriptors_end(), &[]);
            loop {
                let _ = rustix::thread::nanosleep(&Timespec { tv_sec: 3600, tv_nsec: 0 });
            }
        });
        child.map(Self).doing("create the first process of the scope")
    }

    pub fn pid(&self) -> i32 {
        self.0.pid
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        end_child(self.0.pidfd.as_fd());
    }
}

/// Starts the unit and waits until it is there.
pub(super) fn start(plan: &UnitPlan) -> Result<Sleeper, Undone> {
    let sleeper = Sleeper::new()?;
    let mut manager = Manager::connect(&plan.unit, PATIENCE)?;
    let mut properties = plan.start.clone();
    if plan.unit.name.ends_with(".scope") {
        let pid = Value::Uint32(sleeper.pid() as u32);
        properties.push(Property {
            name: "PIDs".into(),
            value: Value::Array("u".into(), vec![pid]),
            since: 0,
        });
    }
    let unit = &plan.unit.name;
    let doing = || format!("start the unit {unit}");
    let arguments = |version| {
        let none = Value::Array("(sa(sv))".into(), vec![]);
        [Value::text(unit), Value::text("replace"), pairs(&properties, version), none]
    };
    let version = manager.version()?;
    let begun = match manager.bus.call(&MANAGER, "StartTransientUnit", &arguments(version)) {
        // A failed unit of that name from an earlier life is kept for its state until somebody resets it.
        Err(Failure::Refused { name, .. }) if name.ends_with(".UnitExists") => {
            manager.reset(unit);
            manager.bus.call(&MANAGER, "StartTransientUnit", &arguments(version))
        }
        begun => begun,
    };
    let ended = begun.and_then(|job| manager.await_job(&job));
    let started = ended.map_err(|failure| manager.explain(failure)).doing_with(doing);
    let placed = started.and_then(|()| match &plan.control_group {
        Some(planned) => manager.check_control_group(unit, planned),
        None => Ok(()),
    });
    placed.map(|()| sleeper).map_err(|error| Undone { error: Box::new(error), is_told: true })
}

/// What was not done, as far as we know.
#[derive(Debug)]
pub(super) struct Undone {
    pub error: Box<Error>,
    /// systemd got the call, and may carry it out when nobody waits for its answer any more.
    pub is_told: bool,
}

impl From<Error> for Undone {
    fn from(error: Error) -> Self {
        Self { error: Box::new(error), is_told: false }
    }
}

/// Changes properties until the next boot or stop, whichever is first.
pub(super) fn set_properties(unit: &Unit, properties: &[Property]) -> Result<(), Undone> {
    if properties.is_empty() {
        return Ok(());
    }
    let mut manager = Manager::connect(unit, PATIENCE)?;
    let version = manager.version()?;
    let arguments = [Value::text(&unit.name), Value::Bool(true), pairs(&in_order(properties), version)];
    let done = manager.bus.call(&MANAGER, "SetUnitProperties", &arguments);
    done.map(drop).map_err(|failure| Undone {
        is_told: matches!(failure, Failure::Lost(_)),
        error: Box::new(manager.explain(failure).doing(format!("set properties of the unit {}", unit.name))),
    })
}

/// Stops the unit and makes systemd forget it. A unit that is gone is fine, and so is a manager that is gone: its
/// cgroups are removed as all others.
pub(super) fn stop(unit: &Unit) -> Result<()> {
    let Ok(mut manager) = Manager::connect(unit, PATIENCE) else { return Ok(()) };
    manager.stop(&unit.name)
}

/// The same if the unit's cgroup is one of `paths`: a unit of that name elsewhere is another's.
pub(super) fn stop_in(unit: &Unit, paths: &[&str]) -> Result<()> {
    let Ok(mut manager) = Manager::connect(unit, PATIENCE) else { return Ok(()) };
    // One that is not there, or has failed before it had a cgroup, is nowhere.
    let found = manager.control_group(&unit.name).unwrap_or_default();
    if paths.contains(&found.as_str()) {
        return manager.stop(&unit.name);
    }
    if found.is_empty() {
        manager.reset(&unit.name);
    }
    Ok(())
}

/// Has the system's manager move `pid`, a process of ours that has done nothing yet, into the cgroup `path`.
pub(super) fn attach(plan: &AttachPlan, path: &str, pid: i32) -> Result<()> {
    let unit = &plan.unit;
    let doing = || format!("have systemd move a process into {path} of {unit}");
    let below =
        plan.below(path).ok_or_else(|| Error::new("the cgroup is not the unit's")).doing_with(doing)?;
    let call = || -> Result<(), Failure> {
        let mut bus = Bus::connect(&plan.bus, plan.uid, PATIENCE)?;
        bus.call(&BUS, "Hello", &[])?;
        let pids = Value::Array("u".into(), vec![Value::Uint32(pid as u32)]);
        bus.call(&MANAGER, "AttachProcessesToUnit", &[Value::text(unit), Value::text(below), pids])?;
        Ok(())
    };
    let explain = |failure: Failure| match failure.errno() {
        0 => Error::from(failure),
        errno => Error::sys("AttachProcessesToUnit", errno),
    };
    call().map_err(explain).doing_with(doing).hint(
        "the caller is outside of the cgroups that are delegated to this user: systemd-run --user --scope brings it there",
    )
}

struct Manager {
    bus: Bus,
    /// The way out when nobody answers.
    hint: &'static str,
}

impl Manager {
    fn connect(unit: &Unit, patience: Duration) -> Result<Self> {
        let hint = match unit.of_user {
            true => {
                "is this user's systemd running (XDG_RUNTIME_DIR, loginctl enable-linger)? \
                     --cgroup-manager cgroupfs does without"
            }
            false => "is systemd running, with its bus? --cgroup-manager cgroupfs does without",
        };
        Self::reach(unit, patience).map(|bus| Self { bus, hint }).doing("connect to systemd").hint(hint)
    }

    fn reach(unit: &Unit, patience: Duration) -> Result<Bus> {
        let connected = Bus::connect(&unit.bus, unit.uid, patience);
        let gone = |e: &Error| [libc::ENOENT, libc::ECONNREFUSED].contains(&e.errno());
        let mut bus = match (connected, &unit.private) {
            (Ok(bus), _) => bus,
            // No bus, but perhaps the manager itself: there nobody has to be asked for signals.
            (Err(e), Some(private)) if gone(&e) && Path::new(private).exists() => {
                return Bus::connect(private, unit.uid, patience);
            }
            (Err(e), _) => return Err(e),
        };
        let none: &[Value] = &[];
        for (target, member, arguments) in [
            (&BUS, "Hello", none),
            (&BUS, "AddMatch", &[Value::text(JOB_REMOVED)]),
            // Without a subscriber systemd sends no signals.
            (&MANAGER, "Subscribe", none),
        ] {
            bus.call(target, member, arguments).map_err(Error::from)?;
        }
        Ok(bus)
    }

    fn explain(&self, failure: Failure) -> Error {
        let is_lost = matches!(failure, Failure::Lost(_));
        let e = Error::from(failure);
        if is_lost { e.hint(self.hint) } else { e }
    }

    fn version(&mut self) -> Result<u32> {
        self.property(MANAGER.path, MANAGER.interface, "Version").map(|text| version(&text))
    }

    /// A property that is a string.
    fn property(&mut self, path: &str, interface: &str, name: &str) -> Result<String> {
        let target = Target { destination: DESTINATION, path, interface: "org.freedesktop.DBus.Properties" };
        let got = self.bus.call(&target, "Get", &[Value::text(interface), Value::text(name)]);
        let reply = got.map_err(|e| self.explain(e)).doing(format!("ask systemd for {name}"))?;
        let mut body = reply.reader();
        match (body.signature().as_deref(), body.string()) {
            (Some("s"), Some(text)) => Ok(text),
            _ => Err(Error::new(format!("systemd's {name} is no string"))),
        }
    }

    fn stop(&mut self, unit: &str) -> Result<()> {
        let begun = self.bus.call(&MANAGER, "StopUnit", &[Value::text(unit), Value::text("replace")]);
        let stopped = match begun.and_then(|job| self.await_job(&job)) {
            Err(Failure::Refused { name, .. }) if name.ends_with(".NoSuchUnit") => Ok(()),
            stopped => stopped,
        };
        // Also one that would not stop as it should; but whoever is silent is not waited for again.
        if !matches!(stopped, Err(Failure::Lost(_))) {
            self.reset(unit);
        }
        stopped.map_err(|failure| self.explain(failure)).doing(format!("stop the unit {unit}"))
    }

    fn reset(&mut self, unit: &str) {
        // A unit that has not failed cannot be reset, and need not.
        let _ = self.bus.call(&MANAGER, "ResetFailedUnit", &[Value::text(unit)]);
    }

    /// `begun` is the answer to what makes a job.
    fn await_job(&mut self, begun: &Message) -> Result<(), Failure> {
        let job = begun.reader().string().unwrap_or_default();
        let deadline = Instant::now() + self.bus.patience;
        loop {
            let signal = match self.bus.signal(deadline) {
                Err(e) if e.errno() == libc::ETIMEDOUT => {
                    let seconds = self.bus.patience.as_secs();
                    return Err(Error::new(format!("systemd did not answer within {seconds} s")).into());
                }
                signal => signal?,
            };
            if signal.member != "JobRemoved" {
                continue;
            }
            let mut body = signal.reader();
            let (_, path, _, result) = (body.u32(), body.string(), body.string(), body.string());
            if path.as_deref() == Some(&job) {
                return match result.unwrap_or_default() {
                    done if done == "done" => Ok(()),
                    name => {
                        Err(Failure::Refused { name, text: "systemd's job ended otherwise than done".into() })
                    }
                };
            }
        }
    }

    /// Where the unit is; empty when it is nowhere.
    fn control_group(&mut self, unit: &str) -> Result<String> {
        let reply = self.bus.call(&MANAGER, "GetUnit", &[Value::text(unit)]).map_err(|e| self.explain(e))?;
        let path = reply.reader().string().unwrap_or_default();
        let kind = if unit.ends_with(".slice") { "Slice" } else { "Scope" };
        self.property(&path, &format!("org.freedesktop.systemd1.{kind}"), "ControlGroup")
    }

    /// The cgroup must be the one that was planned and recorded, or nobody would find it again.
    fn check_control_group(&mut self, unit: &str, planned: &str) -> Result<()> {
        let found = self.control_group(unit)?;
        if found == planned {
            return Ok(());
        }
        Err(Error::new(format!("systemd has put the unit {unit} into {found}, not into {planned}")))
    }
}

/// The leading number of `252.38-1~deb12u1`; Fedora has had `v245.4-1.fc32`, and quotes around it.
fn version(text: &str) -> u32 {
    let text = text.trim_start_matches(['"', 'v']);
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    // A version that cannot be read has all that we know.
    text[..digits].parse().unwrap_or(u32::MAX)
}

/// `a(sv)` of the properties that this version has.
fn pairs(properties: &[Property], version: u32) -> Value {
    let known = properties.iter().filter(|property| property.since <= version);
    let pair = |property: &Property| {
        Value::Tuple(vec![Value::text(&property.name), Value::Variant(Box::new(property.value.clone()))])
    };
    Value::Array("(sv)".into(), known.map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::{UnixListener, UnixStream};

    /// A bus that is there and says no more than `greeting`, twice.
    fn mute(dir: &Path, greeting: &'static str) -> (Unit, std::thread::JoinHandle<Vec<UnixStream>>) {
        let bus = dir.join("bus");
        let listener = UnixListener::bind(&bus).unwrap();
        let greet = move |_| {
            let mut client = listener.accept().unwrap().0;
            client.write_all(greeting.as_bytes()).unwrap();
            client
        };
        (Unit { bus, ..Unit::default() }, std::thread::spawn(move || (0..2).map(greet).collect()))
    }

    #[test]
    fn a_silent_bus_is_told_of_with_the_way_out() {
        let moment = Duration::from_millis(30);
        for (greeting, at) in [("", "be let in by the bus at"), ("OK 1\r\nOK 1\r\n", "call Hello")] {
            let dir = tempfile::tempdir().unwrap();
            let (unit, server) = mute(dir.path(), greeting);
            let e = Manager::connect(&unit, moment).map(drop).unwrap_err();
            assert_eq!(e.errno(), libc::ETIMEDOUT, "{e}");
            let said = e.to_string();
            assert!(said.starts_with(&format!("connect to systemd: {at}")), "{said}");
            assert!(said.ends_with("--cgroup-manager cgroupfs does without"), "{said}");
            let bus = Bus::connect(&unit.bus, 0, moment);
            if let Ok(bus) = bus {
                let mut manager = Manager { bus, hint: "do without" };
                let lost = manager.await_job(&Message::default()).unwrap_err();
                let said = manager.explain(lost).to_string();
                assert!(said.starts_with("systemd did not answer") && said.ends_with("do without"), "{said}");
            }
            drop(server.join().unwrap());
            let e = Manager::connect(&unit, moment).map(drop).unwrap_err().to_string();
            assert!(e.contains("hint: is systemd running"), "{e}");
        }
    }

    #[test]
    fn versions_as_distributions_write_them() {
        for (text, number) in [
            ("252.38-1~deb12u1", 252),
            ("v245.4-1.fc32", 245),
            ("\"v239\"", 239),
            ("260", 260),
            ("devel", u32::MAX),
        ] {
            assert_eq!(version(text), number, "{text}");
        }
    }
}
