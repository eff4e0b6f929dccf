//! The shop: its services and what calls what, as data.
//!
//! An operation is a table row: who serves it, what it is called on the wire, how long its own work takes, how it fails, and the
//! steps that it takes. References between rows are checked by the compiler.

use super::topology::Step::{All, Call, Fetch, Maybe, Optional, Publish, Query, Retry, Times, Work};
use super::topology::{Entry, External, Fault, Operation, Service, Step, Store, Topic, Weighted};

const fn service(index: usize, name: &'static str, language: &'static str, port: u16, replicas: u8) -> Service {
    Service { index, name, language, port, replicas }
}

pub(super) static STOREFRONT: Service = service(0, "storefront-web", "webjs", 443, 8);
pub(super) static GATEWAY: Service = service(1, "gateway", "go", 8080, 4);
static AUTH: Service = service(2, "auth", "go", 9090, 3);
static USER: Service = service(3, "user", "java", 8081, 2);
static CATALOG: Service = service(4, "catalog", "java", 8082, 4);
static SEARCH: Service = service(5, "search", "python", 8083, 3);
static RECOMMENDATION: Service = service(6, "recommendation", "python", 8084, 2);
static PRICING: Service = service(7, "pricing", "rust", 9091, 3);
static INVENTORY: Service = service(8, "inventory", "java", 9092, 3);
static CART: Service = service(9, "cart", "dotnet", 9093, 3);
static CHECKOUT: Service = service(10, "checkout", "go", 9094, 3);
static PAYMENT: Service = service(11, "payment", "nodejs", 9095, 2);
static FRAUD: Service = service(12, "fraud", "python", 9096, 2);
static ORDER: Service = service(13, "order", "java", 9097, 3);
static SHIPPING: Service = service(14, "shipping", "rust", 9098, 2);
static EMAIL: Service = service(15, "email", "ruby", 8085, 1);
static NOTIFICATION: Service = service(16, "notification", "nodejs", 8086, 2);
static REVIEW: Service = service(17, "review", "php", 8087, 2);
static PROMOTION: Service = service(18, "promotion", "dotnet", 9099, 2);
static WAREHOUSE: Service = service(19, "warehouse-sync", "go", 8088, 1);
static ANALYTICS: Service = service(20, "analytics", "java", 8089, 2);

/// Every service, at its index.
pub(super) static SERVICES: [&Service; 21] = [
    &STOREFRONT,
    &GATEWAY,
    &AUTH,
    &USER,
    &CATALOG,
    &SEARCH,
    &RECOMMENDATION,
    &PRICING,
    &INVENTORY,
    &CART,
    &CHECKOUT,
    &PAYMENT,
    &FRAUD,
    &ORDER,
    &SHIPPING,
    &EMAIL,
    &NOTIFICATION,
    &REVIEW,
    &PROMOTION,
    &WAREHOUSE,
    &ANALYTICS,
];

static TIMEOUT: Fault = Fault {
    exception: "java.util.concurrent.TimeoutException",
    message: "timed out after 2000 ms waiting for a connection from the pool",
    frames: &[
        "com.zaxxer.hikari.pool.HikariPool.getConnection(HikariPool.java:181)",
        "shop.Repository.query(Repository.java:88)",
    ],
    http_status: 503,
    rpc_status: "UNAVAILABLE",
    slow_factor: 20,
};
static DEADLOCK: Fault = Fault {
    exception: "org.postgresql.util.PSQLException",
    message: "ERROR: deadlock detected",
    frames: &["org.postgresql.core.v3.QueryExecutorImpl.receiveErrorResponse(QueryExecutorImpl.java:2725)"],
    http_status: 500,
    rpc_status: "ABORTED",
    slow_factor: 8,
};
static CARD_DECLINED: Fault = Fault {
    exception: "CardDeclinedError",
    message: "the card issuer declined the charge: insufficient_funds",
    frames: &[
        "at PaymentGateway.charge (/app/src/gateway.js:143:11)",
        "at async chargeCard (/app/src/server.js:58:18)",
    ],
    http_status: 402,
    rpc_status: "FAILED_PRECONDITION",
    slow_factor: 1,
};
static GATEWAY_DOWN: Fault = Fault {
    exception: "UpstreamConnectError",
    message: "connect ECONNREFUSED 203.0.113.20:443",
    frames: &[
        "at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1637:16)",
        "at PaymentGateway.charge (/app/src/gateway.js:121:9)",
    ],
    http_status: 502,
    rpc_status: "UNAVAILABLE",
    slow_factor: 12,
};
static KEY_ERROR: Fault = Fault {
    exception: "KeyError",
    message: "'embedding'",
    frames: &["File \"/app/search/rank.py\", line 212, in rank", "File \"/app/search/server.py\", line 77, in Search"],
    http_status: 500,
    rpc_status: "INTERNAL",
    slow_factor: 1,
};
static OUT_OF_STOCK: Fault = Fault {
    exception: "shop.inventory.OutOfStockException",
    message: "reservation failed: not enough units in warehouse FRA-2",
    frames: &["shop.inventory.ReservationService.reserve(ReservationService.java:131)"],
    http_status: 409,
    rpc_status: "FAILED_PRECONDITION",
    slow_factor: 1,
};
static NIL_POINTER: Fault = Fault {
    exception: "*runtime.PanicError",
    message: "runtime error: invalid memory address or nil pointer dereference",
    frames: &["main.(*Handler).ServeHTTP(handler.go:91)", "net/http.HandlerFunc.ServeHTTP(server.go:2220)"],
    http_status: 500,
    rpc_status: "INTERNAL",
    slow_factor: 1,
};

