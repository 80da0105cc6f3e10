//! IN lists of what is no literal, as comparisons: DataFusion makes one list of two on the same column, as if whatever is
//! written differently were different, so that `a IN (1, 2) AND a IN (2, a)` takes no 1.

use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, lit, not};

/// Writes each of them as a chain of OR.
#[derive(Debug)]
pub(super) struct Compared;

impl FunctionRewrite for Compared {
    fn name(&self) -> &str {
        "weir_compared_lists"
    }

    fn rewrite(
        &self,
        expression: Expr,
        _: &DFSchema,
        _: &ConfigOptions,
    ) -> Result<Transformed<Expr>, DataFusionError> {
        let is_literal = |item: &Expr| matches!(item, Expr::Literal(..));
        let Expr::InList(InList { expr, list, negated }) = expression else {
            return Ok(Transformed::no(expression));
        };
        if list.iter().all(is_literal) {
            return Ok(Transformed::no(Expr::InList(InList { expr, list, negated })));
        }
        let one = |item: Expr| (*expr).clone().eq(item);
        let any = list.into_iter().map(one).reduce(Expr::or).unwrap_or_else(|| lit(false));
        Ok(Transformed::yes(if negated { not(any) } else { any }))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    use super::super::session;

    #[tokio::test]
    async fn lists_with_columns_take_what_they_say() {
        let context = session();
        let rows = "(VALUES (1, 5), (2, 5), (3, 3), (NULL, 1)) AS t(a, b)";
        for (condition, expected) in [
            ("a IN (1, 2) AND a IN (2, a)", 2),
            ("a IN (1, a) AND a NOT IN (1, a + 1)", 2),
            ("a IN (1, 2) AND a NOT IN (2, b)", 1),
            ("a NOT IN (1, b)", 1),
            ("(a IN (1, b)) IS NULL", 1),
            ("a IN (1, 2, 3) AND a IN (2, 3, 4)", 2),
        ] {
            let sql = format!("SELECT COUNT(*) AS n FROM {rows} WHERE {condition}");
            let batches = context.sql(&sql).await.unwrap().collect().await.unwrap();
            let found = batches[0].column(0).as_primitive::<Int64Type>().value(0);
            assert_eq!(found, expected, "{sql}");
        }
    }
}
