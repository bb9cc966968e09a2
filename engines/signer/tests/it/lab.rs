//! Keys of tests: not sealed, but wrapped so that a wrong wrapping does not open.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use bartizan_names::{Name, RecordType, ZoneName};
use bartizan_signer::{
    Algorithm, Budget, Duties, KeyPair, Lasting, Limits, NewKey, Origin, PrivateKey, PublicKey, RecordSet, Role,
    Signature, Signer, Source, Validity, ZoneKey, generate,
};

pub(crate) const SIGNS: Duties = Duties { published: true, signs: true, announced: true };

pub(crate) fn apex() -> ZoneName {
    ZoneName::new(name("example.com")).unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn new_key(role: Role, algorithm: Algorithm) -> ZoneKey {
    let NewKey { pkcs8, public } = generate(role, algorithm).unwrap();
    zone_key(public, &pkcs8)
}

pub(crate) fn zone_key(public: PublicKey, pkcs8: &[u8]) -> ZoneKey {
    ZoneKey { public, duties: SIGNS, private: Some(private(pkcs8)) }
}

/// A private half that opens.
pub(crate) fn private(pkcs8: &[u8]) -> PrivateKey {
    PrivateKey::sealed(b"lab", &[b"lab", pkcs8].concat(), unseal())
}

fn unseal() -> Arc<bartizan_signer::Unseal> {
    Arc::new(|context, sealed| sealed.strip_prefix(context).map(<[u8]>::to_vec))
}

/// One that does not.
pub(crate) fn closed() -> PrivateKey {
    PrivateKey::sealed(b"lab", b"something else", unseal())
}

/// A key from its seed as RFC 8080 prints it, in the form of RFC 8410.
pub(crate) fn of_seed(role: Role, seed: &[u8]) -> ZoneKey {
    let pkcs8 = [b"\x30\x2e\x02\x01\0\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20", seed].concat();
    let public = KeyPair::from_pkcs8(Algorithm::Ed25519, &pkcs8).unwrap().public(role).unwrap();
    zone_key(public, &pkcs8)
}

pub(crate) fn signer(budget: Budget) -> Signer {
    Signer::new(7, Limits { lasting: 100, passing: 10, budget })
}

/// A worker at a time, as seconds since its beginning.
pub(crate) struct Worker {
    pub(crate) signer: Signer,
}

/// When workers begin, in seconds since 1970.
pub(crate) const START: u64 = 1_800_000_000;

impl Worker {
    pub(crate) fn new(budget: Budget) -> Worker {
        let mut worker = Worker { signer: signer(budget) };
        worker.wait_until(0);
        worker.ask_from("192.0.2.1");
        worker
    }

    pub(crate) fn wait_until(&mut self, seconds: u64) {
        self.signer.set_time(START + seconds, Duration::from_secs(seconds));
    }

    /// Another time is believed than the one that passed.
    pub(crate) fn set_clock(&mut self, time: u64, seconds: u64) {
        self.signer.set_time(time, Duration::from_secs(seconds));
    }

    pub(crate) fn ask_from(&mut self, address: &str) {
        self.signer.set_source(Source::of(address.parse().unwrap(), Origin::Claimed));
    }

    /// The signature of one A record with this last octet.
    pub(crate) fn sign(
        &mut self,
        key: &ZoneKey,
        owner: &str,
        octet: u8,
        lasting: Lasting,
    ) -> Result<Signature, bartizan_signer::Unsigned> {
        let (owner, data) = (name(owner), [192, 0, 2, octet]);
        let data = std::iter::once(&data[..]);
        let set = RecordSet { owner: owner.as_wire(), rtype: RecordType::A, ttl: 300, data, lasting };
        self.signer.signature(apex().as_name().as_wire(), key, Validity::default(), &set).cloned()
    }
}

/// Whether a signature is of these records, as a validator sees it (RFC 4035 §5.3.2, §5.3.3). The data is in order.
pub(crate) fn is_valid(signature: &Signature, key: &PublicKey, signer: &Name, owner: &Name, data: &[&[u8]]) -> bool {
    let head = signature.head;
    let mut message = [&head[..], signer.as_wire()].concat();
    for record in data {
        message.extend_from_slice(owner.as_wire());
        message.extend_from_slice(&head[..2]);
        message.extend_from_slice(&[0, 1]);
        message.extend_from_slice(&head[4..8]);
        message.extend_from_slice(&(record.len() as u16).to_be_bytes());
        message.extend_from_slice(record);
    }
    let verified = match key.algorithm() {
        Algorithm::EcdsaP256Sha256 => {
            let point = [&[4], key.as_bytes()].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(&message, &signature.signature)
        }
        Algorithm::Ed25519 => UnparsedPublicKey::new(&ED25519, key.as_bytes()).verify(&message, &signature.signature),
    };
    verified.is_ok()
}

/// A number of four bytes in a signature's head.
pub(crate) fn time_at(signature: &Signature, at: usize) -> u64 {
    u64::from(u32::from_be_bytes(signature.head[at..at + 4].try_into().unwrap()))
}