const fn postgres(collection: &'static str, operation: &'static str, text: &'static str, median_us: u32) -> Store {
    let (system, host, port) = ("postgresql", "postgres-main", 5432);
    Store { system, host, port, namespace: "shop", collection, operation, text, median_us, fault: &DEADLOCK }
}

const fn redis(collection: &'static str, operation: &'static str, text: &'static str) -> Store {
    let (system, host, port) = ("redis", "redis-main", 6379);
    Store { system, host, port, namespace: "0", collection, operation, text, median_us: 350, fault: &TIMEOUT }
}

static USER_BY_ID: Store = postgres("users", "SELECT", "SELECT id, email, name, tier FROM users WHERE id = $1", 900);
static SESSION_GET: Store = redis("session", "GET", "GET session:?");
static PRODUCT_BY_ID: Store =
    postgres("products", "SELECT", "SELECT id, sku, title, price_cents FROM products WHERE id = $1", 1_100);
static PRODUCT_LIST: Store = postgres(
    "products",
    "SELECT",
    "SELECT id, sku, title FROM products WHERE category_id = $1 ORDER BY rank LIMIT $2",
    4_500,
);
static PRICE_GET: Store = redis("price", "MGET", "MGET price:? price:? price:?");
static STOCK_LOCK: Store =
    postgres("stock", "SELECT", "SELECT units FROM stock WHERE product_id = $1 AND warehouse = $2 FOR UPDATE", 2_200);
static STOCK_TAKE: Store =
    postgres("stock", "UPDATE", "UPDATE stock SET units = units - $1 WHERE product_id = $2 AND warehouse = $3", 1_800);
static STOCK_ALL: Store =
    postgres("stock", "SELECT", "SELECT product_id, sum(units) FROM stock GROUP BY product_id", 90_000);
static CART_GET: Store = redis("cart", "HGETALL", "HGETALL cart:?");
static CART_SET: Store = redis("cart", "HSET", "HSET cart:? ? ?");
static ORDER_INSERT: Store = postgres(
    "orders",
    "INSERT",
    "INSERT INTO orders (id, user_id, total_cents, currency) VALUES ($1, $2, $3, $4)",
    2_600,
);
static ORDER_ITEM_INSERT: Store = postgres(
    "order_items",
    "INSERT",
    "INSERT INTO order_items (order_id, product_id, units) VALUES ($1, $2, $3)",
    1_200,
);
static ORDER_LIST: Store = postgres(
    "orders",
    "SELECT",
    "SELECT id, total_cents, placed_at FROM orders WHERE user_id = $1 ORDER BY placed_at DESC LIMIT 20",
    6_000,
);
static ORDER_ITEMS: Store =
    postgres("order_items", "SELECT", "SELECT product_id, units FROM order_items WHERE order_id = $1", 1_000);
