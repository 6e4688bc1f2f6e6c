//! The plugin context: takes configurations, opens a stream context for each request.

use crate::budgets::Budgets;
use crate::configuration;
use crate::context_store;
use crate::guards::{self, Guards};
use crate::hostcalls::{self, LogLevel};
use crate::metrics;
use crate::stream::Stream;
use istio_config::Severity;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use std::rc::Rc;
use traffic_policy::Policy;
use traffic_policy::propagate::Propagation;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Warn);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

/// Streams keep the policy they began with: a new one never changes the rules under a request.
#[derive(Default)]
struct Root {
    policy: Rc<Policy>,
    budgets: Rc<Budgets>,
    guards: Rc<Guards>,
}

impl Context for Root {}

impl RootContext for Root {
    /// A refused configuration changes nothing: Envoy keeps the context that runs, and so does this one.
    fn on_configure(&mut self, size: usize) -> bool {
        let outcome = configuration::compile(hostcalls::plugin_configuration(size));
        for (severity, message) in &outcome.messages {
            let level = match severity {
                Severity::Error => LogLevel::Error,
                Severity::Warning => LogLevel::Warn,
                Severity::Note => LogLevel::Info,
            };
            hostcalls::log(level, &format!("shunt: {message}"));
        }
        let Some(mut policy) = outcome.policy else {
            hostcalls::log(LogLevel::Error, "shunt: configuration refused; what runs now goes on");
            return false;
        };
        if let Some(wanted) = policy.propagation().map(Propagation::capacity) {
            let slots = context_store::slots(wanted);
            if slots != wanted {
                let message =
                    format!("shunt: the store of contexts has {slots} slots until the proxy restarts, not {wanted}");
                hostcalls::log(LogLevel::Warn, &message);
            }
            policy.keep_context_slots(slots);
        }
        metrics::announce(&policy);
        self.budgets = Rc::new(Budgets::new(&policy));
        self.guards = Rc::new(Guards::new(&policy));
        hostcalls::set_tick_period(if policy.guards().is_empty() { 0 } else { guards::PERIOD_MS });
        self.policy = Rc::new(policy);
        crate::explain::about(&self.policy);
        true
    }

    fn on_tick(&mut self) {
        self.guards.look(&self.policy);
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(self.policy.clone(), self.budgets.clone(), self.guards.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
