//! Benchmarks beside peers on the same machine, in the same run. Nothing in the test suite asserts a time.
//!
//! What is compared is CPU time of a process divided by the work that it completed (design §4): it says what a machine
//! can carry, and unlike a rate it does not move with whatever else the machine does.

pub(crate) mod dns;
pub(crate) mod http;
pub(crate) mod l4;
pub(crate) mod publish;
pub(crate) mod scale;

mod api;
mod edge;
mod load;
mod peer;
mod process_cpu;
mod report;

use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::process;

/// The zone that every server of a benchmark has.
const ZONE: &str = "bench.example";

/// What counting costs: in one process, without a peer.
pub(crate) fn analytics() -> Result<()> {
    let binaries = edge::build(&["bartizan-bench"])?;
    process::run(&mut std::process::Command::new(binaries.join("events")))
}

/// `--name VALUE` pairs, each name at most as often as the benchmark allows.
struct Options<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Options<'a> {
    fn parse(words: &[&'a str], known: &[&str]) -> Result<Options<'a>> {
        let mut pairs = Vec::new();
        for pair in words.chunks(2) {
            match pair {
                [name, value] if known.contains(name) => pairs.push((*name, *value)),
                [name, ..] => bail!("{name}: this benchmark has the options {}, each with a value", known.join(" ")),
                [] => {}
            }
        }
        Ok(Options(pairs))
    }

    fn words(&self, name: &str) -> Vec<&'a str> {
        self.0.iter().filter(|(key, _)| *key == name).map(|(_, value)| *value).collect()
    }

    fn all<T: FromStr>(&self, name: &str) -> Result<Vec<T>> {
        let values = self.words(name).into_iter();
        values.map(|value| value.parse().ok().with_context(|| format!("{name} {value}: not a number"))).collect()
    }

    fn one<T: FromStr>(&self, name: &str, default: T) -> Result<T> {
        Ok(self.all(name)?.pop().unwrap_or(default))
    }
}

/// The value below which the share `per_mille` of the sorted values lies.
fn quantile(sorted: &[f64], per_mille: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last * per_mille).div_ceil(1000)).copied().unwrap_or(f64::NAN)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(&values, 500)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        for (values, per_mille, expect) in
            [(&ten[..], 0, 1.0), (&ten, 500, 6.0), (&ten, 990, 10.0), (&ten, 1000, 10.0), (&[7.0], 500, 7.0)]
        {
            assert_eq!(quantile(values, per_mille), expect, "{per_mille}");
        }
        assert!(quantile(&[], 500).is_nan());
    }

    #[test]
    fn options() {
        let options =
            Options::parse(&["--names", "5", "--names", "7"], &["--names", "--rounds"]).expect("known options");
        assert_eq!(options.all::<usize>("--names").expect("numbers"), [5, 7]);
        assert_eq!(options.one("--rounds", 3).expect("a number"), 3);
        for words in [&["--names"][..], &["--other", "1"]] {
            assert!(Options::parse(words, &["--names"]).is_err(), "{words:?}");
        }
    }
}