static REVIEWS_BY_PRODUCT: Store = postgres(
    "reviews",
    "SELECT",
    "SELECT stars, title, body FROM reviews WHERE product_id = $1 ORDER BY created_at DESC LIMIT 10",
    3_200,
);
static PROMOTIONS: Store = Store {
    system: "mongodb",
    host: "mongo-promotions",
    port: 27017,
    namespace: "promotions",
    collection: "campaigns",
    operation: "find",
    text: "{\"find\": \"campaigns\", \"filter\": {\"active\": true, \"segments\": \"?\"}}",
    median_us: 1_900,
    fault: &TIMEOUT,
};
static PRODUCT_SEARCH: Store = Store {
    system: "elasticsearch",
    host: "es-products",
    port: 9200,
    namespace: "products-v7",
    collection: "products-v7",
    operation: "search",
    text: "{\"query\":{\"multi_match\":{\"query\":\"?\",\"fields\":[\"title^3\",\"body\"]}},\"size\":24}",
    median_us: 14_000,
    fault: &TIMEOUT,
};

static CARD_CHARGE: External = External {
    host: "api.cards.example",
    method: "POST",
    route: "/v1/charges",
    median_us: 140_000,
    spread: 55,
    fault: &CARD_DECLINED,
};
static CARRIER_QUOTE: External = External {
    host: "rates.carrier.example",
    method: "POST",
    route: "/quotes",
    median_us: 85_000,
    spread: 60,
    fault: &GATEWAY_DOWN,
};
static MAIL_SEND: External = External {
    host: "smtp-relay.mail.example",
    method: "POST",
    route: "/messages",
    median_us: 60_000,
    spread: 70,
    fault: &GATEWAY_DOWN,
};
static PUSH_SEND: External = External {
    host: "push.mobile.example",
    method: "POST",
    route: "/send",
    median_us: 45_000,
    spread: 50,
    fault: &GATEWAY_DOWN,
};

/// An operation that is called over gRPC.
const fn rpc(
    service: &'static Service,
    method: &'static str,
    self_us: u32,
    fault: &'static Fault,
    steps: &'static [Step],
) -> Operation {
    Operation { service, entry: Entry::Rpc { method }, self_us, spread: 45, fault, base_fault_permyriad: 6, steps }
}

/// An operation that is called over HTTP.
const fn http(
    service: &'static Service,
    method: &'static str,
    route: &'static str,
    self_us: u32,
    steps: &'static [Step],
) -> Operation {
    let entry = Entry::Http { method, route };
    Operation { service, entry, self_us, spread: 50, fault: &NIL_POINTER, base_fault_permyriad: 8, steps }
}

/// An operation that a message starts.
const fn consumer(service: &'static Service, self_us: u32, steps: &'static [Step]) -> Operation {
    Operation { service, entry: Entry::Message, self_us, spread: 60, fault: &TIMEOUT, base_fault_permyriad: 10, steps }
}

static VERIFY: Operation = rpc(
    &AUTH,
    "shop.auth.v1.AuthService/VerifySession",
    300,
    &TIMEOUT,
    &[Query(&SESSION_GET), Work("verify token", 250)],
);
static GET_USER: Operation = rpc(&USER, "shop.user.v1.UserService/GetUser", 700, &TIMEOUT, &[Query(&USER_BY_ID)]);
static GET_PRODUCT: Operation =
    rpc(&CATALOG, "shop.catalog.v1.CatalogService/GetProduct", 900, &TIMEOUT, &[Query(&PRODUCT_BY_ID)]);
/// Asks for one product after the other: the N+1 query that somebody will find.
static LIST_PRODUCTS: Operation = rpc(
    &CATALOG,
    "shop.catalog.v1.CatalogService/ListProducts",
    1_500,
    &TIMEOUT,
    &[Query(&PRODUCT_LIST), Times(8, 24, &Query(&PRODUCT_BY_ID))],
);
static QUOTE: Operation = rpc(
    &PRICING,
    "shop.pricing.v1.PricingService/Quote",
    180,
    &TIMEOUT,
    &[Query(&PRICE_GET), Maybe(300, &Optional(&ACTIVE_PROMOTIONS))],
);
static ACTIVE_PROMOTIONS: Operation =
    rpc(&PROMOTION, "shop.promotion.v1.PromotionService/ListActive", 800, &TIMEOUT, &[Query(&PROMOTIONS)]);
