//! Cookies that `sticky` makes and browsers refuse (who comes with such a browser is a new user with every request), or of which
//! they pass something over.
//!
//! What browsers refuse stands in RFC 6265bis: names with a prefix (section 5.7, without regard to case) and `SameSite=None`
//! (section 5.6.7.1).

use crate::view::View;
use istio_config::Diagnostics;
use istio_config::diagnostic::At;
use istio_config::shunt_policy::StickyCookie;

const REFUSED: &str = "cookie-refused";
const PASSED_OVER: &str = "cookie-passed-over";

/// Attributes that browsers know (RFC 6265bis, section 5.6, and those of Chromium), but for the two that have fields of their own.
const KNOWN: [&str; 7] = ["Domain", "Expires", "HttpOnly", "Partitioned", "Priority", "SameSite", "Secure"];

/// Values of one of them.
const SAME_SITE: [&str; 3] = ["Lax", "Strict", "None"];

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    for policy in &view.config.shunt_policies {
        let Some(sticky) = &policy.spec.sticky else { continue };
        // With an address in its place no cookie is ever made.
        let cookie = sticky.http_cookie.as_ref().filter(|_| sticky.use_source_ip != Some(true));
        if let Some(cookie) = cookie {
            let object = At::object(&policy.meta.reference);
            let spec = object.field("spec");
            let at = spec.field("sticky");
            of_cookie(&at.field("httpCookie"), cookie, diagnostics);
        }
    }
}

fn of_cookie(at: &At<'_>, cookie: &StickyCookie, diagnostics: &mut Diagnostics) {
    let StickyCookie { name, path, ttl: _, attributes } = cookie;
    let attribute = |wanted: &str| attributes.iter().position(|found| found.name.eq_ignore_ascii_case(wanted));
    let is_secure = attribute("Secure").is_some();
    let field = at.field("attributes");
    if !path.is_empty() && !path.starts_with('/') {
        let message = format!("browsers take no path that does not begin with `/`, and make one of the URL: `{path}`");
        diagnostics.warning(&at.field("path"), PASSED_OVER, message, format!("write /{path}, or leave it out"));
    }
    for (index, found) in attributes.iter().enumerate() {
        if !KNOWN.iter().any(|known| found.name.eq_ignore_ascii_case(known)) {
            let message = format!("browsers pass over the attribute `{}`", found.name);
            let help = format!("they know {}", KNOWN.join(", "));
            diagnostics.warning(&field.index(index).field("name"), PASSED_OVER, message, help);
        }
        let is_same_site = found.name.eq_ignore_ascii_case("SameSite");
        if is_same_site && !SAME_SITE.iter().any(|known| found.value.eq_ignore_ascii_case(known)) {
            let message = format!("browsers know no SameSite `{}`", found.value);
            let help = format!("write {}", SAME_SITE.join(", "));
            diagnostics.warning(&field.index(index).field("value"), PASSED_OVER, message, help);
        }
    }
    let (is_host, needs_secure) = (begins_with(name, "__Host-"), begins_with(name, "__Secure-"));
    if (is_host || needs_secure) && !is_secure {
        let message = format!("browsers refuse a cookie called `{name}` without the attribute Secure");
        diagnostics.warning(&at.field("name"), REFUSED, message, "add {name: Secure} to the attributes");
    }
    if is_host && !["", "/"].contains(&path.as_str()) {
        let message = format!("browsers refuse a cookie called `{name}` with a path other than `/`");
        diagnostics.warning(&at.field("path"), REFUSED, message, "leave the path out, or the prefix `__Host-`");
    }
    if let Some(index) = attribute("Domain").filter(|_| is_host) {
        let message = format!("browsers refuse a cookie called `{name}` with the attribute Domain");
        let help = "leave the attribute out, or call it `__Secure-…`";
        diagnostics.warning(&field.index(index).field("name"), REFUSED, message, help);
    }
    let none = attributes
        .iter()
        .position(|found| found.name.eq_ignore_ascii_case("SameSite") && found.value.eq_ignore_ascii_case("None"));
    if let Some(index) = none.filter(|_| !is_secure) {
        let message = "browsers refuse a cookie with SameSite=None without the attribute Secure";
        let help = "add {name: Secure} to the attributes, or write Lax";
        diagnostics.warning(&field.index(index).field("value"), REFUSED, message, help);
    }
}

fn begins_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}
