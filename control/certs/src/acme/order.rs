//! One order, from the wish to the chain (RFC 8555 §7.1).
//!
//! ```text
//! order ─► authorizations ─► show ─► "ready" ─► ready? ─► request of the certificate ─► issued? ─► chain, checked
//!                              └──────────────── hide, whatever came of it ────────────────────────┘
//! ```

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bartizan_clock::Clock;
use bartizan_names::Timestamp;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, Problem,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};

use super::account::AcmeAccount;
use super::ari;
use super::authority::{Authority, Hands, Outcome, Proof, Renewal, Wanted, Window};
use super::document::Method;
use super::failure::{Failure, Kind};
use super::http::{Client, Later};
use crate::chain::Chain;

/// How long an authority may take to look at what is shown, and then to issue.
const PATIENCE: Duration = Duration::from_secs(120);

/// Orders that are begun one after the other when nonces were too old.
const TRIES_MAX: u32 = 3;

/// Characters of a token: authorities have some forty.
const TOKEN_MAX: usize = 256;

/// How soon it is asked how far it is, and how late at most.
const POLL_FIRST: Duration = Duration::from_millis(250);
const POLL_MOST: Duration = Duration::from_secs(8);

/// The authority whose directory the account names, by the network.
#[derive(Clone)]
pub struct Acme {
    seal: bartizan_seal::Key,
    clock: Clock,
    /// The account that was used last.
    known: Rc<RefCell<Option<(AcmeAccount, Account)>>>,
}

impl Acme {
    /// `clock` is asked whether what was issued is of use.
    pub fn new(seal: bartizan_seal::Key, clock: Clock) -> Acme {
        Acme { seal, clock, known: Rc::default() }
    }

    async fn account(&self, account: &AcmeAccount) -> Result<Account, Failure> {
        let is_same = |known: &AcmeAccount| {
            (&known.directory, &known.sealed_key, &known.roots_pem)
                == (&account.directory, &account.sealed_key, &account.roots_pem)
        };
        if let Some((_, there)) = self.known.borrow().as_ref().filter(|(known, _)| is_same(known)) {
            return Ok(there.clone());
        }
        let ours = |reason: String| Failure::new(Kind::Ours, format!("the account: {reason}"));
        let credentials = account.credentials(&self.seal).map_err(|error| ours(error.to_string()))?;
        let credentials = credentials.ok_or_else(|| ours("it is not made yet".to_owned()))?;
        let credentials: AccountCredentials =
            serde_json::from_slice(&credentials).map_err(|_| ours("its credentials are damaged".to_owned()))?;
        let builder = Account::builder_with_http(Box::new(Client::of(account, &self.clock)?));
        let there = builder.from_credentials(credentials).await.map_err(failure)?;
        *self.known.borrow_mut() = Some((account.clone(), there.clone()));
        Ok(there)
    }
}

impl Authority for Acme {
    async fn register(&self, account: &AcmeAccount) -> Result<Vec<u8>, Failure> {
        let contact = account.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let builder = Account::builder_with_http(Box::new(Client::of(account, &self.clock)?));
        let (_, credentials) = builder.create(&new, account.directory.clone(), None).await.map_err(failure)?;
        serde_json::to_vec(&credentials).map_err(|error| Failure::new(Kind::Ours, error.to_string()))
    }

    async fn order(&self, account: &AcmeAccount, wanted: Wanted, hands: impl Hands) -> Result<Outcome, Failure> {
        let account = self.account(account).await?;
        let mut tries = 1;
        loop {
            match order_once(&account, &wanted, &hands, &self.clock).await {
                Err(Failure { kind: Kind::Stale, .. }) if tries < TRIES_MAX => tries += 1,
                Err(failure) if failure.kind == Kind::TooOften && is_about(&failure.reason, &wanted.names) => {
                    return Err(failure.of_names());
                }
                ordered => return ordered,
            }
        }
    }

    async fn window(&self, account: &AcmeAccount, chain_pem: String) -> Result<Option<Window>, Failure> {
        let Some(id) = ari::identifier(&chain_pem) else { return Ok(None) };
        let (told, again) = match self.account(account).await?.renewal_info(&id).await {
            Ok(told) => told,
            Err(Error::Unsupported(_)) => return Ok(None),
            Err(error) => return Err(failure(error)),
        };
        let window = told.suggested_window;
        let at = |time: time::OffsetDateTime| Timestamp::from(SystemTime::from(time));
        Ok(Some(Window { from: at(window.start), until: at(window.end), ask_again: Some(again) }))
    }
}

