//! The table of what was measured, and the targets that were missed.

use std::collections::BTreeMap;

use super::median;

/// Our name in the table; the ratios compare with the row of this name.
pub(super) const OURS: &str = "bartizan";

/// What a row of the table measures. Rows are printed in their order.
pub(super) trait Measured: Copy + Ord {
    fn title(self) -> &'static str;

    fn unit(self) -> &'static str;

    /// What a second of load is counted in.
    fn rate_unit(self) -> &'static str;

    /// The budgets: the most that ours may be of what a peer takes.
    fn targets(self) -> &'static [Target];
}

/// A budget of the design.
pub(super) struct Target {
    pub(super) when: &'static str,
    pub(super) peer: &'static str,
    pub(super) most: f64,
}

/// Values by row and server, one a round.
pub(super) struct Report<R>(BTreeMap<R, Vec<Line>>);

impl<R> Default for Report<R> {
    fn default() -> Report<R> {
        Report(BTreeMap::new())
    }
}

struct Line {
    server: &'static str,
    cost: Vec<f64>,
    rate: Vec<f64>,
}

impl<R: Measured> Report<R> {
    /// Adds what one round saw. Servers come in the order of the first round.
    pub(super) fn add(&mut self, row: R, server: &'static str, cost: f64, rate: f64) {
        let lines = self.0.entry(row).or_default();
        let at = lines.iter().position(|line| line.server == server).unwrap_or_else(|| {
            lines.push(Line { server, cost: Vec::new(), rate: Vec::new() });
            lines.len() - 1
        });
        lines[at].cost.push(cost);
        lines[at].rate.push(rate);
    }

    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "{:<32} {:<11} {:>10} {:<12} {:>13} {:>10} {:<7} {:>10}\n",
            "what", "server", "median", "", "range", "rate", "", "ours / its"
        );
        for (row, lines) in &self.0 {
            let ours = lines.iter().find(|line| line.server == OURS).map(Line::cost);
            for line in lines {
                let ratio = match ours {
                    Some(ours) if line.server != OURS && line.cost() > 0.0 && line.server != "direct" => {
                        format!("{:.2}", ours / line.cost())
                    }
                    _ => "-".to_owned(),
                };
                text.push_str(&format!(
                    "{:<32} {:<11} {:>10.2} {:<12} {:>13} {:>10} {:<7} {ratio:>10}\n",
                    row.title(),
                    line.server,
                    line.cost(),
                    if line.server == "direct" { "µs" } else { row.unit() },
                    line.range(),
                    line.rate(),
                    row.rate_unit(),
                ));
            }
        }
        text
    }

    /// Prints a line for each budget that was looked at and is not kept.
    pub(super) fn print_missed(&self) {
        let missed = self.missed();
        if missed.is_empty() {
            println!("no target of those measured is missed");
        }
        missed.iter().for_each(|line| println!("missed: {line}"));
    }

    fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for (row, lines) in &self.0 {
            let cost = |server: &str| lines.iter().find(|line| line.server == server).map(Line::cost);
            for target in row.targets() {
                let (Some(ours), Some(its)) = (cost(OURS), cost(target.peer)) else { continue };
                if ours > target.most * its {
                    missed.push(format!(
                        "{}: {:.2} × {}, the target ({}) is {:.2}",
                        row.title(),
                        ours / its,
                        target.peer,
                        target.when,
                        target.most
                    ));
                }
            }
        }
        missed
    }
}

impl Line {
    fn cost(&self) -> f64 {
        median(self.cost.clone())
    }

    fn rate(&self) -> String {
        match median(self.rate.clone()) {
            nothing if nothing.is_nan() || nothing == 0.0 => String::new(),
            small if small < 100.0 => format!("{small:.1}"),
            large => format!("{large:.0}"),
        }
    }

    /// From the least to the most of all rounds: how much of a difference is chance.
    fn range(&self) -> String {
        let least = self.cost.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.cost.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        format!("{least:.1}–{most:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Row {
        Short,
        Bulk,
    }

    impl Measured for Row {
        fn title(self) -> &'static str {
            match self {
                Row::Short => "short connection",
                Row::Bulk => "bulk",
            }
        }

        fn unit(self) -> &'static str {
            "CPU ms/Gbit"
        }

        fn rate_unit(self) -> &'static str {
            "Gbit/s"
        }

        fn targets(self) -> &'static [Target] {
            match self {
                Row::Short => &[Target { when: "then", peer: "HAProxy", most: 1.0 }],
                Row::Bulk => &[Target { when: "first", peer: "nginx", most: 0.5 }],
            }
        }
    }

    #[test]
    fn ratios_and_targets() {
        let mut report = Report::default();
        for (row, server, costs) in [
            (Row::Short, OURS, [66.0, 60.0, 90.0]),
            (Row::Short, "HAProxy", [60.0, 50.0, 70.0]),
            (Row::Bulk, OURS, [30.0, 20.0, 40.0]),
            (Row::Bulk, "nginx", [100.0, 90.0, 110.0]),
        ] {
            costs.iter().for_each(|cost| report.add(row, server, *cost, 1.0));
        }
        let table = report.table();
        let line = table.lines().find(|line| line.contains("nginx")).expect("a line for nginx");
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        assert_eq!(words, ["nginx", "100.00", "CPU", "ms/Gbit", "90.0–110.0", "1.0", "Gbit/s", "0.30"]);
        assert_eq!(report.missed(), ["short connection: 1.10 × HAProxy, the target (then) is 1.00"]);
    }
}
