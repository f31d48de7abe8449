//! Compiles the seccomp profile of a file (`linux.seccomp` alone, or a whole config.json) and prints it.
//!
//! `seccomp-dump FILE` lists the instructions, `seccomp-dump FILE raw` writes struct sock_filter[] as the
//! kernel takes it, `seccomp-dump FILE time` prints length and compile time.

use std::io::Write;
use std::time::Instant;

use orlop::plan::seccomp::{NATIVE, SeccompPlan, plan};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(file), how) = (args.next(), args.next()) else {
        anyhow::bail!("usage: seccomp-dump FILE [raw|time]")
    };
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    if let Some(profile) = json.pointer_mut("/linux/seccomp") {
        json = profile.take();
    }
    let profile = serde_json::from_value(json)?;
    let mut warnings = Vec::new();
    let compiled = plan(&profile, NATIVE, &mut warnings).map_err(|e| anyhow::anyhow!("{e}"))?;
    for warning in &warnings {
        eprintln!("{warning}");
    }
    let Some(compiled) = compiled else { anyhow::bail!("{file}: the profile says nothing") };
    match how.as_deref() {
        Some("raw") => std::io::stdout().write_all(&bytes(&compiled))?,
        Some("time") => {
            let mut times = Vec::new();
            for _ in 0..2000 {
                let start = Instant::now();
                let _program = plan(&profile, NATIVE, &mut Vec::new());
                times.push(start.elapsed().as_nanos() as f64 / 1000.0);
            }
            times.sort_by(f64::total_cmp);
            println!(
                "{} instructions, compile us min {:.1} p5 {:.1} median {:.1}",
                compiled.program.len(),
                times[0],
                times[times.len() / 20],
                times[times.len() / 2]
            );
        }
        _ => {
            for (at, i) in compiled.program.iter().enumerate() {
                println!("{at:4} {:#04x} jt {:3} jf {:3} k {:#010x}", i.code, i.jt, i.jf, i.k);
            }
            println!("flags {:#x} listener {:?}", compiled.flags, compiled.listener);
        }
    }
    Ok(())
}

/// struct sock_filter in memory order.
fn bytes(compiled: &SeccompPlan) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(compiled.program.len() * 8);
    for i in &compiled.program {
        bytes.extend(i.code.to_ne_bytes());
        bytes.extend([i.jt, i.jf]);
        bytes.extend(i.k.to_ne_bytes());
    }
    bytes
}
