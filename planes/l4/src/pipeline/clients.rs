//! Clients that are known by a certificate: whether one is let in, and what its origin is told.

use bartizan_names::{ClientMode, ClientStatus, Unbelieved};
use bartizan_tls::{Client, ClientAuth, ServerStream};
use bartizan_wire::proxy::Shown;
use tokio::net::TcpStream;

use crate::Config;
use crate::session::Session;

/// Notes who the client of a session is, once the handshake is over.
pub(crate) fn note(session: &Session, stream: &ServerStream<TcpStream>) {
    if let Some(client) = stream.client() {
        // There is one handshake.
        let _ = session.client.set(Box::new(client));
    }
}

/// Whether the application lets in only those whom it knows by a certificate, and this client is none of them, or none any more.
/// Who came when nobody was asked has shown none. Nobody is known before the end of a handshake, and none is where the origin
/// ends TLS.
pub(crate) fn is_refused(config: &Config, session: &Session) -> bool {
    if session.agreed.get().is_none() {
        return false;
    }
    let Some(auth) = config.hosts.client_auth(&session.app.name.to_string()) else { return false };
    let status = || session.client.get().map_or(ClientStatus::None, |client| standing(config, client, auth));
    auth.policy.mode == ClientMode::Enforce && status() != ClientStatus::Valid
}

/// Whether its certificate has run out since it was let in.
pub(crate) fn has_run_out(config: &Config, session: &Session) -> bool {
    let has_shown_one = session.client.get().is_some_and(|client| client.certificate().is_some());
    has_shown_one && is_refused(config, session)
}

fn find<'c>(config: &'c Config, client: &Client) -> Option<(&'c ClientAuth, ClientStatus)> {
    let auth = config.hosts.client_auth(client.host())?;
    Some((auth, standing(config, client, auth)))
}

fn standing(config: &Config, client: &Client, auth: &ClientAuth) -> ClientStatus {
    client.standing(&config.hosts, &auth.trust, config.clock.span())
}

/// What an origin that reads version 2 of the PROXY protocol is told; none if the application does not ask.
pub(crate) fn tell<T>(config: &Config, session: &Session, tell: impl FnOnce(Shown<'_>) -> T) -> Option<T> {
    let client = session.client.get()?;
    let (_, status) = find(config, client)?;
    // Of one that is not believed, an origin that reads the name alone would take anybody for it.
    let facts = client.certificate().filter(|_| status == ClientStatus::Valid).and_then(|shown| shown.facts());
    let common_name = facts.as_ref().and_then(|facts| facts.common_name.as_deref());
    Some(tell(Shown { certificate: client.certificate().is_some(), verify: verify(status), common_name }))
}

/// As OpenSSL numbers its reasons (`X509_V_ERR_…`), which is what origins compare with.
fn verify(status: ClientStatus) -> u32 {
    match status {
        ClientStatus::Valid => 0,
        ClientStatus::None => 1,
        ClientStatus::Invalid(reason) => match reason {
            Unbelieved::Unreadable => 1,
            Unbelieved::NotYetValid => 9,
            Unbelieved::Expired => 10,
            Unbelieved::Untrusted => 20,
            Unbelieved::Revoked => 23,
            Unbelieved::WrongUsage => 26,
        },
    }
}
