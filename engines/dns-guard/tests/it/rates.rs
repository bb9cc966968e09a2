//! Limits as tables: who asks for what, how often, and what becomes of it.

use std::net::IpAddr;

use bartizan_dns_guard::{Answered, Kind, Limits, LimitsError, Rates, Verdict};
use proptest::prelude::*;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

fn rates() -> Rates {
    Rates::new([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210])
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn limits(text: &str) -> Limits {
    text.parse().unwrap()
}

fn answer(kind: Kind, subject: u64) -> Answered {
    Answered { kind, subject, excess: 0 }
}

/// How many of so many answers at one moment are sent, slipped and dropped.
fn flood(rates: &mut Rates, limits: &Limits, source: &str, answered: Answered, count: u64, now: u64) -> [u64; 3] {
    let mut became = [0; 3];
    for _ in 0..count {
        became[rates.judge(limits, address(source), answered, now) as usize] += 1;
    }
    became
}

#[test]
fn each_network_kind_and_subject_has_its_own() {
    let mut rates = rates();
    let limits = limits("answers=10,wildcards=50,denials=20,referrals=30,errors=40,slip=2");
    for (source, kind, subject, expect) in [
        ("192.0.2.1", Kind::Answer, 1, [10, 45, 45]),
        // The same network.
        ("192.0.2.255", Kind::Answer, 1, [0, 50, 50]),
        ("::ffff:192.0.2.7", Kind::Answer, 1, [0, 50, 50]),
        ("192.0.3.1", Kind::Answer, 1, [10, 45, 45]),
        ("192.0.2.1", Kind::Answer, 2, [10, 45, 45]),
        ("192.0.2.1", Kind::Wildcard, 1, [50, 25, 25]),
        ("192.0.2.1", Kind::Denial, 1, [20, 40, 40]),
        ("192.0.2.1", Kind::Referral, 1, [30, 35, 35]),
        ("192.0.2.1", Kind::Error, 1, [40, 30, 30]),
        // Errors have no subject.
        ("192.0.2.1", Kind::Error, 2, [0, 50, 50]),
        ("2001:db8:0:aa01::1", Kind::Answer, 1, [10, 45, 45]),
        ("2001:db8:0:aaff::9", Kind::Answer, 1, [0, 50, 50]),
        ("2001:db8:0:ab00::1", Kind::Answer, 1, [10, 45, 45]),
        // This machine is nobody's victim.
        ("127.0.0.1", Kind::Answer, 1, [100, 0, 0]),
        ("::1", Kind::Answer, 1, [100, 0, 0]),
    ] {
        let became = flood(&mut rates, &limits, source, answer(kind, subject), 100, SECOND);
        assert_eq!(became, expect, "{source} {kind:?} {subject}");
    }
    let held = rates.held();
    assert_eq!(held.displaced, 0);
    let by_limit: Vec<_> = held.by_limit().collect();
    assert_eq!(by_limit[..2], [("answers", [45 * 5 + 50 * 3, 45 * 5 + 50 * 3]), ("wildcards", [25, 25])]);
}

#[test]
fn a_second_is_had_at_once_and_the_rest_in_time() {
    let mut rates = rates();
    let limits = limits("answers=10,slip=3");
    // At this time, of so many.
    for (now, count, expect) in [
        (5_000, 31, [10, 7, 14]),
        (5_099, 3, [0, 1, 2]),
        (5_100, 4, [1, 1, 2]),
        (5_350, 4, [2, 1, 1]),
        (5_400, 2, [1, 0, 1]),
        (6_400, 40, [10, 10, 20]),
        (60_000, 13, [10, 1, 2]),
    ] {
        let became = flood(&mut rates, &limits, "192.0.2.1", answer(Kind::Answer, 1), count, now * MILLISECOND);
        assert_eq!(became, expect, "after {now} ms");
    }
}

#[test]
fn slip_says_how_many_are_short() {
    for (text, expect) in [
        ("answers=10,slip=0", [10, 0, 90]),
        ("answers=10,slip=1", [10, 90, 0]),
        ("answers=10,slip=2", [10, 45, 45]),
        ("answers=10,slip=10", [10, 9, 81]),
        ("answers=0", [100, 0, 0]),
        ("off", [100, 0, 0]),
    ] {
        let became = flood(&mut rates(), &limits(text), "192.0.2.1", answer(Kind::Answer, 1), 100, SECOND);
        assert_eq!(became, expect, "{text}");
    }
}

/// Whatever names a forger finds, a network gets no more bytes than that in excess of what is asked.
#[test]
fn bytes_are_counted_over_all_names() {
    for (excess, expect) in [(1_000, 100), (100, 1_000), (10, 5_000), (0, 5_000)] {
        let (mut rates, limits) = (rates(), limits("bytes=100000"));
        let sent = (0..5_000)
            .filter(|name| {
                let answered = Answered { kind: Kind::Answer, subject: *name, excess };
                rates.judge(&limits, address("192.0.2.1"), answered, SECOND) == Verdict::Send
            })
            .count();
        assert_eq!(sent, expect, "{excess}");
    }
}

#[test]
fn whoever_is_exempt_is_not_counted() {
    let limits = limits("answers=10").exempt(vec!["192.0.2.0/25".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
    for (source, sent) in [("192.0.2.1", 100), ("192.0.2.200", 10), ("2001:db8:9::1", 100), ("2001:db9::1", 10)] {
        let became = flood(&mut rates(), &limits, source, answer(Kind::Answer, 1), 100, SECOND);
        assert_eq!(became[0], sent, "{source}");
    }
}

/// Very many networks at once do not free those that ask most, and cost nobody else anything.
#[test]
fn a_full_table_keeps_the_busiest() {
    let (mut rates, limits) = (rates(), Limits::default());
    let busy = |rates: &mut Rates| flood(rates, &limits, "192.0.2.1", answer(Kind::Answer, 1), 1_000, SECOND)[0];
    assert_eq!(busy(&mut rates), 200);
    for network in 0..1_000_000_u32 {
        let source = IpAddr::from((network << 8).to_be_bytes());
        let verdict = rates.judge(&limits, source, answer(Kind::Answer, 1), SECOND);
        assert_eq!(verdict, Verdict::Send, "{source}");
    }
    assert!(rates.held().displaced > 900_000, "{}", rates.held().displaced);
    assert_eq!(busy(&mut rates), 0);
    // A second later nobody owes anything, and nothing is lost with a place.
    let displaced = rates.held().displaced;
    rates.judge(&limits, address("198.51.100.1"), answer(Kind::Answer, 1), 3 * SECOND);
    assert_eq!(rates.held().displaced, displaced);
}

#[test]
fn limits_as_they_are_typed() {
    let usual = "answers=200,wildcards=1000,denials=500,referrals=200,errors=200,bytes=4000000,slip=2";
    for (text, expect) in [
        ("slip=2", Ok(usual)),
        ("answers=1, slip=0", Ok("answers=1,wildcards=1000,denials=500,referrals=200,errors=200,bytes=4000000,slip=0")),
        ("off", Ok("answers=0,wildcards=0,denials=0,referrals=0,errors=0,bytes=0,slip=0")),
        (
            "answers=1000000000",
            Ok("answers=1000000000,wildcards=1000,denials=500,referrals=200,errors=200,bytes=4000000,slip=2"),
        ),
        ("", Err(LimitsError::Name(String::new()))),
        ("on", Err(LimitsError::Name("on".to_owned()))),
        ("anwsers=1", Err(LimitsError::Name("anwsers".to_owned()))),
        ("answers=1000000001", Err(LimitsError::Number("1000000001".to_owned()))),
        ("answers=-1", Err(LimitsError::Number("-1".to_owned()))),
    ] {
        let read = text.parse::<Limits>();
        assert_eq!(read.clone().map(|limits| limits.to_string()), expect.map(str::to_owned), "{text}");
        if let Ok(limits) = read {
            assert_eq!(limits.to_string().parse(), Ok(limits));
        }
    }
    assert_eq!(Limits::default().to_string(), usual);
}

proptest! {
    /// In any second no network gets more of a name than its limit and what was left from the second before.
    #[test]
    fn never_more_than_two_seconds_worth_in_one(steps in prop::collection::vec(0..400_u64, 1..400)) {
        let (mut rates, limits) = (rates(), limits("answers=20"));
        let (mut now, mut sent) = (SECOND, Vec::new());
        for step in steps {
            now += step * MILLISECOND;
            for _ in 0..9 {
                if rates.judge(&limits, address("192.0.2.1"), answer(Kind::Answer, 1), now) == Verdict::Send {
                    sent.push(now);
                }
            }
        }
        for (at, start) in sent.iter().enumerate() {
            let within = sent[at..].iter().take_while(|moment| **moment < start + SECOND).count();
            prop_assert!(within <= 40, "{within}");
        }
    }
}

#[test]
fn what_a_network_may_have_is_told() {
    let limits = limits("denials=20,bytes=0,slip=3").exempt(vec!["198.51.100.0/24".parse().unwrap()]);
    for (source, expect) in [
        ("192.0.2.77", Some("192.0.2.0/24")),
        ("::ffff:192.0.2.77", Some("192.0.2.0/24")),
        ("2001:db8:0:aa01::1", Some("2001:db8:0:aa00::/56")),
        ("198.51.100.7", None),
        ("127.0.0.1", None),
    ] {
        let told = limits.allowance(address(source), Kind::Denial);
        assert_eq!(told.as_ref().map(|told| told.network.to_string()).as_deref(), expect, "{source}");
        if let Some(told) = told {
            assert_eq!((told.limits, told.slip), ([("denials", 20), ("bytes", 0)], 3));
        }
    }
}
