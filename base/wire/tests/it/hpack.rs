//! Fields of HTTP/2 through the front door of their codec (RFC 7541).

use std::collections::VecDeque;

use bartizan_wire::http2::hpack::{Decoder, Encoder, HpackError, Indexing, List, TABLE_BYTES, field_bytes};
use proptest::prelude::*;

/// As many as no test has.
const LIST_BYTES_MAX: usize = 1 << 20;

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).unwrap()
}

fn fields(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, HpackError> {
    let mut fields = Vec::new();
    let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
    let list = decoder.decode(block, LIST_BYTES_MAX, |name, value| {
        fields.push(format!("{}: {}", text(name), text(value)));
    })?;
    assert_eq!(list, List::Whole);
    Ok(fields)
}

/// What is in the table: each number that has a field (RFC 7541 §2.3.3).
fn table(decoder: &mut Decoder) -> Vec<String> {
    let numbers = (62..).map(|number: usize| {
        let high = number.saturating_sub(127);
        match number {
            0..127 => vec![0x80 | number as u8],
            _ if high < 128 => vec![0xff, high as u8],
            _ => vec![0xff, 0x80 | high as u8, (high >> 7) as u8],
        }
    });
    numbers.map_while(|number| fields(decoder, &number).ok()).flatten().collect()
}

const LONG_COOKIE: &str = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";

/// A connection of RFC 7541, appendix C: for each block the fields, and the table behind it.
type Story = &'static [(&'static str, &'static [&'static str], &'static [&'static str])];

const LITERALS: Story = &[
    // C.2.1
    (
        "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
        &["custom-key: custom-header"],
        &["custom-key: custom-header"],
    ),
    // C.2.2, C.2.3, C.2.4
    ("040c 2f73 616d 706c 652f 7061 7468", &[":path: /sample/path"], &["custom-key: custom-header"]),
    ("1008 7061 7373 776f 7264 0673 6563 7265 74", &["password: secret"], &["custom-key: custom-header"]),
    ("82", &[":method: GET"], &["custom-key: custom-header"]),
];

const REQUEST_FIELDS: [&[&str]; 3] = [
    &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
    &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"],
    &[
        ":method: GET",
        ":scheme: https",
        ":path: /index.html",
        ":authority: www.example.com",
        "custom-key: custom-value",
    ],
];

const REQUEST_TABLES: [&[&str]; 3] = [
    &[":authority: www.example.com"],
    &["cache-control: no-cache", ":authority: www.example.com"],
    &["custom-key: custom-value", "cache-control: no-cache", ":authority: www.example.com"],
];

/// C.3, and C.4 with Huffman's code.
const REQUESTS: [[&str; 3]; 2] = [
    [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ],
    [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ],
];

const ANSWER_FIELDS: [&[&str]; 3] = [
    &[
        ":status: 302",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:21 GMT",
        "location: https://www.example.com",
    ],
    &[
        ":status: 307",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:21 GMT",
        "location: https://www.example.com",
    ],
    &[
        ":status: 200",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:22 GMT",
        "location: https://www.example.com",
        "content-encoding: gzip",
        LONG_COOKIE,
    ],
];

const ANSWER_TABLES: [&[&str]; 3] = [
    &[
        "location: https://www.example.com",
        "date: Mon, 21 Oct 2013 20:13:21 GMT",
        "cache-control: private",
        ":status: 302",
    ],
    &[
        ":status: 307",
        "location: https://www.example.com",
        "date: Mon, 21 Oct 2013 20:13:21 GMT",
        "cache-control: private",
    ],
    &[LONG_COOKIE, "content-encoding: gzip", "date: Mon, 21 Oct 2013 20:13:22 GMT"],
];

