//! A request to the HTTP edge in force, and what was decided on its way.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use bartizan_names::Host;

/// Who sends requests through what is in force.
pub trait HttpQuery: Send + Sync {
    /// Waits for the answer, for some seconds at most.
    fn trace(&self, question: HttpQuestion) -> Tracing<'_>;
}

/// What comes of a request, when it is over.
pub type Tracing<'t> = Pin<Box<dyn Future<Output = Result<HttpTrace, TracesBusy>> + Send + 't>>;

/// A request as a visitor sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpQuestion {
    /// Over TLS.
    pub https: bool,
    pub host: Host,
    /// Path and query, as they are sent.
    pub target: String,
    pub method: HttpMethod,
    /// By which it is asked, whatever others would be offered.
    pub version: HttpVersion,
    /// What is shown where a certificate is asked for.
    pub shown: Option<HttpIdentity>,
    /// As from this address, as far as access rules ask.
    pub from: Option<IpAddr>,
}

/// Versions of HTTP; in the clear there is the first alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    #[default]
    Http1,
    Http2,
    Http3,
}

impl HttpVersion {
    pub const fn as_str(self) -> &'static str {
        match self {
            HttpVersion::Http1 => "1.1",
            HttpVersion::Http2 => "2",
            HttpVersion::Http3 => "3",
        }
    }
}

/// A certificate with its key, for one request.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpIdentity {
    /// PEM, as is the key.
    pub chain: String,
    pub key: String,
}

impl fmt::Debug for HttpIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpIdentity").finish_non_exhaustive()
    }
}

/// Methods that change nothing (RFC 9110 §9.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    Get,
    Head,
}

impl HttpMethod {
    pub const fn as_str(self) -> &'static str {
        match self {
            HttpMethod::Get => "GET",
            HttpMethod::Head => "HEAD",
        }
    }
}

/// What was decided, in order, and what was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpTrace {
    pub steps: Vec<HttpStep>,
    /// None where no answer came; then the last step says why.
    pub answer: Option<HttpAnswer>,
}

/// One thing that was decided or done on the way to an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpStep {
    pub step: HttpStage,
    /// In words.
    pub detail: String,
}

/// What sort of thing a step was. Who may see it hangs on this, so whoever adds one has to say who.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpStage {
    /// How the visitor is connected.
    Connection,
    /// The handshake with the visitor.
    Tls,
    /// What the name leads to.
    Host,
    /// All settings of its zone.
    Settings,
    /// What the host wants of its clients by certificate, and what came of that.
    Certificate,
    /// What the access rules say of the visitor.
    Rule,
    /// A stage of the pipeline, by its name.
    Stage(&'static str),
    /// What the zone promises with each answer, by its settings.
    Promise,
    /// The way through a tunnel.
    Tunnel,
    /// The way to an origin, and how its certificate is judged.
    Origin,
    End,
}

impl HttpStage {
    /// In one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            HttpStage::Connection => "connection",
            HttpStage::Tls => "tls",
            HttpStage::Host => "host",
            HttpStage::Settings => "settings",
            HttpStage::Certificate => "certificate",
            HttpStage::Rule => "rule",
            HttpStage::Stage(name) => name,
            HttpStage::Promise => "promise",
            HttpStage::Tunnel => "tunnel",
            HttpStage::Origin => "origin",
            HttpStage::End => "end",
        }
    }
}

/// The head of an answer, as a visitor gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    pub status: u16,
    /// Names and values, in their order.
    pub fields: Vec<(String, String)>,
}

/// As many requests are being traced as may be at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracesBusy;
