//! Whether an answer over UDP may be sent to where its query says that it came from.
//!
//! ```text
//! query ── its cookie ──► Secrets::check ──► proof, and a cookie for the reply
//!                                              │ if nothing is proven
//! reply ── kind, name, size ──► Rates::judge ──► Send | Slip | Drop
//! ```
//! The address in a datagram can be forged, and then our answer goes to somebody who did not ask. Whoever shows a cookie that
//! this server gave to that address gets datagrams there (RFC 7873). Everybody else gets so many answers of a kind in a
//! second, and from there on a short one now and then that says how to prove the address.
//!
//! **BADCOOKIE** (RFC 7873 §5.2.3, §5.2.4 leave it to the server when to say it) is for those alone who are over a limit and
//! sent a cookie that proves nothing: it takes the place of the truncated answer. In peace a query without a valid cookie
//! gets its answer at once, with a cookie in it: a second round trip for everybody who comes anew would cost honest
//! clients more than a forger, who is stopped by the limit anyway.
//!
//! Not here: the option and its form (`base/wire`), connections (`base/quotas`), what a signature may cost. No clock
//! and no randomness: time, secrets and seeds are arguments.
//!
//! RFC 7873, RFC 9018 (cookies that several servers make alike); response rate limiting as BIND, NSD and Knot have it.

mod cookie;
mod limits;
mod rates;

pub use cookie::{Checked, Proof, Secret, Secrets};
pub use limits::{Allowance, Limits, LimitsError};
pub use rates::{Answered, Held, Kind, Rates, Verdict};
