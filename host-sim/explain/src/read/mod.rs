//! Requests from the forms people have them in: a line of JSON, an access log, a curl command, a HAR file.

mod access_log;
mod curl;
mod har;
mod json;

pub use curl::from_arguments as from_curl;
pub use har::requests as from_har;

use crate::{Request, RequestError};

/// Whether a text is a HAR file as a whole, and not one request a line.
pub fn is_har(text: &str) -> bool {
    har::is_one(text)
}

/// The request of one line: a JSON object (a request, or a line of a JSON access log), a curl command, or a line of an
/// access log in the default format of Envoy, Istio, nginx or Apache. `host` is for lines that do not name one.
///
/// # Errors
///
/// What is wrong with the line.
pub fn line(line: &str, host: Option<&str>) -> Result<Request, RequestError> {
    let line = line.trim();
    if line.starts_with('{') {
        return json::request(line, host);
    }
    if line.starts_with("curl ") {
        let words =
            shlex::split(line).ok_or_else(|| RequestError("a quote in the command is never closed".to_owned()))?;
        return from_curl(words.iter().skip(1).map(String::as_str));
    }
    access_log::request(line, host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_says_what_it_is() {
        let target = |text| line(text, Some("shop")).map(|request| (request.authority, request.target));
        assert_eq!(target(r#"{"url": "http://a/x"}"#), Ok(("a".into(), "/x".into())));
        assert_eq!(target("curl 'http://a/x'"), Ok(("a".into(), "/x".into())));
        assert_eq!(target(r#"10.0.0.1 - - [1] "GET /x HTTP/1.1" 200 1"#), Ok(("shop".into(), "/x".into())));
        assert!(target("hello").is_err());
        assert!(target("curl 'http://a").is_err());
    }
}
