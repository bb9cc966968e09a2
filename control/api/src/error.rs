//! What an API client is told when a call fails: the one table of codes.
//!
//! A [`Fault`] is a row of the table; an [`Error`] is a fault with the facts of this call. Handlers make no reply with a
//! bare status. Each status is used as RFC 9110 §15 has it, but for 409 (§15.5.10): it occurs where the stock client waits
//! for it, and for a repeat that is known to be one. 400 stands in its place elsewhere, because other clients would repeat
//! the call.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bartizan_certs::{AcmeAccountError, At, CertsError, ChainError};
use bartizan_dnssec::KeepError;
use bartizan_model::{
    AccessRuleError, AppError, BalancingError, ClientHostError, DataError, EmailError, PasswordError, RecordError,
    SettingError, TunnelError, ZoneError,
};
use bartizan_publish::Refused;
use bartizan_store::{CommitError, ReadError};
use bartizan_v4::{Code, ErrorSource, Failure, Problem};
use http::header::{CONNECTION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::reply;

/// Makes the closed list of faults and its table from one listing.
macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $status:literal $code:literal $text:literal $([$chain_code:literal $chain:literal])?;)*) => {
        /// A reason why a call failed: a code, an HTTP status and a text that never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            /// All of them, in the order of the table.
            pub const ALL: &[Fault] = &[$(Fault::$name,)*];

            const fn row(self) -> Row {
                match self {
                    $(Fault::$name => Row {
                        status: $status,
                        code: $code,
                        text: $text,
                        chain: &[$(($chain_code, $chain))?],
                    },)*
                }
            }
        }
    };
}

struct Row {
    status: u16,
    code: u32,
    text: &'static str,
    /// Reasons behind the first that clients know by their own codes.
    chain: &'static [(u32, &'static str)],
}

