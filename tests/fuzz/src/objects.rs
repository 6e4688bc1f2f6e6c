//! Istio objects drawn from bytes: every field of a VirtualService's `http` part, mostly sound, with a fault here and there.

use crate::requests::{HOSTS, NAMES, choose, text};
use arbitrary::{Result, Unstructured};
use serde_json::{Map, Value, json};

/// RE2 patterns, sound and not, and pieces to put together.
const PATTERNS: [&str; 16] = [
    "/a/.*",
    "/(a|ab)/?",
    "[ab]+",
    ".*b",
    "/a/b",
    "(?i)/a",
    "a{1,3}",
    r"\Q/a\E.",
    r"\d+",
    "/a|/b",
    "",
    "(",
    "[[:alpha:]]*",
    r"\C",
    "(/a)(/b)?",
    "^/a$",
];

const VALUES: [&str; 10] = [
    "v",
    "%REQ(x-a)%",
    "%REQ(:path?x-b):3%",
    "100%%",
    "%PROTOCOL%-%DOWNSTREAM_REMOTE_ADDRESS%",
    "%RESPONSE_CODE%",
    "%RESP(x-a)%",
    "%",
    "a\r\nb",
    "%UPSTREAM_CLUSTER%",
];

type Drawn = Result<Value>;

/// A pattern.
pub fn pattern(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(match u.int_in_range(0..=5)? {
        0..=2 => choose(u, &PATTERNS)?.to_owned(),
        3 | 4 => format!("{}{}", choose(u, &PATTERNS)?, choose(u, &PATTERNS)?),
        _ => u.arbitrary::<&str>()?.to_owned(),
    })
}

/// A `StringMatch`.
pub fn string_match(u: &mut Unstructured<'_>) -> Drawn {
    Ok(match u.int_in_range(0..=9)? {
        0..=2 => json!({"exact": text(u)?}),
        3..=5 => json!({"prefix": text(u)?}),
        6..=7 => json!({"regex": pattern(u)?}),
        8 => json!({}),
        _ => any(u, 2)?,
    })
}

/// A match block.
pub fn match_block(u: &mut Unstructured<'_>) -> Drawn {
    let mut block = Map::new();
    for field in ["scheme", "method", "authority"] {
        if u.ratio(1, 8)? {
            block.insert(field.to_owned(), string_match(u)?);
        }
    }
    if u.ratio(3, 4)? {
        block.insert("uri".to_owned(), string_match(u)?);
    }
    for field in ["headers", "queryParams", "withoutHeaders"] {
        if u.ratio(1, 3)? {
            let mut entries = Map::new();
            for _ in 0..u.int_in_range(1..=2)? {
                entries.insert(choose(u, &NAMES)?.to_owned(), string_match(u)?);
            }
            block.insert(field.to_owned(), entries.into());
        }
    }
    if u.ratio(1, 4)? {
        block.insert("ignoreUriCase".to_owned(), json!(true));
    }
    if u.ratio(1, 16)? {
        block.insert("port".to_owned(), any(u, 1)?);
        block.insert("gateways".to_owned(), json!(["mesh", "g"]));
        block.insert("sourceLabels".to_owned(), json!({"app": "a"}));
    }
    Ok(block.into())
}

fn list(u: &mut Unstructured<'_>, longest: usize, mut item: impl FnMut(&mut Unstructured<'_>) -> Drawn) -> Drawn {
    (0..u.int_in_range(0..=longest)?).map(|_| item(u)).collect()
}

fn destination(u: &mut Unstructured<'_>) -> Drawn {
    let mut destination = json!({"host": choose(u, &HOSTS)?});
    if u.arbitrary()? {
        destination["port"] = json!({"number": u.int_in_range(79..=81)?});
    }
    if u.arbitrary()? {
        destination["subset"] = json!(choose(u, &["v1", "v2", ""])?);
    }
    Ok(destination)
}

/// `Headers`.
pub fn headers(u: &mut Unstructured<'_>) -> Drawn {
    let mut headers = Map::new();
    for side in ["request", "response"] {
        let mut operations = Map::new();
        for field in ["set", "add"] {
            let mut entries = Map::new();
            for _ in 0..u.int_in_range(0..=2)? {
                let name = if u.ratio(1, 8)? { text(u)? } else { choose(u, &NAMES)?.to_owned() };
                entries.insert(name, header_value(u)?.into());
            }
            operations.insert(field.to_owned(), entries.into());
        }
        operations.insert("remove".to_owned(), list(u, 2, |u| Ok(choose(u, &NAMES)?.into()))?);
        headers.insert(side.to_owned(), operations.into());
    }
    Ok(headers.into())
}

