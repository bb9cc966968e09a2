//! Which events are counted: `queryType==A;responseCode!=NOERROR,tcp==1`.
//!
//! ```text
//! filter     = all *( ("," / " OR ") all )        any of them
//! all        = comparison *( (";" / " AND ") comparison )
//! comparison = dimension ("==" / "!=" / ">=" / "<=" / ">" / "<") value
//! ```
//! A backslash takes from the character behind it what it means here.

use crate::catalogue::{Catalogue, Dimension, What};
use crate::query::QueryError;

/// Of a filter.
const BYTES_MAX: usize = 4_096;
const COMPARISONS_MAX: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Is,
    IsNot,
    More,
    Less,
    MoreOrSame,
    LessOrSame,
}

/// The longer ones first, as they begin with shorter ones.
const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Is),
    ("!=", Operator::IsNot),
    (">=", Operator::MoreOrSame),
    ("<=", Operator::LessOrSame),
    (">", Operator::More),
    ("<", Operator::Less),
];

#[derive(Debug)]
enum Operand {
    Name(Box<[u8]>),
    Text(String),
    Code(u64),
}

#[derive(Debug)]
struct Comparison {
    what: &'static What,
    operator: Operator,
    operand: Operand,
}

/// Any of the lists, of which all hold. Without a list everything is let through.
#[derive(Debug, Default)]
pub(crate) struct Filter(Vec<Vec<Comparison>>);

/// What a filter is asked about.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'s> {
    /// None for what is counted without it.
    pub(crate) name: Option<&'s [u8]>,
    pub(crate) facts: u64,
    pub(crate) day: u64,
    pub(crate) pop: &'s str,
}

impl Filter {
    pub(crate) fn parse(text: &str, catalogue: &'static Catalogue) -> Result<Filter, QueryError> {
        let bad = |why: String| QueryError::Filter { why };
        if text.len() > BYTES_MAX {
            return Err(bad(format!("it is longer than {BYTES_MAX} octets")));
        }
        let mut any = Vec::new();
        let mut count = 0;
        for all in split(text, ',', " OR ") {
            let all = split(&all, ';', " AND ");
            count += all.len();
            if count > COMPARISONS_MAX {
                return Err(bad(format!("it has more than {COMPARISONS_MAX} comparisons")));
            }
            any.push(all.iter().map(|one| Comparison::parse(one, catalogue)).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(Filter(any))
    }

    pub(crate) fn needs_names(&self) -> bool {
        self.0.iter().flatten().any(|one| matches!(one.what, What::Name))
    }

    pub(crate) fn lets_through(&self, seen: Seen<'_>) -> bool {
        self.0.is_empty() || self.0.iter().any(|all| all.iter().all(|one| one.holds(seen)))
    }

    /// Whether it might let through what is counted without a name, if that had one.
    pub(crate) fn may_let_through(&self, seen: Seen<'_>) -> bool {
        let may = |one: &Comparison| matches!(one.what, What::Name) || one.holds(seen);
        self.0.is_empty() || self.0.iter().any(|all| all.iter().all(may))
    }
}

impl Comparison {
    fn parse(text: &str, catalogue: &'static Catalogue) -> Result<Comparison, QueryError> {
        let bad = |why: String| QueryError::Filter { why };
        let found = (text.char_indices())
            .find_map(|(at, _)| OPERATORS.iter().find(|(sign, _)| text[at..].starts_with(sign)).map(|one| (at, one)));
        let Some((at, (sign, operator))) = found else {
            return Err(bad(format!("{text:?} is no comparison, as queryType==A is one")));
        };
        let dimension: &Dimension = catalogue.dimension(text[..at].trim())?;
        let value = unescaped(text[at + sign.len()..].trim());
        let is_equality = matches!(operator, Operator::Is | Operator::IsNot);
        let no_value = || bad(format!("{value:?} is no value of {}", dimension.name));
        let (is_ordered, operand) = match &dimension.what {
            What::Name if value.is_empty() => (false, Operand::Name(Box::default())),
            What::Name => (false, Operand::Name((catalogue.name_of)(&value).ok_or_else(no_value)?)),
            What::Pop => (false, Operand::Text(value)),
            What::Day => {
                let day = value.parse().ok().filter(|day| (1..=7).contains(day)).ok_or_else(no_value)?;
                (true, Operand::Code(day))
            }
            What::Fact(fact) => (fact.is_ordered, Operand::Code((fact.read)(&value).ok_or_else(no_value)?)),
        };
        if !is_ordered && !is_equality {
            return Err(bad(format!("{} is compared by == and != alone", dimension.name)));
        }
        Ok(Comparison { what: &dimension.what, operator: *operator, operand })
    }

    fn holds(&self, seen: Seen<'_>) -> bool {
        let order = match (self.what, &self.operand) {
            // What has no name is asked for by an empty one.
            (What::Name, Operand::Name(name)) => seen.name.unwrap_or_default().cmp(name),
            (What::Pop, Operand::Text(text)) => seen.pop.cmp(text),
            (What::Day, Operand::Code(code)) => seen.day.cmp(code),
            (What::Fact(fact), Operand::Code(code)) => (fact.of)(seen.facts).cmp(code),
            _ => return false,
        };
        match self.operator {
            Operator::Is => order.is_eq(),
            Operator::IsNot => order.is_ne(),
            Operator::More => order.is_gt(),
            Operator::Less => order.is_lt(),
            Operator::MoreOrSame => order.is_ge(),
            Operator::LessOrSame => order.is_le(),
        }
    }
}

/// What stands between `sign`s and `word`s that no backslash stands before.
fn split(text: &str, sign: char, word: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        if rest.starts_with(word) {
            parts.push(String::new());
            rest = &rest[word.len()..];
        } else if char == sign {
            parts.push(String::new());
            rest = &rest[1..];
        } else {
            let len = match rest[char.len_utf8()..].chars().next() {
                Some(next) if char == '\\' => 1 + next.len_utf8(),
                _ => char.len_utf8(),
            };
            if let Some(part) = parts.last_mut() {
                part.push_str(&rest[..len]);
            }
            rest = &rest[len..];
        }
    }
    parts
}

/// Without the backslashes that stand before what means something here. Others are for who reads the value: names have some.
fn unescaped(text: &str) -> String {
    text.replace("\\,", ",").replace("\\;", ";")
}

#[cfg(test)]
mod tests {
    use bartizan_names::RecordType;
    use bartizan_wire::dns::Rcode;

