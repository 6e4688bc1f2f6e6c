//! Every code, with what istioctl calls the same thing and one line that says what it is. `docs/check.md` says more.

/// What is known of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// The code.
    pub code: &'static str,
    /// The message code of `istioctl analyze` for it, where there is one; all that its validation refuses is IST0106, and
    /// what it only warns of is IST0133 (istio `pkg/config/analysis/msg/messages.yaml`).
    pub istio: Option<&'static str>,
    /// What it is, without a full stop.
    pub meaning: &'static str,
}

/// What is known of `code`; `None` for a code that is not in the table.
pub fn code(code: &str) -> Option<&'static Code> {
    let index = CODES.binary_search_by(|known| known.code.cmp(code)).ok()?;
    CODES.get(index)
}

/// Sorted by code.
pub(crate) const CODES: [Code; 144] = [
    Code { code: "IST0002", istio: Some("IST0002"), meaning: "A deprecated field" },
    Code { code: "IST0101", istio: Some("IST0101"), meaning: "A host, port, subset or Gateway that does not exist" },
    Code {
        code: "IST0109",
        istio: Some("IST0109"),
        meaning: "Two VirtualServices have rules for one host in the mesh",
    },
    Code {
        code: "IST0112",
        istio: Some("IST0112"),
        meaning: "A destination without a port, of a service with several",
    },
    Code { code: "IST0130", istio: Some("IST0130"), meaning: "A rule that no request reaches" },
    Code { code: "IST0131", istio: Some("IST0131"), meaning: "A match block that no request reaches" },
    Code { code: "IST0132", istio: Some("IST0132"), meaning: "A host that the Gateway has no server for" },
    Code {
        code: "IST0140",
        istio: Some("IST0140"),
        meaning: "Requests through a gateway go past the versions the mesh chooses",
    },
    Code { code: "IST0173", istio: Some("IST0173"), meaning: "A subset that selects no endpoint" },
    Code { code: "IST0174", istio: Some("IST0174"), meaning: "A DestinationRule for a host that no service has" },
    Code { code: "authority-twice", istio: Some("IST0106"), meaning: "The host is rewritten in two places" },
    Code { code: "bad-address", istio: Some("IST0106"), meaning: "An endpoint whose address is none" },
    Code { code: "bad-base64", istio: Some("IST0106"), meaning: "A body that is not base64" },
    Code { code: "bad-cors", istio: Some("IST0106"), meaning: "A CORS policy with a method or header that is none" },
    Code { code: "bad-duration", istio: Some("IST0106"), meaning: "A duration that Istio does not take" },
    Code { code: "bad-export-to", istio: Some("IST0106"), meaning: "An `exportTo` that Istio does not take" },
    Code { code: "bad-filter-config", istio: None, meaning: "A filter configuration that cannot be read" },
    Code { code: "bad-gateway-name", istio: Some("IST0106"), meaning: "A name that no Gateway can have" },
    Code { code: "bad-hash", istio: None, meaning: "A `consistentHash` that Envoy refuses" },
    Code { code: "bad-header-name", istio: Some("IST0106"), meaning: "A header name with characters it cannot have" },
    Code { code: "bad-header-value", istio: Some("IST0106"), meaning: "A header value that cannot be written" },
    Code { code: "bad-host", istio: Some("IST0106"), meaning: "A host name that is none" },
    Code {
        code: "bad-key",
        istio: None,
        meaning: "A key of users, or a cookie's attribute, that cannot be written so",
    },
    Code { code: "bad-label", istio: Some("IST0106"), meaning: "A label or namespace that Kubernetes does not take" },
    Code { code: "bad-percentage", istio: Some("IST0106"), meaning: "A share outside 0 to 100" },
    Code { code: "bad-policy", istio: Some("IST0106"), meaning: "A traffic policy that Istio refuses" },
    Code { code: "bad-port", istio: Some("IST0106"), meaning: "A port outside 1 to 65535" },
    Code { code: "bad-port-name", istio: Some("IST0106"), meaning: "A port name that is no DNS label" },
    Code { code: "bad-protocol", istio: Some("IST0106"), meaning: "A protocol that Istio does not know" },
    Code { code: "bad-redirect-code", istio: None, meaning: "A redirect with a status that redirects nobody" },
    Code { code: "bad-regex", istio: Some("IST0106"), meaning: "A pattern that is not RE2" },
    Code { code: "bad-server", istio: Some("IST0106"), meaning: "A server of a Gateway that Istio refuses" },
    Code { code: "bad-status", istio: Some("IST0106"), meaning: "A number that is no status" },
    Code { code: "bad-subset-name", istio: Some("IST0106"), meaning: "A subset name that is no DNS label" },
    Code { code: "bad-substitution", istio: Some("IST0106"), meaning: "A substitution for a group that is not there" },
    Code { code: "bad-target", istio: None, meaning: "A ShuntPolicy for something that is no VirtualService" },
    Code { code: "bad-type", istio: Some("IST0106"), meaning: "A value of another type than the field has" },
    Code { code: "bad-value", istio: Some("IST0106"), meaning: "A value that the field does not take" },
    Code { code: "case-of-regex", istio: None, meaning: "`ignoreUriCase` beside a regex, which it does not change" },
    Code { code: "conflict", istio: Some("IST0106"), meaning: "Fields that exclude each other" },
    Code { code: "context-for-everyone", istio: None, meaning: "Headers that are given to every host" },
    Code { code: "context-memory", istio: None, meaning: "How much memory the kept headers may take" },
    Code { code: "context-without-receivers", istio: None, meaning: "Headers that are kept for nobody" },
    Code { code: "contradiction", istio: None, meaning: "A policy for a rule that it cannot act on" },
    Code { code: "cookie-passed-over", istio: None, meaning: "A part of a cookie that browsers do not know" },
    Code { code: "cookie-refused", istio: None, meaning: "A cookie that browsers do not keep" },
    Code { code: "credentials-propagated", istio: None, meaning: "Headers that say who somebody is, handed on" },
    Code {
        code: "delegate-conflict",
        istio: None,
        meaning: "A delegate's match that asks for more than the root's gives",
    },
    Code { code: "duplicate-host", istio: Some("IST0106"), meaning: "A host that stands twice in one VirtualService" },
    Code { code: "duplicate-object", istio: None, meaning: "Two objects of one kind and name" },
    Code { code: "duplicate-port", istio: Some("IST0106"), meaning: "A port that stands twice in one service" },
    Code { code: "duplicate-rule-name", istio: None, meaning: "Two rules of one name in one VirtualService" },
    Code {
        code: "duplicate-subset",
        istio: Some("IST0106"),
        meaning: "A subset that stands twice in one DestinationRule",
    },
    Code { code: "empty-fault", istio: Some("IST0106"), meaning: "A fault without delay and abort" },
    Code { code: "empty-file", istio: None, meaning: "A file without anything in it" },
    Code { code: "empty-match", istio: Some("IST0133"), meaning: "An empty `uri` match, which takes every path" },
    Code { code: "empty-origin", istio: Some("IST0106"), meaning: "A CORS origin without a text" },
    Code { code: "empty-policy", istio: Some("IST0106"), meaning: "A policy block without a field" },
    Code { code: "empty-prefix", istio: Some("IST0106"), meaning: "An empty prefix where Istio takes none" },
    Code { code: "empty-redirect", istio: Some("IST0106"), meaning: "A redirect that names no other place" },
    Code { code: "empty-rewrite", istio: Some("IST0106"), meaning: "A rewrite that changes nothing" },
    Code { code: "endpoints-unknown", istio: None, meaning: "A Service whose endpoints are not in the files" },
    Code { code: "hash-beside-weights", istio: None, meaning: "`consistentHash` does not keep users on a version" },
    Code { code: "hash-without-port", istio: None, meaning: "A key of a port that the destination does not name" },
    Code { code: "header-ignored", istio: Some("IST0106"), meaning: "A header edit that Istio ignores" },
    Code {
        code: "host-without-service",
        istio: None,
        meaning: "Rules, or kept headers, for a host that no service has",
    },
    Code { code: "key-of-no-user", istio: None, meaning: "A key that says something else than who a user is" },
    Code { code: "kill-switch-on", istio: None, meaning: "A kill switch that is on" },
    Code { code: "kind-not-served", istio: None, meaning: "An object of a kind that has nothing to do with routing" },
    Code { code: "large-body", istio: Some("IST0133"), meaning: "A direct response with a very long body" },
    Code { code: "mirror-and-mirrors", istio: Some("IST0106"), meaning: "`mirror` beside `mirrors`" },
    Code { code: "mirror-of-writes", istio: None, meaning: "Copies of requests that change something" },
    Code { code: "mirror-to-itself", istio: None, meaning: "Copies that go where the request goes" },
    Code {
        code: "mirror-without-context",
        istio: None,
        meaning: "Copies to a host outside `to`, so that nobody gets the headers",
    },
    Code { code: "missing-weight", istio: None, meaning: "A destination without a weight beside others" },
    Code { code: "misspelt-kind", istio: None, meaning: "A kind or group that is nearly one that is served" },
    Code {
        code: "mixed-resolution",
        istio: None,
        meaning: "ServiceEntries of one host that find its endpoints in different ways",
    },
    Code { code: "negative-attempts", istio: Some("IST0106"), meaning: "Fewer than no retries" },
    Code { code: "negative-weight", istio: Some("IST0106"), meaning: "A weight below 0" },
    Code { code: "nested-delegate", istio: Some("IST0106"), meaning: "A delegate that delegates" },
    Code { code: "never-injected", istio: None, meaning: "A fault without a percentage" },
    Code { code: "never-matches", istio: None, meaning: "A match that no request meets" },
    Code { code: "no-abort", istio: Some("IST0133"), meaning: "An abort without a status" },
    Code {
        code: "no-action",
        istio: Some("IST0106"),
        meaning: "A rule without route, redirect, directResponse and delegate",
    },
    Code { code: "no-choice", istio: None, meaning: "A policy for rules in which it has nothing to choose" },
    Code { code: "no-delay", istio: Some("IST0106"), meaning: "A delay without a duration" },
    Code { code: "no-effect", istio: None, meaning: "A field that does nothing in a rule like this" },
    Code { code: "no-endpoints", istio: None, meaning: "A service that rules lead to and nobody answers for" },
    Code { code: "no-host", istio: Some("IST0106"), meaning: "A service without a host" },
    Code {
        code: "no-hosts",
        istio: Some("IST0106"),
        meaning: "A VirtualService without hosts that nobody delegates to",
    },
    Code { code: "no-key", istio: None, meaning: "A sticky policy that does not say who a user is" },
    Code {
        code: "no-labels",
        istio: None,
        meaning: "`sourceLabels` or `workloadSelector` where nothing tells the labels of the proxy",
    },
    Code { code: "no-name", istio: None, meaning: "An object without a name" },
    Code { code: "no-rules", istio: Some("IST0106"), meaning: "A VirtualService without rules" },
    Code { code: "no-stable", istio: None, meaning: "A policy that sends requests to another version and names none" },
    Code { code: "no-target", istio: None, meaning: "A policy for the rules of no VirtualService" },
    Code { code: "no-time-left", istio: None, meaning: "A fallback for which a version that hangs leaves no time" },
    Code { code: "no-weight", istio: Some("IST0106"), meaning: "Several destinations, all with weight 0" },
    Code { code: "not-an-object", istio: None, meaning: "A document that is no Kubernetes object" },
    Code { code: "not-carried-out-yet", istio: None, meaning: "A field that has no effect in Shunt yet" },
    Code { code: "not-served", istio: None, meaning: "Something that Shunt does not serve" },
    Code { code: "null-match", istio: Some("IST0106"), meaning: "A match that is null" },
    Code { code: "oneof", istio: Some("IST0106"), meaning: "Two fields of which only one may be set" },
    Code { code: "only-in-a-mesh", istio: None, meaning: "Endpoints that only istiod can find" },
    Code { code: "own-answer-status", istio: None, meaning: "A status that Istio's own routes do not know" },
    Code { code: "path-without-slash", istio: None, meaning: "A rewrite to a path that does not begin with `/`" },
    Code {
        code: "per-try-timeout-exceeds-timeout",
        istio: None,
        meaning: "A try may take longer than the whole request",
    },
    Code {
        code: "per-try-timeout-not-retried",
        istio: None,
        meaning: "A `perTryTimeout` that no retry condition covers",
    },
    Code {
        code: "policy-ignored",
        istio: None,
        meaning: "A policy that another DestinationRule of the host takes the place of",
    },
    Code { code: "prefix-of-word", istio: None, meaning: "A path prefix that also takes longer words" },
    Code { code: "prefix-rewrite", istio: Some("IST0106"), meaning: "`prefixRewrite` without a prefix to rewrite" },
    Code { code: "reserved-header", istio: None, meaning: "A header that rules cannot edit" },
    Code { code: "retries-exceed-timeout", istio: None, meaning: "Retries that the timeout leaves no time for" },
    Code { code: "retries-multiply", istio: None, meaning: "Retries of several hops that multiply" },
    Code { code: "retries-without-attempts", istio: Some("IST0106"), meaning: "A retry policy without attempts" },
    Code { code: "router-header", istio: None, meaning: "A header that Envoy's router obeys" },
    Code {
        code: "rule-out-of-reach",
        istio: None,
        meaning: "A DestinationRule in a namespace where nobody looks for it",
    },
    Code { code: "same-destination-twice", istio: None, meaning: "One destination twice in one route" },
    Code { code: "selector-and-endpoints", istio: Some("IST0106"), meaning: "`workloadSelector` beside `endpoints`" },
    Code { code: "sent-twice", istio: None, meaning: "A fallback for requests that are not idempotent" },
    Code { code: "simple-regex", istio: None, meaning: "A pattern that is an exact text or a prefix" },
    Code { code: "single-weight-zero", istio: None, meaning: "Weight 0 for the only destination" },
    Code { code: "subset-ignored", istio: None, meaning: "A subset that an older DestinationRule has already" },
    Code { code: "subset-policy-without-effect", istio: None, meaning: "A policy for a subset that no rule names" },
    Code { code: "success-fails", istio: None, meaning: "Answers below 400 that count as failures of a version" },
    Code { code: "syntax", istio: None, meaning: "A file that cannot be read as YAML or JSON" },
    Code { code: "too-many-endpoints", istio: Some("IST0106"), meaning: "DNS_ROUND_ROBIN with several endpoints" },
    Code { code: "too-many-mirrors", istio: None, meaning: "More mirrors than Shunt can draw" },
    Code {
        code: "traffic-kind-not-served",
        istio: None,
        meaning: "An object that rules traffic, of a kind that is not served",
    },
    Code { code: "tunnel-and-proxy-protocol", istio: Some("IST0106"), meaning: "`tunnel` beside `proxyProtocol`" },
    Code { code: "two-load-balancers", istio: Some("IST0106"), meaning: "`simple` beside `consistentHash`" },
    Code {
        code: "two-stables",
        istio: None,
        meaning: "A fallback and a breaker of one rule that name different versions",
    },
    Code { code: "unknown-delegate", istio: None, meaning: "A delegate that does not exist" },
    Code { code: "unknown-field", istio: Some("IST0106"), meaning: "A field that the object does not have" },
    Code { code: "unknown-kind", istio: None, meaning: "A kind or version that the API group does not have" },
    Code { code: "unknown-port", istio: None, meaning: "A destination whose port nothing tells" },
    Code {
        code: "unknown-port-name",
        istio: Some("IST0106"),
        meaning: "An endpoint port that the service does not have",
    },
    Code {
        code: "unknown-retry-condition",
        istio: Some("IST0106"),
        meaning: "A condition that `retryOn` does not take",
    },
    Code { code: "unknown-rule", istio: None, meaning: "A profile for a rule that does not exist" },
    Code {
        code: "unknown-target",
        istio: None,
        meaning: "A ShuntPolicy for a VirtualService, or a rule of one, that does not exist",
    },
    Code { code: "unreadable", istio: None, meaning: "A file that cannot be read" },
    Code { code: "unused-subset", istio: None, meaning: "Subsets that no rule names" },
    Code { code: "wildcard-in-mesh", istio: Some("IST0106"), meaning: "Host `*` in the mesh" },
    Code { code: "zero-timeout", istio: Some("IST0106"), meaning: "A timeout of zero" },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_each_code_is_found() {
        assert!(CODES.is_sorted_by(|left, right| left.code < right.code));
        assert_eq!(code("no-weight").and_then(|code| code.istio), Some("IST0106"));
        assert_eq!(code("nosuch"), None);
    }
}
