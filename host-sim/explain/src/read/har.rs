//! A HAR file (HTTP Archive 1.2), as the developer tools of browsers save it.

use crate::{Request, RequestError};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Archive {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    request: Sent,
}

#[derive(Deserialize)]
struct Sent {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<Header>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

/// Whether the text is one JSON object with `log`.
pub(super) fn is_one(text: &str) -> bool {
    text.trim_start().starts_with('{')
        && serde_json::from_str::<BTreeMap<&str, &RawValue>>(text).is_ok_and(|object| object.contains_key("log"))
}

/// Every request of the archive, in order.
///
/// # Errors
///
/// The text is no HAR file; for one entry, its URL is none.
pub fn requests(text: &str) -> Result<Vec<Result<Request, RequestError>>, RequestError> {
    let archive: Archive =
        serde_json::from_str(text).map_err(|error| RequestError(format!("not a HAR file: {error}")))?;
    let request = |Entry { request: Sent { method, url, headers } }| {
        // Browsers also record what never left them, such as `data:` URLs.
        if !url.contains("://") {
            return Err(RequestError(format!("`{url}` is no URL of a server")));
        }
        let mut request = Request::to(&method, &url)?;
        headers.iter().for_each(|Header { name, value }| request.add(name, value));
        Ok(request)
    };
    Ok(archive.log.entries.into_iter().map(request).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_a_request() {
        let text = r#"{"log": {"version": "1.2", "entries": [
            {"request": {"method": "GET", "url": "https://shop.example.com/a?b", "httpVersion": "h2",
                "headers": [{"name": ":authority", "value": "shop.example.com"}, {"name": "Cookie", "value": "v=1"}]}, "response": {}},
            {"request": {"method": "GET", "url": "data:text/plain,x"}}]}}"#;
        assert!(is_one(text));
        assert!(!is_one(r#"{"url": "http://a"}"#));
        assert!(!is_one("{\"url\": \"http://a\"}\n{\"log\": 1}"));
        let found = requests(text).unwrap();
        let first = found[0].as_ref().unwrap();
        assert_eq!((first.authority.as_str(), first.target.as_str()), ("shop.example.com", "/a?b"));
        assert_eq!(first.headers, [("cookie".to_owned(), "v=1".to_owned())]);
        assert!(found[1].is_err());
        assert!(requests("{}").is_err());
    }
}
