//! Master files: RFC 1035 §5, RFC 2308 §4, RFC 3597 §5.

use bartizan_names::Name;
use bartizan_wire::zone_file::{Attributes, Entry, LINE_MAX, Reader, SyntaxError, write_entry, write_name};
use proptest::prelude::*;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// What a file says, given in pieces of this size.
fn read_in(file: &[u8], piece: usize) -> Vec<Result<Entry, SyntaxError>> {
    let mut reader = Reader::new(name("example.com"));
    let mut all = Vec::new();
    file.chunks(piece).for_each(|piece| reader.take(piece, &mut |one| all.push(one)));
    reader.end(&mut |one| all.push(one));
    all
}

/// `place owner ttl type data ; comment`, or `place: what is wrong`.
fn shown(file: &[u8]) -> Vec<String> {
    let whole = read_in(file, usize::MAX);
    assert_eq!(whole, read_in(file, 1), "the pieces do not count");
    let show = |entry: Result<Entry, SyntaxError>| match entry {
        Err(SyntaxError { place, reason }) => format!("{}:{}: {reason}", place.line, place.column),
        Ok(Entry { place, owner, ttl, kind, data, origin, comment }) => {
            let ttl = ttl.map_or("-".to_owned(), |ttl| ttl.to_string());
            let below = if origin == name("example.com") { String::new() } else { format!(" below {origin}") };
            let comment = comment.map(|comment| format!(" ; {comment}")).unwrap_or_default();
            format!("{}:{} {owner} {ttl} {kind} {data}{below}{comment}", place.line, place.column)
        }
    };
    whole.into_iter().map(show).collect()
}

