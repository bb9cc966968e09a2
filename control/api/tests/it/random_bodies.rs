//! Bodies that nobody wrote: each write of the document with JSON made by chance, of its own words and of others. Whatever it
//! is, it is answered; nothing of it is a fault of ours.
//!
//! The same bodies in each run. `BARTIZAN_TEST_ROUNDS=4000` makes ten minutes of it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::edge::Edge;

/// Bodies of each call.
const ROUNDS: usize = 80;

/// How deep they go.
const DEPTH_MAX: u32 = 5;

/// Texts that mean something somewhere, and such as nobody expects.
const TEXTS: &[&str] = &[
    "",
    " ",
    "@",
    "*",
    ".",
    "..",
    "-",
    "_",
    "a",
    "a.example",
    "*.a.example.",
    "xn--",
    "ü.example",
    "\u{202e}a",
    "\0",
    "\u{feff}",
    "a b",
    "192.0.2.1",
    "2001:db8::1",
    "::ffff:192.0.2.1",
    "192.0.2.0/24",
    "::/0",
    "1.2.3",
    "0",
    "-1",
    "1e9",
    "0x10",
    "65536",
    "18446744073709551616",
    "true",
    "null",
    "on",
    "off",
    "active",
    "block",
    "A",
    "TXT",
    "TYPE65535",
    "CNAME",
    "\"",
    "\"a",
    "\"a\" \"b\"",
    "\\",
    "\\300",
    "\\# 4 00",
    "tcp/22",
    "tcp/1-0",
    "tcp://192.0.2.1:0",
    "http_status:999",
    "https://",
    "1 2 3 a",
    "0 issue \"",
    "1 . alpn=h2 alpn=h3",
    "2030-01-31T00:00:00Z",
    "9999-99-99T99:99:99Z",
    "00000000000000000000000000000000",
    "00000000-0000-4000-8000-000000000000",
    "Bearer x",
    "com.cloudflare.api.account.zone.*",
    "ann@example.com",
    "@example.com",
    "../..",
    "%00",
    "AAAA",
    "====",
    "{}",
    "[",
    "$ORIGIN .",
];

const NUMBERS: &[f64] = &[
    0.0, 1.0, -1.0, 2.0, 13.0, 60.0, 255.0, 256.0, 65_535.0, 65_536.0, 4e9, 9.1e15, -9.3e18, 1.8e19, 1e308, 0.5, -0.0,
];

/// Numbers by chance, from a seed (xorshift64*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    fn one<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }

    fn text(&mut self, words: &[String]) -> String {
        match self.below(12) {
            0 => "x".repeat(1 << self.below(14)),
            1 => format!("{}{}", self.one(TEXTS), self.one(TEXTS)),
            2..5 => self.one(words).clone(),
            _ => (*self.one(TEXTS)).to_owned(),
        }
    }

    fn value(&mut self, words: &[String], depth: u32) -> Value {
        match self.below(if depth == 0 { 6 } else { 10 }) {
            0 => Value::Null,
            1 => Value::Bool(self.below(2) == 0),
            2 => json!(self.one(NUMBERS)),
            3 => json!(self.one(NUMBERS).clamp(-9e18, 9e18) as i64),
            4 | 5 => Value::String(self.text(words)),
            6 | 7 => (0..self.below(4)).map(|_| self.value(words, depth - 1)).collect(),
            _ => self.object(words, depth - 1),
        }
    }

    fn object(&mut self, words: &[String], depth: u32) -> Value {
        let count = self.below(8);
        let members = (0..count).map(|_| (self.one(words).clone(), self.value(words, depth)));
        Value::Object(members.collect::<Map<_, _>>())
    }
}

