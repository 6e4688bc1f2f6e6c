//! A curl command, as browsers copy it and as people type it: its URL, and the options that change the request's head.

mod options;

use crate::{Request, RequestError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How curl names itself, without its minor version.
const USER_AGENT: &str = "curl/8";

/// Behind this curl draws letters.
const MULTIPART: &str = "multipart/form-data; boundary=------------------------";

/// Whether a word is the program: `curl`, `/usr/bin/curl`, `curl.exe`.
pub fn is_program(word: &str) -> bool {
    ["curl", "curl.exe"].contains(&word.rsplit(['/', '\\']).next().unwrap_or_default())
}

/// What is gathered on the way, since a URL may stand last.
#[derive(Default)]
struct Gathered<'a> {
    url: Option<&'a str>,
    /// `-X`.
    method: Option<&'a str>,
    is_head: bool,
    /// Lines as `-H` has them.
    lines: Vec<&'a str>,
    user_agent: Option<&'a str>,
    referer: Option<&'a str>,
    cookies: Vec<&'a str>,
    range: Option<String>,
    user: Option<&'a str>,
    bearer: Option<&'a str>,
    /// Another way of authentication than Basic: the first request carries none.
    is_challenged: bool,
    data: Vec<String>,
    is_json: bool,
    is_form: bool,
    upload: Option<&'a str>,
    data_in_query: bool,
    query: Vec<String>,
    target: Option<&'a str>,
    is_compressed: bool,
    http2_upgrade: bool,
    transfer_encoding: bool,
}

/// The request that these arguments of curl (without the word `curl`) would send first.
///
/// # Errors
///
/// No URL, two of them, an option without its argument or one that curl does not have, and what only a file would tell.
pub(super) fn from_arguments<'a>(arguments: impl Iterator<Item = &'a str>) -> Result<Request, RequestError> {
    let mut gathered = Gathered::default();
    let mut arguments = arguments;
    let mut only_urls = false;
    while let Some(argument) = arguments.next() {
        if only_urls || !argument.starts_with('-') || argument == "-" {
            gathered.url(argument)?;
            continue;
        }
        if argument == "--" {
            only_urls = true;
            continue;
        }
        if let Some(name) = argument.strip_prefix("--") {
            // curl itself takes the argument as the next word only.
            let (name, joined) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
            let (name, takes) = options::long(name).ok_or_else(|| unknown(&format!("--{name}")))?;
            if name == "next" {
                break;
            }
            match takes {
                false => gathered.flag(name),
                true => {
                    let value = joined.or_else(|| arguments.next()).ok_or_else(|| missing(&format!("--{name}")))?;
                    gathered.option(name, value)?;
                }
            }
            continue;
        }
        if letters(&mut gathered, argument, &mut arguments)? {
            break;
        }
    }
    gathered.request()
}

/// Short options behind one dash: any that take no argument, then perhaps one that takes the rest, or the next word. True
/// where another request begins.
fn letters<'a>(
    gathered: &mut Gathered<'a>,
    argument: &'a str,
    arguments: &mut impl Iterator<Item = &'a str>,
) -> Result<bool, RequestError> {
    let mut letters = argument.get(1..).unwrap_or_default().chars();
    while let Some(letter) = letters.next() {
        let written = format!("-{letter}");
        let (name, takes) = options::short(letter).ok_or_else(|| unknown(&written))?;
        if name == "next" {
            return Ok(true);
        }
        if !takes {
            gathered.flag(name);
            continue;
        }
        let joined = Some(letters.as_str()).filter(|rest| !rest.is_empty());
        let value = joined.or_else(|| arguments.next()).ok_or_else(|| missing(&written))?;
        gathered.option(name, value)?;
        break;
    }
    Ok(false)
}

fn unknown(option: &str) -> RequestError {
    RequestError(format!("curl: `{option}` is no option of curl"))
}

fn missing(option: &str) -> RequestError {
    RequestError(format!("curl: `{option}` needs an argument"))
}

impl<'a> Gathered<'a> {
    fn url(&mut self, url: &'a str) -> Result<(), RequestError> {
        match self.url.replace(url) {
            None => Ok(()),
            Some(first) => Err(RequestError(format!("curl: two URLs, `{first}` and `{url}`: explain one at a time"))),
        }
    }

