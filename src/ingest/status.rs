//! `google.rpc.Status`, the body of every error answer of OTLP.

use prost::Message;
use serde_json::json;

use crate::error::{Error, Kind};

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<RpcAny>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcAny {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<RpcDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcDuration {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

pub(super) const RETRY_INFO_TYPE: &str = "type.googleapis.com/google.rpc.RetryInfo";

impl RpcStatus {
    /// The status that answers `error`; with a delay when the sender shall come again.
    pub fn of(error: &Error) -> Self {
        let details = match error.kind {
            Kind::Overloaded { retry_after } | Kind::OverRate { retry_after } => {
                let delay = RpcDuration {
                    seconds: i64::try_from(retry_after.as_secs()).unwrap_or(i64::MAX),
                    nanos: retry_after.subsec_nanos() as i32,
                };
                let info = RetryInfo { retry_delay: Some(delay) };
                vec![RpcAny { type_url: RETRY_INFO_TYPE.into(), value: info.encode_to_vec() }]
            }
            _ => Vec::new(),
        };
        Self { code: error.grpc_code(), message: error.to_string(), details }
    }

    /// The status as protobuf's JSON mapping has it.
    pub fn to_json(&self) -> Vec<u8> {
        let details: Vec<_> = self.details.iter().filter_map(detail_to_json).collect();
        let mut status = json!({ "code": self.code, "message": self.message });
        if let (false, Some(fields)) = (details.is_empty(), status.as_object_mut()) {
            fields.insert("details".into(), details.into());
        }
        status.to_string().into_bytes()
    }
}

fn detail_to_json(detail: &RpcAny) -> Option<serde_json::Value> {
    let delay = RetryInfo::decode(&*detail.value).ok()?.retry_delay?;
    let seconds = delay.seconds as f64 + f64::from(delay.nanos) / 1e9;
    Some(json!({ "@type": detail.type_url, "retryDelay": format!("{seconds}s") }))
}
