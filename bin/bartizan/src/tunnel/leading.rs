//! The records by which names lead to a tunnel, and their end with it.

use serde_json::Value;

use crate::client::Api;
use crate::failure::{self, Cause, Failure};
use crate::output::Output;
use crate::url::with_query;
use crate::zone::text;

/// Records that go with a tunnel. For more of them the zones' own batches are the way.
const RECORDS_MAX: usize = 100_000;

/// Records of one question.
const PIECE: usize = 500;

/// Names that are told one by one.
const NAMED_MAX: usize = 10;

/// The API's error for what is not as it was seen.
const CHANGED_SINCE: u64 = 10_412;

/// How often one record is looked at again that others change meanwhile.
const LOOKS: usize = 5;

/// The records by which names lead to a tunnel, as far as the caller may see them.
#[derive(Default)]
pub struct Leading {
    target: String,
    records: Vec<Led>,
    /// Why there may be more of them.
    unseen: Option<String>,
}

struct Led {
    zone: String,
    id: String,
    name: String,
}

impl Led {
    fn path(&self) -> String {
        format!("/zones/{}/dns_records/{}", self.zone, self.id)
    }
}

/// What became of a record.
enum End {
    Deleted,
    /// It leads elsewhere by now.
    Stays,
}

impl Leading {
    /// Looks for them. Whoever is to delete them all has to see them all.
    pub async fn to(api: &Api, tunnel: &str, is_asked_for: bool) -> anyhow::Result<Leading> {
        let mut leading = Leading { target: format!("{tunnel}.cfargotunnel.com"), ..Leading::default() };
        match leading.look(api, tunnel).await {
            Err(error) if is_asked_for => {
                let cause = failure::cause(&error).unwrap_or(Cause::Failed);
                return Err(Failure::new(
                    cause,
                    format!("the tunnel stays: which names lead to it cannot be told: {error}"),
                )
                .remedy("without --routes it is deleted, and records that lead to it stay")
                .into());
            }
            Err(error) => leading.unseen = Some(format!("{error:#}")),
            Ok(()) => {}
        }
        Ok(leading)
    }

