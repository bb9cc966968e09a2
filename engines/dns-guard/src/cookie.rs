//! DNS cookies (RFC 7873) in the form that servers of several makers understand (RFC 9018 §4).
//!
//! ```text
//! client's 8 │ version 1 │ reserved 3 │ timestamp 4 │ SipHash-2-4 8   of all in front and the client's address
//!            └───────────────── server's 16 ────────┘
//! ```

use std::fmt;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

const CLIENT_BYTES: usize = 8;
const SERVER_BYTES: usize = 16;

/// What of a server's cookie is said in the clear, and hashed.
const CLEAR_BYTES: usize = 8;

/// The version of RFC 9018, and three reserved bytes.
const VERSION: [u8; 4] = [1, 0, 0, 0];

/// In seconds (RFC 9018 §4.3): a cookie is valid for an hour, and five minutes before its time, since clocks differ. From half
/// an hour on it is replaced.
const VALID: i32 = 3_600;
const VALID_AHEAD: i32 = 300;
const RENEWED_AFTER: i32 = 1_800;

/// What cookies are made with. Servers with one address have the same (RFC 9018 §5).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret([u8; Secret::BYTES]);

impl Secret {
    pub const BYTES: usize = 16;

    /// Any random bytes.
    pub const fn new(bytes: [u8; Secret::BYTES]) -> Secret {
        Secret(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The secrets in force: cookies are made with the current one, and those of the previous one are still valid, so that a
/// roll-over costs nobody theirs (RFC 9018 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secrets {
    current: Secret,
    previous: Option<Secret>,
}

/// Whether a client is where its datagrams say that they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It got a datagram of ours there, within the last hour.
    Proven,
    /// It showed a cookie of its own and none of ours that is valid: none, an old one, one of another address or secret.
    Unproven,
}

/// What a query's cookie is worth, and the server's cookie for the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    pub proof: Proof,
    pub server: [u8; SERVER_BYTES],
}

impl Secrets {
    pub const fn new(current: Secret, previous: Option<Secret>) -> Secrets {
        Secrets { current, previous }
    }

    /// Looks at the cookie that a client sent, and at the server's that it showed (none is empty). `now` is in seconds since
    /// 1970; its lower 32 bits count (RFC 1982 arithmetic). Whatever is wrong with a server's cookie, it is as good as none
    /// (RFC 7873 §5.2.4).
    ///
    /// Hot: once a query with a cookie. No allocation.
    pub fn check(&self, client: &[u8; CLIENT_BYTES], server: &[u8], from: IpAddr, now: u64) -> Checked {
        let now = now as u32;
        let fresh = || {
            let mut server = [0; SERVER_BYTES];
            server[..4].copy_from_slice(&VERSION);
            server[4..CLEAR_BYTES].copy_from_slice(&now.to_be_bytes());
            let hash = self.current.hash(client, &server[..CLEAR_BYTES], from);
            server[CLEAR_BYTES..].copy_from_slice(&hash);
            server
        };
        let Some((shown, age)) = of_our_form(server, now) else {
            return Checked { proof: Proof::Unproven, server: fresh() };
        };
        let (clear, hash) = shown.split_at(CLEAR_BYTES);
        let made_with = |secret: &Secret| secret.hash(client, clear, from) == hash;
        let is_current = made_with(&self.current);
        if !is_current && !self.previous.as_ref().is_some_and(made_with) {
            return Checked { proof: Proof::Unproven, server: fresh() };
        }
        // One with other reserved bits is valid, and what we make has none (RFC 9018 §4.2, appendix A.3).
        let stays = is_current && (0..=RENEWED_AFTER).contains(&age) && clear[..4] == VERSION;
        Checked { proof: Proof::Proven, server: if stays { *shown } else { fresh() } }
    }
}

/// A cookie that may be one of ours and valid, and its age in seconds.
fn of_our_form(server: &[u8], now: u32) -> Option<(&[u8; SERVER_BYTES], i32)> {
    let shown: &[u8; SERVER_BYTES] = server.try_into().ok()?;
    let [version, _, _, _, a, b, c, d, ..] = *shown;
    let age = now.wrapping_sub(u32::from_be_bytes([a, b, c, d])) as i32;
    (version == VERSION[0] && (-VALID_AHEAD..=VALID).contains(&age)).then_some((shown, age))
}

impl Secret {
    fn hash(&self, client: &[u8; CLIENT_BYTES], clear: &[u8], from: IpAddr) -> [u8; 8] {
        // In one piece, which takes half the time of three.
        let mut hashed = [0; CLIENT_BYTES + CLEAR_BYTES + 16];
        hashed[..CLIENT_BYTES].copy_from_slice(client);
        hashed[CLIENT_BYTES..][..CLEAR_BYTES].copy_from_slice(clear);
        let address = &mut hashed[CLIENT_BYTES + CLEAR_BYTES..];
        let length = match from.to_canonical() {
            IpAddr::V4(from) => {
                address[..4].copy_from_slice(&from.octets());
                CLIENT_BYTES + CLEAR_BYTES + 4
            }
            IpAddr::V6(from) => {
                address.copy_from_slice(&from.octets());
                CLIENT_BYTES + CLEAR_BYTES + 16
            }
        };
        SipHasher24::new_with_key(&self.0).hash(&hashed[..length]).to_le_bytes()
    }
}