fn header_value(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(match u.int_in_range(0..=5)? {
        0..=2 => choose(u, &VALUES)?.to_owned(),
        3 => format!("{}{}", choose(u, &VALUES)?, choose(u, &VALUES)?),
        4 => format!("%REQ({})%", u.arbitrary::<&str>()?),
        _ => text(u)?,
    })
}

fn percentage(u: &mut Unstructured<'_>) -> Drawn {
    Ok(json!({"value": u.choose(&[0.0, 0.5, 50.0, 100.0, 101.0])?}))
}

fn duration(u: &mut Unstructured<'_>) -> Drawn {
    Ok(if u.ratio(1, 8)? { text(u)?.into() } else { choose(u, &["0s", "1ms", "1.5s", "1h2m", "25us", "-1s"])?.into() })
}

/// One `http` rule.
pub fn rule(u: &mut Unstructured<'_>) -> Drawn {
    let mut rule = json!({"match": list(u, 3, match_block)?});
    let mut set = |field: &str, value: Value| rule[field] = value;
    match u.int_in_range(0..=7)? {
        0 => set(
            "redirect",
            json!({
                "uri": text(u)?, "authority": choose(u, &["", "n.example.com", "n:1"])?, "scheme": choose(u, &["", "https", "ftp"])?,
                "redirectCode": u.choose(&[301, 302, 200])?, "prefixRewrite": choose(u, &["", "", "/p"])?,
            }),
        ),
        1 => set(
            "directResponse",
            json!({"status": u.choose(&[200, 503, 99, 600])?, "body": {choose(u, &["string", "bytes"])?: text(u)?}}),
        ),
        2 => set("delegate", json!({"name": choose(u, &["leaf", "other"])?})),
        _ => set(
            "route",
            list(u, 3, |u| {
                let mut route = json!({"destination": destination(u)?, "weight": u.int_in_range(-1..=100)?});
                if u.ratio(1, 3)? {
                    route["headers"] = headers(u)?;
                }
                Ok(route)
            })?,
        ),
    }
    if u.ratio(1, 3)? {
        set("headers", headers(u)?);
    }
    if u.ratio(1, 3)? {
        set("rewrite", json!({"uri": text(u)?, "authority": text(u)?}));
    } else if u.ratio(1, 4)? {
        let replacement = choose(u, &["", r"\1", r"/\0\\", r"\9", r"\x"])?;
        set("rewrite", json!({"uriRegexRewrite": {"match": pattern(u)?, "rewrite": replacement}}));
    }
    if u.ratio(1, 4)? {
        let delay = json!({"fixedDelay": duration(u)?, "percentage": percentage(u)?});
        let abort = json!({choose(u, &["httpStatus", "grpcStatus"])?: u.choose(&[json!(500), json!("UNAVAILABLE"), json!(0)])?, "percentage": percentage(u)?});
        set("fault", json!({"delay": delay, "abort": abort}));
    }
    if u.ratio(1, 4)? {
        set("mirrors", list(u, 3, |u| Ok(json!({"destination": destination(u)?, "percentage": percentage(u)?})))?);
    } else if u.ratio(1, 8)? {
        set("mirror", destination(u)?);
        set("mirrorPercentage", percentage(u)?);
    }
    if u.ratio(1, 4)? {
        set(
            "corsPolicy",
            json!({
                "allowOrigins": list(u, 2, string_match)?, "allowMethods": ["GET"], "allowHeaders": list(u, 2, |u| Ok(text(u)?.into()))?,
                "maxAge": duration(u)?, "allowCredentials": u.arbitrary::<bool>()?,
            }),
        );
    }
    if u.ratio(1, 4)? {
        set("timeout", duration(u)?);
        let retry_on = choose(u, &["5xx", "", "gateway-error,503", "connect-failure, reset", "what"])?;
        set(
            "retries",
            json!({"attempts": u.int_in_range(-1..=9)?, "perTryTimeout": duration(u)?, "retryOn": retry_on}),
        );
    }
    Ok(rule)
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

/// A VirtualService with these rules for these hosts.
pub fn virtual_service(name: &str, hosts: &[&str], http: Vec<Value>) -> Value {
    object("VirtualService", name, json!({"hosts": hosts, "http": http}))
}

/// A handful of objects of every kind, with one place overwritten by anything now and then.
pub fn objects(u: &mut Unstructured<'_>) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for index in 0..u.int_in_range(1..=3)? {
        let hosts: Vec<_> = (0..u.int_in_range(1..=2)?).map(|_| choose(u, &HOSTS)).collect::<Result<_>>()?;
        let http = (0..u.int_in_range(0..=5)?).map(|_| rule(u)).collect::<Result<_>>()?;
        let mut service = virtual_service(["one", "two", "three"][index], &hosts, http);
        if u.ratio(1, 4)? {
            service["spec"]["gateways"] = list(u, 2, |u| Ok(choose(u, &["g", "mesh", "default/g"])?.into()))?;
        }
        if u.ratio(1, 8)? {
            service["spec"]["exportTo"] = list(u, 2, |u| Ok(choose(u, &["*", ".", "default", "x"])?.into()))?;
        }
        objects.push(service);
    }
    if u.ratio(1, 3)? {
        let http = (0..u.int_in_range(0..=3)?).map(|_| rule(u)).collect::<Result<_>>()?;
        objects.push(virtual_service("leaf", &[], http));
    }
    if u.arbitrary()? {
        let port = json!({"number": 80, "name": "http", "protocol": "HTTP"});
        let endpoints = list(u, 2, |u| {
            Ok(json!({"address": choose(u, &["127.0.0.1", "::1", "x"])?, "labels": {"version": "v1"}}))
        })?;
        objects.push(object(
            "ServiceEntry",
            "entry",
            json!({"hosts": [choose(u, &HOSTS)?], "ports": [port], "resolution": choose(u, &["STATIC", "DNS", "NONE"])?, "endpoints": endpoints}),
        ));
    }
    if u.ratio(1, 3)? {
        let subsets = json!([{"name": "v1", "labels": {"version": "v1"}}, {"name": text(u)?}]);
        objects.push(object(
            "DestinationRule",
            "destinations",
            json!({"host": choose(u, &HOSTS)?, "subsets": subsets, "trafficPolicy": {"loadBalancer": {"simple": choose(u, &["ROUND_ROBIN", "RANDOM", "x"])?}}}),
        ));
    }
    if u.ratio(1, 3)? {
        let server = json!({
            "port": {"number": 80, "name": "http", "protocol": choose(u, &["HTTP", "HTTPS"])?},
            "hosts": list(u, 3, |u| Ok(format!("{}{}", choose(u, &["", "./", "*/"])?, choose(u, &HOSTS)?).into()))?,
            "tls": {"httpsRedirect": u.ratio(1, 4)?},
        });
        objects.push(object("Gateway", "g", json!({"servers": [server]})));
    }
    if u.ratio(1, 4)? {
        let at = u.choose_index(objects.len())?;
        overwrite(u, &mut objects[at])?;
    }
    Ok(objects)
}

