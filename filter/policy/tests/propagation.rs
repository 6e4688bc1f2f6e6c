//! Both sides of a proxy with a store between them: what an outbound request gets, and above all what it does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use istio_config::filter_config::Direction;
use istio_config::{Config, Diagnostics, FilterConfig, yaml};
use std::collections::BTreeMap;
use traffic_policy::{Decision, Edit, Policy, RequestHead};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SERVICES: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: cart}
spec:
  hosts: [cart.default.svc.cluster.local]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: other}
spec:
  hosts: [other.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
";

const POLICY: &str = "
---
apiVersion: shunt.dev/v1alpha1
kind: ShuntPolicy
metadata: {name: context}
spec:
  propagate:
    to: [cart]
";

fn policy(objects: &str, direction: Direction) -> (Option<Policy>, Vec<String>) {
    let (mut config, mut sources, mut diagnostics) =
        (Config::default(), yaml::Sources::default(), Diagnostics::default());
    yaml::read("f", objects, &mut config, &mut sources, &mut diagnostics);
    let config = FilterConfig { config, namespace: "default".into(), direction, ..FilterConfig::default() };
    // As it gets to the filter.
    let config = FilterConfig::read(config.to_json(), &mut diagnostics);
    let policy = Policy::compile(&config, &mut diagnostics);
    (policy, diagnostics.iter().map(|d| format!("{}: {}[{}]", d.path, d.severity, d.code)).collect())
}

/// A proxy beside an application.
struct Proxy {
    inbound: Policy,
    outbound: Policy,
    store: BTreeMap<String, Vec<u8>>,
    now_ms: u64,
}

/// What was counted: too large, evicted, conflict.
type Counted = (bool, bool, bool);

impl Proxy {
    fn new(objects: &str) -> Self {
        let one = |direction| match policy(objects, direction) {
            (Some(policy), _) => policy,
            (None, found) => panic!("{found:?}"),
        };
        Self {
            inbound: one(Direction::Inbound),
            outbound: one(Direction::Outbound),
            store: BTreeMap::new(),
            now_ms: 1_000_000,
        }
    }

    fn with(policy: &str) -> Self {
        Self::new(&format!("{SERVICES}{policy}"))
    }

    /// A request comes in; `None` where it has no id.
    fn enters(&mut self, headers: &[(&str, &[u8])]) -> Option<Counted> {
        let pairs = pairs("app", headers);
        let request = RequestHead::new(&pairs);
        assert_eq!(self.inbound.decide(&request, &mut || 0), Decision::Pass);
        let propagation = self.inbound.propagation().expect("a policy");
        assert!(propagation.is_inbound());
        let id = propagation.id(&request)?;
        let slot = self.store.entry(propagation.key(&id)).or_default();
        let kept = propagation.keep(&request, &id, slot, self.now_ms);
        assert!(kept.value.len() <= traffic_policy::propagate::ENTRY_BYTES_MAX);
        *slot = kept.value;
        Some((kept.too_large, kept.evicted, kept.conflict))
    }

    /// A request leaves: the edits that it gets, one a line, and where it goes.
    fn leaves_for(&self, host: &str, headers: &[(&str, &[u8])]) -> (String, String) {
        let pairs = pairs(host, headers);
        let request = RequestHead::new(&pairs);
        let propagation = self.outbound.propagation().expect("a policy");
        let id = propagation.id(&request);
        let context = id.and_then(|id| propagation.context(&id, self.store.get(&propagation.key(&id))?, self.now_ms));
        let (decision, edits) = self.outbound.decide_in(context.as_ref(), &request, &mut || 1 << 63);
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let edits = edits.iter().map(|edit| match edit {
            Edit::Set(name, value) => format!("{name}={}", text(value)),
            Edit::Add(name, value) => format!("+{name}={}", text(value)),
            Edit::Remove(name) => format!("-{name}"),
        });
        let target = match decision {
            Decision::Forward(forward) => forward.cluster.to_owned(),
            Decision::Reply(reply) => reply.status.to_string(),
            Decision::Pass => "pass".to_owned(),
        };
        (edits.collect::<Vec<_>>().join(" | "), target)
    }

    fn gets(&self, host: &str, headers: &[(&str, &[u8])]) -> String {
        self.leaves_for(host, headers).0
    }
}

fn pairs<'a>(host: &'a str, headers: &[(&'a str, &'a [u8])]) -> Vec<(&'a [u8], &'a [u8])> {
    let own = [(&b":authority"[..], host.as_bytes()), (b":path", b"/"), (b":method", b"GET")];
    own.into_iter().chain(headers.iter().map(|(name, value)| (name.as_bytes(), *value))).collect()
}

