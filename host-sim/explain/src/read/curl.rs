//! A curl command, as browsers copy it and as people type it: its URL, and the options that change the request's head.

use crate::{Request, RequestError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Options with an argument that does not change the request's head.
const WITH_ARGUMENT: [&str; 22] = [
    "-o",
    "--output",
    "-m",
    "--max-time",
    "--connect-timeout",
    "--retry",
    "--retry-delay",
    "-w",
    "--write-out",
    "--resolve",
    "--connect-to",
    "--cacert",
    "-E",
    "--cert",
    "--key",
    "-x",
    "--proxy",
    "-c",
    "--cookie-jar",
    "-F",
    "--form",
    "--interface",
];

/// What is gathered on the way, since a URL may stand last.
#[derive(Default)]
struct Gathered<'a> {
    url: Option<&'a str>,
    method: Option<&'a str>,
    /// Lines as `-H` has them.
    headers: Vec<String>,
    data: Vec<&'a str>,
    content_type: Option<&'static str>,
    data_in_query: bool,
}

/// The request that these arguments of curl (without the word `curl`) would send first.
///
/// # Errors
///
/// No URL, two of them, or an option without its argument.
pub fn from_arguments<'a>(arguments: impl Iterator<Item = &'a str>) -> Result<Request, RequestError> {
    let mut gathered = Gathered::default();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let (name, joined) = split(argument);
        if !name.starts_with('-') {
            gathered.url(name)?;
            continue;
        }
        let mut value = || {
            let missing = || RequestError(format!("curl: `{name}` needs an argument"));
            joined.or_else(|| arguments.next()).ok_or_else(missing)
        };
        match name {
            "-X" | "--request" => gathered.method = Some(value()?),
            "-H" | "--header" => gathered.headers.push(value()?.to_owned()),
            "--url" => gathered.url(value()?)?,
            "-A" | "--user-agent" => gathered.headers.push(format!("user-agent: {}", value()?)),
            "-e" | "--referer" => gathered.headers.push(format!("referer: {}", value()?)),
            "-b" | "--cookie" => gathered.headers.push(format!("cookie: {}", value()?)),
            "-u" | "--user" => {
                gathered.headers.push(format!("authorization: Basic {}", STANDARD.encode(value()?)));
            }
            "-d" | "--data" | "--data-raw" | "--data-binary" | "--data-ascii" | "--data-urlencode" => {
                gathered.data.push(value()?);
                gathered.content_type.get_or_insert("application/x-www-form-urlencoded");
            }
            "--json" => {
                gathered.data.push(value()?);
                gathered.content_type = Some("application/json");
            }
            "-G" | "--get" => gathered.data_in_query = true,
            "-I" | "--head" => gathered.method = Some("HEAD"),
            other if WITH_ARGUMENT.contains(&other) => drop(value()?),
            // All others say how curl behaves, not what it sends.
            _ => {}
        }
    }
    gathered.request()
}

/// `-XPOST` and `--request=POST` hold their argument; `-sSL` is several options without one.
fn split(argument: &str) -> (&str, Option<&str>) {
    if argument.starts_with("--") {
        return argument.split_once('=').map_or((argument, None), |(name, value)| (name, Some(value)));
    }
    let takes_argument =
        argument.starts_with('-') && argument.chars().nth(1).is_some_and(|letter| "XHAebudomwExcF".contains(letter));
    match argument.split_at_checked(2) {
        Some((name, value)) if takes_argument && !value.is_empty() => (name, Some(value)),
        _ => (argument, None),
    }
}

impl<'a> Gathered<'a> {
    fn url(&mut self, url: &'a str) -> Result<(), RequestError> {
        match self.url.replace(url) {
            None => Ok(()),
            Some(first) => Err(RequestError(format!("curl: two URLs, `{first}` and `{url}`: explain one at a time"))),
        }
    }

    fn request(self) -> Result<Request, RequestError> {
        let url = self.url.ok_or_else(|| RequestError("curl: the command names no URL".to_owned()))?;
        let sends_body = !self.data.is_empty() && !self.data_in_query;
        let method = self.method.unwrap_or(if sends_body { "POST" } else { "GET" });
        let mut request = Request::to(method, url)?;
        if self.data_in_query && !self.data.is_empty() {
            request.target.push(if request.target.contains('?') { '&' } else { '?' });
            request.target.push_str(&self.data.join("&"));
        }
        for line in &self.headers {
            // `-H 'name:'` takes a header of curl's own away, `-H 'name;'` sends it empty.
            match line.strip_suffix(';').filter(|name| !name.contains(':')) {
                Some(name) => request.add(name, ""),
                None if line.ends_with(':') => {}
                None => request.add_line(line)?,
            }
        }
        for (name, value) in [
            ("content-type", self.content_type.filter(|_| sends_body)),
            ("user-agent", Some("curl")),
            ("accept", Some("*/*")),
        ] {
            if let Some(value) = value.filter(|_| !request.has(name)) {
                request.add(name, value);
            }
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command: &str, expected: &str) {
        let words = shlex::split(command).unwrap();
        let found = from_arguments(words.iter().map(String::as_str)).map(|request| {
            let own = ["user-agent", "accept"];
            let headers = request
                .headers
                .iter()
                .filter(|(name, value)| !own.contains(&name.as_str()) || !["curl", "*/*"].contains(&value.as_str()));
            let headers: Vec<_> = headers.map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} {} {} {}", request.method, request.authority, request.target, headers.join(" "))
                .trim_end()
                .to_owned()
        });
        assert_eq!(found.unwrap_or_else(|error| error.0), expected, "{command}");
    }

    #[test]
    fn what_changes_the_head_is_read() {
        check("http://reviews/x -H 'End-User: ann' -H 'Host: b'", "GET b /x end-user=ann");
        check("-sS -XPUT --url reviews/x -o /dev/null", "PUT reviews /x");
        check("-d a=b -d c=d http://a/", "POST a / content-type=application/x-www-form-urlencoded");
        check("-G --data-urlencode q=1 'http://a/s?x'", "GET a /s?x&q=1");
        check("--json '{}' http://a/ -H 'content-type: text/x'", "POST a / content-type=text/x");
        check("-I -b 'v=1; w=2' -A test http://a", "HEAD a / cookie=v=1; w=2 user-agent=test");
        check("-u ann:x http://a/ --compressed -kL", "GET a / authorization=Basic YW5uOng=");
        check("--request=DELETE http://a/ -H 'x;' -H 'accept:'", "DELETE a / x=");
    }

    #[test]
    fn what_is_no_command_is_said() {
        check("-s", "curl: the command names no URL");
        check("http://a/ -H", "curl: `-H` needs an argument");
        check("http://a/ http://b/", "curl: two URLs, `http://a/` and `http://b/`: explain one at a time");
    }
}
