//! Which certificates are needed, and the operations that bring them.

use std::sync::Arc;
use std::time::Duration;

use bartizan_clock::Clock;
use bartizan_names::{Name, Span, Timestamp, ZoneId, ZoneName};
use bartizan_store::{Key, Op, Scope, Snapshot};

use crate::ca::{Ca, Issued, Warning, days};
use crate::document::{self, Document, Purpose};
use crate::error::CertsError;

/// How long a certificate lives: short enough that renewal is never a surprise, long enough for a PoP without control.
const VALIDITY: Duration = days(90);

/// The names that connectors ask for at the handshake: by QUIC, by HTTP/2, and before either.
const TUNNEL_NAMES: [&str; 3] = ["quic.cftunnel.com", "h2.cftunnel.com", "probe.cftunnel.com"];

/// The CA with the key that seals, and the clock by which it issues. Cheap to clone.
#[derive(Clone)]
pub struct Certs(Arc<Inner>);

struct Inner {
    ca: Ca,
    seal: bartizan_seal::Key,
    clock: Clock,
}

impl Certs {
    /// By the system's clock, of which nothing is known from before.
    pub fn new(ca: Ca, seal: bartizan_seal::Key) -> Certs {
        Certs::by(Clock::default(), ca, seal)
    }

    pub fn by(clock: Clock, ca: Ca, seal: bartizan_seal::Key) -> Certs {
        Certs(Arc::new(Inner { ca, seal, clock }))
    }

    /// Whoever issues anew what is there asks it, and waits while it is in doubt. A name that has nothing yet gets a
    /// certificate for the time that is used then: better than none.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// What people trust, as PEM.
    pub fn ca_pem(&self) -> &str {
        self.0.ca.certificate_pem()
    }

    /// Why people should look at the CA, if they should.
    pub fn ca_warning(&self, now: Timestamp) -> Option<Warning> {
        self.0.ca.validity().warning(now)
    }

    /// Whether the CA issues nothing any more.
    pub fn ca_has_ended(&self, now: Timestamp) -> bool {
        self.0.ca.validity().until <= now
    }

    /// For a new zone: the apex and everything one label below it.
    pub fn for_zone(&self, zone: ZoneId, name: &ZoneName, now: Timestamp) -> Result<Vec<Op>, CertsError> {
        let names = vec![name.to_string(), format!("*.{name}")];
        Ok(vec![self.issue(Purpose::Zone, Some(zone), names, now, VALIDITY)?.to_op()])
    }

    /// For a name that begins to be served over TLS: nothing if a certificate covers it already, or if no certificate
    /// can, because it is not the name of a host.
    pub fn for_host(
        &self,
        snapshot: &Snapshot,
        zone: ZoneId,
        apex: &ZoneName,
        owner: &Name,
        now: Timestamp,
    ) -> Result<Vec<Op>, CertsError> {
        let parent = owner.parent();
        if !Certs::is_apart(apex, owner) {
            return Ok(Vec::new());
        }
        // RFC 9525 §6.3: a wildcard stands for exactly one label.
        let names = [owner.to_string()].into_iter().chain(parent.map(|parent| format!("*.{parent}")));
        for name in names {
            let key = Key::certificate(Scope::Zone(zone), document::id(Purpose::Host, Some(zone), &[name]));
            if let Some(entry) = snapshot.get(&key)?
                && self.is_good(&Document::from_entry(&entry)?, now)
            {
                return Ok(Vec::new());
            }
        }
        Ok(vec![self.issue(Purpose::Host, Some(zone), vec![owner.to_string()], now, VALIDITY)?.to_op()])
    }

    /// Whether a name of a zone needs a certificate beside the zone's own.
    pub fn is_apart(apex: &ZoneName, owner: &Name) -> bool {
        let by_zone = owner == apex.as_name() || owner.parent().as_ref() == Some(apex.as_name());
        !by_zone && owner.is_host() && apex.contains(owner)
    }

    /// For the names under which connectors dial us.
    pub fn for_tunnels(&self, now: Timestamp) -> Result<Vec<Op>, CertsError> {
        let names = TUNNEL_NAMES.map(str::to_owned).to_vec();
        Ok(vec![self.issue(Purpose::Tunnel, None, names, now, VALIDITY)?.to_op()])
    }

    /// For the API of one process, under these names and addresses. It is not kept.
    pub fn for_api(&self, names: &[String], now: Timestamp) -> Result<Issued, CertsError> {
        self.0.ca.issue(names, now, VALIDITY)
    }

    /// Whether a certificate is to be renewed: less than a third of its life is left, it is not valid yet, or
    /// another CA issued it.
    pub fn is_due(&self, document: &Document, now: Timestamp) -> bool {
        !self.is_good(document, now)
    }

    /// What certificates of our CA name as their issuer.
    pub fn issuer(&self) -> &str {
        self.0.ca.fingerprint()
    }

    /// A new one for the same purpose and names, with a new key.
    ///
    /// After a long rest it is valid from what was known of the time on, and for as long as usual from what is used: should
    /// the clock be ahead, it is good at both times. It is soon due again.
    pub fn renewed(&self, old: Document, span: Span) -> Result<Document, CertsError> {
        let Span { earliest, latest } = span;
        self.issue(old.purpose, old.zone, old.names, earliest, VALIDITY + time_between(earliest, latest))
    }

    fn is_good(&self, document: &Document, now: Timestamp) -> bool {
        document.issuer == self.issuer() && !document.is_due(now)
    }

    fn issue(
        &self,
        purpose: Purpose,
        zone: Option<ZoneId>,
        names: Vec<String>,
        now: Timestamp,
        validity: Duration,
    ) -> Result<Document, CertsError> {
        let Inner { ca, seal, .. } = &*self.0;
        let mut issued = ca.issue(&names, now, validity)?;
        if purpose == Purpose::Tunnel {
            // A connector that knows the CA by its fingerprint alone takes the certificate from here.
            issued.chain_pem.push_str(ca.certificate_pem());
        }
        Ok(Document::new(purpose, zone, names, issued, ca, seal))
    }
}

fn time_between(from: Timestamp, until: Timestamp) -> Duration {
    Duration::from_micros(until.unix_micros().saturating_sub(from.unix_micros()))
}
