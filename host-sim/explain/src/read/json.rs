//! A line of JSON: a request, or a line of Envoy's or Istio's access log in its JSON form. What has no bearing on routing
//! is passed over.

use crate::{Request, RequestError};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    url: Option<Cow<'a, str>>,
    #[serde(borrow, default, alias = "host", alias = ":authority")]
    authority: Option<Cow<'a, str>>,
    #[serde(borrow, default, alias = "target", alias = ":path")]
    path: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    scheme: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    headers: BTreeMap<Cow<'a, str>, Values<'a>>,
    #[serde(borrow, default)]
    user_agent: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    x_forwarded_for: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values<'a> {
    One(#[serde(borrow)] Cow<'a, str>),
    Several(Vec<Cow<'a, str>>),
    Number(serde_json::Number),
    Truth(bool),
}

pub(super) fn request(text: &str, host: Option<&str>) -> Result<Request, RequestError> {
    let line: Line<'_> = serde_json::from_str(text).map_err(|error| RequestError(format!("not a request: {error}")))?;
    let says_nothing = |field: &Option<Cow<'_, str>>| field.as_deref() == Some("-");
    if [&line.method, &line.path].into_iter().all(says_nothing) {
        return Err(super::access_log::no_http());
    }
    // Istio writes `null` for what a connection without HTTP does not have.
    if line.method.is_none() && line.url.is_none() && line.path.is_none() && text.contains("\"upstream_cluster\"") {
        return Err(super::access_log::no_http());
    }
    let method = line.method.as_deref().unwrap_or("GET");
    let mut request = match (&line.url, line.authority.as_deref().or(host)) {
        (Some(url), authority) => {
            let mut request = Request::to(method, url)?;
            if let (Some(authority), Some(_)) = (authority, &line.authority) {
                request.add("host", authority);
            }
            request
        }
        (None, Some(authority)) => {
            let target = line.path.as_deref().unwrap_or("/").to_owned();
            let scheme = line.scheme.as_deref().unwrap_or("http").to_owned();
            Request { method: method.to_owned(), scheme, authority: authority.to_owned(), target, headers: Vec::new() }
        }
        (None, None) => return Err(RequestError("neither `url` nor `authority` says which host is meant".to_owned())),
    };
    for (name, values) in &line.headers {
        match values {
            Values::One(value) => request.add(name, value),
            Values::Several(values) => values.iter().for_each(|value| request.add(name, value)),
            Values::Number(number) => request.add(name, &number.to_string()),
            Values::Truth(truth) => request.add(name, if *truth { "true" } else { "false" }),
        }
    }
    for (name, value) in [
        ("user-agent", &line.user_agent),
        ("x-request-id", &line.request_id),
        ("x-forwarded-for", &line.x_forwarded_for),
    ] {
        if let Some(value) = value.as_deref().filter(|value| *value != "-") {
            request.add(name, value);
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_a_url_or_its_parts() {
        let whole = request(
            r#"{"method": "POST", "url": "http://reviews/x?a", "headers": {"End-User": "ann", "x": ["1", "2"], "n": 3, "host": "b"}}"#,
            None,
        );
        let whole = whole.unwrap();
        assert_eq!((whole.method.as_str(), whole.authority.as_str(), whole.target.as_str()), ("POST", "b", "/x?a"));
        let headers: Vec<_> = whole.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(headers, [("end-user", "ann"), ("n", "3"), ("x", "1"), ("x", "2")]);
        let parts = request(r#"{"authority": "reviews:9080", "path": "/y", "scheme": "https"}"#, None).unwrap();
        assert_eq!((parts.authority.as_str(), parts.target.as_str()), ("reviews:9080", "/y"));
        assert!(request(r#"{"path": "/y"}"#, None).is_err());
        assert!(request("{", None).is_err());
    }

    #[test]
    fn a_line_of_istios_json_log_is_a_request() {
        let line = r#"{"authority":"httpbin:8000","bytes_sent":135,"method":"GET","path":"/status/418","request_id":"84961386",
            "response_code":418,"user_agent":"curl/8","x_forwarded_for":"-","duration":4,"response_flags":"-"}"#;
        let request = request(line, None).unwrap();
        assert_eq!((request.authority.as_str(), request.target.as_str()), ("httpbin:8000", "/status/418"));
        assert_eq!(request.headers.len(), 2);
    }

    #[test]
    fn a_connection_without_http_is_named() {
        for line in [
            r#"{"authority":null,"method":null,"path":null,"bytes_sent":3,"upstream_cluster":"outbound|9000||db"}"#,
            r#"{"authority":"-","method":"-","path":"-"}"#,
        ] {
            assert!(request(line, Some("a")).unwrap_err().0.contains("without HTTP"), "{line}");
        }
        assert_eq!(request("{}", Some("a")).unwrap().target, "/");
    }
}
