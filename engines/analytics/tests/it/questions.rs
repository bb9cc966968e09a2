//! Questions, and their answers from segments.

use bartizan_analytics::{
    DNS, DnsFacts, FlowEvent, FlowFacts, HTTP, HttpFacts, L4, Protocol, Query, QueryError, Report, Sealed, Segment,
    Table, Tally, TooMuch, Transport, Wanted,
};
use bartizan_names::RecordType;
use bartizan_wire::dns::Rcode;

use crate::{ZONE, event, event as event_of, facts, wire};

/// A day, at ten.
const NOW: u64 = 1_000 * 86_400 + 36_000;

/// What is counted in two minutes before [`NOW`].
fn segments() -> [(u64, Vec<u8>); 2] {
    let aaaa = DnsFacts { rtype: RecordType::AAAA, is_ipv6: true, ..facts(Rcode::NOERROR) };
    let large = DnsFacts { transport: Transport::Tcp, reply_len: 2_000, ..facts(Rcode::NOERROR) };
    let all = [
        (0, "www.example", facts(Rcode::NOERROR), 5),
        (0, "www.example", aaaa, 2),
        (0, "gone.example", facts(Rcode::NXDOMAIN), 3),
        (1, "www.example", large, 4),
        (1, "away.example", facts(Rcode::NXDOMAIN), 1),
    ];
    [0, 1].map(|minute| {
        let mut table = Table::new(1);
        for (_, name, facts, count) in all.iter().filter(|one| one.0 == minute) {
            for _ in 0..*count {
                table.record(event(&wire(name), facts.packed()), || Some(ZONE));
            }
        }
        let mut segment = Segment::default();
        table.drain(|counted| segment.add(counted.name, counted.facts, &counted.counts));
        (NOW - 120 + 60 * minute, segment.encode())
    })
}

fn ask(wanted: Wanted<'_>) -> Result<Report, QueryError> {
    let query = Query::parse(wanted, &DNS, NOW)?;
    let mut tally = Tally::new(&query, "fra");
    for (start, bytes) in segments() {
        tally.segment(start, &bytes).unwrap();
    }
    Ok(tally.finish().unwrap())
}

/// Dimensions and counts of each row.
fn rows(wanted: Wanted<'_>) -> Vec<(String, f64)> {
    let report = ask(wanted).unwrap();
    report.rows.iter().map(|row| (row.dimensions.join(" "), row.metrics[0][0].unwrap())).collect()
}

fn shown(rows: &[(String, f64)]) -> Vec<String> {
    rows.iter().map(|(what, count)| format!("{what} {count}")).collect()
}

#[test]
fn rows_by_what_is_told_apart() {
    for (dimensions, filters, sort, expect) in [
        ("", "", "", vec![" 15"]),
        ("queryName", "", "", vec!["www.example 11", "gone.example 3", "away.example 1"]),
        ("queryName", "", "+queryName", vec!["away.example 1", "gone.example 3", "www.example 11"]),
        ("queryName", "responseCode==NXDOMAIN", "-queryCount", vec!["gone.example 3", "away.example 1"]),
        ("queryType", "", "", vec!["A 13", "AAAA 2"]),
        ("responseCode", "", "+queryCount", vec!["NXDOMAIN 4", "NOERROR 11"]),
        ("responseCode,queryType", "queryName==www.example", "", vec!["NOERROR A 9", "NOERROR AAAA 2"]),
        ("responseCode", "queryName==never.example", "", vec![]),
        ("tcp,responseSizeBucket", "", "+responseSizeBucket", vec!["0 96-111 11", "1 2000-2015 4"]),
        ("tcp", "responseSizeBucket>=1232", "", vec!["1 4"]),
        ("ipVersion,coloName", "", "", vec!["4 fra 13", "6 fra 2"]),
        ("dayOfWeek,responseCached", "", "", vec!["3 Uncached 15"]),
    ] {
        assert_eq!(
            shown(&rows(Wanted { dimensions, filters, sort, ..Wanted::default() })),
            expect,
            "{dimensions} {filters}"
        );
    }
}