#[test]
fn files() {
    for (file, expect) in [
        ("", &[][..]),
        ("\n \n;; nothing\n", &[]),
        ("www A 192.0.2.1", &["1:1 www.example.com - A 192.0.2.1"]),
        // TTL and class in either order, in any case, each may be left out.
        (
            "a 60 IN A 192.0.2.1\nb in 1h30m a 192.0.2.2\nc CLASS1 A 192.0.2.3\nd 1w2d3 A 192.0.2.4\n",
            &[
                "1:1 a.example.com 60 A 192.0.2.1",
                "2:1 b.example.com 5400 A 192.0.2.2",
                "3:1 c.example.com 5400 A 192.0.2.3",
                "4:1 d.example.com 777603 A 192.0.2.4",
            ],
        ),
        // Directives, and the owner of the line before.
        (
            "$TTL 1d\n$ORIGIN sub\n@ A 192.0.2.1\n\tTXT x\n$ORIGIN other.\nwww 5 MX 10 mx\n  AAAA ::1\n",
            &[
                "3:1 sub.example.com 86400 A 192.0.2.1 below sub.example.com",
                "4:2 sub.example.com 86400 TXT x below sub.example.com",
                "6:1 www.other 5 MX 10 mx below other",
                "7:3 www.other 86400 AAAA ::1 below other",
            ],
        ),
        // RFC 1035 §5.3: parentheses, comments inside and behind, quotes, escapes.
        (
            "@ IN SOA VENERA Action\\.domains (\r\n 20 ; SERIAL\r\n 7200\t600 3600000\r\n 60) ; of the zone\r\n\tNS A.ISI.EDU.\r\n",
            &[
                "1:1 example.com - SOA VENERA Action\\.domains 20 7200 600 3600000 60 ; of the zone",
                "5:2 example.com - NS A.ISI.EDU.",
            ],
        ),
        (
            r#"t TXT "a;b (c)" plain "q\"\092" x\ y ; cf_tags=cf-proxied:false"#,
            &[r#"1:1 t.example.com - TXT "a;b (c)" plain "q\"\092" x\ y ; cf_tags=cf-proxied:false"#],
        ),
        ("s SVCB 1 . alpn=\"h2,h 3\" port=53", &["1:1 s.example.com - SVCB 1 . alpn=\"h2,h 3\" port=53"]),
        ("_a._tcp SRV 1 2 3 @", &["1:1 _a._tcp.example.com - SRV 1 2 3 @"]),
        ("a\\.b.c A 192.0.2.1", &["1:1 a\\.b.c.example.com - A 192.0.2.1"]),
        ("a\\. A 192.0.2.1", &["1:1 a\\..example.com - A 192.0.2.1"]),
        ("bücher CNAME straße.example.", &["1:1 xn--bcher-kva.example.com - CNAME straße.example."]),
        ("x TYPE65280 \\# 4 0A00 0001", &["1:1 x.example.com - TYPE65280 \\# 4 0A00 0001"]),
        ("IN IN A 192.0.2.1", &["1:1 in.example.com - A 192.0.2.1"]),
        // Types that nobody knows here are for whoever takes the records to judge.
        ("x FROB a b", &["1:1 x.example.com - FROB a b"]),
    ] {
        assert_eq!(shown(file.as_bytes()), expect, "{file}");
    }
    // A mark of the byte order, and bytes that are no text.
    assert_eq!(shown(b"\xef\xbb\xbfx TXT \"\xff\xc3\xbc\x01\\\xfe\""), [r#"1:1 x.example.com - TXT "\255ü\001\254""#]);
}

/// One fault does not hide the next, and takes no record but its own.
#[test]
fn faults() {
    let long = format!("x TXT {}\ny A 192.0.2.1", "x".repeat(LINE_MAX));
    for (file, expect) in [
        (
            "a TXT \"x\nb A 192.0.2.1",
            &["1:7: a quoted string must end on its line", "2:1 b.example.com - A 192.0.2.1"][..],
        ),
        ("a MX ( 1 b\nc A 1\n", &["1:6: this parenthesis is never closed"]),
        ("a A 1 )\nb A 2", &["1:7: this parenthesis closes none", "2:1 b.example.com - A 2"]),
        (
            "a TXT x\\\nb A 2",
            &["1:9: a backslash must stand before a character of its line", "2:1 b.example.com - A 2"],
        ),
        (
            " A 192.0.2.1",
            &["1:2: a line that begins with a space is about the name of the line before, and there is none"],
        ),
        (
            "a A 1\na..b A 192.0.2.1\n A 192.0.2.2",
            &[
                "1:1 a.example.com - A 1",
                "2:1: \"a..b\" is no name: a label is empty",
                "3:2: a line that begins with a space is about the name of the line before, and there is none",
            ],
        ),
        ("ü 1x A 1", &["1:3: \"1x\" is no time to live: seconds, or numbers with units as in 1h30m"]),
        ("ü. MX 1 a..b", &["1:1 xn--tda - MX 1 a..b"]),
        ("a 1x A 1", &["1:3: \"1x\" is no time to live: seconds, or numbers with units as in 1h30m"]),
        ("a 2147483648 A 1", &["1:3: \"2147483648\" is no time to live: seconds, or numbers with units as in 1h30m"]),
        ("a 99999999w A 1", &["1:3: \"99999999w\" is no time to live: seconds, or numbers with units as in 1h30m"]),
        ("a CH TXT x", &["1:3: records are of class IN here, not CH"]),
        ("a CLASS2 TXT x", &["1:3: records are of class IN here, not CLASS2"]),
        ("a", &["1:1: a record has a type behind its name, time to live and class"]),
        ("a 1 2 A 1", &["1:5: a record has a type behind its name, time to live and class"]),
        ("a A", &["1:3: a record of type A says nothing"]),
        ("$INCLUDE /etc/passwd", &["1:1: $INCLUDE is not allowed: put the other file's records in its place"]),
        ("$GENERATE 1-9 a A 1", &["1:1: $GENERATE is not understood; there are $ORIGIN and $TTL"]),
        ("$TTL", &["1:1: $TTL takes one word behind it"]),
        (&long, &["1:262145: a record has more than 262144 bytes", "2:1 y.example.com - A 192.0.2.1"]),
        ("a A ((((((((((((((((( 1\nb A 2", &["1:21: this parenthesis is never closed", "2:1 b.example.com - A 2"]),
    ] {
        assert_eq!(shown(file.as_bytes()), expect, "{}", &file[..file.len().min(80)]);
    }
}

#[test]
fn what_stands_behind_a_record() {
    let of = |comment: &str, proxied, tags: &[&str]| Attributes {
        comment: comment.to_owned(),
        proxied,
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..Attributes::default()
    };
    // The vendor's own examples.
    for (text, expect) in [
        ("cf_tags=awesome", of("", None, &["awesome"])),
        (
            r#"cf_tags=tag1,tag2:value2,tag3:"value,with,commas",tag4:"value with \"escaped\" quotation marks""#,
            of(
                "",
                None,
                &["tag1", "tag2:value2", "tag3:value,with,commas", "tag4:value with \"escaped\" quotation marks"],
            ),
        ),
        ("just a comment without tags", of("just a comment without tags", None, &[])),
        ("this comment contains cf_tags= as text cf_tags=", of("this comment contains cf_tags= as text", None, &[])),
        (
            "simple example cf_tags=important,ticket:THIS-12345",
            of("simple example", None, &["important", "ticket:THIS-12345"]),
        ),
        ("cf_tags=tag-without-value,cf-proxied:true", of("", Some(true), &["tag-without-value"])),
        ("cf_tags=cf-proxied:false", of("", Some(false), &[])),
        ("cf_tags=test:1,cf-flatten-cname", Attributes { flattens: true, ..of("", None, &["test:1"]) }),
        ("cf_tags=a:\"\",b:", of("", None, &["a", "b"])),
        ("not_cf_tags=a", of("not_cf_tags=a", None, &[])),
        // What cannot be right is passed over.
        ("cf_tags=a:\"x\\", of("", None, &["a:x"])),
        ("cf_tags=,,:x,\"a:b", of("", None, &["a:b"])),
    ] {
        assert_eq!(Attributes::read(text), expect, "{text}");
        assert_eq!(Attributes::read(&expect.write()), expect, "{text}");
    }
}

/// Any label, a host's mostly.
fn names() -> impl Strategy<Value = Name> {
    let label =
        prop_oneof![4 => prop::collection::vec(b'a'..=b'z', 1..8), 1 => prop::collection::vec(any::<u8>(), 1..8)];
    prop::collection::vec(label, 0..4).prop_map(|labels| {
        let wire: Vec<u8> = labels.iter().flat_map(|label| [vec![label.len() as u8], label.clone()].concat()).collect();
        Name::from_wire(&[wire, vec![0]].concat()).unwrap()
    })
}

fn quoted(string: &[u8]) -> String {
    let octet = |byte: &u8| match byte {
        b'"' | b'\\' => format!("\\{}", char::from(*byte)),
        0x20..=0x7e => char::from(*byte).to_string(),
        _ => format!("\\{byte:03}"),
    };
    format!("\"{}\"", string.iter().map(octet).collect::<String>())
}

proptest! {
    #[test]
    fn a_file_reads_back(
        owner in names(), target in names(), ttl in 0..=i32::MAX as u32, number: u16,
        strings in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..4),
        word in "[ -~&&[^ \"\\\\]]{1,12}",
    ) {
        let strings: Vec<String> = strings.iter().map(|string| quoted(string)).collect();
        let mut whole = String::new();
        write_name(&mut whole, &target);
        let words = [("MX", format!("{number} {whole}")), ("TXT", strings.join(" "))];
        let mut file = String::new();
        words.iter().for_each(|(kind, data)| write_entry(&mut file, &owner, ttl, kind, data, ""));
        // Words of which nobody knows what they are.
        write_entry(&mut file, &owner, ttl, "FROB", &word, "a comment");
        let read: Vec<Entry> = read_in(file.as_bytes(), usize::MAX).into_iter().map(Result::unwrap).collect();
        prop_assert_eq!(read.len(), words.len() + 1);
        for ((kind, data), entry) in words.iter().zip(&read) {
            prop_assert_eq!((&entry.owner, entry.ttl, &*entry.kind), (&owner, Some(ttl), *kind));
            prop_assert_eq!(&entry.data, data);
        }
        let last = &read[words.len()];
        prop_assert_eq!(last.comment.as_deref(), Some("a comment"));
        let mut again = String::new();
        write_entry(&mut again, &owner, ttl, "FROB", &last.data, "a comment");
        prop_assert_eq!(file.lines().last(), again.lines().last());
    }

    #[test]
    fn attributes_read_back(
        comment in any::<String>(), tags in prop::collection::vec("[^:]{1,5}(:.{0,9})?", 0..4),
        proxied: Option<bool>, flattens: bool, origin_port: Option<u16>,
    ) {
        // A tag whose value is empty is one without a value.
        let tags: Vec<String> = tags.iter().map(|tag| tag.trim_end_matches(':').to_owned()).collect();
        let given = Attributes { comment, proxied, flattens, origin_port, tags };
        let text = given.write();
        prop_assert!(!text.contains(char::is_control));
        prop_assert_eq!(Attributes::read(&text), given);
    }

    #[test]
    fn no_bytes_panic(file in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b" \t\n\r;()\"\\$@."[..])], 0..200)) {
        prop_assert_eq!(read_in(&file, usize::MAX), read_in(&file, 3));
    }
}
