//! What was measured, a line for each server.

use super::super::report::OURS;
use super::super::{median, quantile};
use super::load::Seen;

/// A case with so many clients, on one server.
pub(super) struct Line {
    what: &'static str,
    clients: usize,
    server: &'static str,
    /// Microseconds of CPU for one operation, a value for each round.
    cost: Vec<f64>,
    rate: Vec<f64>,
    seen: Seen,
}

#[derive(Default)]
pub(super) struct Table(Vec<Line>);

impl Table {
    pub(super) fn add(
        &mut self,
        what: &'static str,
        clients: usize,
        server: &'static str,
        operations: usize,
        seen: Seen,
    ) {
        let is_it = |line: &Line| (line.what, line.clients, line.server) == (what, clients, server);
        let at = self.0.iter().position(is_it).unwrap_or_else(|| {
            self.0.push(Line { what, clients, server, cost: Vec::new(), rate: Vec::new(), seen: Seen::default() });
            self.0.len() - 1
        });
        let done = (seen.times.len() * operations) as f64;
        if done > 0.0 {
            self.0[at].cost.push(seen.cpu.as_secs_f64() * 1e6 / done);
            self.0[at].rate.push(done / seen.elapsed.as_secs_f64());
        }
        self.0[at].seen.add(seen);
    }

    pub(super) fn text(mut self) -> String {
        let mut text = format!(
            "{:<14} {:>7} {:<9} {:>11} {:>17} {:>9} {:>9} {:>9} {:>9} {:>7} {:>10}\n",
            "what",
            "clients",
            "server",
            "CPU µs/op",
            "range",
            "op/s",
            "p50 ms",
            "p99 ms",
            "most ms",
            "refused",
            "ours / its"
        );
        // In the order of the first round, ours first.
        self.0.sort_by_key(|line| line.server != OURS);
        let mut rows: Vec<(&str, usize)> = Vec::new();
        for line in &self.0 {
            if !rows.contains(&(line.what, line.clients)) {
                rows.push((line.what, line.clients));
            }
        }
        for row in rows {
            let mut ours = None;
            for line in self.0.iter_mut().filter(|line| (line.what, line.clients) == row) {
                let cost = median(line.cost.clone());
                let ratio = match ours {
                    Some(ours) if line.server != OURS => format!("{:.3}", ours / cost),
                    _ => "-".to_owned(),
                };
                if line.server == OURS {
                    ours = Some(cost);
                }
                text.push_str(&line.text(cost, &ratio));
            }
        }
        text
    }
}

impl Line {
    fn text(&mut self, cost: f64, ratio: &str) -> String {
        let mut sorted = self.cost.clone();
        sorted.sort_by(f64::total_cmp);
        let range = format!("{:.1}–{:.1}", quantile(&sorted, 0), quantile(&sorted, 1000));
        let [half, most_of, all] = [500, 990, 1000].map(|per_mille| self.seen.within(per_mille));
        format!(
            "{:<14} {:>7} {:<9} {cost:>11.1} {range:>17} {:>9.0} {half:>9.2} {most_of:>9.2} {all:>9.2} {:>7} {ratio:>10}\n",
            self.what,
            self.clients,
            self.server,
            median(self.rate.clone()),
            self.seen.refused,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn costs_and_ratios() {
        let mut table = Table::default();
        for (server, cpu) in [("PowerDNS", 400), (OURS, 100), ("PowerDNS", 400), (OURS, 300)] {
            let (cpu, elapsed) = (Duration::from_micros(cpu), Duration::from_secs(1));
            table.add("get", 1, server, 2, Seen { times: vec![1.0, 3.0], refused: 1, cpu, elapsed });
        }
        let text = table.text();
        let words = |server: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.contains(server)).expect("a line");
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(words(OURS), ["get", "1", OURS, "75.0", "25.0–75.0", "4", "3.00", "3.00", "3.00", "2", "-"]);
        assert_eq!(words("Power").last().map(String::as_str), Some("0.750"));
    }
}