    fn flag(&mut self, name: &str) {
        match name {
            "head" => self.is_head = true,
            "get" => self.data_in_query = true,
            "compressed" => self.is_compressed = true,
            "http2" => self.http2_upgrade = true,
            "tr-encoding" => self.transfer_encoding = true,
            "digest" | "ntlm" | "ntlm-wb" | "negotiate" | "anyauth" => self.is_challenged = true,
            "basic" => self.is_challenged = false,
            // All others say how curl behaves, not what it sends.
            _ => {}
        }
    }

    fn option(&mut self, name: &str, value: &'a str) -> Result<(), RequestError> {
        match name {
            "request" => self.method = Some(value),
            "header" if value.starts_with('@') => return Err(in_file("-H", value)),
            "header" => self.lines.push(value),
            "url" => self.url(value)?,
            "user-agent" => self.user_agent = Some(value),
            // Behind a semicolon stands how later requests are to do.
            "referer" => self.referer = Some(value.strip_suffix(";auto").unwrap_or(value)),
            // Without an equals sign it is the name of a file.
            "cookie" if value.contains('=') => self.cookies.push(value),
            "user" => self.user = Some(value),
            "oauth2-bearer" => self.bearer = Some(value),
            "range" => self.range = Some(value.to_owned()),
            "continue-at" if value.parse::<u64>().is_ok_and(|from| from > 0) => self.range = Some(format!("{value}-")),
            "data" | "data-ascii" | "data-binary" => self.data.push(value.to_owned()),
            "data-raw" => self.data.push(value.to_owned()),
            "data-urlencode" => self.data.push(encoded(value)),
            "json" => {
                self.data.push(value.to_owned());
                self.is_json = true;
            }
            "form" | "form-string" => self.is_form = true,
            "upload-file" => self.upload = Some(value),
            // Behind a plus sign it is taken as it is.
            "url-query" => self.query.push(value.strip_prefix('+').map_or_else(|| encoded(value), str::to_owned)),
            "request-target" => self.target = Some(value),
            "config" => return Err(in_file("-K", value)),
            _ => {}
        }
        Ok(())
    }

    fn request(self) -> Result<Request, RequestError> {
        let url = self.url.ok_or_else(|| RequestError("curl: the command names no URL".to_owned()))?;
        let (url, user_of_url) = without_user(url);
        let in_body = (!self.data.is_empty() && !self.data_in_query) || self.is_form;
        let usual = match (self.is_head, self.upload.is_some(), in_body) {
            (true, ..) => "HEAD",
            (_, true, _) => "PUT",
            (.., true) => "POST",
            _ => "GET",
        };
        let mut request = Request::to(self.method.unwrap_or(usual), &url)?;
        if let Some(file) = self.upload.filter(|file| !["-", "."].contains(file)) {
            append_file(&mut request.target, file);
        }
        let data = self.data.iter().filter(|_| self.data_in_query);
        for part in self.query.iter().chain(data) {
            if part.starts_with('@') {
                return Err(in_file("-G", part));
            }
            request.target.push(if request.target.contains('?') { '&' } else { '?' });
            request.target.push_str(part);
        }
        if let Some(target) = self.target {
            request.target = target.to_owned();
        }
        let mut removed = Vec::new();
        for line in &self.lines {
            // `-H 'name:'` takes a header of curl's own away, `-H 'name;'` sends it empty.
            match (line.split_once(':'), line.strip_suffix(';')) {
                (Some((name, value)), _) if value.trim().is_empty() && !name.trim().is_empty() => {
                    removed.push(name.trim().to_ascii_lowercase());
                }
                (None, Some(name)) => request.add(name, ""),
                _ => request.add_line(line)?,
            }
        }
        for (name, value) in self.own_headers(in_body, user_of_url) {
            if !request.has(name) && !removed.iter().any(|removed| removed == name) && !value.is_empty() {
                request.add(name, &value);
            }
        }
        Ok(request)
    }

