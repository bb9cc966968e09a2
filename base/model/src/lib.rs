//! Zones, records, tunnels: parsed from v4, only valid values.
