//! How many mails somebody gets: one for each turn, and one for many of them where many turn.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bartizan_names::AccountId;
use bartizan_observed::{NodeTurn, PoolTurn};

/// Mails to one address, one after the other, before they have to wait; and how long until there may be one more.
const CREDITS: u32 = 5;
const REFILL: Duration = Duration::from_secs(60);

/// Mails that the pools of one account make, one after the other, before they have to wait; and how long until there may be one more.
/// Whom an account names is not asked, and the mail server is one that all share.
const ACCOUNT_CREDITS: u32 = 60;
const ACCOUNT_REFILL: Duration = Duration::from_secs(30);

/// Turns that one mail tells of. Of more it tells how many there were.
const LINES_MAX: usize = 100;

/// Addresses that are remembered. One that two accounts name counts for each: neither uses up what the other is told.
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
    pub(crate) account: AccountId,
    pub(crate) to: String,
    pub(crate) lines: Vec<Line>,
    /// Turns beside these.
    pub(crate) more: u64,
}

/// An address that is not told of so many turns.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unheard {
    pub(crate) to: String,
    pub(crate) turns: u64,
}

/// Who is to be told of what.
#[derive(Default)]
pub(crate) struct Gather(HashMap<AccountId, Account>);

struct Account {
    addresses: HashMap<String, Waiting>,
    credits: Credits,
}

struct Waiting {
    lines: Vec<Line>,
    more: u64,
    credits: Credits,
}

/// So many mails may be made at once, and one more each time that has passed.
struct Credits {
    left: u32,
    most: u32,
    refill: Duration,
    since: Instant,
}

impl Credits {
    fn new(most: u32, refill: Duration, now: Instant) -> Credits {
        Credits { left: most, most, refill, since: now }
    }

    fn at(&mut self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.since).as_secs() / self.refill.as_secs();
        if passed > 0 {
            self.left = self.left.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX)).min(self.most);
            self.since = now;
        }
        self.left
    }

    fn are_all_there(&mut self, now: Instant) -> bool {
        self.at(now) == self.most
    }
}

impl Gather {
    /// Somebody is to be told of a turn. If there are too many who are told of something, one of them is not, of the account that
    /// has most.
    pub(crate) fn add(&mut self, to: &str, line: Line, now: Instant) -> Option<Unheard> {
        let account = line.turn.account;
        let own = self.0.get(&account).map(|account| &account.addresses);
        let (own, is_known) = own.map_or((0, false), |own| (own.len(), own.contains_key(to)));
        let mut unheard = None;
        if !is_known && self.0.values().map(|account| account.addresses.len()).sum::<usize>() >= ADDRESSES_MAX {
            unheard = self.make_room(own);
            if unheard.is_none() {
                return Some(Unheard { to: to.to_owned(), turns: 1 });
            }
        }
        let account = self.0.entry(account).or_insert_with(|| Account {
            addresses: HashMap::new(),
            credits: Credits::new(ACCOUNT_CREDITS, ACCOUNT_REFILL, now),
        });
        let new = || Waiting { lines: Vec::new(), more: 0, credits: Credits::new(CREDITS, REFILL, now) };
        let waiting = account.addresses.entry(to.to_owned()).or_insert_with(new);
        match waiting.lines.len() < LINES_MAX {
            true => waiting.lines.push(line),
            false => waiting.more += 1,
        }
        unheard.filter(|unheard| unheard.turns > 0)
    }

    /// Forgets an address of the account that has most, the one that misses least by it. None if no account has more than this.
    fn make_room(&mut self, own: usize) -> Option<Unheard> {
        let all = self.0.values_mut().map(|account| &mut account.addresses);
        let most = all.max_by_key(|addresses| addresses.len()).filter(|most| most.len() > own)?;
        let to = most.iter().min_by_key(|(_, waiting)| waiting.turns()).map(|(to, _)| to.clone())?;
        let turns = most.remove(&to)?.turns();
        Some(Unheard { to, turns })
    }

    /// Those that were told all and may be told as much again need not be remembered.
    pub(crate) fn forget_told(&mut self, now: Instant) {
        self.0.retain(|_, Account { addresses, credits }| {
            addresses.retain(|_, waiting| !waiting.credits.are_all_there(now) || !waiting.lines.is_empty());
            !addresses.is_empty() || !credits.are_all_there(now)
        });
    }

    /// The mails whose time has come.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Letter> {
        let mut letters = Vec::new();
        for (account, Account { addresses, credits: of_all }) in &mut self.0 {
            of_all.at(now);
            for (to, waiting) in addresses {
                let credits = waiting.credits.at(now).min(of_all.left) as usize;
                let count = waiting.lines.len();
                if count == 0 || credits == 0 {
                    continue;
                }
                let (lines, more) = (std::mem::take(&mut waiting.lines), std::mem::take(&mut waiting.more));
                let letter = |lines, more| Letter { account: *account, to: to.clone(), lines, more };
                if count <= credits {
                    waiting.credits.left -= count as u32;
                    of_all.left -= count as u32;
                    letters.extend(lines.into_iter().map(|line| letter(vec![line], 0)));
                } else {
                    waiting.credits.left = 0;
                    of_all.left -= 1;
                    letters.push(letter(lines, more));
                }
            }
        }
        letters
    }

    /// How many turns nobody was told of yet.
    pub(crate) fn waiting(&self) -> usize {
        let all = self.0.values().flat_map(|account| account.addresses.values());
        all.map(|waiting| waiting.lines.len()).sum()
    }
}