/// C.5, and C.6 with Huffman's code. In both the table has 256 octets.
const ANSWERS: [[&str; 3]; 2] = [
    [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d \
         546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f \
         6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b \
         2076 6572 7369 6f6e 3d31",
    ],
    [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 \
         8f0b 97c8 e9ae 82ae 43d3",
        "48 83 640e ff c1c0 bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 \
         dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ],
];

/// A size of the table of 256 octets, and of 4,096 (§6.3).
const SIZE_256: &str = "3fe101";
const SIZE_4096: &str = "3fe11f";

#[test]
fn the_examples_of_the_rfc_are_read() {
    let mut decoder = Decoder::new(TABLE_BYTES);
    for (block, expect, entries) in LITERALS {
        assert_eq!(fields(&mut decoder, &bytes(block)).unwrap(), *expect, "{block}");
        assert_eq!(table(&mut decoder), *entries, "{block}");
    }
    for blocks in REQUESTS {
        let mut decoder = Decoder::new(TABLE_BYTES);
        for ((block, expect), entries) in blocks.iter().zip(REQUEST_FIELDS).zip(REQUEST_TABLES) {
            assert_eq!(fields(&mut decoder, &bytes(block)).unwrap(), expect, "{block}");
            assert_eq!(table(&mut decoder), entries, "{block}");
        }
    }
    for blocks in ANSWERS {
        let mut decoder = Decoder::new(TABLE_BYTES);
        assert!(fields(&mut decoder, &bytes(SIZE_256)).unwrap().is_empty());
        for ((block, expect), entries) in blocks.iter().zip(ANSWER_FIELDS).zip(ANSWER_TABLES) {
            assert_eq!(fields(&mut decoder, &bytes(block)).unwrap(), expect, "{block}");
            assert_eq!(table(&mut decoder), entries, "{block}");
        }
    }
}

#[test]
fn the_examples_of_the_rfc_are_written() {
    let mut encoder = Encoder::new();
    for (block, expect) in REQUEST_FIELDS.iter().zip(REQUESTS[1]) {
        assert_eq!(hex::encode(written(&mut encoder, block)), hex::encode(bytes(expect)), "{block:?}");
    }
    let mut encoder = Encoder::new();
    encoder.set_table_bytes_max(256);
    let mut size = bytes(SIZE_256);
    for (block, expect) in ANSWER_FIELDS.iter().zip(ANSWERS[1]) {
        // What Huffman's code makes no shorter we leave as it is.
        size.extend_from_slice(&bytes(&expect.replace("83 640e ff", "03 3330 37")));
        assert_eq!(hex::encode(written(&mut encoder, block)), hex::encode(&size), "{block:?}");
        size.clear();
    }
}

/// A block in which all fields may be indexed.
fn written(encoder: &mut Encoder, block: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin(&mut out);
    for field in block {
        match field[1..].split_once(": ") {
            Some(("status", code)) => encoder.status(code.parse().unwrap(), &mut out),
            Some((name, value)) => {
                let name = [&field[..1], name].concat();
                encoder.field(name.as_bytes(), value.as_bytes(), Indexing::Table, &mut out);
            }
            None => unreachable!("{field}"),
        }
    }
    out
}

/// Blocks of an independent encoder: see the head of the file.
#[test]
fn a_peer_is_read() {
    let mut decoder = Decoder::new(TABLE_BYTES);
    let mut given = VecDeque::new();
    for line in include_str!("../../testdata/hpack.txt").lines() {
        match line.split_once(' ') {
            Some(("field", field)) => assert_eq!(given.pop_front().as_deref(), Some(field)),
            Some(("block", block)) => {
                assert_eq!(given.pop_front(), None);
                given = fields(&mut decoder, &bytes(block)).unwrap().into();
            }
            Some(("connection", _)) => decoder = Decoder::new(TABLE_BYTES),
            Some(("#", _)) => {}
            _ => panic!("{line}"),
        }
    }
    assert_eq!(given.pop_front(), None);
}

#[test]
fn what_breaks_the_format_ends_the_connection() {
    for (what, block, expect) in [
        ("number 0", "80", HpackError::UnknownField),
        ("a number behind both tables", "be", HpackError::UnknownField),
        ("the name of number 62 of an empty table", "7e 00", HpackError::UnknownField),
        ("a number of several octets", "ff 00", HpackError::UnknownField),
        ("a number that is cut off", "ff", HpackError::CutShort),
        ("a number that is cut off behind its second octet", "ff 80", HpackError::CutShort),
        ("a number of six octets", "ff 80 80 80 80 00", HpackError::IntegerTooLong),
        ("a number that has no end", "ff ff ff ff ff ff ff ff ff ff ff", HpackError::IntegerTooLong),
        ("a name without a value", "40 01 61", HpackError::CutShort),
        ("a name that is cut off", "40 02 61", HpackError::CutShort),
        ("a value that is cut off", "00 01 61 02 62", HpackError::CutShort),
        ("a length of six octets", "00 7f 80 80 80 80 00 61", HpackError::IntegerTooLong),
        ("a length of 2^28", "00 7f ff ff ff 7f 61", HpackError::CutShort),
        // §5.2: "1" is 00001, and the rest of its octet ones.
        ("padding with zeros", "00 01 61 81 08", HpackError::BadHuffman),
        ("padding with a zero at its end", "00 01 61 81 0e", HpackError::BadHuffman),
        ("padding of eight bits", "00 01 61 81 ff", HpackError::BadHuffman),
        ("padding of eleven bits", "00 01 61 82 0f ff", HpackError::BadHuffman),
        ("the end of a string, whole", "00 01 61 84 ff ff ff ff", HpackError::BadHuffman),
        ("the end of a string inside it", "00 01 61 85 0f ff ff ff ff", HpackError::BadHuffman),
        ("the end of a string far from the block's", "00 01 61 89 ff ff ff ff ff ff ff ff ff", HpackError::BadHuffman),
        ("a code that is cut off", "00 01 61 82 ff fe", HpackError::BadHuffman),
        ("a name that breaks the code", "00 81 08 01 61", HpackError::BadHuffman),
        ("a size behind a field", "82 20", HpackError::MisplacedSize),
        ("three sizes", "20 21 22", HpackError::MisplacedSize),
        ("a size above the settings'", "3f e2 1f", HpackError::SizeTooLarge),
        ("a size that is cut off", "3f", HpackError::CutShort),
        ("a size without end", "3f 80 80 80 80 80 00", HpackError::IntegerTooLong),
    ] {
        let mut decoder = Decoder::new(TABLE_BYTES);
        assert_eq!(fields(&mut decoder, &bytes(block)), Err(expect), "{what}");
    }
}

#[test]
fn what_looks_odd_and_is_right() {
    for (what, block, expect) in [
        ("nothing", "", &[][..]),
        ("two sizes", "20 3f e1 1f", &[]),
        ("C.1.1, C.1.2: sizes of 10 and 1,337", "2a 3f 9a 0a", &[]),
        ("an integer with zeros in front", "3f 80 80 80 00 82", &[":method: GET"]),
        ("empty name and value", "00 00 00", &[": "]),
        ("an empty string in Huffman's code", "00 80 80", &[": "]),
        ("padding of seven bits", "00 01 61 84 08 42 10 ff", &["a: 11111"]),
        ("a literal with the name of a static field", "01 01 61", &[":authority: a"]),
        ("never indexed", "11 01 61", &[":authority: a"]),
        ("the table that holds just one field", "3f 03 40 01 61 01 62 be", &["a: b", "a: b"]),
    ] {
        let mut decoder = Decoder::new(TABLE_BYTES);
        assert_eq!(fields(&mut decoder, &bytes(block)).unwrap(), expect, "{what}");
    }
}

/// RFC 7541 §4.2–§4.4.
#[test]
fn the_table_drops_the_oldest() {
    let mut decoder = Decoder::new(TABLE_BYTES);
    let mut block = |block: &str| {
        fields(&mut decoder, &bytes(block)).unwrap();
        table(&mut decoder)
    };
    // Room for two fields of 34 octets.
    assert!(block("3f 25").is_empty());
    assert_eq!(block("40 01 61 01 31 40 01 62 01 32"), ["b: 2", "a: 1"]);
    assert_eq!(block("40 01 63 01 33"), ["c: 3", "b: 2"]);
    // The name is that of the field which has to go.
    assert_eq!(block("7f 00 01 34"), ["b: 4", "c: 3"]);
    assert_eq!(block("7f 00 04 3132 3334"), ["c: 1234"]);
    // What is larger than all of it is a field, and empties it.
    assert!(block(&format!("40 01 64 28 {}", "61".repeat(40))).is_empty());
    assert_eq!(block("40 01 61 01 31 40 01 62 01 32"), ["b: 2", "a: 1"]);
    assert_eq!(block("3f 06"), ["b: 2"]);
    assert!(block("20").is_empty());
    assert!(block("40 01 61 01 31").is_empty());
    assert_eq!(block(&format!("{SIZE_4096} 40 01 61 01 31")), ["a: 1"]);
}

#[test]
fn a_list_that_is_too_large_keeps_the_table_in_step() {
    let mut decoder = Decoder::new(TABLE_BYTES);
    let mut decode = |block: &str, list_bytes_max| {
        let mut given = 0;
        let list = decoder.decode(&bytes(block), list_bytes_max, |_, _| given += 1).unwrap();
        (list, given)
    };
    let size = field_bytes(b"a", b"1");
    assert_eq!(decode("40 01 61 01 31 40 01 62 01 32 82", 2 * size), (List::TooLarge, 2));
    assert_eq!(decode("be bf", 2 * size), (List::Whole, 2));
    assert_eq!(decode("be bf", 2 * size - 1), (List::TooLarge, 1));
    // What would have fit behind one that does not is not given.
    assert_eq!(decode("00 01 61 02 62 63 be", size), (List::TooLarge, 0));
    assert_eq!(table(&mut decoder), ["b: 2", "a: 1"]);
}

/// Two octets that ask for a copy of four thousand: some, and not a whole block of them.
#[test]
fn names_are_not_copied_without_end() {
    let decode = |name: &[u8], again: &[u8], times: usize| {
        let mut decoder = Decoder::new(TABLE_BYTES);
        let mut length = vec![name.len().min(127) as u8];
        if let Some(more @ 128..) = name.len().checked_sub(127) {
            length.extend([0x80 | (more % 128) as u8, (more / 128) as u8]);
        }
        fields(&mut decoder, &[&[0x40], &length[..], name, &[0]].concat()).unwrap();
        // What may be given has no part in it.
        decoder.decode(&again.repeat(times), 100, |_, _| {})
    };
    let long = [b'x'; 4060];
    assert_eq!(decode(&long, &[0x7e, 0], 16), Ok(List::TooLarge));
    assert_eq!(decode(&long, &[0x7e, 0], 17), Err(HpackError::TooManyCopies));
    assert_eq!(decode(&long, &[0x7e, 0], 32 * 1024), Err(HpackError::TooManyCopies));
    // No copies: the field itself, and its name for one that is not kept.
    assert_eq!(decode(&long, &[0xbe], 64 * 1024), Ok(List::TooLarge));
    assert_eq!(decode(&long, &[0x0f, 47, 0], 20 * 1024), Ok(List::TooLarge));
    // Names as they are, each with another value.
    assert_eq!(decode(b"x-request-id", b"\x7e\x047abc", 12 * 1024), Ok(List::TooLarge));
}

#[test]
fn a_peers_table_is_followed() {
    let mut encoder = Encoder::new();
    let field = &["server: bartizan"][..];
    let literal = written(&mut encoder, field);
    assert_eq!(hex::encode(written(&mut encoder, field)), "be");
    let (kept, said) = ("be".to_owned(), hex::encode(&literal[1..]));
    for (sizes, expect) in [
        // What is as it was, or more than we use, is not spoken of.
        (&[4096][..], kept.clone()),
        (&[65_536], kept.clone()),
        (&[1 << 30, 4096], kept.clone()),
        // §4.2: the least in between, and the last.
        (&[0, 4096], format!("20 {SIZE_4096} 76 {said}")),
        (&[256, 4096], format!("{SIZE_256} {SIZE_4096} be")),
        (&[4096, 256, 300], format!("{SIZE_256} 3f8d02 be")),
        (&[4096], format!("{SIZE_4096} be")),
        (&[0], format!("20 0f27 {said}")),
        (&[], format!("0f27 {said}")),
    ] {
        for size in sizes {
            encoder.set_table_bytes_max(*size);
        }
        assert_eq!(hex::encode(written(&mut encoder, field)), expect.replace(' ', ""), "{sizes:?}");
    }
}

#[test]
fn what_the_table_does_with_a_field() {
    let mut encoder = Encoder::new();
    let mut write = |name: &str, value: &str, indexing| {
        let mut out = Vec::new();
        encoder.field(name.as_bytes(), value.as_bytes(), indexing, &mut out);
        hex::encode(out)
    };
    for (name, value, indexing, expect) in [
        ("content-length", "7", Indexing::Literal, "0f0d0137"),
        ("content-length", "7", Indexing::Literal, "0f0d0137"),
        ("set-cookie", "a", Indexing::Never, "1f280161"),
        ("set-cookie", "a", Indexing::Never, "1f280161"),
        ("x-a", "1", Indexing::Never, "1003782d610131"),
        ("x-a", "1", Indexing::Literal, "0003782d610131"),
        (":method", "POST", Indexing::Table, "83"),
        (":path", "/index.html", Indexing::Table, "85"),
        ("accept-encoding", "gzip, deflate", Indexing::Table, "90"),
        ("vary", "", Indexing::Table, "bb"),
        ("x-a", "1", Indexing::Table, "4003782d610131"),
        ("x-a", "1", Indexing::Table, "be"),
        ("x-a", "2", Indexing::Table, "4003782d610132"),
        ("x-a", "1", Indexing::Table, "bf"),
    ] {
        assert_eq!(write(name, value, indexing), expect, "{name}: {value} {indexing:?}");
    }
    // More than half of the table is never kept.
    let large = "z".repeat(TABLE_BYTES / 2);
    assert!(write("x-a", &large, Indexing::Table).starts_with("00"));
    assert_eq!(write("x-a", "1", Indexing::Table), "bf");
}

/// Every name of the static table is found, and by the number of its first field.
#[test]
fn names_of_the_static_table() {
    let mut seen = Vec::new();
    for number in 1..=61_u8 {
        let field = fields(&mut Decoder::new(TABLE_BYTES), &[0x80 | number]).unwrap().remove(0);
        let name = field[..1].to_owned() + field[1..].split(':').next().unwrap();
        if seen.contains(&name) {
            continue;
        }
        let mut out = Vec::new();
        Encoder::new().field(name.as_bytes(), b"no such value", Indexing::Literal, &mut out);
        let expect = if number < 15 { vec![number] } else { vec![0x0f, number - 15] };
        assert!(out.starts_with(&expect), "{name}");
        let again = fields(&mut Decoder::new(TABLE_BYTES), &out).unwrap();
        assert_eq!(again, [format!("{name}: no such value")]);
        seen.push(name);
    }
    assert_eq!(seen.len(), 52);
}

/// A name or a value: some that come again, and any bytes.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-d]".prop_map(String::into_bytes),
        "(server|date|:status|x-frame-options|200|gzip)".prop_map(String::into_bytes),
        "[ -~]{0,80}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..300),
    ]
}

