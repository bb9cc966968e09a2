//! What several parts are made of, read once for all of them: zones with their settings, and owner names.

mod directory;
mod load;
mod name;
mod zones;

pub(crate) use load::load_names;
pub(crate) use name::{NameUnit, read_names};
pub(crate) use zones::{KnownZones, ServedZone, ZoneChange, ZoneChanges};
