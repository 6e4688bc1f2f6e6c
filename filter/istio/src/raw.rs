//! How a raw type is declared: every field optional, `null` the same as absent, unknown names refused.
//!
//! That is what the Kubernetes API server does with a field of an Istio object, so a file that works there reads the
//! same here.

use serde::{Deserialize, Deserializer};

/// Declares raw structs with the attributes they all share.
macro_rules! raw {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $ty:ty,)* })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_meta])*
            #[serde(default, deserialize_with = "crate::raw::nullable")]
            pub $field: $ty,)*
        }
    )+};
}

/// Reads `null` as the default, as the Kubernetes API does.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