    /// What curl adds unless `-H` says otherwise; an empty value is not sent.
    fn own_headers(&self, in_body: bool, user_of_url: Option<String>) -> Vec<(&'static str, String)> {
        let user = self.user.map(str::to_owned).or(user_of_url).filter(|_| !self.is_challenged);
        let user = user.map(|user| if user.contains(':') { user } else { user + ":" });
        let basic = user.map(|user| format!("Basic {}", STANDARD.encode(user)));
        let authorization = self.bearer.map(|token| format!("Bearer {token}")).or(basic);
        let content_type = match (self.is_form, self.is_json) {
            (true, _) => MULTIPART,
            (_, true) => "application/json",
            _ => "application/x-www-form-urlencoded",
        };
        let accept = if self.is_json { "application/json" } else { "*/*" };
        let owned = |value: Option<&str>| value.unwrap_or_default().to_owned();
        let when = |condition: bool, value: &str| if condition { value.to_owned() } else { String::new() };
        vec![
            ("authorization", authorization.unwrap_or_default()),
            ("range", self.range.as_ref().map(|range| format!("bytes={range}")).unwrap_or_default()),
            ("user-agent", self.user_agent.unwrap_or(USER_AGENT).to_owned()),
            ("accept", accept.to_owned()),
            ("accept-encoding", when(self.is_compressed, "deflate, gzip, br, zstd")),
            ("te", when(self.transfer_encoding, "gzip")),
            ("referer", owned(self.referer)),
            ("cookie", self.cookies.join(";")),
            ("upgrade", when(self.http2_upgrade, "h2c")),
            ("content-type", when(in_body, content_type)),
        ]
    }
}

fn in_file(option: &str, file: &str) -> RequestError {
    let file = file.trim_start_matches('@');
    RequestError(format!("curl: `{option}` takes what it adds from the file `{file}`: write it out"))
}

