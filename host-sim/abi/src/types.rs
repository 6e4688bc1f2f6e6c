//! The numbered kinds of the ABI. A number outside the list becomes `BadArgument`, never a panic.

use crate::status::Status;

macro_rules! numbered {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $number:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        $vis enum $name { $($(#[$vmeta])* $variant = $number,)+ }

        impl TryFrom<u32> for $name {
            type Error = Status;
            fn try_from(number: u32) -> Result<Self, Status> {
                match number {
                    $($number => Ok($name::$variant),)+
                    _ => Err(Status::BadArgument),
                }
            }
        }
    };
}

numbered! {
    /// How grave a log line is, as the guest numbers it.
    pub enum LogLevel {
        /// Finest.
        Trace = 0,
        /// For developers.
        Debug = 1,
        /// Usual.
        Info = 2,
        /// Worth a look.
        Warn = 3,
        /// Something failed.
        Error = 4,
        /// The process is in danger.
        Critical = 5,
    }
}

numbered! {
    /// The kinds of metric, by Envoy's numbers.
    pub enum MetricKind {
        /// Only grows.
        Counter = 0,
        /// Goes both ways.
        Gauge = 1,
        /// Collects samples.
        Histogram = 2,
    }
}

numbered! {
    /// Which header map a hostcall means.
    pub(crate) enum MapType {
        RequestHeaders = 0,
        RequestTrailers = 1,
        ResponseHeaders = 2,
        ResponseTrailers = 3,
        GrpcInitialMetadata = 4,
        GrpcTrailingMetadata = 5,
        CalloutHeaders = 6,
        CalloutTrailers = 7,
    }
}

numbered! {
    /// Which buffer a hostcall means.
    pub(crate) enum BufferType {
        RequestBody = 0,
        ResponseBody = 1,
        DownstreamData = 2,
        UpstreamData = 3,
        CalloutBody = 4,
        GrpcMessage = 5,
        VmConfiguration = 6,
        PluginConfiguration = 7,
        CallData = 8,
    }
}

numbered! {
    /// Which stream a resume or a close means.
    pub(crate) enum StreamType {
        Request = 0,
        Response = 1,
        Downstream = 2,
        Upstream = 3,
    }
}

/// One of the two ways through a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client to the upstream.
    Request,
    /// From the upstream, or a local reply, to the client.
    Response,
}
