use std::collections::BTreeSet;

use bartizan_model::{RecordData, Ttl};
use bartizan_names::{RecordId, ZoneId};
use bartizan_v4::delegation::{Delegation, DelegationServer};
use serde_json::json;

use super::*;

/// `owner type data`, with `proxied` or a TTL behind a semicolon; owners are below `zone.test`, `@` is the apex.
fn record(text: &str) -> Record {
    let (text, more) = text.split_once(" ;").unwrap_or((text, ""));
    let mut words = text.splitn(3, ' ');
    let (owner, kind, data) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let apex = Name::parse("zone.test").unwrap();
    let owner = if owner == "@" { apex.clone() } else { Name::parse(&format!("{owner}.zone.test")).unwrap() };
    Record {
        id: RecordId::from_bytes([7; 16]),
        zone: ZoneId::from_bytes([7; 16]),
        owner,
        data: RecordData::from_presentation(kind.parse().unwrap(), data, &apex).unwrap(),
        ttl: Ttl::new(more.trim().parse().unwrap_or(300)).unwrap(),
        proxied: more.trim() == "proxied",
        origin_port: None,
    }
}

/// The rules that complain, each with the name it complains of.
fn complaints(records: &[&str]) -> BTreeSet<String> {
    let records: Vec<Record> = records.iter().map(|text| record(text)).collect();
    let apex = Name::parse("zone.test").unwrap();
    let servers = ["ns1.edge.test", "ns2.edge.test"].map(|name| Name::parse(name).unwrap());
    let findings = look(&View::new(&apex, &servers, &records));
    findings.iter().map(|finding| format!("{} {}", finding.rule, finding.owner)).collect()
}

