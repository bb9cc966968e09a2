//! The registry of `dk.` and its kin: DS records by one HTTP call (DSU 1.0, the registry's own specification).
//!
//! ```text
//! POST /1.0   userid, password, domain, then for each record keytagN, algorithmN, digest_typeN, digestN
//! 200 done · 400, 530 with X-DSU: which of a table it is · 405 · 500
//! ```
//! A call replaces all DS records of a domain, so it says all that there shall be: all or nothing, and as often as one likes.
//! The password goes in the call, so nothing but TLS carries it, or this machine.

use std::fmt;
use std::time::Duration;

use bartizan_dial::{Destinations, NameServers, Reach};
use bartizan_fetch::{Bounds, Clear, Fetch, FetchError, Trust, Url};
use bartizan_names::ZoneName;
use bartizan_signer::Ds;
use bartizan_tls::Now;
use bytes::Bytes;
use http::{Request, StatusCode, header};

/// DS records of one call.
const SETS_MAX: usize = 5;

/// What the registry takes (its §4): others are refused before it is asked.
const ALGORITHMS: [u8; 4] = [8, 10, 13, 14];
const DIGEST_TYPES: [u8; 3] = [1, 2, 4];

/// In the place of every value of the first set: all records are to go.
const DELETE: &str = "DELETE_DS";

/// The field of the answer that says which fault it is.
const FAULT_FIELD: &str = "x-dsu";

/// What an answer says beside its head is for people, and not needed.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(30), answer: 1 << 20, redirects: 0 };

/// A registry, and who we are there.
#[derive(Clone)]
pub struct Dsu {
    url: Url,
    now: Now,
    userid: String,
    password: String,
}

impl fmt::Debug for Dsu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dsu").field("host", &self.url.host()).field("userid", &self.userid).finish_non_exhaustive()
    }
}

/// Why a registry cannot be called like this.
#[derive(Debug, thiserror::Error)]
pub enum DsuAddressError {
    #[error("{0:?} is no URL such as https://dsu.example.net/1.0")]
    Url(String),
    #[error("{0:?} would carry the password in clear; it must begin with https://")]
    Clear(String),
}

/// Why the DS records of a domain are as they were.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DsuError {
    #[error("the registry takes {SETS_MAX} DS records at most, and these are {0}")]
    Many(usize),
    #[error("the registry takes no keys of algorithm {0}, but of 8, 10, 13 and 14")]
    Algorithm(u8),
    #[error("the registry takes no digests of type {0}, but of 1, 2 and 4")]
    DigestType(u8),
    #[error("the registry cannot be reached: {0}")]
    Unreachable(String),
    #[error("the registry refuses it: {fault}")]
    Refused { fault: DsuFault },
    #[error("the registry answered {status}, and not why")]
    Strange { status: u16 },
}

/// Who can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// It may go well by itself later.
    Nobody,
    /// Whoever entered the user and the password.
    Credentials,
    /// Whoever has the domain: it is not there, or not this user's.
    Domain,
    /// We: the call is not as the registry wants it.
    Call,
}

/// Makes the closed list of the registry's faults from its table.
macro_rules! faults {
    ($($name:ident = $code:literal $blame:ident $text:literal;)*) => {
        /// The faults that the registry tells apart, by the codes of its table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum DsuFault {
            $($name,)*
        }

        impl DsuFault {
            pub const ALL: &[DsuFault] = &[$(DsuFault::$name,)*];

            pub const fn code(self) -> u16 {
                match self {
                    $(DsuFault::$name => $code,)*
                }
            }

            pub const fn blame(self) -> Blame {
                match self {
                    $(DsuFault::$name => Blame::$blame,)*
                }
            }

            const fn text(self) -> &'static str {
                match self {
                    $(DsuFault::$name => $text,)*
                }
            }

            fn of_code(code: u16) -> Option<DsuFault> {
                DsuFault::ALL.iter().copied().find(|fault| fault.code() == code)
            }
        }
    };
}

faults! {
    NoUser = 480 Credentials "no user is named";
    NoPassword = 481 Credentials "no password is given";
    ParameterMissing = 482 Call "a parameter is missing";
    NoDomain = 483 Call "no domain is named";
    BadDomain = 484 Domain "the domain is not one that it knows the form of";
    BadUser = 485 Credentials "the user is not of the right form";
    DigestMismatch = 486 Call "a digest does not have the length of its type";
    Syntax = 487 Call "a parameter is not of the right form";
    BadAlgorithm = 488 Call "it does not take the algorithm";
    SetSequence = 489 Call "the DS records are not numbered in order";
    UnknownParameter = 495 Call "it does not know a parameter";
    UnknownUser = 496 Credentials "it does not know the user";
    UnknownDomain = 497 Domain "it does not know the domain";
    NotAuthenticated = 531 Credentials "the password is wrong";
    NotAuthorised = 532 Domain "the user may not change this domain";
    PasswordKind = 533 Credentials "it is not the kind of password that it wants here";
}

