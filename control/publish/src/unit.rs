//! What several parts are made of, read once for all of them: zones with their policies and keys, and owner names.

mod clients;
mod copy;
mod directory;
mod held;
mod keys;
mod load;
mod name;
mod packed;
mod policy;
mod zones;

pub(crate) use copy::Copier;
pub(crate) use load::{Loaded, LoadedName, on_all_processors};
pub(crate) use name::{NameUnit, Served, read_names};
pub(crate) use zones::{KnownZones, ServedZone, ZoneChange, ZoneChanges};