/// The names of members, and the words of choices, in the schema of a body.
fn words(document: &Value, schema: &Value, depth: u32, into: &mut BTreeSet<String>) {
    if depth == 0 {
        return;
    }
    if let Some(pointer) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        return words(document, document.pointer(pointer).unwrap_or(&Value::Null), depth, into);
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        into.insert(name.clone());
        words(document, schema, depth - 1, into);
    }
    into.extend(schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    for inner in ["items", "additionalProperties"] {
        words(document, &schema[inner], depth - 1, into);
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        for schema in schema[several].as_array().into_iter().flatten() {
            words(document, schema, depth - 1, into);
        }
    }
}

#[test]
fn no_body_is_a_fault_of_ours() {
    let rounds = std::env::var("BARTIZAN_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let edge = Edge::new();
    let (zone, account) = (edge.new_zone("random.example"), edge.account());
    let made = |path: &str, body: &str| edge.post(path, body).result()["id"].as_str().unwrap().to_owned();
    let policy =
        json!({"permission_groups": [{"name": "DNS Read"}], "resources": {"com.cloudflare.api.account.zone.*": "*"}});
    let ids = [
        (
            "{dns_record_id}",
            made(&format!("/zones/{zone}/dns_records"), r#"{"type":"A","name":"w","content":"192.0.2.1"}"#),
        ),
        ("{tunnel_id}", made(&format!("/accounts/{account}/cfd_tunnel"), r#"{"name":"office"}"#)),
        ("{token_id}", made("/user/tokens", &json!({"name": "t", "policies": [policy]}).to_string())),
        ("{user_id}", made("/bartizan/users", r#"{"email":"bob@example.com"}"#)),
        (
            "{app_id}",
            made(
                &format!("/zones/{zone}/spectrum/apps"),
                r#"{"protocol":"tcp/22","dns":{"name":"ssh"},"origin_direct":["tcp://192.0.2.1:22"]}"#,
            ),
        ),
        (
            "{rule_id}",
            made(
                "/user/firewall/access_rules/rules",
                r#"{"mode":"block","configuration":{"target":"ip","value":"192.0.2.1"}}"#,
            ),
        ),
        ("{setting_id}", "ssl".to_owned()),
        ("{parent}", "dk".to_owned()),
        ("{zone_id}", zone),
        ("{account_id}", account),
    ];
    let document = edge.send_as(&[], "GET", "/client/v4/openapi.json", "").json();
    let (mut bodies, mut refused) = (0, 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if schema.is_null() {
                continue;
            }
            let mut known: BTreeSet<String> = ["id", "name", "value"].map(str::to_owned).into();
            words(&document, schema, 8, &mut known);
            let known: Vec<String> = known.into_iter().collect();
            let here = ids.iter().fold(path.clone(), |path, (name, id)| path.replace(name, id));
            let parts =
                here.split('/').map(|part| if part.starts_with('{') { "0".repeat(32) } else { part.to_owned() });
            let mut here = parts.collect::<Vec<_>>().join("/");
            // What was made here is to stay, and no public authority is to be asked for an account.
            if ["/bartizan/undo", "/bartizan/acme"].contains(&path.as_str()) {
                here += "?dry_run=true";
            }
            let method = method.to_uppercase();
            let seed =
                path.bytes().chain(method.bytes()).fold(7, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte));
            let mut chance = Chance(seed | 1);
            // Each of these tries a password, or makes a hash of one.
            let rounds = if path.contains("session") || path.contains("user") { rounds.div_ceil(8) } else { rounds };
            for _ in 0..rounds {
                let body = match chance.below(8) {
                    0 => chance.value(&known, DEPTH_MAX),
                    _ => chance.object(&known, DEPTH_MAX),
                };
                let answer = edge.call(&method, &here, &body.to_string());
                assert!(answer.status.as_u16() < 500, "{method} {here} {body}: {}", answer.text);
                bodies += 1;
                refused += usize::from(answer.status.as_u16() >= 400);
            }
        }
    }
    // Most are nonsense, and not all.
    assert!(bodies > 1_500 && refused > bodies / 2 && refused < bodies, "{refused} of {bodies}");
}
