//! Requests from the forms people have them in: a line of JSON, an access log, a curl command, a HAR file.

mod access_log;
mod curl;
pub(crate) mod encoding;
mod har;
mod json;
mod shell;
mod split;

pub(crate) use split::lines;

pub use curl::is_program as is_curl;

use crate::{Request, RequestError};

/// Whether a text is a HAR file as a whole, and not one request a line.
pub fn is_har(text: &str) -> bool {
    har::is_one(text)
}

/// Every request of a HAR file, in order.
///
/// # Errors
///
/// The text is no HAR file; for one entry, what is wrong with it.
pub fn from_har(text: &str) -> Result<Vec<Result<Request, RequestError>>, RequestError> {
    let requests = har::requests(text)?;
    Ok(requests.into_iter().map(|request| request?.with_method_known()).collect())
}

/// The request of one line: a JSON object (a request, or a line of a JSON access log), a curl command, `METHOD URL` or a URL
/// as `shunt explain` takes them, or a line of an access log in the default format of Envoy, Istio, nginx or Apache. `host`
/// is for lines that do not name one.
///
/// # Errors
///
/// What is wrong with the line.
pub fn line(line: &str, host: Option<&str>) -> Result<Request, RequestError> {
    let line = line.trim();
    let request = if line.starts_with('{') {
        json::request(line, host)
    } else if let Some(command) = command(line) {
        let words = shell::split(command)?;
        words_of(&words.iter().map(String::as_str).collect::<Vec<_>>())
    } else {
        access_log::request(line, host)
    };
    request?.with_method_known()
}

/// The request of a command's words: those of curl with its arguments, `METHOD URL`, or a URL; behind the last two
/// `-H 'name: value'`.
///
/// # Errors
///
/// What is wrong with the words.
pub fn words(words: &[&str]) -> Result<Request, RequestError> {
    words_of(words)?.with_method_known()
}

fn words_of(words: &[&str]) -> Result<Request, RequestError> {
    if let Some((program, arguments)) = words.split_first()
        && curl::is_program(program)
    {
        return curl::from_arguments(arguments.iter().copied());
    }
    let at = words.iter().position(|word| word.starts_with('-')).unwrap_or(words.len());
    let (named, headers) = words.split_at_checked(at).unwrap_or((words, &[]));
    let mut request = match named {
        [method] if is_method(method) => {
            return Err(RequestError(format!("`{method}` is a method: the URL is missing")));
        }
        [url] => Request::to("GET", url)?,
        [method, url] => Request::to(method, url)?,
        _ => {
            let all = named.join(" ");
            return Err(RequestError(format!("`{all}`: write METHOD URL, or put a whole curl command behind --")));
        }
    };
    for option in headers.chunks(2) {
        match option {
            ["-H" | "--header", header] => request.add_line(header)?,
            _ => {
                let option = option.join(" ");
                return Err(RequestError(format!(
                    "`{option}`: behind a URL stands -H 'name: value', or write it as a curl command"
                )));
            }
        }
    }
    Ok(request)
}

/// The line without a prompt, if it is a command: one of curl, or `METHOD URL`.
pub(crate) fn command(line: &str) -> Option<&str> {
    let line = line.strip_prefix("$ ").unwrap_or(line).trim_start();
    let (first, rest) = line.split_once(|character: char| character.is_ascii_whitespace()).unwrap_or((line, ""));
    let is_one = curl::is_program(first)
        || is_method(first) && !rest.trim().is_empty()
        || ["http://", "https://"].iter().any(|scheme| first.starts_with(scheme));
    is_one.then_some(line)
}

fn is_method(word: &str) -> bool {
    upstream::arrival::is_method_of_http1(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_says_what_it_is() {
        let target = |text| line(text, Some("shop")).map(|request| (request.authority, request.target));
        assert_eq!(target(r#"{"url": "http://a/x"}"#), Ok(("a".into(), "/x".into())));
        for command in [
            "curl 'http://a/x'",
            "$ curl 'http://a/x'",
            "/usr/bin/curl http://a/x",
            "curl.exe http://a/x -H $'x: it\\'s'",
            "curl \\\n  http://a/x | jq .",
            "GET http://a/x -H 'x: y'",
            "http://a/x",
        ] {
            assert_eq!(target(command), Ok(("a".into(), "/x".into())), "{command}");
        }
        assert_eq!(target(r#"10.0.0.1 - - [1] "GET /x HTTP/1.1" 200 1"#), Ok(("shop".into(), "/x".into())));
        assert!(target("hello").is_err());
        assert!(target("curl 'http://a").is_err());
    }

    #[test]
    fn a_method_is_one_word() {
        for text in [
            r#"{"method": "G T", "url": "http://a"}"#,
            r#"{"method": "", "url": "http://a"}"#,
            "curl -X 'G T' http://a",
        ] {
            assert!(line(text, None).unwrap_err().0.contains("is no method"), "{text}");
        }
        assert!(words(&["G(T", "http://a"]).is_err());
        assert!(words(&["frob", "http://a"]).is_ok());
    }

    #[test]
    fn words_are_a_method_and_a_url() {
        assert_eq!(words(&["GET"]).unwrap_err().0, "`GET` is a method: the URL is missing");
        assert!(words(&["GET", "http://a", "http://b"]).unwrap_err().0.contains("METHOD URL"));
        assert!(words(&["GET", "http://a", "-s"]).unwrap_err().0.contains("curl command"));
        assert_eq!(words(&["PUT", "http://a", "-H", "X: y"]).unwrap().headers, [("x".to_owned(), "y".to_owned())]);
    }
}
