//! The keeper of certificates of the public authority, by a clock that is moved, over a real store. The authority is the local
//! one in another's place: what is looked at here is when it is asked for what.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bartizan_certs::{
    AcmeAccount, AcmeCertificate, AcmeState, Authority, Ca, Certs, Chain, Failure, FailureKind, Hands, Keeper, Kept,
    Method, Outcome, Progress, Proof, Renewal, Upload, Wanted, Window,
};
use bartizan_names::{AccountId, CertificateId, LoadBalancerId, Name, RecordId, Timestamp, ZoneId, ZoneName};
use bartizan_seal::Key as SealKey;
use bartizan_store::{ChangeSet, Key, Kind, Meta, Op, Store, Value};

use crate::{ca, day, seal_key};

/// The most that is under way at once.
const AT_ONCE: usize = 8;

#[derive(Clone)]
struct Fake(Rc<Inner>);

struct Inner {
    ca: Ca,
    now: Cell<Timestamp>,
    /// What is said of orders for a name.
    refuses: RefCell<BTreeMap<String, Failure>>,
    refuses_account: RefCell<Option<Failure>>,
    /// What happens while the next order is under way, and what is said of it then.
    meanwhile: RefCell<Option<Box<dyn FnOnce() -> Failure>>>,
    window: RefCell<Option<Window>>,
    orders: RefCell<Vec<Wanted>>,
    registered: Cell<usize>,
    asked: Cell<usize>,
    under_way: Cell<usize>,
    most: Cell<usize>,
    /// No order comes to an end.
    holds: Cell<bool>,
}

impl Authority for Fake {
    async fn register(&self, _: &AcmeAccount) -> Result<Vec<u8>, Failure> {
        self.0.registered.set(self.0.registered.get() + 1);
        match &*self.0.refuses_account.borrow() {
            Some(failure) => Err(failure.clone()),
            None => Ok(b"credentials".to_vec()),
        }
    }

    async fn order(&self, _: &AcmeAccount, wanted: Wanted, _: impl Hands) -> Result<Outcome, Failure> {
        let inner = &self.0;
        inner.under_way.set(inner.under_way.get() + 1);
        inner.most.set(inner.most.get().max(inner.under_way.get()));
        tokio::task::yield_now().await;
        while inner.holds.get() {
            tokio::task::yield_now().await;
        }
        inner.under_way.set(inner.under_way.get() - 1);
        inner.orders.borrow_mut().push(wanted.clone());
        if let Some(meanwhile) = inner.meanwhile.borrow_mut().take() {
            return Err(meanwhile());
        }
        if let Some(failure) = wanted.names.iter().find_map(|name| inner.refuses.borrow().get(name).cloned()) {
            return Err(failure);
        }
        let issued = inner.ca.issue(&wanted.names, inner.now.get(), Duration::from_secs(90 * 86_400)).unwrap();
        let chain = Chain::of_key(&issued.chain_pem, issued.key_pkcs8_der, inner.now.get()).unwrap();
        Ok(Outcome { chain, renewal: if inner.window.borrow().is_some() { Renewal::Told } else { Renewal::Untold } })
    }

    async fn window(&self, _: &AcmeAccount, _: String) -> Result<Option<Window>, Failure> {
        self.0.asked.set(self.0.asked.get() + 1);
        Ok(self.0.window.borrow().clone())
    }
}

#[derive(Clone)]
struct Nobody;

impl Hands for Nobody {
    async fn show(&self, _: ZoneId, _: &[Proof]) -> Result<(), String> {
        Ok(())
    }

    async fn hide(&self, _: &[Proof]) {}
}

struct Lab {
    _folders: [tempfile::TempDir; 2],
    store: Store,
    certs: Certs,
    seal: SealKey,
    fake: Fake,
    keeper: Keeper<Fake, Nobody>,
    progress: Arc<Progress>,
    runtime: tokio::runtime::Runtime,
}

fn zone_id(number: u32) -> ZoneId {
    ZoneId::from_bytes(u128::from(number).to_be_bytes())
}

fn zone_name(number: u32) -> ZoneName {
    ZoneName::new(Name::parse(&format!("zone{number}.test")).unwrap()).unwrap()
}

fn record_key(zone: u32, number: u32) -> Key {
    Key::record(zone_id(zone), RecordId::from_bytes(u128::from(number).to_be_bytes()))
}

fn commit(store: &Store, ops: Vec<Op>, at: Timestamp) {
    let meta = Meta {
        at,
        actor: "test".to_owned(),
        interface: "test".to_owned(),
        client: None,
        request_id: bartizan_seal::random(),
    };
    store.commit(ChangeSet { guards: vec![], ops, meta }).unwrap();
}

