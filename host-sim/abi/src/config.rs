//! What a plugin is started with: the fields of Envoy's `PluginConfig` and `VmConfig` that change what the guest sees.

use crate::failure::FailurePolicy;
use crate::shared::SharedStore;

/// How to start a plugin. Everything may stay at its default.
#[derive(Clone, Debug, Default)]
pub struct PluginConfig {
    /// Property `plugin_name`.
    pub name: String,
    /// Property `plugin_root_id`.
    pub root_id: String,
    /// Property `plugin_vm_id` and namespace of shared data.
    pub vm_id: String,
    /// Bytes the guest reads in `on_vm_start`.
    pub vm_configuration: Vec<u8>,
    /// Bytes the guest reads in `on_configure`.
    pub configuration: Vec<u8>,
    /// Environment variables, seen through WASI `environ_get`.
    pub environment: Vec<(String, String)>,
    /// What happens to traffic after a trap.
    pub failure_policy: FailurePolicy,
    /// Envoy's `allow_on_headers_stop_iteration`: `Pause` at the head holds only the head, and body callbacks go on.
    pub body_while_head_paused: bool,
    /// Shared data and queues. Give clones of one store to VMs that are to share.
    pub shared: SharedStore,
}