async fn order_once(account: &Account, wanted: &Wanted, hands: &impl Hands, clock: &Clock) -> Result<Outcome, Failure> {
    let identifiers: Vec<Identifier> = wanted.names.iter().cloned().map(Identifier::Dns).collect();
    let mut new = NewOrder::new(&identifiers);
    if let Some(replaces) = wanted.replaces.as_deref().and_then(ari::identifier) {
        new = new.replaces(replaces);
    }
    let mut order = match account.new_order(&new).await {
        // It has no such extension.
        Err(Error::Unsupported(_)) => account.new_order(&NewOrder::new(&identifiers)).await,
        order => order,
    }
    .map_err(failure)?;
    let proofs = proofs(&mut order, wanted).await?;
    if !proofs.is_empty() {
        hands.show(wanted.zone, &proofs).await.map_err(|reason| Failure::new(Kind::Ours, reason))?;
        let authorized = authorize(&mut order, wanted.method).await;
        hands.hide(&proofs).await;
        authorized?;
    }
    let (chain_pem, key) = finalize(&mut order, &wanted.names).await?;
    // The next would be like it.
    let strange =
        |reason: String| Failure::new(Kind::Refused, format!("what the authority issued is of no use: {reason}"));
    let chain = Chain::of_key(&chain_pem, key, clock.now()).map_err(|error| strange(error.to_string()))?;
    if let Some(missing) = wanted.names.iter().find(|name| !chain.names.contains(name)) {
        return Err(strange(format!("it is not for {missing}")));
    }
    let renewal = if ari::identifier(&chain.chain_pem).is_some() { Renewal::Told } else { Renewal::Untold };
    Ok(Outcome { chain, renewal })
}

/// What has to be shown, of names that the authority does not know to be ours already.
async fn proofs(order: &mut Order, wanted: &Wanted) -> Result<Vec<Proof>, Failure> {
    let (method, mut proofs, mut asked) = (wanted.method, Vec::new(), 0);
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(failure)?;
        asked += 1;
        if asked > wanted.names.len() {
            let reason = format!("the authority asks more often than about {} names", wanted.names.len());
            return Err(Failure::new(Kind::Refused, reason));
        }
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            other => {
                let reason = format!("{} cannot be shown to be ours: {other:?}", authorization.identifier());
                return Err(Failure::new(Kind::NotShown, reason));
            }
        }
        let name = authorization.identifier().to_string();
        if !wanted.names.contains(&name) {
            let reason = format!("the authority asks about {name}, which was not asked for");
            return Err(Failure::new(Kind::Refused, reason));
        }
        let Some(challenge) = authorization.challenge(challenge_type(method)) else {
            let reason = format!("the authority does not take {} for {name}", method.as_str());
            return Err(Failure::new(Kind::Refused, reason));
        };
        if !is_token(&challenge.token) {
            return Err(Failure::new(Kind::Refused, format!("what is to be shown of {name} is no token")));
        }
        let authorization = challenge.key_authorization();
        let proof = Proof {
            host: name.strip_prefix("*.").unwrap_or(&name).to_owned(),
            method,
            token: challenge.token.clone(),
            answer: match method {
                Method::Txt => authorization.dns_value(),
                Method::Http => authorization.as_str().to_owned(),
            },
        };
        match proofs.iter().find(|other: &&Proof| other.token == proof.token) {
            // A zone and its wildcard may be shown by one.
            Some(other) if *other == proof => {}
            Some(_) => {
                let reason = format!("the authority gives one token for {} and for another name", proof.host);
                return Err(Failure::new(Kind::Refused, reason));
            }
            None => proofs.push(proof),
        }
    }
    Ok(proofs)
}

/// RFC 8555 §8.1: base64url, of 128 bits and more.
fn is_token(token: &str) -> bool {
    (1..=TOKEN_MAX).contains(&token.len())
        && token.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_')
}

fn challenge_type(method: Method) -> ChallengeType {
    match method {
        Method::Txt => ChallengeType::Dns01,
        Method::Http => ChallengeType::Http01,
    }
}

