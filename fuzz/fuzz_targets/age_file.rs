//! Any octets as a file that is sealed: a head that is read, and a content of which nothing is given that is not authentic.

#![no_main]

use std::io::{Read, sink};
use std::sync::LazyLock;

use bartizan_seal::age::{Identity, Lock, Unlock, open, seal};
use libfuzzer_sys::fuzz_target;

static IDENTITY: LazyLock<Identity> = LazyLock::new(Identity::generate);

fuzz_target!(|input: &[u8]| {
    let unlock = Unlock::Identities(vec![IDENTITY.clone()]);
    // Nobody sealed it to this key.
    assert!(open(input, &unlock).is_err());
    // What we make with other octets behind it is none, whatever they are.
    let mut file = Vec::new();
    let (sealer, key) = seal(&Lock::Recipients(vec![IDENTITY.recipient()]), &mut file).expect("memory takes it");
    sealer.finish().expect("memory takes it");
    file.extend_from_slice(input);
    let (mut opener, _) = open(&*file, &Unlock::FileKey(key)).expect("its head is whole");
    assert_eq!(std::io::copy(&mut opener.by_ref(), &mut sink()).is_ok(), input.is_empty());
});
