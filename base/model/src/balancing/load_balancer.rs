//! Load balancers: a name of a zone, and the pools that it leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bartizan_names::{CountryCode, LoadBalancerId, Name, PoolId, Region, Timestamp, ZoneName};
use bartizan_v4::Patch;
use bartizan_v4::load_balancing as v4;

use super::{Refused, check_description, number, object, told, word};

/// Pools of one list, and lists by place of one load balancer.
const POOLS_MAX: usize = 100;
const LISTS_MAX: usize = 300;

/// Pools of all lists of one load balancer together.
const NAMED_MAX: usize = 2_000;

/// Seconds that answers may be kept, and that a visitor stays with a server.
const TTL: (u32, u32) = (10, 86_400);
const AFFINITY_TTL: (u32, u32) = (1_800, 604_800);
const AFFINITY_TTL_DEFAULT: u32 = 82_800;
const DRAIN_MAX: u32 = 86_400;

/// Header fields by which visitors stay, and octets of their names.
const HEADERS_MAX: usize = 5;
const HEADER_BYTES_MAX: usize = 100;

/// A load balancer that can be served.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadBalancer {
    pub id: LoadBalancerId,
    pub name: Name,
    pub enabled: bool,
    pub ttl: u32,
    pub fallback: PoolId,
    /// At least one.
    pub default: Vec<PoolId>,
    pub by_region: BTreeMap<Region, Vec<PoolId>>,
    pub by_country: BTreeMap<CountryCode, Vec<PoolId>>,
    /// By the name of the place, in upper case.
    pub by_pop: BTreeMap<String, Vec<PoolId>>,
    pub proxied: bool,
    /// Of the form `_service._proto.name`, and not proxied: DNS tells the servers' names and ports (RFC 2782).
    pub is_service: bool,
    pub steering: Steering,
    pub affinity: Affinity,
    /// Shares of pools for [`Steering::Random`], in parts of ten thousand; those of others are `default_weight`.
    pub weights: BTreeMap<PoolId, u16>,
    pub default_weight: u16,
}

/// How one of the pools is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// The first that is well.
    Failover,
    /// The first that is well of those for the visitor's country, region or place.
    Geo,
    /// Any that is well, by their shares.
    Random,
    /// The one with the fewest requests under way for its share.
    LeastOutstanding,
    /// The one whose servers answer looks soonest.
    Latency,
    /// The one that is nearest to the visitor's country.
    Proximity,
}

/// Whether visitors stay with a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Affinity {
    None,
    /// By a cookie; by the address for who has none yet where `by_address`.
    Cookie {
        cookie: Cookie,
        by_address: bool,
    },
    /// By the values of header fields (in lower case), `all` of which must be there.
    Header {
        names: Vec<String>,
        all: bool,
    },
}

/// How the cookie is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    pub max_age: Duration,
    pub same_site: SameSite,
    /// None: as the visitor came.
    pub secure: Option<bool>,
    /// Whether who stays with a server that is down is sent to another one.
    pub fails_over: bool,
    /// So long after a server was switched off who was with it stays.
    pub drain: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    Lax,
    None,
    Strict,
}

