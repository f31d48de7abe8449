//! Claims, records and locks in a state root of their own.

use super::*;

#[test]
fn an_id_is_claimed_once_and_freed_by_remove() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::create(&dir.path().join("deep/root")).unwrap();
    let entry = root.claim("a").unwrap();
    assert_eq!(root.claim("a").unwrap_err().to_string(), "container with given ID already exists");
    entry.write("config.json", b"{}").unwrap();
    entry.make_gate().unwrap();
    assert_eq!(root.ids().unwrap(), ["a"]);
    root.remove(&entry).unwrap();
    assert_eq!(root.entry("a").unwrap_err().kind(), Kind::NoContainer);
    assert!(root.ids().unwrap().is_empty());
    assert!(std::fs::read_dir(dir.path().join("deep/root")).unwrap().next().is_none());
}

#[test]
fn who_has_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::create(dir.path()).unwrap();
    let entry = root.claim("a").unwrap();
    // Where the device has the same number in /proc/locks.
    assert!(
        matches!(entry.holder(), None | Some(_))
            && entry.holder().is_none_or(|pid| pid == std::process::id())
    );
    let locks = "1: POSIX  ADVISORY  WRITE 5 00:2a:7 0 EOF\n2: FLOCK  ADVISORY  WRITE 0 00:2a:7 0 EOF\n\
                 2: -> FLOCK  ADVISORY  WRITE 8 00:2a:7 0 EOF\n3: FLOCK  ADVISORY  WRITE 12 00:2a:7 0 EOF\n";
    assert_eq!(
        (holder_of(locks, "00:2a:7"), holder_of(locks, "00:2a:8"), holder_of("", "x")),
        (Some(12), None, None)
    );
    assert!(entry.whom_to_end().starts_with("end "));
    let held: Result<()> = Err(Error::new("held").of_kind(Kind::Held));
    assert_eq!(
        held.hint_if_held(|| FORCE.into()).unwrap_err().to_string(),
        "held; hint: orlop delete --force ends it"
    );
}

#[test]
fn a_broken_record_says_what_is_wrong_and_hangs_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let entry = Root::create(dir.path()).unwrap().claim("a").unwrap();
    for (bytes, words) in [
        (&b"{"[..], "EOF"),
        (br#"{"v":9,"id":7}"#, "record version 9 (this orlop reads 1)"),
        (br#"{"v":1}"#, "missing field"),
    ] {
        entry.write(STATE, bytes).unwrap();
        let text = entry.load().unwrap_err().to_string();
        assert!(text.contains(words) && text.contains("/a/state.json"), "{text}");
    }
    std::fs::remove_file(entry.path.join(STATE)).unwrap();
    rustix::fs::mknodat(&entry.dir, STATE, FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert!(entry.load().is_err());
}

#[test]
fn a_record_is_lost_that_is_empty_and_older_than_this_boot() {
    let dir = tempfile::tempdir().unwrap();
    let entry = Root::create(dir.path()).unwrap().claim("a").unwrap();
    assert!(!entry.is_lost().unwrap(), "there is none");
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1);
    for (bytes, lost) in [(&b""[..], true), (&[0, 0], true), (b"{", false)] {
        let file = std::fs::File::from(entry.write(STATE, bytes).unwrap());
        assert!(!entry.is_lost().unwrap(), "written just now");
        file.set_modified(old).unwrap();
        assert_eq!(entry.is_lost().unwrap(), lost, "{bytes:?}");
    }
}

#[test]
fn nobody_at_the_gate_is_no_gate() {
    let dir = tempfile::tempdir().unwrap();
    let entry = Root::create(dir.path()).unwrap().claim("a").unwrap();
    let (fifo, _page) = entry.make_gate().unwrap();
    assert!(entry.open_gate().unwrap().is_some());
    drop(fifo);
    // A child that another test has just forked holds it, too, until it runs its program.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while entry.open_gate().unwrap().is_some() {
        assert!(std::time::Instant::now() < end, "the gate is open");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
