//! The certificates that come and go with zones and names. Which are needed is for `control/certs` to say.

use bartizan_model::Zone;
use bartizan_names::{Name, ZoneId, ZoneName};

use crate::error::Error;
use crate::transaction::Change;

impl Change {
    /// The certificate of a new zone: for its apex and the names one label below.
    pub(crate) fn put_zone_certificate(&mut self, zone: ZoneId, name: &ZoneName) -> Result<(), Error> {
        let ops = self.certs().for_zone(zone, name, self.now())?;
        self.unguarded(ops);
        Ok(())
    }

    /// A certificate for a name that begins to be served over TLS, unless there is one.
    pub(crate) fn put_certificate(&mut self, zone: &Zone, host: &Name) -> Result<(), Error> {
        let ops = self.certs().for_host(&self.0, zone.id, &zone.name, host, self.now())?;
        self.unguarded(ops);
        Ok(())
    }
}