faults! {
    // Who is calling.
    NoCredentials = 400 9106 "Missing X-Auth-Key, X-Auth-Email or Authorization headers";
    BadAuthorization = 400 6003 "Invalid request headers" [6111 "Invalid format for Authorization header"];
    BadEmail = 400 6003 "Invalid request headers" [6102 "Invalid format for X-Auth-Email header"];
    BadKey = 400 6003 "Invalid request headers" [6103 "Invalid format for X-Auth-Key header"];
    UnknownKey = 403 9103 "Unknown X-Auth-Key or X-Auth-Email";
    UnknownToken = 403 9109 "Invalid access token";
    SessionEnded = 403 9109 "The session has ended; log in again";
    /// RFC 6454 §7.
    ForeignOrigin = 403 10403 "A page of another site changes nothing here; the Origin header must be this API's";
    /// The same for an address that is no user's.
    WrongPassword = 403 9108 "Wrong e-mail address or password";
    LoginCodeUnknown = 403 9108 "This link was used already, or is too old; `bartizan dashboard` prints another one";
    NotAllowed = 403 9109 "Unauthorized to access requested resource";
    /// By this code certbot tells its user which permission the token lacks.
    NoDnsEdit = 403 1009 "Unauthorized to access requested resource";
    /// RFC 6585 §4. Whoever has a right one is let in all the same.
    TooManyTries = 429 10013 "Too many wrong credentials from this address; try again later";
    /// RFC 6585 §4, with the time to the end of the caller's window.
    TooManyCalls = 429 971 "Too many calls in a while; try again later, and more slowly";
    /// Only from `tokens/verify`.
    InvalidToken = 401 1000 "Invalid API Token";

    // The way it came.
    InClear = 403 10426 "Plain HTTP is for this machine only: call https, and trust the CA of this edge (ca.pem in its data directory)";
    ForeignHost = 403 10421 "The Host is no name of this API: call one that is, or give it this one with --api-name";
    NotJson = 415 10415 "What a page of a browser sends must be application/json";

    // What is called.
    NoRoute = 404 7003 "Could not route to the path" [7000 "No route for that URI"];
    BadId = 400 7003 "Could not route to the path, perhaps your object identifier is invalid?" [7000 "No route for that URI"];
    BadMethod = 405 10405 "Method not allowed";

    // The request itself.
    BadBody = 400 6007 "Malformed JSON in request body";
    /// It is JSON, and something in it is of another kind, out of its range or missing.
    BodyField = 400 6007 "The request body is not as this call takes it";
    BadQuery = 400 6008 "Malformed query parameter";
    /// The caller's `If-Match` says which state they saw.
    ChangedSince = 412 10412 "The object is not as If-Match says: it has changed since, or has no tag";
    IdempotencyKey = 400 10422 "Invalid Idempotency-Key";
    /// The call with this key is done, and not done again.
    AnswerNotKept = 409 10409 "The call with this Idempotency-Key was made, and its answer is not told again; look what it made, or call with another key";
    LargePage = 400 10414 "The page is larger than a reply may be; ask for a smaller per_page";
    LargeBody = 413 10413 "Request body too large";
    SlowBody = 503 10408 "The request body did not arrive in time";
    Busy = 503 10503 "Too many changes at once to the same objects; try again";
    /// A change waits longer; a read is soon asked for again.
    ReadsBusy = 503 10505 "Too many reads at once; try again";
    TracesBusy = 503 10505 "Too many requests are being traced; try again when one is over";
    TooSlow = 503 10504 "This list takes too long to put together";
    StoreDamaged = 503 10502 "A part of the store was damaged and is being mended; try again in a while";
    /// The log says what is the matter, and so does `status`.
    StoreBroken = 500 10512 "A part of the store is damaged and stays so";
    ReadOnly = 503 10509 "The store can only be read; nothing was changed";
    Internal = 500 10500 "Internal error";
    /// The rest of the store is well, and the object can still be deleted where its id says all that is needed for it.
    Damaged = 500 10501 "This object is stored and cannot be read";
    /// What it issued before is served as long as that lasts.
    AuthorityEnded = 503 10511 "The local CA of this edge has run out, and issues no certificate";
    /// 507 (RFC 4918 §11.5): the call was right, and the same call is not to be made again until somebody has made room.
    DiskFull = 507 10507 "The disk of this edge is full: what is there is served, nothing can be changed";

    // Users and their sessions.
    UserUnknown = 404 1003 "User not found";
    UserExists = 400 1061 "There is a user with this e-mail address";
    UserBody = 400 1001 "A user cannot be like this";
    UserInUse = 400 1022 "This user cannot be deleted";
    PasswordBody = 400 1001 "This cannot be the password";
    SessionUnknown = 404 1003 "Session not found";

    // The audit.
    UndoUnknown = 404 10404 "There is nothing of this change to undo";
    UndoRefused = 400 10423 "This change cannot be undone";
    UndoChangedSince = 400 10424 "What this change did was changed since";

    // Accounts and their members.
    AccountBody = 400 1001 "An account cannot be like this";
    AccountInUse = 400 1022 "This account cannot be deleted";
    MemberBody = 400 1001 "A member cannot be like this";
    MemberExists = 400 1061 "The user belongs to the account, or is invited to it";
    LastAdministrator = 400 1022 "An account needs somebody who decides about it";
    MemberUnknown = 404 1003 "Member not found";
    RoleUnknown = 404 1003 "Role not found";

    // API tokens.
    TokenUnknown = 404 1003 "API token not found";
    TokenBody = 400 1001 "An API token cannot be like this";

    // The edge itself.
    PopUnknown = 404 10404 "PoP not found";

    // Zones and their settings.
    ZoneUnknown = 404 1001 "Zone not found";
    ZoneName = 400 1002 "Invalid zone name";
    ZoneExists = 400 1061 "The zone already exists";
    ZoneSuffix = 400 1099 "Below this name strangers register theirs";
    ZoneInside = 400 1116 "The name lies in or around a zone of another account";
    ZoneKind = 400 1016 "Only zones of type full can be kept here";
    SettingUnknown = 400 1003 "Undefined zone setting";
    SettingFixed = 400 1006 "This zone setting cannot be changed here";
    SettingValue = 400 1007 "Invalid value for zone setting";
    DnsSettingFixed = 400 1008 "This DNS setting cannot be changed here";
    HoldNeedless = 400 1034 "A zone cannot be held here";
    PlanUnknown = 404 1005 "Plan not found";
    NotOffered = 400 10406 "This edge does not offer that";

    // DNSSEC of zones.
    DnssecOption = 400 1150 "DNSSEC of this zone cannot be like this";
    DnssecOff = 400 1151 "The zone is not signed";
    DnssecDelegated = 400 1152 "The parent zone has a DS record of this zone";
    DnssecParent = 400 1153 "It cannot be told whether the parent zone has a DS record of this zone";
    DnssecRoll = 400 1154 "This key cannot be exchanged now";
    /// RFC 6585 §4. Each look asks servers that the zone's owner names.
    DnssecBusy = 429 1157 "The parent zone cannot be asked now";
    RegistryUnknown = 404 1155 "No way is set for this parent zone";
    RegistryBody = 400 1156 "The way to a parent zone cannot be like this";

    // Certificates of zones.
    CertificateUnknown = 404 1003 "Certificate not found";
    ClientRootUnknown = 404 1003 "Certificate of an authority not found";
    ClientCertificateUnknown = 404 1003 "Client certificate not found";
    ClientHostUnknown = 404 1164 "The host asks its clients for no certificate";
    ClientHostInvalid = 400 1165 "A host cannot ask that of its clients";
    ClientRootInUse = 400 1166 "The certificate of this authority is in use";
    CertificateInvalid = 400 1160 "This certificate cannot be used";
    AcmeUnknown = 404 1161 "This edge has no account at a public authority";
    AcmeAccount = 400 1162 "The account at the public authority cannot be like this";
    CertificateOrder = 400 1163 "No such certificate can be asked for";
    /// RFC 6585 §4. The authority said when it may be asked again.
    CertificateTooSoon = 429 1167 "It is not yet time to ask for this certificate again";

    ClockNotSet = 400 1170 "The clock of this edge is not set";

    // DNS records.
    RecordInvalid = 400 1004 "DNS Validation Error";
    RecordName = 400 9000 "DNS name is invalid";
    NotProxiable = 400 9004 "This record type cannot be proxied";
    ContentA = 400 9005 "Content for A record is invalid. Must be a valid IPv4 address";
    ContentAaaa = 400 9006 "Content for AAAA record is invalid. Must be a valid IPv6 address";
    Content = 400 9007 "Content for DNS record is invalid";
    ContentMx = 400 9009 "Content for MX record is invalid";
    RecordTtl = 400 9021 "Invalid TTL. Must be between 30 and 86400 seconds, or 1 for automatic";
    RecordData = 400 9101 "A field of the record's data is missing or invalid";
    CommentLong = 400 9300 "DNS record comment exceeds the maximum length";
    RecordUnknown = 404 81044 "Record does not exist";
    ImportForm = 400 9207 "An import is multipart/form-data with a master file in its field file";
    ZoneFile = 400 9208 "The master file has a fault";
    ImportBusy = 503 10505 "An import is at work in this zone or account, or too many are in others; try again when it is done";
    ImportRoom = 507 10508 "The disk of this edge has no room for the working file of this import: make room, or cut the file";
    HostTaken = 400 81053 "An A, AAAA, or CNAME record with that host already exists";
    CnameExists = 400 81054 "A CNAME record with that host already exists";
    NsExists = 400 81055 "An NS record with that host already exists";
    CnameNotAlone = 400 81056 "Records of other types with that host already exist, and a CNAME must be alone";
    RecordIdentical = 400 81058 "An identical record already exists.";

    // Statistics.
    /// RFC 9110 §15.5.21: the question is well put.
    StatsNotKept = 422 10430 "The statistics of this edge cannot answer that";
    StatsUnavailable = 503 10431 "There are no statistics now; `bartizan status` may say why";
    LiveBusy = 503 10432 "As many look on as may be; try again when one of them has left";

    // Tunnels.
    TunnelUnknown = 404 1002 "Tunnel not found";
    TunnelName = 400 1012 "Invalid tunnel name";
    /// The stock client tells its user that the name is taken.
    TunnelExists = 409 1013 "You already have a tunnel with this name";
    TunnelSecret = 400 1014 "Invalid tunnel secret. Must be base64 of at least 32 bytes";
    TunnelInUse = 400 1022 "Cannot delete tunnel because it has active connections";
    TunnelConfig = 400 1056 "Bad configuration";
    RouteInvalid = 400 1057 "Invalid route";
    /// What the stock client has commands for, and no edge of this kind.
    PrivateNetworks = 404 1058 "Private networks (route ip, vnet) are not served here: lead a name to the tunnel (route dns), or a port by a Spectrum application";
    ConnectorLogs = 404 1059 "An edge does not reach into connectors (management token, tail): what one logs is where it runs";

    // Spectrum applications.
    AppUnknown = 404 11006 "Application not found";
    AppOrigin = 400 11000 "Invalid origin configuration";
    AppOriginDns = 400 11001 "Invalid origin DNS configuration";
    AppOriginAddress = 400 11002 "Invalid origin address";
    AppOption = 400 11003 "Invalid application option";
    AppDns = 400 11004 "Invalid DNS configuration";
    AppEdgeIps = 400 11019 "Invalid edge_ips";
    AppOverlap = 400 11033 "Address and port are in use";
    AppAddresses = 400 12005 "No address is left for another application";
    AppProtocol = 400 13002 "Protocol not available";

    // Load balancing.
    PoolUnknown = 404 10601 "Pool not found";
    MonitorUnknown = 404 10602 "Monitor not found";
    LoadBalancerUnknown = 404 10603 "Load balancer not found";
    RegionUnknown = 404 10604 "Region not found";
    PreviewUnknown = 404 10605 "Preview not found";
    PreviewsBusy = 503 10606 "Too many previews; try again in a while";
    BalancingInvalid = 400 1002 "Validation of load balancing failed";
    BalancingInUse = 400 1005 "Something refers to it";
    LoadBalancerExists = 400 10605 "A load balancer with this name exists";

    // IP access rules. Clients compare the texts.
    RuleUnknown = 404 10001 "firewallaccessrules.api.not_found";
    RuleInvalid = 400 10007 "firewallaccessrules.api.validation_error";
    RuleExists = 400 10009 "firewallaccessrules.api.duplicate_of_existing";
}

