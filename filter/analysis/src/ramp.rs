//! A rule on its way from one version to the next: the same VirtualServices with other weights.
//!
//! It works on what was written, not on what was understood of it, so that everything else in a rule stays as it is.

use serde_json::{Value, json};

/// Weights are told in parts of this many, the fewest that are exact.
const WHOLES: [u64; 3] = [100, 1_000, 1_000_000];
/// Steps come in parts per million.
const MILLION: u64 = 1_000_000;

/// The rules that a ramp changes, and which of their destinations is the new version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ramp {
    places: Vec<Place>,
    to: String,
}

/// One rule of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    object: usize,
    http: usize,
    new: New,
}

/// Where the new version stands among the destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum New {
    Here(usize),
    /// It is not there yet; it is like this one, with another subset.
    Like(usize),
}

impl Ramp {
    /// Finds what `route` means among `objects`: the rules of this name, in whichever VirtualServices they stand, or the
    /// rule of the VirtualService of this name (`reviews`, `team/reviews`; `reviews.http[1]` where it has several).
    ///
    /// `to` is the subset that grows, or a host without subset; absent, where there are two destinations, the one with the
    /// lesser weight.
    ///
    /// # Errors
    ///
    /// No such rule, or it does not tell which version is the new one; the text says what would.
    pub fn new(objects: &[Value], route: &str, to: Option<&str>) -> Result<Self, String> {
        let rules = find(objects, route)?;
        let (mut places, mut names) = (Vec::new(), Vec::new());
        for (object, http) in rules {
            let destinations = objects.get(object).and_then(|object| destinations(object, http)).unwrap_or_default();
            let new = newcomer(destinations, to).map_err(|why| format!("`{route}`: {why}"))?;
            names.push(match (new, to) {
                (New::Here(at), _) => destinations.get(at).map_or_else(String::new, |one| called(one).to_owned()),
                (New::Like(_), to) => to.unwrap_or_default().to_owned(),
            });
            places.push(Place { object, http, new });
        }
        let to = names.first().cloned().unwrap_or_default();
        match names.iter().find(|name| **name != to) {
            Some(other) => Err(format!(
                "the rules `{route}` would move to different versions, `{to}` and `{other}`: name one by --to"
            )),
            None => Ok(Self { places, to }),
        }
    }

    /// The version that grows.
    pub fn to(&self) -> &str {
        &self.to
    }

    /// The objects that change, by their places among `objects`, when the new version has so many parts per million; the
    /// others share the rest as before.
    pub fn step(&self, objects: &[Value], ppm: u64) -> Vec<(usize, Value)> {
        let mut changed: Vec<(usize, Value)> = Vec::new();
        for Place { object, http, new } in &self.places {
            if !changed.iter().any(|(place, _)| place == object) {
                changed.extend(objects.get(*object).map(|value| (*object, value.clone())));
            }
            let value = changed.iter_mut().find(|(place, _)| place == object).map(|(_, value)| value);
            let route = value.and_then(|value| value.pointer_mut(&format!("/spec/http/{http}/route")));
            if let Some(route) = route.and_then(Value::as_array_mut) {
                reweigh(route, *new, &self.to, ppm);
            }
        }
        changed
    }
}

fn is_virtual_service(object: &Value) -> bool {
    object.get("kind").is_some_and(|kind| kind == "VirtualService")
}

