//! ps and events (contract §1.2, §1.5).

use crate::contract;
use crate::harness::{Bundle, leftovers};
use serde_json::Value;

fn pids(t: &crate::harness::Test, b: &Bundle) -> Vec<i64> {
    let out = t.rt(&["ps", "--format", "json", &b.id]).ok();
    assert_eq!(out.stdout.lines().count(), 1, "{}", out.stdout);
    let list: Value = serde_json::from_str(&out.stdout).expect("JSON");
    list.as_array().expect("an array").iter().filter_map(Value::as_i64).collect()
}

#[test]
fn ps_json_is_one_line_of_pids() {
    contract!(Root).differs("crun", "a line per pid").run(|t| {
        let b = t.bundle();
        b.args(&["/guest", "daemon"]);
        t.create(&b).ok();
        assert_eq!(pids(t, &b), [i64::from(t.pid(&b.id))]);
        t.start(&b).ok();
        let two = || pids(t, &b).len() == 2;
        assert!(crate::harness::test::wait_until(std::time::Duration::from_secs(5), two));
        assert!(pids(t, &b).contains(&i64::from(t.pid(&b.id))));
    });
}

#[test]
fn ps_of_a_stopped_container_is_empty() {
    contract!(Root).differs("runc", "prints null").differs("crun", "1.8.1 crashes").run(|t| {
        let b = t.stopped();
        assert_eq!(t.rt(&["ps", "-f", "json", &b.id]).ok().stdout, "[]\n");
        assert_eq!(t.rt(&["ps", &b.id]).ok().stdout.lines().count(), 1, "the header");
    });
}

#[test]
fn ps_shows_the_rows_of_the_hosts_ps() {
    contract!(Root, Tool("ps")).differs("crun", "numbers only").run(|t| {
        let b = t.running();
        let out = t.rt(&["ps", &b.id]).ok();
        let lines: Vec<_> = out.stdout.lines().collect();
        assert_eq!(lines.len(), 2, "{}", out.stdout);
        assert!(lines[0].contains("PID") && lines[0].contains("CMD"));
        assert!(lines[1].contains("/guest pause"), "{}", lines[1]);
        // What follows the id is for ps.
        let out = t.rt(&["ps", &b.id, "-e", "-o", "pid,comm"]).ok();
        let rows: Vec<_> =
            out.stdout.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(rows, ["PID COMMAND".to_owned(), format!("{} guest", t.pid(&b.id))]);
        t.rt(&["ps", &b.id, "-e", "-o", "comm"]).exits(1).fails_with("PID");
    });
}

#[test]
fn ps_of_an_unknown_id_fails() {
    contract!(Root).differs("crun", "other words").run(|t| {
        t.rt(&["ps", "no-such"]).exits(1).fails_with("does not exist").one_line();
        t.rt(&["ps", "-f", "xml", "no-such"]).exits(1).fails();
        assert_eq!(leftovers::children(), [0i32; 0]);
    });
}