impl Lab {
    fn new() -> Lab {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let store = Store::open(&folders[0].path().join("store")).unwrap();
        let seal = seal_key(folders[0].path());
        let certs = Certs::new(ca(folders[0].path()), seal.clone());
        let fake = Fake(Rc::new(Inner {
            ca: ca(folders[1].path()),
            now: Cell::new(day(0)),
            refuses: RefCell::default(),
            refuses_account: RefCell::default(),
            meanwhile: RefCell::default(),
            window: RefCell::default(),
            orders: RefCell::default(),
            registered: Cell::new(0),
            asked: Cell::new(0),
            under_way: Cell::new(0),
            most: Cell::new(0),
            holds: Cell::new(false),
        }));
        let progress = Arc::<Progress>::default();
        let keeper = Keeper::new(store.clone(), seal.clone(), fake.clone(), Nobody, Arc::clone(&progress));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Lab { _folders: folders, store, certs, seal, fake, keeper, progress, runtime }
    }

    fn commit(&self, ops: Vec<Op>) {
        commit(&self.store, ops, self.now());
    }

    /// Zones that are there before the account, with what the local authority issued for them.
    fn zones(&self, count: u32) {
        for numbers in (0..count).collect::<Vec<_>>().chunks(100) {
            let ops = numbers.iter().flat_map(|number| {
                let mut ops = self.certs.for_zone(zone_id(*number), &zone_name(*number), self.now()).unwrap();
                let account = "00000000000000000000000000000001";
                let zone = format!(
                    r#"{{"name":"{}","status":"active","account":{{"id":"{account}"}},"created_on":"{now}","modified_on":"{now}"}}"#,
                    zone_name(*number),
                    now = self.now()
                );
                ops.push(Op::Put { key: Key::zone(zone_id(*number)), value: Value::of(Kind::Zone, zone) });
                ops
            });
            self.commit(ops.collect());
        }
    }

