//! A line of a text access log. Its quoted fields tell which format it is: Envoy's default has six, Istio's seven, the
//! combined format of nginx and Apache three, their common format one.

use crate::{Request, RequestError};

/// Where the fields stand that bear on routing, among the quoted ones.
struct Format {
    fields: usize,
    /// Header and place.
    headers: &'static [(&'static str, usize)],
    authority: Option<usize>,
}

const FORMATS: [Format; 4] = [
    // Istio (pilot `EnvoyTextLogFormat`): request, failure reason, then as Envoy's.
    Format {
        fields: 7,
        headers: &[("x-forwarded-for", 2), ("user-agent", 3), ("x-request-id", 4)],
        authority: Some(5),
    },
    // Envoy's default format string.
    Format {
        fields: 6,
        headers: &[("x-forwarded-for", 1), ("user-agent", 2), ("x-request-id", 3)],
        authority: Some(4),
    },
    // Combined.
    Format { fields: 3, headers: &[("referer", 1), ("user-agent", 2)], authority: None },
    // Common.
    Format { fields: 1, headers: &[], authority: None },
];

pub(super) fn request(line: &str, host: Option<&str>) -> Result<Request, RequestError> {
    let fields = quoted(line);
    let format = FORMATS.iter().find(|format| format.fields == fields.len()).ok_or_else(|| {
        let message = "not a request: write JSON, a curl command, METHOD URL, or a line of an access log in Envoy's, Istio's, nginx's or Apache's default format";
        RequestError(message.to_owned())
    })?;
    let field = |place: usize| fields.get(place).map(String::as_str).filter(|field| *field != "-" && !field.is_empty());
    let first = field(0).unwrap_or_default();
    if first == "- - -" {
        return Err(no_http());
    }
    if first.is_empty() {
        return Err(RequestError("a connection on which no request came".to_owned()));
    }
    let mut words = first.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(RequestError(format!("`{first}` is not METHOD PATH PROTOCOL")));
    };
    let named = format.authority.and_then(field).or(host);
    let authority = named.ok_or_else(|| RequestError("the line names no host: give one with --host".to_owned()))?;
    let mut request = Request {
        method: method.to_owned(),
        scheme: "http".to_owned(),
        authority: authority.to_owned(),
        target: target.to_owned(),
        headers: Vec::new(),
    };
    for (name, place) in format.headers {
        if let Some(value) = field(*place) {
            request.add(name, value);
        }
    }
    Ok(request)
}

/// What Envoy logs of a TCP or TLS connection that it only passes on.
pub(super) fn no_http() -> RequestError {
    RequestError(
        "a connection without HTTP (TCP or TLS, passed on as it is): there is no request to explain".to_owned(),
    )
}

/// The texts between quotation marks; a backslash takes the next character as it is.
fn quoted(line: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut inside: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (character, inside.take()) {
            ('"', Some(field)) => fields.push(field),
            ('"', None) => inside = Some(String::new()),
            ('\\', Some(mut field)) => {
                field.extend(characters.next());
                inside = Some(field);
            }
            (other, Some(mut field)) => {
                field.push(other);
                inside = Some(field);
            }
            (_, None) => {}
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let found = request(line, Some("shop")).map(|request| {
            let headers: Vec<_> = request.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} {} {} {}", request.method, request.authority, request.target, headers.join(" "))
        });
        assert_eq!(found.unwrap_or_else(|error| error.0), expected);
    }

    #[test]
    fn the_usual_formats_are_told_by_their_fields() {
        check(
            r#"[2026-11-26T01:02:03.004Z] "POST /api/v1/x?y HTTP/2" 503 UF 0 91 3 - "10.0.35.28" "curl/8 \"beta\"" "cc21d9b0" "locations" "10.0.2.1:80""#,
            r#"POST locations /api/v1/x?y x-forwarded-for=10.0.35.28 user-agent=curl/8 "beta" x-request-id=cc21d9b0"#,
        );
        check(
            r#"[2026-11-26T01:02:03.004Z] "GET /status/418 HTTP/1.1" 418 - via_upstream - "-" 0 135 4 4 "-" "curl/8" "84961386" "httpbin:8000" "127.0.0.1:80" inbound|8000|| 127.0.0.1:41854 10.44.1.27:80 10.44.1.23:37652 outbound_.8000_._.httpbin default"#,
            "GET httpbin:8000 /status/418 user-agent=curl/8 x-request-id=84961386",
        );
        check(
            r#"127.0.0.1 - ann [26/Nov/2026:13:55:36 +0000] "GET /a.gif HTTP/1.0" 200 2326 "http://b/start" "Mozilla/5.0""#,
            "GET shop /a.gif referer=http://b/start user-agent=Mozilla/5.0",
        );
    }

    #[test]
    fn what_names_no_request_is_said() {
        check(r#"a "GET" 200"#, "`GET` is not METHOD PATH PROTOCOL");
        check(r#"10.0.0.1 - - [1] "-" 400 0 "-" "-""#, "a connection on which no request came");
        check(
            r#"[2026-11-26T01:02:03.004Z] "- - -" 0 - - - "-" 5 9 3 - "-" "-" "-" "-" "10.0.2.1:80""#,
            "a connection without HTTP (TCP or TLS, passed on as it is): there is no request to explain",
        );
        assert!(request(r#"127.0.0.1 - - [1] "GET / HTTP/1.0" 200 1"#, None).unwrap_err().0.contains("--host"));
        assert!(request(r#""a" "b""#, None).is_err());
    }
}