    use super::*;
    use crate::dns::{DNS, DnsFacts, Transport};

    #[test]
    fn filters() {
        let seen = |filter: &str| {
            let facts = DnsFacts {
                rtype: RecordType::A,
                rcode: Some(Rcode::NXDOMAIN),
                transport: Transport::Udp,
                is_ipv6: false,
                query_len: 40,
                reply_len: 120,
            };
            let name = b"\x03www\x07example";
            let name: Vec<u8> = [&name[..], &[0]].concat();
            let seen = Seen { name: Some(&name), facts: facts.packed(), day: 3, pop: "fra" };
            Filter::parse(filter, &DNS).map(|filter| filter.lets_through(seen)).map_err(|error| error.to_string())
        };
        for (filter, expect) in [
            ("queryType==A", true),
            ("queryType == a", true),
            ("queryType!=A", false),
            ("queryType==TYPE1", true),
            ("responseCode==NXDOMAIN;queryType==A", true),
            ("responseCode==NXDOMAIN;queryType==AAAA", false),
            ("responseCode==NOERROR,queryType==A", true),
            ("responseCode==NOERROR OR queryType==A AND tcp==1", false),
            ("responseCode==NOERROR OR queryType==A AND tcp==0", true),
            ("queryName==WWW.example", true),
            ("queryName==www.example.", true),
            ("queryName!=www.example", false),
            ("queryName==a\\,b.example", false),
            ("ipVersion<6", true),
            ("ipVersion>=6", false),
            ("querySizeBucket>=32", true),
            ("querySizeBucket==32-47", true),
            ("querySizeBucket<32", false),
            ("responseSizeBucket<=120", true),
            ("coloName==fra", true),
            ("dayOfWeek==3", true),
            ("dayOfWeek>3", false),
            ("responseCached==Cached", false),
        ] {
            assert_eq!(seen(filter), Ok(expect), "{filter}");
        }
        for (filter, expect) in [
            ("", "\"\" is no comparison"),
            ("queryType", "\"queryType\" is no comparison"),
            ("queryType==A,", "\"\" is no comparison"),
            ("queryType==Q", "\"Q\" is no value of queryType"),
            ("colour==red", "there is no dimension \"colour\""),
            ("queryType>A", "queryType is compared by == and != alone"),
            ("origin==192.0.2.1", "origin"),
            ("dayOfWeek==8", "\"8\" is no value of dayOfWeek"),
            (&"tcp==0;".repeat(101), "more than 100"),
            (&"tcp==0;".repeat(1_000), "longer than 4096"),
        ] {
            let told = seen(filter).expect_err(filter);
            assert!(told.contains(expect), "{filter}: {told}");
        }
    }
}