/// Puts anything in some place of a value.
fn overwrite(u: &mut Unstructured<'_>, value: &mut Value) -> Result<()> {
    let inner = match value {
        Value::Array(items) if !items.is_empty() => {
            let at = u.choose_index(items.len())?;
            Some(&mut items[at])
        }
        Value::Object(fields) if !fields.is_empty() => {
            let at = u.choose_index(fields.len())?;
            fields.values_mut().nth(at)
        }
        _ => None,
    };
    match inner {
        Some(inner) if !u.ratio(1, 6)? => overwrite(u, inner),
        _ => {
            *value = any(u, 3)?;
            Ok(())
        }
    }
}

/// Any JSON, not deep.
pub fn any(u: &mut Unstructured<'_>, depth: usize) -> Drawn {
    let kinds = if depth == 0 { 5 } else { 7 };
    Ok(match u.int_in_range(0..=kinds)? {
        0 => Value::Null,
        1 => u.arbitrary::<bool>()?.into(),
        // Of a kind that text and doubles hold alike: `serde_json` rounds others by a bit.
        2 => u.arbitrary::<i32>()?.into(),
        3 => json!(f64::from(u.arbitrary::<i32>()?) / 8.0),
        4 | 5 => text(u)?.into(),
        6 => list(u, 3, |u| any(u, depth - 1))?,
        _ => {
            let mut fields = Map::new();
            for _ in 0..u.int_in_range(0..=3)? {
                fields.insert(text(u)?, any(u, depth - 1)?);
            }
            fields.into()
        }
    })
}
