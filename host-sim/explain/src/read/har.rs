//! A HAR file (HTTP Archive 1.2), as the developer tools of browsers save it.

use crate::{Request, RequestError};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Archive<'t> {
    #[serde(borrow)]
    log: Log<'t>,
}

#[derive(Deserialize)]
struct Log<'t> {
    /// Each read by itself, so that one that is odd does not hide the others.
    #[serde(borrow)]
    entries: Vec<&'t RawValue>,
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

/// Whether the text is one JSON object with `log`, or begins like one.
pub(super) fn is_one(text: &str) -> bool {
    let Some(inside) = text.trim_start().strip_prefix('{') else { return false };
    let key = inside.trim_start().strip_prefix("\"log\"");
    key.is_some_and(|rest| rest.trim_start().strip_prefix(':').is_some_and(|rest| rest.trim_start().starts_with('{')))
        || serde_json::from_str::<BTreeMap<&str, &RawValue>>(text).is_ok_and(|object| object.contains_key("log"))
}

/// Every request of the archive, in order.
///
/// # Errors
///
/// The text is no HAR file; for one entry, it has no request, or one without a URL of a server.
pub(super) fn requests(text: &str) -> Result<Vec<Result<Request, RequestError>>, RequestError> {
    let archive: Archive<'_> = serde_json::from_str(text)
        .map_err(|error| RequestError(format!("this looks like a HAR file, and is none: {error}")))?;
    let request = |entry: &RawValue| {
        let entry = serde_json::from_str(entry.get());
        let Entry { request: Sent { method, url, headers } } =
            entry.map_err(|error| RequestError(format!("not an entry of a HAR file: {}", without_place(&error))))?;
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

/// Line and column would be counted from the entry's beginning.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_a_request() {
        let text = r#"{"log": {"version": "1.2", "entries": [
            {"request": {"method": "GET", "url": "https://shop.example.com/a?b", "httpVersion": "h2",
                "headers": [{"name": ":authority", "value": "shop.example.com"}, {"name": "Cookie", "value": "v=1"}]}, "response": {}},
            {"request": {"method": "GET", "url": "data:text/plain,x"}},
            {"request": {"method": "GET"}},
            {"request": {"method": "POST", "url": "http://b/"}}]}}"#;
        assert!(is_one(text));
        assert!(!is_one(r#"{"url": "http://a"}"#));
        assert!(!is_one("{\"url\": \"http://a\"}\n{\"log\": 1}"));
        let found = requests(text).unwrap();
        let first = found[0].as_ref().unwrap();
        assert_eq!((first.authority.as_str(), first.target.as_str()), ("shop.example.com", "/a?b"));
        assert_eq!(first.headers, [("cookie".to_owned(), "v=1".to_owned())]);
        assert!(found[1].is_err());
        assert_eq!(found[2].as_ref().unwrap_err().0, "not an entry of a HAR file: missing field `url`");
        assert_eq!(found[3].as_ref().unwrap().authority, "b");
        assert!(requests("{}").is_err());
    }

    #[test]
    fn a_broken_archive_is_still_known_for_one() {
        assert!(is_one("{\n  \"log\" : {\n \"entries\": ["));
        assert!(requests("{\"log\": {\"entries\": [").unwrap_err().0.starts_with("this looks like a HAR file"));
        assert!(!is_one("{\"log\": \"a message of some log\""));
    }
}
