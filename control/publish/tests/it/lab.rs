//! A store in a directory of its own, documents to put into it, and ways to damage it.

use bartizan_certs::{Chain, Kept, Upload};
use bartizan_model::Record;
use bartizan_names::{
    AccountId, AppId, CertificateId, Name, PopId, RecordId, RuleId, Timestamp, TunnelId, UserId, ZoneId, ZoneName,
};
use bartizan_publish::{Edge, Publisher};
use bartizan_signer::Validity;
use bartizan_store::{ChangeSet, Key, Meta, Op, Scope, Store, Value};
use bartizan_tls::CertifiedKey;
use serde_json::{Value as Json, json};

pub(crate) const ZONE: ZoneId = ZoneId::from_bytes([1; 16]);
pub(crate) const ACCOUNT: AccountId = AccountId::from_bytes([2; 16]);
pub(crate) const USER: UserId = UserId::from_bytes([3; 16]);
pub(crate) const POP: PopId = PopId::from_bytes([4; 16]);
pub(crate) const AT: &str = "2026-01-01T00:00:00.000000Z";

/// A store and the seal that goes with it.
pub(crate) struct Lab {
    pub(crate) store: Store,
    pub(crate) seal: bartizan_seal::Key,
    dir: tempfile::TempDir,
    requests: u64,
}

impl Lab {
    pub(crate) fn new() -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let seal = bartizan_seal::Key::load_or_create(&dir.path().join("seal.key")).unwrap();
        let mut lab = Lab { store: Store::open(dir.path()).unwrap(), seal, dir, requests: 0 };
        lab.commit(vec![put(Key::pop(POP), &pop_document("203.0.113.1 2001:db8::1", "127.77.0.0/16"))]);
        lab
    }

    /// A second store for objects that were sealed for this one.
    pub(crate) fn beside(&self) -> Lab {
        Lab { seal: self.seal.clone(), ..Lab::new() }
    }

    pub(crate) fn commit(&mut self, ops: Vec<Op>) {
        self.requests += 1;
        let mut request_id = [0; 16];
        request_id[..8].copy_from_slice(&self.requests.to_be_bytes());
        let meta = Meta {
            at: Timestamp::from_unix_micros(1),
            actor: "test".to_owned(),
            interface: "test".to_owned(),
            client: None,
            request_id,
        };
        self.store.commit(ChangeSet { guards: Vec::new(), ops, meta }).unwrap();
    }

    /// Makes so many changes that are of no name, by many at once.
    pub(crate) fn commit_often(&mut self, changes: usize) {
        const AT_ONCE: usize = 16;
        let document = pop_document("203.0.113.1 2001:db8::1", "127.77.0.0/16");
        let store = &self.store;
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    for _ in 0..changes / AT_ONCE {
                        let meta = Meta {
                            at: Timestamp::from_unix_micros(1),
                            actor: "test".to_owned(),
                            interface: "test".to_owned(),
                            client: None,
                            request_id: bartizan_seal::random(),
                        };
                        let ops = vec![put(Key::pop(POP), &document)];
                        store.commit(ChangeSet { guards: Vec::new(), ops, meta }).unwrap();
                    }
                });
            }
        });
    }

    pub(crate) fn publisher(&self) -> Publisher {
        self.publisher_signing_for(Validity::default())
    }

    pub(crate) fn publisher_signing_for(&self, validity: Validity) -> Publisher {
        let edge = Edge { seal: self.seal.clone(), pop: POP, account: ACCOUNT, validity };
        Publisher::load(self.store.clone(), edge).unwrap()
    }

    /// Makes the row of an object unreadable, as a bad disk does: nobody is told.
    pub(crate) fn damage(&self, key: &Key) {
        let no_text = "UPDATE object SET json = CAST(x'ff' AS TEXT) WHERE key = ?";
        assert_eq!(self.file().execute(no_text, [key.as_str()]).unwrap(), 1, "{key}");
    }

    /// Loses the row of an object, as a mended page does: nobody is told.
    pub(crate) fn lose(&self, key: &Key) {
        assert_eq!(self.file().execute("DELETE FROM object WHERE key = ?", [key.as_str()]).unwrap(), 1, "{key}");
    }

    /// Loses an object for good, as a mend does of which people are told.
    pub(crate) fn lose_and_tell(&self, key: &Key) {
        self.lose(key);
        self.tell_lost([key.clone()].into_iter());
    }

    /// Writes into the file what a mend would that lost these.
    pub(crate) fn tell_lost(&self, keys: impl ExactSizeIterator<Item = Key>) {
        let count = keys.len().to_string();
        let told: Vec<String> = [count].into_iter().chain(keys.map(|key| key.to_string())).collect();
        let told = told.join("\n");
        self.file().execute("INSERT OR REPLACE INTO about VALUES ('lost', ?)", [told]).unwrap();
    }

    /// Makes the newest change of the log unreadable; makes it what it was when it is called again.
    pub(crate) fn flip_newest_change(&self) {
        let file = self.file();
        let newest = "SELECT rev, ops FROM change ORDER BY rev DESC LIMIT 1";
        let (rev, mut ops): (i64, Vec<u8>) = file.query_row(newest, (), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        ops[0] ^= 0xff;
        file.execute("UPDATE change SET ops = ? WHERE rev = ?", (ops, rev)).unwrap();
    }

    /// Loses the pages of the file on which `text` stands, and opens what is left.
    pub(crate) fn lose_pages(&mut self, text: &str) {
        const PAGE_BYTES: usize = 4_096;
        self.closed(|path| {
            let mut bytes = std::fs::read(path).unwrap();
            let mut lost = 0;
            for page in
                bytes.chunks_mut(PAGE_BYTES).filter(|page| page.windows(text.len()).any(|at| at == text.as_bytes()))
            {
                page.fill(0xff);
                lost += 1;
            }
            assert!(lost > 0, "{text} is in the file");
            std::fs::write(path, bytes).unwrap();
        });
    }

    /// The store's file as it is now.
    pub(crate) fn take_file(&mut self) -> Vec<u8> {
        self.closed(|path| std::fs::read(path).unwrap())
    }

    /// Puts a file in the place of the store's, and nothing tells that it is an older one.
    pub(crate) fn put_file(&mut self, file: &[u8]) {
        self.closed(|path| {
            std::fs::write(path, file).unwrap();
            std::fs::remove_file(path.with_file_name("store.head")).unwrap();
        });
    }

    /// Does something to the file, with nothing of it in the journal.
    fn closed<T>(&mut self, f: impl FnOnce(&std::path::Path) -> T) -> T {
        let elsewhere = tempfile::tempdir().unwrap();
        self.store = Store::open(elsewhere.path()).unwrap();
        let done = f(&self.dir.path().join("store.sqlite"));
        self.store = Store::open(self.dir.path()).unwrap();
        done
    }

    fn file(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.dir.path().join("store.sqlite")).unwrap()
    }
}

