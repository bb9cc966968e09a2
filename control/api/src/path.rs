//! Paths as clients write them become paths as the router knows them: the only place that knows the old spellings.

use std::str::FromStr;

use bartizan_names::{AccountId, IdError};

/// In front of all paths of the dialect.
pub(crate) const BASE: &str = "/client/v4";

/// Stands in a path for the caller's own account.
pub(crate) const OWN_ACCOUNT: &str = "~";

/// The parameters of paths that name an account and a zone.
pub(crate) const ACCOUNT_ID: &str = "account_id";
pub(crate) const ZONE_ID: &str = "zone_id";

/// An account as a path names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccountScope {
    /// The caller's, reached by `/user/…`.
    Own,
    Account(AccountId),
}

impl FromStr for AccountScope {
    type Err = IdError;

    fn from_str(text: &str) -> Result<AccountScope, IdError> {
        if text == OWN_ACCOUNT { Ok(AccountScope::Own) } else { text.parse().map(AccountScope::Account) }
    }
}

/// What an account has, and `/user/…` reaches as well.
const OF_ACCOUNT: [&str; 3] = ["cfd_tunnel", "tunnels", "load_balancers"];

/// The path in its normal form: repeated slashes are one, a final one is none, `/organizations` and `/user` lead to
/// the account, `tunnels` of an account are `cfd_tunnel`.
pub(crate) fn normal(path: &str) -> String {
    let mut segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if let ["client", "v4", rest @ ..] = segments.as_mut_slice() {
        if let ["user", of_account, ..] = rest
            && OF_ACCOUNT.contains(of_account)
        {
            segments.splice(2..3, ["accounts", OWN_ACCOUNT]);
        } else if let [prefix @ "organizations", _, ..] = rest {
            *prefix = "accounts";
        }
    }
    if let ["client", "v4", "accounts", _, collection @ "tunnels", ..] = segments.as_mut_slice() {
        *collection = "cfd_tunnel";
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        for (path, expect) in [
            ("/", "/"),
            ("//", "/"),
            ("/client/v4//zones/", "/client/v4/zones"),
            ("/client/v4/zones/1/dns_records", "/client/v4/zones/1/dns_records"),
            ("/client/v4/organizations/1/cfd_tunnel", "/client/v4/accounts/1/cfd_tunnel"),
            ("/client/v4/organizations/1", "/client/v4/accounts/1"),
            ("/client/v4/accounts/1/tunnels/2/connections", "/client/v4/accounts/1/cfd_tunnel/2/connections"),
            ("/client/v4/user/tunnels", "/client/v4/accounts/~/cfd_tunnel"),
            ("/client/v4/user/load_balancers/pools/1", "/client/v4/accounts/~/load_balancers/pools/1"),
            ("/client/v4/organizations/1/load_balancers/monitors", "/client/v4/accounts/1/load_balancers/monitors"),
            ("/client/v4/user/tokens/verify", "/client/v4/user/tokens/verify"),
            ("/client/v4/user", "/client/v4/user"),
            ("/client/v4/zones/1/tunnels/2/routes", "/client/v4/zones/1/tunnels/2/routes"),
            ("/metrics/", "/metrics"),
        ] {
            assert_eq!(normal(path), expect, "{path}");
        }
    }
}