impl LoadBalancer {
    /// What is kept of what was sent, beside what was `before`.
    pub fn document(
        (id, zone): (LoadBalancerId, &ZoneName),
        before: Option<&v4::LoadBalancer>,
        body: &v4::LoadBalancerBody,
        now: Timestamp,
    ) -> Result<v4::LoadBalancer, Refused> {
        if body.rules.value().is_some_and(|rules| !rules.is_empty()) {
            return Err(Refused::NotOffered { pointer: "/rules".to_owned() });
        }
        let was = |field: fn(&v4::LoadBalancer) -> &String| before.map(|before| field(before).clone());
        let name = match (&body.name, before) {
            (Patch::Value(text), _) => LoadBalancer::parse_name(text, zone)?.to_string(),
            (Patch::Absent, Some(before)) => before.name.clone(),
            (Patch::Absent | Patch::Null, _) => return Err(Refused::Missing { pointer: "/name" }),
        };
        let fallback_pool = match (&body.fallback_pool, before) {
            (Patch::Value(text), _) => pool(text, "/fallback_pool".to_owned())?,
            (Patch::Absent, Some(before)) => before.fallback_pool,
            (Patch::Absent | Patch::Null, _) => return Err(Refused::Missing { pointer: "/fallback_pool" }),
        };
        let default_pools = match (&body.default_pools, before) {
            (Patch::Value(texts), _) => pools(texts, "/default_pools")?,
            (Patch::Absent, Some(before)) => before.default_pools.clone(),
            (Patch::Absent | Patch::Null, _) => return Err(Refused::Missing { pointer: "/default_pools" }),
        };
        let document = v4::LoadBalancer {
            id,
            name,
            description: told(&body.description, was(|one| &one.description), String::new()),
            enabled: told(&body.enabled, before.map(|before| before.enabled), true),
            ttl: number((&body.ttl, "/ttl"), before.map(|before| before.ttl), 30, TTL)?,
            fallback_pool,
            default_pools,
            region_pools: by_place(&body.region_pools, before.map(|one| &one.region_pools), "/region_pools")?,
            country_pools: by_place(&body.country_pools, before.map(|one| &one.country_pools), "/country_pools")?,
            pop_pools: by_place(&body.pop_pools, before.map(|one| &one.pop_pools), "/pop_pools")?,
            proxied: told(&body.proxied, before.map(|before| before.proxied), false),
            steering_policy: told(&body.steering_policy, was(|one| &one.steering_policy), String::new()),
            session_affinity: told(&body.session_affinity, was(|one| &one.session_affinity), "none".to_owned()),
            session_affinity_ttl: number(
                (&body.session_affinity_ttl, "/session_affinity_ttl"),
                before.map(|before| before.session_affinity_ttl),
                AFFINITY_TTL_DEFAULT,
                AFFINITY_TTL,
            )?,
            session_affinity_attributes: object(
                &body.session_affinity_attributes,
                before.map(|before| &before.session_affinity_attributes),
                v4::SessionAffinity::default(),
                attributes,
            )?,
            random_steering: object(
                &body.random_steering,
                before.map(|before| &before.random_steering),
                v4::RandomSteering::default(),
                |body| {
                    Ok(v4::RandomSteering {
                        default_weight: told(&body.default_weight, None, 1.0),
                        pool_weights: told(&body.pool_weights, None, BTreeMap::new()),
                    })
                },
            )?,
            created_on: before.map_or(now, |before| before.created_on),
            modified_on: before.map_or(now, |before| before.modified_on),
        };
        let parsed = LoadBalancer::parse(&document)?;
        if parsed.proxied && names_service(&parsed.name) {
            return Err(Refused::ProxiedService);
        }
        Ok(document)
    }

