//! What the API is told before it commits.

use bartizan_model::Record;
use bartizan_publish::check;

use crate::lab::{name, record};

#[test]
fn what_cannot_stand_together() {
    let apex = bartizan_names::ZoneName::new(name("example.com")).unwrap();
    for (records, expect) in [
        (vec!["www A 192.0.2.1", "www A 192.0.2.2"], "ok"),
        (vec!["www CNAME a.example.net"], "ok"),
        (vec!["www CNAME a.example.net", "www A 192.0.2.1"], "CnameNotAlone"),
        (vec!["www CNAME a.example.net", "www CNAME b.example.net"], "CnameNotAlone"),
        (vec!["@ CNAME a.example.net"], "ok"),
        (vec!["@ CNAME a.example.net", "@ TXT hello", "@ NS ns.example.net"], "ok"),
        (vec!["@ CNAME a.example.net", "@ A 192.0.2.1"], "CnameNotAlone"),
        (vec!["@ CNAME a.example.net", "@ CNAME b.example.net"], "CnameNotAlone"),
        (vec!["sub DNAME a.example.net"], "ok"),
        (vec!["sub DNAME a.example.net", "sub DNAME b.example.net"], "DnameTwice"),
        (vec!["sub DNAME a.example.net", "sub NS ns.example.net"], "DnameBesideNs"),
        (vec!["@ DNAME a.example.net", "@ NS ns.example.net"], "ok"),
        (vec!["sub DNAME a.example.net", "sub CNAME b.example.net"], "CnameNotAlone"),
        (vec!["sub DNAME a.example.net", "sub A 192.0.2.1"], "ok"),
        (vec!["@ CNAME a.example.net proxied"], "ok"),
        (vec!["@ CNAME a.example.net proxied", "@ TXT hello"], "ok"),
        (vec!["www CNAME a.example.net", "www TXT hello"], "CnameNotAlone"),
        (vec!["www TXT hello", "www CNAME a.example.net"], "CnameNotAlone"),
        (vec!["www CNAME a.example.net proxied", "www TXT hello", "www TXT more"], "ok"),
        (vec!["www TXT more", "www TXT hello", "www CNAME a.example.net proxied"], "ok"),
        (vec!["www CNAME a.example.net proxied", "www A 192.0.2.1 proxied"], "CnameNotAlone"),
        (vec!["www CNAME a.example.net proxied", "www CNAME b.example.net proxied"], "CnameNotAlone"),
        (vec!["www CNAME a.example.net proxied", "www NS ns.example.net"], "CnameNotAlone"),
        (vec!["@ CNAME a.example.net proxied", "@ NS ns.example.net"], "ok"),
        (vec!["@ CNAME a.example.net proxied", "@ AAAA 2001:db8::1 proxied"], "CnameNotAlone"),
        (vec!["www A 192.0.2.1 proxied", "www A 192.0.2.2"], "ProxiedInPart"),
        (vec!["www A 192.0.2.1 proxied", "www TXT hello"], "ok"),
        (vec!["sub TXT hello", "sub DS 1_13_99_ab"], "DsAlone"),
        (vec!["sub DS 1_13_99_ab", "sub NS ns.example.net"], "ok"),
    ] {
        let parsed: Vec<Record> = records.iter().zip(1..).map(|(words, number)| record(number, words)).collect();
        let verdict = match check(&apex, &parsed) {
            Ok(()) => "ok".to_owned(),
            Err(refused) => format!("{refused:?}").split(' ').next().unwrap_or_default().to_owned(),
        };
        assert_eq!(verdict, expect, "{records:?}");
    }
}