impl fmt::Display for DsuFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text(), self.code())
    }
}

impl DsuError {
    pub fn blame(&self) -> Blame {
        match self {
            DsuError::Many(_) | DsuError::Algorithm(_) | DsuError::DigestType(_) => Blame::Call,
            DsuError::Unreachable(_) | DsuError::Strange { .. } => Blame::Nobody,
            DsuError::Refused { fault } => fault.blame(),
        }
    }
}

impl Dsu {
    /// What is at this URL. Its certificate is judged by this time.
    pub fn at(url: &str, userid: &str, password: &str, now: &Now) -> Result<Dsu, DsuAddressError> {
        let parsed = Url::parse(url).map_err(|_| DsuAddressError::Url(url.to_owned()))?;
        if !parsed.is_private() {
            return Err(DsuAddressError::Clear(url.to_owned()));
        }
        let (userid, password) = (userid.to_owned(), password.to_owned());
        Ok(Dsu { url: parsed, now: now.clone(), userid, password })
    }

    /// Whether DS records of keys of this algorithm get into its zone at all.
    pub fn takes(algorithm: u8) -> bool {
        ALGORITHMS.contains(&algorithm)
    }

    /// Puts these DS records in the place of all that a domain has; none: they all go. The registry is dialled where
    /// `destinations` let anybody be.
    pub async fn replace(&self, domain: &ZoneName, ds: &[Ds], destinations: &Destinations) -> Result<(), DsuError> {
        let form = Bytes::from(self.form(domain, ds)?);
        let request = Request::post("/").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let request = request.map_err(|error| DsuError::Unreachable(error.to_string()))?;
        let reach = Reach::new(NameServers::default(), destinations.clone());
        let fetch = Fetch::new(reach, Trust::OfSystem(self.now.clone()), Clear::ThisMachine, BOUNDS);
        let answer = fetch.call(&self.url, request).await.map_err(|error| match error {
            FetchError::Unreachable { reason, .. } => DsuError::Unreachable(reason),
            error => DsuError::Unreachable(error.to_string()),
        })?;
        let fault = answer.headers().get(FAULT_FIELD).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let status = answer.status();
        match (status, fault.and_then(DsuFault::of_code)) {
            (StatusCode::OK, _) => Ok(()),
            (_, Some(fault)) => Err(DsuError::Refused { fault }),
            (status, None) => Err(DsuError::Strange { status: status.as_u16() }),
        }
    }

    fn form(&self, domain: &ZoneName, ds: &[Ds]) -> Result<String, DsuError> {
        if ds.len() > SETS_MAX {
            return Err(DsuError::Many(ds.len()));
        }
        let name = domain.to_string();
        let mut form = String::new();
        let mut put = |name: &str, value: &str| {
            if !form.is_empty() {
                form.push('&');
            }
            form.push_str(name);
            form.push('=');
            encode(value, &mut form);
        };
        put("userid", &self.userid);
        put("password", &self.password);
        put("domain", name.trim_end_matches('.'));
        let mut put_set = |number: usize, values: [&str; 4]| {
            for (field, value) in ["keytag", "algorithm", "digest_type", "digest"].iter().zip(values) {
                put(&format!("{field}{number}"), value);
            }
        };
        if ds.is_empty() {
            put_set(1, [DELETE; 4]);
        }
        for (number, ds) in (1..).zip(ds) {
            if !Dsu::takes(ds.algorithm) {
                return Err(DsuError::Algorithm(ds.algorithm));
            }
            if !DIGEST_TYPES.contains(&ds.digest_type) {
                return Err(DsuError::DigestType(ds.digest_type));
            }
            let text = ds.to_string();
            let words: Vec<&str> = text.split(' ').collect();
            put_set(number, [words[0], words[1], words[2], words[3]]);
        }
        Ok(form)
    }
}

