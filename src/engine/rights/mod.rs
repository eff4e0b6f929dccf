//! What a session's user may see and do, and where that is held to.
//!
//! A [`Sight`] says which spans a user sees and which attributes are masked. It stands in the configuration of the session's statements, and the scan of
//! spans ([`super::scan`]) is a barrier: what comes out of it is what the user may see, and nothing that a statement says is worked out before
//! it, or is told of what lies below. All that is made of spans is made above. Relations that tell of hidden spans in another way are refused here.
//!
//! Knows neither users nor their files: whoever opens a session says what its user may.

mod mask;
mod masked;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan, lit};
use datafusion::prelude::col;

pub use self::mask::Masks;
use super::catalog::{INTERNAL, REPORTS, SIZES, SPAN_TREE, SPANS};
use super::errors::from_datafusion;
use super::functions::attribute_of;
use super::recorded::is_recorded;
use super::session_data::ThisSession;
use crate::error::{Error, Kind, Result};
use crate::model::schema::{RESOURCE_ATTRIBUTES, SERVICE_NAME};

/// The tables of [`INTERNAL`] that hold to a user's sight by themselves.
const SEEN_THROUGH: [&str; 3] = [SPANS, SPAN_TREE, SIZES];

/// What a session's user may see and do. Whoever has the data directory may do everything, which is the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Whether it may see what others do, and stop it.
    pub is_admin: bool,
    /// Which spans it sees; all of them without it.
    pub sight: Option<Arc<Sight>>,
    /// The most memory that a statement of its may hold.
    pub memory_bytes: Option<usize>,
    /// The longest that a statement of its may run, whatever the session has set.
    pub statement_timeout: Option<Duration>,
}

impl Default for Rights {
    fn default() -> Self {
        Self { is_admin: true, sight: None, memory_bytes: None, statement_timeout: None }
    }
}

/// What a user sees, who does not see everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sight {
    /// The services whose spans it sees; those of all services without it.
    pub services: Option<BTreeSet<String>>,
    /// Resource attributes, each with the values of which a span's resource has to have one.
    pub resources: BTreeMap<String, BTreeSet<String>>,
    /// The attributes whose values it does not see.
    pub masks: Masks,
}

impl Sight {
    /// That of the session that plans a scan; `None` where it sees everything.
    pub(super) fn of(state: &dyn Session) -> Option<Arc<Self>> {
        state.config().get_extension::<Self>()
    }

    /// What a span that is seen meets, over the columns of spans.
    pub(super) fn conditions(&self) -> Vec<Expr> {
        let among = |value: Expr, values: &BTreeSet<String>| {
            value.in_list(values.iter().map(|value| lit(value.as_str())).collect(), false)
        };
        let services = self.services.iter().map(|services| among(col(SERVICE_NAME), services));
        let resource = |key: &str| attribute_of(col(RESOURCE_ATTRIBUTES), lit(key));
        services.chain(self.resources.iter().map(|(key, values)| among(resource(key), values))).collect()
    }

    /// What is shown of a column of spans.
    pub(super) fn shown(&self, column: &str) -> PlanResult<Expr> {
        masked::column(column, &self.masks)
    }

    /// Refuses a plan that reads what tells of spans in another way than by showing those that are seen: what the store, reports and the server
    /// say of themselves. A relation of [`INTERNAL`] that is not known here is refused.
    ///
    /// # Errors
    /// [`Kind::Denied`].
    pub(super) fn check(&self, plan: &LogicalPlan) -> Result<()> {
        let mut refused = None;
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && tells_of_others(scan)
            {
                refused = Some(scan.table_name.to_string());
                return Ok(TreeNodeRecursion::Stop);
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .map_err(from_datafusion)?;
        match refused {
            None => Ok(()),
            Some(_) => Err(denied("permission denied for what the schemas system and reports tell of all spans")
                .with_hint("this user sees some spans only: ask what schema traces shows of them")),
        }
    }
}

fn tells_of_others(scan: &TableScan) -> bool {
    match scan.table_name.schema() {
        Some(INTERNAL) => !SEEN_THROUGH.contains(&scan.table_name.table()),
        Some(REPORTS) => true,
        _ => is_recorded(scan),
    }
}

/// Refuses what only an admin sees.
///
/// # Errors
/// [`Kind::Denied`].
pub(super) fn for_admins(state: &dyn Session, what: &str) -> Result<()> {
    let session = state.config().get_extension::<ThisSession>();
    match session.is_some_and(|session| session.rights().is_admin) {
        true => Ok(()),
        false => Err(denied(format!("permission denied for {what}: it is for the role admin"))),
    }
}

fn denied(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Kind::Denied, message)
}