fn indexing() -> impl Strategy<Value = Indexing> {
    prop_oneof![4 => Just(Indexing::Table), 1 => Just(Indexing::Literal), 1 => Just(Indexing::Never)]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        blocks in prop::collection::vec(
            (
                prop::collection::vec(0_usize..6_000, 0..3),
                prop::option::of(100_u16..600),
                prop::collection::vec((text(), text(), indexing()), 0..12),
            ),
            1..20,
        ),
    ) {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(TABLE_BYTES));
        for (sizes, status, list) in blocks {
            sizes.iter().for_each(|size| encoder.set_table_bytes_max(*size));
            let (mut block, mut expect) = (Vec::new(), Vec::new());
            encoder.begin(&mut block);
            if let Some(code) = status {
                encoder.status(code, &mut block);
                expect.push((b":status".to_vec(), code.to_string().into_bytes()));
            }
            for (name, value, indexing) in list {
                encoder.field(&name, &value, indexing, &mut block);
                expect.push((name, value));
            }
            let mut given = Vec::new();
            let list = decoder.decode(&block, LIST_BYTES_MAX, |name, value| given.push((name.to_vec(), value.to_vec())));
            prop_assert_eq!(list, Ok(List::Whole));
            prop_assert_eq!(given, expect);
        }
    }

    #[test]
    fn any_bytes_are_fields_or_an_error(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..5)) {
        let mut decoder = Decoder::new(TABLE_BYTES);
        for block in blocks {
            let mut bytes = 0;
            let _ = decoder.decode(&block, 1_000, |name, value| bytes += field_bytes(name, value));
            prop_assert!(bytes <= 1_000);
        }
    }
}
