//! Numbers that mean something else in cgroup v2 than in the configuration, which speaks v1.
//!
//! One function per conversion, one table of known values in the tests. PURE.

/// What cpu.shares can be: the kernel takes what is below or above for these, without a word.
pub const MIN_SHARES: u64 = 2;
pub const MAX_SHARES: u64 = 262_144;

/// cpu.shares (2..262144) → cpu.weight (1..10000); None for 0, which means unset.
///
/// The quadratic curve through (2,1), (1024,100), (262144,10000) that all runtimes use since the linear
/// one turned the default 1024 into 39.
pub fn cpu_weight(shares: u64) -> Option<u64> {
    match shares {
        0 => None,
        1..=MIN_SHARES => Some(1),
        MAX_SHARES.. => Some(10_000),
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            Some(10f64.powf(exponent).ceil() as u64)
        }
    }
}

/// blkio.weight (10..1000) → io.weight (1..10000); None for 0, which means unset.
pub fn io_weight(weight: u16) -> Option<u64> {
    match u64::from(weight) {
        0 => None,
        w => Some(1 + w.saturating_sub(10) * 9999 / 990),
    }
}

/// The IOWeight for which systemd writes this io.bfq.weight (1..1000): up to the default of 100 the same, above in steps
/// of 11. None for what no file has.
pub fn io_weight_of_bfq(weight: u64) -> Option<u64> {
    match weight {
        1..=100 => Some(weight),
        101..=1000 => Some(100 + (weight - 100) * 11),
        _ => None,
    }
}

/// memory.swap of the configuration is memory plus swap, memory.swap.max is swap alone.
///
/// `None` and 0 mean unset in both. Err carries the words of the impossible cases.
pub fn swap_max(limit: Option<i64>, swap: Option<i64>) -> Result<Option<String>, &'static str> {
    match (limit.unwrap_or(0), swap.unwrap_or(0)) {
        // "Unlimited memory" without a word about swap means both, as the v1 files would have it.
        (-1, 0) => Ok(Some("max".into())),
        (_, 0) => Ok(None),
        (_, -1) => Ok(Some("max".into())),
        (_, swap) if swap < -1 => Err("is below -1"),
        (-1, swap) => Ok(Some(swap.to_string())),
        (0, _) => Err("unable to set swap limit without memory limit"),
        (limit, swap) if swap < limit => Err("memory+swap limit should be >= memory limit"),
        // Equal means no swap at all: 0 in digits, for an empty string would be taken for something else.
        (limit, swap) => Ok(Some((swap - limit).to_string())),
    }
}

/// A byte limit as memory.* of v2 takes it: -1 is `max`.
pub fn bytes_or_max(value: i64) -> String {
    if value < 0 { "max".into() } else { value.to_string() }
}

/// pids.limit → pids.max: negative is `max`, 0 is the smallest real limit, 1 (init itself is already there).
pub fn pids_max(limit: i64) -> String {
    match limit {
        ..0 => "max".into(),
        0 => "1".into(),
        _ => limit.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        for (shares, weight) in
            [(1, 1), (2, 1), (102, 17), (256, 35), (512, 59), (1024, 100), (2048, 174), (4096, 303)]
        {
            assert_eq!(cpu_weight(shares), Some(weight), "shares {shares}");
        }
        assert_eq!(cpu_weight(0), None);
        assert_eq!(cpu_weight(u64::MAX), Some(10_000));
        assert_eq!(cpu_weight(262_143), Some(10_000));
        for (from, to) in [(10, 1), (100, 910), (500, 4950), (1000, 10_000), (5, 1)] {
            assert_eq!(io_weight(from), Some(to), "weight {from}");
        }
        assert_eq!(io_weight(0), None);
        assert_eq!(["max", "1", "1", "7"].map(String::from), [-5, 0, 1, 7].map(pids_max));
    }

    #[test]
    fn cpu_weight_grows_and_stays_in_range() {
        let mut last = 1;
        for shares in 2..=262_144 {
            let weight = cpu_weight(shares).unwrap();
            assert!((last..=10_000).contains(&weight), "shares {shares}: {weight} after {last}");
            last = weight;
        }
    }

    #[test]
    fn swap() {
        let max = |limit, swap| swap_max(Some(limit), Some(swap));
        assert_eq!(max(-1, 0), Ok(Some("max".into())));
        assert_eq!(max(0, 0), Ok(None));
        assert_eq!(max(100, 0), Ok(None));
        assert_eq!(max(100, -1), Ok(Some("max".into())));
        assert_eq!(max(0, -1), Ok(Some("max".into())));
        assert_eq!(max(-1, 50), Ok(Some("50".into())));
        assert_eq!(max(100, 100), Ok(Some("0".into())));
        assert_eq!(max(100, 150), Ok(Some("50".into())));
        assert_eq!(max(0, 50), Err("unable to set swap limit without memory limit"));
        assert_eq!(max(100, 50), Err("memory+swap limit should be >= memory limit"));
        assert_eq!(swap_max(None, None), Ok(None));
    }
}