fn rules_of(object: &Value) -> &[Value] {
    object.pointer("/spec/http").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn destinations(object: &Value, http: usize) -> Option<&[Value]> {
    rules_of(object).get(http)?.get("route")?.as_array().map(Vec::as_slice)
}

/// Object and rule for each that is meant.
fn find(objects: &[Value], route: &str) -> Result<Vec<(usize, usize)>, String> {
    let services = || objects.iter().enumerate().filter(|(_, object)| is_virtual_service(object));
    let all =
        services().flat_map(|(place, object)| (0..).zip(rules_of(object)).map(move |(http, rule)| (place, http, rule)));
    let named: Vec<_> = all
        .filter(|(.., rule)| rule.get("name").is_some_and(|name| name == route))
        .map(|(place, http, _)| (place, http))
        .collect();
    if !named.is_empty() {
        return Ok(named);
    }
    let (service, index) = match route.strip_suffix(']').and_then(|route| route.rsplit_once(".http[")) {
        Some((service, index)) => (service, index.parse::<usize>().ok()),
        None => (route, None),
    };
    let field = |object: &Value, name: &str| {
        object.pointer(&format!("/metadata/{name}")).and_then(Value::as_str).map(str::to_owned)
    };
    let is_it = |object: &Value| {
        let name = field(object, "name").unwrap_or_default();
        let namespace = field(object, "namespace").unwrap_or_else(|| "default".to_owned());
        service == name || service == format!("{namespace}/{name}")
    };
    let meant: Vec<_> = services().filter(|(_, object)| is_it(object)).collect();
    let (place, object) = match meant.as_slice() {
        [only] => *only,
        [] => return Err(format!("no rule and no VirtualService is called `{route}`; there are {}", listed(objects))),
        _ => return Err(format!("several VirtualServices are called `{service}`: write NAMESPACE/{service}")),
    };
    let with_route: Vec<usize> = (0..rules_of(object).len())
        .filter(|http| destinations(object, *http).is_some_and(|list| !list.is_empty()))
        .collect();
    match (index, with_route.as_slice()) {
        (Some(index), rules) if rules.contains(&index) => Ok(vec![(place, index)]),
        (Some(index), _) => Err(format!("`{service}` has no rule http[{index}] with destinations")),
        (None, [only]) => Ok(vec![(place, *only)]),
        (None, _) => Err(format!(
            "`{route}` has several rules: name one, as in `{service}.http[0]`; there are {}",
            listed(objects)
        )),
    }
}

/// Names that would be understood.
fn listed(objects: &[Value]) -> String {
    let mut names = Vec::new();
    for object in objects.iter().filter(|object| is_virtual_service(object)) {
        let service = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        for (http, rule) in rules_of(object).iter().enumerate() {
            let own = rule.get("name").and_then(Value::as_str).map(str::to_owned);
            let name = format!("`{}`", own.unwrap_or_else(|| format!("{service}.http[{http}]")));
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The subset, or the host where there is none.
fn called(destination: &Value) -> &str {
    let text = |pointer: &str| destination.pointer(pointer).and_then(Value::as_str);
    text("/destination/subset").or_else(|| text("/destination/host")).unwrap_or_default()
}

fn weight(destination: &Value) -> u64 {
    destination.get("weight").and_then(Value::as_u64).unwrap_or(0)
}

fn newcomer(destinations: &[Value], to: Option<&str>) -> Result<New, String> {
    let names = || destinations.iter().map(|one| format!("`{}`", called(one))).collect::<Vec<_>>().join(", ");
    match (to, destinations) {
        (_, []) => Err("this rule has no destinations".to_owned()),
        (Some(to), [only]) if called(only) != to => match only.pointer("/destination/subset") {
            Some(_) => Ok(New::Like(0)),
            None => Err(format!(
                "its destination {} has no subset, and so `{to}` would be none of the same service",
                names()
            )),
        },
        (Some(to), several) => {
            let place = several.iter().position(|one| called(one) == to);
            place.map(New::Here).ok_or_else(|| format!("its destinations are {}, and none is `{to}`", names()))
        }
        (None, [first, second]) if weight(first) < weight(second) => Ok(New::Here(0)),
        (None, [first, second]) if weight(first) > weight(second) => Ok(New::Here(1)),
        (None, _) => Err(format!("its destinations are {}: say by --to which version grows", names())),
    }
}

fn reweigh(route: &mut Vec<Value>, new: New, to: &str, ppm: u64) {
    let place = match new {
        New::Here(place) => place,
        New::Like(model) => {
            let mut added = route.get(model).cloned().unwrap_or(Value::Null);
            if let Some(destination) = added.get_mut("destination") {
                set(destination, "subset", json!(to));
            }
            // Alone it had all, whatever its weight.
            route.iter_mut().for_each(|one| set(one, "weight", json!(1)));
            route.push(added);
            route.len().saturating_sub(1)
        }
    };
    let old: Vec<u64> = route.iter().map(weight).collect();
    let others =
        old.iter().enumerate().filter(|(at, _)| *at != place).fold(0_u64, |sum, (_, own)| sum.saturating_add(*own));
    let count = u64::try_from(route.len()).unwrap_or(u64::MAX).saturating_sub(1);
    let whole = WHOLES.into_iter().find(|whole| ppm.saturating_mul(*whole).is_multiple_of(MILLION)).unwrap_or(MILLION);
    let share = ppm.saturating_mul(whole) / MILLION;
    // With more than two, what the others have among themselves stays in proportion.
    let (scale, single) = if count == 1 { (1, true) } else { (others.max(1), false) };
    for (at, one) in route.iter_mut().enumerate() {
        let own = old.get(at).copied().unwrap_or(0);
        let rest = whole.saturating_sub(share);
        let weight = match (at == place, single) {
            (true, _) => share.saturating_mul(scale),
            (false, true) => rest,
            (false, false) => own.saturating_mul(rest),
        };
        set(one, "weight", json!(weight));
    }
}

fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(field.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A VirtualService whose rules are `name: subset weight, subset weight; …`.
    fn service(name: &str, rules: &str) -> Value {
        let rules = rules.split("; ").map(|rule| {
            let (name, list) = rule.split_once(": ").unwrap();
            let route: Vec<Value> = list
                .split(", ")
                .map(|item| {
                    let (subset, weight) = item.split_once(' ').unwrap();
                    json!({"destination": {"host": "reviews", "subset": subset}, "weight": weight.parse::<u64>().unwrap()})
                })
                .collect();
            if name == "-" { json!({"route": route}) } else { json!({"name": name, "route": route}) }
        });
        json!({"kind": "VirtualService", "metadata": {"name": name}, "spec": {"http": rules.collect::<Vec<_>>()}})
    }

    fn shown(object: &Value) -> String {
        let rules = rules_of(object).iter().enumerate().map(|(http, _)| {
            let list = destinations(object, http).unwrap();
            list.iter().map(|one| format!("{} {}", called(one), weight(one))).collect::<Vec<_>>().join(", ")
        });
        rules.collect::<Vec<_>>().join("; ")
    }

    #[track_caller]
    fn check(objects: &[Value], route: &str, to: Option<&str>, ppm: u64, expected: &[&str]) {
        let ramp = Ramp::new(objects, route, to).unwrap();
        let changed: Vec<String> = ramp.step(objects, ppm).iter().map(|(_, object)| shown(object)).collect();
        assert_eq!(changed, expected);
    }

    #[test]
    fn the_lesser_of_two_grows() {
        let objects = [service("reviews", "-: v1 99, v2 1")];
        check(&objects, "reviews", None, 200_000, &["v1 80, v2 20"]);
        check(&objects, "default/reviews", None, 1_000_000, &["v1 0, v2 100"]);
        check(&objects, "reviews", None, 5_000, &["v1 995, v2 5"]);
        check(&objects, "reviews.http[0]", Some("v1"), 10_000, &["v1 1, v2 99"]);
    }

    #[test]
    fn a_rule_of_one_gets_a_second() {
        check(&[service("reviews", "-: v1 0")], "reviews", Some("v2"), 10_000, &["v1 99, v2 1"]);
    }

    #[test]
    fn several_others_keep_their_proportion() {
        check(
            &[service("reviews", "-: v1 30, v2 10, v3 0")],
            "reviews",
            Some("v3"),
            200_000,
            &["v1 2400, v2 800, v3 800"],
        );
    }

    #[test]
    fn rules_of_one_name_move_together_and_others_stay() {
        let objects = [service("mesh", "num: b 99, g 1; rest: b 100"), service("edge", "rest: b 1; num: g 1, b 99")];
        check(&objects, "num", None, 500_000, &["b 50, g 50; b 100", "b 1; g 50, b 50"]);
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_what_could() {
        let refused = |objects: &[Value], route: &str, to| Ramp::new(objects, route, to).unwrap_err();
        let two = [service("reviews", "first: v1 50, v2 50; second: v1 100")];
        assert!(
            refused(&two, "nobody", None).ends_with("there are `first`, `second`"),
            "{}",
            refused(&two, "nobody", None)
        );
        assert!(refused(&two, "reviews", None).contains("has several rules: name one, as in `reviews.http[0]`"));
        assert!(refused(&two, "first", None).contains("say by --to which version grows"));
        assert!(refused(&two, "first", Some("v3")).contains("none is `v3`"));
        let opposed = [service("a", "x: v1 99, v2 1"), service("b", "x: v1 1, v2 99")];
        assert!(refused(&opposed, "x", None).contains("different versions"));
    }
}