    pub fn parse(document: &v4::LoadBalancer) -> Result<LoadBalancer, Refused> {
        let name = Name::parse(&document.name).map_err(|_| Refused::Host { given: document.name.clone() })?;
        check_description(&document.description)?;
        if !(1..=POOLS_MAX).contains(&document.default_pools.len()) {
            return Err(Refused::Pools { pointer: "/default_pools".to_owned(), max: POOLS_MAX });
        }
        let lists = [&document.region_pools, &document.country_pools, &document.pop_pools];
        if lists.iter().map(|lists| lists.len()).sum::<usize>() > LISTS_MAX {
            return Err(Refused::Pools { pointer: "/country_pools".to_owned(), max: LISTS_MAX });
        }
        let named: usize = lists.iter().flat_map(|lists| lists.values()).map(Vec::len).sum();
        if document.default_pools.len() + named > NAMED_MAX {
            return Err(Refused::Named { max: NAMED_MAX });
        }
        let places = lists.iter().any(|lists| !lists.is_empty());
        let steering = match document.steering_policy.as_str() {
            "" if places => Steering::Geo,
            "" | "off" => Steering::Failover,
            "geo" => Steering::Geo,
            "random" => Steering::Random,
            "least_outstanding_requests" | "least_connections" => Steering::LeastOutstanding,
            "dynamic_latency" => Steering::Latency,
            "proximity" => Steering::Proximity,
            given => {
                return Err(Refused::Word {
                    pointer: "/steering_policy",
                    given: given.to_owned(),
                    known: &[
                        "off",
                        "geo",
                        "random",
                        "dynamic_latency",
                        "proximity",
                        "least_outstanding_requests",
                        "least_connections",
                    ],
                });
            }
        };
        let weights = document.random_steering.pool_weights.iter().map(|(text, share)| {
            let pointer = format!("/random_steering/pool_weights/{text}");
            Ok((pool(text, pointer.clone())?, weight(*share, pointer)?))
        });
        Ok(LoadBalancer {
            id: document.id,
            is_service: !document.proxied && names_service(&name),
            name,
            enabled: document.enabled,
            ttl: document.ttl,
            fallback: document.fallback_pool,
            default: document.default_pools.clone(),
            by_region: keyed(&document.region_pools, "/region_pools", |text| text.parse().ok())?,
            by_country: keyed(&document.country_pools, "/country_pools", |text| text.parse().ok())?,
            by_pop: keyed(&document.pop_pools, "/pop_pools", |text| {
                let fits = (1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
                fits.then(|| text.to_ascii_uppercase())
            })?,
            proxied: document.proxied,
            steering,
            affinity: affinity(document)?,
            weights: weights.collect::<Result<_, Refused>>()?,
            default_weight: weight(
                document.random_steering.default_weight,
                "/random_steering/default_weight".to_owned(),
            )?,
        })
    }

    /// A host of the zone, whole.
    pub fn parse_name(text: &str, zone: &ZoneName) -> Result<Name, Refused> {
        let refused = || Refused::Host { given: text.chars().take(80).collect() };
        let name = Name::typed(text.trim()).map_err(|_| refused())?;
        let fits = name.is_host() && !name.is_wildcard() && zone.contains(&name);
        if fits { Ok(name) } else { Err(refused()) }
    }

    /// All pools that it may send somebody to.
    pub fn pools(&self) -> impl Iterator<Item = PoolId> {
        let by_place = self.by_region.values().chain(self.by_country.values()).chain(self.by_pop.values());
        std::iter::once(self.fallback).chain(self.default.iter().copied()).chain(by_place.flatten().copied())
    }
}

/// Whether it is of the form `_service._proto.name`.
fn names_service(name: &Name) -> bool {
    let mut labels = name.labels();
    let mut begins = || labels.next().is_some_and(|label| label.len() > 1 && label.starts_with(b"_"));
    begins() && begins()
}

fn pool(text: &str, pointer: String) -> Result<PoolId, Refused> {
    text.parse().map_err(|_| Refused::Pool { pointer, given: text.chars().take(80).collect() })
}

fn pools(texts: &[String], pointer: &str) -> Result<Vec<PoolId>, Refused> {
    if !(1..=POOLS_MAX).contains(&texts.len()) {
        return Err(Refused::Pools { pointer: pointer.to_owned(), max: POOLS_MAX });
    }
    texts.iter().enumerate().map(|(index, text)| pool(text, format!("{pointer}/{index}"))).collect()
}

fn by_place(
    field: &Patch<BTreeMap<String, Vec<String>>>,
    before: Option<&BTreeMap<String, Vec<PoolId>>>,
    pointer: &str,
) -> Result<BTreeMap<String, Vec<PoolId>>, Refused> {
    match field {
        Patch::Absent => Ok(before.cloned().unwrap_or_default()),
        Patch::Null => Ok(BTreeMap::new()),
        Patch::Value(lists) if lists.len() > LISTS_MAX => {
            Err(Refused::Pools { pointer: pointer.to_owned(), max: LISTS_MAX })
        }
        Patch::Value(lists) => {
            let one = |(place, texts): (&String, &Vec<String>)| {
                Ok((place.to_ascii_uppercase(), pools(texts, &format!("{pointer}/{place}"))?))
            };
            lists.iter().map(one).collect()
        }
    }
}

fn keyed<K: Ord>(
    lists: &BTreeMap<String, Vec<PoolId>>,
    pointer: &str,
    key: impl Fn(&str) -> Option<K>,
) -> Result<BTreeMap<K, Vec<PoolId>>, Refused> {
    let one = |(place, pools): (&String, &Vec<PoolId>)| {
        let refused =
            || Refused::Where { pointer: format!("{pointer}/{place}"), given: place.chars().take(80).collect() };
        Ok((key(place).ok_or_else(refused)?, pools.clone()))
    };
    lists.iter().map(one).collect()
}

fn weight(share: f64, pointer: String) -> Result<u16, Refused> {
    if !(0.0..=1.0).contains(&share) {
        return Err(Refused::Weight { pointer });
    }
    Ok((share * 10_000.0).round() as u16) // 0 to 10,000
}

/// What is kept of what was sent.
fn attributes(body: &v4::SessionAffinityBody) -> Result<v4::SessionAffinity, Refused> {
    let usual = v4::SessionAffinity::default();
    let drain = (&body.drain_duration, "/session_affinity_attributes/drain_duration");
    Ok(v4::SessionAffinity {
        samesite: word(&body.samesite, &usual.samesite),
        secure: word(&body.secure, &usual.secure),
        drain_duration: number(drain, None, usual.drain_duration, (0, DRAIN_MAX))?,
        zero_downtime_failover: word(&body.zero_downtime_failover, &usual.zero_downtime_failover),
        headers: told(&body.headers, None, usual.headers),
        require_all_headers: told(&body.require_all_headers, None, usual.require_all_headers),
    })
}

fn affinity(document: &v4::LoadBalancer) -> Result<Affinity, Refused> {
    let attributes = &document.session_affinity_attributes;
    let word = |pointer, given: &str, known| Refused::Word { pointer, given: given.to_owned(), known };
    let by_address = match document.session_affinity.as_str() {
        "" | "none" => return Ok(Affinity::None),
        "cookie" => false,
        "ip_cookie" => true,
        "header" => return headers(attributes),
        given => return Err(word("/session_affinity", given, &["none", "cookie", "ip_cookie", "header"])),
    };
    let at = "/session_affinity_attributes/samesite";
    let same_site = match attributes.samesite.as_str() {
        "" | "Auto" | "Lax" => SameSite::Lax,
        "None" => SameSite::None,
        "Strict" => SameSite::Strict,
        given => return Err(word(at, given, &["Auto", "Lax", "None", "Strict"])),
    };
    let secure = match attributes.secure.as_str() {
        "" | "Auto" => None,
        "Always" => Some(true),
        "Never" => Some(false),
        given => return Err(word("/session_affinity_attributes/secure", given, &["Auto", "Always", "Never"])),
    };
    let fails_over = match attributes.zero_downtime_failover.as_str() {
        "" | "none" => false,
        "temporary" | "sticky" => true,
        given => {
            let at = "/session_affinity_attributes/zero_downtime_failover";
            return Err(word(at, given, &["none", "temporary", "sticky"]));
        }
    };
    if attributes.drain_duration > DRAIN_MAX {
        let pointer = "/session_affinity_attributes/drain_duration";
        return Err(Refused::Range { pointer, least: 0, most: DRAIN_MAX.into() });
    }
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let max_age = seconds(document.session_affinity_ttl);
    let drain = seconds(attributes.drain_duration);
    Ok(Affinity::Cookie { cookie: Cookie { max_age, same_site, secure, fails_over, drain }, by_address })
}

/// Fields by whose values visitors stay.
fn headers(attributes: &v4::SessionAffinity) -> Result<Affinity, Refused> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let fits = |name: &String| (1..=HEADER_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_token);
    if !(1..=HEADERS_MAX).contains(&attributes.headers.len()) || !attributes.headers.iter().all(fits) {
        return Err(Refused::AffinityHeaders { max: HEADERS_MAX });
    }
    let names: BTreeSet<String> = attributes.headers.iter().map(|name| name.to_ascii_lowercase()).collect();
    Ok(Affinity::Header { names: names.into_iter().collect(), all: attributes.require_all_headers })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const POOL: &str = "17b5962d775c646f3f9725cbc7a53df4";