/// By this header the vendor's own SDKs, which repeat every call that got a 5xx, are told not to.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

impl Fault {
    /// A fault that the same call would meet again, and whose status tells clients to make it.
    const fn stays(self) -> bool {
        matches!(
            self,
            Fault::AnswerNotKept
                | Fault::Damaged
                | Fault::StoreBroken
                | Fault::DiskFull
                | Fault::ImportRoom
                | Fault::AuthorityEnded
        )
    }

    pub const fn code(self) -> u32 {
        self.row().code
    }

    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub const fn text(self) -> &'static str {
        self.row().text
    }
}

/// A fault in this call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", fault.text())]
pub struct Error {
    pub fault: Fault,
    /// Behind the table's text: what is wrong in this call. Nothing internal.
    detail: Option<String>,
    pointer: Option<String>,
    /// Seconds after which the same call may go better (RFC 9110 §10.2.3).
    retry_after: Option<u64>,
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        Error { fault, detail: None, pointer: None, retry_after: None }
    }
}

impl Fault {
    /// The fault with what is wrong in this call.
    pub(crate) fn because(self, detail: impl ToString) -> Error {
        Error { detail: Some(detail.to_string()), ..Error::from(self) }
    }
}

impl Error {
    /// The call may be made again after so long.
    pub(crate) fn after(self, wait: Duration) -> Error {
        Error { retry_after: Some(wait.as_secs() + 1), ..self }
    }