const ID: (&str, &[u8]) = ("x-request-id", b"c2b8a2b1-5a87-4a2e-b6b4-30c0a1ed3f6e");
const PARENT: (&str, &[u8]) = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
const STATE: (&str, &[u8]) = ("tracestate", b"a=1");
const TRACE: (&str, &[u8]) = ("x-b3-traceid", b"0af7651916cd43dd8448eb211c80319c");
const SPAN: (&str, &[u8]) = ("x-b3-spanid", b"b7ad6b7169203331");

#[test]
fn an_application_that_hands_on_the_id_alone_keeps_the_chain() {
    let mut proxy = Proxy::with(POLICY);
    assert_eq!(
        proxy.enters(&[ID, TRACE, SPAN, ("baggage", b"a=1"), ("baggage", b"b=2"), ("x-own", b"1")]),
        Some((false, false, false))
    );
    let expected =
        "x-b3-traceid=0af7651916cd43dd8448eb211c80319c | x-b3-spanid=b7ad6b7169203331 | baggage=a=1 | +baggage=b=2";
    for host in ["cart", "cart.default:80", "CART.default.svc.cluster.local."] {
        assert_eq!(proxy.gets(host, &[ID]), expected, "{host}");
    }
    assert_eq!(proxy.gets("other.example.com", &[ID]), "", "outside of `to`");
    assert_eq!(proxy.gets("nobody.example.com", &[ID]), "", "nowhere");
    assert_eq!(proxy.gets("cart", &[("x-request-id", b"another")]), "");
    assert_eq!(proxy.gets("cart", &[]), "");
}

#[test]
fn what_the_application_sends_stays_and_nothing_is_mixed_into_it() {
    let mut proxy = Proxy::with(POLICY);
    proxy.enters(&[ID, PARENT, STATE, TRACE, SPAN, ("baggage", b"a=1")]);
    let b3 = "x-b3-traceid=0af7651916cd43dd8448eb211c80319c | x-b3-spanid=b7ad6b7169203331";
    let own = ("traceparent", &b"00-0af7651916cd43dd8448eb211c80319c-00000000000000ab-01"[..]);
    assert_eq!(proxy.gets("cart", &[ID, own, ("baggage", b"mine=1")]), b3);
    // Of what it hands on as it came, the rest is what belongs to it.
    assert_eq!(proxy.gets("cart", &[ID, PARENT, ("baggage", b"a=1")]), format!("tracestate=a=1 | {b3}"));
    assert_eq!(proxy.gets("cart", &[ID, ("b3", b"0"), PARENT, STATE, ("baggage", b"")]), "");

    let mut proxy = Proxy::with(&format!("{POLICY}    overwrite: true\n"));
    proxy.enters(&[ID, PARENT, ("baggage", b"a=1")]);
    let parent = String::from_utf8_lossy(PARENT.1).into_owned();
    let gets = proxy.gets("cart", &[ID, own, STATE, ("baggage", b"mine=1")]);
    assert_eq!(gets, format!("traceparent={parent} | -tracestate | baggage=a=1"));
    assert_eq!(proxy.gets("cart", &[ID, PARENT, ("baggage", b"a=1")]), "", "there already");
}

