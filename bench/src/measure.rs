//! What benchmarks in one process measure by.

/// Measurements of which the median counts.
const REPEATS: usize = 5;

/// The middle one of several measurements.
pub fn median(measure: impl Fn() -> f64) -> f64 {
    let mut results: Vec<f64> = (0..REPEATS).map(|_| measure()).collect();
    results.sort_unstable_by(f64::total_cmp);
    results[REPEATS / 2]
}

/// The memory of this process that is in use, in bytes.
pub fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
}

/// The time that this thread has had a processor: unlike the clock's, it does not count when others had it.
pub fn cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default()
}
