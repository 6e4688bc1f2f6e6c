//! Keys of `sticky` that say something else than who a user is.

use crate::view::View;
use istio_config::Diagnostics;
use istio_config::diagnostic::At;
use istio_config::shunt_policy::Sticky;
use std::fmt::Write;

const NO_USER: &str = "key-of-no-user";

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    for policy in &view.config.shunt_policies {
        if let Some(sticky) = &policy.spec.sticky {
            let object = At::object(&policy.meta.reference);
            let spec = object.field("spec");
            of_policy(&spec.field("sticky"), sticky, diagnostics);
        }
    }
}

fn of_policy(at: &At<'_>, sticky: &Sticky, diagnostics: &mut Diagnostics) {
    if let Some(name) = &sticky.http_header_name {
        let at = at.field("httpHeaderName");
        match name.to_ascii_lowercase().as_str() {
            "host" => {
                let message = "`host` says which service is asked: all users of a host meet one version";
                diagnostics.warning(&at, NO_USER, message, "name a header that says who asks");
            }
            "cookie" => {
                let message =
                    "this is all that a browser keeps: with any cookie that changes, the user may change his version";
                diagnostics.warning(
                    &at,
                    NO_USER,
                    message,
                    "name the one that says who he is: httpCookie: {name: NAME}",
                );
            }
            "x-request-id" | "traceparent" => {
                let message = format!("`{name}` is another one with each request: no user would stay anywhere");
                diagnostics.warning(&at, NO_USER, message, "name a header that says who asks");
            }
            _ => {}
        }
    }
    if let Some(name) = sticky.http_query_parameter_name.as_ref().filter(|name| !name.is_empty()) {
        let sent = encoded(name);
        if sent != *name {
            let message = format!("no request has a parameter `{name}`: names are compared as they stand in the URL");
            let help = format!("write it as it is sent, such as {sent}");
            diagnostics.warning(&at.field("httpQueryParameterName"), "no-effect", message, help);
        }
    }
    let Some(testers) = &sticky.allow_override else { return };
    let at = at.field("allowOverride");
    let is_key = |name: &&String| sticky.http_header_name.as_ref().is_some_and(|key| key.eq_ignore_ascii_case(name));
    let is_key_cookie = |name: &&String| sticky.http_cookie.as_ref().is_some_and(|key| key.name == **name);
    if let Some(name) = testers.http_header_name.as_ref().filter(|name| is_for_all(name)) {
        let message = format!("`{name}` says something else already, of requests that are no testers'");
        diagnostics.warning(&at.field("httpHeaderName"), NO_USER, message, "give testers a header of their own");
    }
    let both = [
        ("httpHeaderName", testers.http_header_name.as_ref().filter(is_key)),
        ("httpCookieName", testers.http_cookie_name.as_ref().filter(is_key_cookie)),
    ];
    for (field, name) in both {
        if let Some(name) = name {
            let message = format!("`{name}` is the user's key too: whoever is called like a version gets that one");
            diagnostics.warning(&at.field(field), NO_USER, message, "give testers a name of their own");
        }
    }
}

/// Headers that say something else already.
fn is_for_all(name: &str) -> bool {
    ["host", "cookie"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// A parameter's name as browsers and libraries send it: what cannot stand there is a `%` and two digits. A `%` and a `+` stay,
/// as they are from such a name.
fn encoded(name: &str) -> String {
    let mut sent = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_graphic() && !b"&=#".contains(&byte) {
            sent.push(char::from(byte));
        } else {
            let _ = write!(sent, "%{byte:02X}");
        }
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_stand_in_a_url_is_written_as_it_is_sent() {
        for (name, sent) in [
            ("user", "user"),
            ("user[id]", "user[id]"),
            ("na%C3%AFve+x", "na%C3%AFve+x"),
            ("a b", "a%20b"),
            ("a&b=c#d", "a%26b%3Dc%23d"),
            ("naïve", "na%C3%AFve"),
            ("a\tb", "a%09b"),
        ] {
            assert_eq!(encoded(name), sent);
        }
    }
}