    /// Another account beside the one that has all zones, with one zone of its own.
    fn another_account(&self, zone: u32) {
        let now = self.now();
        let accounts = [1, 2].map(|number: u8| {
            let id = AccountId::from_bytes(u128::from(number).to_be_bytes());
            let account = format!(r#"{{"id":"{id}","name":"{number}","created_on":"{now}"}}"#);
            Op::Put { key: Key::account(id), value: Value::of(Kind::Account, account) }
        });
        let name = zone_name(zone);
        let document = format!(
            r#"{{"name":"{name}","status":"active","account":{{"id":"{:032x}"}},"created_on":"{now}","modified_on":"{now}"}}"#,
            2
        );
        let place = Op::Put { key: Key::zone(zone_id(zone)), value: Value::of(Kind::Zone, document) };
        let wish = AcmeCertificate::for_zone(zone_id(zone), &name, now);
        self.commit(accounts.into_iter().chain([place, wish.to_op()]).collect());
    }

    /// Deeper names of a zone that need certificates of their own: they are proxied.
    fn hosts(&self, zone: u32, count: u32) {
        let ops = (0..count).flat_map(|number| {
            let host = Name::parse(&format!("a.x{number}.{}", zone_name(zone))).unwrap();
            let record =
                format!(r#"{{"name":"{host}","type":"A","content":"192.0.2.1","ttl":1,"proxied":true,"tags":[]}}"#);
            let record = Op::Put { key: record_key(zone, number), value: Value::of(Kind::Record, record) };
            [record, AcmeCertificate::for_host(zone_id(zone), &host, self.now()).to_op()]
        });
        self.commit(ops.collect());
    }

    fn pass_seconds(&mut self, seconds: u64) {
        self.set(Timestamp::from_unix_micros(self.now().unix_micros() + seconds * 1_000_000));
        self.settle();
    }

    fn put(&self, wish: &AcmeCertificate) {
        self.commit(vec![wish.to_op()]);
    }

    /// For ninety days from then on.
    fn bring(&self, number: u32, at: Timestamp) -> Key {
        let names = vec![zone_name(number).to_string()];
        let issued = self.fake.0.ca.issue(&names, at, Duration::from_secs(90 * 86_400)).unwrap();
        let chain = Chain::of_key(&issued.chain_pem, issued.key_pkcs8_der, at).unwrap();
        let kept = Kept {
            id: CertificateId::from_bytes(*zone_id(number).as_bytes()),
            zone: zone_id(number),
            bundle_method: "ubiquitous".to_owned(),
            kind: "sni_custom".to_owned(),
            priority: 0,
            uploaded_on: at,
        };
        let upload = Upload::new(kept, &chain, &zone_name(number), &self.seal, at).unwrap();
        self.commit(vec![upload.to_op()]);
        upload.store_key()
    }

    fn account(&self) {
        let roots = self.certs.ca_pem().to_owned();
        let account = AcmeAccount::new(None, Some("a@b.example"), Some(&roots), true, None, self.now()).unwrap();
        self.commit(vec![account.to_op()]);
    }

    fn now(&self) -> Timestamp {
        self.fake.0.now.get()
    }

    fn set(&self, at: Timestamp) {
        self.fake.0.now.set(at);
    }

    /// Works until nothing is due any more.
    fn settle(&mut self) {
        let (keeper, fake) = (&mut self.keeper, self.fake.clone());
        self.runtime.block_on(async {
            let mut idle = 0;
            while idle < 8 {
                keeper.begin(fake.0.now.get()).unwrap();
                assert!(keeper.under_way() <= AT_ONCE);
                if keeper.under_way() == 0 {
                    idle += 1;
                } else {
                    idle = 0;
                    keeper.next(|| fake.0.now.get()).await.unwrap();
                }
            }
        });
    }

    /// The same, hour by hour.
    fn pass(&mut self, days: u64) -> Vec<usize> {
        (0..days * 4)
            .map(|_| {
                let before = self.orders();
                self.set(Timestamp::from_unix_micros(self.now().unix_micros() + 6 * 3_600_000_000));
                self.settle();
                self.orders() - before
            })
            .collect()
    }

    fn orders(&self) -> usize {
        self.fake.0.orders.borrow().len()
    }

    fn all(&self) -> Vec<AcmeCertificate> {
        let entries = self.store.read().unwrap().list_kind(Kind::AcmeCertificate, 10_000).unwrap();
        entries.iter().map(|entry| AcmeCertificate::from_entry(entry).unwrap()).collect()
    }

    fn one(&self, number: u32) -> AcmeCertificate {
        self.all().into_iter().find(|one| one.zone_id == zone_id(number)).unwrap()
    }

    fn refuse(&self, number: u32, failure: Option<Failure>) {
        self.refuse_name(&zone_name(number).to_string(), failure);
    }

    fn refuse_name(&self, name: &str, failure: Option<Failure>) {
        let name = name.to_owned();
        let mut refuses = self.fake.0.refuses.borrow_mut();
        match failure {
            Some(failure) => drop(refuses.insert(name, failure)),
            None => drop(refuses.remove(&name)),
        }
    }
}

#[test]
fn a_thousand_names_are_issued_and_renewed_in_pieces() {
    let mut lab = Lab::new();
    lab.zones(1_000);
    lab.settle();
    assert_eq!((lab.orders(), lab.all().len()), (0, 0), "nobody asked for it");
    lab.account();
    lab.settle();
    assert_eq!((lab.orders(), lab.all().len(), lab.fake.0.registered.get()), (1_000, 1_000, 1));
    assert_eq!(lab.fake.0.most.get(), AT_ONCE);
    for certificate in lab.all() {
        let held = certificate.held.as_ref().unwrap();
        assert_eq!((certificate.state, certificate.names.len(), held.not_after), (AcmeState::Active, 2, day(90)));
        let key = certificate.key(held, &lab.seal).unwrap();
        bartizan_tls::CertifiedKey::from_pem(&held.chain_pem, &key).unwrap();
    }
    // The account is swept: a zone that somebody makes without a wish is none of ours.
    lab.commit(vec![Op::Del { key: Key::acme_certificate(zone_id(0), lab.one(0).id) }]);
    assert_eq!(lab.pass(56).iter().sum::<usize>(), 0, "long before two thirds of its life");
    let steps = lab.pass(4);
    assert_eq!(steps.iter().sum::<usize>(), 999, "each once, by two thirds of its life");
    let most = steps.iter().max().unwrap();
    assert!(*most < 200, "spread over three days: {steps:?}");
    assert_eq!(lab.fake.0.most.get(), AT_ONCE);
    assert!(lab.all().iter().all(|one| one.held.as_ref().unwrap().not_after > day(145)));
    assert_eq!(lab.progress.issued.load(std::sync::atomic::Ordering::Relaxed), 1_999);
    let replaced = lab.fake.0.orders.borrow().iter().filter(|wanted| wanted.replaces.is_some()).count();
    assert_eq!(replaced, 999, "the authority is told what is renewed");
}

#[test]
fn what_fails_is_tried_again_later_and_the_last_good_one_stays() {
    let mut lab = Lab::new();
    lab.zones(2);
    lab.account();
    lab.settle();
    lab.refuse(0, Some(Failure::new(FailureKind::NotShown, "zone0.test: no TXT record")));
    lab.pass(60);
    let failing = lab.one(0);
    assert_eq!((failing.state, failing.last_error.as_deref()), (AcmeState::Failing, Some("zone0.test: no TXT record")));
    assert_eq!(failing.held.as_ref().map(|held| held.not_after), Some(day(90)), "it is served as before");
    assert_eq!(lab.one(1).state, AcmeState::Active, "and nobody else is held up");
    assert_eq!(lab.progress.failing.load(std::sync::atomic::Ordering::Relaxed), 1);
    // Once or twice a day, to its end and beyond; then it is known to be over.
    let tries = lab.pass(20).iter().sum::<usize>();
    assert!((20..=45).contains(&tries), "{tries}");
    assert!(!lab.one(0).has_ended);
    lab.pass(11);
    assert!(lab.one(0).has_ended && lab.one(0).held.is_some());
    lab.refuse(0, None);
    lab.pass(1);
    let mended = lab.one(0);
    assert_eq!(
        (mended.state, mended.failures, mended.last_error, mended.has_ended),
        (AcmeState::Active, 0, None, false)
    );
}

#[test]
fn an_authority_that_wants_fewer_calls_gets_fewer() {
    let mut lab = Lab::new();
    lab.zones(50);
    let told = Failure::new(FailureKind::TooOften, "too many new orders").after(Some(Duration::from_secs(86_400)));
    (0..50).for_each(|number| lab.refuse(number, Some(told.clone())));
    lab.account();
    lab.settle();
    assert!(lab.orders() <= AT_ONCE, "what was under way, and then nobody for a while: {}", lab.orders());
    let paused = lab.progress.paused().unwrap();
    assert_eq!((paused.until, paused.reason.as_str()), (day(1), "too many new orders"), "which is told");
    let refused = lab.all().into_iter().find(|one| one.state == AcmeState::Failing).unwrap();
    assert!(refused.next_on.unwrap() >= day(1), "as late as it said");
    lab.pass(1);
    (0..50).for_each(|number| lab.refuse(number, None));
    lab.pass(3);
    assert_eq!(lab.progress.paused(), None);
    assert!(lab.all().iter().all(|one| one.state == AcmeState::Active));
}

#[test]
fn without_an_account_that_the_authority_takes_nothing_is_asked_and_all_know_why() {
    let mut lab = Lab::new();
    lab.zones(3);
    *lab.fake.0.refuses_account.borrow_mut() = Some(Failure::new(FailureKind::Refused, "no such host in contact"));
    lab.account();
    lab.settle();
    assert_eq!((lab.fake.0.registered.get(), lab.orders()), (1, 0));
    assert!(lab.all().iter().all(|one| one.last_error.as_deref() == Some("no such host in contact")));
    lab.pass(1);
    assert!(lab.fake.0.registered.get() <= 5, "{}", lab.fake.0.registered.get());
    // Somebody mends the account: at once.
    *lab.fake.0.refuses_account.borrow_mut() = None;
    lab.pass_seconds(1);
    assert_eq!(lab.orders(), 0);
    lab.account();
    lab.settle();
    assert!(lab.all().iter().all(|one| one.state == AcmeState::Active));
}

/// Whoever says anew who we are to the authority has what failed tried again, once, and not what the authority said of names.
#[test]
fn what_failed_is_tried_again_when_the_account_is_set_anew() {
    let mut lab = Lab::new();
    lab.zones(3);
    lab.refuse(0, Some(Failure::new(FailureKind::Refused, "no")));
    lab.refuse(1, Some(Failure::new(FailureKind::Refused, "no").after(Some(Duration::from_secs(7_200)))));
    lab.account();
    lab.settle();
    lab.pass_seconds(60);
    assert_eq!(lab.orders(), 3);
    lab.account();
    lab.settle();
    assert_eq!(lab.orders(), 4, "the first one");
    lab.pass_seconds(60);
    assert_eq!(lab.orders(), 4);
    (0..2).for_each(|number| lab.refuse(number, None));
    lab.account();
    lab.settle();
    assert_eq!((lab.orders(), lab.one(0).state, lab.one(1).state), (5, AcmeState::Active, AcmeState::Failing));
}

/// What an authority says that is none by the time that it says it holds up nobody.
#[test]
fn what_the_authority_before_says_late_is_no_reason_to_wait() {
    let mut lab = Lab::new();
    lab.zones(1);
    let (store, now, ca) = (lab.store.clone(), lab.now(), lab.certs.ca_pem().to_owned());
    // While an order is under way another one is named.
    *lab.fake.0.meanwhile.borrow_mut() = Some(Box::new(move || {
        let other = AcmeAccount::new(Some("https://other.example/dir"), None, Some(&ca), true, None, now).unwrap();
        commit(&store, vec![other.to_op()], now);
        Failure::new(FailureKind::TooOften, "too many new orders").after(Some(Duration::from_secs(86_400 * 7)))
    }));
    lab.account();
    lab.settle();
    assert_eq!((lab.orders(), lab.one(0).state), (2, AcmeState::Active));
    assert_eq!(lab.one(0).held.unwrap().directory, "https://other.example/dir");
}

#[test]
fn a_start_goes_on_where_the_last_process_was() {
    let mut lab = Lab::new();
    lab.zones(1);
    lab.account();
    // Orders begin, and the process is killed.
    let Lab { keeper, runtime, store, .. } = &mut lab;
    let is_claimed = || {
        let entries = store.read().unwrap().list_kind(Kind::AcmeCertificate, 9).unwrap();
        entries.iter().any(|entry| AcmeCertificate::from_entry(entry).unwrap().last_try_on.is_some())
    };
    runtime.block_on(async {
        keeper.begin(day(0)).unwrap();
        while !is_claimed() {
            if keeper.under_way() > 0 {
                keeper.next(|| day(0)).await.unwrap();
            }
            keeper.begin(day(0)).unwrap();
        }
    });
    assert!(lab.keeper.under_way() > 0 && lab.orders() == 0);
    lab.keeper = Keeper::new(lab.store.clone(), lab.seal.clone(), lab.fake.clone(), Nobody, Arc::default());
    lab.settle();
    assert_eq!(lab.orders(), 0, "not at once: an authority counts");
    lab.set(Timestamp::from_unix_micros(day(0).unix_micros() + 16 * 60_000_000));
    lab.settle();
    assert_eq!((lab.orders(), lab.one(0).state), (1, AcmeState::Active));
}

#[test]
fn the_authority_is_asked_when_to_renew_and_obeyed() {
    let mut lab = Lab::new();
    lab.zones(5);
    *lab.fake.0.window.borrow_mut() =
        Some(Window { from: day(70), until: day(71), ask_again: Some(Duration::from_secs(60)) });
    lab.account();
    lab.settle();
    assert_eq!(lab.pass(10).iter().sum::<usize>(), 0);
    let asked = lab.fake.0.asked.get();
    assert!((5 * 9..=5 * 41).contains(&asked), "some times a day and not each minute: {asked}");
    // It takes them back: all shall be new at once.
    *lab.fake.0.window.borrow_mut() = Some(Window { from: day(9), until: day(10), ask_again: None });
    lab.pass(1);
    assert_eq!(lab.orders(), 10);
}

#[test]
fn nobody_asks_for_what_nobody_wants() {
    let mut lab = Lab::new();
    lab.zones(3);
    lab.account();
    lab.settle();
    let (off, gone) = (lab.one(0).switched_off(day(1)), lab.one(1));
    lab.commit(vec![off.to_op(), Op::Del { key: Key::zone(gone.zone_id) }]);
    lab.pass(61);
    assert_eq!(lab.orders(), 4, "the third one alone is renewed");
    assert_eq!((lab.one(0).state, lab.one(0).held), (AcmeState::Off, None));
    // Somebody wants it now, and has not to wait for its time.
    lab.commit(vec![lab.one(2).asked_again(lab.now()).unwrap().to_op()]);
    lab.settle();
    assert_eq!(lab.orders(), 5);
}

#[test]
fn a_limit_of_some_names_holds_up_nobody_else_and_is_obeyed_whoever_asks() {
    let mut lab = Lab::new();
    lab.zones(1);
    let told = Failure::new(FailureKind::TooOften, "too many for zone0.test").after(Some(Duration::from_secs(7_200)));
    lab.refuse(0, Some(told.of_names()));
    lab.account();
    lab.settle();
    assert_eq!(lab.orders(), 1);
    lab.another_account(1);
    lab.settle();
    assert_eq!((lab.orders(), lab.one(1).state), (2, AcmeState::Active), "at once");
    let until = Timestamp::from_unix_micros(day(0).unix_micros() + 7_200_000_000);
    for _ in 0..7 {
        assert_eq!(lab.one(0).asked_again(lab.now()), Err(until));
        lab.pass_seconds(1_000);
    }
    assert_eq!(lab.orders(), 2);
    // Off and on is no way round.
    let usual = AcmeCertificate::for_zone(zone_id(0), &zone_name(0), lab.now());
    lab.put(&lab.one(0).switched_off(lab.now()).switched_on(usual));
    lab.settle();
    assert_eq!(lab.orders(), 2);
    lab.refuse(0, None);
    lab.pass_seconds(200);
    assert_eq!(lab.one(0).state, AcmeState::Active);
}

#[test]
fn a_limit_of_the_account_stops_all_for_as_long_as_it_says() {
    let mut lab = Lab::new();
    lab.zones(40);
    let told = Failure::new(FailureKind::TooOften, "too many new orders").after(Some(Duration::from_secs(3_600)));
    (0..40).for_each(|number| lab.refuse(number, Some(told.clone())));
    lab.account();
    (0..60).for_each(|_| lab.pass_seconds(59));
    assert!(lab.orders() <= AT_ONCE, "{}", lab.orders());
    // And where it does not say, longer each time.
    let untold = Failure::new(FailureKind::TooOften, "slowly");
    (0..40).for_each(|number| lab.refuse(number, Some(untold.clone())));
    let before = lab.orders();
    (0..60).for_each(|_| lab.pass_seconds(60));
    assert!(lab.orders() - before <= 7 * AT_ONCE, "{}", lab.orders() - before);
}

#[test]
fn many_names_of_a_zone_share_certificates() {
    let mut lab = Lab::new();
    lab.zones(1);
    lab.account();
    lab.settle();
    lab.hosts(0, 950);
    lab.settle();
    assert_eq!(lab.orders(), 1 + 10, "a hundred in each");
    assert!(lab.all().iter().all(|one| one.state == AcmeState::Active));
    let names = lab.fake.0.orders.borrow().iter().map(|wanted| wanted.names.len()).max();
    assert_eq!(names, Some(100));
    for one in lab.all() {
        let held = one.held.as_ref().unwrap();
        assert_eq!(one.held_names(held), one.names, "each is for its own name");
        let key = one.key(held, &lab.seal).unwrap();
        bartizan_tls::CertifiedKey::from_pem(&held.chain_pem, &key).unwrap();
    }
    // Renewed as they came; those that nothing needs any more go.
    lab.commit((0..50).map(|number| Op::Del { key: record_key(0, number) }).collect());
    let before = lab.orders();
    assert_eq!(lab.pass(56).iter().sum::<usize>(), 0);
    assert_eq!(lab.all().len(), 951);
    lab.pass(5);
    assert_eq!((lab.all().len(), lab.orders() - before), (901, 1 + 9));
}

#[test]
fn a_zone_with_much_under_way_holds_up_nobody() {
    let mut lab = Lab::new();
    lab.zones(1);
    lab.account();
    lab.settle();
    lab.fake.0.holds.set(true);
    lab.hosts(0, 900);
    lab.keeper.begin(lab.now()).unwrap();
    assert_eq!(lab.keeper.under_way(), 2, "nothing of it has come to an end");
    lab.another_account(1);
    lab.keeper.begin(lab.now()).unwrap();
    assert_eq!(lab.keeper.under_way(), 3, "and the other one is under way");
    lab.fake.0.holds.set(false);
    lab.settle();
    assert_eq!(lab.one(1).state, AcmeState::Active);
}

#[test]
fn one_bad_name_of_many_does_not_keep_the_others_from_theirs() {
    let mut lab = Lab::new();
    lab.zones(1);
    lab.account();
    lab.settle();
    lab.hosts(0, 40);
    let bad = "a.x7.zone0.test".to_owned();
    lab.fake.0.refuses.borrow_mut().insert(bad.clone(), Failure::new(FailureKind::NotShown, "a.x7: no TXT record"));
    lab.settle();
    assert_eq!(lab.orders(), 2);
    lab.pass(1);
    for one in lab.all() {
        let expect = if one.names[0] == bad { AcmeState::Failing } else { AcmeState::Active };
        assert_eq!(one.state, expect, "{:?} {:?}", one.names, one.last_error);
    }
    assert!(lab.orders() < 30, "{}", lab.orders());
}

#[test]
fn what_is_asked_for_in_a_loop_is_put_off() {
    let mut lab = Lab::new();
    lab.zones(1);
    lab.account();
    lab.settle();
    let mut refused = None;
    for second in 0..300 {
        match lab.one(0).asked_again(lab.now()) {
            Ok(again) => lab.put(&again),
            Err(until) => drop(refused.get_or_insert((second, until))),
        }
        lab.pass_seconds(1);
    }
    assert_eq!(lab.orders(), 20);
    assert!(refused.is_some_and(|(second, until)| second < 30 && until > lab.now()), "{refused:?}");
    let one = lab.one(0);
    assert!(one.last_error.as_deref().is_some_and(|why| why.contains("the zone has had its certificates for now")));
    assert!(one.held.is_some_and(|held| held.not_after > day(90)), "it is served as before");
    // Others go on, and this one when its time comes.
    lab.another_account(1);
    lab.settle();
    assert_eq!(lab.orders(), 21);
    lab.pass_seconds(600);
    assert_eq!((lab.orders(), lab.one(0).state), (22, AcmeState::Active));
}

#[test]
fn what_is_wanted_otherwise_by_the_time_that_it_comes_is_asked_for_again() {
    let mut lab = Lab::new();
    lab.zones(1);
    lab.account();
    let Lab { keeper, runtime, store, .. } = &mut lab;
    let claimed = || {
        let entries = store.read().unwrap().list_kind(Kind::AcmeCertificate, 9).unwrap();
        let all = entries.iter().map(|entry| AcmeCertificate::from_entry(entry).unwrap());
        all.into_iter().find(|one| one.last_try_on.is_some())
    };
    let under_way = runtime.block_on(async {
        loop {
            keeper.begin(day(0)).unwrap();
            match claimed() {
                Some(claimed) => return claimed,
                None if keeper.under_way() > 0 => keeper.next(|| day(0)).await.unwrap(),
                None => {}
            }
        }
    });
    let (both, one) = (under_way.names.clone(), vec![under_way.names[0].clone()]);
    let changed = AcmeCertificate { names: one.clone(), method: Method::Http, ..under_way };
    lab.put(&changed.asked_again(day(0)).unwrap());
    let Lab { keeper, runtime, .. } = &mut lab;
    runtime.block_on(keeper.next(|| day(0))).unwrap();
    let first = lab.one(0);
    let held = first.held.as_ref().unwrap();
    assert_eq!((first.held_names(held), &first.names), (&*both, &one), "it is served for what it is for");
    assert_eq!((first.next_on, first.renew_on), (Some(day(0)), None), "and the other one is due");
    lab.settle();
    let then = lab.one(0);
    assert_eq!((lab.orders(), then.held_names(then.held.as_ref().unwrap())), (2, &*one));
    assert!(then.renew_on.is_some());
}

/// What nothing needs is not asked for, be it for the first time, again, or to be renewed.
#[test]
fn what_nothing_needs_is_not_ordered() {
    let mut lab = Lab::new();
    lab.zones(1);
    lab.hosts(0, 3);
    // Gone before its turn came.
    lab.commit(vec![Op::Del { key: record_key(0, 0) }]);
    lab.refuse_name("a.x1.zone0.test", Some(Failure::new(FailureKind::NotShown, "no TXT record")));
    lab.account();
    lab.settle();
    let names = |lab: &Lab| {
        let mut names: Vec<String> = lab.all().into_iter().map(|one| one.names[0].clone()).collect();
        names.sort();
        names
    };
    let asked = |lab: &Lab, name: &str| {
        lab.fake.0.orders.borrow().iter().filter(|wanted| wanted.names.iter().any(|one| one == name)).count()
    };
    assert_eq!(names(&lab), ["a.x1.zone0.test", "a.x2.zone0.test", "zone0.test"]);
    assert_eq!(asked(&lab, "a.x0.zone0.test"), 0);
    // And while it failed.
    let before = asked(&lab, "a.x1.zone0.test");
    assert!(before > 0);
    lab.commit(vec![Op::Del { key: record_key(0, 1) }]);
    lab.pass(1);
    assert_eq!(
        (names(&lab), asked(&lab, "a.x1.zone0.test")),
        (vec!["a.x2.zone0.test".into(), "zone0.test".into()], before)
    );
}

/// A name without a record: a load balancer's needs a certificate as long as it is proxied.
#[test]
fn load_balancers_need_theirs() {
    let mut lab = Lab::new();
    lab.zones(1);
    let zone = zone_id(0);
    let put = |number: u8, proxied: bool| {
        let host = Name::parse(&format!("a.lb{number}.{}", zone_name(0))).unwrap();
        let key = Key::load_balancer(zone, LoadBalancerId::from_bytes([number; 16]));
        let document = Value::of(Kind::LoadBalancer, format!(r#"{{"name":"{host}","proxied":{proxied}}}"#));
        [Op::Put { key, value: document }, AcmeCertificate::for_host(zone, &host, lab.now()).to_op()]
    };
    lab.commit([put(0, true), put(1, false)].concat());
    lab.account();
    lab.settle();
    let mut names: Vec<String> = lab.all().into_iter().map(|one| one.names[0].clone()).collect();
    names.sort();
    assert_eq!(names, ["a.lb0.zone0.test", "zone0.test"]);
}

#[test]
fn the_end_of_one_is_seen_without_an_account_too() {
    let mut lab = Lab::new();
    lab.zones(2);
    lab.account();
    lab.settle();
    lab.refuse(1, Some(Failure::new(FailureKind::NotShown, "no TXT record")));
    lab.pass(61);
    assert_eq!(lab.progress.failing.load(std::sync::atomic::Ordering::Relaxed), 1);
    lab.commit(vec![Op::Del { key: Key::acme_account() }]);
    lab.settle();
    assert_eq!(lab.progress.failing.load(std::sync::atomic::Ordering::Relaxed), 0, "nobody tries any more");
    lab.pass(28);
    assert!(!lab.one(0).has_ended && !lab.one(1).has_ended);
    lab.pass(2);
    assert!(lab.one(1).has_ended, "so that ours goes before it");
    assert!(!lab.one(0).has_ended, "which was renewed");
    // Nor where none can be had.
    *lab.fake.0.refuses_account.borrow_mut() = Some(Failure::new(FailureKind::Refused, "no"));
    lab.account();
    lab.pass(61);
    assert!(lab.one(0).has_ended);
}

#[test]
fn an_account_that_the_authority_has_lost_is_made_anew() {
    let mut lab = Lab::new();
    lab.zones(20);
    lab.account();
    lab.settle();
    let lost = Failure::new(FailureKind::NoAccount, "unknown account (accountDoesNotExist)");
    (0..20).for_each(|number| {
        lab.refuse(number, Some(lost.clone()));
        lab.put(&lab.one(number).asked_again(lab.now()).unwrap());
    });
    lab.keeper.begin(lab.now()).unwrap();
    let (keeper, runtime) = (&mut lab.keeper, &lab.runtime);
    runtime.block_on(keeper.next(|| day(0))).unwrap();
    (0..20).for_each(|number| lab.refuse(number, None));
    lab.settle();
    assert_eq!(lab.fake.0.registered.get(), 2);
    assert!(lab.all().iter().all(|one| one.state == AcmeState::Active && one.failures == 0));
    // One that never knows us is no reason to make one after the other.
    (0..20).for_each(|number| {
        lab.refuse(number, Some(lost.clone()));
        lab.put(&lab.one(number).asked_again(lab.now()).unwrap());
    });
    lab.pass(1);
    assert!(lab.fake.0.registered.get() <= 2 + 5, "{}", lab.fake.0.registered.get());
}

#[test]
fn another_authority_is_asked_for_what_the_first_one_issued_and_refused() {
    let mut lab = Lab::new();
    lab.zones(60);
    let told = Failure::new(FailureKind::TooOften, "for zone0.test").after(Some(Duration::from_secs(86_400 * 7)));
    lab.refuse(0, Some(told.of_names()));
    lab.account();
    lab.settle();
    let (ca, now) = (lab.certs.ca_pem().to_owned(), lab.now());
    let other = Some("https://other.example/dir");
    let account = AcmeAccount::new(other, None, Some(&ca), true, None, now).unwrap();
    lab.refuse(0, None);
    lab.commit(vec![account.to_op()]);
    lab.settle();
    assert_eq!(lab.one(0).state, AcmeState::Active, "at once: the other one wanted to be asked later");
    let steps = lab.pass(1);
    assert_eq!(lab.orders(), 60 + 60);
    assert!(steps.iter().all(|step| *step < 59), "not all at once: {steps:?}");
    for one in lab.all() {
        assert_eq!(one.held.unwrap().directory, "https://other.example/dir");
    }
    let orders = lab.fake.0.orders.borrow();
    assert!(orders.iter().all(|wanted| wanted.replaces.is_none()), "which the other one knows nothing of");
}

/// What was noted by a clock that was ahead is looked at again when it is right: the end of what is valid, the next try, and
/// what does not begin yet.
#[test]
fn a_time_that_goes_back_was_wrong() {
    let mut lab = Lab::new();
    lab.zones(2);
    lab.account();
    lab.settle();
    let upload = lab.bring(0, day(0));
    let brought =
        |lab: &Lab, key: &Key| Upload::from_entry(&lab.store.read().unwrap().get(key).unwrap().unwrap()).unwrap();
    lab.refuse(0, Some(Failure::new(FailureKind::Refused, "not now")));
    lab.set(day(300));
    lab.settle();
    assert!(brought(&lab, &upload).has_ended());
    assert!(lab.one(0).has_ended && lab.one(0).state == AcmeState::Failing);
    lab.refuse(0, None);
    lab.set(day(3));
    lab.settle();
    assert!(brought(&lab, &upload).is_valid());
    assert_eq!((lab.one(0).state, lab.one(0).has_ended), (AcmeState::Active, false));
    assert!(lab.one(0).modified_on <= day(3));

    lab.set(day(60));
    lab.settle();
    let later = lab.bring(1, day(60));
    assert!(brought(&lab, &later).is_valid());
    lab.set(day(4));
    lab.settle();
    assert!(!brought(&lab, &later).is_valid() && !brought(&lab, &later).has_ended());
    // When its time comes, within a turn.
    lab.set(day(60));
    lab.settle();
    assert!(brought(&lab, &later).is_valid());
    lab.set(day(151));
    lab.settle();
    assert!(brought(&lab, &later).has_ended());
}

/// The same by the next process: nobody tells it that the time went back.
#[test]
fn a_start_looks_at_what_was_noted() {
    let mut lab = Lab::new();
    lab.zones(1);
    let upload = lab.bring(0, day(0));
    lab.set(day(100));
    lab.settle();
    let has_ended =
        |lab: &Lab| Upload::from_entry(&lab.store.read().unwrap().get(&upload).unwrap().unwrap()).unwrap().has_ended();
    assert!(has_ended(&lab));
    lab.set(day(1));
    lab.keeper = Keeper::new(lab.store.clone(), lab.seal.clone(), lab.fake.clone(), Nobody, Arc::clone(&lab.progress));
    lab.settle();
    assert!(!has_ended(&lab));
}
