//! The operations of DynamoDB that are called.

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::batch_get_item::{
    BatchGetItem, BatchGetItemError, BatchGetItemInput, BatchGetItemOutput,
};
use aws_sdk_dynamodb::operation::delete_item::{DeleteItem, DeleteItemError, DeleteItemInput, DeleteItemOutput};
use aws_sdk_dynamodb::operation::get_item::{GetItem, GetItemError, GetItemInput, GetItemOutput};
use aws_sdk_dynamodb::operation::put_item::{PutItem, PutItemError, PutItemInput, PutItemOutput};
use aws_sdk_dynamodb::operation::query::{Query, QueryError, QueryInput, QueryOutput};
use aws_sdk_dynamodb::operation::transact_write_items::{
    TransactWriteItems, TransactWriteItemsError, TransactWriteItemsInput, TransactWriteItemsOutput,
};
use aws_sdk_dynamodb::operation::update_item::{UpdateItem, UpdateItemError, UpdateItemInput, UpdateItemOutput};
use aws_sdk_dynamodb::operation::{
    batch_get_item::builders::BatchGetItemInputBuilder, delete_item::builders::DeleteItemInputBuilder,
    get_item::builders::GetItemInputBuilder, put_item::builders::PutItemInputBuilder,
    query::builders::QueryInputBuilder, transact_write_items::builders::TransactWriteItemsInputBuilder,
    update_item::builders::UpdateItemInputBuilder,
};

use super::call_mark;
use crate::aws::{Request, requests};

requests! {
    BatchGetItem: BatchGetItemInputBuilder => BatchGetItemInput, BatchGetItemOutput, BatchGetItemError;
    DeleteItem: DeleteItemInputBuilder => DeleteItemInput, DeleteItemOutput, DeleteItemError;
    GetItem: GetItemInputBuilder => GetItemInput, GetItemOutput, GetItemError;
    PutItem: PutItemInputBuilder => PutItemInput, PutItemOutput, PutItemError;
    Query: QueryInputBuilder => QueryInput, QueryOutput, QueryError;
    UpdateItem: UpdateItemInputBuilder => UpdateItemInput, UpdateItemOutput, UpdateItemError;
}

impl Request for TransactWriteItemsInputBuilder {
    type Operation = TransactWriteItems;
    type Input = TransactWriteItemsInput;
    type Output = TransactWriteItemsOutput;
    type Error = TransactWriteItemsError;

    /// With a token, by which DynamoDB takes a repetition of the call for the same transaction.
    fn into_input(self) -> Result<Self::Input, BuildError> {
        self.client_request_token(call_mark()).build()
    }

    /// Cancelled for reasons that pass, and for none that would stay.
    fn was_stopped_by_others(error: &Self::Error) -> bool {
        let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else { return false };
        let mut codes = cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code());
        let passing = ["None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
        let all_pass = codes.clone().all(|code| passing.contains(&code));
        all_pass && codes.any(|code| code != "None")
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::CancellationReason;
    use aws_sdk_dynamodb::types::error::TransactionCanceledException;

    use super::*;

    #[test]
    fn a_transaction_is_repeated_if_all_that_stopped_it_passes() {
        for (codes, may_pass) in [
            (&["None", "TransactionConflict"][..], true),
            (&["ThrottlingError", "ProvisionedThroughputExceeded"], true),
            (&["TransactionConflict", "ConditionalCheckFailed"], false),
            (&["ConditionalCheckFailed", "None"], false),
            (&["None", "None"], false),
            (&[], false),
        ] {
            let reasons = codes.iter().map(|code| CancellationReason::builder().code(*code).build()).collect();
            let cancelled = TransactionCanceledException::builder().set_cancellation_reasons(Some(reasons)).build();
            let error = TransactWriteItemsError::TransactionCanceledException(cancelled);
            assert_eq!(TransactWriteItemsInputBuilder::was_stopped_by_others(&error), may_pass, "{codes:?}");
        }
    }

    #[test]
    fn each_transaction_has_a_token_of_its_own() {
        let token = || {
            let input = TransactWriteItemsInput::builder().set_transact_items(Some(Vec::new())).into_input();
            input.expect("an input").client_request_token.expect("a token")
        };
        assert_ne!(token(), token());
        assert!((1..=36).contains(&token().len()));
    }
}