static STOCK: Operation =
    rpc(&INVENTORY, "shop.inventory.v1.InventoryService/GetStock", 600, &TIMEOUT, &[Query(&STOCK_LOCK)]);
pub(super) static RESERVE: Operation = rpc(
    &INVENTORY,
    "shop.inventory.v1.InventoryService/Reserve",
    1_200,
    &OUT_OF_STOCK,
    &[Query(&STOCK_LOCK), Query(&STOCK_TAKE)],
);
pub(super) static SEARCH_PRODUCTS: Operation = rpc(
    &SEARCH,
    "shop.search.v1.SearchService/Search",
    3_500,
    &KEY_ERROR,
    &[Query(&PRODUCT_SEARCH), Work("rank results", 2_800)],
);
static RECOMMEND: Operation = rpc(
    &RECOMMENDATION,
    "shop.recommendation.v1.RecommendationService/List",
    6_000,
    &KEY_ERROR,
    &[Work("load model", 900), Times(3, 5, &Call(&GET_PRODUCT)), Maybe(200, &Query(&REVIEWS_BY_PRODUCT))],
);
static GET_CART: Operation = rpc(&CART, "shop.cart.v1.CartService/GetCart", 400, &TIMEOUT, &[Query(&CART_GET)]);
static ADD_ITEM: Operation =
    rpc(&CART, "shop.cart.v1.CartService/AddItem", 500, &TIMEOUT, &[Query(&CART_GET), Call(&STOCK), Query(&CART_SET)]);
static CLEAR_CART: Operation = rpc(&CART, "shop.cart.v1.CartService/Clear", 300, &TIMEOUT, &[Query(&CART_SET)]);
static REVIEWS: Operation = http(&REVIEW, "GET", "/reviews/{product_id}", 2_400, &[Query(&REVIEWS_BY_PRODUCT)]);
static SCORE: Operation = rpc(
    &FRAUD,
    "shop.fraud.v1.FraudService/Score",
    9_000,
    &KEY_ERROR,
    &[Work("score features", 7_000), Call(&GET_USER)],
);
pub(super) static CHARGE: Operation =
    rpc(&PAYMENT, "shop.payment.v1.PaymentService/Charge", 1_800, &GATEWAY_DOWN, &[Call(&SCORE), Fetch(&CARD_CHARGE)]);
static QUOTE_SHIPPING: Operation =
    rpc(&SHIPPING, "shop.shipping.v1.ShippingService/Quote", 500, &TIMEOUT, &[Fetch(&CARRIER_QUOTE)]);
pub(super) static PLACE: Operation = rpc(
    &ORDER,
    "shop.order.v1.OrderService/Place",
    1_700,
    &TIMEOUT,
    &[Query(&ORDER_INSERT), Times(1, 5, &Query(&ORDER_ITEM_INSERT)), Publish(&ORDERS_PLACED), Publish(&CLICKS)],
);
static HISTORY: Operation = rpc(
    &ORDER,
    "shop.order.v1.OrderService/History",
    1_300,
    &TIMEOUT,
    &[Query(&ORDER_LIST), Times(4, 20, &Query(&ORDER_ITEMS))],
);
static CHECK_OUT: Operation = rpc(
    &CHECKOUT,
    "shop.checkout.v1.CheckoutService/PlaceOrder",
    2_000,
    &NIL_POINTER,
    &[
        Call(&GET_CART),
        All(&[Call(&QUOTE), Call(&QUOTE_SHIPPING), Times(1, 4, &Call(&GET_PRODUCT))]),
        Retry(3, &RESERVE),
        Retry(2, &CHARGE),
        Call(&PLACE),
        Optional(&CLEAR_CART),
    ],
);

static SEND_RECEIPT: Operation = consumer(&EMAIL, 2_500, &[Work("render receipt.html", 9_000), Fetch(&MAIL_SEND)]);
static SHIP_ORDER: Operation = consumer(&SHIPPING, 1_500, &[Query(&ORDER_ITEMS), Publish(&NOTIFICATIONS)]);
static NOTIFY: Operation = consumer(&NOTIFICATION, 800, &[Fetch(&PUSH_SEND)]);
/// Takes clicks many at a time, with a link to each producer.
pub(super) static COUNT_CLICKS: Operation = consumer(&ANALYTICS, 5_000, &[Work("aggregate batch", 12_000)]);

