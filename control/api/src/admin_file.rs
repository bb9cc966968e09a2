//! `DATA/admin.json` (mode 0600): the administrator's credentials in clear text, for the commands of this machine. Who is let
//! in is decided by the store, not here.

use std::io;
use std::path::{Path, PathBuf};

use bartizan_names::{AccountId, UserId, ZoneId};
use bartizan_seal::{self as seal, TokenHash};
use serde::{Deserialize, Serialize};

/// The file with the administrator's credentials, in the data directory.
pub const FILE: &str = "admin.json";

/// The way back in for whoever owns the data directory.
pub const NEW_CREDENTIALS: &str = "give another token with --api-token-file or BARTIZAN_API_TOKEN; or, unless the store can \
                                   only be read, stop the edge, move admin.json away and start it: it makes a new token and \
                                   key, and the administrator's old ones end";

/// The same of a file that cannot be read.
pub(crate) const FILE_BACK_OR_AWAY: &str = "put admin.json back from a copy and start the edge again; or move it away: the \
                                            next start makes a new token and key, and the old ones end";

/// And while nothing can be changed.
pub const FILE_BACK: &str = "put admin.json back from a copy, which is in a backup too, and start the edge again; or mend first \
                             why nothing can be changed: a start without the file makes a new token and key then, and the old \
                             ones end";

/// The first administrator, in clear text. Not for logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Administrator {
    pub email: String,
    /// The global key.
    pub key: String,
    /// The API token.
    pub token: String,
    pub account_id: AccountId,
    pub user_id: UserId,
    /// None when it was deleted: it does not come back by itself.
    pub zone: Option<DefaultZone>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultZone {
    pub id: ZoneId,
    pub name: String,
}

/// Why the file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum AdminFileError {
    #[error("cannot read or write {}; see that this user owns it", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is damaged; move it away, and new credentials are made", path.display())]
    Damaged { path: PathBuf, source: serde_json::Error },
}

/// What was in the file.
pub(crate) enum Saved {
    Nothing,
    Credentials(Administrator),
    Unreadable(AdminFileError),
}

/// What is there.
pub(crate) fn read(path: &Path) -> Saved {
    match std::fs::read(path) {
        // A crash or a full disk left it so: as good as none.
        Ok(text) if text.trim_ascii().is_empty() => Saved::Nothing,
        Ok(text) => serde_json::from_slice(&text).map_or_else(
            |source| Saved::Unreadable(AdminFileError::Damaged { path: path.to_owned(), source }),
            Saved::Credentials,
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Saved::Nothing,
        Err(source) => Saved::Unreadable(AdminFileError::Io { path: path.to_owned(), source }),
    }
}

/// One field a line, so that a shell finds the token without a JSON parser.
pub(crate) fn save(path: &Path, old: Option<&Administrator>, new: &Administrator) -> Result<(), AdminFileError> {
    if old == Some(new) {
        return Ok(());
    }
    let failed = |source| AdminFileError::Io { path: path.to_owned(), source };
    let mut text = serde_json::to_string_pretty(new).map_err(|error| failed(error.into()))?;
    text.push('\n');
    seal::write_private(path, text.as_bytes()).map_err(failed)
}

/// A token has a new text. If the administrator's file has the old one, it gets the new one, so that commands of this
/// machine go on. Blocks.
pub(crate) fn follow_roll(data: &Path, old: &str, new: &str) {
    follow(data, |saved| is(&saved.token, old).then(|| Administrator { token: new.to_owned(), ..saved.clone() }));
}

/// The same for a global key.
pub(crate) fn follow_key(data: &Path, old: &str, new: &str) {
    follow(data, |saved| is(&saved.key, old).then(|| Administrator { key: new.to_owned(), ..saved.clone() }));
}

fn is(saved: &str, hash: &str) -> bool {
    hash.parse::<TokenHash>().is_ok_and(|hash| hash == seal::hash_token(saved))
}

fn follow(data: &Path, change: impl FnOnce(&Administrator) -> Option<Administrator>) {
    let path = data.join(FILE);
    let Saved::Credentials(saved) = read(&path) else { return };
    if let Some(administrator) = change(&saved)
        && let Err(error) = save(&path, Some(&saved), &administrator)
    {
        tracing::warn!(error = told(&error), "the administrator's file has what was before; {NEW_CREDENTIALS}");
    }
}

/// What is wrong, without what can be done: that depends on what else is.
pub(crate) fn wrong(error: &AdminFileError) -> String {
    match error {
        AdminFileError::Io { path, source } => format!("cannot read or write {}: {source}", path.display()),
        AdminFileError::Damaged { path, source } => format!("{} is damaged: {source}", path.display()),
    }
}

/// An error and its sources, in one line.
pub(crate) fn told(error: &AdminFileError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