/// Has the authority look, and waits for what it saw.
async fn authorize(order: &mut Order, method: Method) -> Result<(), Failure> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(failure)?;
        if authorization.status == AuthorizationStatus::Pending
            && let Some(mut challenge) = authorization.challenge(challenge_type(method))
        {
            challenge.set_ready().await.map_err(failure)?;
        }
    }
    match wait(order, Kind::NotShown, |status| !matches!(status, OrderStatus::Pending)).await? {
        OrderStatus::Invalid => Err(why_invalid(order).await),
        _ => Ok(()),
    }
}

/// What the authority says of the names that it does not believe to be ours.
async fn why_invalid(order: &mut Order) -> Failure {
    let mut reasons = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let name = authorization.identifier().to_string();
        if let Ok(state) = authorization.refresh().await {
            let problem = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            reasons.extend(problem.map(|problem| format!("{name}: {}", told(problem))));
        }
    }
    if reasons.is_empty() {
        reasons.push("the authority does not say why".to_owned());
    }
    Failure::new(Kind::NotShown, reasons.join("; "))
}

/// Has the certificate issued for a new key. The chain, and the key in DER.
async fn finalize(order: &mut Order, names: &[String]) -> Result<(String, Vec<u8>), Failure> {
    let ours = |error: rcgen::Error| Failure::new(Kind::Ours, error.to_string());
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(ours)?;
    let mut params = CertificateParams::new(names).map_err(ours)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(ours)?;
    order.finalize_csr(request.der()).await.map_err(failure)?;
    let is_done = |status| matches!(status, OrderStatus::Valid | OrderStatus::Invalid);
    if !is_done(order.state().status) {
        wait(order, Kind::Away, is_done).await?;
    }
    match order.certificate().await.map_err(failure)? {
        Some(chain) => Ok((chain, key.serialize_der())),
        None => Err(Failure::new(Kind::Away, "the authority did not issue it in time").of_names()),
    }
}

/// Asks how far an order is until that is `enough`. If it never is, that is such a failure, and nobody else's matter: the
/// names may be slow to answer.
async fn wait(order: &mut Order, late: Kind, is_enough: impl Fn(OrderStatus) -> bool) -> Result<OrderStatus, Failure> {
    let asking = async {
        let mut rest = POLL_FIRST;
        loop {
            let status = match order.refresh().await {
                Ok(state) => state.status,
                Err(Error::Other(error)) if error.is::<Later>() => {
                    // Also who wants to be asked again at once is not asked more often than others.
                    let after = error.downcast_ref::<Later>().map_or(rest, |later| later.after);
                    tokio::time::sleep(after.max(rest)).await;
                    rest = (rest * 3 / 2).min(POLL_MOST);
                    continue;
                }
                Err(error) => return Err(failure(error)),
            };
            if is_enough(status) {
                return Ok(status);
            }
            tokio::time::sleep(rest).await;
            rest = (rest * 3 / 2).min(POLL_MOST);
        }
    };
    let late = || Failure::new(late, format!("the authority was not done in {} s", PATIENCE.as_secs())).of_names();
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err(late()))
}

fn told(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    let kind = kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind);
    match &problem.detail {
        Some(detail) => format!("{detail} ({kind})"),
        None => kind.to_owned(),
    }
}

/// What an error means for the next try (RFC 8555 §6.7).
fn failure(error: Error) -> Failure {
    let problem = match error {
        Error::Api(problem) => problem,
        Error::Other(error) => {
            return match error.downcast_ref::<Later>() {
                Some(later) if later.status.as_u16() == 429 => {
                    Failure::new(Kind::TooOften, later.reason.clone()).after(Some(later.after))
                }
                Some(later) => Failure::new(Kind::Away, later.reason.clone()).after(Some(later.after)),
                None => Failure::new(Kind::Away, error.to_string()),
            };
        }
        error => return Failure::new(Kind::Away, error.to_string()),
    };
    let kind = problem.r#type.as_deref().unwrap_or_default();
    let kind = match kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind) {
        "rateLimited" => Kind::TooOften,
        "badNonce" => Kind::Stale,
        "serverInternal" | "orderNotReady" => Kind::Away,
        "accountDoesNotExist" => Kind::NoAccount,
        "unauthorized" | "dns" | "connection" | "incorrectResponse" | "tls" | "caa" | "compound" => Kind::NotShown,
        _ => Kind::Refused,
    };
    let whole: Vec<String> = std::iter::once(told(&problem))
        .chain(problem.subproblems.iter().filter_map(|sub| {
            let detail = sub.detail.as_ref()?;
            Some(match &sub.identifier {
                Some(Identifier::Dns(name)) => format!("{name}: {detail}"),
                _ => detail.clone(),
            })
        }))
        .collect();
    let failure = Failure::new(kind, whole.join("; "));
    // It has answered.
    if kind == Kind::Away { failure.of_names() } else { failure }
}

