use bartizan_v4::RecordBody;
use proptest::prelude::*;

use super::field::{Kind, Value};
use super::form::FORMS;
use super::*;

fn apex() -> Name {
    Name::parse("example.com").unwrap()
}

fn parse(body: &str) -> Result<RecordData, DataError> {
    let body: RecordBody = serde_json::from_str(body).unwrap();
    let given = Given {
        content: body.content.value().map(String::as_str),
        data: body.data.value(),
        priority: body.priority.value().map(|number| number.0),
        apex: &apex(),
    };
    RecordData::parse(body.kind.value().unwrap(), &given)
}

/// `data` reads what it writes, in each of its forms.
fn reads_back(data: &RecordData) {
    let kind = data.rtype().to_string();
    let (content, fields, apex) = (data.content(), data.fields(), apex());
    let given =
        |content, fields| Given { content, data: fields, priority: data.priority().map(i64::from), apex: &apex };
    assert_eq!(RecordData::parse(&kind, &given(Some(&content), None)).as_ref(), Ok(data), "{content}");
    if let Some(fields) = &fields {
        let sent = serde_json::from_str(&serde_json::to_string(fields).unwrap()).unwrap();
        assert_eq!(RecordData::parse(&kind, &given(None, Some(&sent))).as_ref(), Ok(data), "{sent:?}");
    }
    let text = data.presentation();
    assert_eq!(RecordData::from_presentation(data.rtype(), &text, &apex).as_ref(), Ok(data), "{text}");
    let wire = data.rdata();
    assert_eq!(RecordData::from_wire(data.rtype(), &wire).as_ref(), Some(data), "{text}");
    let generic = format!(r"\# {} {}", wire.len(), hex::encode(&wire));
    assert_eq!(RecordData::from_presentation(data.rtype(), &generic, &apex).as_ref(), Ok(data), "{text}");
}