#[test]
fn nothing_of_one_user_reaches_another_with_the_same_id() {
    let policy = format!("{POLICY}    headers: [x-user, x-tenant, baggage, traceparent, tracestate]\n");
    let user = |name: &'static str| ("x-user", name.as_bytes());
    let tenant = ("x-tenant", &b"t"[..]);
    // Whatever the order, and whoever says less.
    let (anna, bert, nobody) = (&[ID, user("anna"), tenant][..], &[ID, user("bert"), tenant][..], &[ID, tenant][..]);
    for order in [[anna, bert, anna], [bert, anna, bert], [anna, nobody, anna], [nobody, anna, anna]] {
        let mut proxy = Proxy::with(&policy);
        let conflicts: Vec<_> = order.iter().map(|request| proxy.enters(request).unwrap().2).collect();
        assert!(conflicts.contains(&true), "{order:?}");
        assert_eq!(proxy.gets("cart", &[ID]), "x-tenant=t", "{order:?}");
    }
    // One trace may go on by many spans; what users say of themselves may not differ even there.
    let mut proxy = Proxy::with(&policy);
    proxy.enters(&[ID, PARENT, STATE, user("anna")]);
    let next = ("traceparent", &b"00-0af7651916cd43dd8448eb211c80319c-00000000000000ab-01"[..]);
    assert_eq!(proxy.enters(&[ID, next, user("bert")]), Some((false, false, true)));
    assert_eq!(proxy.gets("cart", &[ID]), format!("traceparent={}", String::from_utf8_lossy(next.1)));
    // Another trace.
    let other = ("traceparent", &b"00-1af7651916cd43dd8448eb211c80319c-00000000000000ab-01"[..]);
    assert_eq!(proxy.enters(&[ID, other]), Some((false, false, true)));
    assert_eq!(proxy.gets("cart", &[ID]), "");
    // One that is too large says something else, too.
    let mut proxy = Proxy::with(&policy);
    proxy.enters(anna);
    let large = [b'x'; 9000];
    assert_eq!(proxy.enters(&[ID, ("baggage", &large)]), Some((true, false, true)));
    assert_eq!(proxy.gets("cart", &[ID]), "");
}

#[test]
fn ids_that_meet_in_a_slot_do_not_see_each_other() {
    let mut proxy = Proxy::with(&format!("{POLICY}    capacity: 1\n"));
    let mut kept = 0;
    for number in 0..1000_u32 {
        let id = format!("id-{number}");
        let baggage = format!("n={number}");
        let (_, evicted, _) =
            proxy.enters(&[("x-request-id", id.as_bytes()), ("baggage", baggage.as_bytes())]).unwrap();
        assert_eq!(evicted, number > 0);
        let gets = proxy.gets("cart", &[("x-request-id", id.as_bytes())]);
        assert!(gets.is_empty() || gets == format!("baggage=n={number}"), "{gets}");
        kept += u32::from(!gets.is_empty());
        assert!(number >= 50 || kept > number, "few are mistaken for others: {kept} of {number}");
        let other = format!("id-{}", number / 2);
        assert!(number == 0 || proxy.gets("cart", &[("x-request-id", other.as_bytes())]).is_empty());
    }
    assert!(kept < 900, "a slot that many leave keeps for fewer and fewer");
    assert_eq!(proxy.store.len(), 1);
    // And for all again when their time is over.
    proxy.now_ms += 200_000;
    proxy.enters(&[ID, ("baggage", b"a=1")]);
    assert_eq!(proxy.gets("cart", &[ID]), "baggage=a=1");
}

/// Whoever knows an id, and pushes it out of its slot, comes no further with it.
#[test]
fn who_had_to_leave_is_nobody_elses() {
    let mut proxy = Proxy::with(&format!("{POLICY}    capacity: 1\n    ttl: 60s\n"));
    let (anna, bert) = ([ID, ("baggage", &b"user=anna"[..])], [ID, ("baggage", &b"user=bert"[..])]);
    for others in [1, 3, 40] {
        proxy.now_ms += 200_000;
        proxy.enters(&anna);
        assert_eq!(proxy.gets("cart", &[ID]), "baggage=user=anna");
        for other in 0..others {
            proxy.now_ms += 1000;
            proxy.enters(&[("x-request-id", format!("{others}-{other}").as_bytes())]);
        }
        assert_eq!(proxy.enters(&bert), Some((false, true, true)), "{others}");
        assert_eq!(proxy.gets("cart", &[ID]), "", "anna's request is still under way");
        proxy.enters(&bert);
        assert_eq!(proxy.gets("cart", &[ID]), "");
    }
    // Where writes were lost, nobody is known.
    let pairs = pairs("app", &[ID]);
    let request = RequestHead::new(&pairs);
    let propagation = proxy.inbound.propagation().unwrap();
    let id = propagation.id(&request).unwrap();
    proxy.store.insert(propagation.key(&id), propagation.give_way(&id, proxy.now_ms));
    proxy.enters(&bert);
    assert_eq!(proxy.gets("cart", &[ID]), "");
}

