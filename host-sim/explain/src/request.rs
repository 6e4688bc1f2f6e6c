//! One request as it would arrive: what the first filter of a host sees.

use crate::Refused;
use envoy_plan::PathNormalization;
use istio_config::names::is_token;

/// A request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Method, as it was written.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Host, with the port if it was given.
    pub authority: String,
    /// Request target: path and query.
    pub target: String,
    /// All other headers; names in lower case, in order.
    pub headers: Vec<(String, String)>,
}

/// Why something is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RequestError(pub String);

impl Request {
    /// A request for a URL, absolute or beginning with its host.
    ///
    /// # Errors
    ///
    /// The URL has no host, or another scheme than http and https.
    pub fn to(method: &str, url: &str) -> Result<Self, RequestError> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let scheme = scheme.to_ascii_lowercase();
        if !["http", "https"].contains(&scheme.as_str()) {
            return Err(RequestError(format!("`{url}`: the scheme is neither http nor https")));
        }
        // A fragment stays with the client.
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if host.is_empty() {
            return Err(RequestError(format!("`{url}`: write the host too, as in http://reviews:9080/ratings")));
        }
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self { method: method.to_owned(), scheme, authority: host.to_owned(), target, headers: Vec::new() })
    }

    /// Adds a header; `host` is the authority.
    pub fn add(&mut self, name: &str, value: &str) {
        let name = name.trim().to_ascii_lowercase();
        match name.as_str() {
            "host" | ":authority" => self.authority = value.to_owned(),
            ":method" => self.method = value.to_owned(),
            ":path" => self.target = value.to_owned(),
            ":scheme" => self.scheme = value.to_owned(),
            _ => self.headers.push((name, value.to_owned())),
        }
    }

    /// Adds a header that is written as one line, `name: value`.
    ///
    /// # Errors
    ///
    /// There is no colon, or nothing before it.
    pub fn add_line(&mut self, line: &str) -> Result<(), RequestError> {
        // A pseudo-header begins with a colon of its own.
        let start = usize::from(line.starts_with(':'));
        let colon = line.get(start..).and_then(|rest| rest.find(':')).map(|at| at.saturating_add(start));
        match colon.and_then(|at| line.split_at_checked(at)) {
            Some((name, value)) if !name.trim().is_empty() => {
                self.add(name, value.strip_prefix(':').unwrap_or(value).trim());
                Ok(())
            }
            _ => Err(RequestError(format!("`{line}` is no header: write 'name: value'"))),
        }
    }

    /// The same, if its method can be one.
    ///
    /// # Errors
    ///
    /// The method is no token (RFC 9110, section 5.6.2): it is empty, or holds a blank.
    pub(crate) fn with_method_known(self) -> Result<Self, RequestError> {
        match is_token(&self.method) {
            true => Ok(self),
            false => Err(RequestError(format!("`{}` is no method: it is one word, as in GET", self.method))),
        }
    }

    /// Whether it has this header.
    pub fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(own, _)| own == name)
    }

    /// The request as a host shows it to the filter, its path normalised.
    ///
    /// # Errors
    ///
    /// The answer that the host gives itself, before any filter.
    pub fn admitted(&self, normalization: PathNormalization) -> Result<Self, Refused> {
        let Self { method, scheme, authority, target, headers } = self;
        let target =
            upstream::arrival::admit(method.as_bytes(), authority.as_bytes(), target.as_bytes(), normalization)
                .map_err(|reply| Refused::new(self, reply.status))?;
        let is_kept = |name: &str, value: &str| {
            let is_referer = name == "referer";
            upstream::arrival::is_kept(name.as_bytes())
                && !(is_referer && upstream::referer::is_removed(value.as_bytes()))
        };
        let kept = headers.iter().filter(|(name, value)| is_kept(name, value));
        Ok(Self {
            method: method.clone(),
            scheme: scheme.clone(),
            authority: authority.clone(),
            target: String::from_utf8_lossy(&target).into_owned(),
            headers: kept.cloned().collect(),
        })
    }

    /// The head as a filter is given it, pseudo-headers first. Hosts add `x-forwarded-proto` before any filter runs.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pseudo = [
            (":authority", &self.authority),
            (":path", &self.target),
            (":method", &self.method),
            (":scheme", &self.scheme),
        ];
        let proto = (!self.has("x-forwarded-proto")).then_some(("x-forwarded-proto", self.scheme.as_str()));
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        pseudo.into_iter().map(|(name, value)| (name, value.as_str())).chain(headers).chain(proto)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, scheme: &str, authority: &str, target: &str) {
        let request = Request::to("GET", url).unwrap();
        let found = (request.scheme.as_str(), request.authority.as_str(), request.target.as_str());
        assert_eq!(found, (scheme, authority, target), "{url}");
    }

    #[test]
    fn a_url_names_host_and_target() {
        check("http://reviews:9080/ratings?a=b#c", "http", "reviews:9080", "/ratings?a=b");
        check("HTTPS://ann:secret@shop.example.com", "https", "shop.example.com", "/");
        check("reviews/x", "http", "reviews", "/x");
        check("reviews?a", "http", "reviews", "/?a");
        for url in ["/ratings", "", "ftp://a/", "http:///x"] {
            assert!(Request::to("GET", url).is_err(), "{url}");
        }
    }

    #[test]
    fn headers_are_lines_and_host_is_the_authority() {
        let mut request = Request::to("GET", "a/").unwrap();
        for line in ["X-User:  ann ", "Host: b:1", ":method: PUT", "empty:", "x: a:b"] {
            request.add_line(line).unwrap();
        }
        assert_eq!((request.authority.as_str(), request.method.as_str()), ("b:1", "PUT"));
        let pairs: Vec<_> = request.pairs().skip(4).collect();
        assert_eq!(pairs, [("x-user", "ann"), ("empty", ""), ("x", "a:b"), ("x-forwarded-proto", "http")]);
        assert!(request.add_line("no colon").is_err());
        assert!(request.add_line(": x").is_err());
    }
}
