//! The relay between pipes, one step at a time. With terminals and a process: `process::foreground`'s tests.

use super::*;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::InputModes;

fn pty() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    unlockpt(&master).unwrap();
    let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
    (master, slave)
}

struct Bench {
    relay: Relay,
    keys: OwnedFd,
    screen: OwnedFd,
    program: Option<OwnedFd>,
    _host: OwnedFd,
}

fn bench() -> Bench {
    let (host, host_slave) = pty();
    let (master, program) = pty();
    // A child of another test's must not keep an end open.
    let pipe = || pipe_with(PipeFlags::CLOEXEC).unwrap();
    let ((input, keys), (screen, output)) = (pipe(), pipe());
    let relay = Relay::between(host_slave, input, output, master).unwrap();
    Bench { relay, keys, screen, program: Some(program), _host: host }
}

fn read(fd: &OwnedFd) -> String {
    let mut block = [0; 8192];
    let length = rustix::io::read(fd, &mut block).unwrap();
    String::from_utf8(block[..length].to_vec()).unwrap()
}

fn ends(relay: &Relay) -> Vec<End> {
    relay.watched().iter().map(|(end, _, _)| *end).collect()
}

#[test]
fn output_has_no_carriage_return_in_a_pipe() {
    let mut b = bench();
    rustix::io::write(b.program.as_ref().unwrap(), b"a\nb\n").unwrap();
    b.relay.ready(End::Master).unwrap();
    assert_eq!(ends(&b.relay), [End::Input, End::Output]);
    b.relay.ready(End::Output).unwrap();
    assert_eq!(read(&b.screen), "a\nb\n");
    assert_eq!(ends(&b.relay), [End::Input, End::Master]);
}

#[test]
fn input_ends_without_ending_the_relay() {
    let mut b = bench();
    rustix::io::write(&b.keys, b"line\r").unwrap();
    b.relay.ready(End::Input).unwrap();
    assert_eq!(ends(&b.relay), [End::Master], "one block at a time");
    b.relay.ready(End::Master).unwrap();
    assert_eq!(read(b.program.as_ref().unwrap()), "line\n", "ICRNL of the pty is left on");
    let modes = tcgetattr(&b.relay.master).unwrap();
    assert!(
        modes.input_modes.contains(InputModes::ICRNL) && !modes.output_modes.contains(OutputModes::ONLCR)
    );
    // The echo.
    b.relay.ready(End::Output).unwrap();
    drop(b.keys);
    b.relay.ready(End::Input).unwrap();
    assert!(!ends(&b.relay).contains(&End::Input));
    assert!(ends(&b.relay).contains(&End::Master));
}

#[test]
fn a_program_that_reads_nothing_does_not_block() {
    let mut b = bench();
    let mut raw = tcgetattr(&b.relay.master).unwrap();
    raw.make_raw();
    tcsetattr(&b.relay.master, OptionalActions::Now, &raw).unwrap();
    for _ in 0..100 {
        if b.relay.to_container.is_empty() {
            rustix::io::write(&b.keys, &[b'x'; 4096]).unwrap();
            b.relay.ready(End::Input).unwrap();
        }
        b.relay.ready(End::Master).unwrap();
    }
    assert!(!b.relay.to_container.is_empty(), "the rest waits");
    rustix::io::write(b.program.as_ref().unwrap(), b"alive").unwrap();
    b.relay.ready(End::Master).unwrap();
    b.relay.ready(End::Output).unwrap();
    assert_eq!(read(&b.screen), "alive");
}

#[test]
fn a_reader_that_is_gone_does_not_stop_the_program() {
    let mut b = bench();
    drop(b.screen);
    for _ in 0..20 {
        rustix::io::write(b.program.as_ref().unwrap(), &[b'y'; 1000]).unwrap();
        b.relay.ready(End::Master).unwrap();
        b.relay.ready(End::Output).unwrap();
    }
    assert!(b.relay.output.is_none());
}

#[test]
fn the_end_of_the_last_process_is_no_loss() {
    let mut b = bench();
    rustix::io::write(b.program.as_ref().unwrap(), &[b'z'; 2000]).unwrap();
    b.program = None;
    assert!(!b.relay.wants_retry());
    b.relay.ready(End::Master).unwrap();
    let Bench { relay, screen, .. } = b;
    relay.finish().unwrap();
    assert_eq!(read(&screen), "z".repeat(2000));
}

#[test]
fn who_writes_on_after_the_programs_end_does_not_hold_us() {
    for reads in [true, false] {
        let Bench { relay, screen, program, keys: _keys, _host } = bench();
        let program = std::sync::Arc::new(program.unwrap());
        let write = |program: &OwnedFd| rustix::io::write(program, &[b'y'; 4096]).is_ok();
        let writers: Vec<_> = (0..4)
            .map(|_| std::sync::Arc::clone(&program))
            .map(|program| std::thread::spawn(move || while write(&program) {}))
            .collect();
        drop(program);
        let reader = std::thread::spawn(move || {
            let mut seen = 0;
            let mut block = [0; 4096];
            while let Ok(length @ 1..) = rustix::io::read(&screen, &mut block) {
                seen += length;
                // Slower than they write.
                std::thread::sleep(std::time::Duration::from_millis(2));
                if !reads {
                    break;
                }
            }
            seen
        });
        let (done, over) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(relay.finish().is_ok()));
        assert_eq!(over.recv_timeout(std::time::Duration::from_secs(10)), Ok(true), "reads: {reads}");
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert!(reader.join().unwrap() <= 68 << 10);
    }
}

#[test]
fn a_hung_up_terminal_is_not_polled() {
    let mut b = bench();
    b.program = None;
    b.relay.ready(End::Master).unwrap();
    assert!(b.relay.wants_retry());
    assert_eq!(ends(&b.relay), []);
    let again = ioctl_tiocgptpeer(&b.relay.master, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    b.relay.ready(End::Master).unwrap();
    assert!(!b.relay.wants_retry());
    drop(again);
}

#[test]
fn the_console_socket_goes_with_detached_terminals() {
    for (terminal, detached, given, fine) in [
        (true, true, true, true),
        (true, true, false, false),
        (true, false, true, false),
        (true, false, false, true),
        (false, true, true, false),
        (false, false, true, false),
        (false, true, false, true),
        (false, false, false, true),
    ] {
        let result = check_console_socket(terminal, detached, given);
        assert_eq!(result.is_ok(), fine, "{terminal} {detached} {given}");
    }
}
