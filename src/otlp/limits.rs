//! What one request, span or value may hold.

/// Levels of `AnyValue` in one another; a plain value is level 1. Each level is a stack frame of ours and of every later reader.
pub const MAX_VALUE_LEVELS: usize = 32;

/// Levels of groups in one another inside an unknown field. Groups are long deprecated; prost allows 100 levels as well.
pub const MAX_GROUP_LEVELS: usize = 100;

/// Bytes of one attribute value's text. Longer values are logs or payloads in disguise and would crowd out pages of others.
pub const MAX_ATTRIBUTE_VALUE_BYTES: usize = 1 << 20;

/// Bytes of an attribute key. A longer key is data in disguise; the attribute is dropped and counted.
pub const MAX_ATTRIBUTE_KEY_BYTES: usize = 64 << 10;

/// Attributes kept of one span, resource, scope, event or link. SDKs allow 128.
pub const MAX_ATTRIBUTES: usize = 1_024;

/// Events kept of one span. SDKs allow 128.
pub const MAX_EVENTS: usize = 10_000;

/// Links kept of one span. SDKs allow 128.
pub const MAX_LINKS: usize = 1_000;

/// Attributes kept of all events and links of one span: what bounds the scratch while a span of many tiny attributes is read.
pub const MAX_INNER_ATTRIBUTES: usize = 1 << 18;

/// Bytes of a span's or a service's name.
pub const MAX_NAME_BYTES: usize = 64 << 10;

/// Bytes of the Arrow batch that one request may become. Resource and scope attributes are repeated for each span, so a request of
/// legal size could otherwise grow without bound. It also keeps every text column far below Arrow's 2 GiB of 32-bit offsets.
pub const MAX_DECODED_BYTES: usize = 512 << 20;

/// 2100-01-01 UTC in nanoseconds: a span that starts then or later has a broken clock and would open a partition of its own.
pub const END_OF_TIME_NS: u64 = 4_102_444_800_000_000_000;