#[test]
fn answers_by_time() {
    let wanted = Wanted { dimensions: "responseCode", metrics: "queryCount,responseTimeAvg", ..Wanted::default() };
    let by_minute = Wanted { time_delta: Some("minute"), since: Some(NOW - 180), ..wanted };
    let report = ask(by_minute).unwrap();
    assert_eq!(report.parts, [NOW - 180, NOW - 120, NOW - 60, NOW, NOW + 60], "with the minute that is being counted");
    let counts: Vec<_> = report.rows.iter().map(|row| (row.dimensions[0].as_str(), row.metrics[0].clone())).collect();
    let some = |numbers: [f64; 4]| numbers.map(Some).to_vec();
    assert_eq!(counts, [("NOERROR", some([0.0, 7.0, 4.0, 0.0])), ("NXDOMAIN", some([0.0, 3.0, 1.0, 0.0]))]);
    assert_eq!(report.rows[0].metrics[1], [None, Some(0.02), Some(0.02), None], "nothing took no time");
    assert_eq!(report.totals, [Some(15.0), Some(0.02)]);
    assert!(!report.is_estimate);
    let all = ask(Wanted { time_delta: Some("all"), ..wanted }).unwrap();
    assert_eq!((all.parts.len(), all.rows[0].metrics[0].clone()), (2, vec![Some(11.0)]));
}

#[test]
fn limits_cut_rows_and_not_totals() {
    let report = ask(Wanted { dimensions: "queryName", limit: Some(1), ..Wanted::default() }).unwrap();
    assert_eq!((report.rows.len(), report.totals.clone(), report.unnamed), (1, vec![Some(15.0)], 0));
    let times = ask(Wanted { metrics: "responseTimeMedian,staleCount", ..Wanted::default() }).unwrap();
    assert!(times.is_estimate, "quantiles are");
    assert_eq!(times.rows[0].metrics[1], [Some(0.0)]);
    let median = times.rows[0].metrics[0][0].unwrap();
    assert!((0.01..0.04).contains(&median), "{median}");
}

/// An answer by parts of the time has a number for each part, metric and row, also where nothing was counted.
#[test]
fn an_answer_has_so_many_numbers_at_most() {
    let mut segment = Segment::default();
    let counts = bartizan_analytics::Counts { events: 1, ..bartizan_analytics::Counts::default() };
    for number in 0..60 {
        segment.add(Some(&wire(&format!("n{number}.example"))), facts(Rcode::NOERROR).packed(), &counts);
    }
    let asked = |limit, metrics| {
        let since = Some(NOW - 7 * 86_400 + 60);
        let wanted = Wanted { dimensions: "queryName", metrics, limit: Some(limit), since, ..Wanted::default() };
        let query = Query::parse(Wanted { time_delta: Some("minute"), ..wanted }, &DNS, NOW).unwrap();
        let mut tally = Tally::new(&query, "fra");
        // It is known before all of it is read.
        tally.segment(NOW - 60, &segment.encode())?;
        tally.finish().map(|report| report.rows.len())
    };
    assert_eq!(asked(40, "queryCount"), Ok(40));
    assert_eq!(asked(60, "queryCount"), Err(TooMuch::Numbers));
    assert_eq!(asked(40, "queryCount,staleCount"), Err(TooMuch::Numbers));
    for twice in ["queryCount,queryCount", "queryCount, staleCount ,queryCount"] {
        assert!(matches!(ask(Wanted { metrics: twice, ..Wanted::default() }), Err(QueryError::Twice { .. })));
    }
    assert!(matches!(ask(Wanted { dimensions: "tcp,tcp", ..Wanted::default() }), Err(QueryError::Twice { .. })));
}

