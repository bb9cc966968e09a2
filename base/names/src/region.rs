//! Regions of the world, as load balancers tell visitors apart by them.

use std::fmt;
use std::str::FromStr;

use crate::CountryCode;

/// Makes the closed list from one table: the code, its name and its countries (ISO 3166-1).
macro_rules! regions {
    ($($name:ident $code:literal $text:literal $countries:literal;)*) => {
        /// A part of the world.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Region {
            $(#[doc = $text] $name,)*
        }

        impl Region {
            pub const ALL: &[Region] = &[$(Region::$name,)*];

            /// The dialect's code.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Region::$name => $code,)*
                }
            }

            /// What people call it.
            pub const fn title(self) -> &'static str {
                match self {
                    $(Region::$name => $text,)*
                }
            }

            const fn list(self) -> &'static str {
                match self {
                    $(Region::$name => $countries,)*
                }
            }
        }
    };
}

// The two halves of North America have the same countries: an address tells the country, and not the coast.
regions! {
    Wnam "WNAM" "Western North America" "CA US";
    Enam "ENAM" "Eastern North America" "CA US BM GL PM";
    Weu "WEU" "Western Europe" "AD AT AX BE CH DE DK ES FI FO FR GB GG GI IE IM IS IT JE LI LU MC MT NL NO PT SE SJ SM VA";
    Eeu "EEU" "Eastern Europe" "AL BA BG BY CY CZ EE GR HR HU LT LV MD ME MK PL RO RS RU SI SK UA XK";
    Nsam "NSAM" "Northern South America" "AG AI AW BB BL BQ BS BZ CO CR CU CW DM DO GD GF GP GT GY HN HT JM KN KY LC MF MQ MS MX NI PA PR SR SV SX TC TT VC VE VG VI";
    Ssam "SSAM" "Southern South America" "AR BO BR CL EC FK GS PE PY UY";
    Oc "OC" "Oceania" "AS AU CC CK CX FJ FM GU HM KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TO TV UM VU WF WS";
    Me "ME" "Middle East" "AE AM AZ BH GE IL IQ IR JO KW LB OM PS QA SA SY TR YE";
    Naf "NAF" "Northern Africa" "BF BJ CF CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW LR LY MA ML MR NE NG SD SL SN SO SS ST TD TG TN";
    Saf "SAF" "Southern Africa" "AO BI BV BW CD CG KE KM LS MG MU MW MZ NA RE RW SC SH SZ TF TZ UG YT ZA ZM ZW";
    Sas "SAS" "Southern Asia" "AF BD BT IN IO KG KZ LK MV NP PK TJ TM UZ";
    Seas "SEAS" "South-East Asia" "BN ID KH LA MM MY PH SG TH TL VN";
    Neas "NEAS" "North-East Asia" "CN HK JP KP KR MN MO TW";
}

/// The text is no region's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a region")]
pub struct RegionError;

impl Region {
    pub fn countries(self) -> impl Iterator<Item = &'static str> {
        self.list().split(' ')
    }

    /// Those that a country lies in, the one first that is asked first.
    pub fn of(country: CountryCode) -> impl Iterator<Item = Region> {
        let order = [Region::Enam, Region::Wnam].into_iter().chain(Region::ALL[2..].iter().copied());
        order.filter(move |region| region.countries().any(|one| one == country.as_str()))
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Region {
    type Err = RegionError;

    fn from_str(text: &str) -> Result<Region, RegionError> {
        Region::ALL.iter().copied().find(|region| region.as_str().eq_ignore_ascii_case(text)).ok_or(RegionError)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_country_is_in_one_region() {
        let mut seen: BTreeMap<&str, Region> = BTreeMap::new();
        for region in Region::ALL.iter().copied() {
            for country in region.countries() {
                assert!(country.parse::<CountryCode>().is_ok(), "{country}");
                let before = seen.insert(country, region);
                assert!(before.is_none() || ["CA", "US"].contains(&country), "{country} {before:?} {region}");
            }
        }
        // Of 249 in ISO 3166-1 all but Antarctica; and Kosovo.
        assert_eq!(seen.len(), 249);
    }

    #[test]
    fn where_countries_lie() {
        for (country, expect) in
            [("DE", "WEU"), ("US", "ENAM WNAM"), ("CZ", "EEU"), ("JP", "NEAS"), ("T1", ""), ("XX", "")]
        {
            let regions: Vec<_> = Region::of(country.parse().unwrap()).map(Region::as_str).collect();
            assert_eq!(regions.join(" "), expect, "{country}");
        }
        assert_eq!("weu".parse(), Ok(Region::Weu));
        assert_eq!("EU".parse::<Region>(), Err(RegionError));
    }
}
