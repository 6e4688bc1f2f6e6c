//! `mirror` and `mirrors`: which clusters get a copy, and which sets of them a request may draw.
//!
//! The filter draws each percentage and chooses the profile that carries just the drawn mirrors; so every set that can
//! be drawn needs a profile of its own. Mirrors at 100 % and 0 % are not drawn and multiply nothing.

use crate::destinations::Client;
use istio_config::Diagnostics;
use istio_config::diagnostic::At;
use istio_config::virtual_service::{Destination, HttpMirrorPolicy, Percent};

/// Mirrors of one rule that are neither at 0 % nor at 100 %: each doubles the number of profiles.
const DRAWN_MAX: usize = 6;

/// Mirrors of one rule in all: each doubles the table that the filter looks profiles up in.
const ALL_MAX: usize = 10;

/// How often a mirror is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    Never,
    Sometimes,
    Always,
}

impl Share {
    /// Istio's percentage: absent means all, and a millionth is the finest step (`uint32(value * 10000)`).
    fn from_percent(percent: Option<f64>) -> Self {
        match percent {
            None => Self::Always,
            Some(value) if value >= 100.0 => Self::Always,
            Some(value) if value >= 0.0001 => Self::Sometimes,
            Some(_) => Self::Never,
        }
    }
}

/// The mirrors of one rule, numbered as the rule lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mirrors {
    all: Vec<(String, Share)>,
}

/// The fields of a rule that say where copies go.
pub(crate) struct Raw<'a> {
    /// `mirror`.
    pub(crate) mirror: Option<&'a Destination>,
    /// `mirrors`.
    pub(crate) mirrors: &'a [HttpMirrorPolicy],
    /// `mirrorPercentage`.
    pub(crate) percentage: Option<&'a Percent>,
    /// `mirrorPercent`, deprecated, in whole percent.
    pub(crate) percent: Option<u32>,
}

impl Mirrors {
    /// Reads the mirrors of a rule at `at`; faults are reported and leave a rule without mirrors. Whether a percentage
    /// lies in 0 to 100 is for the policy to say, which draws it.
    pub(crate) fn compile(at: &At<'_>, raw: &Raw<'_>, client: &Client<'_>, diagnostics: &mut Diagnostics) -> Self {
        let Raw { mirror, mirrors, percentage, percent } = raw;
        let value = |percent: Option<&Percent>| percent.map(|Percent { value }| *value);
        let mut all = Vec::new();
        if let Some(destination) = mirror {
            let share = Share::from_percent(value(*percentage).or(percent.map(f64::from)));
            all.extend(client.cluster(&at.field("mirror"), destination, diagnostics).map(|cluster| (cluster, share)));
        }
        let list = at.field("mirrors");
        for (index, HttpMirrorPolicy { destination, percentage }) in mirrors.iter().enumerate() {
            let share = Share::from_percent(value(percentage.as_ref()));
            let cluster = client.cluster(&list.index(index).field("destination"), destination, diagnostics);
            all.extend(cluster.map(|cluster| (cluster, share)));
        }
        if mirror.is_some() && !mirrors.is_empty() {
            let help = "move the destination of `mirror` into `mirrors`";
            diagnostics.error(&list, "mirror-and-mirrors", "`mirror` and `mirrors` in one rule", help);
            return Self::default();
        }
        let drawn = all.iter().filter(|(_, share)| *share == Share::Sometimes).count();
        if drawn > DRAWN_MAX || all.len() > ALL_MAX {
            diagnostics.error(
                &list,
                "too-many-mirrors",
                format!("{} mirrors, {drawn} of them with a percentage", all.len()),
                format!("a rule can have {DRAWN_MAX} mirrors with a percentage, and {ALL_MAX} in all"),
            );
            return Self::default();
        }
        Self { all }
    }

