//! The processes that run the shop: their hosts, pods, resource attributes and the errors of their clocks.

use super::random::Random;
use super::shop::{SERVICES, STOREFRONT};
use super::span::Attributes;
use super::topology::Service;

/// How wrong a server's clock may be, to either side.
const SERVER_SKEW_US: u32 = 25_000;
/// How wrong a visitor's clock may be, to either side.
const BROWSER_SKEW_US: u32 = 3_000_000;
/// How many of 1,000 servers keep good time.
const IN_TIME_PERMILLE: u32 = 700;

/// One running process of a service.
pub(super) struct Instance {
    pub(super) service: &'static Service,
    pub(super) ip: String,
    pub(super) resource: Attributes,
    /// What its clock shows more than the true time.
    pub(super) skew_ns: i64,
}

/// All processes, service by service.
pub(super) struct Fleet {
    pub(super) instances: Vec<Instance>,
    /// Where each service's processes begin.
    first: [usize; SERVICES.len()],
}

impl Fleet {
    pub(super) fn new(random: &mut Random) -> Self {
        let mut instances = Vec::new();
        let mut first = [0; SERVICES.len()];
        for service in SERVICES {
            first[service.index] = instances.len();
            for replica in 0..service.replicas {
                instances.push(instance(service, replica, random));
            }
        }
        Self { instances, first }
    }

    /// A process of the service.
    pub(super) fn pick(&self, service: &Service, random: &mut Random) -> usize {
        self.first[service.index] + random.below(service.replicas.into()) as usize
    }
}

fn instance(service: &'static Service, replica: u8, random: &mut Random) -> Instance {
    let browser = service.index == STOREFRONT.index;
    let skew_limit_us = if browser { BROWSER_SKEW_US } else { SERVER_SKEW_US };
    let in_time = !browser && random.chance(IN_TIME_PERMILLE);
    let skew_us = if in_time { 0 } else { i64::from(random.below(2 * skew_limit_us)) - i64::from(skew_limit_us) };
    let ip = format!("10.{}.{}.{}", 40 + service.index, replica, 2 + random.below(250));
    let resource = if browser { browser_resource(service, random) } else { pod_resource(service, replica, random) };
    Instance { service, ip, resource, skew_ns: skew_us * 1000 }
}

fn pod_resource(service: &'static Service, replica: u8, random: &mut Random) -> Attributes {
    const ZONES: [&str; 3] = ["eu-central-1a", "eu-central-1b", "eu-central-1c"];
    let pod_hash = random.bits();
    let pod = format!("{}-{:08x}-{:05x}", service.name, pod_hash >> 32, pod_hash & 0xfffff);
    let node = random.below(12);
    let mut resource = Attributes::with_capacity(24);
    push_service(service, format!("{pod}.shop"), random, &mut resource);
    resource.push("k8s.cluster.name", "shop-eu-1");
    resource.push("k8s.namespace.name", "shop");
    resource.push("k8s.deployment.name", service.name);
    resource.push("k8s.pod.name", pod);
    resource.push("k8s.pod.uid", uuid(random));
    resource.push("k8s.node.name", format!("node-{node:02}"));
    resource.push("k8s.container.name", service.name);
    resource.push("container.id", format!("{:016x}{:016x}", random.bits(), random.bits()));
    resource.push("container.image.name", format!("registry.shop.example/{}", service.name));
    resource.push("host.name", format!("node-{node:02}"));
    resource.push("host.arch", if node.is_multiple_of(3) { "arm64" } else { "amd64" });
    resource.push("os.type", "linux");
    resource.push("process.pid", 1 + u32::from(replica) * 7);
    resource.push("cloud.provider", "aws");
    resource.push("cloud.region", "eu-central-1");
    resource.push("cloud.availability_zone", ZONES[node as usize % ZONES.len()]);
    resource
}

fn browser_resource(service: &'static Service, random: &mut Random) -> Attributes {
    const PLATFORMS: [&str; 4] = ["Windows", "macOS", "Android", "iOS"];
    let mut resource = Attributes::with_capacity(12);
    let instance_id = uuid(random);
    push_service(service, instance_id, random, &mut resource);
    let platform = random.pick(&PLATFORMS);
    resource.push("browser.platform", platform);
    resource.push("browser.mobile", super::span::Value::Bool(matches!(platform, "Android" | "iOS")));
    resource.push("browser.language", random.pick(&["de-DE", "en-GB", "fr-FR", "ja-JP"]));
    resource
}

fn push_service(service: &'static Service, instance_id: String, random: &mut Random, resource: &mut Attributes) {
    resource.push("service.name", service.name);
    resource.push("service.namespace", "shop");
    resource.push("service.version", format!("{}.{}.{}", 1 + service.index % 4, service.index, random.below(4)));
    resource.push("service.instance.id", instance_id);
    resource.push("deployment.environment.name", "production");
    resource.push("telemetry.sdk.name", "opentelemetry");
    resource.push("telemetry.sdk.language", service.language);
    resource.push("telemetry.sdk.version", "1.42.0");
}

pub(super) fn uuid(random: &mut Random) -> String {
    let (high, low) = (random.bits(), random.bits());
    let (version, variant) = (high & 0xfff | 0x4000, low >> 48 & 0x3fff | 0x8000);
    format!(
        "{:08x}-{:04x}-{version:04x}-{variant:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        low & 0xffff_ffff_ffff
    )
}