    fn document(fields: Value) -> Result<v4::LoadBalancer, Refused> {
        let zone = ZoneName::new(Name::parse("example.com").unwrap()).unwrap();
        let mut body = json!({"name": "www.example.com", "fallback_pool": POOL, "default_pools": [POOL]});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let body = serde_json::from_value(body).unwrap();
        let id = LoadBalancerId::from_bytes([1; 16]);
        LoadBalancer::document((id, &zone), None, &body, Timestamp::from_unix_micros(0))
    }

    /// So many places with a hundred pools each.
    fn many(places: usize) -> Value {
        (0..places).map(|place| (format!("P{place}"), json!(vec![POOL; 100]))).collect::<serde_json::Map<_, _>>().into()
    }

    #[test]
    fn what_a_load_balancer_can_be() {
        for (fields, expect) in [
            (json!({}), ""),
            (json!({"name": "www.example.net"}), "/name"),
            (json!({"name": "*.example.com"}), "/name"),
            (json!({"name": null}), "/name"),
            (json!({"name": "_http._tcp.example.com", "proxied": true}), "/proxied"),
            (json!({"name": "_http._tcp.example.com"}), ""),
            (json!({"name": "_http.example.com", "proxied": true}), ""),
            (json!({"default_pools": []}), "/default_pools"),
            (json!({"default_pools": [POOL, "f9138c5d07c2e2f4df57b1f61d4196"]}), "/default_pools/1"),
            (json!({"fallback_pool": "x"}), "/fallback_pool"),
            (json!({"ttl": 9}), "/ttl"),
            (json!({"region_pools": {"weu": [POOL]}}), ""),
            (json!({"region_pools": {"EU": [POOL]}}), "/region_pools/EU"),
            (json!({"country_pools": {"DE": [POOL]}}), ""),
            (json!({"country_pools": {"Germany": [POOL]}}), "/country_pools/GERMANY"),
            (json!({"pop_pools": {"LHR": [POOL]}}), ""),
            (json!({"pop_pools": many(19)}), ""),
            (json!({"pop_pools": many(20)}), "/country_pools"),
            (json!({"pop_pools": {"L-R": [POOL]}}), "/pop_pools/L-R"),
            (json!({"steering_policy": "geo"}), ""),
            (json!({"steering_policy": "proximity"}), ""),
            (json!({"steering_policy": "luck"}), "/steering_policy"),
            (json!({"session_affinity": "cookie"}), ""),
            (json!({"steering_policy": "dynamic_latency"}), ""),
            (json!({"session_affinity": "header"}), "/session_affinity_attributes/headers"),
            (json!({"session_affinity": "header", "session_affinity_attributes": {"headers": ["X-User"]}}), ""),
            (
                json!({"session_affinity": "header", "session_affinity_attributes": {"headers": ["X User"]}}),
                "/session_affinity_attributes/headers",
            ),
            (json!({"session_affinity": "cookie", "session_affinity_attributes": {"drain_duration": 60}}), ""),
            (
                json!({"session_affinity": "cookie", "session_affinity_attributes": {"drain_duration": 86_401}}),
                "/session_affinity_attributes/drain_duration",
            ),
            (json!({"session_affinity_ttl": 60}), "/session_affinity_ttl"),
            (json!({"random_steering": {"default_weight": 1.1}}), "/random_steering/default_weight"),
        ] {
            let refused = document(fields.clone()).err().map(|error| error.pointer());
            assert_eq!(refused.unwrap_or_default(), expect, "{fields}");
        }
    }

    #[test]
    fn names_of_services() {
        for (fields, expect) in [
            (json!({}), false),
            (json!({"name": "_http._tcp.example.com"}), true),
            (json!({"name": "_HTTP._Tcp.www.example.com"}), true),
            (json!({"name": "_http.www.example.com"}), false),
            (json!({"name": "_._.example.com"}), false),
        ] {
            assert_eq!(LoadBalancer::parse(&document(fields.clone()).unwrap()).unwrap().is_service, expect, "{fields}");
        }
    }

    #[test]
    fn pools_by_place_steer_where_nothing_else_is_said() {
        for (fields, expect) in [
            (json!({}), Steering::Failover),
            (json!({"region_pools": {"WNAM": [POOL]}}), Steering::Geo),
            (json!({"region_pools": {"WNAM": [POOL]}, "steering_policy": "off"}), Steering::Failover),
            (json!({"steering_policy": "random"}), Steering::Random),
        ] {
            let parsed = LoadBalancer::parse(&document(fields.clone()).unwrap()).unwrap();
            assert_eq!(parsed.steering, expect, "{fields}");
        }
    }
}
