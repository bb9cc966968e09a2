//! End to end, one file a topic. Every test starts its own edge on free ports; all of them run at the same time.

mod acme;
mod api_tls;
mod backups;
mod both_ways;
mod command_line;
mod constants;
mod crowds;
mod damage;
mod destinations;
mod dns_answers;
mod document;
mod drains;
mod first_run;
mod http_edge;
mod moving_in;
mod people;
mod ports;
mod posts;
mod records;
mod rights;
mod sdk;
mod strangers;
mod tools;
mod tunnels;
mod words;
mod zone_files;