/// Whether an authority that is asked too often speaks of some names, and not of our account: it says so in words alone
/// (RFC 8555 §6.6). Words that tell neither are about the account.
fn is_about(reason: &str, names: &[String]) -> bool {
    let reason = reason.to_ascii_lowercase();
    let is_above = |word: &str| {
        let word = word.trim_matches('.').trim_start_matches("*.");
        let lies_in =
            |name: &String| name.strip_suffix(word).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        word.contains('.') && names.iter().any(lies_in)
    };
    let mut words = reason.split(|char: char| !char.is_ascii_alphanumeric() && !"-_.*".contains(char));
    // Let's Encrypt: "for this exact set of identifiers".
    reason.contains("exact set of") || words.any(is_above)
}

#[cfg(test)]
mod tests {
    use super::super::failure::Whose;
    use super::*;

    #[test]
    fn what_the_authority_says_tells_when_to_try_again() {
        let problem = |kind: &str| {
            let text = format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"because","status":400}}"#);
            failure(Error::Api(serde_json::from_str(&text).unwrap()))
        };
        for (kind, expect) in [
            ("rateLimited", Kind::TooOften),
            ("badNonce", Kind::Stale),
            ("accountDoesNotExist", Kind::NoAccount),
            ("serverInternal", Kind::Away),
            ("dns", Kind::NotShown),
            ("unauthorized", Kind::NotShown),
            ("rejectedIdentifier", Kind::Refused),
            ("malformed", Kind::Refused),
        ] {
            let failure = problem(kind);
            assert_eq!((failure.kind, failure.reason), (expect, format!("because ({kind})")));
        }
        let later = |status| Later { reason: "slowly".to_owned(), status, after: Duration::from_secs(90) };
        for (status, expect) in
            [(http::StatusCode::TOO_MANY_REQUESTS, Kind::TooOften), (http::StatusCode::SERVICE_UNAVAILABLE, Kind::Away)]
        {
            let told = failure(Error::Other(Box::new(later(status))));
            assert_eq!((told.kind, told.retry_after), (expect, Some(Duration::from_secs(90))));
        }
        let away = failure(Error::Other("away".into()));
        assert_eq!((away.kind, away.whose), (Kind::Away, Whose::All));
        assert_eq!(problem("serverInternal").whose, Whose::Names, "it is there");
    }

    #[test]
    fn tokens() {
        for (token, expect) in [
            ("DGyRejmCefe7v4NfDGDKfA", true),
            ("a-_9", true),
            ("", false),
            ("a/b", false),
            ("../x", false),
            ("a b", false),
            ("a=", false),
            (&"x".repeat(257), false),
        ] {
            assert_eq!(is_token(token), expect, "{token}");
        }
    }

    #[test]
    fn limits_of_names_are_told_from_those_of_the_account() {
        let names = ["example.com", "*.example.com", "a.b.example.com"].map(str::to_owned);
        for (reason, expect) in [
            ("too many certificates (50) already issued for \"example.com\" in the last 168h0m0s, retry after", true),
            ("too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s", true),
            ("too many failed authorizations (5) for \"A.B.Example.com\" in the last 1h0m0s", true),
            ("limit of b.example.com.", true),
            ("too many new orders (300) from this account in the last 3h0m0s", false),
            ("too many new orders: see https://letsencrypt.org/docs/rate-limits/#new-orders-per-account", false),
            ("too many certificates for \"ample.com\"", false),
            ("too many certificates for com", false),
            ("Service busy; retry later.", false),
            ("", false),
        ] {
            assert_eq!(is_about(reason, &names), expect, "{reason}");
        }
    }
}
