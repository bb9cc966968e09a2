//! What several parts are made of, read once for all of them: zones with their policies, and owner names.

mod directory;
mod load;
mod name;
mod policy;
mod zones;

pub(crate) use load::load_names;
pub(crate) use name::{NameUnit, read_names};
pub(crate) use zones::{KnownZones, ServedZone, ZoneChange, ZoneChanges};
