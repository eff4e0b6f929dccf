//! Who a trace is about.

use super::fleet::uuid;
use super::random::Random;

const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.1 Safari/605.1.15",
    "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    "ShopApp/7.4.1 (iPhone; iOS 19.1)",
];
const WISHES: [&str; 6] = ["teapot", "desk+lamp", "running+shoes", "ukulele", "caf%C3%A9+press", "rain+jacket"];
const TIERS: [&str; 3] = ["basic", "basic", "premium"];

/// A visitor of the shop, with what they look at.
pub(super) struct Visitor {
    pub(super) session_id: String,
    pub(super) user_id: String,
    pub(super) tier: &'static str,
    pub(super) ip: String,
    pub(super) agent: &'static str,
    pub(super) wish: &'static str,
    pub(super) product_id: String,
    pub(super) order_id: String,
}

impl Visitor {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            session_id: uuid(random),
            user_id: format!("u-{:06}", random.below(250_000)),
            tier: random.pick(&TIERS),
            ip: format!("198.51.{}.{}", 100 + random.below(100), 1 + random.below(254)),
            agent: random.pick(&AGENTS),
            wish: random.pick(&WISHES),
            product_id: format!("P-{:05}", random.below(20_000)),
            order_id: uuid(random),
        }
    }
}
