//! `bartizan dashboard`: a link that logs a browser in. Whoever has a token that may do everything, or the data of the edge, needs
//! no password for it; the link is good once.

use serde_json::{Value, json};

use crate::client::Api;
use crate::output::{Output, link as painted};
use crate::zone::text;

const CODES: &str = "/bartizan/sessions/codes";

pub async fn run(api: &Api, output: Output) -> anyhow::Result<()> {
    let made = api.post(CODES, &json!({})).await?;
    let link = with_code(api, &made);
    let document = json!({"link": link, "expires_on": made["expires_on"]});
    output.secret("open it in a browser: it lets one in, once, and within a quarter of an hour", &document, || {
        painted(&link)
    })
}

/// A link that logs in the user of this client.
pub async fn link(api: &Api) -> anyhow::Result<String> {
    Ok(with_code(api, &api.post(CODES, &json!({})).await?))
}

/// What is behind `#` stays in the browser: no log has it.
fn with_code(api: &Api, made: &Value) -> String {
    let root = api.base().trim_end_matches('/').trim_end_matches("/client/v4");
    format!("{root}/#/login/{}", text(made, "code"))
}