    async fn look(&mut self, api: &Api, tunnel: &str) -> anyhow::Result<()> {
        let limit = PIECE.to_string();
        let mut after = String::new();
        loop {
            let mut query = vec![("limit", limit.as_str())];
            if !after.is_empty() {
                query.push(("after", after.as_str()));
            }
            let path = with_query(&format!("/bartizan/tunnels/{tunnel}/records"), &query);
            let (found, messages) = api.get_with_messages(&path).await?;
            // That some of them cannot be read.
            if let Some(message) = messages.into_iter().next() {
                return Err(Failure::new(Cause::Failed, message).into());
            }
            let Some(found) = found.as_array().filter(|found| !found.is_empty()) else { return Ok(()) };
            self.records.extend(found.iter().map(led));
            if let Some(Led { zone, id, .. }) = self.records.last() {
                after = format!("{zone}/{id}");
            }
            if self.records.len() > RECORDS_MAX {
                let told = format!("more than {RECORDS_MAX} records lead to it");
                let remedy = "delete them first, a batch for each zone: POST /zones/ZONE_ID/dns_records/batch";
                return Err(Failure::new(Cause::Failed, told).remedy(remedy).into());
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Why names that lead to the tunnel may not be among these.
    pub fn unseen(&self) -> Option<&str> {
        self.unseen.as_deref()
    }

    pub fn names(&self) -> String {
        names(&self.records.iter().collect::<Vec<_>>())
    }

    /// Deletes all of them that still lead there, whatever becomes of one; an error names those that are left.
    pub async fn delete(&self, api: &Api, output: Output) -> anyhow::Result<()> {
        let (mut gone, mut stay, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for led in &self.records {
            match self.delete_one(api, led).await {
                Ok(End::Deleted) => gone.push(led),
                Ok(End::Stays) => stay.push(led),
                Err(error) => left.push((led, error)),
            }
        }
        if !gone.is_empty() && !api.only_tries() {
            output.progress(format!("{}: deleted", names(&gone)));
        }
        if !stay.is_empty() {
            output.progress(format!("{}: kept, as they lead elsewhere by now", names(&stay)));
        }
        let Some((_, first)) = left.first() else { return Ok(()) };
        // One reason for all of them, or just that something failed.
        let cause_of = |error: &anyhow::Error| failure::cause(error).unwrap_or(Cause::Failed);
        let cause = cause_of(first);
        let cause = if left.iter().all(|(_, error)| cause_of(error) == cause) { cause } else { Cause::Failed };
        let mut told: Vec<String> = Vec::new();
        for (led, error) in left.iter().take(NAMED_MAX) {
            let why = format!("{error:#}").replace('\n', "\n  ");
            told.push(format!("{}: {why}", led.name));
        }
        if left.len() > NAMED_MAX {
            told.push(format!("and {} more", left.len() - NAMED_MAX));
        }
        let message = format!("records that lead to the tunnel are left\n  {}", told.join("\n  "));
        let remedy = "the same command goes on with what is left, also by somebody who may change these zones";
        Err(Failure::new(cause, message).remedy(remedy).into())
    }

    /// What was seen a while ago may be another record by now: it is looked at again, and deleted only as it was seen then.
    async fn delete_one(&self, api: &Api, led: &Led) -> anyhow::Result<End> {
        for look in 1.. {
            let Some((record, tag)) = api.find_tagged(&led.path()).await? else { return Ok(End::Deleted) };
            if !text(&record, "content").trim_end_matches('.').eq_ignore_ascii_case(&self.target) {
                return Ok(End::Stays);
            }
            match api.clone().if_still(tag).delete(&led.path()).await {
                Ok(_) => return Ok(End::Deleted),
                Err(error) => match error.downcast_ref::<Failure>() {
                    // As good as deleted.
                    Some(Failure { cause: Cause::NotFound, .. }) => return Ok(End::Deleted),
                    Some(Failure { code: Some(CHANGED_SINCE), .. }) if look < LOOKS => {}
                    _ => return Err(error),
                },
            }
        }
        unreachable!("the last look returns")
    }
}

fn led(record: &Value) -> Led {
    let owned = |field| text(record, field).to_owned();
    Led { zone: owned("zone_id"), id: owned("id"), name: owned("name") }
}

/// The first of them, and how many more there are.
fn names(records: &[&Led]) -> String {
    let mut named: Vec<&str> = records.iter().take(NAMED_MAX).map(|led| led.name.as_str()).collect();
    let more = format!("and {} more", records.len().saturating_sub(NAMED_MAX));
    if records.len() > NAMED_MAX {
        named.push(&more);
    }
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::output::{DryRun, Form};

    /// An API that answers the calls that it is told of, in this order, and hands back what was asked beside their paths.
    fn api(answers: &'static [(&str, u16, &str, &str)]) -> (Api, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = std::thread::spawn(move || {
            let mut tags = Vec::new();
            for (call, status, tag, body) in answers {
                let (mut socket, _) = listener.accept().unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    socket.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                assert!(head.starts_with(&format!("{call} HTTP/1.1\r\n")), "{call}: {head}");
                tags.extend(head.lines().find_map(|line| line.strip_prefix("if-match: ")).map(str::to_owned));
                let length = body.len();
                write!(socket, "HTTP/1.1 {status} X\r\netag: {tag}\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
            }
            tags
        });
        (Api::new(&format!("http://{address}"), "t", None), asked)
    }

    const QUIET: Output = Output { form: Form::Text, quiet: true, dry_run: DryRun::No };
    const LEADS: &str = r#"{"success":true,"result":{"content":"T.cfargotunnel.com"}}"#;
    const ELSEWHERE: &str = r#"{"success":true,"result":{"content":"www.example.com"}}"#;
    const DONE: &str = r#"{"success":true,"result":{}}"#;
    const GONE: &str = r#"{"success":false,"errors":[{"code":81044,"message":"gone"}]}"#;
    const CHANGED: &str = r#"{"success":false,"errors":[{"code":10412,"message":"changed"}]}"#;
    const REFUSED: &str = r#"{"success":false,"errors":[{"code":9109,"message":"no"}]}"#;
    const BUSY: &str = r#"{"success":false,"errors":[{"code":10000,"message":"busy"}]}"#;

    fn leading(ids: &[&str]) -> Leading {
        let led = |id: &&str| Led { zone: "z".to_owned(), id: (*id).to_owned(), name: format!("{id}.test") };
        Leading { target: "t.cfargotunnel.com".to_owned(), records: ids.iter().map(led).collect(), unseen: None }
    }

    #[tokio::test]
    async fn each_record_is_looked_at_again_and_none_ends_the_others() {
        let (at, asked) = api(&[
            // It leads elsewhere by now.
            ("GET /zones/z/dns_records/1", 200, "\"1\"", ELSEWHERE),
            // Others were faster.
            ("GET /zones/z/dns_records/2", 404, "", GONE),
            ("GET /zones/z/dns_records/3", 200, "\"3\"", LEADS),
            ("DELETE /zones/z/dns_records/3", 404, "", GONE),
            // It changed in between, and leads there still.
            ("GET /zones/z/dns_records/4", 200, "\"4\"", LEADS),
            ("DELETE /zones/z/dns_records/4", 412, "", CHANGED),
            ("GET /zones/z/dns_records/4", 200, "\"5\"", LEADS),
            ("DELETE /zones/z/dns_records/4", 200, "", DONE),
            // And leads elsewhere.
            ("GET /zones/z/dns_records/5", 200, "\"6\"", LEADS),
            ("DELETE /zones/z/dns_records/5", 412, "", CHANGED),
            ("GET /zones/z/dns_records/5", 200, "\"7\"", ELSEWHERE),
            ("GET /zones/z/dns_records/6", 200, "\"8\"", LEADS),
            ("DELETE /zones/z/dns_records/6", 403, "", REFUSED),
            ("GET /zones/z/dns_records/7", 200, "\"9\"", LEADS),
            ("DELETE /zones/z/dns_records/7", 200, "", DONE),
        ]);
        let left = leading(&["1", "2", "3", "4", "5", "6", "7"]).delete(&at, QUIET).await.unwrap_err();
        assert_eq!(failure::cause(&left), Some(Cause::Refused));
        let left = left.to_string();
        assert!(left.contains("6.test: no (error 9109") && !left.contains("7.test"), "{left}");
        let tags = ["3", "4", "5", "6", "8", "9"].map(|tag| format!("\"{tag}\""));
        assert_eq!(asked.join().unwrap(), tags);
    }

    #[tokio::test]
    async fn those_that_are_left_have_one_cause_or_none() {
        let (at, asked) = api(&[
            ("GET /zones/z/dns_records/1", 200, "\"1\"", LEADS),
            ("DELETE /zones/z/dns_records/1", 403, "", REFUSED),
            ("GET /zones/z/dns_records/2", 503, "", BUSY),
        ]);
        let left = leading(&["1", "2"]).delete(&at, QUIET).await.unwrap_err();
        assert_eq!(failure::cause(&left), Some(Cause::Failed));
        asked.join().unwrap();
    }

    /// Whoever wants all of them deleted, and cannot see them all, is told so before anything is done.
    #[tokio::test]
    async fn names_that_cannot_be_looked_for() {
        const OLD: &str = r#"{"success":false,"errors":[{"code":7003,"message":"no route"}]}"#;
        const PART: &str =
            r#"{"success":true,"messages":[{"code":10501,"message":"1 object is left out"}],"result":[]}"#;
        for (status, body) in [(404, OLD), (200, PART)] {
            let answers: &'static [_] =
                Vec::leak(vec![("GET /bartizan/tunnels/t/records?limit=500", status, "", body)]);
            let (at, asked) = api(answers);
            let refused = Leading::to(&at, "t", true).await.err().unwrap().to_string();
            assert!(refused.contains("the tunnel stays") && refused.contains("without --routes"), "{refused}");
            asked.join().unwrap();
            let (at, asked) = api(answers);
            let leading = Leading::to(&at, "t", false).await.unwrap();
            assert!(leading.is_empty() && leading.unseen().is_some());
            asked.join().unwrap();
        }
    }

    #[test]
    fn many_names_are_counted() {
        let records: Vec<Led> =
            (1..=12).map(|number| Led { zone: String::new(), id: String::new(), name: format!("n{number}") }).collect();
        let told = |count: usize| names(&records.iter().take(count).collect::<Vec<_>>());
        assert_eq!(told(2), "n1, n2");
        assert_eq!(told(10), "n1, n2, n3, n4, n5, n6, n7, n8, n9, n10");
        assert_eq!(told(12), "n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, and 2 more");
    }
}