/// Consumers of an order work in traces of their own, linked to the producer's.
static ORDERS_PLACED: Topic = Topic {
    system: "kafka",
    host: "kafka-0.kafka",
    port: 9092,
    name: "orders.placed",
    own_trace: true,
    consumers: &[&SEND_RECEIPT, &SHIP_ORDER],
};
/// Consumers of a notification go on in the producer's trace.
static NOTIFICATIONS: Topic = Topic {
    system: "rabbitmq",
    host: "rabbitmq-0.rabbitmq",
    port: 5672,
    name: "notifications",
    own_trace: false,
    consumers: &[&NOTIFY],
};
/// Clicks are consumed in batches, out of any one trace.
pub(super) static CLICKS: Topic =
    Topic { system: "kafka", host: "kafka-1.kafka", port: 9092, name: "clicks", own_trace: true, consumers: &[] };

static HOME: Operation = http(
    &GATEWAY,
    "GET",
    "/",
    900,
    &[
        Call(&VERIFY),
        All(&[Call(&LIST_PRODUCTS), Optional(&RECOMMEND), Call(&GET_CART)]),
        Maybe(400, &Publish(&CLICKS)),
    ],
);
static PRODUCT_PAGE: Operation = http(
    &GATEWAY,
    "GET",
    "/products/{id}",
    700,
    &[
        Call(&VERIFY),
        All(&[Call(&GET_PRODUCT), Call(&QUOTE), Call(&STOCK), Optional(&REVIEWS), Optional(&RECOMMEND)]),
        Publish(&CLICKS),
    ],
);
static SEARCH_PAGE: Operation =
    http(&GATEWAY, "GET", "/search", 800, &[Call(&VERIFY), Call(&SEARCH_PRODUCTS), Times(1, 6, &Call(&QUOTE))]);
static CART_PAGE: Operation = http(
    &GATEWAY,
    "GET",
    "/cart",
    600,
    &[Call(&VERIFY), Call(&GET_CART), Times(0, 4, &Call(&GET_PRODUCT)), Call(&QUOTE)],
);
static CART_ADD: Operation =
    http(&GATEWAY, "POST", "/cart/items", 600, &[Call(&VERIFY), Call(&ADD_ITEM), Publish(&CLICKS)]);
static CHECKOUT_PAGE: Operation = http(&GATEWAY, "POST", "/checkout", 1_000, &[Call(&VERIFY), Call(&CHECK_OUT)]);
static ORDERS_PAGE: Operation =
    http(&GATEWAY, "GET", "/orders", 700, &[Call(&VERIFY), Call(&GET_USER), Call(&HISTORY)]);
static HEALTH: Operation = http(&GATEWAY, "GET", "/healthz", 60, &[]);
/// A job without a caller.
static SYNC_STOCK: Operation = Operation {
    service: &WAREHOUSE,
    entry: Entry::Job { name: "sync stock" },
    self_us: 20_000,
    spread: 70,
    fault: &TIMEOUT,
    base_fault_permyriad: 50,
    steps: &[Query(&STOCK_ALL), Times(10, 40, &Query(&STOCK_TAKE))],
};

/// What starts a trace, and how often.
pub(super) static ROOTS: [Weighted; 9] = [
    Weighted { weight: 24, from_browser: true, operation: &HOME },
    Weighted { weight: 23, from_browser: true, operation: &PRODUCT_PAGE },
    Weighted { weight: 16, from_browser: true, operation: &SEARCH_PAGE },
    Weighted { weight: 9, from_browser: true, operation: &CART_PAGE },
    Weighted { weight: 8, from_browser: true, operation: &CART_ADD },
    Weighted { weight: 10, from_browser: true, operation: &CHECKOUT_PAGE },
    Weighted { weight: 4, from_browser: true, operation: &ORDERS_PAGE },
    Weighted { weight: 5, from_browser: false, operation: &HEALTH },
    Weighted { weight: 1, from_browser: false, operation: &SYNC_STOCK },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_stands_at_its_index_under_its_own_name() {
        for (index, service) in SERVICES.iter().enumerate() {
            assert_eq!(service.index, index, "{}", service.name);
        }
        let mut names: Vec<_> = SERVICES.iter().map(|service| service.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SERVICES.len());
    }
}
