//! The routing samples that Istio's documentation walks through, in our words: nothing is found where nothing is wrong.

use crate::findings;
use istio_config::Severity;
use std::fs;
use std::path::Path;

fn text(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("bookinfo").join(name)).unwrap()
}

/// What is found in a file beside the services and their subsets; notes are left out.
fn check(name: &str, expected: &[&str]) {
    for services in ["services.yaml", "kubernetes.yaml"] {
        check_beside(services, name, expected);
    }
}

fn check_beside(services: &str, name: &str, expected: &[&str]) {
    let (services, subsets, rules) = (text(services), text("subsets.yaml"), text(name));
    let texts: [(&str, &[u8]); 3] = [("services", &services), ("subsets", &subsets), ("rules", &rules)];
    for file in ["services", "subsets"] {
        let found = findings(&texts, file);
        assert!(found.iter().all(|(severity, _)| *severity == Severity::Note), "{name}: {file}: {found:?}");
    }
    let found: Vec<_> =
        findings(&texts, "rules").into_iter().filter(|(severity, _)| *severity > Severity::Note).collect();
    let found: Vec<_> = found.iter().map(|(_, found)| found.as_str()).collect();
    assert_eq!(found, expected, "{name}");
}

#[test]
fn nothing_is_found_in_good_rules() {
    for name in
        ["gateway.yaml", "all-v1.yaml", "by-user.yaml", "split.yaml", "faults-for-one-user.yaml", "databases.yaml"]
    {
        check(name, &[]);
    }
}

/// Istio's sample aborts every request and keeps the rule that it replaces below; `istioctl analyze` says the same.
#[test]
fn a_rule_that_a_fault_for_everybody_hides_is_found() {
    check("fault-for-all.yaml", &["line 14: spec.http[1]: warning[IST0130]"]);
}

#[test]
fn notes_are_about_what_is_so() {
    let (services, subsets, gateway) = (text("services.yaml"), text("subsets.yaml"), text("gateway.yaml"));
    let texts: [(&str, &[u8]); 3] = [("services", &services), ("subsets", &subsets), ("rules", &gateway)];
    let found = findings(&texts, "rules");
    let found: Vec<_> = found.iter().map(|(_, found)| found.as_str()).collect();
    // Both prefixes take longer words too.
    assert_eq!(
        found,
        [
            "line 20: spec.http[0].match[1].uri.prefix: note[prefix-of-word]",
            "line 23: spec.http[0].match[4].uri.prefix: note[prefix-of-word]"
        ]
    );
    // No rule names a subset here.
    assert_eq!(findings(&texts, "subsets").len(), 4);
}

#[test]
fn versions_that_nobody_deploys_are_a_note() {
    let (services, subsets) = (text("kubernetes.yaml"), text("subsets.yaml"));
    let texts: [(&str, &[u8]); 2] = [("services", &services), ("subsets", &subsets)];
    let found = findings(&texts, "subsets");
    let missing = found.iter().filter(|(_, found)| found.contains("note[IST0173]")).count();
    // Of the details v2, of the ratings v2, v2-mysql and v2-mysql-vm.
    assert_eq!(missing, 4, "{found:?}");
}