    /// One entry for each set of mirrors, numbered by its bits: the clusters of the set, or `None` when no request can
    /// draw it.
    pub(crate) fn combinations(&self) -> impl Iterator<Item = Option<Vec<String>>> {
        (0..1_usize << self.all.len()).map(|set| {
            let mut clusters = Vec::new();
            for (bit, (cluster, share)) in self.all.iter().enumerate() {
                match (share, set >> bit & 1 == 1) {
                    (Share::Always, false) | (Share::Never, true) => return None,
                    (Share::Sometimes | Share::Always, true) => clusters.push(cluster.clone()),
                    (Share::Sometimes | Share::Never, false) => {}
                }
            }
            Some(clusters)
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{build, check_findings, rules};

    /// The mirror lists of a rule's profiles, by draw; `-` for one without a name.
    fn check(rule: &str, expected: &[&str]) {
        let (plan, bindings, _) = build(&rules(&[&format!("{{route: [{{destination: {{host: a}}}}], {rule}}}")]));
        let found: Vec<String> = bindings
            .iter()
            .flat_map(|binding| &binding.profiles)
            .map(|name| {
                let profile = plan.profiles.iter().find(|profile| profile.name == *name);
                profile.map_or("-".to_owned(), |profile| profile.mirrors.join(" "))
            })
            .collect();
        assert_eq!(found, expected, "{rule}");
    }

    const A: &str = "outbound|80||a.default.svc.cluster.local";
    const B: &str = "outbound|80|v2|b.other.com";

    #[test]
    fn a_mirror_without_a_percentage_is_always_carried() {
        check("mirror: {host: a}", &["-", A]);
        check("mirror: {host: a}, mirrorPercentage: {value: 100}", &["-", A]);
        check("mirror: {host: a}, mirrorPercent: 100", &["-", A]);
        check("mirror: {host: b.other.com, subset: v2, port: {number: 80}}", &["-", B]);
    }

    #[test]
    fn a_mirror_at_zero_needs_no_profile() {
        check("mirror: {host: a}, mirrorPercentage: {value: 0}", &[]);
        check("mirror: {host: a}, mirrorPercent: 0", &[]);
        check("mirrors: [{destination: {host: a}, percentage: {value: 0}}]", &[]);
        // Finer than a millionth is nothing.
        check("mirror: {host: a}, mirrorPercentage: {value: 0.00001}", &[]);
    }

    #[test]
    fn a_drawn_mirror_has_both_cases() {
        check("mirror: {host: a}, mirrorPercentage: {value: 12.5}", &["-", A]);
        check("mirror: {host: a}, mirrorPercent: 50, timeout: 1s", &["", A]);
        // The exact percentage goes before the deprecated one.
        check("mirror: {host: a}, mirrorPercent: 0, mirrorPercentage: {value: 100}", &["-", A]);
    }

    #[test]
    fn each_set_that_can_be_drawn_has_a_profile() {
        let b = "{destination: {host: b.other.com, subset: v2, port: {number: 80}}";
        let both = format!("{A} {B}");
        check(
            &format!(
                "mirrors: [{{destination: {{host: a}}, percentage: {{value: 1}}}}, {b}, percentage: {{value: 1}}}}]"
            ),
            &["-", A, B, &both],
        );
        check(
            &format!("mirrors: [{{destination: {{host: a}}, percentage: {{value: 1}}}}, {b}}}]"),
            &["-", "-", B, &both],
        );
        check(
            &format!("mirrors: [{{destination: {{host: a}}, percentage: {{value: 0}}}}, {b}}}]"),
            &["-", "-", B, "-"],
        );
        check(&format!("mirrors: [{{destination: {{host: a}}}}, {b}}}]"), &["-", "-", "-", &both]);
    }

    #[test]
    fn one_mirror_field_or_the_other() {
        let rule = "{route: [{destination: {host: a}}], mirror: {host: a}, mirrors: [{destination: {host: a}}]}";
        check_findings(&rules(&[rule]), &["VirtualService spec.http[0].mirrors: error[mirror-and-mirrors]"]);
    }

    #[test]
    fn six_mirrors_may_have_a_percentage_and_ten_may_be_there() {
        let list = |count, percentage: &str| {
            let mirror = format!("{{destination: {{host: a}}{percentage}}}");
            rules(&[&format!(
                "{{route: [{{destination: {{host: a}}}}], mirrors: [{}]}}",
                vec![mirror; count].join(", ")
            )])
        };
        let finding = ["VirtualService spec.http[0].mirrors: error[too-many-mirrors]"];
        check_findings(&list(6, ", percentage: {value: 5}"), &[]);
        check_findings(&list(7, ", percentage: {value: 5}"), &finding);
        check_findings(&list(10, ""), &[]);
        check_findings(&list(11, ""), &finding);
    }
}
