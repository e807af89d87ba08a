//! The operations of DynamoDB that are called.

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

crate::aws::requests! {
    BatchGetItem: BatchGetItemInputBuilder => BatchGetItemInput, BatchGetItemOutput, BatchGetItemError;
    DeleteItem: DeleteItemInputBuilder => DeleteItemInput, DeleteItemOutput, DeleteItemError;
    GetItem: GetItemInputBuilder => GetItemInput, GetItemOutput, GetItemError;
    PutItem: PutItemInputBuilder => PutItemInput, PutItemOutput, PutItemError;
    Query: QueryInputBuilder => QueryInput, QueryOutput, QueryError;
    TransactWriteItems:
        TransactWriteItemsInputBuilder => TransactWriteItemsInput, TransactWriteItemsOutput, TransactWriteItemsError;
    UpdateItem: UpdateItemInputBuilder => UpdateItemInput, UpdateItemOutput, UpdateItemError;
}
