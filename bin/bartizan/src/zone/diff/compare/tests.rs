use bartizan_wire::dns::Rcode;

use super::*;

const HERE: &str = "$ORIGIN zone.test.\n@ 300 IN A 192.0.2.1\nwww 300 IN CNAME zone.test.\n\
                    m 300 IN MX 10 Mail\nm 60 IN MX 20 mail\nt 300 IN TXT \"a;b\" c\n\
                    p 300 IN A 192.0.2.7 ; cf_tags=cf-proxied:true\n\
                    sub 300 IN NS ns.sub\nns.sub 300 IN A 192.0.2.4\n";

fn here() -> Here {
    let mut reading = Reading::of(name("@"));
    HERE.as_bytes().chunks(7).for_each(|piece| reading.take(piece));
    reading.end()
}

fn name(owner: &str) -> Name {
    match owner {
        "@" => Name::parse("zone.test").unwrap(),
        owner => Name::parse(&format!("{owner}.zone.test")).unwrap(),
    }
}

/// An answer of records that are written as `owner ttl type data`.
fn message(records: &[&str]) -> Message {
    let record = |text: &&str| {
        let mut words = text.splitn(4, ' ');
        let (owner, ttl) = (name(words.next().unwrap()), words.next().unwrap().parse().unwrap());
        let rtype: RecordType = words.next().unwrap().parse().unwrap();
        let data = RecordData::from_presentation(rtype, words.next().unwrap(), &name("@")).unwrap();
        Record { owner, rtype, class: Class::IN, ttl, rdata: data.rdata() }
    };
    Message {
        id: 0,
        response: true,
        authoritative: true,
        answers: records.iter().map(record).collect(),
        rcode: Rcode::NOERROR,
        ..Message::parse(&[0; 12]).unwrap()
    }
}

#[test]
fn what_differs() {
    let here = here();
    for (owner, rtype, answer, expect) in [
        ("@", "A", &["@ 300 A 192.0.2.1"][..], ""),
        ("@", "A", &["@ 60 A 192.0.2.1"], "300≠60"),
        ("@", "A", &["@ 300 A 192.0.2.2"], "-192.0.2.1 +192.0.2.2"),
        ("@", "A", &[], "-192.0.2.1"),
        ("@", "AAAA", &["@ 300 AAAA 2001:db8::1"], "+2001:db8::1"),
        ("m", "MX", &["m 60 MX 20 mail", "m 60 MX 10 MAIL"], ""),
        ("t", "TXT", &["t 300 TXT \"a;b\" \"c\""], ""),
        ("p", "A", &["p 300 A 192.0.2.8"], "proxied -192.0.2.7 +192.0.2.8"),
        ("www", "CNAME", &["www 300 CNAME other"], "-zone.test. +other.zone.test."),
        // Records of other names, which servers add, are no answer.
        ("www", "CNAME", &["www 300 CNAME @", "@ 300 A 192.0.2.9"], ""),
        // An alias there, addresses here; where nothing is here it is told once.
        ("@", "A", &["@ 300 CNAME other"], "-192.0.2.1 +CNAME other.zone.test."),
        ("new", "A", &["new 300 CNAME other"], "+CNAME other.zone.test."),
        ("new", "TXT", &["new 300 CNAME other"], "+CNAME other.zone.test."),
        ("new", "MX", &["new 300 CNAME other"], ""),
        ("p", "MX", &["p 300 CNAME other"], ""),
    ] {
        let question = Question { owner: name(owner), rtype: rtype.parse().unwrap() };
        let answer = answer.iter().map(|text| text.replace("CNAME @", "CNAME zone.test.")).collect::<Vec<_>>();
        let answer: Vec<&str> = answer.iter().map(String::as_str).collect();
        let told = here.compare(&question, &message(&answer), true).map(|difference| {
            let mut words: Vec<String> = difference.proxied.then(|| "proxied".to_owned()).into_iter().collect();
            words.extend(difference.only_here.iter().map(|data| format!("-{data}")));
            words.extend(difference.only_there.iter().map(|data| format!("+{data}")));
            words.extend(difference.ttls.map(|(here, there)| format!("{here}≠{there}")));
            words.join(" ")
        });
        assert_eq!(told.unwrap_or_default(), expect, "{owner} {rtype} {answer:?}");
    }
    // A referral, with the addresses of the servers.
    let referral = || {
        let records = message(&["sub 300 NS ns.sub", "ns.sub 300 A 192.0.2.4"]).answers;
        let (authority, additional) = (records[..1].to_vec(), records[1..].to_vec());
        Message { authoritative: false, authority, additional, ..message(&[]) }
    };
    for (owner, rtype) in [("sub", RecordType::NS), ("ns.sub", RecordType::A)] {
        assert_eq!(here.compare(&Question { owner: name(owner), rtype }, &referral(), true), None, "{owner}");
        assert!(here.compare(&Question { owner: name(owner), rtype }, &message(&[]), true).is_some(), "{owner}");
    }
    let question = Question { owner: name("@"), rtype: RecordType::A };
    assert_eq!(here.compare(&question, &message(&["@ 60 A 192.0.2.1"]), false), None);
}

