//! A zone's file of octoDNS as lines of a master file: what its records say, as far as they are records and no rules.

use bartizan_model::{Record, Stamp, Zone};
use bartizan_names::{AccountId, Phishing, RecordId, Timestamp, ZoneId};
use bartizan_v4::RecordBody;
use serde_json::{Map, Value, json};

use super::yaml::{self, Node, Yaml};
use super::{CAA, DS, LOC, SRV};

/// The time to live of a record that says none, there.
const TTL_USUAL: u64 = 3_600;

/// Members of a record that are about how it is answered by whom, which no record here says.
const RULES: [&str; 3] = ["dynamic", "geo", "healthcheck"];

/// What a file comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct File {
    /// A master file.
    pub text: String,
    /// What it has no line for, and why.
    pub left_out: Vec<String>,
    pub faults: Vec<String>,
}

/// Reads the file of a zone.
pub fn read(text: &str, zone: &str) -> anyhow::Result<File> {
    let zone = Zone {
        id: ZoneId::from_bytes([0; 16]),
        account: AccountId::from_bytes([0; 16]),
        name: Zone::parse_name(zone)?,
        nameservers: Vec::new(),
        paused: false,
        phishing: Phishing::No,
    };
    let mut file = File::default();
    let Some(document) = yaml::read(text)? else { return Ok(file) };
    let Yaml::Map(names) = &document.value else {
        file.faults.push(format!("line {}: a zone's file is a map of names", document.line));
        return Ok(file);
    };
    for (name, records) in names {
        // For processors, which are programs.
        if name == "$meta" {
            continue;
        }
        for record in records.each() {
            file.add(&zone, name, record);
        }
    }
    Ok(file)
}

impl File {
    fn add(&mut self, zone: &Zone, name: &str, record: &Node) {
        let owner = if name.is_empty() { zone.name.to_string() } else { format!("{name}.{}", zone.name) };
        let kind = record.get("type").and_then(Node::text).unwrap_or_default().to_ascii_uppercase();
        let called = format!("line {}: {owner} {kind}", record.line);
        if record.get("octodns").and_then(|octodns| octodns.get("ignored")).is_some_and(Node::is_true) {
            return self.left_out.push(format!("{called}: it is ignored there"));
        }
        if let Some(rule) = RULES.iter().find(|rule| record.get(rule).is_some()) {
            return self.faults.push(format!("{called}: its {rule} has no counterpart here"));
        }
        let Some(values) = record.get("values").or_else(|| record.get("value")) else {
            return self.faults.push(format!("{called}: it has neither value nor values"));
        };
        for value in values.each() {
            let body = body(&owner, &kind, record, value);
            let parsed = body.and_then(|body| {
                let body: RecordBody = serde_json::from_value(body).map_err(|error| error.to_string())?;
                let at = Timestamp::from_unix_micros(0);
                let stamp = Stamp { id: RecordId::from_bytes([0; 16]), created_on: at, modified_on: at };
                Record::parse_body(zone, stamp, &body).map_err(|error| error.to_string())
            });
            match parsed {
                Ok((record, document)) => bartizan_api::write_line(&mut self.text, &record, &document),
                Err(reason) => self.faults.push(format!("{called}: {reason}")),
            }
        }
    }
}

