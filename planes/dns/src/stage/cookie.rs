//! Whether the client is where its query says that it is.

use std::net::IpAddr;

use bartizan_dns_guard::{Checked, Proof, Secrets};
use bartizan_wire::dns::{Added, Cookie};

/// Says what the cookie proves that the client showed, and gives it one for its next query (RFC 7873 §5.2). None if it has
/// none, or we have no secret to make one with.
#[inline]
pub(crate) fn check(
    cookie: Option<Cookie<'_>>,
    client: IpAddr,
    secrets: Option<&Secrets>,
    unix: u64,
    added: &mut Added,
) -> Option<Proof> {
    let (cookie, secrets) = (cookie?, secrets?);
    let Checked { proof, server } = secrets.check(cookie.client, cookie.server, client, unix);
    added.cookie(cookie.client, &server);
    Some(proof)
}
