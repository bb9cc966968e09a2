//! How many mails somebody gets: one for each turn, and one for many of them where many turn.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bartizan_observed::{NodeTurn, PoolTurn};

/// Mails to one address, one after the other, before they have to wait; and how long until there may be one more.
const CREDITS: u32 = 5;
const REFILL: Duration = Duration::from_secs(60);

/// Turns that one mail tells of. Of more it tells how many there were.
const LINES_MAX: usize = 100;

/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 4_096;

/// A turn, and what the pool is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) turn: PoolTurn,
}

/// What an address is told by one mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) to: String,
    pub(crate) lines: Vec<Line>,
    /// Turns beside these.
    pub(crate) more: u64,
}

/// Who is to be told of what.
#[derive(Default)]
pub(crate) struct Gather(HashMap<String, Waiting>);

struct Waiting {
    lines: Vec<Line>,
    more: u64,
    credits: u32,
    since: Instant,
}

impl Gather {
    /// Somebody is to be told of a turn. False if there are too many who are to be told of something.
    pub(crate) fn add(&mut self, to: &str, line: Line, now: Instant) -> bool {
        if self.0.len() >= ADDRESSES_MAX && !self.0.contains_key(to) {
            // Those that were told all and may be told as much again need not be remembered.
            self.0.retain(|_, waiting| waiting.refill(now) < CREDITS || !waiting.lines.is_empty());
            if self.0.len() >= ADDRESSES_MAX {
                return false;
            }
        }
        let new = || Waiting { lines: Vec::new(), more: 0, credits: CREDITS, since: now };
        let waiting = self.0.entry(to.to_owned()).or_insert_with(new);
        match waiting.lines.len() < LINES_MAX {
            true => waiting.lines.push(line),
            false => waiting.more += 1,
        }
        true
    }

    /// The mails whose time has come.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Letter> {
        let mut letters = Vec::new();
        for (to, waiting) in &mut self.0 {
            let credits = waiting.refill(now) as usize;
            let count = waiting.lines.len();
            if count == 0 || credits == 0 {
                continue;
            }
            let (lines, more) = (std::mem::take(&mut waiting.lines), std::mem::take(&mut waiting.more));
            let letter = |lines, more| Letter { to: to.clone(), lines, more };
            if count <= credits {
                waiting.credits -= count as u32;
                letters.extend(lines.into_iter().map(|line| letter(vec![line], 0)));
            } else {
                waiting.credits = 0;
                letters.push(letter(lines, more));
            }
        }
        letters
    }

    /// How many turns nobody was told of yet.
    pub(crate) fn waiting(&self) -> usize {
        self.0.values().map(|waiting| waiting.lines.len()).sum()
    }
}

impl Waiting {
    fn refill(&mut self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.since).as_secs() / REFILL.as_secs();
        if passed > 0 {
            self.credits = self.credits.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX)).min(CREDITS);
            self.since = now;
        }
        self.credits
    }
}

impl Letter {
    pub(crate) fn subject(&self) -> String {
        match &self.lines[..] {
            [Line { name, turn }] if self.more == 0 => {
                let what = if turn.turn.healthy { "is well again" } else { "is down" };
                format!("{name}: a server {what}, {} of {} are well", turn.well, turn.nodes)
            }
            lines => format!("servers of pools turned {} times", lines.len() as u64 + self.more),
        }
    }

    /// In the order in which it happened.
    pub(crate) fn text(&self, place: &str) -> String {
        let mut text = String::new();
        for Line { name, turn: PoolTurn { pool, turn, well, nodes, .. } } in &self.lines {
            let NodeTurn { at, node, healthy, reason } = turn;
            let what = match (healthy, reason.is_empty()) {
                (true, _) => "is well again".to_owned(),
                (false, true) => "is down".to_owned(),
                (false, false) => format!("is down: {}", one_line(reason)),
            };
            let node = one_line(node);
            text += &format!(
                "{at}  pool {name} ({pool})\n  the server {node} {what}\n  {well} of {nodes} servers are well\n\n"
            );
        }
        if self.more > 0 {
            text += &format!("And {} more.\n\n", self.more);
        }
        text + &format!("Seen from {place}. Who is told is set in the pool's notification_email.\n")
    }
}

/// Nothing that somebody else said begins a line.
fn one_line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(200).collect()
}

#[cfg(test)]
mod tests {
    use bartizan_names::{AccountId, PoolId, Timestamp};

    use super::*;

    fn line(node: &str) -> Line {
        let turn = NodeTurn {
            at: Timestamp::from_unix_micros(0),
            node: node.to_owned(),
            healthy: false,
            reason: "the status\r\nis 500".to_owned(),
        };
        let (account, pool) = (AccountId::from_bytes([1; 16]), PoolId::from_bytes([2; 16]));
        Line { name: "web".to_owned(), turn: PoolTurn { account, pool, turn, well: 1, nodes: 2 } }
    }

    #[test]
    fn one_for_each_and_one_for_many() {
        let start = Instant::now();
        let mut gather = Gather::default();
        // At this second so many servers turn: and so many mails there are, of so many turns each.
        for (second, turns, expect) in [
            (0, 1, vec![1]),
            (1, 2, vec![1, 1]),
            (2, 3, vec![3]),
            (3, 250, vec![]),
            (59, 0, vec![]),
            (62, 0, vec![100]),
            (63, 1, vec![]),
            (130, 0, vec![1]),
            (2_000, 5, vec![1; 5]),
            (2_001, 1, vec![]),
        ] {
            let now = start + Duration::from_secs(second);
            (0..turns).for_each(|_| assert!(gather.add("a@example.com", line("one"), now)));
            let letters = gather.due(now);
            assert_eq!(letters.iter().map(|letter| letter.lines.len()).collect::<Vec<_>>(), expect, "{second}");
            if second == 62 {
                assert_eq!(
                    (letters[0].more, letters[0].subject().as_str()),
                    (150, "servers of pools turned 250 times")
                );
            }
        }
        assert_eq!(gather.waiting(), 1);
    }

    #[test]
    fn addresses_are_few() {
        let now = Instant::now();
        let mut gather = Gather::default();
        for number in 0..ADDRESSES_MAX {
            assert!(gather.add(&format!("{number}@example.com"), line("one"), now));
        }
        assert!(!gather.add("one-more@example.com", line("one"), now));
        assert!(gather.add("0@example.com", line("one"), now));
        gather.due(now);
        // Nobody has used up what there may be for good.
        assert!(gather.add("one-more@example.com", line("one"), now + REFILL * 3));
    }

    #[test]
    fn what_it_says() {
        let letter = Letter { to: String::new(), lines: vec![line("one")], more: 0 };
        assert_eq!(letter.subject(), "web: a server is down, 1 of 2 are well");
        assert!(
            letter.text("lhr").contains("  the server one is down: the status  is 500\n  1 of 2"),
            "{}",
            letter.text("lhr")
        );
    }
}
