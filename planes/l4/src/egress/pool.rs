//! A pool as the origin: one of its servers, and another one where that cannot be reached.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use bartizan_dial::{Group, Question};
use bartizan_names::{DnsKind, OriginHost, OriginPort};
use bartizan_steering::{Asked, Node, NodeChoice, NodeTarget, Pool};

use super::{Egress, Link, Opened, flow, refusal_of};
use crate::counters::OriginFailure;
use crate::limits::{NODE_TIME, NODES_TRIED_MAX};
use crate::session::Session;

/// The servers that a session is to try, one after the other.
struct Tries<'p> {
    pool: &'p Pool,
    asked: Asked,
    tried: u64,
    left: u32,
}

impl Tries<'_> {
    fn of<'p>(pool: &'p Pool, session: &Session) -> Tries<'p> {
        let draw = RandomState::new().hash_one(pool.id);
        Tries { pool, asked: Asked::by(session.hop.client.ip(), None, draw), tried: 0, left: NODES_TRIED_MAX }
    }

    /// The next one, and whether it is the last.
    fn next(&mut self) -> Option<(usize, bool)> {
        let index = self.pool.choose_one(&self.asked, self.tried).filter(|_| self.left > 0)?;
        self.tried |= 1 << index;
        self.left -= 1;
        Some((index, self.left == 0 || self.pool.choose_one(&self.asked, self.tried).is_none()))
    }
}

impl Egress {
    /// A connection to one of them. What has been sent to a server is never sent to another one: nothing was yet.
    pub(super) async fn dial_pool(
        &self,
        session: &Session,
        pool: &Arc<Pool>,
        port: Option<OriginPort>,
    ) -> Result<Link, OriginFailure> {
        let mut tries = Tries::of(pool, session);
        let mut failure = OriginFailure::Unreachable;
        while let Some((index, is_last)) = tries.next() {
            let node = &pool.nodes()[index];
            let dialling = self.dial_node(session, node, port);
            // The last one may use all the time that is left.
            let result = match is_last {
                true => dialling.await,
                false => tokio::time::timeout(NODE_TIME, dialling).await.unwrap_or(Err(OriginFailure::TimedOut)),
            };
            match result {
                Ok(link) => {
                    stay(session, pool, index);
                    return Ok(link);
                }
                Err(reason) => failure = told(session, node, reason),
            }
        }
        Err(failure)
    }

    async fn dial_node(&self, session: &Session, node: &Node, port: Option<OriginPort>) -> Result<Link, OriginFailure> {
        let port = port_of(session, node, port);
        match &node.target {
            NodeTarget::Host(hosts) => {
                Ok(Link::Socket(self.origins.connect_to(Some(session.app.zone), hosts, port).await?))
            }
            NodeTarget::Tunnel(tunnel) => self.dial_through(flow(session, *tunnel, None, port)).await,
        }
    }

    /// A way to send datagrams to one of them. Those that were not there a moment ago come last, since only that tells.
    pub(super) async fn open_at_pool(
        &self,
        session: &Session,
        pool: &Arc<Pool>,
        port: Option<OriginPort>,
    ) -> Result<Opened, OriginFailure> {
        let mut tries = Tries::of(pool, session);
        let (mut failure, mut dead) = (OriginFailure::Unreachable, None);
        while let Some((index, _)) = tries.next() {
            let node = &pool.nodes()[index];
            match self.open_at_node(session, node, port).await {
                Ok(Opened::Socket(_, address)) if dead.is_none() && self.origins.is_dead(address) => {
                    // A socket each would be too much to keep.
                    dead = Some(index);
                }
                Ok(Opened::Socket(_, address)) if self.origins.is_dead(address) => {}
                Ok(opened) => {
                    stay(session, pool, index);
                    return Ok(opened);
                }
                Err(reason) => failure = told(session, node, reason),
            }
        }
        let index = dead.ok_or(failure)?;
        let opened = self.open_at_node(session, &pool.nodes()[index], port).await?;
        stay(session, pool, index);
        Ok(opened)
    }

    async fn open_at_node(
        &self,
        session: &Session,
        node: &Node,
        port: Option<OriginPort>,
    ) -> Result<Opened, OriginFailure> {
        let port = port_of(session, node, port);
        let hosts = match &node.target {
            NodeTarget::Tunnel(tunnel) => {
                let flow = flow(session, *tunnel, None, port);
                return self.dialer.datagrams(flow).await.map(Opened::Tunnel).map_err(refusal_of);
            }
            NodeTarget::Host(hosts) => hosts,
        };
        let mut groups: Vec<Group> = Vec::new();
        for host in &**hosts {
            match host {
                OriginHost::Address(address) => groups.push(vec![(*address, port).into()]),
                OriginHost::Name(name) => {
                    let question = Question {
                        name,
                        kind: DnsKind::Any,
                        ttl_min: std::time::Duration::ZERO,
                        zone: Some(session.app.zone),
                    };
                    groups.extend(self.origins.find(question, port).await?);
                }
            }
        }
        self.open_to(groups).await
    }
}

fn port_of(session: &Session, node: &Node, port: Option<OriginPort>) -> u16 {
    let dialled = session.local.port();
    node.port.or(port.map(|port| session.app.port_at_origin(port, dialled))).unwrap_or(dialled)
}

fn told(session: &Session, node: &Node, reason: OriginFailure) -> OriginFailure {
    let reason_text = reason.as_str();
    tracing::debug!(app = %session.app.id, node = %node.name, reason = reason_text, "a server of the pool was not reached");
    reason
}

/// Counts the session for the server, where that decides who is next.
fn stay(session: &Session, pool: &Arc<Pool>, index: usize) {
    if pool.choice == NodeChoice::LeastOutstanding {
        session.at_node.get_or_init(|| pool.marks.begin(index));
    }
}