/// All of the zone there, less what each server has of its own, and with names that nobody would ask for.
#[test]
fn a_whole_zone_there() {
    let same = [
        "@ 300 A 192.0.2.1",
        "www 300 CNAME zone.test.",
        "m 60 MX 10 Mail",
        "m 60 MX 20 mail",
        "t 300 TXT \"a;b\" c",
        "p 300 A 192.0.2.7",
        "sub 300 NS ns.sub",
        "ns.sub 300 A 192.0.2.4",
    ];
    for (without, with, expect) in [
        ("none", &["x 5 CDS 0 0 0 00"][..], &[][..]),
        (
            "none",
            &["old-thing 60 A 192.0.2.8", "far.x 60 NS ns"],
            &["far.x.zone.test NS +ns.zone.test.", "old-thing.zone.test A +192.0.2.8"],
        ),
        ("p ", &[], &["p.zone.test A -192.0.2.7"]),
        ("ns.sub", &["ns.sub 300 A 192.0.2.5"], &["ns.sub.zone.test A -192.0.2.4 +192.0.2.5"]),
        ("t ", &["t 60 TXT \"a;b\" c"], &["t.zone.test TXT 300≠60"]),
    ] {
        let mut there = There::default();
        let records: Vec<&str> = same.iter().filter(|text| !text.starts_with(without)).chain(with).copied().collect();
        message(&records).answers.iter().for_each(|record| there.put(record));
        let differences = here().compare_all(&there, true);
        let told: Vec<String> = (differences.iter())
            .map(|difference| {
                let mut words = vec![difference.owner.clone(), difference.rtype.to_string()];
                words.extend(difference.only_here.iter().map(|data| format!("-{data}")));
                words.extend(difference.only_there.iter().map(|data| format!("+{data}")));
                words.extend(difference.ttls.map(|(here, there)| format!("{here}≠{there}")));
                words.join(" ")
            })
            .collect();
        assert_eq!(told, expect, "{records:?}");
    }
}

#[test]
fn what_is_asked() {
    let asked: Vec<String> =
        (here().questions().iter()).map(|question| format!("{} {}", question.owner, question.rtype)).collect();
    for expect in ["zone.test CAA", "zone.test AAAA", "m.zone.test MX", "m.zone.test A", "_dmarc.zone.test TXT"] {
        assert!(asked.contains(&expect.to_owned()), "{expect}: {asked:?}");
    }
    assert!(!asked.contains(&"sub.zone.test MX".to_owned()), "{asked:?}");
    // An alias is asked for alone.
    let of_www: Vec<_> = asked.iter().filter(|question| question.starts_with("www.")).collect();
    assert_eq!(of_www, ["www.zone.test CNAME"]);
}