/// As forms have it (WHATWG URL, §5.1).
fn encode(value: &str, form: &mut String) {
    for byte in value.bytes() {
        match byte {
            b' ' => form.push('+'),
            b'*' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => form.push(char::from(byte)),
            _ => form.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use bartizan_dial::{Listener, Own, Private};
    use bartizan_lab::registry::{self, answer};
    use bartizan_names::{Name, Protocol};

    use super::*;

    fn zone() -> ZoneName {
        ZoneName::new(Name::parse("xn--bl-wia.dk").unwrap()).unwrap()
    }

    fn now() -> Now {
        std::sync::Arc::new(|| bartizan_names::Timestamp::from_unix_micros(0))
    }

    fn all() -> Destinations {
        Destinations::all()
    }

    /// Whoever enters a registry does not lead the edge to itself, nor, where it dials no private address, to one.
    #[tokio::test]
    async fn it_is_dialled_where_anybody_may_be() {
        let (url, seen) = registry::start(vec![answer("200 OK", None)]);
        let dsu = Dsu::at(&url, "u", "p", &now()).unwrap();
        let address = url["http://".len()..].split('/').next().unwrap().parse().unwrap();
        let listeners = vec![Listener { protocol: Protocol::Tcp, address }];
        for (destinations, expect) in [
            (Destinations::new(Own { listeners, ..Own::default() }, Private::Allowed), "it is this edge itself"),
            (Destinations::new(Own::default(), Private::Refused), "it is a loopback or private address"),
        ] {
            let error = dsu.replace(&zone(), &[], &destinations).await.unwrap_err();
            assert!(matches!(&error, DsuError::Unreachable(why) if why.contains(expect)), "{error}");
        }
        assert!(seen.try_recv().is_err());
        let allowed = Destinations::new(Own::default(), Private::Allowed);
        assert_eq!(dsu.replace(&zone(), &[], &allowed).await, Ok(()));
    }

    #[tokio::test]
    async fn calls_as_the_specification_has_them() {
        let ok = answer("200 OK", None);
        let (url, seen) = registry::start(vec![ok.clone(), ok.clone(), ok]);
        let dsu = Dsu::at(&url, "ABCD1234-DK", "p&ss=w rd", &now()).unwrap();
        let (one, two): (Ds, Ds) = ("7 13 2 AABB".parse().unwrap(), "8 8 1 0102".parse().unwrap());
        let head = "POST /1.0 HTTP/1.1\nuserid=ABCD1234-DK&password=p%26ss%3Dw+rd&domain=xn--bl-wia.dk";
        for (ds, rest) in [
            (&[one.clone()][..], "&keytag1=7&algorithm1=13&digest_type1=2&digest1=AABB"),
            (
                &[one, two],
                "&keytag1=7&algorithm1=13&digest_type1=2&digest1=AABB&keytag2=8&algorithm2=8&digest_type2=1&digest2=0102",
            ),
            (&[], "&keytag1=DELETE_DS&algorithm1=DELETE_DS&digest_type1=DELETE_DS&digest1=DELETE_DS"),
        ] {
            assert_eq!(dsu.replace(&zone(), ds, &all()).await, Ok(()));
            assert_eq!(seen.recv().unwrap(), format!("{head}{rest}"));
        }
    }

    #[tokio::test]
    async fn every_fault_of_the_table_is_told() {
        let status = |fault: &DsuFault| if fault.code() > 530 { "530 x" } else { "400 Bad Request" };
        let mut answers: Vec<String> =
            DsuFault::ALL.iter().map(|fault| answer(status(fault), Some(fault.code()))).collect();
        answers.extend([
            answer("405 x", None),
            answer("500 x", None),
            answer("400 x", Some(499)),
            answer("400 x", None),
        ]);
        let (url, _seen) = registry::start(answers);
        let dsu = Dsu::at(&url, "u", "p", &now()).unwrap();
        let ds: Ds = "7 13 2 AABB".parse().unwrap();
        for fault in DsuFault::ALL {
            let error = dsu.replace(&zone(), std::slice::from_ref(&ds), &all()).await.unwrap_err();
            assert_eq!(error, DsuError::Refused { fault: *fault });
            assert!(error.to_string().contains(&fault.code().to_string()), "{error}");
        }
        for status in [405, 500, 400, 400] {
            let error = dsu.replace(&zone(), std::slice::from_ref(&ds), &all()).await.unwrap_err();
            assert_eq!(error, DsuError::Strange { status });
        }
        let unreachable = Dsu::at("http://127.0.0.1:9/1.0", "u", "p", &now()).unwrap();
        let error = unreachable.replace(&zone(), &[ds], &all()).await.unwrap_err();
        assert_eq!((error.blame(), matches!(error, DsuError::Unreachable(_))), (Blame::Nobody, true));
    }

    #[tokio::test]
    async fn what_it_would_refuse_is_not_sent() {
        let dsu = Dsu::at("http://127.0.0.1:9/1.0", "u", "p", &now()).unwrap();
        let ds = |text: &str| text.parse::<Ds>().unwrap();
        for (records, expect) in [
            (vec![ds("1 15 2 AA")], DsuError::Algorithm(15)),
            (vec![ds("1 13 3 AA")], DsuError::DigestType(3)),
            (vec![ds("1 13 2 AA"); 6], DsuError::Many(6)),
        ] {
            assert_eq!(dsu.replace(&zone(), &records, &all()).await, Err(expect));
        }
        for (url, expect) in [
            ("http://dsu.example.net/1.0", "in clear"),
            ("http://192.0.2.1/1.0", "in clear"),
            ("ftp://dsu.example.net", "no URL"),
            ("dsu.example.net", "no URL"),
            ("", "no URL"),
        ] {
            let error = Dsu::at(url, "u", "p", &now()).unwrap_err().to_string();
            assert!(error.contains(expect), "{url}: {error}");
        }
        let shown = format!("{:?}", Dsu::at("http://127.0.0.1/1.0", "user", "secret", &now()).unwrap());
        assert!(shown.contains("user") && !shown.contains("secret"), "{shown}");
    }
}
