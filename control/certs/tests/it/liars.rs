//! An authority that lies: it gets neither a call of what is in our network, nor what would show that others' names are ours.

use std::cell::RefCell;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;

use bartizan_certs::{Acme, AcmeAccount, AcmeCertificate, Hands, Keeper, Method, Progress, Proof};
use bartizan_lab::acme::{Authority, Manner};
use bartizan_names::{Name, ZoneId, ZoneName};
use bartizan_store::{ChangeSet, Key, Kind, Meta, Op, Store, Value};

use crate::{ca, day, seal_key};

/// Who is asked to show something.
#[derive(Clone, Default)]
struct Asked(Rc<RefCell<Vec<Proof>>>);

impl Hands for Asked {
    async fn show(&self, _: ZoneId, proofs: &[Proof]) -> Result<(), String> {
        self.0.borrow_mut().extend(proofs.iter().cloned());
        Err("nothing is shown here".to_owned())
    }

    async fn hide(&self, _: &[Proof]) {}
}

/// What is told of the order of a name, and what was to be shown.
fn order(manner: Manner, method: Method) -> (String, Vec<Proof>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let (seal, ca, zone) = (seal_key(folder.path()), ca(folder.path()), ZoneId::from_bytes([1; 16]));
    let authority = Authority::start(manner);
    let account =
        AcmeAccount::new(Some(&authority.directory()), None, Some(ca.certificate_pem()), true, None, day(0)).unwrap();
    let name = ZoneName::new(Name::parse("a.test").unwrap()).unwrap();
    let wish = AcmeCertificate::ordered(zone, vec![name.to_string()], method, day(0));
    let document = format!(r#"{{"name":"a.test","status":"active","account":{{"id":"{zone}"}}}}"#);
    let place = Op::Put { key: Key::zone(zone), value: Value::of(Kind::Zone, document) };
    let meta =
        Meta { at: day(0), actor: "test".to_owned(), interface: "test".to_owned(), client: None, request_id: [1; 16] };
    store.commit(ChangeSet { guards: vec![], ops: vec![place, account.to_op(), wish.to_op()], meta }).unwrap();
    let asked = Asked::default();
    let mut keeper = Keeper::new(
        store.clone(),
        seal.clone(),
        Acme::new(seal, bartizan_clock::Clock::default()),
        asked.clone(),
        Arc::<Progress>::default(),
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let told = runtime.block_on(async {
        loop {
            keeper.begin(day(0)).unwrap();
            if keeper.under_way() > 0 {
                keeper.next(|| day(0)).await.unwrap();
            }
            let entry = store.read().unwrap().get(&wish.store_key()).unwrap().unwrap();
            if let Some(told) = AcmeCertificate::from_entry(&entry).unwrap().last_error {
                return told;
            }
        }
    });
    let shown = asked.0.borrow().clone();
    (told, shown)
}

fn manner(name: &str, token: &str) -> Manner {
    Manner { nonces: None, name: name.to_owned(), token: token.to_owned() }
}

#[test]
fn what_is_shown_is_of_the_names_that_were_asked_for() {
    let good = "DGyRejmCefe7v4NfDGDKfA";
    for method in [Method::Txt, Method::Http] {
        let (told, shown) = order(manner("a.test", good), method);
        assert_eq!((told.as_str(), shown.len()), ("nothing is shown here", 1));
        assert_eq!((shown[0].host.as_str(), shown[0].token.as_str(), shown[0].method), ("a.test", good, method));
        for (name, token, why) in [
            ("b.test", good, "the authority asks about b.test, which was not asked for"),
            ("www.a.test", good, "which was not asked for"),
            ("test", good, "which was not asked for"),
            ("a.test", "../../x", "is no token"),
            ("a.test", "", "is no token"),
        ] {
            let (told, shown) = order(manner(name, token), method);
            assert!(told.contains(why) && shown.is_empty(), "{name} {token}: {told}");
        }
    }
}

/// Whoever runs an authority does not have us call what only we can reach.
#[test]
fn nobody_in_our_network_is_called() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("an IPv4 socket") };
    let port = address.port();
    for (nonces, why) in [
        (format!("https://127.0.0.1:{port}/nonce"), "must not be dialled from here"),
        (format!("https://localhost:{port}/nonce"), "must not be dialled from here"),
        (format!("https://[::ffff:127.0.0.1]:{port}/nonce"), "must not be dialled from here"),
        // This machine too, or what tells secrets to whoever asks from here.
        (format!("https://0.0.0.0:{port}/nonce"), "must not be dialled from here"),
        (format!("https://[::]:{port}/nonce"), "must not be dialled from here"),
        ("https://169.254.169.254/nonce".to_owned(), "must not be dialled from here"),
        (format!("http://127.0.0.1:{port}/nonce"), "does not begin with https://"),
        ("http://203.0.113.1/nonce".to_owned(), "does not begin with https://"),
    ] {
        let (told, shown) = order(Manner { nonces: Some(nonces.clone()), ..manner("a.test", "x") }, Method::Txt);
        assert!(told.contains(why) && shown.is_empty(), "{nonces}: {told}");
        assert!(listener.accept().is_err(), "{nonces}");
    }
}
