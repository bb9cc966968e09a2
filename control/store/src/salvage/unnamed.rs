//! What is lost together with its name: told by the hashes of kinds and zones, which are kept apart from the objects.
//!
//! What may keep somebody out is noted by a key all the same, so that a start is not more open without it: for a start
//! holds what it knows to be lost.

use rusqlite::types::{Type, Value as Column};

use super::{Found, Salvage};
use crate::key::{Key, Scope};
use crate::kind::Kind;
use crate::lost::Lost;
use crate::mend::MendError;
use crate::pages::Tree;
use crate::state_hash::{self, Part, Sums};

impl Salvage<'_> {
    pub(super) fn note_unnamed(&self, lost: &mut Lost) -> Result<(), MendError> {
        let now = state_hash::kept(self.new)?;
        let (kept, differing) = match state_hash::kept(&self.old) {
            Ok(kept) => (kept.clone(), kept.unlike(&now)),
            Err(_) => {
                let kept = self.kept_by_pages()?;
                (kept.clone(), kept.unlike(&now.of_parts_in(&kept)))
            }
        };
        let names_some = !lost.is_empty();
        if (self.objects, self.names) == (Found::Torn, Found::Torn) {
            self.note_suspects(&kept, &now, lost)?;
            if kept.is_empty() {
                lost.note("what cannot be named");
            }
        }
        if !names_some {
            differing.iter().for_each(|part| lost.note(&format!("what cannot be named, of {part}")));
        }
        Ok(())
    }

    fn kept_by_pages(&self) -> Result<Sums, MendError> {
        let mut kept = Sums::default();
        self.pages.for_each_row(Tree::Index, &[Some(Type::Text), Some(Type::Blob)], &mut |_, row| {
            if let [Column::Text(part), Column::Blob(hash)] = &*row {
                kept.keep(part, hash);
            }
            Ok(())
        })?;
        Ok(kept)
    }

    /// What guards and may have been there, as far as the hashes do not show that none is missing.
    fn note_suspects(&self, kept: &Sums, now: &Sums, lost: &mut Lost) -> Result<(), MendError> {
        // Without the hashes of any kind, those of one say nothing.
        let is_missing = |kind| !kept.has_kinds() || kept.of(Part::Kind(kind)) != now.of(Part::Kind(kind));
        let missing = || Kind::ALL.iter().filter(|kind| kind.guards() && is_missing(**kind));
        for zone in kept.zones().chain(now.zones()) {
            if kept.of(Part::Zone(zone)) == now.of(Part::Zone(zone)) {
                continue;
            }
            let scope = Scope::Zone(zone);
            for key in missing().filter_map(|kind| Key::unnamed(scope, *kind)) {
                if !self.has(&key)? {
                    lost.note(key.as_str());
                }
            }
        }
        // The accounts and users whose they were may be lost too.
        missing().filter_map(|kind| Key::unnamed(Scope::NOBODY, *kind)).for_each(|key| lost.note(key.as_str()));
        Ok(())
    }

    fn has(&self, key: &Key) -> rusqlite::Result<bool> {
        let mut select = self.new.prepare_cached("SELECT EXISTS (SELECT 1 FROM object WHERE key = ?)")?;
        select.query_row([key.as_str()], |row| row.get(0))
    }
}