#[test]
fn a_full_store_grows_no_more() {
    let mut proxy = Proxy::with(&format!("{POLICY}    capacity: 64\n"));
    for number in 0..5000_u32 {
        proxy.enters(&[
            ("x-request-id", &number.to_be_bytes()),
            ("baggage", &[b'x'; 9000][..(number as usize * 7) % 9000]),
        ]);
    }
    assert_eq!(proxy.store.len(), 64);
    assert!(proxy.store.values().all(|slot| slot.len() <= 8192));
    let keys: Vec<_> = proxy.store.keys().collect();
    assert!(
        keys.iter().all(|key| key.strip_prefix("shunt.context.").is_some_and(|slot| slot.parse::<u32>().unwrap() < 64))
    );
}

#[test]
fn strange_ids_are_ids_or_none() {
    let mut proxy = Proxy::with(POLICY);
    let (long, longer) = ([b'a'; 256], [b'a'; 257]);
    for id in [&b"\xff\x00\r\n\xfe"[..], b" ", b"shunt.context.1", &long] {
        assert!(proxy.enters(&[("x-request-id", id), ("baggage", b"a=1")]).is_some());
        assert_eq!(proxy.gets("cart", &[("x-request-id", id)]), "baggage=a=1");
    }
    for id in [&b""[..], &longer] {
        assert_eq!(proxy.enters(&[("x-request-id", id), ("baggage", b"a=1")]), None);
        assert_eq!(proxy.gets("cart", &[("x-request-id", id)]), "");
    }
    // Nobody can tell which of them the application hands on.
    assert_eq!(proxy.enters(&[ID, ("x-request-id", b"two"), ("baggage", b"a=1")]), None);
    assert_eq!(proxy.enters(&[("baggage", b"a=1")]), None);
}

/// Two workers take requests of one id; the one that has looked at the clock first is the second to write.
#[test]
fn who_has_looked_at_the_clock_before_another_wrote_takes_notice_of_it() {
    let mut proxy = Proxy::with(POLICY);
    proxy.now_ms += 1;
    assert_eq!(proxy.enters(&[ID, ("baggage", b"user=anna")]), Some((false, false, false)));
    proxy.now_ms -= 1;
    assert_eq!(proxy.enters(&[ID, ("baggage", b"user=bert")]), Some((false, false, true)));
    proxy.now_ms += 1;
    assert_eq!(proxy.gets("cart", &[ID]), "", "anna must not get what bert said");
}

#[test]
fn what_is_kept_lives_for_its_time_and_no_clock_makes_it_longer() {
    let mut proxy = Proxy::with(&format!("{POLICY}    ttl: 10s\n"));
    proxy.enters(&[ID, ("baggage", b"a=1")]);
    let start = proxy.now_ms;
    for (now, gets) in [
        (start, true),
        (start + 9_999, true),
        (start + 10_000, false),
        (start - 1, false),
        (0, false),
        (u64::MAX, false),
    ] {
        proxy.now_ms = now;
        assert_eq!(!proxy.gets("cart", &[ID]).is_empty(), gets, "{now}");
    }
    // A slot from the future is nobody's, and is written over.
    proxy.now_ms = 5;
    assert_eq!(proxy.enters(&[ID, ("baggage", b"b=2")]), Some((false, false, false)));
    assert_eq!(proxy.gets("cart", &[ID]), "baggage=b=2");
}

#[test]
fn a_slot_that_somebody_else_wrote_is_empty() {
    let mut proxy = Proxy::with(&format!("{POLICY}    capacity: 1\n"));
    for written in [&b""[..], b"\0", &[1; 4000], &[0xff; 20_000], b"shunt"] {
        proxy.store.insert("shunt.context.0".to_owned(), written.to_vec());
        assert_eq!(proxy.gets("cart", &[ID]), "");
        assert_eq!(proxy.enters(&[ID, ("baggage", b"a=1")]), Some((false, false, false)));
        assert_eq!(proxy.gets("cart", &[ID]), "baggage=a=1");
    }
}

