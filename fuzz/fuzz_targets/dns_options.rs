//! Any bytes as the options of a query: nobody is told more than was asked, and the answer can be read.
//!
//! They reach deeper here than behind a header that must be right first.

#![no_main]

use bartizan_names::{Name, RecordType};
use bartizan_wire::dns::{
    Added, Answer, Authoritative, Class, Edns, ExtendedError, Message, Options, Rcode, parse, write_query,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(options) = Options::parse(data) else { return };
    if data.len() > 60_000 {
        return;
    }
    let edns = Edns { options, ..Edns::of_size(512) };
    let query = write_query(1, &Name::root(), RecordType::A, Class::IN, Some(edns));
    let head = parse(&query).expect("well-formed options are read").head;
    let asked = head.edns.expect("there is an OPT record").options.asked();
    assert_eq!(asked, options.asked());
    let mut added = Added::default();
    if asked.nsid {
        added.nsid(b"fuzz");
    }
    if let Some(cookie) = asked.cookie {
        added.cookie(cookie.client, cookie.server);
    }
    if let Some(subnet) = asked.subnet {
        added.subnet(subnet);
    }
    let mut reply = [0xee; 512];
    let mut answer = Answer::start_with(&head, &added, &mut reply, 512).expect("options always fit");
    answer.explain(ExtendedError::OTHER);
    if asked.padding {
        answer.pad();
    }
    let len = answer.finish(Rcode::REFUSED, Authoritative::No);
    let message = Message::parse(&reply[..len]).expect("our answers can be read");
    assert!(message.options.iter().any(|(code, _)| *code == 15));
    assert_eq!(len == 468, asked.padding);
});