#[test]
fn what_each_rule_complains_of() {
    const SPF: &str = "@ TXT \"v=spf1 mx -all\"";
    const DMARC: &str = "_dmarc TXT \"v=DMARC1; p=reject\"";
    let many = format!("@ TXT \"v=spf1 {} -all\"", "include:a.test ?a:b.test ".repeat(6));
    let alone = format!("sub DS 1 13 2 {}", "00".repeat(32));
    for (records, expect) in [
        // A zone that nobody complains of.
        (&[SPF, DMARC, "@ MX 10 mail", "mail A 192.88.99.1", "www CNAME zone.test.", "@ AAAA 2600::1"][..], &[][..]),
        (&[DMARC, "www A 9.9.9.9", "www A 9.9.9.10 ;600"], &["ttl-differs www.zone.test"]),
        (&[DMARC, "www A 9.9.9.9 ;60", "www AAAA 2600::1 ;600"], &[]),
        (&[DMARC, "www CNAME a.test.", "www TXT \"x\""], &["cname-beside-data www.zone.test"]),
        (&[DMARC, "www CNAME a.test. ;proxied", "www TXT \"x\""], &[]),
        (&[DMARC, "@ CNAME a.test.", "@ MX 0 ."], &[]),
        (&[DMARC, &alone], &["ds-alone sub.zone.test"]),
        // Delegations: one server, and no glue; below the cut nothing is this zone's.
        (&[DMARC, "sub NS ns.a.test."], &["one-server sub.zone.test"]),
        (&[DMARC, "sub NS ns.a.test.", "sub NS ns.sub"], &["glue-missing sub.zone.test"]),
        (&[DMARC, "sub NS ns.a.test.", "sub NS ns.sub", "ns.sub A 9.9.9.9"], &[]),
        (&[DMARC, "sub NS ns.a.test.", "sub NS ns.b.test.", "www CNAME deep.sub"], &[]),
        // Where things lead.
        (&[DMARC, "a CNAME b", "b CNAME a"], &["alias-loop a.zone.test", "alias-loop b.zone.test"]),
        (&[DMARC, "www CNAME gone"], &["target-missing www.zone.test"]),
        (&[DMARC, "www CNAME gone ;proxied"], &[]),
        (&[DMARC, "www CNAME deep.x", "*.x A 9.9.9.9"], &[]),
        (
            &[DMARC, "www CNAME b.x", "*.x A 9.9.9.9", "a.b.x A 9.9.9.9"],
            &["target-missing www.zone.test", "wildcard-shadowed b.x.zone.test"],
        ),
        (&[DMARC, "_sip._tcp SRV 1 1 1 www", "www TXT \"x\""], &["target-missing _sip._tcp.zone.test"]),
        (&[DMARC, "_sip._tcp SRV 0 0 0 ."], &[]),
        (&[DMARC, "_sip._tcp SRV 1 1 1 www", "www CNAME a.test."], &["target-is-alias _sip._tcp.zone.test"]),
        (&[SPF, DMARC, "@ MX 1 mail", "mail A 9.9.9.9 ;proxied"], &["mail-to-the-edge zone.test"]),
        // Mail.
        (&[DMARC, "@ MX 1 mail.a.test."], &["spf-missing zone.test"]),
        (&[SPF, "@ MX 1 mail.a.test."], &["dmarc-missing _dmarc.zone.test"]),
        (&[DMARC, "@ MX 0 ."], &[]),
        (&[SPF, DMARC, "@ TXT \"v=spf1 -all\""], &["spf-several zone.test"]),
        (&[DMARC, &many], &["spf-lookups zone.test"]),
        (&[DMARC, "_dmarc TXT \"v=DMARC1;p=none\""], &["dmarc-several _dmarc.zone.test"]),
        (&["_dmarc CNAME policy.a.test."], &[]),
        (&["www A 9.9.9.9"], &["dmarc-missing _dmarc.zone.test"]),
        // Addresses of the inside.
        (
            &[DMARC, "a A 10.0.0.1", "b AAAA fd00::1", "c A 127.0.0.1 ;proxied", "d A 100.64.0.1"],
            &["not-public a.zone.test", "not-public b.zone.test", "not-public d.zone.test"],
        ),
        // A wildcard does not answer for what exists.
        (&[DMARC, "* A 9.9.9.9", "www TXT \"x\"", "_x TXT \"x\""], &["wildcard-shadowed www.zone.test"]),
        (&[DMARC, "* A 9.9.9.9", "www A 9.9.9.10"], &[]),
    ] {
        let expect: BTreeSet<String> = expect.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(complaints(records), expect, "{records:?}");
    }
}

/// DNS answers with a policy of its own.
#[test]
fn mail_of_a_flagged_zone_is_no_matter() {
    let apex = Name::parse("zone.test").unwrap();
    let servers = ["ns1.edge.test", "ns2.edge.test"].map(|name| Name::parse(name).unwrap());
    let records = ["@ MX 1 mail.a.test.", "www CNAME gone"].map(record);
    for (is_flagged, expect) in
        [(false, &["dmarc-missing", "spf-missing", "target-missing"][..]), (true, &["target-missing"])]
    {
        let findings = look(&View::new(&apex, &servers, &records).flagged(is_flagged));
        let rules: BTreeSet<&str> = findings.iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, expect.iter().copied().collect(), "{is_flagged}");
    }
}

#[test]
fn states_of_dnssec() {
    let apex = Name::parse("zone.test").unwrap();
    for (status, expect) in
        [("error", Some(Severity::Error)), ("pending", Some(Severity::Note)), ("active", None), ("disabled", None)]
    {
        let zone: ZoneDnssec = serde_json::from_value(json!({
            "zone_id": "00000000000000000000000000000001", "zone_name": "zone.test", "status": status, "next": "next",
            "next_on": null, "denial": "compact", "ksk_days": 0, "zsk_days": 0, "keys": [], "ds": [],
            "parent": {"ds": [], "agrees": true, "since": null, "checked_on": null, "failure": null},
            "registry": {"name": null, "way": "manual", "sent_on": null, "failure": null}, "modified_on": null,
        }))
        .unwrap();
        assert_eq!(dnssec(&apex, &zone).map(|finding| finding.severity), expect, "{status}");
    }
}