#[test]
fn by_trace_id_any_form_of_it_is_the_same() {
    let mut proxy = Proxy::with(&format!("{POLICY}    id: TRACE_ID\n    headers: [x-user, x-request-id]\n"));
    proxy.enters(&[PARENT, ("x-user", b"anna"), ID]);
    let single = ("b3", &b"0af7651916cd43dd8448eb211c80319c-00000000000000ab-1"[..]);
    for id in [PARENT, single, TRACE] {
        assert_eq!(proxy.gets("cart", &[id]), format!("x-request-id={} | x-user=anna", String::from_utf8_lossy(ID.1)));
    }
    assert_eq!(proxy.gets("cart", &[ID]), "");
    assert_eq!(proxy.gets("cart", &[("traceparent", b"00-0-0-0")]), "");
    assert_eq!(proxy.enters(&[ID]), None);
}

const RULES: &str = "
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart}
spec:
  hosts: [cart]
  http:
  - name: staff
    match: [{headers: {x-user: {exact: anna}}}]
    route: [{destination: {host: cart, subset: v2}}]
  - match: [{headers: {x-user: {exact: bert}}}]
    route: [{destination: {host: other.example.com}}]
    headers: {request: {set: {x-told: '%REQ(x-user)%'}}}
  - match: [{headers: {x-user: {exact: cleo}}}]
    directResponse: {status: 418}
  - match: [{uri: {prefix: /}}]
    route:
    - {destination: {host: cart, subset: v1}, weight: 50}
    - {destination: {host: other.example.com}, weight: 50}
";

#[test]
fn rules_see_what_is_restored_unless_it_leads_outside() {
    let policy = format!("{RULES}{POLICY}    headers: [x-user]\n");
    let goes = |user: &'static str, own: &[(&str, &[u8])]| {
        let mut proxy = Proxy::with(&policy);
        proxy.enters(&[ID, ("x-user", user.as_bytes())]);
        proxy.leaves_for("cart", own)
    };
    let (v1, v2) = ("outbound|80|v1|cart.default.svc.cluster.local", "outbound|80|v2|cart.default.svc.cluster.local");
    let other = "outbound|80||other.example.com";
    let told = |edits: &str, target: &str| (edits.to_owned(), target.to_owned());
    assert_eq!(goes("anna", &[ID]), told("x-user=anna", v2));
    // Where the restored header leads outside, it was never there: the same draw falls among the other rules.
    assert_eq!(goes("bert", &[ID]), told("", other));
    assert_eq!(goes("cleo", &[ID]), told("", "418"));
    assert_eq!(goes("dora", &[ID]), told("", other));
    assert_eq!(goes("bert", &[ID, ("x-user", b"anna")]), told("", v2));
    assert_eq!(goes("anna", &[]), told("", other));
    let mut proxy = Proxy::with(&policy);
    proxy.enters(&[ID, ("x-user", b"dora")]);
    let request = pairs("cart", &[ID]);
    let request = RequestHead::new(&request);
    let propagation = proxy.outbound.propagation().unwrap();
    let id = propagation.id(&request).unwrap();
    let context = propagation.context(&id, &proxy.store[&propagation.key(&id)], proxy.now_ms);
    // Shares stay what they are: no draw is drawn a second time.
    let mut counts = [0, 0];
    for number in 0..1000_u64 {
        let mut draws = 0;
        let (decision, edits) = proxy.outbound.decide_in(context.as_ref(), &request, &mut || {
            draws += 1;
            number * (u64::MAX / 1000) + u64::MAX / 2000
        });
        let Decision::Forward(forward) = decision else { panic!("{decision:?}") };
        assert_eq!((edits.is_empty(), draws), (forward.cluster == other, 1));
        counts[usize::from(forward.cluster == v1)] += 1;
    }
    assert_eq!(counts, [500, 500]);
}

