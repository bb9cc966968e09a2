//! What a new zone may be called, and who makes it: the same for whoever makes one and whoever brings one back.

use bartizan_model::Zone;
use bartizan_names::{AccountId, Name, ZoneName};

use super::name_key;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::permission::Permission;
use crate::rights::Target;
use crate::state::Facts;
use crate::transaction::Change;

impl Change {
    /// Makes a zone for a caller, if they may, and if the name is for its account to have.
    pub(crate) fn create_zone(
        &mut self,
        caller: &Caller,
        facts: &Facts,
        zone: &bartizan_v4::Zone,
    ) -> Result<(), Error> {
        let (name, account) = (Zone::parse_name(&zone.name)?, zone.account.id);
        refuse_strangers(caller, account)?;
        if account != facts.account {
            refuse_shared(&name)?;
        }
        self.refuse_inside_others(&name, account)?;
        if account != facts.account {
            self.refuse_above_others(&name, account)?;
            refuse_of_the_edge(&name, facts)?;
        }
        self.put_new_zone(zone)
    }

    /// A name inside a zone is for its account to give away: whoever had a zone of their own there would answer in its place.
    fn refuse_inside_others(&mut self, name: &ZoneName, account: AccountId) -> Result<(), Error> {
        let mut around = name.as_name().parent();
        while let Some(parent) = around {
            if let Some(apex) = ZoneName::new(parent.clone()) {
                if let Some(zone) = self.zone_named(&apex)?
                    && self.account_of_zone(zone)? != Some(account)
                {
                    return Err(Fault::ZoneInside.because(format!("{name} lies in {apex}")).at("/name"));
                }
                // Who takes it at the same moment comes before or after, and then finds this zone.
                self.guard(&name_key(&apex))?;
            }
            around = parent.parent();
        }
        Ok(())
    }

    /// Nor does an account get what is around a zone of another one: it would answer for all beside it.
    fn refuse_above_others(&self, name: &ZoneName, account: AccountId) -> Result<(), Error> {
        match self.0.zone_below(name, account)? {
            Some(below) => Err(Fault::ZoneInside.because(format!("{below} lies in {name}")).at("/name")),
            None => Ok(()),
        }
    }
}

/// Whether a zone of `account` is for the caller to make.
pub(super) fn refuse_strangers(caller: &Caller, account: AccountId) -> Result<(), Error> {
    match caller.may(Permission::ZoneWrite, &Target::ZonesOf(account)) {
        true => Ok(()),
        false => Err(Error::from(Fault::NotAllowed).at("/account/id")),
    }
}

/// Below a public suffix strangers have names of their own, and a single label is a whole network's (`internal`, `lan`), or
/// a machine's own (`localhost`). No account gets such a zone, as it would answer for theirs; but the edge's own may have
/// any, be it the top level of a network that nobody else sees.
fn refuse_shared(name: &ZoneName) -> Result<(), Error> {
    let text = name.to_string();
    let is_suffix =
        || psl::suffix(text.as_bytes()).is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == text.as_bytes());
    if name.as_name().labels().count() == 1 || is_suffix() {
        return Err(Fault::ZoneSuffix.because(name).at("/name"));
    }
    Ok(())
}

/// The edge's domain with all in it, and the names of its API with all around them, whether or not there are zones.
fn refuse_of_the_edge(name: &ZoneName, facts: &Facts) -> Result<(), Error> {
    let (name, domain) = (name.as_name(), facts.domain.as_name());
    let is_at_or_above = |below: &Name| {
        let mut around = Some(below.clone());
        std::iter::from_fn(|| around.take().inspect(|one| around = one.parent())).any(|one| one == *name)
    };
    let mut of_edge = facts.api_names.iter().filter_map(|text| Name::typed(text).ok()).chain([domain.clone()]);
    let is_in_domain = name.to_string().ends_with(&format!(".{domain}"));
    if is_in_domain || of_edge.any(|one| is_at_or_above(&one)) {
        return Err(Fault::ZoneInside.because(format!("{name} is a name of the edge itself")).at("/name"));
    }
    Ok(())
}
