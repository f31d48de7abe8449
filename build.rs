//! Compiles the last stage (src/sys/last_stage/program.rs) to a flat image that the library embeds.
//! The image is position-fixed text without data; its ELF headers are written at run time, around the plan.

// What goes wrong here stops the build, with the reason.
#![allow(clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const SOURCES: &str = "src/sys/last_stage";

fn main() {
    println!("cargo:rerun-if-changed={SOURCES}");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=.git/logs/HEAD");
    println!("cargo:rustc-env=ORLOP_COMMIT={}", commit());
    let out = PathBuf::from(variable("OUT_DIR"));
    let elf = out.join("last_stage.elf");
    let script = Path::new(SOURCES).join("program.ld");
    let status = Command::new(variable("RUSTC"))
        .args([
            "--edition=2024",
            "--crate-type=bin",
            "--crate-name=last_stage",
            "--target",
            &variable("TARGET"),
        ])
        .args(["-Copt-level=s", "-Cpanic=abort", "-Crelocation-model=static", "-Cstrip=symbols"])
        .args(["-Cdebuginfo=0", "-Coverflow-checks=off", "-Clto=fat", "-Ccodegen-units=1"])
        .args(["-Ctarget-feature=+crt-static"])
        .args([
            "-Clink-arg=-nostartfiles",
            "-Clink-arg=-nostdlib",
            "-Clink-arg=-static",
            "-Clink-arg=-no-pie",
        ])
        .arg(format!("-Clink-arg=-Wl,-T,{}", script.display()))
        .args(["-Clink-arg=-Wl,--build-id=none", "-Clink-arg=-Wl,-z,noexecstack", "-o"])
        .arg(&elf)
        .arg(Path::new(SOURCES).join("program.rs"))
        .status();
    match status {
        Ok(status) if status.success() => {}
        other => panic!("the last stage does not compile: {other:?}"),
    }
    let elf = fs::read(&elf).expect("read the linked last stage");
    fs::write(out.join("last_stage.bin"), text_segment(&elf)).expect("write the flat image");
}

/// The commit that is built; a source archive has none.
fn commit() -> String {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

/// The one loaded segment that holds bytes, cut to start at its first section (the address in program.ld).
fn text_segment(elf: &[u8]) -> &[u8] {
    const TEXT: u64 = 0x40_0100;
    let word = |at: usize, len: usize| {
        let mut bytes = [0u8; 8];
        bytes[..len].copy_from_slice(&elf[at..at + len]);
        u64::from_le_bytes(bytes)
    };
    let (table, entry, count) = (word(32, 8) as usize, word(54, 2) as usize, word(56, 2) as usize);
    assert_eq!(word(24, 8), TEXT, "the entry point is the first byte");
    let mut found = None;
    for header in (0..count).map(|n| table + n * entry) {
        let (kind, offset) = (word(header, 4), word(header + 8, 8));
        let (address, size) = (word(header + 16, 8), word(header + 32, 8));
        if kind == 1 && size > 0 {
            assert!(found.is_none(), "the last stage has one segment: no data, no relocations");
            assert!(address <= TEXT && TEXT < address + size);
            let skip = TEXT - address;
            found = Some(&elf[(offset + skip) as usize..(offset + size) as usize]);
        }
    }
    found.expect("a loaded segment")
}