/// What has no name is a row of its own, and is told of each answer about names.
#[test]
fn what_has_no_name_is_told() {
    let mut segment = Segment::default();
    let counts = bartizan_analytics::Counts { events: 6, ..bartizan_analytics::Counts::default() };
    segment.add(None, facts(Rcode::NXDOMAIN).packed(), &counts);
    segment.add(Some(&wire("www.example")), facts(Rcode::NOERROR).packed(), &counts);
    let asked = |wanted| {
        let query = Query::parse(wanted, &DNS, NOW).unwrap();
        let mut tally = Tally::new(&query, "fra");
        tally.segment(NOW - 60, &segment.encode()).unwrap();
        tally.finish().unwrap()
    };
    let names = asked(Wanted { dimensions: "queryName", ..Wanted::default() });
    let told: Vec<_> = names.rows.iter().map(|row| row.dimensions[0].as_str()).collect();
    assert_eq!((told, names.unnamed, names.is_estimate), (vec!["", "www.example"], 6, true));
    let one = asked(Wanted { filters: "queryName==x.example;responseCode==NXDOMAIN", ..Wanted::default() });
    assert_eq!((one.rows.len(), one.unnamed), (0, 6), "they may be of this name");
    let other = asked(Wanted { filters: "queryName==x.example;responseCode==NOERROR", ..Wanted::default() });
    assert_eq!((other.rows.len(), other.unnamed), (0, 0), "none of them can be");
    let codes = asked(Wanted { dimensions: "responseCode", ..Wanted::default() });
    assert_eq!((codes.rows.len(), codes.unnamed, codes.is_estimate), (2, 0, false));
}

#[test]
fn questions_that_cannot_be_answered_say_why() {
    let usual = Wanted::default();
    for (wanted, expect) in [
        (Wanted { dimensions: "colour", ..usual }, "there is no dimension \"colour\"; there are queryName, "),
        (Wanted { dimensions: "origin", ..usual }, "origin is not kept: "),
        (Wanted { metrics: "queries", ..usual }, "there is no metric \"queries\"; there are queryCount, "),
        (Wanted { sort: "-queryName", ..usual }, "sort: \"queryName\" is none of"),
        (Wanted { limit: Some(0), ..usual }, "limit must be from 1 to 100000"),
        (Wanted { limit: Some(100_001), ..usual }, "limit must be"),
        (Wanted { since: Some(NOW + 60), ..usual }, "since must be before until"),
        (Wanted { since: Some(NOW - 3_600), until: Some(NOW - 7_200), ..usual }, "since must be before until"),
        (Wanted { time_delta: Some("fortnight"), ..usual }, "there is no time_delta \"fortnight\""),
        (Wanted { time_delta: Some("minute"), since: Some(0), ..usual }, "more than 10080 parts"),
        (Wanted { filters: "queryName", ..usual }, "filters: "),
        (Wanted { dimensions: "tcp,".repeat(21).leak(), ..usual }, "at most 20"),
    ] {
        let error = Query::parse(wanted, &DNS, NOW).expect_err(expect);
        assert!(error.to_string().starts_with(expect) || error.to_string().contains(expect), "{error}");
        assert_eq!(error.is_not_kept(), expect.starts_with("origin"), "{error}");
    }
}

/// An answer of any size has an end.
#[test]
fn answers_are_bounded() {
    let query = Query::parse(Wanted { dimensions: "queryName", ..Wanted::default() }, &DNS, NOW).unwrap();
    let mut tally = Tally::new(&query, "fra");
    let counts = bartizan_analytics::Counts { events: 1, ..bartizan_analytics::Counts::default() };
    let mut last = Ok(());
    for part in 0..300 {
        let mut segment = Segment::default();
        for number in 0..1_000 {
            segment.add(Some(&wire(&format!("n{part}-{number}.example"))), 0, &counts);
        }
        last = tally.segment(NOW - 60, &segment.encode());
        if last.is_err() {
            assert!(part >= 249, "{part}");
            break;
        }
    }
    assert_eq!(last, Err(TooMuch::Rows));
}

