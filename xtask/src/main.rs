//! `cargo xtask`: what is done to this repository that is more than one cargo command.
//!
//! It is a program and not a folder of shell scripts, so that it is checked, formatted and tested like everything else.
//! It depends on next to nothing, because it is built before any test can run.

mod bench;
mod clients;
mod debian;
mod ebpf;
mod process;
mod test;
mod test_stock;
mod tidy;
mod web;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
cargo xtask COMMAND

  test [--no-install]            everything that CI runs: format, lints, documents, tidy, all tests
  test-stock --connector PATH    the end-to-end tests of a stock connector, cut off from the network
  tidy                           layers, dependencies, licences and habits that the compiler cannot check
  ebpf build                     compile the kernel programs, which are committed (needs clang)
  ebpf check                     build them again, and compare
  web build                      build the dashboard's files, which are committed (needs the Node.js of the tests)
  web check                      look at its sources, build them again, and compare
  bench dns [--names N] [--seconds N] [--rounds N] [--only LOAD]... [--before PATH]
                                 CPU and queries a second over UDP and TCP, beside NSD, Knot, a bare echo and our
                                 binary of before
  bench dnssec [--names N] [--seconds N] [--rounds N]
                                 signed answers and denials beside Knot, a bare echo and bare signatures
  bench l4 [--seconds N] [--rounds N] [--only WHAT]... [--binary PATH]
                                 TCP and UDP beside nginx and HAProxy: CPU of bulk, connections and datagrams,
                                 latency, memory, tunnels and the firewall
  bench http [--seconds N] [--rounds N] [--only WHAT]... [--binary PATH]
                                 HTTP/1.1 and HTTP/2 beside nginx and HAProxy: CPU of small and large answers,
                                 with and without TLS, of uploads, handshakes and through a tunnel; memory of idle
                                 connections; what a visitor feels of attacks by others
  bench publish [--names N]... [--zones N]... [--changes N] [--only KIND]... [--binary PATH]
                                 from the API's answer to the change in force: records, settings, zones,
                                 certificates, applications, beside many names or many zones
  bench api [--records N] [--zones N] [--rounds N] [--seconds N] [--only CASE]... [--peer no] [--binary PATH]
                                 the API with a zone of so many records and so many zones, beside PowerDNS's: import,
                                 lists, searches and changes with one client and with 64, and who waits for whom
  bench analytics                what it costs to count a query, and to answer a question to thirty days of them
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["test"] => test::run(debian::Missing::Install),
        ["test", "--no-install"] => test::run(debian::Missing::Report),
        ["test-stock", "--connector", path] => test_stock::run(path.as_ref()),
        ["tidy"] => tidy::run(),
        ["ebpf", "build"] => ebpf::build(),
        ["ebpf", "check"] => ebpf::check(),
        ["web", "build"] => web::build(),
        ["web", "check"] => web::check(),
        ["bench", "dns", options @ ..] => bench::dns::run(options),
        ["bench", "dnssec", options @ ..] => bench::dns::signed::run(options),
        ["bench", "http", options @ ..] => bench::http::run(options),
        ["bench", "l4", options @ ..] => bench::l4::run(options),
        ["bench", "publish", options @ ..] => bench::publish::run(options),
        ["bench", "api", options @ ..] => bench::scale::run(options),
        ["bench", "analytics"] => bench::analytics(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => bail!("unknown command: {}\n\n{USAGE}", arguments.join(" ")),
    }
}