/// What makes the record of one value, as the API takes it.
fn body(owner: &str, kind: &str, record: &Node, value: &Node) -> Result<Value, String> {
    let provider = record.get("octodns").and_then(|octodns| octodns.get("cloudflare"));
    let provided = |member: &str| provider.and_then(|provider| provider.get(member));
    let is_proxied = provided("proxied").is_some_and(Node::is_true);
    let is_automatic = is_proxied || provided("auto-ttl").is_some_and(Node::is_true);
    let ttl = match record.get("ttl").map(|ttl| ttl.text().unwrap_or_default().parse::<u64>()) {
        _ if is_automatic => 1,
        None => TTL_USUAL,
        Some(Ok(ttl)) => ttl,
        Some(Err(_)) => return Err("ttl is no number".to_owned()),
    };
    let mut body = json!({
        "name": format!("{owner}."), "ttl": ttl, "proxied": is_proxied,
        // What is an alias at the zone's own name there is a CNAME here.
        "type": if kind == "ALIAS" { "CNAME" } else { kind },
    });
    if let Some(comment) = provided("comment").and_then(Node::text) {
        body["comment"] = comment.into();
    }
    if let Some(tags) = provided("tags") {
        body["tags"] = tags.each().iter().filter_map(Node::text).collect();
    }
    let text = || value.text().ok_or_else(|| "its value is no text".to_owned());
    let one = |names: &[&str]| {
        let found = names.iter().find_map(|name| value.get(name)).and_then(Node::text);
        found.ok_or_else(|| format!("its value has no {}", names[0]))
    };
    // A field here, and what it is called there.
    let fields = |names: &[(&str, &str)]| {
        let field = |(ours, theirs): &(&str, &str)| Ok(((*ours).to_owned(), Value::from(one(&[*theirs])?)));
        names.iter().map(field).collect::<Result<Map<_, _>, String>>().map(Value::Object)
    };
    let same = |names: &[&'static str]| fields(&names.iter().map(|name| (*name, *name)).collect::<Vec<_>>());
    match kind {
        "TXT" | "SPF" => {
            body["type"] = "TXT".into();
            body["content"] = quoted(&text()?.replace("\\;", ";")).into();
        }
        "MX" => {
            body["content"] = one(&["exchange", "value"])?.into();
            body["priority"] = one(&["preference", "priority"])?.into();
        }
        "SRV" => body["data"] = same(&SRV)?,
        "CAA" => body["data"] = same(&CAA)?,
        "DS" => body["data"] = same(&DS)?,
        "LOC" => body["data"] = same(&LOC)?,
        "SSHFP" => {
            body["data"] =
                fields(&[("algorithm", "algorithm"), ("type", "fingerprint_type"), ("fingerprint", "fingerprint")])?;
        }
        "TLSA" => {
            body["data"] = fields(&[
                ("usage", "certificate_usage"),
                ("selector", "selector"),
                ("matching_type", "matching_type"),
                ("certificate", "certificate_association_data"),
            ])?;
        }
        "NAPTR" => {
            body["data"] = fields(&[
                ("order", "order"),
                ("preference", "preference"),
                ("flags", "flags"),
                ("service", "service"),
                ("regex", "regexp"),
                ("replacement", "replacement"),
            ])?;
        }
        "SVCB" | "HTTPS" => {
            let mut data = fields(&[("priority", "svcpriority"), ("target", "targetname")])?;
            data["value"] = value.get("svcparams").map(parameters).transpose()?.unwrap_or_default().into();
            body["data"] = data;
        }
        "URI" => {
            body["priority"] = one(&["priority"])?.into();
            body["data"] = same(&["weight", "target"])?;
        }
        _ => body["content"] = text()?.into(),
    }
    Ok(body)
}

/// The strings of a TXT record (RFC 1035 §5.1): of 255 octets at most.
fn quoted(text: &str) -> String {
    const STRING_MAX: usize = 255;
    let strings = text.as_bytes().chunks(STRING_MAX).map(|string| {
        let mut quoted = String::from('"');
        for &octet in string {
            match octet {
                b'"' | b'\\' => quoted.extend(['\\', octet.into()]),
                b' '..=b'~' => quoted.push(octet.into()),
                _ => quoted += &format!("\\{octet:03}"),
            }
        }
        quoted + "\""
    });
    let strings: Vec<String> = strings.collect();
    if strings.is_empty() { "\"\"".to_owned() } else { strings.join(" ") }
}

/// Parameters of a service (RFC 9460 §2.1).
fn parameters(node: &Node) -> Result<String, String> {
    let Yaml::Map(members) = &node.value else { return Err("svcparams is no map".to_owned()) };
    let mut parameters = Vec::new();
    for (key, value) in members {
        let texts: Option<Vec<&str>> = match &value.value {
            Yaml::Null => Some(Vec::new()),
            _ => value.each().iter().map(Node::text).collect(),
        };
        let text = texts.ok_or_else(|| format!("{key} is no text"))?.join(",");
        if text.contains(['"', '\\']) {
            return Err(format!("{key} has characters that would have to be escaped"));
        }
        parameters.push(if text.is_empty() { key.clone() } else { format!("{key}=\"{text}\"") });
    }
    Ok(parameters.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let file = read(text, "example.com").unwrap();
        let lines = file.text.lines().map(|line| line.replace('\t', " "));
        lines
            .chain(file.left_out.into_iter().map(|line| format!("- {line}")))
            .chain(file.faults.into_iter().map(|line| format!("! {line}")))
            .collect()
    }

    #[test]
    fn records_become_lines() {
        for (text, expect) in [
            (
                "www: {type: A, ttl: 60, values: [192.0.2.1, 192.0.2.2]}",
                &[
                    "www.example.com. 60 IN A 192.0.2.1 ; cf_tags=cf-proxied:false",
                    "www.example.com. 60 IN A 192.0.2.2 ; cf_tags=cf-proxied:false",
                ][..],
            ),
            (
                "'': [{type: MX, values: [{exchange: mail.example.com., preference: 10}]}]",
                &["example.com. 3600 IN MX 10 mail.example.com."],
            ),
            (
                "'': [{type: MX, value: {value: mail.example.com., priority: 10}}]",
                &["example.com. 3600 IN MX 10 mail.example.com."],
            ),
            (
                "'*': {type: CNAME, value: x.example.org., octodns: {cloudflare: {proxied: true, comment: why, tags: ['a:b']}}}",
                &["*.example.com. 1 IN CNAME x.example.org. ; why cf_tags=a:b,cf-proxied:true"],
            ),
            (
                "'': {type: ALIAS, value: x.example.org.}",
                &["example.com. 3600 IN CNAME x.example.org. ; cf_tags=cf-proxied:false"],
            ),
            ("t: {type: TXT, value: 'v=DKIM1\\; p=\"x\"'}", &[r#"t.example.com. 3600 IN TXT "v=DKIM1; p=\"x\"""#]),
            (
                "_s._tcp: {type: SRV, octodns: {cloudflare: {auto-ttl: true}}, values: [{priority: 1, weight: 2, port: 3, target: a.example.com.}]}",
                &["_s._tcp.example.com. 1 IN SRV 1 2 3 a.example.com."],
            ),
            (
                "'': {type: CAA, value: {flags: 0, tag: issue, value: ca.example}}",
                &[r#"example.com. 3600 IN CAA 0 issue "ca.example""#],
            ),
            (
                "h: {type: HTTPS, value: {svcpriority: 1, targetname: ., svcparams: {alpn: [h3, h2], port: '8443', no-default-alpn: ~}}}",
                &[r#"h.example.com. 3600 IN HTTPS 1 . alpn="h3,h2" no-default-alpn port="8443""#],
            ),
            (
                "s: {type: SSHFP, value: {algorithm: 4, fingerprint_type: 2, fingerprint: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}}",
                &["s.example.com. 3600 IN SSHFP 4 2 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
            ),
            (
                "i: {type: A, value: 192.0.2.1, octodns: {ignored: true}}",
                &["- line 1: i.example.com A: it is ignored there"],
            ),
            (
                "g: {type: A, values: [192.0.2.1], dynamic: {pools: {}}}",
                &["! line 1: g.example.com A: its dynamic has no counterpart here"],
            ),
            ("n: {type: A}", &["! line 1: n.example.com A: it has neither value nor values"]),
            ("m: {type: MX, value: mail.example.com.}", &["! line 1: m.example.com MX: its value has no exchange"]),
            ("u: {type: URLFWD, value: {code: 301}}", &["! line 1: u.example.com URLFWD: its value is no text"]),
            ("[]", &["! line 1: a zone's file is a map of names"]),
        ] {
            assert_eq!(lines(text), expect, "{text}");
        }
        assert!(lines("b: {type: A, value: 192.0.2.300}")[0].starts_with("! line 1: b.example.com A: "));
        assert_eq!(quoted(&"x".repeat(300)).matches('"').count(), 4);
        assert!(read("a: [", "example.com").is_err());
    }
}
