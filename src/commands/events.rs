//! `events`: one JSON object a line, statistics or an out-of-memory kill.

use super::{Context, Outcome, print, write_out};
use crate::container::events::{self, Event};
use crate::error::{Error, Result};
use clap::Parser;
use serde::Serialize;
use std::time::Duration;

/// Print events of a container
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
pub struct Args {
    /// Statistics of this moment, once
    #[arg(long)]
    stats: bool,
    /// Time between statistics, such as 5s, 100ms or 1m30s
    #[arg(long, default_value = "5s")]
    interval: String,
    /// The container's id
    id: String,
}

#[derive(Serialize)]
struct Line<'a, T: Serialize> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let interval = match parse_duration(&args.interval) {
        Some(interval) if !interval.is_zero() => interval,
        Some(_) => return Err(Error::new("duration interval must be greater than 0").into()),
        None => return Err(Error::new(format!("--interval {:?}: not a duration", args.interval)).into()),
    };
    let (_, entry, record) = context.container(&args.id)?;
    if args.stats {
        return print(&line(&record.id, Event::Stats(Box::new(events::stats(&entry, &record)?)))?);
    }
    events::follow(&entry, &record, interval, |event| write_out(&line(&record.id, event)?))?;
    Ok(0)
}

fn line(id: &str, event: Event) -> Result<String> {
    let json = match event {
        Event::Stats(stats) => serde_json::to_string(&Line { kind: "stats", id, data: Some(stats) }),
        Event::Oom => serde_json::to_string(&Line::<()> { kind: "oom", id, data: None }),
    };
    json.map(|json| format!("{json}\n")).map_err(|e| Error::new(e.to_string()))
}

/// Go's time.ParseDuration without a sign: `1h15m`, `1.5s`, `100ms`; a bare 0 is allowed. At most its 2^63 ns, which can
/// also be added to a time.
fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    const UNITS: [(&str, f64); 7] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum += number.parse::<f64>().ok()? * seconds;
        rest = next;
    }
    let longest = Duration::from_nanos(i64::MAX.cast_unsigned());
    Duration::try_from_secs_f64(sum).ok().filter(|sum| !text.is_empty() && *sum <= longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go() {
        for (text, milliseconds) in [
            ("5s", 5000),
            ("100ms", 100),
            ("1m30s", 90_000),
            ("1.5s", 1500),
            ("0", 0),
            ("0s", 0),
            ("1h", 3_600_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in [
            "",
            "5",
            "s",
            "5x",
            "-5s",
            "1..5s",
            "5s ",
            "5 s",
            ".s",
            "9e99s",
            "99999999999999999999h",
            "3000000h",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