/// Of requests: what origins answered has a time of its own, and what the edge answered has none.
#[test]
fn requests_and_the_time_of_origins() {
    let of = |status, by| HttpFacts {
        status,
        method: "GET",
        protocol: Protocol::Http2,
        sealed: Sealed::Tls13,
        by,
        is_page: false,
        country: Some(*b"DE"),
    };
    let mut table = Table::new(1);
    for (host, facts, millis) in [
        ("a.example", of(Some(200), "origin"), 10),
        ("a.example", of(Some(404), "tunnel"), 30),
        ("b.example", of(Some(503), "unreached"), 1_000),
        ("b.example", of(Some(403), "firewall"), 2),
        ("b.example", of(None, "origin"), 50),
    ] {
        let event = event(host.as_bytes(), facts.packed());
        table.record(bartizan_analytics::Event { nanos: millis * 1_000_000, ..event }, || Some(ZONE));
    }
    let mut segment = Segment::default();
    table.drain(|counted| segment.add(counted.name, counted.facts, &counted.counts));
    let bytes = segment.encode();
    let told = |dimensions: &str, filters: &str| {
        let metrics = "requestCount,responseTimeAvg,originTimeAvg";
        let wanted = Wanted { dimensions, metrics, filters, sort: "-requestCount", ..Wanted::default() };
        let query = Query::parse(wanted, &HTTP, NOW).unwrap();
        let mut tally = Tally::new(&query, "fra");
        tally.segment(NOW - 60, &bytes).unwrap();
        let report = tally.finish().unwrap();
        let number = |number: Option<f64>| number.map_or("-".to_owned(), |number| number.to_string());
        let row = |(what, numbers): (String, Vec<Option<f64>>)| {
            format!("{what} {}", numbers.into_iter().map(number).collect::<Vec<_>>().join(" "))
        };
        let rows =
            report.rows.iter().map(|one| (one.dimensions.join(" "), one.metrics.iter().map(|part| part[0]).collect()));
        rows.chain([("all".to_owned(), report.totals.clone())]).map(row).collect::<Vec<_>>()
    };
    assert_eq!(told("host", ""), ["b.example 3 350.6666666666667 50", "a.example 2 20 20", "all 5 218.4 30"]);
    assert_eq!(told("answeredBy", "status>=500"), ["unreached 1 1000 -", "all 1 1000 -"]);
    assert_eq!(told("statusClass,country", "host==A.example;statusClass==4XX"), ["4xx DE 1 30 30", "all 1 30 30"]);
    assert_eq!(told("status", "status==none"), ["none 1 50 50", "all 1 50 50"]);
}

/// Of connections only those that are over have a duration.
#[test]
fn connections_and_how_long_they_lasted() {
    let mut table = Table::new(1);
    for (app, event, is_ipv6, millis) in [
        (1, FlowEvent::Connect, false, 0),
        (1, FlowEvent::Progress, false, 0),
        (1, FlowEvent::Disconnect, false, 7_200_000),
        (1, FlowEvent::Connect, true, 0),
        (1, FlowEvent::Disconnect, true, 3_600_000),
        (2, FlowEvent::ClientFiltered, false, 0),
    ] {
        let facts = FlowFacts { event, is_ipv6 };
        let id = [app; 16];
        let event = event_of(&id, facts.packed());
        table.record(bartizan_analytics::Event { nanos: millis * 1_000, ..event }, || Some(ZONE));
    }
    let mut segment = Segment::default();
    table.drain(|counted| segment.add(counted.name, counted.facts, &counted.counts));
    let ask = |dimensions, metrics, filters| {
        let wanted = Wanted { dimensions, metrics, filters, ..Wanted::default() };
        let query = Query::parse(wanted, &L4, NOW).unwrap();
        let mut tally = Tally::new(&query, "fra");
        tally.segment(NOW - 60, &segment.encode()).unwrap();
        tally.finish().unwrap()
    };
    let events: Vec<_> =
        ask("event", "count", "").rows.into_iter().map(|row| (row.dimensions.join(" "), row.metrics[0][0])).collect();
    let expect = [("connect", 2.0), ("disconnect", 2.0), ("clientFiltered", 1.0), ("progress", 1.0)];
    assert_eq!(events, expect.map(|(event, count)| (event.to_owned(), Some(count))));
    let of_one = format!("appID=={}", "01".repeat(16));
    let report = ask("appID", "count,bytesIngress,durationAvg,durationMedian", &of_one);
    assert_eq!(report.rows[0].dimensions, ["01".repeat(16)]);
    let [count, bytes, average, median] = report.totals[..] else { panic!("{report:?}") };
    assert_eq!((count, bytes, average), (Some(5.0), Some(200.0), Some(5_400_000.0)));
    assert!(median.is_some_and(|median| median > 1_800_000.0), "{median:?}");
    assert_eq!(ask("", "durationAvg,durationMedian", "event==connect").totals, [None, None]);
}