impl Waiting {
    fn turns(&self) -> u64 {
        self.lines.len() as u64 + self.more
    }
}

impl Letter {
    pub(crate) fn subject(&self) -> String {
        match &self.lines[..] {
            [Line { name, turn }] if self.more == 0 => {
                let what = if turn.turn.healthy { "is well again" } else { "is down" };
                format!("{}: a server {what}, {} of {} are well", named(name), turn.well, turn.nodes)
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
            let (name, node) = (named(name), named(node));
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

/// A name that an account gave: whom it names gets no links, and no texts, of its own choice.
fn named(text: &str) -> String {
    let is_of_names = |char: char| char.is_alphanumeric() || " ._-:".contains(char);
    text.chars().map(|char| if is_of_names(char) { char } else { '?' }).take(80).collect()
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
        line_of(1, node)
    }

    fn line_of(account: u8, node: &str) -> Line {
        let turn = NodeTurn {
            at: Timestamp::from_unix_micros(0),
            node: node.to_owned(),
            healthy: false,
            reason: "the status\r\nis 500".to_owned(),
        };
        let (account, pool) = (AccountId::from_bytes([account; 16]), PoolId::from_bytes([2; 16]));
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
            (0..turns).for_each(|_| assert_eq!(gather.add("a@example.com", line("one"), now), None));
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

    /// Whoever names many addresses has no more mails sent than others, and what waits is told by fewer.
    #[test]
    fn an_account_has_so_many_mails() {
        let now = Instant::now();
        let mut gather = Gather::default();
        let address = |number: u32| format!("a{number}@example.com");
        for _ in 0..2 {
            (0..100).for_each(|number| assert_eq!(gather.add(&address(number), line("one"), now), None));
        }
        assert_eq!(gather.add("b@example.com", line_of(2, "one"), now), None);
        let due = |gather: &mut Gather, second| gather.due(now + Duration::from_secs(second)).len();
        assert_eq!(due(&mut gather, 0), ACCOUNT_CREDITS as usize + 1, "and the one of the other account");
        assert_eq!((due(&mut gather, 29), due(&mut gather, 30), due(&mut gather, 90)), (0, 1, 2));
    }

    /// A name is no text of somebody's choice, and no link.
    #[test]
    fn names_are_names() {
        assert_eq!(named("web-1.example.com"), "web-1.example.com");
        assert_eq!(named("Pay now at http://evil.example/pay?x\r\n<b>"), "Pay now at http:??evil.example?pay?x???b?");
        assert_eq!(named(&"x".repeat(300)).len(), 80);
    }

    #[test]
    fn addresses_are_few() {
        let now = Instant::now();
        let mut gather = Gather::default();
        for number in 0..ADDRESSES_MAX {
            assert_eq!(gather.add(&format!("{number}@example.com"), line("one"), now), None);
        }
        let unheard = Some(Unheard { to: "one-more@example.com".to_owned(), turns: 1 });
        assert_eq!(gather.add("one-more@example.com", line("one"), now), unheard);
        assert_eq!(gather.add("0@example.com", line("one"), now), None);
        gather.due(now);
        // Nobody has used up what there may be for good.
        gather.forget_told(now + REFILL * 3);
        assert_eq!(gather.add("one-more@example.com", line("one"), now + REFILL * 3), None);
    }

    /// An account that wants to be told at more addresses than there may be keeps no other from being told.
    #[test]
    fn who_has_most_addresses_gives_way() {
        let now = Instant::now();
        let mut gather = Gather::default();
        let address = |number: usize| format!("{number}@example.com");
        for number in 0..ADDRESSES_MAX {
            gather.add(&address(number), line_of(1, "one"), now);
        }
        for number in 0..3 {
            let unheard = gather.add(&address(number), line_of(2, "one"), now).unwrap();
            assert_eq!(unheard.turns, 1);
        }
        assert_eq!(gather.add("one-more@example.com", line_of(1, "one"), now).unwrap().to, "one-more@example.com");
        let told = |account: u8, letters: &[Letter]| {
            letters.iter().filter(|letter| letter.account == AccountId::from_bytes([account; 16])).count()
        };
        let known = |account: u8| gather.0[&AccountId::from_bytes([account; 16])].addresses.len();
        assert_eq!((known(1), known(2)), (ADDRESSES_MAX - 3, 3));
        // Each has its own five, also at an address that both name.
        let mut gather = Gather::default();
        for _ in 0..9 {
            gather.add("both@example.com", line_of(1, "one"), now);
        }
        gather.add("both@example.com", line_of(2, "two"), now);
        let letters = gather.due(now);
        assert_eq!((told(1, &letters), told(2, &letters)), (1, 1));
    }

    #[test]
    fn what_it_says() {
        let letter =
            Letter { account: AccountId::from_bytes([1; 16]), to: String::new(), lines: vec![line("one")], more: 0 };
        assert_eq!(letter.subject(), "web: a server is down, 1 of 2 are well");
        assert!(
            letter.text("lhr").contains("  the server one is down: the status  is 500\n  1 of 2"),
            "{}",
            letter.text("lhr")
        );
    }
}
