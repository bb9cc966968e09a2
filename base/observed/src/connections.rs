//! Which connector is connected where.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bartizan_names::{ConnectorId, OriginFault, Timestamp, TunnelId};
use uuid::Uuid;

/// Connections that a connector keeps up when all is well.
const CONNECTIONS_WHOLE: usize = 4;

/// The connections of all tunnels at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connections(pub Vec<Connection>);

/// One registered connection of a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub tunnel: TunnelId,
    pub connector: ConnectorId,
    pub connection: Uuid,
    /// The connector's own number for it, from 0.
    pub index: u8,
    pub version: String,
    pub arch: String,
    pub features: Vec<String>,
    /// The labels that it was started with.
    pub tags: BTreeMap<String, String>,
    pub transport: Transport,
    pub origin_ip: IpAddr,
    pub opened_at: Timestamp,
    /// The name of the PoP that it ends at.
    pub location: String,
    /// What a connector that is not told its configuration does, once it has said so.
    pub uploaded: Option<Uploaded>,
    /// What came of the last configuration that it was given.
    pub configured: Option<Configured>,
    /// What came of the last request that it carried.
    pub service: LastAnswer,
    pub meter: Meter,
}

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Quic,
    Http2,
}

impl Transport {
    pub const fn as_str(self) -> &'static str {
        match self {
            Transport::Quic => "quic",
            Transport::Http2 => "http2",
        }
    }
}

/// What went over a connection until now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests, connections and flows that were begun on it.
    pub requests: u64,
    /// To the connector, as it carries them: with all that is around a request.
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// A round trip of late; none where it is not measured.
    pub rtt: Option<Duration>,
}

/// Whoever carries a connection.
pub trait Metered: Send + Sync {
    fn traffic(&self) -> Traffic;
}

/// Asks whoever carries a connection what went over it: nothing is published as it changes, and two connections do not
/// differ by it. What is over went over none.
#[derive(Clone, Default)]
pub struct Meter(Option<Weak<dyn Metered>>);

impl Meter {
    pub fn of(carrier: Weak<dyn Metered>) -> Meter {
        Meter(Some(carrier))
    }

    pub fn read(&self) -> Traffic {
        self.0.as_ref().and_then(Weak::upgrade).map(|carrier| carrier.traffic()).unwrap_or_default()
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meter")
    }
}

impl PartialEq for Meter {
    fn eq(&self, _: &Meter) -> bool {
        true
    }
}

impl Eq for Meter {}

/// What a connector says of its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// The one in force; -1 when it has none from here.
    pub version: i32,
    /// Why the last one was not taken, or which part of it was not.
    pub error: Option<Arc<str>>,
}

/// Whether the service behind a connection answered the last request, or why not. All snapshots share the one value, so
/// nothing is published for it, and two connections do not differ by it.
#[derive(Clone, Debug, Default)]
pub struct LastAnswer(Arc<AtomicU8>);

impl LastAnswer {
    const NEVER_ASKED: u8 = 0;
    const ANSWERED: u8 = 1;

    /// Hot: once a request. It writes only what is new.
    pub fn note(&self, fault: Option<OriginFault>) {
        let place = fault.and_then(|fault| OriginFault::ALL.iter().position(|one| *one == fault));
        let code = place.and_then(|place| u8::try_from(place).ok()).map_or(Self::ANSWERED, |place| place + 2);
        if self.0.load(Relaxed) != code {
            self.0.store(code, Relaxed);
        }
    }

    fn has_answered(&self) -> bool {
        self.0.load(Relaxed) == Self::ANSWERED
    }

    fn fault(&self) -> Option<OriginFault> {
        match self.0.load(Relaxed) {
            Self::NEVER_ASKED | Self::ANSWERED => None,
            code => OriginFault::ALL.get(usize::from(code) - 2).copied(),
        }
    }
}

impl PartialEq for LastAnswer {
    fn eq(&self, _: &LastAnswer) -> bool {
        true
    }
}

impl Eq for LastAnswer {}

/// The configuration that a connector brought with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// JSON in the connector's own words; not checked.
    pub json: Arc<str>,
    pub at: Timestamp,
}

/// What connections say about a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// No connection.
    Inactive,
    /// Fewer than a connector keeps.
    Degraded,
    Healthy,
}

impl Health {
    pub const fn as_str(self) -> &'static str {
        match self {
            Health::Inactive => "inactive",
            Health::Degraded => "degraded",
            Health::Healthy => "healthy",
        }
    }
}

impl Connections {
    pub fn of(&self, tunnel: TunnelId) -> impl Iterator<Item = &Connection> {
        self.0.iter().filter(move |connection| connection.tunnel == tunnel)
    }

    pub fn health(&self, tunnel: TunnelId) -> Health {
        match self.of(tunnel).count() {
            0 => Health::Inactive,
            count if count < CONNECTIONS_WHOLE => Health::Degraded,
            _ => Health::Healthy,
        }
    }

    /// Why the service behind a tunnel does not answer, if the last request over each of its connections, as far as they
    /// were used, came to nothing.
    pub fn service_fault(&self, tunnel: TunnelId) -> Option<OriginFault> {
        if self.of(tunnel).any(|connection| connection.service.has_answered()) {
            return None;
        }
        self.of(tunnel).find_map(|connection| connection.service.fault())
    }

    /// The newest configuration that a connector of the tunnel brought.
    pub fn uploaded(&self, tunnel: TunnelId) -> Option<&Uploaded> {
        self.of(tunnel).filter_map(|connection| connection.uploaded.as_ref()).max_by_key(|uploaded| uploaded.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_away_while_nothing_was_answered() {
        use OriginFault::{Refused, Untold};
        let tunnel = TunnelId::from_bytes([1; 16]);
        let connection = |index| Connection {
            tunnel,
            connector: ConnectorId::from_random([2; 16]),
            connection: Uuid::from_bytes([index; 16]),
            index,
            version: String::new(),
            arch: String::new(),
            features: Vec::new(),
            tags: BTreeMap::new(),
            transport: Transport::Quic,
            origin_ip: IpAddr::from([127, 0, 0, 1]),
            opened_at: Timestamp::from_unix_micros(0),
            location: String::new(),
            uploaded: None,
            configured: None,
            service: LastAnswer::default(),
            meter: Meter::default(),
        };
        let connections = Connections(vec![connection(0), connection(1)]);
        let seen = connections.clone();
        assert_eq!(seen.service_fault(tunnel), None, "nobody has asked");
        for (index, answer, expect) in [
            (0, Some(Refused), Some(Refused)),
            (1, None, None),
            (1, Some(Untold), Some(Refused)),
            (0, None, None),
            (0, Some(Untold), Some(Untold)),
        ] {
            connections.0[index].service.note(answer);
            assert_eq!(seen.service_fault(tunnel), expect, "{index} {answer:?}");
        }
    }
}