/// The URL without `user:password@`, and these as they were before they were escaped.
fn without_user(url: &str) -> (String, Option<String>) {
    let start = url.find("://").map_or(0, |at| at.saturating_add(3));
    let (scheme, rest) = url.split_at_checked(start).unwrap_or(("", url));
    let (authority, path) =
        rest.split_at_checked(rest.find(['/', '?', '#']).unwrap_or(rest.len())).unwrap_or((rest, ""));
    match authority.rsplit_once('@') {
        Some((user, host)) => (format!("{scheme}{host}{path}"), Some(unescaped(user))),
        None => (url.to_owned(), None),
    }
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.filter(|_| byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `content`, `=content` and `name=content` of `--data-urlencode`, the content escaped as curl does it, blanks as `+`;
/// what comes from a file as `@…`.
fn encoded(value: &str) -> String {
    let (name, content) = match value.find(['=', '@']).and_then(|at| value.split_at_checked(at)) {
        Some((_, file)) if file.starts_with('@') => return file.to_owned(),
        Some((name, content)) => (name, content.strip_prefix('=').unwrap_or(content)),
        None => ("", value),
    };
    let content = escaped(content, "+");
    if name.is_empty() { content } else { format!("{name}={content}") }
}

fn escaped(text: &str, blank: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => out.push_str(blank),
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A target that ends with a slash gets the name of the uploaded file behind it.
fn append_file(target: &mut String, file: &str) {
    let (path, query) = target.split_at_checked(target.find('?').unwrap_or(target.len())).unwrap_or((target, ""));
    if path.ends_with('/') {
        let name = file.rsplit(['/', '\\']).next().unwrap_or_default();
        *target = format!("{path}{}{query}", escaped(name, "%20"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::shell;

    fn check(command: &str, expected: &str) {
        let words = shell::split(command).unwrap();
        let found = from_arguments(words.iter().map(String::as_str)).map(|request| {
            let own = |(name, value): &&(String, String)| {
                (name != "user-agent" || value != USER_AGENT) && (name != "accept" || value != "*/*")
            };
            let headers: Vec<_> =
                request.headers.iter().filter(own).map(|(name, value)| format!("{name}={value}")).collect();
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
        check(
            "--json '{}' http://a/ -H 'content-type: text/x'",
            "POST a / content-type=text/x accept=application/json",
        );
        check("-I -b 'v=1; w=2' -b jar -A test http://a", "HEAD a / user-agent=test cookie=v=1; w=2");
        check(
            "-e 'http://r;auto' http://a --compressed",
            "GET a / accept-encoding=deflate, gzip, br, zstd referer=http://r",
        );
        check("--request-target /zz http://a/x", "GET a /zz");
        check("-C 5 http://a", "GET a / range=bytes=5-");
        check("--request=DELETE http://a/ -H 'x;' ", "DELETE a / x=");
    }

    #[test]
    fn letters_may_share_a_dash() {
        check("-sXDELETE http://a", "DELETE a /");
        check("-kXPOST http://a", "POST a /");
        check("-siXPOST http://a", "POST a /");
        check("-siX POST http://a", "POST a /");
        check("-sI http://a", "HEAD a /");
        check("-fsSLI http://a", "HEAD a /");
        check("-sH'x: y' http://a", "GET a / x=y");
        check("-sH 'x: y' http://a", "GET a / x=y");
        check("-kd a http://a", "POST a / content-type=application/x-www-form-urlencoded");
        check("-su u:p http://a", "GET a / authorization=Basic dTpw");
        check("-XPOST -I http://a", "POST a /");
    }

    #[test]
    fn bodies_make_the_method() {
        let multipart = format!("POST a / content-type={MULTIPART}");
        check("-F a=b http://a", &multipart);
        check("--form-string a=b http://a", &multipart);
        check("-T dir/f http://a/x", "PUT a /x");
        check("-T 'dir/f g' http://a/x/?q", "PUT a /x/f%20g?q");
        check("-d @f http://a", "POST a / content-type=application/x-www-form-urlencoded");
    }

    #[test]
    fn data_may_stand_in_the_query() {
        check("-G --data-urlencode 'q=a b&c/d' http://a", "GET a /?q=a+b%26c%2Fd");
        check("-G --data-urlencode '=c d' --data-urlencode 'e f' -d 'x=y' http://a?z", "GET a /?z&c+d&e+f&x=y");
        check("--url-query k=v:w --url-query +a=b:c http://a/x?y", "GET a /x?y&k=v%3Aw&a=b:c");
        check("-IG -d q=1 'http://a/s?x'", "HEAD a /s?x&q=1");
    }

    #[test]
    fn who_asks_is_said_as_curl_says_it() {
        check("-u ann:x http://a/ -kL", "GET a / authorization=Basic YW5uOng=");
        check("http://c:d%20e@a/x@y", "GET a /x@y authorization=Basic YzpkIGU=");
        check("http://u@a/", "GET a / authorization=Basic dTo=");
        check("-u a:b http://c:d@a/", "GET a / authorization=Basic YTpi");
        check("--digest -u a:b http://a/", "GET a /");
        check("--oauth2-bearer tok http://a/", "GET a / authorization=Bearer tok");
    }

    #[test]
    fn curls_own_headers_can_be_taken_away() {
        let names = |command: &str| {
            let words = shell::split(command).unwrap();
            let request = from_arguments(words.iter().map(String::as_str)).unwrap();
            request.headers.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(names("a"), ["user-agent=curl/8", "accept=*/*"]);
        assert_eq!(names("a -H Accept: -H 'X-Own: ' -A ''"), Vec::<String>::new());
        assert_eq!(names("a -H 'accept;' -H 'User-Agent: x'"), ["accept=", "user-agent=x"]);
    }

    #[test]
    fn arguments_that_do_not_matter_are_passed_over() {
        check("-z 2020-01-01 -m 3 --connect-timeout 2 -o f -w '%{http_code}' --no-keepalive http://a", "GET a /");
        check("-r 0-9 http://a", "GET a / range=bytes=0-9");
        check("http://a --next http://b", "GET a /");
        check("-- -a", "GET -a /");
    }

    #[test]
    fn what_is_no_command_is_said() {
        check("-s", "curl: the command names no URL");
        check("http://a/ -H", "curl: `-H` needs an argument");
        check("http://a/ http://b/", "curl: two URLs, `http://a/` and `http://b/`: explain one at a time");
        check("--frobnicate x http://a", "curl: `--frobnicate` is no option of curl");
        check("-s? http://a", "curl: `-?` is no option of curl");
        check("-K f http://a", "curl: `-K` takes what it adds from the file `f`: write it out");
        check("-G -d @f http://a", "curl: `-G` takes what it adds from the file `f`: write it out");
    }

    #[test]
    fn the_program_may_be_written_in_full() {
        assert!(["curl", "/usr/bin/curl", "curl.exe", "C:\\x\\curl.exe"].iter().all(|word| is_program(word)));
        assert!(!["curly", "wget", "/curl/x"].iter().any(|word| is_program(word)));
    }
}
