//! The vectors of RFC 9018 appendix A, and what may become of a cookie on its way.

use std::net::IpAddr;

use bartizan_dns_guard::{Checked, Proof, Secret, Secrets};
use proptest::prelude::*;

/// The secrets of the appendix: of A.1 to A.3, and of A.4 before and after the roll-over.
const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
const OLD: &str = "dd3bdf9344b678b185a6f5cb60fca715";
const NEW: &str = "445536bcd2513298075a5d379663c962";

fn secret(hex: &str) -> Secret {
    Secret::new(hex::decode(hex).unwrap().try_into().unwrap())
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What comes of a cookie option: the proof, and the option of the reply.
fn check(secrets: &Secrets, option: &str, client: &str, now: u64) -> (Proof, String) {
    let option = hex::decode(option).unwrap();
    let (cookie, server) = option.split_first_chunk().unwrap();
    let Checked { proof, server } = secrets.check(cookie, server, address(client), now);
    (proof, hex::encode(cookie) + &hex::encode(server))
}

#[test]
fn the_vectors_of_rfc_9018() {
    let one = Secrets::new(secret(SECRET), None);
    let rolled = Secrets::new(secret(NEW), Some(secret(OLD)));
    let six = "2001:db8:220:1:59de:d0f4:8769:82b8";
    for (secrets, option, client, now, proof, expect) in [
        // A.1: a client learns one.
        (
            one,
            "2464c4abcf10c957",
            "198.51.100.100",
            1_559_731_985,
            Proof::Unproven,
            "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
        ),
        // A.2: forty minutes later it gets a new one.
        (
            one,
            "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
            "198.51.100.100",
            1_559_734_385,
            Proof::Proven,
            "2464c4abcf10c957010000005cf7a871d4a564a1442aca77",
        ),
        // A.3: reserved bits are a part of what is hashed. At the time of the appendix the cookie is older than the hour
        // of §4.3, so here it proves something at an earlier time only.
        (
            one,
            "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
            "203.0.113.203",
            1_559_734_700,
            Proof::Unproven,
            "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e",
        ),
        // A.4: made with the secret of before.
        (
            rolled,
            "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
            six,
            1_559_741_961,
            Proof::Proven,
            "22681ab97d52c298010000005cf7c609a6bb79d16625507a",
        ),
    ] {
        assert_eq!(check(&secrets, option, client, now), (proof, expect.to_owned()), "{option}");
    }
    let reserved = "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5";
    assert_eq!(check(&one, reserved, "203.0.113.203", 1_559_727_985 + 3_600).0, Proof::Proven);
}

#[test]
fn a_cookie_is_for_one_address_and_one_hour() {
    const MADE: u64 = 1_559_731_985;
    let cookie = "2464c4abcf10c957010000005cf79f111f8130c3eee29480";
    let [one, other] = [secret(SECRET), secret(NEW)];
    for (secrets, client, now, proof, kept) in [
        (Secrets::new(one, None), "198.51.100.100", MADE, Proof::Proven, true),
        (Secrets::new(one, None), "::ffff:198.51.100.100", MADE, Proof::Proven, true),
        (Secrets::new(one, None), "198.51.100.101", MADE, Proof::Unproven, false),
        (Secrets::new(one, None), "2001:db8::1", MADE, Proof::Unproven, false),
        (Secrets::new(one, None), "198.51.100.100", MADE + 1_800, Proof::Proven, true),
        (Secrets::new(one, None), "198.51.100.100", MADE + 1_801, Proof::Proven, false),
        (Secrets::new(one, None), "198.51.100.100", MADE + 3_600, Proof::Proven, false),
        (Secrets::new(one, None), "198.51.100.100", MADE + 3_601, Proof::Unproven, false),
        // Of a server whose clock is ahead of ours.
        (Secrets::new(one, None), "198.51.100.100", MADE - 300, Proof::Proven, false),
        (Secrets::new(one, None), "198.51.100.100", MADE - 301, Proof::Unproven, false),
        // 136 years later the time looks the same.
        (Secrets::new(one, None), "198.51.100.100", MADE + (1 << 32), Proof::Proven, true),
        (Secrets::new(other, None), "198.51.100.100", MADE, Proof::Unproven, false),
        (Secrets::new(other, Some(one)), "198.51.100.100", MADE, Proof::Proven, false),
        (Secrets::new(one, Some(other)), "198.51.100.100", MADE, Proof::Proven, true),
    ] {
        let (told, answer) = check(&secrets, cookie, client, now);
        assert_eq!((told, answer == cookie), (proof, kept), "{client} {}", now as i64 - MADE as i64);
    }
}

/// Servers of other makers have other cookies, and a client may show us one of theirs.
#[test]
fn cookies_of_others_prove_nothing() {
    let secrets = Secrets::new(secret(SECRET), None);
    for length in [0, 8, 15, 16, 17, 32] {
        for byte in [0, 1, 2, 0xff] {
            let checked = secrets.check(&[7; 8], &vec![byte; length], address("192.0.2.1"), 0x0101_0101);
            assert_eq!(checked.proof, Proof::Unproven, "{length} of {byte}");
        }
    }
}

proptest! {
    /// What we give is taken back, and nothing that was changed on the way.
    #[test]
    fn only_our_own_are_valid(
        client in any::<[u8; 8]>(), from in any::<u128>(), now in any::<u32>(), bytes in any::<[u8; 16]>(),
        at in 0..24_usize, bit in 0..8_u8,
    ) {
        let (secrets, now) = (Secrets::new(Secret::new(bytes), None), u64::from(now));
        let from = IpAddr::from(from.to_be_bytes());
        let given = secrets.check(&client, &[], from, now).server;
        prop_assert_eq!(secrets.check(&client, &given, from, now), Checked { proof: Proof::Proven, server: given });
        let mut changed = [client.as_slice(), &given].concat();
        changed[at] ^= 1 << bit;
        let (client, server) = changed.split_first_chunk().unwrap();
        prop_assert_eq!(secrets.check(client, server, from, now).proof, Proof::Unproven);
    }
}