pub(crate) fn pop_document(addresses: &str, pools: &str) -> Json {
    let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    json!({
        "id": POP, "name": "LOC", "addresses": list(addresses), "pools": list(pools), "created_on": AT, "modified_on": AT,
    })
}

pub(crate) fn put(key: Key, document: &Json) -> Op {
    Op::Put { key, value: Value { format: 1, json: document.to_string().into() } }
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn zone(paused: bool) -> Op {
    zone_called(ZONE, "example.com", &["ns1.example.net", "ns2.example.net"], paused)
}

pub(crate) fn zone_called(id: ZoneId, name: &str, servers: &[&str], paused: bool) -> Op {
    put(Key::zone(id), &zone_document(id, name, servers, paused))
}

pub(crate) fn zone_document(id: ZoneId, name: &str, servers: &[&str], paused: bool) -> Json {
    json!({
        "id": id, "name": name, "status": "active", "paused": paused, "type": "full",
        "development_mode": 0, "name_servers": servers,
        "original_name_servers": null, "original_registrar": null, "original_dnshost": null,
        "modified_on": AT, "created_on": AT, "activated_on": AT,
        "meta": {"step": 4, "custom_certificate_quota": 0, "page_rule_quota": 0, "phishing_detected": false,
                 "multiple_railguns_allowed": false, "cdn_only": false, "dns_only": false, "foundation_dns": false},
        "vanity_name_servers": [], "owner": {"id": "1", "name": "Main", "type": "organization"},
        "account": {"id": ACCOUNT, "name": "Main"},
        "permissions": [], "plan": plan(),
    })
}

fn plan() -> Json {
    json!({"id": "0feeeeeeeeeeeeeeeeeeeeeeeeeeeeee", "name": "Self-hosted", "price": 0, "currency": "USD",
           "frequency": "", "is_subscribed": true, "can_subscribe": false, "legacy_id": "enterprise",
           "legacy_discount": false, "externally_managed": false})
}

pub(crate) fn settings_document(items: &[(&str, Json)]) -> Json {
    let items: Vec<Json> =
        items.iter().map(|(id, value)| json!({"id": id, "value": value, "modified_on": AT})).collect();
    json!({ "items": items })
}

/// `"www A 192.0.2.1 proxied"`, as the record with this number of the zone `example.com`.
pub(crate) fn record_document(number: u8, words: &str) -> Json {
    let (owner, rest) = words.split_once(' ').unwrap();
    let owner = if owner == "@" { "example.com".to_owned() } else { format!("{owner}.example.com") };
    record_at(ZONE, "example.com", number, &owner, rest)
}

/// `"A 192.0.2.1 proxied"` at an owner of any zone; an underscore in the content is a space.
pub(crate) fn record_at(zone: ZoneId, apex: &str, number: u8, owner: &str, words: &str) -> Json {
    let words: Vec<&str> = words.split(' ').collect();
    json!({
        "id": RecordId::from_bytes([number; 16]), "zone_id": zone, "zone_name": apex, "name": owner,
        "type": words[0], "content": words[1].replace('_', " "), "proxiable": true, "proxied": words.get(2) == Some(&"proxied"),
        "ttl": 1, "settings": {},
        "meta": {"auto_added": false, "managed_by_apps": false, "managed_by_argo_tunnel": false},
        "comment": null, "tags": [], "created_on": AT, "modified_on": AT,
    })
}

pub(crate) fn record(number: u8, words: &str) -> Record {
    Record::parse(&serde_json::from_value(record_document(number, words)).unwrap()).unwrap()
}

/// The operations that add a record, its owner's unit included.
pub(crate) fn add(number: u8, words: &str) -> Vec<Op> {
    let record = record(number, words);
    vec![
        put(Key::record(ZONE, record.id), &record_document(number, words)),
        put(Key::name(ZONE, &record.owner), &json!({"records": 1})),
    ]
}

pub(crate) fn remove(number: u8, owner: &str) -> Vec<Op> {
    vec![
        Op::Del { key: Key::record(ZONE, RecordId::from_bytes([number; 16])) },
        Op::Del { key: Key::name(ZONE, &name(owner)) },
    ]
}

/// An application on TCP port 22 of the addresses of a slot.
pub(crate) fn app_document(zone: ZoneId, id: AppId, owner: &str, slot: u32, tls: &str) -> Json {
    json!({
        "id": id, "zone_id": zone, "protocol": "tcp/22", "dns": {"type": "CNAME", "name": owner},
        "origin_direct": ["tcp://192.0.2.1:22"], "edge_ips": {"type": "dynamic", "connectivity": "all"},
        "slot": slot, "ip_firewall": true, "proxy_protocol": "off", "tls": tls, "traffic_type": "direct",
        "created_on": AT, "modified_on": AT,
    })
}

pub(crate) fn tunnel_document(id: TunnelId, secret: u8) -> Json {
    json!({
        "id": id, "name": id, "account_tag": ACCOUNT, "created_at": AT, "deleted_at": null,
        "config_src": "cloudflare", "secret_sha256": format!("{secret:02x}").repeat(32), "sealed_secret": "",
    })
}

pub(crate) fn tunnel_config_document(id: TunnelId, version: i32) -> Json {
    json!({
        "tunnel_id": id, "version": version, "config": {"ingress": [{"service": "http_status:404"}]},
        "source": "cloudflare", "created_at": AT, "account_id": ACCOUNT,
    })
}

pub(crate) fn rule_document(id: RuleId, scope: Scope, mode: &str, address: &str) -> Json {
    let scope = match scope {
        Scope::Zone(zone) => json!({"type": "zone", "id": zone}),
        Scope::Account(account) => json!({"type": "organization", "id": account}),
        Scope::User(_) | Scope::Edge => json!({"type": "user", "id": USER}),
    };
    json!({
        "id": id, "notes": "", "mode": mode, "configuration": {"target": "ip", "value": address}, "scope": scope,
        "created_on": AT, "modified_on": AT,
    })
}

/// Makes certificates whose keys are sealed for a lab.
pub(crate) struct Issuer(bartizan_certs::Certs, bartizan_seal::Key);

impl Issuer {
    pub(crate) fn new(lab: &Lab) -> Issuer {
        let dir = tempfile::tempdir().unwrap();
        let ca = bartizan_certs::Ca::load_or_create(dir.path(), &lab.seal, Timestamp::from_unix_micros(1)).unwrap();
        Issuer(bartizan_certs::Certs::new(ca, lab.seal.clone()), lab.seal.clone())
    }

    /// One with these names that the zone's owner brings, in the store and as it is shown.
    pub(crate) fn bring(&self, zone: ZoneId, apex: &str, names: &[&str]) -> (Op, CertifiedKey) {
        let now = Timestamp::from_unix_micros(1);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let issued = self.0.for_api(&names, now).unwrap();
        let shown = CertifiedKey::from_pem(&issued.chain_pem, &issued.key_pkcs8_der).unwrap();
        let chain = Chain::of_key(&issued.chain_pem, issued.key_pkcs8_der, now).unwrap();
        let kept = Kept {
            id: CertificateId::from_bytes(*zone.as_bytes()),
            zone,
            bundle_method: "ubiquitous".to_owned(),
            kind: "sni_custom".to_owned(),
            priority: 0,
            uploaded_on: now,
        };
        let upload = Upload::new(kept, &chain, &ZoneName::new(name(apex)).unwrap(), &self.1, now).unwrap();
        (upload.to_op(), shown)
    }

    /// The key and the document of a new one.
    pub(crate) fn issue(&self, zone: ZoneId, apex: &str) -> (Key, Json) {
        let apex = ZoneName::new(name(apex)).unwrap();
        let mut ops = self.0.for_zone(zone, &apex, Timestamp::from_unix_micros(1)).unwrap();
        let Some(Op::Put { key, value }) = ops.pop() else { panic!("a certificate is put") };
        (key, serde_json::from_str(&value.json).unwrap())
    }
}