/// The octets are those of dnspython for the same text.
#[test]
fn every_type_in_all_its_forms() {
    let digest = "2bb183af5f22588179a53b0a98631fad1a292118aa4ff5a7a4b0f2c9a3f2a1c7";
    for (body, content, data, presentation, wire) in [
        (
            r#"{"type":"SRV","data":{"priority":"1","weight":2,"port":"5060.0","target":"SIP.example.com."}}"#,
            "1 2 5060 sip.example.com",
            r#"{"priority":1,"weight":2,"port":5060,"target":"sip.example.com"}"#,
            "1 2 5060 sip.example.com.",
            "0001000213c403736970076578616d706c6503636f6d00".to_owned(),
        ),
        (r#"{"type":"MX","content":".","priority":0}"#, ".", "-", "0 .", "000000".to_owned()),
        (
            r#"{"type":"PTR","content":"@"}"#,
            "example.com",
            "-",
            "example.com.",
            "076578616d706c6503636f6d00".to_owned(),
        ),
        (r#"{"type":"NS","content":"ns.a"}"#, "ns.a", "-", "ns.a.", "026e73016100".to_owned()),
        (r#"{"type":"DNAME","content":"Other.A."}"#, "other.a", "-", "other.a.", "056f74686572016100".to_owned()),
        (
            r#"{"type":"CDS","content":"0 0 0 00"}"#,
            "0 0 0 00",
            r#"{"key_tag":0,"algorithm":0,"digest_type":0,"digest":"00"}"#,
            "0 0 0 00",
            "0000000000".to_owned(),
        ),
        (
            r#"{"type":"CDNSKEY","data":{"flags":0,"protocol":3,"algorithm":0,"public_key":"AA=="}}"#,
            "0 3 0 AA==",
            r#"{"flags":0,"protocol":3,"algorithm":0,"public_key":"AA=="}"#,
            "0 3 0 AA==",
            "0000030000".to_owned(),
        ),
        (r#"{"type":"TYPE65280","content":"\\# 3 AB cdEF"}"#, r"\# 3 abcdef", "-", r"\# 3 abcdef", "abcdef".to_owned()),
        (r#"{"type":"TYPE13","content":"\\# 0"}"#, r"\# 0", "-", r"\# 0", String::new()),
        (
            r#"{"type":"CAA","data":{"flags":128,"tag":"Issue","value":"ca.example; x=\"y\""}}"#,
            r#"128 issue "ca.example; x=\"y\"""#,
            r#"{"flags":128,"tag":"issue","value":"ca.example; x=\"y\""}"#,
            r#"128 issue "ca.example; x=\"y\"""#,
            "8005697373756563612e6578616d706c653b20783d227922".to_owned(),
        ),
        (
            r#"{"type":"HTTPS","data":{"priority":1,"target":".","value":" port=443 alpn=\"h3,h2\" ipv4hint=\"192.0.2.1\""}}"#,
            r#"1 . alpn="h3,h2" port="443" ipv4hint="192.0.2.1""#,
            r#"{"priority":1,"target":".","value":"alpn=\"h3,h2\" port=\"443\" ipv4hint=\"192.0.2.1\""}"#,
            r#"1 . alpn="h3,h2" port="443" ipv4hint="192.0.2.1""#,
            "000100000100060268330268320003000201bb00040004c0000201".to_owned(),
        ),
        (
            r#"{"type":"SVCB","content":"SVCB 0 svc.example.net"}"#,
            "0 svc.example.net.",
            r#"{"priority":0,"target":"svc.example.net.","value":""}"#,
            "0 svc.example.net.",
            "000003737663076578616d706c65036e657400".to_owned(),
        ),
        (
            &format!(
                r#"{{"type":"TLSA","data":{{"usage":3,"selector":1,"matching_type":1,"certificate":"{}"}}}}"#,
                digest.to_uppercase()
            ),
            &format!("3 1 1 {digest}"),
            &format!(r#"{{"usage":3,"selector":1,"matching_type":1,"certificate":"{digest}"}}"#),
            &format!("3 1 1 {digest}"),
            format!("030101{digest}"),
        ),
        (
            r#"{"type":"SMIMEA","content":"3 0 0 aB cd"}"#,
            "3 0 0 abcd",
            r#"{"usage":3,"selector":0,"matching_type":0,"certificate":"abcd"}"#,
            "3 0 0 abcd",
            "030000abcd".to_owned(),
        ),
        (
            &format!(r#"{{"type":"SSHFP","data":{{"algorithm":4,"type":2,"fingerprint":"{digest}"}}}}"#),
            &format!("4 2 {digest}"),
            &format!(r#"{{"algorithm":4,"type":2,"fingerprint":"{digest}"}}"#),
            &format!("4 2 {digest}"),
            format!("0402{digest}"),
        ),
        (
            &format!(r#"{{"type":"DS","content":"60485 ECDSAP256SHA256 2 {digest}"}}"#),
            &format!("60485 13 2 {digest}"),
            &format!(r#"{{"key_tag":60485,"algorithm":13,"digest_type":2,"digest":"{digest}"}}"#),
            &format!("60485 13 2 {digest}"),
            format!("ec450d02{digest}"),
        ),
        (
            r#"{"type":"DNSKEY","data":{"flags":257,"protocol":3,"algorithm":15,"public_key":"bDts /tc="}}"#,
            "257 3 15 bDts/tc=",
            r#"{"flags":257,"protocol":3,"algorithm":15,"public_key":"bDts/tc="}"#,
            "257 3 15 bDts/tc=",
            "0101030f6c3b6cfed7".to_owned(),
        ),
        (
            r#"{"type":"CERT","content":"PKIX 12345 RSASHA256 bDts/tc="}"#,
            "1 12345 8 bDts/tc=",
            r#"{"type":1,"key_tag":12345,"algorithm":8,"certificate":"bDts/tc="}"#,
            "1 12345 8 bDts/tc=",
            "00013039086c3b6cfed7".to_owned(),
        ),
        (
            r#"{"type":"NAPTR","data":{"order":100,"preference":"10","flags":"S","service":"SIP+D2U","regex":"!^.*$!\\1!","replacement":"a.example"}}"#,
            r#"100 10 "S" "SIP+D2U" "!^.*$!\\1!" a.example."#,
            r#"{"order":100,"preference":10,"flags":"S","service":"SIP+D2U","regex":"!^.*$!\\1!","replacement":"a.example."}"#,
            r#"100 10 "S" "SIP+D2U" "!^.*$!\\1!" a.example."#,
            "0064000a0153075349502b44325509215e2e2a24215c31210161076578616d706c6500".to_owned(),
        ),
        (
            r#"{"type":"NAPTR","data":{"order":1,"preference":2,"flags":"\"U\"","replacement":"."}}"#,
            r#"1 2 "U" "" "" ."#,
            r#"{"order":1,"preference":2,"flags":"U","service":"","regex":"","replacement":"."}"#,
            r#"1 2 "U" "" "" ."#,
            "000100020155000000".to_owned(),
        ),
        (
            r#"{"type":"URI","priority":10,"data":{"weight":20,"target":"https://example.com/a b"}}"#,
            r#"20 "https://example.com/a b""#,
            r#"{"weight":20,"target":"https://example.com/a b"}"#,
            r#"10 20 "https://example.com/a b""#,
            "000a001468747470733a2f2f6578616d706c652e636f6d2f612062".to_owned(),
        ),
        (r#"{"type":"OPENPGPKEY","content":"bDts/tc="}"#, "bDts/tc=", "-", "bDts/tc=", "6c3b6cfed7".to_owned()),
        (
            r#"{"type":"LOC","data":{"lat_degrees":31,"lat_minutes":58,"lat_seconds":52.1,"lat_direction":"s","long_degrees":"115","long_minutes":49,"long_seconds":"11.7","long_direction":"E","altitude":20,"size":10,"precision_horz":10.0,"precision_vert":2}}"#,
            "31 58 52.100 S 115 49 11.700 E 20.00m 10.00m 10.00m 2.00m",
            r#"{"lat_degrees":31,"lat_minutes":58,"lat_seconds":52.1,"lat_direction":"S","long_degrees":115,"long_minutes":49,"long_seconds":11.7,"long_direction":"E","altitude":20,"size":10,"precision_horz":10,"precision_vert":2}"#,
            "31 58 52.100 S 115 49 11.700 E 20.00m 10.00m 10.00m 2.00m",
            "001313227923393c98da2d9400989e50".to_owned(),
        ),
        (
            r#"{"type":"LOC","content":"IN LOC 37 46 46 N 122 23 35 W 0m 100m 0m 0m"}"#,
            "37 46 46.000 N 122 23 35.000 W 0.00m 100.00m 0.00m 0.00m",
            r#"{"lat_degrees":37,"lat_minutes":46,"lat_seconds":46,"lat_direction":"N","long_degrees":122,"long_minutes":23,"long_seconds":35,"long_direction":"W","altitude":0,"size":100,"precision_horz":0,"precision_vert":0}"#,
            "37 46 46.000 N 122 23 35.000 W 0.00m 100.00m 0.00m 0.00m",
            "00140000881b497065bcbfa800989680".to_owned(),
        ),
        (r#"{"type":"TXT","content":"a"}"#, r#""a""#, "-", r#""a""#, "0161".to_owned()),
    ] {
        let parsed = parse(body).unwrap_or_else(|error| panic!("{body}: {error}"));
        let fields = parsed.fields().map_or_else(|| "-".to_owned(), |data| serde_json::to_string(&data).unwrap());
        assert_eq!(
            (parsed.content().as_str(), fields.as_str(), parsed.presentation().as_str()),
            (content, data, presentation)
        );
        assert_eq!(hex::encode(parsed.rdata()), wire, "{presentation}");
        reads_back(&parsed);
    }
}

#[test]
fn faults_are_pointed_at() {
    for (body, pointer) in [
        (r#"{"type":"SOA","content":"a. b. 1 2 3 4 5"}"#, "/type"),
        (r#"{"type":"SPF","content":"v=spf1"}"#, "/type"),
        (r#"{"type":"TYPE65535","content":"\\# 0"}"#, "/type"),
        (r#"{"type":"TYPE0","content":"\\# 0"}"#, "/type"),
        (r#"{"type":"TYPE250","content":"\\# 0"}"#, "/type"),
        (r#"{"type":"TYPE17","content":"\\# 2 0000"}"#, "/type"),
        (r#"{"type":"NSEC","content":"\\# 1 00"}"#, "/type"),
        (r#"{"type":"TYPE65280","content":"\\# 1"}"#, "/content"),
        (r#"{"type":"CDS","content":"1 13 2 ab"}"#, "/content"),
        (r#"{"type":"URI","data":{"weight":1,"target":"x"}}"#, "/priority"),
        (r#"{"type":"URI","priority":1,"data":{"weight":1}}"#, "/data/target"),
        (r#"{"type":"URI","priority":1,"data":{"weight":1,"target":""}}"#, "/data/target"),
        (r#"{"type":"URI","priority":1,"content":"1 \"\""}"#, "/content"),
        (r#"{"type":"URI","priority":1,"content":"x y z"}"#, "/content"),
        (r#"{"type":"NAPTR","data":{"order":1,"preference":2,"flags":3,"replacement":"."}}"#, "/data/flags"),
        (r#"{"type":"NAPTR","data":{"order":1,"preference":2,"flags":"S"}}"#, "/data/replacement"),
        (r#"{"type":"DS","data":{"key_tag":1,"algorithm":13,"digest_type":2,"digest":"abcd"}}"#, "/data/digest"),
        (r#"{"type":"DS","data":{"key_tag":1,"algorithm":13,"digest_type":9,"digest":"abc"}}"#, "/data/digest"),
        (r#"{"type":"DS","content":"1 13 2 abcd"}"#, "/content"),
        (r#"{"type":"DS","data":{"key_tag":65536,"algorithm":13,"digest_type":9,"digest":"ab"}}"#, "/data/key_tag"),
        (r#"{"type":"DNSKEY","data":{"flags":1,"protocol":3,"algorithm":13,"public_key":"?"}}"#, "/data/public_key"),
        (r#"{"type":"CERT","data":{"type":1,"key_tag":1,"algorithm":256,"certificate":"YQ=="}}"#, "/data/algorithm"),
        (
            r#"{"type":"TLSA","data":{"usage":3,"selector":1,"matching_type":1,"certificate":"ab"}}"#,
            "/data/certificate",
        ),
        (r#"{"type":"SSHFP","data":{"algorithm":1,"type":1,"fingerprint":""}}"#, "/data/fingerprint"),
        (r#"{"type":"HTTPS","data":{"priority":1,"target":".","value":"alpn="}}"#, "/data/value"),
        (r#"{"type":"HTTPS","data":{"priority":1,"value":""}}"#, "/data/target"),
        (r#"{"type":"HTTPS","content":"x . alpn=h2"}"#, "/content"),
        (
            r#"{"type":"LOC","data":{"lat_degrees":91,"lat_direction":"N","long_degrees":1,"long_direction":"E"}}"#,
            "/data/lat_degrees",
        ),
        (r#"{"type":"LOC","data":{"lat_direction":"N","long_degrees":1,"long_direction":"E"}}"#, "/data/lat_degrees"),
        (
            r#"{"type":"LOC","data":{"lat_degrees":1,"lat_direction":"X","long_degrees":1,"long_direction":"E"}}"#,
            "/data/lat_direction",
        ),
        (
            r#"{"type":"LOC","data":{"lat_degrees":1,"lat_direction":"N","long_degrees":1,"long_seconds":60,"long_direction":"E"}}"#,
            "/data/long_seconds",
        ),
        (
            r#"{"type":"LOC","data":{"lat_degrees":1,"lat_direction":"N","long_degrees":1,"long_direction":"E","size":-1}}"#,
            "/data/size",
        ),
        (
            r#"{"type":"LOC","data":{"lat_degrees":1,"lat_direction":"N","long_degrees":1,"long_direction":"E","altitude":1e300}}"#,
            "/data/altitude",
        ),
        (r#"{"type":"OPENPGPKEY","content":"="}"#, "/content"),
        (r#"{"type":"PTR","content":""}"#, "/content"),
        (r#"{"type":"MX","content":"10 a","priority":1}"#, "/content"),
    ] {
        assert_eq!(parse(body).map_err(|error| error.pointer()), Err(pointer.to_owned()), "{body}");
    }
}

#[test]
fn text_of_master_files() {
    for (rtype, text, expect) in [
        (RecordType::MX, "10 mail", "10 mail.example.com."),
        (RecordType::CNAME, "www", "www.example.com."),
        (RecordType::TXT, r#"a "b c" d"#, r#""a" "b c" "d""#),
        (RecordType::TXT, r#""a""b""#, r#""a" "b""#),
        (RecordType::CAA, "0 issue ca.example", r#"0 issue "ca.example""#),
        (RecordType::URI, r#"10 1 "ftp://a/""#, r#"10 1 "ftp://a/""#),
        (RecordType::SVCB, "1 svc alpn=h2", r#"1 svc.example.com. alpn="h2""#),
        (RecordType::A, r"\# 4 c000 0201", "192.0.2.1"),
        (RecordType::NAPTR, "1 2 u E2U+sip !^.*$!sip:a@b! .", r#"1 2 "u" "E2U+sip" "!^.*$!sip:a@b!" ."#),
        (RecordType::LOC, "52 N 4 E 0", "52 0 0.000 N 4 0 0.000 E 0.00m 1.00m 10000.00m 10.00m"),
        (RecordType::A, r"\# 5 c0000201", "error"),
        (RecordType::A, "192.0.2.1 x", "error"),
        (RecordType::MX, "mail", "error"),
        (RecordType::CAA, "0 issue a b", "error"),
        (RecordType::TXT, r#""a"#, "error"),
        (RecordType::SOA, "a. b. 1 2 3 4 5", "error"),
    ] {
        let shown = RecordData::from_presentation(rtype, text, &apex()).map(|data| data.presentation());
        assert_eq!(shown.as_deref().unwrap_or("error"), expect, "{rtype} {text}");
    }
}

/// What is wrong is said, and not only that something is.
#[test]
fn errors_name_the_fault() {
    for (rtype, text, expect) in [
        (RecordType(65_535), r"\# 4 0A000001", "records of type TYPE65535 are not kept here"),
        (RecordType(255), "x", "records of type ANY are not kept here"),
        (RecordType(65_280), "x", "of type TYPE65280 is its octets"),
        (RecordType::HINFO, r#""a" "b""#, "of type HINFO is its octets"),
        (RecordType::SOA, r"\# 0", "SOA record of a zone is made by the edge"),
        (RecordType::A, r"\# 5 c0000201", "its length and as many octets"),
        (RecordType::SVCB, "1 foo. alpn=h2 alpn=h3", "have the key alpn twice"),
        (RecordType::HTTPS, "1 . port=1 key3=2", "have the key port twice"),
        (RecordType::SVCB, "1 alpn alpn=", r#"must be "priority target value""#),
    ] {
        let error = RecordData::from_presentation(rtype, text, &apex()).unwrap_err().to_string();
        assert!(error.contains(expect), "{rtype} {text}: {error}");
    }
    let given = Given { content: Some("1 foo. alpn=h2 alpn=h3"), data: None, priority: None, apex: &apex() };
    let error = RecordData::parse("HTTPS", &given).unwrap_err().to_string();
    assert!(error.contains("the key alpn twice"), "{error}");
}

fn names() -> impl Strategy<Value = Name> {
    let label = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..12),
        prop::collection::vec(prop::sample::select(&b"@.\\\"*-_a; "[..]), 1..4),
    ];
    prop::collection::vec(label, 0..4)
        .prop_map(|labels| labels.iter().fold(Name::root(), |name, label| name.child(label).unwrap_or(name)))
}

fn params() -> impl Strategy<Value = Vec<u8>> {
    let octets = |range| prop::collection::vec(any::<u8>(), range);
    let values = (octets(1..9), octets(2..3), octets(1..9), octets(0..20), any::<[bool; 4]>());
    values.prop_map(|(alpn, port, ech, other, present)| {
        let mut wire = Vec::new();
        let mut push = |key: u16, value: &[u8]| {
            wire.extend(key.to_be_bytes());
            wire.extend((value.len() as u16).to_be_bytes());
            wire.extend(value);
        };
        let params = [(1, txt::length_and_bytes(&alpn)), (3, port), (5, ech), (800, other)];
        params.iter().zip(present).filter(|(_, present)| *present).for_each(|((key, value), _)| push(*key, value));
        wire
    })
}

fn value(kind: Kind) -> BoxedStrategy<Value> {
    let octets = |range| prop::collection::vec(any::<u8>(), range).prop_map(Value::Octets).boxed();
    match kind {
        Kind::U8(_) => (0..=255_u16).prop_map(Value::Number).boxed(),
        Kind::U16(_) => any::<u16>().prop_map(Value::Number).boxed(),
        Kind::Host | Kind::DottedHost => names().prop_map(Value::Name).boxed(),
        Kind::String => octets(0..256),
        Kind::Tag => "[a-z0-9]{1,15}".prop_map(|tag| Value::Octets(tag.into_bytes())).boxed(),
        Kind::Text => {
            prop_oneof![octets(0..300), "[ -~]{0,12}".prop_map(|text| Value::Octets(text.into_bytes())),].boxed()
        }
        Kind::Hex | Kind::Base64 => octets(1..100),
        Kind::Params => params().prop_map(Value::Octets).boxed(),
    }
}

fn composites() -> impl Strategy<Value = RecordData> {
    prop::sample::select(FORMS.iter().collect::<Vec<_>>()).prop_flat_map(|form| {
        let values: Vec<_> = form.fields.iter().map(|field| value(field.kind)).collect();
        values.prop_filter_map("what must hold between fields", |values| {
            let mut wire = Vec::new();
            form.fields.iter().zip(&values).for_each(|(field, value)| field.kind.push_wire(value, &mut wire));
            RecordData::from_wire(form.rtype, &wire)
        })
    })
}

proptest! {
    #[test]
    fn rows_of_fields_read_what_they_write(data in composites()) {
        reads_back(&data);
    }

    #[test]
    fn places_read_what_they_write(octets in any::<[u8; 15]>(), digits in any::<[u8; 3]>()) {
        let mut wire = [0; 16];
        wire[1..].copy_from_slice(&octets);
        digits.iter().enumerate().for_each(|(at, digit)| wire[at + 1] = (digit % 10) * 16 + octets[at] % 10);
        // Within ninety degrees of the middle.
        wire[4] = 0x70 | octets[3] & 0x0f;
        wire[8] = 0x70 | octets[7] & 0x1f;
        if let Some(data) = RecordData::from_wire(RecordType::LOC, &wire) {
            reads_back(&data);
        }
    }

    #[test]
    fn texts_read_what_they_write(strings in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..256), 1..5)) {
        reads_back(&RecordData::Txt(strings));
    }

    #[test]
    fn names_read_what_they_write(name in names()) {
        reads_back(&RecordData::Cname(name));
    }

    #[test]
    fn any_octets_are_survived(rtype in 0..300_u16, wire in prop::collection::vec(any::<u8>(), 0..64), text in "\\PC{0,40}") {
        if let Some(data) = RecordData::from_wire(RecordType(rtype), &wire) {
            reads_back(&data);
        }
        if let Ok(data) = RecordData::from_presentation(RecordType(rtype), &text, &apex()) {
            reads_back(&data);
        }
    }
}
