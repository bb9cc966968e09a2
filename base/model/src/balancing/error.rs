//! Why something of load balancing cannot be like this.

/// Facts, and the field at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BalancingError {
    #[error("{} is missing", pointer.trim_start_matches('/'))]
    Missing { pointer: &'static str },
    #[error("a name has 1 to 255 of the characters A-Z, a-z, 0-9, - and _")]
    Name { pointer: String },
    #[error("it has at most {max} octets, and no control characters")]
    Text { pointer: &'static str, max: usize },
    #[error("it is a number from {least} to {most}")]
    Range { pointer: &'static str, least: i64, most: i64 },
    #[error("{given:?} is none of {}", known.join(", "))]
    Word { pointer: &'static str, given: String, known: &'static [&'static str] },
    #[error("a pool has 1 to {max} origins")]
    Origins { max: usize },
    #[error("{given:?} is no IP address and no host name")]
    Address { index: usize, given: String },
    #[error("{given} is there twice; each origin has an address of its own")]
    Twice { index: usize, given: String },
    #[error("a weight is a number from 0 to 1")]
    Weight { pointer: String },
    #[error("a port is a number from 1 to 65535")]
    Port { index: usize },
    #[error("it must not be more than the number of origins")]
    Minimum,
    #[error("latitude is -90 to 90, longitude -180 to 180, and one is not without the other")]
    Place,
    #[error("{given:?} is no address of e-mail")]
    Email { given: String },
    #[error("this edge does not offer it")]
    NotOffered { pointer: String },
    #[error("a path begins with /, and has at most 1024 octets of the characters of a URL")]
    Path,
    #[error("{given:?} is no name of a header field, its value is none, or there are too many")]
    Header { given: String },
    #[error("codes are such as 200, 2xx or 200,301; {given:?} is none")]
    Codes { given: String },
    #[error("an answer to HEAD has no body: expect none, or ask by GET")]
    BodyOfHead,
    #[error("a monitor over TCP has a port")]
    PortOfTcp,
    #[error("interval must be more than timeout")]
    Interval,
    #[error("{given:?} is no host name in the zone")]
    Host { given: String },
    #[error("a name _service._proto.name is answered with names and ports of servers: it is not proxied")]
    ProxiedService,
    #[error("{given:?} is no pool's id")]
    Pool { pointer: String, given: String },
    #[error("{given:?} is no region, no country, or no place")]
    Where { pointer: String, given: String },
    #[error("there are 1 to {max} pools")]
    Pools { pointer: String, max: usize },
    #[error("there are 1 to {max} names of header fields")]
    AffinityHeaders { max: usize },
    #[error("all lists together name at most {max} pools")]
    Named { max: usize },
}

impl BalancingError {
    /// Where in the body it is (RFC 6901).
    pub fn pointer(&self) -> String {
        use BalancingError::*;
        match self {
            Missing { pointer } | Text { pointer, .. } | Range { pointer, .. } | Word { pointer, .. } => {
                (*pointer).to_owned()
            }
            Name { pointer }
            | Weight { pointer }
            | NotOffered { pointer }
            | Pool { pointer, .. }
            | Where { pointer, .. }
            | Pools { pointer, .. } => pointer.clone(),
            Origins { .. } => "/origins".to_owned(),
            Address { index, .. } | Twice { index, .. } => format!("/origins/{index}/address"),
            Port { index } => format!("/origins/{index}/port"),
            Minimum => "/minimum_origins".to_owned(),
            Place => "/latitude".to_owned(),
            Email { .. } => "/notification_email".to_owned(),
            Path => "/path".to_owned(),
            Header { .. } => "/header".to_owned(),
            Codes { .. } => "/expected_codes".to_owned(),
            BodyOfHead => "/expected_body".to_owned(),
            PortOfTcp => "/port".to_owned(),
            Interval => "/interval".to_owned(),
            ProxiedService => "/proxied".to_owned(),
            Host { .. } => "/name".to_owned(),
            AffinityHeaders { .. } => "/session_affinity_attributes/headers".to_owned(),
            Named { .. } => "/country_pools".to_owned(),
        }
    }
}