#[test]
fn a_target_narrows_it_to_a_rule() {
    let target = |section: &str| {
        let target = format!("  targetRef: {{kind: VirtualService, name: cart{section}}}\n");
        format!(
            "{RULES}{}    headers: [x-user, baggage]\n",
            POLICY.replace("  propagate:\n", &format!("{target}  propagate:\n"))
        )
    };
    let gets = |policy: &str, user: &'static str| {
        let mut proxy = Proxy::with(policy);
        proxy.enters(&[ID, ("x-user", user.as_bytes()), ("baggage", b"a=1")]);
        proxy.gets("cart", &[ID, ("x-user", user.as_bytes())])
    };
    assert_eq!(gets(&target(""), "anna"), "baggage=a=1");
    assert_eq!(gets(&target(", sectionName: staff"), "anna"), "baggage=a=1");
    assert_eq!(gets(&target(", sectionName: staff"), "dora"), "");
    let named = |section: &str| policy(&format!("{SERVICES}{}", target(section)), Direction::Outbound).1;
    assert!(named(", sectionName: nobody").contains(&"spec.targetRef.sectionName: error[unknown-target]".to_owned()));
}

#[test]
fn copies_get_the_headers_too_so_their_hosts_count() {
    let rules = |mirror: &str| {
        format!(
            "
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: cart}}
spec:
  hosts: [cart]
  http:
  - route: [{{destination: {{host: cart}}}}]
    mirrors: [{{destination: {{host: {mirror}}}}}]
"
        )
    };
    for (mirror, gets) in [("cart", "baggage=a=1"), ("other.example.com", "")] {
        let mut proxy = Proxy::with(&format!("{}{POLICY}", rules(mirror)));
        proxy.enters(&[ID, ("baggage", b"a=1")]);
        assert_eq!(proxy.gets("cart", &[ID]), gets, "{mirror}");
    }
    let found = policy(&format!("{SERVICES}{}{POLICY}", rules("other.example.com")), Direction::Outbound).1;
    assert!(found.contains(&"spec.http[0].mirrors: warning[mirror-without-context]".to_owned()), "{found:?}");
}

#[test]
fn the_sticky_key_travels_so_one_user_meets_one_version() {
    let sticky = "
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart}
spec:
  hosts: [cart]
  http:
  - route:
    - {destination: {host: cart, subset: v1}, weight: 50}
    - {destination: {host: cart, subset: v2}, weight: 50}
---
apiVersion: shunt.dev/v1alpha1
kind: ShuntPolicy
metadata: {name: users}
spec:
  targetRef: {kind: VirtualService, name: cart}
  sticky:
    httpHeaderName: X-User
    httpCookie: {name: who, ttl: 60s}
    allowOverride: {httpCookieName: tester}
";
    let mut proxy = Proxy::with(&format!("{sticky}{POLICY}"));
    let mut seen = std::collections::BTreeSet::new();
    for user in 0..40 {
        let (id, cookie) = (format!("id-{user}"), format!("a=1; who=user-{user}; session=secret"));
        let id = ("x-request-id", id.as_bytes());
        proxy.enters(&[id, ("cookie", cookie.as_bytes())]);
        let (edits, restored) = proxy.leaves_for("cart", &[id]);
        assert_eq!(edits, format!("cookie=who=user-{user}"), "and no other cookie");
        let (_, sent) = proxy.leaves_for("cart", &[("cookie", cookie.as_bytes())]);
        assert_eq!(restored, sent);
        seen.insert(restored);
        assert_eq!(proxy.gets("cart", &[id, ("cookie", b"own=1")]), format!("cookie=own=1; who=user-{user}"));
        assert_eq!(proxy.gets("cart", &[id, ("cookie", b"own=1; who=other")]), "");
    }
    assert_eq!(seen.len(), 2);
    // Quotes go on as they came, and say nothing of who the user is; what stands within them does.
    let overwrite = format!("{sticky}{POLICY}    overwrite: true\n");
    let mut replacing = Proxy::with(&overwrite);
    replacing.enters(&[ID, ("cookie", b"a=1; who = \"anna\" ")]);
    let (edits, restored) = replacing.leaves_for("cart", &[ID]);
    assert_eq!(edits, "cookie=who=\"anna\"");
    assert_eq!(restored, replacing.leaves_for("cart", &[("cookie", b"who=anna")]).1);
    assert_eq!(replacing.gets("cart", &[ID, ("cookie", b"who=anna")]), "");
    assert_eq!(
        replacing.gets("cart", &[ID, ("cookie", b"flag; who =bert; own=1")]),
        "cookie=flag; own=1; who=\"anna\""
    );
    proxy.enters(&[ID, ("x-user", b"anna"), ("cookie", b"tester=v2")]);
    assert_eq!(
        proxy.leaves_for("cart", &[ID]),
        ("x-user=anna | cookie=tester=v2".to_owned(), "outbound|80|v2|cart.default.svc.cluster.local".to_owned())
    );
}