#[test]
fn a_zone_with_one_server_is_told() {
    let apex = Name::parse("zone.test").unwrap();
    let servers = [Name::parse("ns.edge.test").unwrap()];
    let findings = look(&View::new(&apex, &servers, &[]));
    assert!(findings.iter().any(|finding| finding.rule == "one-server"));
}

/// The edge tells the addresses of its own servers, also where their names lie in the zone and have no record.
#[test]
fn servers_of_the_edge_are_there_without_a_record() {
    let apex = Name::parse("zone.test").unwrap();
    let servers = ["ns1.zone.test", "ns2.zone.test"].map(|name| Name::parse(name).unwrap());
    let records = ["sub NS ns1", "sub NS ns2", "sub NS ns3"].map(record);
    let findings = look(&View::new(&apex, &servers, &records));
    let missing: Vec<_> = findings.iter().filter(|finding| finding.rule == "target-missing").collect();
    assert!(missing.len() == 1 && missing[0].what.contains("ns3.zone.test"), "{missing:?}");
}

/// A server as the parent has it: `name`, `@` glue, `=` what is here, `!` if it does not serve.
fn server(text: &str) -> DelegationServer {
    let mut words = text.split(' ');
    let name = words.next().unwrap().to_owned();
    let all = |mark: char| text.split(' ').filter_map(|word| word.strip_prefix(mark).map(str::to_owned)).collect();
    let serves = Some(!text.ends_with('!'));
    DelegationServer { name, glue: all('@'), here: all('='), serves, failure: None }
}

#[test]
fn what_is_wrong_at_the_parent() {
    let apex = Name::parse("zone.test").unwrap();
    let ours = ["ns1.zone.test", "ns2.edge.test"].map(|name| Name::parse(name).unwrap());
    let (one, two) = ("ns1.zone.test @9.9.9.1 @2600::1 =9.9.9.1 =2600::1", "ns2.edge.test");
    for (source, servers, ds, expect) in [
        (Some("servers"), &[one, two][..], "", &[][..]),
        (Some("servers"), &[two, one], "", &[]),
        (Some("servers"), &[], "", &["not-delegated"]),
        (Some("servers"), &[one], "", &["delegation-differs"]),
        (Some("servers"), &[one, "ns.a.test"], "", &["delegation-differs"]),
        (Some("servers"), &[one, "ns2.edge.test !"], "", &["lame-server"]),
        // Addresses: others, fewer, none; those of a server elsewhere are not the parent's to know.
        (Some("servers"), &["ns1.zone.test @9.9.9.2 =9.9.9.1", two], "", &["glue-differs"]),
        (Some("servers"), &["ns1.zone.test @9.9.9.1 =9.9.9.1 =2600::1", two], "", &["glue-differs"]),
        (Some("servers"), &["ns1.zone.test =9.9.9.1", two], "", &["glue-differs"]),
        (Some("resolver"), &["ns1.zone.test =9.9.9.1", two], "", &[]),
        (Some("servers"), &[one, "ns2.edge.test =9.9.9.1"], "", &[]),
        (Some("servers"), &[one, two], "1 13 2 aa", &["ds-of-unsigned"]),
        (Some("nowhere"), &[], "", &[]),
        (None, &[], "", &[]),
    ] {
        let seen = Delegation {
            zone_name: "zone.test".to_owned(),
            source: source.map(str::to_owned),
            agrees: true,
            name_servers: servers.iter().map(|text| server(text)).collect(),
            ds: ds.split(',').filter(|ds| !ds.is_empty()).map(str::to_owned).collect(),
            failure: None,
        };
        let rules: Vec<_> = parent(&apex, &ours, true, &seen).iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, expect, "{servers:?}");
        assert!(parent(&apex, &ours, false, &seen).iter().all(|finding| finding.rule != "ds-of-unsigned"));
    }
}