    /// The JSON pointer of the field at fault.
    pub(crate) fn at(self, pointer: impl Into<String>) -> Error {
        Error { pointer: Some(pointer.into()), ..self }
    }

    /// The call has no body in which something could be wrong.
    pub(crate) fn nowhere(self) -> Error {
        Error { pointer: None, ..self }
    }

    /// The fault lies inside the field `outer`.
    pub(crate) fn inside(self, outer: &str) -> Error {
        let pointer = format!("{outer}{}", self.pointer.as_deref().unwrap_or_default());
        Error { pointer: Some(pointer), ..self }
    }

    /// Something of ours is broken: the log gets the reason, the client does not.
    pub(crate) fn internal(reason: &(dyn std::error::Error + 'static)) -> Error {
        tracing::error!(reason, "an API call failed");
        Fault::Internal.into()
    }

    pub(crate) fn problem(&self) -> Problem {
        let row = self.fault.row();
        let message = match &self.detail {
            Some(detail) => format!("{}: {detail}", row.text.trim_end_matches('.')),
            None => row.text.to_owned(),
        };
        let chain = row.chain.iter().map(|&(code, text)| Code { code, message: text.to_owned() });
        Problem {
            code: row.code,
            message,
            error_chain: chain.collect(),
            source: self.pointer.clone().map(|pointer| ErrorSource { pointer }),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let envelope = Failure { result: None, success: false, errors: vec![self.problem()], messages: Vec::new() };
        let mut response = reply::json(self.fault.status(), &envelope);
        if self.fault.stays() {
            response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
            // Each further try costs a connection more, and those of a source are counted (RFC 9112 §9.6).
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Reads are short: some have ended by then.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// After so long a damaged store may be mended: a small one is after a second, one of a million records after a minute.
const MENDED_AFTER: Duration = Duration::from_secs(5);

/// Some looks have ended by then.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

fn broken(reason: &str) -> Error {
    Fault::StoreBroken.because(format_args!("{reason}; `bartizan doctor` says what mends it"))
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Error {
        match error {
            CommitError::TooLarge { .. } => Fault::LargeBody.into(),
            CommitError::ReadOnly { reason } => Fault::ReadOnly.because(reason),
            CommitError::Engine(engine) if engine.is_disk_full() => Fault::DiskFull.into(),
            CommitError::NotMended { reason } => broken(&reason),
            CommitError::Waited { is_mending: true, .. } => Error::from(Fault::StoreDamaged).after(MENDED_AFTER),
            CommitError::Waited { is_mending: false, .. } => Error::from(Fault::Busy).after(MENDED_AFTER),
            error => Error::internal(&error),
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Error {
        match error {
            ReadError::Busy => Error::from(Fault::ReadsBusy).after(READ_AGAIN),
            ReadError::TooSlow { .. } => Fault::TooSlow.because("search for a longer text, or use more filters"),
            ReadError::Damaged { stays: Some(reason), .. } => broken(&reason),
            ReadError::Damaged { stays: None, .. } => Error::from(Fault::StoreDamaged).after(MENDED_AFTER),
            ReadError::Unreadable(object) => {
                tracing::debug!(object.key, object.reason, "an object in the store cannot be read");
                Fault::Damaged.because(object.key)
            }
            error => Error::internal(&error),
        }
    }
}

impl From<KeepError> for Error {
    fn from(error: KeepError) -> Error {
        match error {
            KeepError::Read(error) => error.into(),
            KeepError::Commit(error) => error.into(),
            KeepError::Raced => Fault::Busy.into(),
            KeepError::Damaged { key, reason } => {
                tracing::debug!(%key, reason, "an object in the store cannot be read");
                Fault::Damaged.because(key)
            }
            KeepError::Roll(refused) => Fault::DnssecRoll.because(refused),
            KeepError::Look(error) => Fault::DnssecBusy.because(error).after(LOOK_AGAIN),
            error @ (KeepError::Key(_) | KeepError::Ended) => Error::internal(&error),
        }
    }
}

impl From<CertsError> for Error {
    fn from(error: CertsError) -> Error {
        match error {
            CertsError::ExpiredCa => Fault::AuthorityEnded.because(bartizan_certs::CA_REMEDY),
            CertsError::Read(error) => error.into(),
            error => Error::internal(&error),
        }
    }
}

impl From<AcmeAccountError> for Error {
    fn from(error: AcmeAccountError) -> Error {
        let pointer = error.pointer();
        Fault::AcmeAccount.because(error).at(pointer)
    }
}

impl From<ChainError> for Error {
    fn from(error: ChainError) -> Error {
        let pointer = match error.at() {
            At::Certificate => "/certificate",
            At::Key => "/private_key",
            At::Crl => "/crl",
        };
        Fault::CertificateInvalid.because(error).at(pointer)
    }
}

impl From<RecordError> for Error {
    fn from(error: RecordError) -> Error {
        let fault = match &error {
            RecordError::NameMissing | RecordError::Name(_) | RecordError::NotAHost(_) => Fault::RecordName,
            RecordError::TypeMissing
            | RecordError::ApexDs(_)
            | RecordError::WildcardDname(_)
            | RecordError::OfTheEdge { .. }
            | RecordError::Tags
            | RecordError::Setting { .. }
            | RecordError::OriginPort => Fault::RecordInvalid,
            RecordError::Itself | RecordError::NoOrigin(_) | RecordError::Target { .. } => Fault::Content,
            RecordError::Ttl => Fault::RecordTtl,
            RecordError::NotProxiable(_) => Fault::NotProxiable,
            RecordError::Comment => Fault::CommentLong,
            RecordError::Data(data) => match data {
                DataError::Type(_) | DataError::Soa => Fault::RecordInvalid,
                DataError::A => Fault::ContentA,
                DataError::Aaaa => Fault::ContentAaaa,
                DataError::Host { .. }
                | DataError::Txt(_)
                | DataError::Content { .. }
                | DataError::Octets(_)
                | DataError::Doubled { .. } => Fault::Content,
                DataError::Mx => Fault::ContentMx,
                DataError::Field { .. } | DataError::Priority => Fault::RecordData,
            },
        };
        fault.because(&error).at(error.pointer())
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        let fault = match &refused {
            Refused::CnameNotAlone { .. } => Fault::CnameNotAlone,
            Refused::AliasLoop { .. } => Fault::Content,
            Refused::DnameTwice { .. }
            | Refused::DnameBesideNs { .. }
            | Refused::BelowDname { .. }
            | Refused::AboveNames { .. }
            | Refused::ProxiedInPart { .. }
            | Refused::DsAlone { .. }
            | Refused::TooLarge { .. } => Fault::RecordInvalid,
        };
        let pointer = match &refused {
            Refused::DsAlone { .. } | Refused::BelowDname { .. } | Refused::AboveNames { .. } => Some("/name"),
            Refused::AliasLoop { .. } => Some("/content"),
            _ => None,
        };
        let error = fault.because(refused);
        match pointer {
            Some(pointer) => error.at(pointer),
            None => error,
        }
    }
}

impl From<ZoneError> for Error {
    fn from(error: ZoneError) -> Error {
        Fault::ZoneName.because(error).at("/name")
    }
}

impl From<EmailError> for Error {
    fn from(error: EmailError) -> Error {
        Fault::UserBody.because(error).at("/email")
    }
}

impl From<PasswordError> for Error {
    fn from(error: PasswordError) -> Error {
        Fault::PasswordBody.because(error).at("/password")
    }
}

impl From<SettingError> for Error {
    fn from(error: SettingError) -> Error {
        match error {
            SettingError::Unknown(_) => Fault::SettingUnknown.because(error),
            SettingError::Value { .. } => Fault::SettingValue.because(error).at("/value"),
            SettingError::NoTls => Fault::SettingValue.because(error),
        }
    }
}

impl From<AppError> for Error {
    fn from(error: AppError) -> Error {
        let fault = match &error {
            AppError::ProtocolMissing | AppError::Protocol(_) | AppError::Ports(_) => Fault::AppProtocol,
            AppError::NameMissing | AppError::Name { .. } | AppError::DnsType(_) => Fault::AppDns,
            AppError::OriginForm | AppError::OriginCount | AppError::OriginPortAlone => Fault::AppOrigin,
            AppError::Origin { .. } => Fault::AppOriginAddress,
            AppError::OriginName(_)
            | AppError::OriginItself(_)
            | AppError::OriginKind(_)
            | AppError::OriginTtl
            | AppError::OriginPortMissing
            | AppError::OriginPort(_)
            | AppError::OriginLength
            | AppError::OriginAddress
            | AppError::OriginPool(_) => Fault::AppOriginDns,
            AppError::EdgeType(_)
            | AppError::Connectivity(_)
            | AppError::StaticCount
            | AppError::StaticAddress { .. }
            | AppError::Slot => Fault::AppEdgeIps,
            AppError::Tls(_)
            | AppError::TlsOverUdp
            | AppError::ProxyProtocol(_)
            | AppError::ProxyProtocolOver { .. }
            | AppError::TrafficType(_) => Fault::AppOption,
        };
        fault.because(&error).at(error.pointer())
    }
}

impl From<ClientHostError> for Error {
    fn from(error: ClientHostError) -> Error {
        let pointer = error.pointer();
        Fault::ClientHostInvalid.because(error).at(pointer)
    }
}

impl From<BalancingError> for Error {
    fn from(error: BalancingError) -> Error {
        let pointer = error.pointer();
        Fault::BalancingInvalid.because(error).at(pointer)
    }
}

impl From<AccessRuleError> for Error {
    fn from(error: AccessRuleError) -> Error {
        let pointer = error.pointer();
        Fault::RuleInvalid.because(error).at(pointer)
    }
}

impl From<TunnelError> for Error {
    fn from(error: TunnelError) -> Error {
        Fault::TunnelConfig.because(error).at("/config")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It is said to be mended while that is true, and what is the matter otherwise.
    #[test]
    fn a_damaged_store_is_told_as_it_is() {
        let waited = |is_mending| CommitError::Waited { waited: Duration::from_secs(10), is_mending };
        for (error, status, expect, retry) in [
            (waited(true), 503, "is being mended; try again", Some("6")),
            (waited(false), 503, "Too many changes at once", Some("6")),
            (
                CommitError::NotMended { reason: "the disk is full".into() },
                500,
                "stays so: the disk is full; `bartizan doctor` says what mends it",
                None,
            ),
        ] {
            let error = Error::from(error);
            assert!(error.problem().message.contains(expect), "{}", error.problem().message);
            let response = error.into_response();
            let header = |name: &HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
            assert_eq!((response.status().as_u16(), header(&RETRY_AFTER)), (status, retry));
            assert_eq!(header(&SHOULD_RETRY), (retry.is_none()).then_some("false"));
        }
    }
}