fn check_found(propagate: &str, expected: &[&str]) {
    let text = format!(
        "{SERVICES}
---
apiVersion: shunt.dev/v1alpha1
kind: ShuntPolicy
metadata: {{name: context}}
spec:
  propagate: {propagate}
"
    );
    for direction in [Direction::Outbound, Direction::Inbound] {
        let (policy, found) = policy(&text, direction);
        let found: Vec<_> = found.iter().filter(|line| !line.contains("note")).map(String::as_str).collect();
        assert_eq!(found, expected, "{propagate}");
        assert_eq!(policy.is_none(), expected.iter().any(|line| line.contains("error")), "{propagate}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_on_both_sides() {
    check_found("{to: [cart]}", &[]);
    check_found("{}", &["spec.propagate.to: error[context-without-receivers]"]);
    check_found(
        "{to: [cart, 'a b', 'cart:80']}",
        &["spec.propagate.to[1]: error[bad-host]", "spec.propagate.to[2]: error[bad-host]"],
    );
    check_found("{to: ['*']}", &["spec.propagate.to[0]: warning[context-for-everyone]"]);
    check_found("{to: [cart], capacity: 0}", &["spec.propagate.capacity: error[bad-value]"]);
    check_found("{to: [cart], capacity: 1048577}", &["spec.propagate.capacity: error[bad-value]"]);
    check_found("{to: [cart], ttl: 0s}", &["spec.propagate.ttl: error[bad-value]"]);
    check_found("{to: [cart], headers: [X-Request-Id]}", &["spec.propagate.headers: warning[no-effect]"]);
    check_found(
        "{to: [cart], headers: [':path', 'a b', x-shunt-cluster, X-Envoy-Max-Retries, host, Content-Length, x-own]}",
        &[
            "spec.propagate.headers[0]: error[reserved-header]",
            "spec.propagate.headers[1]: error[bad-header-name]",
            "spec.propagate.headers[2]: error[reserved-header]",
            "spec.propagate.headers[3]: error[reserved-header]",
            "spec.propagate.headers[4]: error[reserved-header]",
            "spec.propagate.headers[5]: error[reserved-header]",
        ],
    );
    check_found(
        "{to: [cart], headers: [cookie, Authorization, x-own]}",
        &[
            "spec.propagate.headers[0]: warning[credentials-propagated]",
            "spec.propagate.headers[1]: warning[credentials-propagated]",
        ],
    );
}

#[test]
fn policies_of_one_proxy_agree_on_the_store() {
    let second = POLICY.replace("name: context", "name: second");
    let (_, found) =
        policy(&format!("{SERVICES}{POLICY}{second}    id: TRACE_ID\n    capacity: 9\n"), Direction::Inbound);
    assert!(found.contains(&"spec.propagate.id: error[conflict]".to_owned()), "{found:?}");
    assert!(found.contains(&"spec.propagate.capacity: error[conflict]".to_owned()), "{found:?}");
    // Each gives its own headers to its own hosts.
    let second = second.replace("to: [cart]", "to: [other.example.com]\n    headers: [x-user]");
    let mut proxy = Proxy::with(&format!("{POLICY}{second}"));
    proxy.enters(&[ID, ("baggage", b"a=1"), ("x-user", b"anna")]);
    assert_eq!(proxy.gets("cart", &[ID]), "baggage=a=1");
    assert_eq!(proxy.gets("other.example.com", &[ID]), "x-user=anna");
}
