//! Through what a change came, as the store keeps it: `api POST /zones/{zone_id}/dns_records/import 0123456789abcdef`.

use bartizan_names::RecordId;

use crate::dns_records::read_import;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Through<'e> {
    pub(super) interface: &'e str,
    /// Method and path of the call.
    pub(super) route: Option<&'e str>,
    /// Which import it is a part of, if that took more than one change.
    pub(super) import: Option<&'e str>,
}

impl<'e> Through<'e> {
    pub(super) fn read(text: &'e str) -> Through<'e> {
        let Some((interface, rest)) = text.split_once(' ') else {
            return Through { interface: text, route: None, import: None };
        };
        // No path has a space in it.
        let import = rest.match_indices(' ').nth(1).map(|(at, _)| at);
        let (route, import) = match import {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        Through { interface, route: Some(route), import }
    }

    /// In front of the ids of the records of the import.
    pub(super) fn import_ids(self) -> Option<RecordId> {
        self.import.and_then(read_import)
    }
}

#[cfg(test)]
mod tests {
    use super::Through;

    #[test]
    fn parts() {
        for (text, expect) in [
            ("api", ("api", None, None)),
            ("deletion", ("deletion", None, None)),
            ("api POST /zones", ("api", Some("POST /zones"), None)),
            ("api POST /zones/{zone_id} 0123", ("api", Some("POST /zones/{zone_id}"), Some("0123"))),
            ("", ("", None, None)),
        ] {
            let Through { interface, route, import } = Through::read(text);
            assert_eq!((interface, route, import), expect, "{text}");
        }
        let ids = Through::read("api POST /x 00000000000000ff").import_ids().unwrap();
        assert_eq!(ids.to_string(), "00000000000000ff0000000000000000");
        assert_eq!(Through::read("api POST /x ff").import_ids(), None);
    }
}
