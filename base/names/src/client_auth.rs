//! Clients that are known by a certificate: what a host wants of them, what is found, and what its origin is told.

use std::sync::Arc;

use crate::word::words;

words!(
    /// What becomes of a request whose client has shown no certificate that is believed.
    ClientMode {
        /// It goes on, and the origin is told.
        Report = "report",
        /// It is refused.
        Enforce = "enforce",
    }
);

words!(
    /// Why the certificate of a client is not believed.
    Unbelieved {
        Expired = "expired",
        NotYetValid = "not_yet_valid",
        /// None of the host's authorities issued it, or one that must not.
        Untrusted = "untrusted",
        Revoked = "revoked",
        /// It is not for clients (RFC 5280 §4.2.1.12).
        WrongUsage = "wrong_usage",
        /// It is none of X.509 version 3, or signed by an algorithm that is not known here.
        Unreadable = "unreadable",
    }
);

/// What is known of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientStatus {
    /// It has shown no certificate.
    None,
    Valid,
    Invalid(Unbelieved),
}

impl ClientStatus {
    /// As origins are told.
    pub const fn as_str(self) -> &'static str {
        match self {
            ClientStatus::None => "none",
            ClientStatus::Valid => "valid",
            ClientStatus::Invalid(_) => "invalid",
        }
    }

    pub const fn reason(self) -> Option<Unbelieved> {
        match self {
            ClientStatus::Invalid(reason) => Some(reason),
            ClientStatus::None | ClientStatus::Valid => None,
        }
    }
}

words!(
    /// What of a client's certificate an origin can be told under a name of its owner's choice.
    ClientField {
        Status = "status",
        Reason = "reason",
        /// The subject key identifier (RFC 5280 §4.2.1.2), in hexadecimal digits.
        Ski = "ski",
        /// In hexadecimal digits.
        Serial = "serial",
        /// Names in the form of RFC 4514.
        Subject = "subject",
        Issuer = "issuer",
        CommonName = "common_name",
        Organization = "organization",
        OrganizationalUnit = "organizational_unit",
        Country = "country",
        /// Subject alternative names (RFC 5280 §4.2.1.6): `DNS:a.example, URI:urn:device:7`.
        San = "san",
        /// RFC 3339.
        NotBefore = "not_before",
        NotAfter = "not_after",
        /// SHA-256 of the certificate, in hexadecimal digits.
        Fingerprint = "fingerprint_sha256",
        /// All of it, in PEM, as a part of a URL is written.
        Pem = "pem",
    }
);

/// What a host wants of its clients, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPolicy {
    pub mode: ClientMode,
    /// What is answered to who is refused, where its owner said it.
    pub refusal: Option<ClientRefusal>,
    /// What the origin is told beside status, reason and key identifier.
    pub told: Box<[ToldField]>,
    /// Whether it is sent the certificate itself (RFC 9440).
    pub forwards: bool,
}

/// The body of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRefusal {
    pub form: RefusalForm,
    pub body: Arc<str>,
}

words!(
    RefusalForm {
        Json = "application/json",
        Html = "text/html",
    }
);

/// A field of a request that tells something of its client's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldField {
    /// A field name (RFC 9110 §5.1), as its owner wrote it.
    pub name: Box<str>,
    pub value: ClientField,
}
