//! What the keeper has others do: a public authority, and whoever shows it that names are ours.

use std::time::Duration;

use bartizan_names::{Timestamp, ZoneId};

use super::account::AcmeAccount;
use super::document::Method;
use super::failure::Failure;
use crate::chain::Chain;

/// A public authority. Futures stay on the keeper's thread.
pub trait Authority: Clone + 'static {
    /// Makes an account, and returns what it takes to use it.
    fn register(&self, account: &AcmeAccount) -> impl Future<Output = Result<Vec<u8>, Failure>>;

    /// Has a certificate issued.
    fn order(
        &self,
        account: &AcmeAccount,
        wanted: Wanted,
        hands: impl Hands,
    ) -> impl Future<Output = Result<Outcome, Failure>>;

    /// When a certificate is to be renewed (RFC 9773). None: it does not say.
    fn window(&self, account: &AcmeAccount, chain_pem: String)
    -> impl Future<Output = Result<Option<Window>, Failure>>;
}

/// Who shows it.
pub trait Hands: Clone + 'static {
    /// Returns when everybody who asks is answered so; after an error nobody is, and there is nothing to hide.
    fn show(&self, zone: ZoneId, proofs: &[Proof]) -> impl Future<Output = Result<(), String>>;

    fn hide(&self, proofs: &[Proof]) -> impl Future<Output = ()>;
}

/// What shows that a name is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Without the `*` of a wildcard.
    pub host: String,
    pub method: Method,
    pub token: String,
    /// The text of the record, or of the page.
    pub answer: String,
}

/// A certificate as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub zone: ZoneId,
    pub names: Vec<String>,
    pub method: Method,
    /// The chain of the one that it replaces, where the authority is to be told.
    pub replaces: Option<String>,
}

/// A certificate that was issued.
#[derive(Debug)]
pub struct Outcome {
    pub chain: Chain,
    pub renewal: Renewal,
}

/// Whether the authority says when to renew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    Told,
    Untold,
}

/// When a certificate is to be renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub from: Timestamp,
    pub until: Timestamp,
    /// When it may be asked again.
    pub ask_again: Option<Duration>,
}
